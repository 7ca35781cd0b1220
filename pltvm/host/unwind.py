"""Finds the caller of a function by call frame information of the compiler (DWARF §6.4).

    .debug_frame, .eh_frame:   CIE  common data of several functions: registers, factors, first rules
                               FDE  the addresses of one function, and a program of rules

The program is run up to the address in question. Its result are rules: how to compute the CFA, which is sp
before the call, from a register; and where ra and s0 were stored, relative to the CFA.

pyelftools is not used because it parses a whole section first, so that an enclave could make its host wait,
and because plain runs do not need it otherwise. Like line tables, this is read within a budget, and damage
raises nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pltvm.host import debug_sections
from pltvm.host.elf_headers import Headers
from pltvm.host.line_tables import Damaged, Fuel, Reader, TooMuch

SP, S0 = 2, 8
_MOST_FUNCTIONS: Final = 200_000
_MOST_SAVED: Final = 64  # saved states of a program
_MASK: Final = (1 << 64) - 1
_ALLOC: Final = 2  # sh_flags
_NO_CIE: Final = (0, 0xFFFF_FFFF)  # ids of a CIE: in .eh_frame, in .debug_frame
_SIZES: Final = {0: 8, 2: 2, 3: 4, 4: 8, 0xA: 2, 0xB: 4, 0xC: 8}  # bytes of encoded pointers
_SIGNED: Final = (0xA, 0xB, 0xC)
_OMITTED, _RELATIVE, _INDIRECT = 0xFF, 0x10, 0x80
_DATA_RELATIVE: Final = 0x30


class Rules(NamedTuple):
    """The rules to find the caller's registers: the CFA is `register` + `offset`.

    `ra` and `s0` are the places where they are stored, in bytes from the CFA; None: still in the register.
    `outermost`: there is no caller.
    """

    register: int
    offset: int
    ra: int | None
    s0: int | None
    outermost: bool


class _Cie(NamedTuple):
    code: int  # factors of code steps and of offsets
    data: int
    ra: int  # the register with the return address
    encoding: int  # of pointers in its FDEs
    augmented: bool  # FDEs have a part of their own size
    program: Reader


class _Section(NamedTuple):
    data: memoryview
    address: int  # load address, for relative pointers; −1: not loaded
    eh: bool


class _Function(NamedTuple):
    start: int
    end: int
    cie: _Cie
    program: Reader


class _State(NamedTuple):
    cfa: tuple[int, int] | None  # register, offset; None: an expression
    ra: int | str | None
    s0: int | str | None


_LOST, _UNDEFINED = "lost", "undefined"  # unsupported rules, and rules for registers without a value


class Unwinder:
    """The call frame information of one ELF, read at the first use."""

    def __init__(self, elf: Headers | None) -> None:
        fuel = Fuel()
        found: list[_Function] = []
        for section in _sections(elf) if elf is not None else ():
            try:
                for function in _functions(section, fuel):
                    found.append(function)
                    if len(found) >= _MOST_FUNCTIONS:
                        break
            except (Damaged, TooMuch):
                continue  # entries before the damage count
        self._functions = sorted(found, key=lambda one: one.start)

    def rules(self, pc: int) -> Rules | None:
        """Return the rules at `pc`; None if there are none, or only unsupported ones."""
        at = bisect_right(self._functions, pc, key=lambda one: one.start) - 1
        if at < 0 or pc >= self._functions[at].end:
            return None
        try:
            return _rules_at(self._functions[at], pc)
        except (Damaged, TooMuch):
            return None


# ---- sections ----


def _sections(elf: Headers) -> Iterator[_Section]:
    """Yield .debug_frame and .eh_frame; the latter also if a file has no sections."""
    try:
        found = debug_sections.line_sections(elf, (".debug_frame",))
    except (debug_sections.TooBig, debug_sections.Damaged):
        found = {}
    if ".debug_frame" in found:
        yield _Section(found[".debug_frame"], -1, False)
    named = debug_sections.find_section(elf, ".eh_frame")
    if named is not None and named["sh_flags"] & _ALLOC:
        yield _Section(debug_sections.section_data(elf, named), named["sh_addr"], True)
        return
    header = next((one for one in elf.segments if one["p_type"] == "PT_GNU_EH_FRAME"), None)
    if header is not None:
        try:
            yield from _by_header(elf, header)
        except Damaged:
            return


def _by_header(elf: Headers, header: Mapping[str, int]) -> Iterator[_Section]:
    """Yield the .eh_frame that PT_GNU_EH_FRAME points to, up to the end of its segment."""
    start = header["p_offset"]
    reader = Reader(memoryview(elf.data)[start : start + header["p_filesz"]])
    version, encoding = reader.byte(), reader.byte()
    reader.take(2)
    if version != 1:
        raise Damaged
    base = header["p_vaddr"]
    address = _pointer(reader, encoding, base)
    for segment in elf.segments:
        low = segment["p_vaddr"]
        if segment["p_type"] == "PT_LOAD" and low <= address < low + segment["p_filesz"]:
            first = segment["p_offset"] + address - low
            last = segment["p_offset"] + segment["p_filesz"]
            yield _Section(memoryview(elf.data)[first:last], address, True)


# ---- entries ----


def _functions(section: _Section, fuel: Fuel) -> Iterator[_Function]:
    """Yield all FDEs of a section."""
    cies: dict[int, _Cie | None] = {}
    at = 0
    while at + 4 <= len(section.data):
        fuel.use(4)
        reader = Reader(section.data, at)
        size = reader.number(4)
        if size == 0:
            if section.eh:
                return  # a terminator; anything may follow it
            at += 4
            continue
        wide = size == 0xFFFF_FFFF
        if wide:
            size = reader.number(8)
        body, end = reader.at, reader.at + size
        if end > len(section.data):
            raise Damaged
        entry = Reader(section.data[:end], body, wide and not section.eh)
        identity = entry.offset()
        here, at = at, end
        no_cie = _NO_CIE[not section.eh] if not entry.wide else _MASK
        if identity == no_cie:
            continue  # read when an FDE names it
        where = body - identity if section.eh else identity
        if where not in cies:
            try:
                cies[where] = _cie(section, where)
            except Damaged:
                cies[where] = None
        cie = cies[where]
        if cie is None or where >= here:
            continue
        base = section.address
        start = _pointer(entry, cie.encoding, base)
        length = _pointer(entry, cie.encoding & 0xF, 0)
        if cie.augmented:
            entry.take(entry.uleb())
        if 0 < length <= _MASK - start:
            yield _Function(start, start + length, cie, Reader(entry.data, entry.at))


def _cie(section: _Section, at: int) -> _Cie:
    if not 0 <= at < len(section.data):
        raise Damaged
    reader = Reader(section.data, at)
    size, wide = reader.number(4), False
    if size == 0xFFFF_FFFF:
        size, wide = reader.number(8), True
    end = reader.at + size
    reader = Reader(section.data[:end], reader.at, wide and not section.eh)
    identity = reader.offset()
    if end > len(section.data) or identity != (_MASK if reader.wide else _NO_CIE[not section.eh]):
        raise Damaged
    version, augmentation = reader.byte(), reader.text()
    if version == 4:
        reader.take(2)  # sizes of addresses and segments
    elif version not in (1, 3):
        raise Damaged
    code, data = reader.uleb(), reader.sleb()
    ra = reader.byte() if version == 1 else reader.uleb()
    encoding = 0
    if augmentation[:1] == b"z":
        more = reader.uleb()
        rest = Reader(reader.data, reader.at)
        reader.take(more)
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                encoding = rest.byte()
            elif letter == "L":
                rest.byte()
            elif letter == "P":
                _pointer(rest, rest.byte() & 0xF, 0)
    elif augmentation:
        raise Damaged
    return _Cie(code, data, ra, encoding, augmentation[:1] == b"z", Reader(reader.data, reader.at))


def _pointer(reader: Reader, encoding: int, base: int) -> int:
    """Return an encoded pointer; `base` is the load address of the reader's data."""
    kind, applied = encoding & 0xF, encoding & 0x70
    if encoding == _OMITTED or encoding & _INDIRECT or base < 0 < applied:
        raise Damaged
    at = reader.at
    if kind in (1, 9):
        value = reader.uleb() if kind == 1 else reader.sleb()
    elif kind in _SIZES:
        size = _SIZES[kind]
        value = reader.number(size)
        if kind in _SIGNED and value >> (8 * size - 1):
            value -= 1 << 8 * size
    else:
        raise Damaged
    if applied == _RELATIVE:
        value += base + at
    elif applied == _DATA_RELATIVE:
        value += base
    elif applied:
        raise Damaged
    return value & _MASK


