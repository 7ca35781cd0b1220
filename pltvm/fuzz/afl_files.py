"""The file names and text files of AFL++ 4, as read by its own tools and others.

File names are `id:000003,src:000001,time:1234,execs:5678,op:havoc,rep:2`: src is the id of the input it was
made from, time is in milliseconds. Seeds end in `orig:NAME` instead, and crashes have `sig:11` after the id.
"""

import os
import re
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pltvm.fuzz.results import Counts

PLOT_HEADER: Final = (
    "# relative_time, cycles_done, cur_item, corpus_count, pending_total, pending_favs, map_size, "
    "saved_crashes, saved_hangs, max_depth, execs_per_sec, total_execs, edges_found\n"
)
_LONGEST_NAME: Final = 255  # bytes of a file name
_ID: Final = re.compile(r"id:(\d{1,18})(?!\d)", re.ASCII)


@dataclass(frozen=True)
class Progress:
    """Statistics besides `Counts`. Values are numbers of inputs unless noted; 0 if not applicable."""

    speed: float = 0.0  # recent executions per second
    current: int = 0  # index of the input that is mutated
    favored: int = 0  # inputs that suffice for all edges
    pending: int = 0  # inputs that were not mutated yet
    pending_favored: int = 0
    rounds_without_finds: int = 0
    variable: int = 0  # inputs whose runs vary
    stability: float = 1.0  # share of the edges that do not vary
    timeout_ms: int = 0
    slowest_ms: int = 0
    dictionary: int = 0  # words found in the target


@dataclass
class Tally:
    """Data of the folder itself. Times are Unix seconds, 0 for never."""

    started: float = 0.0  # now − started is the run time, including earlier runs
    corpus: int = 0
    found: int = 0  # inputs other than seeds
    imported: int = 0
    depth: int = 0
    crashes: int = 0
    hangs: int = 0
    last_find: float = 0.0
    last_crash: float = 0.0
    last_hang: float = 0.0
    executions_at_crash: int = 0


# ---- file names ----


def ids(names: Iterable[str]) -> dict[int, str]:
    """Return the inputs among the files of a folder: id → file name, in the order of ids."""
    matches = [match for match in map(_ID.match, names) if match]
    return dict(sorted((int(match[1]), match.string) for match in matches))


def seed_name(number: int, time_ms: int, executions: int, name: str) -> str:
    """Return the file name of a seed with this `name`; of a name given by AFL++ only the end is kept."""
    start = f"id:{number:06},time:{time_ms},execs:{executions},orig:"
    return start + _cut(_safe(name).rpartition(",orig:")[2] or "seed", _LONGEST_NAME - len(start))


def found_name(
    number: int,
    time_ms: int,
    executions: int,
    *,
    signal: int | None = None,
    instance: str | None = None,
    source: int | None = None,
    operation: str = "havoc",
    repeat: int = 0,
) -> str:
    """Return the file name of another input: found by `operation`, or imported from an `instance`."""
    fields = [f"id:{number:06}"]
    if signal is not None:
        fields.append(f"sig:{signal:02}")
    if instance is not None:
        fields.append(f"sync:{_cut(_safe(instance).replace(',', '_') or 'worker', 80)}")
    if source is not None:
        fields.append(f"src:{source:06}")
    fields += [f"time:{time_ms}", f"execs:{executions}"]
    if instance is None:
        fields.append(f"op:{_cut(_safe(operation).replace(',', '_'), 80)}")
    if repeat:
        fields.append(f"rep:{repeat}")
    return ",".join(fields)


def origin(name: str) -> tuple[int, str]:
    """Return the id of the parent input (−1: none), and the operation: seed, sync, havoc …"""
    head, seed, _ = name.partition(",orig:")
    fields = dict(field.partition(":")[::2] for field in head.split(","))
    source = fields.get("src", "").partition("+")[0]  # splicing has two: src:000001+000002
    parent = int(source) if source.isdecimal() else -1
    if seed:
        return -1, "seed"
    return parent, "sync" if "sync" in fields else fields.get("op", "havoc")


def _safe(name: str) -> str:
    """Return the name as one printable component of a path."""
    return "".join(letter if letter.isprintable() and letter != "/" else "_" for letter in name)


def _cut(name: str, size: int) -> str:
    """Return at most `size` bytes of a name."""
    return name.encode()[:size].decode("utf-8", "ignore")


# ---- text files ----


