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
Guest code makes each call many times. `unicorn` does the same in one address space without any protection,
with two traps and two register swaps: its ratio shows what a call costs without isolation. `hooks` is pltvm
with a Python hook on each load and store in addition to the page tables: the cost of isolation by hooks.""",
    "Linux programs": """\
One C program for musl; the time of a run that does nothing is subtracted. `linux.ping` sends a byte to
another process and one back, through pipes; `linux.memory_400MiB` writes 300 MiB and grows them to 400.
Computing is done by the JIT, as below. Python serves the system calls; qemu-riscv64 passes them to the host's
kernel.""",
    "Computing": """\
The same ELF runs as an enclave and in each peer, and the results are compared; in `_rwx` every segment is
writable and executable. The start of `qemu-riscv64` is not counted. `unicorn` is plain Unicorn, without page
tables.""",
    "Many of them": """\
The peer is the same benchmark at a smaller scale, so 1 means that the cost does not grow. A relay transfer is
the run call that hands the pages over. `scale.fork_memory` is compared with the size of an instance's
writable pages, touched stack and page tables.""",
    "Called by several at once": """\
A call of a server with as many slots as callers, and 2,000 instructions of work in each call; the callers
share the hart in time slices. `busy, again` is a server with one call at a time, whose callers yield and try
again; `waiting in line` is the same with `call_enclave_wait`. `concurrent.memory_1000` is the growth of the
process for 1,000 chains, each in the middle of a call.""",
    "Looking inside": """\
Times with each tool on; the peer `off` is the same run without it. `.run` computes for 10⁸ instructions;
`.call` is a call of a server; `.demo` is the whole command on the example chain, with the file that it
writes. `debug.prompt` lasts from the command to the first prompt of gdb, and gdb's end. `debug.history.watch`
goes back over 10⁸ instructions to the write of a word, `debug.history.step` goes back one instruction.""",
    "Fuzzing": """\
One execution, with mutation, coverage and the return to the snapshot, on one core; 16.7 µs are 60,000 a
second. `icicle-emu` runs the same program on one input: no mutation, no coverage, nothing restored.""",
}

# What limits the benchmarks that miss their targets, by the start of their names.
_LIMITS: Final = {
    "ecall.": "a trap that Python answers enters it through ctypes, which takes most of the time",
    "call.": "two flushes take 0.6 µs, saving and loading registers 0.5, the monitor 0.2; the rest "
    "is guest code, which finds the TLB and the jump cache empty after each flush",
    "ocall.": "a print is mostly the enclave's own formatting; its ocall alone takes as long as a yield",
    "lifecycle.": "some 200 steps in Python; in each run the JIT translates the code again (0.1 ms)",
    "cli.": "importing Unicorn and typer takes more than half of the time",
    "import": "importing Unicorn's binding takes half of the time",
    "linux.": "a system call enters Python through ctypes, which decodes and serves it",
    "compute.": "Unicorn looks up every load and store in a software TLB, and checks at every block whether "
    "to stop; qemu-riscv64 in user mode leaves both to the host's MMU and signals",
    "scale.": "cache misses: each call goes to another enclave, whose memory no call before has touched",
    "debug.record.demo": "modules for the file are imported; the run itself takes 3 % longer",
    "debug.prompt": "two processes start: gdb, and the one of the run",
    "fuzz.coverage": "executions are so short now that the 0.4 µs for their 150 blocks are a larger share",
}


def load(file: Path) -> Results:
    """Read results that `save` wrote."""
    results: Results = json.loads(file.read_text(encoding="utf-8"))
    return results


def save(file: Path, results: Results) -> None:
    """Write results as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def plots(results: Results, folder: Path) -> None:
    """Draw the plots for which there are results."""
    plots_module.draw({row["name"]: row for row in results["results"]}, folder)


def page(results: Results, plot_folder: Path | None, file: Path) -> str:
    """Return the whole page; links to plots are relative to `file`."""
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
            ]  # remarks belong to these results only
            parts += [f"## {title}", *filter(None, said)]
            parts += [_image(plot, plot_folder, file)] if plot and plot_folder else []
            parts.append(_table(chosen))
    missed = [row for row in rows.values() if _missed(row)]
    if missed:
        parts += ["## Missed targets, and what limits them", _limits(missed)]
    if any(name.startswith("profile.") for name in rows):
        parts += ["## Where the time of a call goes", *_profile(rows)]
        parts += [_image("profile.svg", plot_folder, file)] if plot_folder else []
    return "\n\n".join(parts) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    about = "; ".join(f"{name}: {value}" for name, value in machine.items())
    return (
        f"Measured on {about}.\n\nValues are medians of interleaved repeats, ± half of their "
        "interquartile range. For a peer, its time divided by ours in the same run is given: 2× means that "
        "pltvm is twice as fast. “original” is the original system under QEMU; the lower end "
        "of its range counts."
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
    """Return the targets that a benchmark misses, with its figures."""
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
    """Return the table of a call's parts, beside those parts that the first version with calls had."""
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
        "Without the native core, which does all of this in one place. “before” is the first version that "
        "could make calls, measured in the same way on the same machine. Each part was measured by itself "
        "and is a median of its own, so the parts add up to the total only approximately.",
        "\n".join(lines),
    ]
