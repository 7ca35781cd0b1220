"""Zba, Zbb, Zbs, Zicond and Zcb: by the specification's words and LLVM's encodings, and C against Python."""

import ctypes
import functools
import random
import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.engine import bits
from pltvm.engine.context import PC, SAVED_FROM, X0, Context
from pltvm.engine.decode import Access, disassemble, memory_access
from pltvm.native import core
from tests.engine import bit_instructions as spec
from tests.engine.bit_instructions import COMPRESSED, IMMEDIATE, MASK, REGISTERS, TRANSFERS, UNARY, assemble

NUMBERS = st.one_of(
    st.integers(0, MASK),
    st.sampled_from(
        [0, 1, MASK, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 0x80, 0x8000]
    ),
    st.integers(0, 63).map(lambda n: 1 << n),
    st.integers(0, 64),
)
CONTEXT = Context()  # one for all: to make one takes longer than to run an instruction
NAMES = ["zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5"]
# Registers of a result and two operands: different ones, the same, and x0.
CHOICES = [(10, 11, 12), (31, 1, 31), (5, 5, 5), (7, 0, 8), (9, 30, 0), (0, 6, 7)]


@functools.cache
def encodings() -> dict[tuple[object, ...], bytes]:
    """What LLVM makes of every instruction with several registers and immediates."""
    lines: dict[tuple[object, ...], str] = {}
    for d, a, b in CHOICES:
        for name in REGISTERS:
            lines[name, d, a, b] = f"{name} x{d}, x{a}, x{b}"
        for name in UNARY:
            lines[name, d, a] = f"{name} x{d}, x{a}"
        for name, (width, _) in IMMEDIATE.items():
            for number in (0, 1, 17, 31, (1 << width) - 1):
                lines[name, d, a, "i", number] = f"{name} x{d}, x{a}, {number}"
    for register in range(8, 16):
        for name in COMPRESSED:
            lines[name, register] = f"{name} x{register}"
        for other in range(8, 16):
            lines["c.mul", register, other] = f"c.mul x{register}, x{other}"
            for name, (offsets, *_) in TRANSFERS.items():
                for offset in offsets:
                    text = f"{name} x{register}, {offset}(x{other})"
                    lines[name, register, other, offset] = f"{text}"
    return dict(zip(lines, assemble(lines.values()), strict=True))


def of(*names: str) -> list[tuple[object, ...]]:
    return [key for key in encodings() if key[0] in names]


def run(code: bytes, values: list[int]) -> tuple[list[int], int] | None:
    """Registers x0…x31 behind one instruction, and its length; both C and Python say the same."""
    regs = CONTEXT.regs
    regs[PC] = MASK - 1  # pc goes around the end
    regs[SAVED_FROM:PC] = memoryview(array("Q", values))[1:]
    ran = bits.execute(code, CONTEXT)
    after = [0, *regs[SAVED_FROM:PC]]
    result = (after, (regs[PC] + 2) & MASK) if ran else None
    if not ran:
        assert (after[1:], regs[PC]) == (values[1:], MASK - 1)
    if core is not None:
        x = (ctypes.c_uint64 * 32)(*values)
        length = core.pltvm_bits_execute(ctypes.c_uint32(int.from_bytes(code[:4], "little")), x)
        assert ([0, *x[1:]], length) == (result or ([0, *values[1:]], 0)), code.hex()
        assert x[0] == values[0], "x0 is not written"
    return result


def expected(values: list[int], d: int, result: int, length: int) -> tuple[list[int], int]:
    after = [0, *values[1:]]
    if d:
        after[d] = result
    return after, length


VALUES = st.lists(NUMBERS, min_size=32, max_size=32)


@pytest.mark.parametrize("name", REGISTERS)
@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_instruction_of_two_registers(name, values):
    for key in of(name):
        _, d, a, b = key
        x = [0, *values[1:]]
        assert run(encodings()[key], values) == expected(values, d, REGISTERS[name](x[a], x[b]), 4)


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_instruction_of_one_register(name, values):
    for key in of(name):
        _, d, a = key
        x = [0, *values[1:]]
        assert run(encodings()[key], values) == expected(values, d, UNARY[name](x[a]), 4)


