"""From a program counter to `main+0x1c (caller.c:42)`, for fault reports.

Nothing is read before the first `locate`, and a file with no symbols, no DWARF, or damaged ones only makes
the answer poorer: no method here raises. DWARF 2 to 5 line tables are read by pyelftools.
"""

from __future__ import annotations

import io
import os.path
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pltvm.host.elf import Source, read_headers, read_source

MAX_SYMBOLS = 200_000  # about two seconds of parsing
MAX_DEBUG = 32 << 20  # bytes of one debug section, compressed or not; more is left unread


@dataclass(frozen=True)
class Location:
    """Where a program counter is; None for what is not known."""

    pc: int
    symbol: str | None = None
    offset: int = 0  # bytes from the symbol's start
    file: str | None = None  # as the compiler recorded it
    line: int | None = None

    def __str__(self) -> str:
        text = f"{self.pc:#x}"
        if self.symbol is not None:
            text = f"{self.symbol}+{self.offset:#x}" if self.offset else self.symbol
        if self.file is not None:
            text += f" ({os.path.basename(self.file)}:{self.line})"
        return text


class _Span(NamedTuple):
    """Something known about [start, end)."""

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
    def _symbols(self) -> tuple[list[_Span], list[_Span]]:
        """Functions, and everything else that has an address; each sorted for `_find`."""
        functions: list[_Span] = []
        others: list[_Span] = []
        with suppress(Exception):  # damaged table: keep what came before the damage
            for span, is_function in _read_symbols(self._elf):
                (functions if is_function else others).append(span)
        return sorted(functions), sorted(others)

    @cached_property
    def _lines(self) -> list[_Span]:
        lines: list[_Span] = []
        with suppress(Exception):  # damaged DWARF: keep what came before the damage
            lines.extend(_read_lines(self._elf))
        return sorted(lines)


def _find(spans: list[_Span], pc: int) -> _Span | None:
    """The last of the sorted spans that starts at or before `pc`, if it reaches it."""
    index = bisect_right(spans, pc, key=lambda span: span.start) - 1
    if index < 0 or pc >= spans[index].end:
        return None
    return spans[index]


def _read_symbols(elf: Any) -> Iterator[tuple[_Span, bool]]:
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
            yield _Span(start, end, symbol.name), kind == "STT_FUNC"


def _read_lines(elf: Any) -> Iterator[_Span]:
    """Every row of every line table, as the addresses up to the next row."""
    if elf is None or not elf.has_dwarf_info(strict=True):
        return
    for section in elf.iter_sections():
        if section.name.startswith((".debug_", ".zdebug_")) and section.data_size > MAX_DEBUG:
            return
    dwarf = elf.get_dwarf_info(follow_links=False)
    for unit in dwarf.iter_CUs():
        table = unit.get_top_DIE().attributes.get("DW_AT_stmt_list")
        if table is None or not _is_bounded(dwarf, unit, table.value):
            continue
        program = dwarf.line_program_for_CU(unit)
        files = _file_names(program)
        row: Any = None
        dead = False  # the linker dropped this function and left its table at address 0
        for state in (entry.state for entry in program.get_entries() if entry.state is not None):
            if row is None:
                dead = state.address == 0
            elif not dead and row.line and row.address < state.address:
                name = files.get(row.file)
                if name is not None:
                    yield _Span(row.address, state.address, name, row.line)
            row = None if state.end_sequence else state


def _file_names(program: Any) -> dict[int, str]:
    """File number → name. Numbers start at 1 up to DWARF 4 and at 0 from DWARF 5 on."""
    first = 0 if program["version"] >= 5 else 1
    names = (entry["name"] for entry in program["file_entry"])
    return {n: name.decode("utf-8", "replace") for n, name in enumerate(names, first) if name}


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
