"""The page of results and its plots, made from the JSON that `bench/run.py` writes."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from bench import call_profile, targets
from bench import plots as plots_module

Results = dict[str, Any]
_BEFORE: Final = Path(__file__).with_name("profile_before.json")
COMMAND: Final = (
    "python bench/run.py --json docs/plots/results.json --plot docs/plots --docs docs/benchmarks.md"
)

_SECTIONS: Final = (
    ("Calls", ("trap", "ecall.", "call.", "ocall.", "switch", "tlb."), "calls.svg"),
    ("Enclaves from start to end", ("lifecycle.",), None),
    ("Whole programs", ("import", "cli.", "program."), None),
    ("Linux programs", ("linux.",), None),
    ("Computing", ("compute.",), "compute.svg"),
    ("Many of them", ("scale.",), None),
    ("Called by several at once", ("concurrent.",), None),
    ("Fuzzing", ("fuzz.",), None),
    ("Looking inside", ("profiled.", "debug."), None),
)
_NOTES: Final = {
    "Calls": """\
Each by guest code that makes it many times. `unicorn` does the same in one address space with nothing
protected, two traps and two register swaps: its ratio is what is left of a call without isolation. `hooks` is
pltvm with a Python hook on each load and store beside the page tables: what isolation by hooks costs.""",
    "Linux programs": """\
One C program for musl, less a run of it that does nothing. `linux.ping` is a byte to another process and one
back, through pipes; `linux.memory_400MiB` writes 300 MiB and makes them 400. What computes is in the
JIT's hands, as below. Python answers a system call, which qemu-riscv64 leaves to the kernel outside.""",
    "Computing": """\
One ELF, run as an enclave and by each peer, results compared; `_rwx` has every segment writable and
executable. `qemu-riscv64` is without its start. `unicorn` is Unicorn as it comes, without page tables.""",
    "Many of them": """\
The peer is the same at a smaller scale, so 1 means that the cost does not grow. A relay transfer is the run
call that hands the pages over. `scale.fork_memory` is beside what an instance's writable pages, touched stack
and page tables take.""",
    "Called by several at once": """\
A call of a server that has as many slots as there are callers, and 2,000 instructions of work in each; the
callers share the hart in slices. `busy, again` is a server with one call at a time whose callers yield and
try again, `waiting in line` the same with `call_enclave_wait`. `concurrent.memory_1000` is what the process
grows by for 1,000 chains, each in the middle of a call.""",
    "Looking inside": """\
Times with it on; the peer `off` is the same without. `.run` computes, 10⁸ instructions; `.call` is a call of
a server; `.demo` the whole command on the example chain, with the file that comes of it. `debug.prompt` is
from the command to the first prompt of gdb, and its end. `debug.history.watch` goes back over 10⁸
instructions to the write of a word, `debug.history.step` one instruction.""",
    "Fuzzing": """\
One execution, with mutation, coverage and the way back to the snapshot; 16.7 µs are 60,000 a second, on one
core. `icicle-emu` runs the same program on one input: no mutation, no coverage, nothing restored.""",
}

# What keeps a benchmark from its target, by the start of its name.
_LIMITS: Final = {
    "ecall.": "a trap that Python answers is 1.4 µs, half of it calls of Unicorn through ctypes",
    "call.": "two flushes are 0.6 µs, saving and loading registers 0.5, what the monitor does 0.2; the rest "
    "is guest code, which finds TLB and jump cache empty after each flush",
    "ocall.": "a print is mostly the enclave's own formatting; its ocall alone takes as long as a yield",
    "lifecycle.": "some 200 steps in Python; of a run, the JIT translates the enclave's code anew (0.1 ms)",
    "cli.": "importing Unicorn and typer is more than half of it",
    "import": "importing Unicorn's binding is half of it",
    "linux.": "a system call leaves the JIT by ctypes (1.4 µs), and Python decodes and does it",
    "compute.": "Unicorn looks every load and store up in a software TLB, and checks at every block whether "
    "to stop; qemu-riscv64 in user mode leaves both to the host's MMU and signals",
    "scale.": "caches: a call of another enclave each time touches memory that no call before it has touched",
    "debug.record.demo": "importing what writes the file, 13 ms; the run itself takes 3 % longer",
    "debug.prompt": "two processes start, gdb's and the run's own",
    "fuzz.coverage": "an execution has become so short that the 0.4 µs of its 150 blocks are a larger part",
}


def load(file: Path) -> Results:
    """Results as `save` wrote them."""
    results: Results = json.loads(file.read_text(encoding="utf-8"))
    return results