def fuzzer_stats(
    counts: Counts, progress: Progress, tally: Tally, now: float, command: Sequence[str], banner: str
) -> str:
    """Return the text of fuzzer_stats, with AFL++'s keys in AFL++'s order."""
    run_time = max(now - tally.started, 0.0)
    values = {
        "start_time": int(tally.started),
        "last_update": int(now),
        "run_time": int(run_time),
        "fuzzer_pid": os.getpid(),
        "cycles_done": counts.rounds,
        "cycles_wo_finds": progress.rounds_without_finds,
        "time_wo_finds": int(max(now - (tally.last_find or tally.started), 0.0)),
        "execs_done": counts.executions,
        "execs_per_sec": f"{counts.executions / max(run_time, 0.001):.2f}",
        "execs_ps_last_min": f"{progress.speed:.2f}",
        "corpus_count": tally.corpus,
        "corpus_favored": progress.favored,
        "corpus_found": tally.found,
        "corpus_imported": tally.imported,
        "corpus_variable": progress.variable,
        "max_depth": tally.depth,
        "cur_item": progress.current,
        "pending_favs": progress.pending_favored,
        "pending_total": progress.pending,
        "stability": f"{100 * progress.stability:.2f}%",
        "bitmap_cvg": _coverage(counts),
        "saved_crashes": tally.crashes,
        "saved_hangs": tally.hangs,
        "last_find": int(tally.last_find),
        "last_crash": int(tally.last_crash),
        "last_hang": int(tally.last_hang),
        "execs_since_crash": counts.executions - tally.executions_at_crash,
        "exec_timeout": progress.timeout_ms,
        "slowest_exec_ms": progress.slowest_ms,
        "peak_rss_mb": _peak_memory(),
        "cpu_affinity": -1,
        "edges_found": counts.edges,
        "total_edges": counts.map_size,
        "var_byte_count": 0,
        "havoc_expansion": 0,
        "auto_dict_entries": progress.dictionary,
        "testcache_size": 0,
        "testcache_count": 0,
        "testcache_evict": 0,
        # afl-whatsup hands each line but the last of AFL++'s to a shell.
        "afl_banner": re.sub(r"[^\w./+-]", "_", banner, flags=re.ASCII) or "enclave",
        "afl_version": f"pltvm-{_version()}",
        "target_mode": "pltvm",
        "exec_seconds": f"{counts.seconds:.3f}",  # ours
        "command_line": " ".join(" ".join(command).split()),
    }
    return "".join(f"{key:<18}: {value}\n" for key, value in values.items())


def plot_line(counts: Counts, progress: Progress, tally: Tally, now: float) -> str:
    """Return a line of plot_data, with the columns of PLOT_HEADER."""
    values = [int(max(now - tally.started, 0.0)), counts.rounds, progress.current, tally.corpus]
    values += [progress.pending, progress.pending_favored]
    crashes = [tally.crashes, tally.hangs, tally.depth]
    end = [f"{progress.speed:.2f}", counts.executions, counts.edges]
    return ", ".join(map(str, [*values, _coverage(counts), *crashes, *end])) + "\n"


def parse_stats(text: str) -> dict[str, str]:
    """Return the keys and values of a fuzzer_stats."""
    lines = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def number(stats: dict[str, str], key: str) -> float:
    """Return a number of fuzzer_stats; 0 if it is missing, damaged, or too long."""
    text = stats.get(key, "").removesuffix("%")
    return float(text) if re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", text, re.ASCII) else 0.0


def counts_of(stats: dict[str, str]) -> Counts:
    """Return the counts in a fuzzer_stats."""
    keys = ("execs_done", "edges_found", "total_edges", "cycles_done")
    executions, edges, map_size, rounds = (int(number(stats, key)) for key in keys)
    return Counts(executions, number(stats, "exec_seconds"), edges, map_size, rounds)


def fuzzer_setup(command: Sequence[str]) -> str:
    """Return the text of fuzzer_setup: the command line, quoted for a shell."""
    quoted = ("'" + word.replace("'", "'\\''") + "'" for word in command)
    return f"# environment variables:\n# command line:\n{' '.join(quoted)}\n"


def readme(command: Sequence[str]) -> str:
    """Return the text of README.txt in crashes/."""
    return (
        f"Command line used to find this crash:\n\n{' '.join(command)}\n\n"
        "Each file is an input. Its report is in ../reports, under the same id. To see it happen again:\n\n"
        "pltvm fuzz --replay FILE\n"
    )


def _coverage(counts: Counts) -> str:
    return f"{100 * counts.edges / counts.map_size if counts.map_size else 0:.2f}%"


def _peak_memory() -> int:
    """Return the peak memory, in MiB, of this process or the largest of its ended children."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(user).ru_maxrss for user in users) // unit


@cache
def _version() -> str:
    try:
        return version("pltvm")
    except PackageNotFoundError:  # run from a checkout
        return "0"
