"""Turns a program counter into `main+0x1c (caller.c:42)`, for fault reports.

A file is read at the first lookup. Missing, damaged or too many symbols or DWARF data only make the answers
poorer: no method here raises. `note` says what was too much.

The caches have limits, as a host program can make thousands of enclaves of different ELFs: equal ELFs are
kept once, the latest KEPT bytes of ELFs are kept, and the parsed tables of MOST_READ of them.
"""

from __future__ import annotations

import os.path
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple
from weakref import WeakValueDictionary, ref

from pltvm.errors import ElfError
from pltvm.host import debug_sections
from pltvm.host.elf_details import PF_R, PF_W, PF_X, section_name
from pltvm.host.elf_headers import Headers, Source, read_headers, read_source
from pltvm.host.functions import Functions, read_functions
from pltvm.host.line_tables import Span, TooMuch, is_split, read_lines
from pltvm.host.text import one_line
from pltvm.host.unwind import Rules, Unwinder

__all__ = ["Location", "Span", "Symbols"]

MAX_SYMBOLS: Final = 200_000  # half a second
MAX_NAME: Final = 4096  # bytes; longer ones are cut
MAX_NAMES: Final = 16 << 20  # bytes of all names: thousands of symbols can share a long one
KEPT: Final = 256 << 20  # bytes of ELFs given as bytes
KEPT_FILES: Final = 1024
SAMPLE: Final = 4096  # bytes at the start, in the middle and at the end that are hashed
MOST_READ: Final = 4  # files whose parsed tables are kept, up to 150 MiB each

_WRITE, _ALLOC, _EXECINSTR = 1, 2, 4  # sh_flags
_SYMBOL: Final = Struct("<IBBHQQ")  # name, info, other, section, value, size
_NOTYPE, _OBJECT, _FUNC = 0, 1, 2
_MANGLED: Final = ("_Z", "_R")  # how names of C++ and Rust begin
_RESERVED: Final = 0xFF00  # section numbers from here on mean something else


@dataclass(frozen=True)
class Location:
    """The source location of a program counter; unknown parts are None."""

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
        return one_line(text)


def places_of(elf: bytes) -> Callable[[int], str]:
    """Return a function that describes addresses of an ELF: function, file and line."""
    symbols = Symbols(elf)
    return lambda pc: str(symbols.locate(pc))


class Symbols:
    """The symbols and line numbers of one ELF: a value, as is the ELF's source."""

    def __init__(self, source: Source) -> None:
        self._file = _share(source) if isinstance(source, bytes) else _File(source)

    def __reduce__(self) -> tuple[type[Symbols], tuple[Source]]:
        return Symbols, (self._file.source,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbols) and self._file.source == other._file.source

    def __hash__(self) -> int:
        return hash(self._file.source)

    @property
    def note(self) -> str:
        """Why symbols or lines are incomplete, in words; "" if they are complete."""
        return self._file.tables.note

    def locate(self, pc: int) -> Location:
        """Return the function (else the object or label) and the source line at `pc`, as far as known."""
        tables = self._file.tables
        symbol = _find(tables.functions, pc) or _find(tables.others, pc)
        line = _find(tables.lines, pc)
        return Location(
            pc,
            self._name(symbol) if symbol else None,
            pc - symbol.start if symbol else 0,
            line.name if line else None,
            line.line if line else None,
        )

    def inlined(self, pc: int) -> list[tuple[str, int]]:
        """Return the functions inlined at `pc`, innermost first: name, and the line that calls it."""
        found = [one for one in self._file.described.inlined if one.start <= pc < one.end]
        return [(one.name, one.line) for one in sorted(found, key=lambda one: -one.depth)]

    def _name(self, symbol: Span) -> str:
        """Return a function's name as its source has it, if the debug information says so."""
        if not symbol.name.startswith(_MANGLED):
            return symbol.name
        return self._file.described.names.get(symbol.start, symbol.name)

    def rules(self, pc: int) -> Rules | None:
        """Return the rules to find the caller of the function at `pc`, if the file has them."""
        return self._file.unwinder.rules(pc)

    def start_of(self, pc: int) -> int | None:
        """Return the start of the function at `pc`, or None."""
        span = _find(self._file.tables.functions, pc)
        return None if span is None else span.start

    def code(self, address: int, size: int) -> bytes:
        """Return bytes of the executable segments, as far as the file has them."""
        for start, data in self._file.tables.code:
            if start <= address < start + len(data):
                return bytes(data[address - start : address - start + size])
        return b""

    def section_of(self, address: int) -> Span | None:
        """Return the section loaded at `address`; `line` has its permissions (PF_R, PF_W, PF_X)."""
        return _find(self._file.tables.sections, address)

    @property
    def source(self) -> Source:
        """The ELF; b"" if it is not kept any more."""
        return self._file.source

    def functions(self) -> list[Span]:
        """Return every function, sorted by address."""
        return list(self._file.tables.functions)

    def lines(self) -> list[Span]:
        """Return every row of the line tables, sorted by address: `name` is a file's path, `line` counts from
        1.

        A line can have many rows, and with inlined code rows of several files alternate.
        """
        return list(self._file.tables.lines)

    def find(self, name: str) -> tuple[int, int] | None:
        """Return address and size of the function or object of that name, or None."""
        tables = self._file.tables
        for span in (*tables.functions, *tables.others):
            if span.name == name:
                return span.start, span.end - span.start
        return None