def save(file: Path, results: Results) -> None:
    """Write results as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def plots(results: Results, folder: Path) -> None:
    """Draw what there are results for."""
    plots_module.draw({row["name"]: row for row in results["results"]}, folder)


def page(results: Results, plot_folder: Path | None, file: Path) -> str:
    """The whole page; plots are linked from where `file` is."""
    rows = {row["name"]: row for row in results["results"]}
    parts = [
        "# Benchmarks",
        f"Made by this command, which anyone can repeat:\n\n```console\n$ {COMMAND}\n```",
        _machine(results["machine"]),
    ]
    for title, prefixes, plot in _SECTIONS:
        chosen = [row for row in rows.values() if row["name"].startswith(prefixes)]
        if chosen:
            said = [
                _NOTES.get(title),
                results.get("remarks", {}).get(title),
            ]  # the latter is of these figures
            parts += [f"## {title}", *filter(None, said)]
            parts += [_image(plot, plot_folder, file)] if plot and plot_folder else []
            parts.append(_table(chosen))
    missed = [row for row in rows.values() if _missed(row)]
    if missed:
        parts += ["## What is missed, and what limits it", _limits(missed)]
    if any(name.startswith("profile.") for name in rows):
        parts += ["## Where the time of a call goes", *_profile(rows)]
        parts += [_image("profile.svg", plot_folder, file)] if plot_folder else []
    return "\n\n".join(parts) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    about = "; ".join(f"{name}: {value}" for name, value in machine.items())
    return (
        f"Measured on {about}.\n\nValues are medians of interleaved repeats, ± half of the middle half of "
        "them. Of a peer its time over ours is given, in the same run: 2× means that we are twice as fast. "
        "“original” is the original system under QEMU, of whose range the lower end counts."
    )


def _image(name: str, folder: Path, file: Path) -> str:
    relative = os.path.relpath(folder / name, file.parent)
    return f"![{name.removesuffix('.svg')}]({relative})"


def _table(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["| benchmark | value | targets | peers |", "|---|---|---|---|"]
    for row in rows:
        met = {None: "", True: " ✓", False: " ✗"}
        wanted = "<br>".join(
            f"{words}{met[ok]}" for words, ok in targets.of(row["name"]).verdicts(row["value"])
        )
        beside = []
        for peer, ratio in row["peer"].items():
            least = targets.peer_target(row["name"], peer)
            mark = "" if least is None else f" of {least:.2g}×{met[ratio >= least]}"
            beside.append(f"{peer} {ratio:.2f}×{mark}")
        figure = f"{_number(row['value'])} {row['unit']} ± {row['spread'] / 2:.0%}"
        lines.append(f"| `{row['name']}` | {figure} | {wanted} | {'<br>'.join(beside)} |")
    return "\n".join(lines)


def _missed(row: dict[str, Any]) -> list[str]:
    """By how much a benchmark misses its targets."""
    target = targets.of(row["name"])
    words = [text for text, met in target.verdicts(row["value"]) if met is False]
    for peer, ratio in row["peer"].items():
        least = targets.peer_target(row["name"], peer)
        if least is not None and ratio < least:
            words.append(f"{peer} {ratio:.2f}× of {least:.2g}×")
    return words


def _limits(missed: list[dict[str, Any]]) -> str:
    lines = ["| benchmark | value | missed |", "|---|---|---|"]
    for row in missed:
        figure = f"{_number(row['value'])} {row['unit']}"
        lines.append(f"| `{row['name']}` | {figure} | {'<br>'.join(_missed(row))} |")
    starts = [start for start in _LIMITS if any(row["name"].startswith(start) for row in missed)]
    reasons = [f"- `{start}{'*' * start.endswith('.')}`: {_LIMITS[start]}." for start in starts]
    return "\n".join([*lines, "", *reasons])


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _profile(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Each part beside what it was in the first version that made calls, as far as there was such a part."""
    before: dict[str, dict[str, float]] = json.loads(_BEFORE.read_text(encoding="utf-8"))
    kinds = [kind for kind in call_profile.KINDS if f"profile.{kind}.total" in rows]
    titles = [f"{kind} {when}" for kind in kinds for when in ("before", "now")]
    lines = [f"| µs | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for row, text in call_profile.ROWS.items():
        cells = []
        for kind in kinds:
            old, now = before[kind].get(row), rows.get(f"profile.{kind}.{row}")
            cells += ["" if old is None else f"{old:.1f}", "" if now is None else f"{now['value']:.1f}"]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return [
        "Without the native core, which does all of it in one place. Before is the first version that made "
        "calls, measured the same way on the same machine. Each part "
        "was measured by itself, medians of their own, so they add up to the total only about.",
        "\n".join(lines),
    ]