# ---- programs ----


def _rules_at(function: _Function, pc: int) -> Rules | None:
    cie = function.cie
    state = first = _State((SP, 0), None, None)  # as GNU as assumes
    fuel = Fuel()
    for program, start in ((cie.program, None), (function.program, function.start)):
        state = _run(Reader(program.data, program.at), cie, state, first, start, pc, fuel)
        first = state
    if state.cfa is None or _LOST in (state.ra, state.s0):
        return None
    ra = None if isinstance(state.ra, str) else state.ra
    s0 = None if isinstance(state.s0, str) else state.s0
    return Rules(*state.cfa, ra, s0, state.ra == _UNDEFINED)


def _run(
    reader: Reader, cie: _Cie, state: _State, first: _State, location: int | None, pc: int, fuel: Fuel
) -> _State:
    """Run a program up to `pc`; the program of a CIE, which has no location, is run to its end."""
    saved: list[_State] = []
    while reader.at < len(reader.data):
        fuel.use()
        byte = reader.byte()
        kind, low = byte >> 6, byte & 0x3F
        step = low if kind == 1 else reader.number({2: 1, 3: 2, 4: 4}[byte]) if byte in (2, 3, 4) else 0
        if kind == 1 or byte in (2, 3, 4):
            if location is None:
                raise Damaged
            location += step * cie.code
            if location > pc:
                break
        elif kind == 2:
            state = _stored(state, cie, low, reader.uleb() * cie.data)
        elif kind == 3 or byte == 0x06:
            register = low if kind == 3 else reader.uleb()
            before = first.ra if register == cie.ra else first.s0
            state = _stored(state, cie, register, before)
        elif byte == 0x01:
            location = reader.number(8)
            if location > pc:
                break
        elif byte == 0x0A:
            saved.append(state)
            if len(saved) > _MOST_SAVED:
                raise Damaged
        elif byte == 0x0B:
            if not saved:
                raise Damaged
            state = saved.pop()
        else:
            state = _rule(byte, reader, cie, state)
    return state


