"""The output folder of a campaign, in the layout of AFL++ 4, so that its tools can read it.

    OUT/default/              one instance; a campaign on one machine has one
        queue/                inputs: id:000003,src:000001,time:1234,execs:5678,op:havoc,rep:2
        crashes/  hangs/      inputs that show a bug; ids are counted through both folders
        fuzzer_stats  plot_data  cmdline  fuzzer_setup
        reports/              ours: id:000003.txt and id:000003.json, for each crash and hang
        campaign.json         ours: the options, for a replay and to resume

Every file is written under another name and then renamed: it is complete or absent, whenever the process
ends. Others may have made the folder: no link in it is followed, see `beneath`.
The report is written before its input, so an input always has one. The folder is locked (flock) while a
campaign uses it; the lock ends with the process, and forked children do not hold it.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pltvm.errors import PltvmError
from pltvm.fuzz import afl_files, beneath
from pltvm.fuzz.afl_files import Progress, Tally
from pltvm.fuzz.paths import (
    CAMPAIGN,
    Paths,
    encode,
    errors_about,
    find_campaign,
    lock,
    read_input,
    read_options,
    read_text,
)
from pltvm.fuzz.results import FAULT, HANG, STACK, Counts, Entry, Finding

__all__ = ["OutputFolder", "Paths", "Progress", "find_campaign", "read_about"]

_NEW: Final = ".new"  # a file being written; hidden, so that no tool takes it for an input
_SIGABRT, _SIGSEGV = 6, 11  # findings of oracles look like those of a sanitizer
_LONGEST_LINE: Final = 4096  # bytes, of plot_data
_NO_PROGRESS: Final = Progress()


class OutputFolder:
    """The folder of one instance, opened for a new or a resumed campaign. A context manager.

    `options` are the campaign's, as plain JSON: to resume, they have to be the same, so values that may
    change between runs (the number of workers) are not part of them. `command` and `target` are for AFL++'s
    files: the whole command line, and that of the target. `clock` returns Unix seconds; it is used only for
    fuzzer_stats; file names have times given by the caller.

    Raises PltvmError when the folder has other content, is used by another campaign, cannot be written, or
    belongs to a campaign with other options.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str = "default",
        *,
        options: dict[str, Any],
        command: Sequence[str] = (),
        target: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not name or name.startswith(".") or "/" in name:
            raise PltvmError(f"{name!r}: is not a name for a part of a campaign's folder")
        self._out = Path(path)
        self.paths = Paths(self._out / name)
        self._command, self._target, self._clock = tuple(command), tuple(target), clock
        self._lock = -1
        with errors_about(self.paths.root):
            self._check_and_make()
            self._lock = lock(self._out, self.paths.root)
            try:
                self._open(options)
            except BaseException:
                self.close()
                raise
        _OPEN.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the folder. Everything is on disk already."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # ---- reading ----

    def queue(self) -> list[Entry]:
        """Return the inputs in the order of their ids; `parent` is an index in this list. `blocks` is 0."""
        names = self._ids(self.paths.queue)
        index = {number: at for at, number in enumerate(names)}
        entries = []
        for name in names.values():
            parent, operation = afl_files.origin(name)
            data = read_input(self._out, self.paths.queue / name)
            entries.append(Entry(data, index.get(parent, -1), operation))
        return entries

    def findings(self) -> list[Finding]:
        """Return the findings so far, in the order of ids."""
        folders = (self.paths.crashes, self.paths.hangs)
        files = {number: folder / name for folder in folders for number, name in self._ids(folder).items()}
        return [_read_finding(self._out, self.paths, files[number]) for number in sorted(files)]

    def saved_counts(self) -> Counts:
        """Return the progress in the last fuzzer_stats before the folder was opened."""
        return afl_files.counts_of(self._before)

    # ---- writing ----

    def add_entry(
        self, entry: Entry, counts: Counts, *, time_ms: int | None = None, name: str = "", repeat: int = 0
    ) -> Path:
        """Add an input to the queue and return its file; its index is its place in `queue()`.

        `time_ms` is the run time of the campaign, by default that of its executions. `name` is a seed's file
        name, or the instance that an input was imported from; `repeat` is the number of stacked mutations.
        """
        number = self._numbers[-1] + 1 if self._numbers else 0
        at = _milliseconds(counts, time_ms)
        if entry.operation == "seed":
            file_name = afl_files.seed_name(number, at, counts.executions, name)
        else:
            file_name = afl_files.found_name(
                number,
                at,
                counts.executions,
                instance=name if entry.operation == "sync" else None,
                source=self._id_of(entry.parent),
                operation=entry.operation,
                repeat=repeat,
            )
        file = self.paths.queue / file_name
        self._write(file, entry.data)
        self._note_entry(number, entry.parent, entry.operation)
        if entry.operation != "seed":
            self._tally.last_find = self._clock()
        return file

    def add_finding(
        self,
        finding: Finding,
        counts: Counts,
        *,
        time_ms: int | None = None,
        parent: int = -1,
        operation: str = "havoc",
        repeat: int = 0,
    ) -> Path | None:
        """Keep an input that shows a bug, with its report, and return its file.

        Returns None, and writes nothing, if there is a finding with the same signature. `parent` is the index
        in the queue of the input that it was made from, −1 for none. Values in `details` that are not JSON
        are stored as text.
        """
        if finding.signature in self._signatures:
            return None
        number, tally = self._next_finding, self._tally
        signal = _SIGSEGV if finding.kind in (FAULT, STACK) else _SIGABRT
        file_name = afl_files.found_name(
            number,
            _milliseconds(counts, time_ms),
            counts.executions,
            signal=None if finding.kind == HANG else signal,
            source=self._id_of(parent),
            operation=operation,
            repeat=repeat,
        )
        folder = self.paths.hangs if finding.kind == HANG else self.paths.crashes
        file = folder / file_name
        report = self.paths.report_of(file)
        self._write(report.with_suffix(".json"), encode(_about(finding)))
        self._write(report, encode(finding.report + "\n"))
        if finding.kind != HANG and not tally.crashes:
            self._write(folder / "README.txt", encode(afl_files.readme(self._command)))
        self._write(file, finding.data)
        self._next_finding += 1
        self._signatures.add(finding.signature)
        if finding.kind == HANG:
            tally.hangs, tally.last_hang = tally.hangs + 1, self._clock()
        else:
            tally.crashes, tally.last_crash = tally.crashes + 1, self._clock()
            tally.executions_at_crash = counts.executions
        return file

    def write_stats(self, counts: Counts, progress: Progress = _NO_PROGRESS) -> None:
        """Write fuzzer_stats; only after the first input and execution, as afl-whatsup divides by both."""
        if self._numbers and counts.executions > 0:
            banner = os.path.basename(self._target[0]) if self._target else ""
            text = afl_files.fuzzer_stats(counts, progress, self._tally, self._clock(), self._command, banner)
            self._write(self.paths.root / "fuzzer_stats", encode(text))

    def append_plot(self, counts: Counts, progress: Progress = _NO_PROGRESS) -> None:
        """Add a line to plot_data; afl-plot needs two. An incomplete line is removed on resume."""
        path = self.paths.root / "plot_data"
        line = afl_files.plot_line(counts, progress, self._tally, self._clock())
        with errors_about(path):
            beneath.append(self._out, path, line.encode())

    # ---- inside ----

    def _check_and_make(self) -> None:
        """Make the folder if allowed; changes nothing before that is checked."""
        out, root = self._out, self.paths.root
        there = os.path.lexists(root)
        for folder in (out, root):
            if folder.exists() and not folder.is_dir():
                raise PltvmError(f"{folder}: is a file; name a folder for the campaign")
        if out.exists() and not there:
            for path in sorted(out.iterdir()):
                instance = any((path / file).exists() for file in (CAMPAIGN, "fuzzer_stats", "fuzzer_setup"))
                if not instance and not path.name.startswith("."):
                    raise PltvmError(f"{out}: holds something else ({path.name}); name a new or empty folder")
        if there and not os.path.lexists(self.paths.campaign):
            with beneath.opened(out, root) as descriptor:
                others = sorted({*os.listdir(descriptor)} - {_NEW})
            if others:
                raise PltvmError(f"{root}: holds something else ({others[0]}), not a campaign of pltvm")
        out.mkdir(parents=True, exist_ok=True)
        beneath.make_folder(out, root)

    def _open(self, options: dict[str, Any]) -> None:
        """Read existing files, and make missing ones."""
        paths = self.paths
        wanted = json.loads(json.dumps(options))  # tuples become lists, as in the file
        if os.path.lexists(paths.campaign):
            _compare(paths.root, read_options(self._out, paths.campaign), wanted)
        else:  # written first, so that a folder without it is known to be empty
            self._write(paths.campaign, encode(json.dumps(wanted, indent=2) + "\n"))
        for folder in (paths.queue, paths.crashes, paths.hangs, paths.reports):
            beneath.make_folder(self._out, folder)
        self._write(paths.root / "cmdline", encode("".join(f"{word}\n" for word in self._target)))
        self._write(paths.root / "fuzzer_setup", encode(afl_files.fuzzer_setup(self._command)))
        plot = paths.root / "plot_data"
        if not beneath.cut_last_line(self._out, plot, _LONGEST_LINE):
            self._write(plot, afl_files.PLOT_HEADER.encode())
        self._before = afl_files.parse_stats(read_text(self._out, paths.root / "fuzzer_stats"))
        self._count()

    def _count(self) -> None:
        """Count the files, and read the times of fuzzer_stats, which may be a little older."""
        self._numbers: list[int] = []  # the id of each input of the queue
        self._depths: list[int] = []
        run_time = afl_files.number(self._before, "run_time")
        last = [afl_files.number(self._before, f"last_{what}") for what in ("find", "crash", "hang")]
        self._tally = tally = Tally(self._clock() - run_time)
        tally.last_find, tally.last_crash, tally.last_hang = last
        names = self._ids(self.paths.queue)
        index = {number: at for at, number in enumerate(names)}
        for number, name in names.items():
            parent, operation = afl_files.origin(name)
            self._note_entry(number, index.get(parent, -1), operation)
        crashes, hangs = self._ids(self.paths.crashes), self._ids(self.paths.hangs)
        tally.crashes, tally.hangs = len(crashes), len(hangs)
        self._next_finding = max([*crashes, *hangs], default=-1) + 1
        self._signatures = {finding.signature for finding in self.findings()}
        if crashes:
            done, since = (afl_files.number(self._before, f"execs_{key}") for key in ("done", "since_crash"))
            tally.executions_at_crash = int(done - since)

    def _note_entry(self, number: int, parent: int, operation: str) -> None:
        """Count an input. A seed has depth 1, as in AFL++."""
        depth = self._depths[parent] + 1 if 0 <= parent < len(self._depths) else 1
        self._numbers.append(number)
        self._depths.append(depth)
        tally = self._tally
        tally.corpus += 1
        tally.found += operation != "seed"
        tally.imported += operation == "sync"
        tally.depth = max(tally.depth, depth)

    def _id_of(self, index: int) -> int | None:
        """Return the id of an input of the queue, for `src`."""
        return self._numbers[index] if 0 <= index < len(self._numbers) else None

    def _ids(self, folder: Path) -> dict[int, str]:
        with errors_about(folder):
            return afl_files.ids(beneath.plain_files(self._out, folder))

    def _write(self, path: Path, data: bytes) -> None:
        with errors_about(path):
            beneath.write(self._out, path, data, self.paths.root / _NEW)


