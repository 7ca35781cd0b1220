"""From a program counter to `main+0x1c (caller.c:42)`, for fault reports.

Nothing is read before the first `locate`, and a file with no symbols, no DWARF, or damaged ones only makes
the answer poorer: no method here raises. DWARF 2 to 5 line tables are read by pyelftools.
"""

from __future__ import annotations

import io
import os.path
import posixpath
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pltvm.host.elf import Source, read_headers, read_source

MAX_SYMBOLS = 200_000  # about two seconds of parsing
MAX_DEBUG = 32 << 20  # bytes of one debug section, compressed or not; more is left unread
MAX_PATH = 1024  # bytes of one file's directory; a longer one is left out


@dataclass(frozen=True)
class Location:
    """Where a program counter is; None for what is not known."""

    pc: int
    symbol: str | None = None
    offset: int = 0  # bytes from the symbol's start
    file: str | None = None  # its path as the compiler recorded it
    line: int | None = None

    def __str__(self) -> str:
        text = f"{self.pc:#x}"
        if self.symbol is not None:
            text = f"{self.symbol}+{self.offset:#x}" if self.offset else self.symbol
        if self.file is not None:
            text += f" ({os.path.basename(self.file)}:{self.line})"
        return text


class Span(NamedTuple):
    """Something known about the addresses [start, end)."""

    start: int
    end: int
    name: str  # a symbol or a file
    line: int = 0


class Symbols:
    """The symbols and line numbers of one ELF."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def locate(self, pc: int) -> Location:
        """The function (else the object or label) and the source line at `pc`, as far as the file tells."""
        functions, others = self._symbols
        symbol = _find(functions, pc) or _find(others, pc)
        line = _find(self._lines, pc)
        return Location(
            pc,
            symbol.name if symbol else None,
            pc - symbol.start if symbol else 0,
            line.name if line else None,
            line.line if line else None,
        )

    def functions(self) -> list[Span]:
        """Every function, sorted by address."""
        return list(self._symbols[0])

    def lines(self) -> list[Span]:
        """Every row of the line tables, sorted by address: `name` is a file's path, `line` counts from 1.

        A line can have many rows, and rows of code from several files follow each other where it is inlined.
        """
        return list(self._lines)

    def find(self, name: str) -> tuple[int, int] | None:
        """Address and bytes of the function or object of that name."""
        for spans in self._symbols:
            for span in spans:
                if span.name == name:
                    return span.start, span.end - span.start
        return None

    @cached_property
    def _elf(self) -> Any:
        """pyelftools' view of the file, or None when it is not a RISC-V ELF with sound headers."""
        with suppress(Exception):  # ElfError, and whatever pyelftools raises on damage
            data = read_source(self._source)
            read_headers(data)  # bounds the number of sections, which pyelftools does not
            from elftools.elf.elffile import ELFFile

            return ELFFile(io.BytesIO(data))
        return None

    @cached_property
    def _symbols(self) -> tuple[list[Span], list[Span]]:
        """Functions, and everything else that has an address; each sorted for `_find`."""
        functions: list[Span] = []
        others: list[Span] = []
        with suppress(Exception):  # damaged table: keep what came before the damage
            for span, is_function in _read_symbols(self._elf):
                (functions if is_function else others).append(span)
        return sorted(functions), sorted(others)

    @cached_property
    def _lines(self) -> list[Span]:
        lines: list[Span] = []
        with suppress(Exception):  # damaged DWARF: keep what came before the damage
            lines.extend(_read_lines(self._elf))
        return sorted(lines)


def _find(spans: list[Span], pc: int) -> Span | None:
    """The last of the sorted spans that starts at or before `pc`, if it reaches it."""
    index = bisect_right(spans, pc, key=lambda span: span.start) - 1
    if index < 0 or pc >= spans[index].end:
        return None
    return spans[index]