@pytest.mark.parametrize("name", IMMEDIATE)
@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_instruction_with_an_immediate(name, values):
    for key in of(name):
        _, d, a, _, number = key
        x = [0, *values[1:]]
        assert run(encodings()[key], values) == expected(values, d, IMMEDIATE[name][1](x[a], number), 4)


@pytest.mark.parametrize("name", [*COMPRESSED, "c.mul"])
@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_compressed_instruction(name, values):
    for key in of(name):
        d = key[1]
        result = values[d] * values[key[2]] & MASK if name == "c.mul" else COMPRESSED[name](values[d])
        assert run(encodings()[key], values) == expected(values, d, result, 2)


class NativeAccess(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_uint64),
        *((name, ctypes.c_uint8) for name in ("size", "signed", "store", "register")),
    ]


def native_memory(word: int, values: list[int]) -> tuple[int, ...] | None:
    """(address, size, signed, store, register) as C has them."""
    assert core is not None
    access, x = NativeAccess(), (ctypes.c_uint64 * 32)(*values)
    if not core.pltvm_bits_memory(ctypes.c_uint32(word), x, ctypes.byref(access)):
        assert bytes(access) == bytes(ctypes.sizeof(access))
        return None
    return access.address, access.size, access.signed, access.store, access.register


@pytest.mark.parametrize("name", TRANSFERS)
def test_load_or_store(name):
    _, size, signed, store = TRANSFERS[name]
    values = [0, *(number << 40 for number in range(1, 31)), MASK]
    values[15] = MASK - 1  # the operand goes around the end
    context = Context()
    for number, value in enumerate(values):
        context.set_register(number, value)
    for key in of(name):
        _, register, base, offset = key
        code, address = encodings()[key], (values[base] + offset) & MASK
        assert bits.transfer(code) == (register, size, store, signed)
        assert memory_access(code, context) == Access(address, size)
        assert disassemble(code + b"\0\0", 0) == f"{name} {NAMES[register]}, {offset}({NAMES[base]})"
        assert bits.execute(code, context) is False
        if core is not None:
            word = int.from_bytes(code, "little") | 0xABCD_0000
            assert native_memory(word, values) == (address, size, signed, store, register)


# -- what is one of them, and what is not ------------------------------------------------------------------


def test_every_compressed_word():
    """All 2^16: those that LLVM makes and no others, C as Python."""
    made = {int.from_bytes(code, "little"): key for key, code in encodings().items() if len(code) == 2}
    assert len(made) == 8 * 6 + 64 + 64 * (4 + 2 + 2 + 4 + 2)
    values = [random.Random(1).getrandbits(64) for _ in range(32)]
    for half in range(1 << 16):
        if half & 3 == 3:
            continue
        code, name = half.to_bytes(2, "little"), made.get(half, ("",))[0]
        assert (run(code, values) is not None) == (name in COMPRESSED or name == "c.mul"), hex(half)
        assert (bits.transfer(code) is not None) == (name in TRANSFERS), hex(half)
        assert not made.get(half) or bits.is_skipped(half)
        if core is not None:
            assert (native_memory(half, values) is not None) == (name in TRANSFERS), hex(half)