# ---- caches ----


class _Tables(NamedTuple):
    """The parsed tables of a file; each list is sorted for `_find`."""

    functions: list[Span]
    others: list[Span]
    lines: list[Span]
    note: str = ""
    code: tuple[tuple[int, memoryview], ...] = ()  # address and bytes of each executable segment
    sections: list[Span] = []  # noqa: RUF012


class _File:
    """An ELF, and its parsed tables."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.gone = False  # it is not kept any more
        self._tables: _Tables | None = None
        self._described: Functions | None = None
        self._unwinder: Unwinder | None = None

    @property
    def tables(self) -> _Tables:
        if self._tables is None:
            self._tables = _read(self.source)
            if self.gone:
                limit = f"more than {KEPT >> 20} MiB, or {KEPT_FILES}, ELFs were in use"
                self._tables = self._tables._replace(note=f"its symbols are not kept: {limit}")
            while len(_latest) >= MOST_READ:
                if (old := _latest.popleft()()) is not None:
                    old._tables = old._described = old._unwinder = None
            _latest.append(ref(self))
        return self._tables

    @property
    def described(self) -> Functions:
        """What the debug information says of functions, read at the first use, which is only in reports."""
        if self._described is None:
            self._described = _read_functions(self.source)
        return self._described

    @property
    def unwinder(self) -> Unwinder:
        """The call frame information, read at the first use."""
        if self._unwinder is None:
            try:
                self._unwinder = Unwinder(read_headers(read_source(self.source)))
            except ElfError:
                self._unwinder = Unwinder(None)
        return self._unwinder

    def let_go(self) -> None:
        """Drop the ELF; its parsed tables stay until others are read."""
        self.source, self.gone = b"", True


class _Content:
    """The bytes of an ELF as a key. Only samples are hashed, as hashing all takes milliseconds."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __hash__(self) -> int:
        data, middle = self.data, len(self.data) // 2
        return hash((len(data), data[:SAMPLE], data[middle : middle + SAMPLE], data[-SAMPLE:]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.data == other.data


_shared: WeakValueDictionary[_Content, _File] = WeakValueDictionary()  # in order of insertion
_latest: deque[ref[_File]] = deque()


def _share(data: bytes) -> _File:
    """Return the existing file of this content, or a new one, for which older ones may be dropped."""
    content = _Content(data)
    file = _shared.get(content)
    if file is not None:
        return file
    living = list(_shared.items())
    size = len(data) + sum(len(key.data) for key, _ in living)
    for count, (key, old) in zip(range(len(living), 0, -1), living, strict=True):
        if size <= KEPT and count < KEPT_FILES:
            break
        size -= len(key.data)
        del _shared[key]
        old.let_go()
    _shared[content] = file = _File(data)
    return file


# ---- reading ----


def _read(source: Source) -> _Tables:
    """Parse all tables of a file."""
    functions: list[Span] = []
    others: list[Span] = []
    lines: list[Span] = []
    notes: list[str] = []
    try:
        elf = read_headers(read_source(source))
    except ElfError:
        return _Tables([], [], [])
    try:
        for span, is_function in _read_symbols(elf):
            (functions if is_function else others).append(span)
    except TooMuch as error:
        notes.append(str(error))
    if not elf.sections:
        notes.append("it has no section headers, so no names of functions and no source lines are known")
    try:
        sections_of_lines = debug_sections.line_sections(elf)
        lines.extend(read_lines(sections_of_lines))
        if is_split(sections_of_lines):
            notes.append(
                "what is inlined is not shown: the rest of its debug information is in .dwo files "
                "(-gsplit-dwarf), which are not read"
            )
    except (TooMuch, debug_sections.TooBig) as error:
        notes.append(str(error))
    except debug_sections.Damaged as error:
        notes.append(f"its debug information cannot be unpacked: {one_line(str(error))}")
    code = tuple(_code(elf))
    sections = sorted(_sections(elf))
    return _Tables(sorted(functions), sorted(others), sorted(lines), "; ".join(notes), code, sections)


def _read_functions(source: Source) -> Functions:
    try:
        elf = read_headers(read_source(source))
        return read_functions(debug_sections.line_sections(elf, debug_sections.FUNCTIONS))
    except (ElfError, debug_sections.TooBig, debug_sections.Damaged):
        return Functions([], {})


def _code(elf: Headers) -> Iterator[tuple[int, memoryview]]:
    """Yield address and bytes of each executable segment."""
    for segment in elf.segments:
        if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & PF_X:
            start = segment["p_offset"]
            yield segment["p_vaddr"], memoryview(elf.data)[start : start + segment["p_filesz"]]


def _sections(elf: Headers) -> Iterator[Span]:
    """Yield the addresses of each section."""
    for section in elf.sections:
        start, size, flags = section["sh_addr"], section["sh_size"], section["sh_flags"]
        if flags & _ALLOC and size:
            allowed = PF_R | (PF_W if flags & _WRITE else 0) | (PF_X if flags & _EXECINSTR else 0)
            yield Span(start, start + size, one_line(section_name(elf, section)), allowed)


def _find(spans: list[Span], pc: int) -> Span | None:
    """Return the last of the sorted spans that starts at or before `pc`, if it contains `pc`."""
    index = bisect_right(spans, pc, key=lambda span: span.start) - 1
    if index < 0 or pc >= spans[index].end:
        return None
    return spans[index]


def _read_symbols(elf: Headers) -> Iterator[tuple[Span, bool]]:
    """Yield every named address of .symtab, and whether it is a function. Raises TooMuch.

    A label without a size (assembly) reaches to the end of its section, so `_end` does not claim the stack.
    """
    table = next((one for one in elf.sections if one["sh_type"] == "SHT_SYMTAB"), None)
    if table is None or table["sh_link"] >= len(elf.sections):
        return
    data = debug_sections.section_data(elf, table)
    count = len(data) // _SYMBOL.size
    if count > MAX_SYMBOLS:
        raise TooMuch(f"it has {count:,} symbols, of which at most {MAX_SYMBOLS:,} would be read")
    strings = debug_sections.section_data(elf, elf.sections[table["sh_link"]])
    section_ends = [section["sh_addr"] + section["sh_size"] for section in elf.sections]
    room = MAX_NAMES
    for at, info, _, index, start, size in _SYMBOL.iter_unpack(data[: count * _SYMBOL.size]):
        if info & 15 not in (_FUNC, _OBJECT, _NOTYPE) or not 0 < index < min(_RESERVED, len(section_ends)):
            continue  # sections and files; undefined and absolute symbols
        name = bytes(strings[at : at + MAX_NAME]).partition(b"\0")[0].decode("utf-8", "replace")
        if not name or name.startswith(("$", ".L")):
            continue  # mapping symbols ("$x": code starts here) and local labels
        end = start + size if size else section_ends[index]
        if end > start:
            room -= len(name)
            if room < 0:
                raise TooMuch(f"the names of its symbols have more than {MAX_NAMES >> 20} MiB")
            yield Span(start, end, name), info & 15 == _FUNC