def _rule(byte: int, reader: Reader, cie: _Cie, state: _State) -> _State:
    """Run one of the instructions with a full opcode byte."""
    cfa = state.cfa
    match byte:
        case 0x00 | 0x2D:
            return state
        case 0x05:
            return _stored(state, cie, reader.uleb(), reader.uleb() * cie.data)
        case 0x11:
            return _stored(state, cie, reader.uleb(), reader.sleb() * cie.data)
        case 0x2F:
            return _stored(state, cie, reader.uleb(), -reader.uleb() * cie.data)
        case 0x07:
            return _stored(state, cie, reader.uleb(), _UNDEFINED)
        case 0x08:
            return _stored(state, cie, reader.uleb(), None)
        case 0x09 | 0x14:
            state = _stored(state, cie, reader.uleb(), _LOST)
            reader.uleb()
            return state
        case 0x15:
            state = _stored(state, cie, reader.uleb(), _LOST)
            reader.sleb()
            return state
        case 0x10 | 0x16:
            state = _stored(state, cie, reader.uleb(), _LOST)
            reader.take(reader.uleb())
            return state
        case 0x0C:
            return state._replace(cfa=(reader.uleb(), reader.uleb()))
        case 0x12:
            return state._replace(cfa=(reader.uleb(), reader.sleb() * cie.data))
        case 0x0D:
            register = reader.uleb()
            return state._replace(cfa=(register, cfa[1]) if cfa else None)
        case 0x0E:
            offset = reader.uleb()
            return state._replace(cfa=(cfa[0], offset) if cfa else None)
        case 0x13:
            offset = reader.sleb() * cie.data
            return state._replace(cfa=(cfa[0], offset) if cfa else None)
        case 0x0F:
            reader.take(reader.uleb())
            return state._replace(cfa=None)
        case 0x2E:
            reader.uleb()
            return state
    raise Damaged


def _stored(state: _State, cie: _Cie, register: int, rule: int | str | None) -> _State:
    """Return the state with the rule for a register, if a walk needs that register."""
    if register == cie.ra:
        return state._replace(ra=rule)
    return state._replace(s0=rule) if register == S0 else state
