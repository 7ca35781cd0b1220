"""Line tables of DWARF 2 to 5 (§6.2 and §7.5 of the standard): the source file and line of each address.

A table is a program: a few bytes can give any number of rows and files, and thousands of units can refer to
the same table. So each table is read once, row by row, with a budget of steps for all of them; pyelftools
builds all rows of a table first. Damage does not raise: rows before it count, and the next table is read.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

MAX_STEPS: Final = 4_000_000  # opcodes and attributes: some seconds
MAX_ROWS: Final = 500_000  # 80 MiB as Spans
MAX_TEXT: Final = 4096  # bytes of a directory or a name; a table with a longer one counts as damaged
_FILE_STEPS: Final = 8  # cost of a file, directory or declared attribute, for the memory it takes
_TEXT_STEP: Final = 16  # bytes of a text that count as a step
_MOST_FIELDS: Final = 256  # attributes of one entry
_LONGEST_LEB: Final = 16  # bytes; some compilers pad numbers

_MASK: Final = (1 << 64) - 1
_STMT_LIST, _COMP_DIR, _DWO_NAME = 0x10, 0x1B, 0x2130  # attributes
_SKELETON: Final = 4  # kind of a unit
_STRING, _BLOCK, _UDATA, _INDIRECT, _STRP, _LINE_STRP = 0x08, 0x09, 0x0F, 0x16, 0x0E, 0x1F  # forms
_DATA4, _DATA8, _SEC_OFFSET, _IMPLICIT_CONST = 0x06, 0x07, 0x17, 0x21
FIXED: Final = {
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4,
    0x1E: 16, 0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3,
    0x2C: 4,
}  # fmt: skip
_LEBS: Final = {0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02}
_OFFSETS: Final = {0x0E, 0x10, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21}  # four bytes, or eight
_COUNTED: Final = {0x0A: 1, 0x03: 2, 0x04: 4}  # blocks: bytes of their size
_PATH, _DIRECTORY = 1, 2  # columns of a DWARF 5 list of files
_UNSAID: Final = _MASK  # directory of a file without such a column


class Span(NamedTuple):
    """A name and a line for the addresses [start, end)."""

    start: int
    end: int
    name: str  # a symbol or a file
    line: int = 0


class TooMuch(Exception):
    """The budget is used up."""


class Damaged(Exception):
    """The data are invalid."""


class Fuel:
    """The remaining budget of steps."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.rows = MAX_ROWS

    def use_text(self, text: str | bytes) -> None:
        """Account for a text that is kept."""
        self.use(_FILE_STEPS + len(text) // _TEXT_STEP)

    def use(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooMuch(f"its line tables take more than {MAX_STEPS:,} steps")


class Reader:
    """Reads numbers from bytes; raises Damaged at their end."""

    def __init__(self, data: memoryview, at: int = 0, wide: bool = False) -> None:
        self.data, self.at, self.wide = data, at, wide

    def take(self, size: int) -> memoryview:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise Damaged
        self.at += size
        return part

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise Damaged
        self.at += 1
        return self.data[self.at - 1]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def offset(self) -> int:
        return self.number(8 if self.wide else 4)

    def uleb(self) -> int:
        value = 0
        for shift in range(0, 7 * _LONGEST_LEB, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK
        raise Damaged

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if bits < 64 and value >> (bits - 1) else value

    def text(self) -> bytes:
        """Read bytes up to a NUL."""
        part = text_at(self.data, self.at)
        self.at += len(part) + 1
        return part

    def unit(self) -> "Reader":
        """Return a reader of one unit, by the length at this place, and move past it."""
        size, wide = self.number(4), False
        if size == 0xFFFF_FFFF:
            size, wide = self.number(8), True
        return Reader(self.take(size), 0, wide)


class _Header(NamedTuple):
    """The header of a line table, before its program."""

    version: int
    instruction: int  # its smallest size
    base: int
    range: int
    lengths: bytes  # arguments of the standard opcodes, from opcode 1 on
    directories: list[bytes]
    files: list[tuple[bytes, int]]  # name and directory
    program: memoryview


def read_lines(sections: Mapping[str, memoryview]) -> Iterator[Span]:
    """Yield every row of every line table, with the addresses up to the next row.

    `sections` are .debug_info, .debug_abbrev, .debug_line, .debug_str and .debug_line_str, as far as they
    exist. Raises TooMuch when the budget is used up.
    """
    lines = sections.get(".debug_line", memoryview(b""))
    fuel = Fuel()
    seen: set[int] = set()
    for offset, folder in _units(sections, fuel):
        if offset in seen or offset >= len(lines):
            continue
        seen.add(offset)
        try:
            yield from _rows(_header(Reader(lines, offset).unit(), folder, sections, fuel), fuel)
        except Damaged:
            continue


# ---- units ----


def _units(sections: Mapping[str, memoryview], fuel: Fuel) -> Iterator[tuple[int, bytes]]:
    """Yield the place of each unit's line table, and the directory that it was compiled in."""
    info = Reader(sections.get(".debug_info", memoryview(b"")))
    known: dict[tuple[int, int], list[tuple[int, int]]] = {}
    try:
        while info.at < len(info.data):
            fuel.use()
            unit = info.unit()
            try:
                found = _top_of(unit, sections, known, fuel)
            except Damaged:
                continue
            if found is not None:
                yield found
    except Damaged:
        return


def is_split(sections: Mapping[str, memoryview]) -> bool:
    """Whether the rest of the first unit is in another file (-gsplit-dwarf)."""
    try:
        unit = Reader(sections.get(".debug_info", memoryview(b""))).unit()
        version = unit.number(2)
        if version >= 5:
            return unit.byte() == _SKELETON
        table = Reader(sections.get(".debug_abbrev", memoryview(b"")), unit.offset())
        unit.byte()
        declared = _declaration(table, unit.uleb(), Fuel())
    except (Damaged, TooMuch):
        return False
    return any(attribute == _DWO_NAME for attribute, _ in declared)


def _top_of(
    unit: Reader,
    sections: Mapping[str, memoryview],
    known: dict[tuple[int, int], list[tuple[int, int]]],
    fuel: Fuel,
) -> tuple[int, bytes] | None:
    """Return the two attributes of a unit's first entry."""
    version = unit.number(2)
    if not 2 <= version <= 5:
        return None
    if version >= 5:
        kind, address_size, abbrev = unit.byte(), unit.byte(), unit.offset()
        unit.take({4: 8, 5: 8}.get(kind, 0))  # skeleton and split units: their id
    else:
        abbrev, address_size = unit.offset(), unit.byte()
    code = unit.uleb()
    if (abbrev, code) not in known:
        table = sections.get(".debug_abbrev", memoryview(b""))
        known[abbrev, code] = _declaration(Reader(table, abbrev), code, fuel)
    table_at, folder = None, b""
    fuel.use(len(known[abbrev, code]))
    for attribute, form in known[abbrev, code]:
        if form == _INDIRECT:
            form = unit.uleb()
        if attribute == _STMT_LIST and form in (_DATA4, _DATA8, _SEC_OFFSET):
            table_at = unit.offset() if form == _SEC_OFFSET else unit.number(FIXED[form])
        elif attribute == _COMP_DIR and form in (_STRING, _STRP, _LINE_STRP):
            folder = string(unit, form, sections)
        else:
            skip(unit, form, address_size)
    return None if table_at is None else (table_at, folder)


def _declaration(reader: Reader, code: int, fuel: Fuel) -> list[tuple[int, int]]:
    """Return attributes and forms of the declaration with this code, in the table that starts here."""
    while True:
        found = reader.uleb()
        fields: list[tuple[int, int]] = []
        if not found:
            raise Damaged
        reader.uleb(), reader.byte()  # the tag, and whether it has children
        while len(fields) < _MOST_FIELDS:
            fuel.use(_FILE_STEPS)
            attribute, form = reader.uleb(), reader.uleb()
            if form == _IMPLICIT_CONST:
                reader.uleb()
            if not attribute and not form:
                break
            fields.append((attribute, form))
        else:
            raise Damaged
        if found == code:
            return fields


def skip(reader: Reader, form: int, address_size: int = 8) -> None:
    """Skip a value that is not needed."""
    if form in FIXED:
        reader.take(FIXED[form])
    elif form in _OFFSETS:
        reader.offset()
    elif form in _LEBS:
        reader.uleb()
    elif form == _STRING:
        reader.text()
    elif form in (_BLOCK, 0x18):  # exprloc
        reader.take(reader.uleb())
    elif form in _COUNTED:
        reader.take(reader.number(_COUNTED[form]))
    elif form == 0x01:
        reader.take(address_size)
    else:
        raise Damaged


def string(reader: Reader, form: int, sections: Mapping[str, memoryview]) -> bytes:
    if form == _STRING:
        return reader.text()
    name = ".debug_str" if form == _STRP else ".debug_line_str"
    return text_at(sections.get(name, memoryview(b"")), reader.offset())


def text_at(data: memoryview, at: int) -> bytes:
    text, end, _ = bytes(data[at : at + MAX_TEXT]).partition(b"\0")
    if not end:
        raise Damaged
    return text


# ---- tables ----


def _header(unit: Reader, folder: bytes, sections: Mapping[str, memoryview], fuel: Fuel) -> _Header:
    """Parse the header. Directory 0 is the one that was compiled in."""
    version = unit.number(2)
    if not 2 <= version <= 5:
        raise Damaged
    if version >= 5:
        unit.take(2)  # sizes of addresses and segment selectors
    size = unit.offset()
    program = unit.data[unit.at + size :]
    instruction = unit.byte()
    unit.take(2 if version >= 4 else 1)  # operations of an instruction; whether rows are statements
    base, line_range, first = unit.byte(), unit.byte(), unit.byte()
    lengths = bytes(unit.take(max(first - 1, 0)))
    if version >= 5:
        directories = [name for name, _ in _list5(unit, sections, fuel)] or [folder]
        files = _list5(unit, sections, fuel)
    else:
        directories = [folder, *_list(unit, fuel)]
        files = [(b"", 0)]  # numbers start at 1
        while name := unit.text():
            fuel.use_text(name)
            files.append((name, unit.uleb()))
            unit.uleb(), unit.uleb()  # time and size
    base = base - 256 if base > 127 else base
    return _Header(version, instruction, base, line_range, lengths, directories, files, program)


def _list(unit: Reader, fuel: Fuel) -> Iterator[bytes]:
    """Yield directories, up to DWARF 4."""
    while name := unit.text():
        fuel.use_text(name)
        yield name


def _list5(unit: Reader, sections: Mapping[str, memoryview], fuel: Fuel) -> list[tuple[bytes, int]]:
    """Return directories or files of DWARF 5: a description of the columns, then the rows."""
    columns = [(unit.uleb(), unit.uleb()) for _ in range(unit.byte())]
    count = unit.uleb()
    if count > len(unit.data) - unit.at:  # columns can take no bytes, so the count must be limited
        raise Damaged
    entries = []
    for _ in range(count):
        fuel.use(len(columns))
        name, directory = b"", _UNSAID
        for content, form in columns:
            if content == _PATH and form in (_STRING, _STRP, _LINE_STRP):
                name = string(unit, form, sections)
            elif content == _DIRECTORY and form in (_UDATA, 0x0B, 0x05):
                directory = unit.uleb() if form == _UDATA else unit.number(FIXED[form])
            else:
                skip(unit, form)
        fuel.use_text(name)
        entries.append((name, directory))
    return entries


def _rows(header: _Header, fuel: Fuel) -> Iterator[Span]:
    """Yield the rows of a table as spans, without functions that the linker dropped, which are at address
    0."""
    names: dict[int, str] = {}
    address = line = file = 0
    first, dead = True, False
    for next_address, next_file, next_line, ends in _program(header, fuel):
        if first:
            dead = next_address == 0
        elif not dead and line and address < next_address:
            if file not in names:
                names[file] = _path(header, file)
                fuel.use_text(names[file])
            if names[file]:
                fuel.rows -= 1
                if fuel.rows < 0:
                    raise TooMuch(f"its line tables have more than {MAX_ROWS:,} rows")
                yield Span(address, next_address, names[file], line)
        address, file, line, first = next_address, next_file, next_line, ends


def _program(header: _Header, fuel: Fuel) -> Iterator[tuple[int, int, int, bool]]:
    """Run a table's program: yield address, file and line of each row, and whether it ends a sequence."""
    reader = Reader(header.program)
    special = len(header.lengths) + 1
    address, file, line = 0, 1, 1
    if not header.range:
        raise Damaged
    while reader.at < len(reader.data):
        fuel.use()
        opcode = reader.byte()
        if opcode >= special:
            advance, step = divmod(opcode - special, header.range)
            address = (address + advance * header.instruction) & _MASK
            line = (line + header.base + step) & 0xFFFF_FFFF
            yield address, file, line, False
        elif opcode == 0:
            rest = Reader(reader.take(reader.uleb()))
            kind = rest.byte()
            if kind == 1:
                yield address, file, line, True
                address, file, line = 0, 1, 1
            elif kind == 2:
                address = rest.number(len(rest.data) - 1) & _MASK
            elif kind == 3:
                header.files.append((rest.text(), rest.uleb()))
                fuel.use_text(header.files[-1][0])
        elif opcode == 1:
            yield address, file, line, False
        elif opcode == 2:
            address = (address + reader.uleb() * header.instruction) & _MASK
        elif opcode == 3:
            line = (line + reader.sleb()) & 0xFFFF_FFFF
        elif opcode == 4:
            file = reader.uleb()
        elif opcode == 8:
            address = (address + (255 - special) // header.range * header.instruction) & _MASK
        elif opcode == 9:
            address = (address + reader.number(2)) & _MASK
        else:
            fuel.use(header.lengths[opcode - 1])
            for _ in range(header.lengths[opcode - 1]):
                reader.uleb()


def _path(header: _Header, number: int) -> str:
    """Return a file's path; only its name if the directory is unknown, "" if there is no such file."""
    if number >= len(header.files):
        return ""
    path, directory = header.files[number]
    if path and directory < len(header.directories):
        folder = posixpath.join(header.directories[0], header.directories[directory])
        path = posixpath.normpath(posixpath.join(folder, path))
    return path.decode("utf-8", "replace")