_OPEN: weakref.WeakSet[OutputFolder] = weakref.WeakSet()


def _close_in_child() -> None:
    """Close locks in a forked child, which must not keep the folder locked after its parent has ended."""
    for folder in list(_OPEN):
        folder.close()


os.register_at_fork(after_in_child=_close_in_child)


def _compare(root: Path, known: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise a PltvmError that names the options that differ."""
    missing = object()
    differ = [
        f"{key} {known.get(key)!r}, not {wanted.get(key)!r}"
        for key in sorted({*known, *wanted})
        if known.get(key, missing) != wanted.get(key, missing)
    ]
    if differ:
        raise PltvmError(f"{root}: was started with other options ({'; '.join(differ)}); name another folder")


def _about(finding: Finding) -> str:
    """Return a finding as JSON, without its report and its input, which have their own files."""
    return json.dumps(finding.to_dict(), indent=2, skipkeys=True, default=_plain) + "\n"


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def read_about(out: Path, path: Path) -> dict[str, Any]:
    """Return the JSON file of a finding beneath `out`; {} if it is missing or damaged."""
    with suppress(ValueError, RecursionError):
        content = json.loads(read_text(out, path))
        return content if isinstance(content, dict) else {}
    return {}


def _read_finding(out: Path, paths: Paths, file: Path) -> Finding:
    """Read a finding from its files. Without its report, which users may delete, it is incomplete."""
    report = paths.report_of(file)
    about = read_about(out, report.with_suffix(".json"))
    details = about.get("details")
    return Finding(
        str(about.get("kind", HANG if file.parent == paths.hangs else FAULT)),
        str(about.get("signature", file.name)),
        str(about.get("summary", "")),
        read_text(out, report).removesuffix("\n"),
        read_input(out, file),
        details if isinstance(details, dict) else {},
    )


def _milliseconds(counts: Counts, time_ms: int | None) -> int:
    return int(counts.seconds * 1000) if time_ms is None else time_ms