def test_every_form_of_a_word_is_recognised_by_its_fixed_bits():
    """For each opcode, funct3 and top twelve bits: what LLVM encodes there, and nothing else."""
    masks = {**dict.fromkeys(REGISTERS, 0xFE00_707F), **dict.fromkeys(UNARY, 0xFFF0_707F)}
    masks |= {name: 0xFC00_707F if width == 6 else 0xFE00_707F for name, (width, _) in IMMEDIATE.items()}
    known = set()
    for key, code in encodings().items():
        if len(code) == 4:
            known.add((masks[key[0]], int.from_bytes(code, "little") & masks[key[0]]))
    values = [random.Random(2).getrandbits(64) for _ in range(32)]
    found = 0
    for opcode in (0x13, 0x1B, 0x33, 0x3B, 0x73):
        for funct3 in range(8):
            for top in range(1 << 12):
                word = top << 20 | 11 << 15 | funct3 << 12 | 10 << 7 | opcode
                is_one = any((mask, word & mask) in known for mask in set(masks.values()))
                found += is_one
                assert (run(word.to_bytes(4, "little"), values) is not None) == is_one, hex(word)
    assert found == 24 * 32 + 11 + 6 * 64 + 32


@pytest.mark.skipif(core is None, reason="needs the native core: python -m pltvm.build core")
def test_native_code_does_the_same_on_random_words():
    """A third any bits, a third near to an instruction, a third instructions with any registers."""
    rng = random.Random(3)
    made = [int.from_bytes(code, "little") for code in encodings().values()]
    ran = 0
    for count in range(100_000):
        word = rng.getrandbits(32)
        if count % 3 == 1:
            word = rng.choice(made) ^ 1 << rng.randrange(32)
        elif count % 3 == 2:
            word = rng.choice(made) & 0xFE00_707F | word & 0x01FF_8F80
        drawn = zip(struct.unpack("<32Q", rng.randbytes(256)), rng.randbytes(32), strict=True)
        values = [value >> (0, 0, 32, 58)[shift & 3] for value, shift in drawn]
        code = word.to_bytes(4, "little")
        ran += run(code, values) is not None
        access = bits.transfer(code)
        assert (native_memory(word, values) is not None) == (access is not None)
    assert ran > 15_000


@pytest.mark.skipif(core is None, reason="needs the native core: python -m pltvm.build core")
def test_native_code_finds_the_first_that_is_skipped():
    rng = random.Random(4)
    codes = sorted(encodings().values())
    found = 0
    for _ in range(5_000):
        lines = [rng.choice(codes) if rng.random() < 0.1 else rng.randbytes(2) for _ in range(12)]
        code = b"".join(lines)
        halves = memoryview(code).cast("H").tolist()
        at = 0
        while at < len(halves) and not bits.is_skipped(halves[at]):
            at += 2 if halves[at] & 3 == 3 else 1
        at = min(at, len(halves))
        found += at < len(halves)
        core.pltvm_bits_skipped.restype = ctypes.c_size_t
        assert core.pltvm_bits_skipped(code, ctypes.c_size_t(len(halves))) == at
    assert 1_000 < found < 4_000


def test_a_word_of_which_only_half_is_there_is_none():
    code = encodings()["clz", 10, 11]
    context = Context()
    assert bits.execute(code[:2], context) is False
    assert bits.execute(b"", context) is False
    assert bits.transfer(b"") is None
    assert context.regs[X0 + 10] == context.regs[PC] == 0


def test_the_words_of_the_specification_agree_with_examples():
    """Some worked out by hand, as the formulas themselves could be wrong."""
    assert spec.REGISTERS["rolw"](0x1_8000_0001, 33) == 3
    assert spec.REGISTERS["rorw"](1, 1) == 0xFFFF_FFFF_8000_0000
    assert spec.UNARY["orc.b"](0x0100_0000_8000_0010) == 0xFF00_0000_FF00_00FF
    assert spec.UNARY["rev8"](0x0102_0304_0506_0708) == 0x0807_0605_0403_0201
    assert (spec.UNARY["ctzw"](1 << 32), spec.UNARY["clzw"](1 << 32), spec.UNARY["clz"](1 << 32)) == (
        32,
        32,
        31,
    )
    assert spec.REGISTERS["sh3add.uw"](0xFFFF_FFFF_0000_0001, MASK) == 7
    assert spec.REGISTERS["min"](MASK, 0) == MASK
    assert spec.COMPRESSED["c.sext.h"](0x8000) == 0xFFFF_FFFF_FFFF_8000
