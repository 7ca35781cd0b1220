"""Backtraces inside an enclave: walks its stack, by what the code of each function does with the stack.

    sp of the caller ─▶ ┌──────────────┐
                        │ ra, s0 …     │  stored by the first instructions of the function
                        │ locals       │
    sp ───────────────▶ └──────────────┘

If the ELF has call frame information (`unwind`), that is used, but enclaves seldom have it. The prologue that
a compiler puts at the start of a function gives the same: how far sp goes down, and where ra and s0 are
stored. It is read up to the present pc, so faults inside a prologue are handled. If the function is unknown
(no symbols), a word of the stack that points after a call is taken as the return address, and further frames
are marked as guesses.

All the data come from a guest: nothing here raises, and the walk is bounded.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pltvm.host.symbols import Symbols
from pltvm.host.unwind import S0, SP
from pltvm.monitor.fault import Activation

MOST_FRAMES: Final = 32
_PROLOGUE: Final = 512  # bytes of a function that are read
_SCANNED: Final = 2048  # bytes of stack
_MASK: Final = (1 << 64) - 1

# Returns so many bytes of the code at an address, fewer if the ELF has no more.
Code = Callable[[int, int], bytes]


class Frame(NamedTuple):
    """An active function, and its pc; `guess` if it may be an old word of the stack that only looks like
    it."""

    pc: int
    guess: bool = False


class _Shape(NamedTuple):
    """What a function has done with its stack so far. Offsets are from sp at its start."""

    size: int  # bytes by which sp is lower
    ra: int | None = None
    s0: int | None = None
    pointer: int | None = None  # offset of s0, the frame pointer


_OUTERMOST: Final = _Shape(0)  # it has no caller


def walk(activation: Activation, symbols: Symbols | None) -> tuple[list[Frame], bool]:
    """Return the frames of an activation, innermost first, and whether there are more than returned."""
    frames = [Frame(activation.pc)]
    pc, sp, s0, ra = activation.pc, activation.sp, activation.s0, activation.ra
    code: Code = symbols.code if symbols is not None else lambda _at, _size: b""
    innermost, guess = True, False
    while len(frames) < MOST_FRAMES:
        shape = _shape_at(pc, symbols) if symbols is not None and not guess else None
        if shape is _OUTERMOST:
            return frames, False
        if shape is None:
            found = _scan(activation, sp, ra if innermost else 0, code)
            if found is None:
                return frames, False
            call, sp = found
            guess, innermost = True, False
            frames.append(Frame(call, True))
            pc = call
            continue
        top = (s0 + shape.pointer if shape.pointer is not None else sp + shape.size) & _MASK
        back = _load(activation, top + shape.ra) if shape.ra is not None else ra if innermost else None
        call = _call_before(code, back) if back else 0
        if not call:
            return frames, False
        if shape.s0 is not None:
            s0 = _load(activation, top + shape.s0) or 0
        pc, sp, innermost = call, top, False
        frames.append(Frame(call))
    return frames, True


def _shape_at(pc: int, symbols: Symbols) -> _Shape | None:
    """Return what the function at `pc` has done with its stack so far; None if unknown."""
    rules = symbols.rules(pc)
    if rules is not None and rules.outermost:
        return _OUTERMOST
    if rules is not None and rules.register in (SP, S0):
        pointer = rules.offset if rules.register == S0 else None
        return _Shape(rules.offset, rules.ra, rules.s0, pointer)
    start = symbols.start_of(pc)
    return None if start is None else _shape(symbols.code(start, min(pc - start, _PROLOGUE)))


def _load(activation: Activation, address: int) -> int | None:
    """Return a u64 of the stack, None where it was not saved."""
    at = address - activation.stack_at
    if not 0 <= at <= len(activation.stack) - 8:
        return None
    return int.from_bytes(activation.stack[at : at + 8], "little")


def _shape(code: bytes) -> _Shape:
    """Return what the first instructions of a function do with sp, ra and s0; later ones may undo it."""
    size = 0
    ra = s0 = pointer = None
    at = 0
    while at + 2 <= len(code):
        half = int.from_bytes(code[at : at + 2], "little")
        if half & 3 != 3:
            at += 2
            step, store, frame = _short(half)
        elif at + 4 <= len(code):
            word = int.from_bytes(code[at : at + 4], "little")
            at += 4
            step, store, frame = _long(word)
        else:
            break
        if step < 0:
            size -= step
        if store is not None:
            register, offset = store
            if register == 1 and ra is None:
                ra = offset - size
            elif register == 8 and s0 is None and pointer is None:
                s0 = offset - size
        if frame is not None and pointer is None:
            pointer = size - frame
    return _Shape(size, ra, s0, pointer)


_Done = tuple[int, tuple[int, int] | None, int | None]  # sp moved, register stored at sp + n, s0 = sp + n


def _short(half: int) -> _Done:
    """Return the effect of a compressed instruction."""
    if half & 0xEF83 == 0x6101:  # c.addi16sp
        value = half >> 2 & 0x10 | half << 3 & 0x20 | half << 1 & 0x40 | half << 4 & 0x180
        return value - (half >> 3 & 0x200), None, None
    if half & 0xEF83 == 0x0101:  # c.addi sp, n
        return (half >> 2 & 31) - (half >> 7 & 32), None, None
    if half & 0xE003 == 0xE002:  # c.sdsp
        return 0, (half >> 2 & 31, half >> 7 & 0x38 | half >> 1 & 0x1C0), None
    if half & 0xE01F == 0x0000 and half:  # c.addi4spn s0
        return 0, None, half >> 7 & 0x30 | half >> 1 & 0x3C0 | half >> 4 & 4 | half >> 2 & 8
    return 0, None, None


def _long(word: int) -> _Done:
    """Return the effect of an instruction of four bytes."""
    immediate = (word >> 20) - (word >> 19 & 0x1000)
    if word & 0xFFFFF == 0x10113:  # addi sp, sp, n
        return immediate, None, None
    if word & 0xFFFFF == 0x10413:  # addi s0, sp, n
        return 0, None, immediate
    if word & 0xFF07F == 0x13023:  # sd rs2, n(sp)
        offset = (word >> 25 << 5 | word >> 7 & 31) - (word >> 19 & 0x1000)
        return 0, (word >> 20 & 31, offset), None
    return 0, None, None


def _scan(activation: Activation, sp: int, ra: int, code: Code) -> tuple[int, int] | None:
    """Find the next word that looks like a return address: return the call before it, and sp after the
    word."""
    if ra and (call := _call_before(code, ra)):
        return call, sp
    sp = max(sp, activation.stack_at)
    for address in range((sp + 7) & -8, sp + _SCANNED, 8):
        word = _load(activation, address)
        if word is None:
            return None
        if call := _call_before(code, word):
            return call, address + 8
    return None


def _call_before(code: Code, address: int) -> int:
    """Return the address of the call instruction that returns to `address`, or 0."""
    before = code(address - 4, 4) if not address & 1 and 4 <= address < 1 << 39 else b""
    if len(before) < 4:
        return 0
    word = int.from_bytes(before, "little")
    if word & 0xFFF in (0x0EF, 0x0E7):  # jal ra, jalr ra
        return address - 4
    if word >> 16 & 0xF07F == 0x9002 and word >> 16 & 0xF80:  # c.jalr
        return address - 2
    return 0
