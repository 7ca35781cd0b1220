"""lcov `.info` files: lines of source and functions. genhtml, IDEs, diff-cover and CI services read them.

An instruction ran as often as all blocks that contain it together; a line as often as its most frequent
instruction. Lines with code that never ran are listed with 0. Counts of ELFs that share a source file are
added up.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pltvm.coverage.module import Module
from pltvm.host.symbols import Span
from pltvm.host.text import one_line


class _Times:
    """How often each instruction ran, as a list of addresses from which a count is valid."""

    def __init__(self, module: Module) -> None:
        changes: Counter[int] = Counter()
        for start, size, count in module.inside():
            changes[start] += count
            changes[start + size] -= count
        self._starts = sorted(changes)
        self._counts = list(accumulate(changes[at] for at in self._starts))

    def most(self, start: int, end: int) -> int:
        """Return the count of the most frequent instruction in [start, end)."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        return max(self._counts[first : bisect_left(self._starts, end)], default=0)


class SourceFile:
    """The coverage of one file: counts of its lines, and of its functions with their start lines."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}
        self.functions: dict[str, tuple[int, int]] = {}

    def record(self, name: str) -> Iterator[str]:
        """Yield the lines of its record, functions and lines in the order of the source."""
        functions = sorted((line, function, count) for function, (line, count) in self.functions.items())
        yield f"SF:{name}"
        yield from (f"FN:{line},{function}" for line, function, _ in functions)
        yield from (f"FNDA:{count},{function}" for _, function, count in functions)
        yield f"FNF:{len(functions)}"
        yield f"FNH:{sum(count > 0 for _, _, count in functions)}"
        yield from (f"DA:{line},{count}" for line, count in sorted(self.lines.items()))
        yield f"LF:{len(self.lines)}"
        yield f"LH:{sum(count > 0 for count in self.lines.values())}"
        yield "end_of_record"

    @property
    def reached(self) -> tuple[int, int]:
        """Return how many of its lines ran, and how many have code."""
        return sum(count > 0 for count in self.lines.values()), len(self.lines)

    def add(self, other: SourceFile) -> None:
        """Add the counts of another run."""
        for line, count in other.lines.items():
            self.lines[line] = self.lines.get(line, 0) + count
        for name, (line, count) in other.functions.items():
            first, before = self.functions.get(name, (line, 0))
            self.functions[name] = first, before + count


Files = dict[str, SourceFile]


def text(files: Files) -> str:
    """Return the text of an lcov file, one record for each source file."""
    lines: list[str] = []
    for name in sorted(files):
        lines.append("TN:")
        lines += files[name].record(name)
    return "".join(f"{line}\n" for line in lines)


def lcov(modules: Iterable[Module]) -> str:
    """Return the lcov text of modules; empty if no ELF has line tables."""
    return text(source_files(modules))


def add(files: Files, others: Files) -> None:
    """Add the counts of other files."""
    for name, file in others.items():
        files.setdefault(name, SourceFile()).add(file)


def to_plain(files: Files) -> list[Any]:
    """Return everything as lists of texts and numbers, for JSON."""
    return [
        [name, [list(one) for one in file.lines.items()],
         [[function, *one] for function, one in file.functions.items()]]
        for name, file in files.items()
    ]  # fmt: skip


def from_plain(plain: Iterable[Any]) -> Files:
    """Return the files from the result of `to_plain`."""
    files: Files = {}
    for name, lines, functions in plain:
        files[name] = file = SourceFile()
        file.lines = dict(lines)
        file.functions = {function: (line, count) for function, line, count in functions}
    return files


def source_files(modules: Iterable[Module]) -> Files:
    """Return the coverage of each source file."""
    files: Files = {}
    for module in modules:
        _add_module(files, module)
    return files


def _add_module(files: Files, module: Module) -> None:
    """Add the counts of one ELF to those of the source files."""
    times = _Times(module)
    paths: dict[str, str] = {}
    ran: dict[tuple[str, int], int] = {}
    rows = [row for row in module.symbols.lines() if module.start <= row.start < module.end]
    for row in rows:
        if row.name not in paths:
            paths[row.name] = _find_source(row.name, module.sources)
        key = paths[row.name], row.line
        ran[key] = max(ran.get(key, 0), times.most(row.start, row.end))
    for (path, line), count in ran.items():
        known = files.setdefault(path, SourceFile()).lines
        known[line] = known.get(line, 0) + count
    for function in module.symbols.functions():
        first = _row_at(rows, function.start)
        if first is not None:
            count = times.most(function.start, function.start + 1)
            functions = files[paths[first.name]].functions
            name = one_line(function.name, "_")
            line, before = functions.get(name, (first.line, 0))
            functions[name] = line, before + count


def _row_at(rows: list[Span], address: int) -> Span | None:
    """Return the row of an address; rows are sorted."""
    index = bisect_right(rows, address, key=lambda row: row.start) - 1
    return rows[index] if index >= 0 and address < rows[index].end else None


def _find_source(name: str, folders: Sequence[Path]) -> str:
    """Return the absolute path of a file if it is in one of the folders, else the path in the line table."""
    name = one_line(name, "_")
    for folder in folders:
        path = os.path.abspath(folder / name)
        if os.path.isfile(path):
            return path
    return name
