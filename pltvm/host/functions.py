"""What DWARF says of functions: those that are inlined in others (§3.3.8), and names as the source has them.

    <namespace>  store
      <class_type>  queue
        <subprogram>  push                not _ZN5store5queue4pushEi, as its symbol
    <subprogram>  specification: push     0x1112 … 0x1140
      <inlined_subroutine>  poke          0x112e … 0x1134, called at deep.c:5

Like the line tables, this is read entry by entry, with one budget for all of it, and damage raises nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pltvm.host.line_tables import Damaged, Fuel, Reader, TooMuch, skip, text_at

MOST_INLINED: Final = 100_000
_MOST_DEPTH: Final = 64
_MOST_ORIGINS: Final = 4
_MASK: Final = (1 << 64) - 1
# tags
_INLINED, _SUBPROGRAM = 0x1D, 0x2E
_SCOPES: Final = (0x02, 0x13, 0x17, 0x39)  # class, struct, union, namespace
_NOT_NAMED: Final = "(anonymous)"
_KEPT_STEPS: Final = 16  # cost of an entry that is kept, for the memory it takes
_NAME, _LOW, _HIGH, _ORIGIN, _SPECIFICATION, _RANGES, _LINE = 0x03, 0x11, 0x12, 0x31, 0x47, 0x55, 0x59
_STR_BASE, _ADDR_BASE, _RANGE_BASE = 0x72, 0x73, 0x74  # attributes of a unit
_ADDRESS, _STRING, _STRP, _LINE_STRP, _INDIRECT, _IMPLICIT = 0x01, 0x08, 0x0E, 0x1F, 0x16, 0x21  # forms
_CONSTANTS: Final = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8}
_REFERENCES: Final = (0x11, 0x12, 0x13, 0x14, 0x15)  # to an entry of the same unit
_INDEXES: Final = {0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4}
_ADDRESS_INDEXES, _STRING_INDEXES = (0x1B, 0x29, 0x2A, 0x2B, 0x2C), (0x1A, 0x25, 0x26, 0x27, 0x28)

Sections = Mapping[str, memoryview]
Values = dict[int, tuple[int, int]]  # by attribute: its form and number, or the place of a text
Declaration = tuple[int, bool, list[tuple[int, int, int]]]  # tag, whether it has children, attributes


class Inlined(NamedTuple):
    """The addresses [start, end) are code of function `name`, inlined at `line` of the outer function."""

    start: int
    end: int
    depth: int  # larger for inner functions
    name: str
    line: int


class Functions(NamedTuple):
    """The inlined functions of a file, and the full names of all functions by address."""

    inlined: list[Inlined]
    names: dict[int, str]


class _Found(NamedTuple):
    """An entry with code: an inlined function, or one of its own. Its name may come later in the unit."""

    at: int
    tag: int
    depth: int
    values: "Values"


def read_functions(sections: Sections) -> Functions:
    """Return what is known of the functions of a file; what is after damage, or beyond the budget, is left
    out."""
    info = Reader(sections.get(".debug_info", memoryview(b"")))
    fuel = Fuel()
    found = Functions([], {})
    try:
        while info.at < len(info.data) and len(found.inlined) < MOST_INLINED:
            start = info.at
            unit = info.unit()
            try:
                _Unit(unit, info.at - start - len(unit.data), sections, fuel).read(found)
            except (Damaged, RecursionError):
                continue
    except (Damaged, TooMuch):
        pass
    del found.inlined[MOST_INLINED:]
    return found


class _Unit:
    """One unit of .debug_info; `before` is the number of its bytes before the reader's data: references count
    them."""

    def __init__(self, reader: Reader, before: int, sections: Sections, fuel: Fuel) -> None:
        self._reader, self._before, self._sections, self._fuel = reader, before, sections, fuel
        self._version = version = reader.number(2)
        if not 2 <= version <= 5:
            raise Damaged
        if version >= 5:
            kind, _size, abbreviations = reader.byte(), reader.byte(), reader.offset()
            reader.take({4: 8, 5: 8}.get(kind, 0))
        else:
            abbreviations, _size = reader.offset(), reader.byte()
        self._declarations = dict(self._read_declarations(abbreviations))
        self._bases: dict[int, int] = {}
        self._low = 0
        self._scopes: dict[int, str] = {}  # of entries of functions, by their places: "store::queue::"

    def _read_declarations(self, at: int) -> Iterator[tuple[int, Declaration]]:
        reader = Reader(self._sections.get(".debug_abbrev", memoryview(b"")), at)
        while code := reader.uleb():
            tag, children = reader.uleb(), reader.byte() != 0
            fields: list[tuple[int, int, int]] = []
            while True:
                self._fuel.use()
                attribute, form = reader.uleb(), reader.uleb()
                implied = reader.sleb() if form == _IMPLICIT else 0
                if not attribute and not form:
                    break
                fields.append((attribute, form, implied))
            yield code, (tag, children, fields)

    def read(self, functions: Functions) -> None:
        """Add the functions of the unit, outer ones before inner ones; those before damage too."""
        found: list[_Found] = []
        try:
            for one in self._entries():
                self._fuel.use(_KEPT_STEPS)
                found.append(one)
        finally:
            self._add(functions, found)

    def _add(self, functions: Functions, found: list[_Found]) -> None:
        for at, tag, depth, values in found:
            name = self._name(values, at, _MOST_ORIGINS)
            if tag == _SUBPROGRAM:
                if name:
                    functions.names[self._address(values[_LOW])] = name
                continue
            line = values.get(_LINE, (0, 0))[1]
            for start, end in self._ranges(values):
                if name and start < end:
                    functions.inlined.append(Inlined(start, end, depth, name, line))

    def _entries(self) -> Iterator[_Found]:
        """Yield the entries of functions with code; notes the scopes of all functions."""
        reader, first = self._reader, True
        scopes: list[str] = []  # of each entry that we are inside
        while reader.at < len(reader.data):
            self._fuel.use()
            at, depth, outer = reader.at, len(scopes), scopes[-1] if scopes else ""
            code = reader.uleb()
            if not code:
                if depth <= 1:
                    return
                scopes.pop()
                continue
            tag, children, _ = self._declarations.get(code) or (0, False, [])
            if not tag:
                raise Damaged
            values, scope = self._entry(reader, code), ""
            if first:
                self._bases = {
                    key: values[key][1] for key in (_STR_BASE, _ADDR_BASE, _RANGE_BASE) if key in values
                }
                self._low = self._address(values.get(_LOW))
                first = False
            elif tag in _SCOPES and depth < _MOST_DEPTH:
                scope = f"{outer}{self._text(*values[_NAME]) if _NAME in values else _NOT_NAMED}::"
                self._fuel.use_text(scope)
            elif tag == _SUBPROGRAM:
                if outer:
                    self._scopes[at] = outer
                if _LOW in values:
                    yield _Found(at, tag, depth, values)
            elif tag == _INLINED and depth < _MOST_DEPTH:
                yield _Found(at, tag, depth, values)
            if children:
                scopes.append(scope)

    def _entry(self, reader: Reader, code: int) -> Values:
        """Return the needed attributes of an entry: form and number, or the place of a text."""
        values: Values = {}
        _, _, fields = self._declarations[code]
        self._fuel.use(len(fields))
        for attribute, form, implied in fields:
            if form == _INDIRECT:
                form = reader.uleb()
            at = reader.at
            if form in _CONSTANTS:
                value = reader.number(_CONSTANTS[form])
            elif form == _IMPLICIT:
                value = implied
            elif form == _ADDRESS:
                value = reader.number(8)
            elif form in _INDEXES:
                value = reader.number(_INDEXES[form])
            elif form in (0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23):
                value = reader.uleb()
            elif form in (_STRP, _LINE_STRP, 0x17, 0x10):
                value = reader.offset()
            elif form == 0x0C or form == 0x19:  # flags
                value = reader.byte() if form == 0x0C else 1
            else:
                skip(reader, form)
                value = at
            values[attribute] = form, value
        return values

    def _name(self, values: Values, at: int, most: int) -> str:
        """Return the name of the entry at this place, or of the one that it is an instance of."""
        if _NAME in values:
            name = self._scopes.get(at, "") + self._text(*values[_NAME])
            self._fuel.use_text(name)
            return name
        form, value = values.get(_ORIGIN) or values.get(_SPECIFICATION) or (0, 0)
        if form not in _REFERENCES or not most:
            return ""
        other = Reader(self._reader.data, value - self._before, self._reader.wide)
        if not 0 <= other.at < len(other.data):
            raise Damaged
        place, code = other.at, other.uleb()
        return self._name(self._entry(other, code), place, most - 1) if code in self._declarations else ""

    def _text(self, form: int, value: int) -> str:
        if form == _STRING:
            raw = text_at(self._reader.data, value)
        elif form in (_STRP, _LINE_STRP):
            section = ".debug_str" if form == _STRP else ".debug_line_str"
            raw = text_at(self._sections.get(section, memoryview(b"")), value)
        elif form in _STRING_INDEXES:
            size = 8 if self._reader.wide else 4
            at = self._bases.get(_STR_BASE, 8) + size * value
            place = Reader(self._sections.get(".debug_str_offsets", memoryview(b"")), at).number(size)
            raw = text_at(self._sections.get(".debug_str", memoryview(b"")), place)
        else:
            return ""
        return raw.decode("utf-8", "replace")

    def _address(self, value: tuple[int, int] | None) -> int:
        """Return an address, given directly or as an index of .debug_addr."""
        form, number = value or (_ADDRESS, 0)
        if form not in _ADDRESS_INDEXES:
            return number
        at = self._bases.get(_ADDR_BASE, 8) + 8 * number
        return Reader(self._sections.get(".debug_addr", memoryview(b"")), at).number(8)

    def _ranges(self, values: Values) -> Iterator[tuple[int, int]]:
        """Yield the address ranges of an entry."""
        if _LOW in values and _HIGH in values:
            low = self._address(values[_LOW])
            form, high = values[_HIGH]
            yield low, self._address((form, high)) if form == _ADDRESS else (low + high) & _MASK
        elif _RANGES in values:
            yield from self._list4(values[_RANGES][1]) if self._version < 5 else self._list5(*values[_RANGES])

    def _list4(self, at: int) -> Iterator[tuple[int, int]]:
        reader, base = Reader(self._sections.get(".debug_ranges", memoryview(b"")), at), self._low
        while True:
            self._fuel.use()
            low, high = reader.number(8), reader.number(8)
            if not low and not high:
                return
            if low == _MASK:
                base = high
            else:
                yield (base + low) & _MASK, (base + high) & _MASK

    def _list5(self, form: int, value: int) -> Iterator[tuple[int, int]]:
        data, base = self._sections.get(".debug_rnglists", memoryview(b"")), self._low
        if form == 0x23:  # an index
            start, size = self._bases.get(_RANGE_BASE, 0), 8 if self._reader.wide else 4
            value = start + Reader(data, start + size * value).number(size)
        reader = Reader(data, value)
        while kind := reader.byte():
            self._fuel.use()
            if kind == 5:  # base
                base = reader.number(8)
            elif kind == 1:
                base = self._address((0x1B, reader.uleb()))
            elif kind == 4:
                yield (base + reader.uleb()) & _MASK, (base + reader.uleb()) & _MASK
            elif kind == 6:
                yield reader.number(8), reader.number(8)
            elif kind == 7:
                low = reader.number(8)
                yield low, (low + reader.uleb()) & _MASK
            elif kind in (2, 3):
                low = self._address((0x1B, reader.uleb()))
                number = reader.uleb()
                yield low, self._address((0x1B, number)) if kind == 2 else (low + number) & _MASK
            else:
                raise Damaged
