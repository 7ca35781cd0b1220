"""Values that a program compares: what C makes of them, and each instruction."""

import pytest

from pltvm.engine.context import X0
from pltvm.fuzz.compare import Pair
from pltvm.fuzz.options import Options
from pltvm.fuzz.trace import MOST_AT_ONE_PLACE, Tracer, compare_of
from pltvm.fuzz.worker import Job, Stage, Worker, open_target
from tests import asm
from tests.fuzz.conftest import Build
from tests.fuzz_targets.test_targets import call

COMPARES = """
#include <stdint.h>
#include <string.h>
#include "eapp.h"

struct input { uint64_t wide; uint32_t narrow; uint16_t half; uint8_t byte; uint8_t chosen; char text[24]; };
static volatile unsigned long state;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    struct input *input = (struct input *)args[11];

    if (!input)
        SERVER_RETURN(&ret);
    switch (args[10]) {
    case 0: if (input->wide == 0x1122334455667788) state = 1; break;
    case 1: if (input->narrow == 0x8badf00d) state = 2; break;
    case 2: if (input->half == 0xbeef) state = 3; break;
    case 3: if (input->byte == 'q') state = 4; break;
    case 4:
        switch (input->narrow) {
        case 0x10203040: state = 5; break;
        case 0x55aa1234: state = 6; break;
        case 77777777: state = 7; break;
        }
        break;
    case 5: if (memcmp(input->text, "secret word", 11) == 0) state = 8; break;
    case 6: if (strcmp(input->text, "pass") == 0) state = 9; break;
    case 7: if (strncmp(input->text, "prefix-of", 6) == 0) state = 10; break;
    case 8: if (input->wide < 0x7000000000000001) state = 11; break;
    case 9: if ((int64_t)input->wide < -1234567890123) state = 12; break;
    case 10: if (input->narrow > 3000000000U) state = 13; break;
    case 11: if ((int32_t)input->narrow == -559038737) state = 14; break;
    case 12: for (int i = 0; i < 1000; i++) if (input->text[i % 24] == 'Z') state = 15; break;
    case 13: *(volatile int *)8 = 1; break;
    }
    SERVER_RETURN(&ret);
}
"""

TEXT = b"abcdefghijklmnopqrstuvw"
MEMORY = (
    (0xA1A2A3A4A5A6A7A8).to_bytes(8, "little")
    + (0xB1B2B3B4).to_bytes(4, "little")
    + (0xC1C2).to_bytes(2, "little")
    + b"\xd1\xe1"
    + TEXT
    + b"\0"
)
WIDE, NARROW, HALF, BYTE = 0xA1A2A3A4A5A6A7A8, 0xB1B2B3B4, 0xC1C2, 0xD1


@pytest.fixture(scope="module")
def options(built: Build) -> Options:
    """The server above."""
    return Options(str(built(COMPARES, name="compares")))


@pytest.fixture(scope="module")
def tracer(options: Options) -> Tracer:
    """A tracer of it."""
    return Tracer(lambda watch: open_target(options, watch))


def values(tracer: Tracer, order: int, size: int) -> set[frozenset[int]]:
    """The pairs of numbers that are compared, cut to `size` bytes."""
    mask = (1 << 8 * size) - 1
    pairs = tracer.pairs(call(order, MEMORY))
    return {frozenset((pair.left & mask, pair.right & mask)) for pair in pairs if pair.width}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("order", "size", "given", "wanted"),
    [
        (0, 8, WIDE, 0x1122334455667788),
        (1, 4, NARROW, 0x8BADF00D),
        (2, 2, HALF, 0xBEEF),
        (3, 1, BYTE, ord("q")),
        (4, 4, NARROW, 0x10203040),
        (4, 4, NARROW, 0x55AA1234),
        (4, 4, NARROW, 77777777),
        (11, 4, NARROW, 0xDEADBEEF),
    ],
)
def test_constants(order: int, size: int, given: int, wanted: int, tracer: Tracer) -> None:
    assert frozenset((given, wanted)) in values(tracer, order, size)


@pytest.mark.parametrize(
    ("order", "size", "given", "limit"),
    [
        (8, 8, WIDE, 0x7000000000000001),
        (9, 8, WIDE, -1234567890123 & (1 << 64) - 1),
        (10, 4, NARROW, 3000000000),
    ],
)
def test_limits(order: int, size: int, given: int, limit: int, tracer: Tracer) -> None:
    """Of an order; a compiler may take the next number."""
    near = {frozenset((given, limit + by)) for by in (-1, 0, 1)}
    assert near & values(tracer, order, size)


