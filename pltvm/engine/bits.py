"""Runs instructions that Unicorn's CPU lacks and today's compilers emit: Zba, Zbb, Zbs, Zicond and Zcb.

Each of them is one row: its fixed bits, and its result as a function of its operands. Numbers are unsigned,
of 64 bits; results are cut to 64 bits. The result of a `w` instruction has 32 bits and is sign-extended.

    31      25 24 20 19 15 14  12 11 7 6    0
    | funct7  | rs2 | rs1 |funct3| rd |opcode|   two registers: mask 0xFE00707F
    | funct7  5 bits|                            a shift of a word: the same mask
    | funct6   6 bit|                            a shift, or the number of a bit: 0xFC00707F
    | funct12       |                            one register: 0xFFF0707F

`native/bits.c` is the same in C; `tests/engine/test_bits.py` compares the two.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pltvm.engine.context import Context

_Function = Callable[[int, int], int]

_ALL: Final = 0xFFFF_FFFF_FFFF_FFFF
_WORD: Final = 0xFFFF_FFFF


def _signed(value: int, bits: int = 64) -> int:
    """Return the lowest bits of a number as a signed number."""
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def _rotate_right(a: int, by: int) -> int:
    by &= 63
    return a >> by | a << 64 - by


def _rotate_word_right(a: int, by: int) -> int:
    a, by = a & _WORD, by & 31
    return _signed(a >> by | a << 32 - by, 32)


def _trailing_zeros(a: int, bits: int) -> int:
    return (a & -a).bit_length() - 1 if a else bits


def _or_combine(a: int) -> int:
    """Return the number with each non-zero byte set to 255."""
    return sum(0xFF << at for at in range(0, 64, 8) if a >> at & 0xFF)


# Of rs1 and rs2.
_REGISTERS: Final[dict[int, _Function]] = {
    0x2000_2033: lambda a, b: (a << 1) + b,  # sh1add
    0x2000_4033: lambda a, b: (a << 2) + b,  # sh2add
    0x2000_6033: lambda a, b: (a << 3) + b,  # sh3add
    0x0800_003B: lambda a, b: (a & _WORD) + b,  # add.uw
    0x2000_203B: lambda a, b: ((a & _WORD) << 1) + b,  # sh1add.uw
    0x2000_403B: lambda a, b: ((a & _WORD) << 2) + b,  # sh2add.uw
    0x2000_603B: lambda a, b: ((a & _WORD) << 3) + b,  # sh3add.uw
    0x4000_7033: lambda a, b: a & ~b,  # andn
    0x4000_6033: lambda a, b: a | ~b,  # orn
    0x4000_4033: lambda a, b: ~(a ^ b),  # xnor
    0x0A00_4033: lambda a, b: min(_signed(a), _signed(b)),  # min
    0x0A00_5033: min,  # minu
    0x0A00_6033: lambda a, b: max(_signed(a), _signed(b)),  # max
    0x0A00_7033: max,  # maxu
    0x6000_1033: lambda a, b: _rotate_right(a, -b),  # rol
    0x6000_5033: _rotate_right,  # ror
    0x6000_103B: lambda a, b: _rotate_word_right(a, -b),  # rolw
    0x6000_503B: _rotate_word_right,  # rorw
    0x4800_1033: lambda a, b: a & ~(1 << (b & 63)),  # bclr
    0x4800_5033: lambda a, b: a >> (b & 63) & 1,  # bext
    0x6800_1033: lambda a, b: a ^ 1 << (b & 63),  # binv
    0x2800_1033: lambda a, b: a | 1 << (b & 63),  # bset
    0x0E00_5033: lambda a, b: a if b else 0,  # czero.eqz
    0x0E00_7033: lambda a, b: 0 if b else a,  # czero.nez
}

# Of rs1 and an immediate of 6 bits.
_IMMEDIATE: Final[dict[int, _Function]] = {
    0x0800_101B: lambda a, by: (a & _WORD) << by,  # slli.uw
    0x6000_5013: _rotate_right,  # rori
    0x4800_1013: _REGISTERS[0x4800_1033],  # bclri
    0x4800_5013: _REGISTERS[0x4800_5033],  # bexti
    0x6800_1013: _REGISTERS[0x6800_1033],  # binvi
    0x2800_1013: _REGISTERS[0x2800_1033],  # bseti
}

_RORIW: Final = 0x6000_501B  # the only one with an immediate of 5 bits

# Of rs1 alone.
_UNARY: Final[dict[int, Callable[[int], int]]] = {
    0x6000_1013: lambda a: 64 - a.bit_length(),  # clz
    0x6000_101B: lambda a: 32 - (a & _WORD).bit_length(),  # clzw
    0x6010_1013: lambda a: _trailing_zeros(a, 64),  # ctz
    0x6010_101B: lambda a: _trailing_zeros(a & _WORD, 32),  # ctzw
    0x6020_1013: lambda a: a.bit_count(),  # cpop
    0x6020_101B: lambda a: (a & _WORD).bit_count(),  # cpopw
    0x6040_1013: lambda a: _signed(a, 8),  # sext.b
    0x6050_1013: lambda a: _signed(a, 16),  # sext.h
    0x0800_403B: lambda a: a & 0xFFFF,  # zext.h
    0x2870_5013: _or_combine,  # orc.b
    0x6B80_5013: lambda a: int.from_bytes(a.to_bytes(8, "little"), "big"),  # rev8
}

# Compressed ones of rd' alone, by bits 4…2.
_COMPRESSED_UNARY: Final[tuple[Callable[[int], int], ...]] = (
    lambda a: a & 0xFF,  # c.zext.b
    lambda a: _signed(a, 8),  # c.sext.b
    lambda a: a & 0xFFFF,  # c.zext.h
    lambda a: _signed(a, 16),  # c.sext.h
    lambda a: a & _WORD,  # c.zext.w
    lambda a: ~a,  # c.not
)


def execute(code: bytes, context: Context) -> bool:
    """Run the instruction at the start of `code` and step over it. Return False, and change nothing, if it is
    not one of those that change only registers."""
    word = int.from_bytes(code[:4], "little")
    if word & 3 != 3:
        return _execute_compressed(word & 0xFFFF, context)
    if len(code) < 4:
        return False
    a = context.register(word >> 15 & 31)
    if function := _REGISTERS.get(word & 0xFE00_707F):
        result = function(a, context.register(word >> 20 & 31))
    elif unary := _UNARY.get(word & 0xFFF0_707F):
        result = unary(a)
    elif function := _IMMEDIATE.get(word & 0xFC00_707F):
        result = function(a, word >> 20 & 63)
    elif word & 0xFE00_707F == _RORIW:
        result = _rotate_word_right(a, word >> 20 & 31)
    else:
        return False
    context.set_register(word >> 7 & 31, result)
    context.step(4)
    return True


def _execute_compressed(half: int, context: Context) -> bool:
    """Run c.mul, or an operation on one register: 100111 rd' 10 rs2' 01 and 100111 rd' 11 which 01."""
    rd, last = 8 + (half >> 7 & 7), half >> 2 & 7
    a = context.register(rd)
    if half & 0xFC63 == 0x9C41:
        result = a * context.register(8 + last)
    elif half & 0xFC63 == 0x9C61 and last < len(_COMPRESSED_UNARY):
        result = _COMPRESSED_UNARY[last](a)
    else:
        return False
    context.set_register(rd, result)
    context.step(2)
    return True


class Transfer(NamedTuple):
    """A load or store of Zcb: size, kind and register. `decode` finds the address."""

    register: int
    size: int  # bytes
    store: bool
    signed: bool


def transfer(code: bytes) -> Transfer | None:
    """Return the load or store of Zcb at the start of `code`, or None.

    100 | 0 store half | rs1' | offset or, of a half: signed, offset | register' | 00
    """
    half = int.from_bytes(code[:2], "little")
    if len(code) < 2 or half & 0xF003 != 0x8000:
        return None
    store, size = bool(half & 0x800), 2 if half & 0x400 else 1
    signed = size == 2 and bool(half & 0x40)
    if store and signed:
        return None  # reserved
    return Transfer(8 + (half >> 2 & 7), size, store, signed)


def is_skipped(half: int) -> bool:
    """Whether 16 bits are an instruction of Zcb or a reserved one beside them: Unicorn skips these
    silently."""
    return half & 0xE003 == 0x8000 or half & 0xFC43 == 0x9C41
