"""Coverage files: lcov `.info` for lines of source, drcov for blocks in a disassembler.

Input is what ran: for each ELF the blocks of code, by where they start. A block that traps in the middle
counts as a whole, since that is how it is recorded.

    lcov    genhtml, IDEs and CI services read it. An instruction ran as often as the blocks that hold it, all
            together; a line as often as the instruction of it that ran most. Lines with code that never ran
            are listed with 0. Several ELFs that share a source file are added up.
    drcov   version 2, as DynamoRIO writes it: Lighthouse, Lightkeeper and other plug-ins read it.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import Final

from pltvm.fuzz.paths import write_whole
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.symbols import Span, Symbols
from pltvm.host.text import one_line

_BLOCK: Final = Struct("<IHH")  # start from the module's base, bytes, module
_LONGEST: Final = 0xFFFF  # bytes of one block in drcov
_MOST_MODULES: Final = 1 << 16


@dataclass(frozen=True)
class Module:
    """One ELF and what ran of it. `blocks`: start address → (bytes, times)."""

    name: str  # a path, or the enclave's name: plug-ins match its last part with the file they show
    symbols: Symbols
    start: int  # of the addresses it is loaded at; blocks outside of it are ignored
    end: int
    blocks: Mapping[int, tuple[int, int]]
    entry: int = 0
    sources: Sequence[Path] = ()  # folders in which the files that its line tables name are looked for

    @classmethod
    def of(
        cls, elf: Source, blocks: Mapping[int, tuple[int, int]], name: str = "", sources: Sequence[Path] = ()
    ) -> Module:
        """The module of an enclave's ELF. Raises ElfError for what is none."""
        image = load_image(elf)
        start = min(piece.vaddr for piece in image.pieces)
        end = max(piece.end for piece in image.pieces)
        return cls(name or name_of(elf), Symbols(elf), start, end, blocks, image.entry, sources)

    def inside(self) -> Iterator[tuple[int, int, int]]:
        """The blocks (start, bytes, times) that are within the module and ran, sorted by address."""
        for start, (size, count) in sorted(self.blocks.items()):
            if self.start <= start and start + size <= self.end and size > 0 and count > 0:
                yield start, size, count


def write_lcov(path: Path, modules: Iterable[Module]) -> None:
    """Write an lcov file, whole or not at all. Raises PltvmError when it cannot be written."""
    write_whole(path, lcov(modules).encode("utf-8", "surrogateescape"))


def write_drcov(path: Path, modules: Sequence[Module]) -> None:
    """Write a drcov file, whole or not at all. Raises PltvmError when it cannot be written."""
    write_whole(path, drcov(modules))


# ---- lcov ----


class _Times:
    """How often each instruction ran, as a list of addresses from which a number holds."""

    def __init__(self, module: Module) -> None:
        changes: Counter[int] = Counter()
        for start, size, count in module.inside():
            changes[start] += count
            changes[start + size] -= count
        self._starts = sorted(changes)
        self._counts = list(accumulate(changes[at] for at in self._starts))

    def most(self, start: int, end: int) -> int:
        """That of the instruction in [start, end) that ran most."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        return max(self._counts[first : bisect_left(self._starts, end)], default=0)


class _SourceFile:
    """What is known about one file: times of its lines, and of its functions with the line they start at."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}
        self.functions: dict[str, tuple[int, int]] = {}

    def record(self, name: str) -> Iterator[str]:
        """The lines of its record, functions and lines in the order of the source."""
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


def lcov(modules: Iterable[Module]) -> str:
    """The text of an lcov file, one record for each source file. Empty when no ELF has line tables."""
    files = _source_files(modules)
    lines: list[str] = []
    for name in sorted(files):
        lines.append("TN:")
        lines += files[name].record(name)
    return "".join(f"{line}\n" for line in lines)


def lines_reached(modules: Iterable[Module]) -> dict[str, tuple[int, int]]:
    """For each source file: how many of its lines ran, and how many have code."""
    files = sorted(_source_files(modules).items())
    return {name: (sum(count > 0 for count in file.lines.values()), len(file.lines)) for name, file in files}


def _source_files(modules: Iterable[Module]) -> dict[str, _SourceFile]:
    files: dict[str, _SourceFile] = {}
    for module in modules:
        _add_module(files, module)
    return files


def _add_module(files: dict[str, _SourceFile], module: Module) -> None:
    """Add what ran of one ELF to what is known about the source files."""
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
        known = files.setdefault(path, _SourceFile()).lines
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
    """The row that an address belongs to; rows are sorted."""
    index = bisect_right(rows, address, key=lambda row: row.start) - 1
    return rows[index] if index >= 0 and address < rows[index].end else None


def _find_source(name: str, folders: Sequence[Path]) -> str:
    """Where a file is: its absolute path if it is in one of the folders, else what the line table says."""
    name = one_line(name, "_")
    for folder in folders:
        path = os.path.abspath(folder / name)
        if os.path.isfile(path):
            return path
    return name


# ---- drcov ----


def drcov(modules: Sequence[Module]) -> bytes:
    """The bytes of a drcov file: a table of the modules, and the blocks that ran.

    A block longer than 65,535 bytes is written as several. Raises ValueError for more than 65,536 modules or
    one of 4 GiB, which the format has no numbers for.
    """
    if len(modules) > _MOST_MODULES or any(module.end - module.start > 1 << 32 for module in modules):
        raise ValueError("drcov has room for 65,536 modules of at most 4 GiB")
    head = ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov", f"Module Table: version 2, count {len(modules)}"]
    head.append("Columns: id, base, end, entry, path")
    for number, module in enumerate(modules):
        path = one_line(module.name, "_").replace(", ", "_")  # a comma would start another column
        head.append(f"{number:3}, {module.start:#018x}, {module.end:#018x}, {module.entry:#018x}, {path}")
    blocks = [
        _BLOCK.pack(start + at - module.start, min(size - at, _LONGEST), number)
        for number, module in enumerate(modules)
        for start, size, _ in module.inside()
        for at in range(0, size, _LONGEST)
    ]
    head.append(f"BB Table: {len(blocks)} bbs")
    return "".join(f"{line}\n" for line in head).encode() + b"".join(blocks)