@pytest.mark.parametrize(
    ("order", "given", "wanted"),
    [
        (5, TEXT[:11], b"secret word"),
        (6, TEXT, b"pass"),
        (7, TEXT[:6], b"prefix"),
    ],
)
def test_strings(order: int, given: bytes, wanted: bytes, tracer: Tracer) -> None:
    assert Pair(0, given, wanted) in tracer.pairs(call(order, MEMORY))


def test_nothing_of_another_execution(tracer: Tracer) -> None:
    first = tracer.pairs(call(0, MEMORY))
    tracer.pairs(call(6, MEMORY))
    tracer.pairs(call(13, MEMORY))  # a fault
    assert tracer.pairs(call(0, MEMORY)) == first
    assert len(set(first)) == len(first)


def test_loops_are_not_noted_for_ever(tracer: Tracer) -> None:
    tracer.pairs(call(12, MEMORY))
    assert len(tracer._pairs) < 20 * MOST_AT_ONE_PLACE


def test_a_worker_gets_past_them(options: Options) -> None:
    """What is compared gets into inputs: a round finds the code behind a constant of 8 bytes."""
    worker = Worker(options)
    worker.target.execute(call(0, MEMORY))
    result = worker.run(Job(options, (call(0, MEMORY),), "0/0/0", 5_000_000, stage=Stage.FIRST))
    assert any(b"\x88\x77\x66\x55\x44\x33\x22\x11" in entry.data for entry in result.entries)
    assert any(entry.operation == "compare" for entry in result.entries)


# -- instructions ------------------------------------------------------------------------------------------

REGISTERS = memoryview(bytearray(8 * 69)).cast("Q")
for number in range(1, 32):
    REGISTERS[X0 + number] = 1000 + number
A0, A1, ZERO = asm.A0, asm.A1, asm.ZERO
OF_A0, OF_A1 = 1000 + A0, 1000 + A1
MASK = (1 << 64) - 1


def itype(opcode: int, funct3: int, rd: int, rs1: int, value: int) -> bytes:
    return (opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (value & 0xFFF) << 20).to_bytes(4, "little")


def rtype(opcode: int, funct3: int, funct7: int, rd: int, rs1: int, rs2: int) -> bytes:
    word = opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25
    return word.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (asm.beq(A0, A1, 8), (OF_A0, OF_A1)),
        (asm.bne(A0, ZERO, 8), (OF_A0, 0)),
        (rtype(0x33, 0, 0x20, 5, A0, A1), (OF_A0, OF_A1)),  # sub
        (rtype(0x3B, 0, 0x20, 5, A0, A1), (OF_A0, OF_A1)),  # subw
        (rtype(0x33, 2, 0, 5, A0, A1), (OF_A0, OF_A1)),  # slt
        (rtype(0x33, 3, 0, 5, A0, A1), (OF_A0, OF_A1)),  # sltu
        (rtype(0x33, 4, 0, 5, A0, A1), (OF_A0, OF_A1)),  # xor
        (rtype(0x33, 0, 0, 5, A0, A1), None),  # add
        (rtype(0x33, 4, 1, 5, A0, A1), None),  # div
        (rtype(0x33, 7, 0, 5, A0, A1), None),  # and
        (itype(0x13, 0, 5, A0, -77), (OF_A0, 77)),  # addi
        (itype(0x13, 0, 5, A0, 77), None),
        (itype(0x1B, 0, 5, A0, -77), (OF_A0, 77)),  # addiw
        (itype(0x13, 0, 5, ZERO, -77), None),  # li
        (itype(0x13, 2, 5, A0, -5), (OF_A0, -5 & MASK)),  # slti
        (itype(0x13, 3, 5, A0, 9), (OF_A0, 9)),  # sltiu
        (itype(0x13, 4, 5, A0, 9), (OF_A0, 9)),  # xori
        (itype(0x13, 7, 5, A0, 9), None),  # andi
        (asm.ecall(), None),
        (asm.c_addi(A0, -3), (OF_A0, 3)),
        (asm.c_addi(A0, 3), None),
        (asm.c_nop(), None),
        ((0xC105).to_bytes(2, "little"), (OF_A0, 0)),  # c.beqz a0
        ((0xE105).to_bytes(2, "little"), (OF_A0, 0)),  # c.bnez a0
        ((0x8D0D).to_bytes(2, "little"), (OF_A0, OF_A1)),  # c.sub a0, a1
        ((0x8D2D).to_bytes(2, "little"), (OF_A0, OF_A1)),  # c.xor a0, a1
        ((0x8D4D).to_bytes(2, "little"), None),  # c.or a0, a1
        (b"", None),
        (b"\x01", None),
    ],
)
def test_instructions(code: bytes, expected: tuple[int, int] | None) -> None:
    compare = compare_of(code)
    assert (compare(REGISTERS) if compare else None) == expected