def _read_symbols(elf: Any) -> Iterator[tuple[Span, bool]]:
    """Every named address of .symtab, and whether it is a function.

    A label without a size (assembly) reaches to the end of its section, so `_end` does not claim the stack.
    """
    if elf is None:
        return
    table = elf.get_section_by_name(".symtab")
    if table is None or table["sh_size"] // 24 > MAX_SYMBOLS:
        return
    section_ends = [section["sh_addr"] + section["sh_size"] for section in elf.iter_sections()]
    for symbol in table.iter_symbols():
        kind, index, start = symbol["st_info"]["type"], symbol["st_shndx"], symbol["st_value"]
        if kind not in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE") or not isinstance(index, int):
            continue  # sections and files; undefined and absolute symbols
        if not symbol.name or symbol.name.startswith(("$", ".L")):
            continue  # mapping symbols ("$x": code starts here) and local labels
        end = start + symbol["st_size"] if symbol["st_size"] else section_ends[index]
        if end > start:
            yield Span(start, end, symbol.name), kind == "STT_FUNC"


def _read_lines(elf: Any) -> Iterator[Span]:
    """Every row of every line table, as the addresses up to the next row."""
    if elf is None or not elf.has_dwarf_info(strict=True):
        return
    for section in elf.iter_sections():
        if section.name.startswith((".debug_", ".zdebug_")) and section.data_size > MAX_DEBUG:
            return
    dwarf = elf.get_dwarf_info(follow_links=False)
    for unit in dwarf.iter_CUs():
        attributes = unit.get_top_DIE().attributes
        table = attributes.get("DW_AT_stmt_list")
        if table is None or not _is_bounded(dwarf, unit, table.value):
            continue
        program = dwarf.line_program_for_CU(unit)
        folder = attributes.get("DW_AT_comp_dir")
        files = _file_names(program, folder.value if folder else b"")
        row: Any = None
        dead = False  # the linker dropped this function and left its table at address 0
        for state in (entry.state for entry in program.get_entries() if entry.state is not None):
            if row is None:
                dead = state.address == 0
            elif not dead and row.line and row.address < state.address:
                name = files.get(row.file)
                if name is not None:
                    yield Span(row.address, state.address, name, row.line)
            row = None if state.end_sequence else state


def _file_names(program: Any, compiled_in: Any) -> dict[int, str]:
    """File number → path. Numbers start at 1 up to DWARF 4 and at 0 from DWARF 5 on.

    Directory 0 is the one that was compiled in, which DWARF 5 writes into the table.
    """
    modern = program["version"] >= 5
    directories = list(program.header.get("include_directory") or ())
    if not modern or not directories:
        directories.insert(0, compiled_in if isinstance(compiled_in, bytes) else b"")
    names: dict[int, str] = {}
    for number, entry in enumerate(program.header.get("file_entry") or (), 0 if modern else 1):
        if entry["name"]:
            names[number] = _path(directories, entry["dir_index"], entry["name"])
    return names


def _path(directories: list[bytes], index: int | None, name: bytes) -> str:
    """A file's path; just its name when the table does not say, or damaged, where it is."""
    path = name
    if index is not None and index < len(directories):
        folder = posixpath.join(directories[0], directories[index])
        if len(folder) <= MAX_PATH:  # a damaged table may give each of its files megabytes
            path = posixpath.normpath(posixpath.join(folder, name))
    return path.decode("utf-8", "replace")


# Forms whose value takes no bytes in the table.
_EMPTY_FORMS = {"DW_FORM_flag_present", "DW_FORM_implicit_const"}


def _is_bounded(dwarf: Any, unit: Any, offset: int) -> bool:
    """False for a DWARF 5 line table that may list 2**64 files in no bytes: pyelftools would not end.

    Parses the table's header up to each list's format, to see that an entry takes at least one byte.
    """
    from elftools.common.utils import struct_parse
    from elftools.construct import Struct

    fields: list[Any] = []
    for field in unit.structs.Dwarf_lineprog_header.subcons:
        fields.append(field)
        if field.name in ("directory_entry_format", "file_name_entry_format"):
            header = struct_parse(Struct("header", *fields), dwarf.debug_line_sec.stream, offset)
            if header["version"] >= 5 and all(entry.form in _EMPTY_FORMS for entry in header[field.name]):
                return False
    return True
