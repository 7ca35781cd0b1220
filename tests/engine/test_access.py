"""Loads, stores and atomics done by hand: Unicorn, which runs the same instruction, has to agree."""

import random
from collections.abc import Callable

import pytest

from pltvm.engine.access import Accesses, operation
from pltvm.engine.context import F0, FCSR, PC, X0, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause, fetch
from tests import asm
from tests.engine.harness import CODE, DATA, Machine, Space

_AMOS = (0x00, 0x01, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C)
_AT = DATA + 512


def _loads_and_stores(chooser: random.Random) -> bytes:
    """One of them, with the address in a0 (x10), or in sp."""
    data, near = chooser.randrange(32), chooser.randrange(-256, 256)
    function = chooser.randrange(10)
    if function == 0:
        return ((near & 0xFFF) << 20 | 10 << 15 | chooser.randrange(7) << 12 | data << 7 | 0x03).to_bytes(
            4, "little"
        )
    if function == 1:
        return chooser.choice([asm.sb, asm.sh, asm.sw, asm.sd])(data, 10, near)
    if function == 2:
        return chooser.choice([asm.flw, asm.fsw, asm.fld, asm.fsd])(data, 10, near)
    if function in (3, 4):
        width, kind, other = chooser.choice([2, 3]), chooser.choice(_AMOS), chooser.randrange(32)
        bits = (
            kind << 27 | chooser.randrange(4) << 25 | other << 20 | 10 << 15 | width << 12 | data << 7 | 0x2F
        )
        return bits.to_bytes(4, "little")
    short = chooser.randrange(8, 16)
    if function in (5, 6):
        return chooser.choice([asm.c_lw, asm.c_sw])(short, 10, 4 * chooser.randrange(8))
    if function == 7:
        return chooser.choice([asm.c_ld, asm.c_sd, asm.c_fld, asm.c_fsd])(short, 10, 8 * chooser.randrange(8))
    if function == 8:
        return chooser.choice([asm.c_lwsp, asm.c_swsp])(data or 1, 4 * chooser.randrange(8))
    return chooser.choice([asm.c_ldsp, asm.c_sdsp, asm.c_fldsp, asm.c_fsdsp])(
        data or 1, 8 * chooser.randrange(8)
    )


def _fill(context: Context, values: list[int]) -> None:
    for slot, value in enumerate(values, X0 + 1):
        context.regs[slot] = value
    context.regs[PC], context.regs[X0 + 10], context.regs[X0 + 2] = CODE, _AT, _AT + 64
    context.regs[FCSR] = 0


@pytest.fixture
def space() -> tuple[Machine, Space]:
    machine = Machine()
    return machine, machine.space(bytes(64))


def _both(
    machine: Machine, space: Space, code: bytes, chooser: random.Random, steps: int
) -> tuple[list[int], bytes, list[int], bytes]:
    """Registers and memory after Unicorn has run the code, and after its instructions were done by hand."""
    page = pte_address(space.table.entry(DATA))
    machine.memory.write(pte_address(space.table.entry(CODE)), code + asm.ecall())
    content = chooser.randbytes(PAGE)
    values = [chooser.choice([0, 1, (1 << 63) + 5, chooser.getrandbits(64)]) for _ in range(FCSR - X0)]
    context = space.context()
    machine.memory.write(page, content)
    _fill(context, values)
    assert machine.run(context).cause == Cause.ECALL_U
    regs, memory = (
        list(context.regs[X0 + 1 : PC]) + list(context.regs[F0:FCSR]),
        machine.memory.read(page, PAGE),
    )
    machine.memory.write(page, content)
    _fill(context, values)
    accesses = Accesses()
    for _ in range(steps):
        what = operation(fetch(context), context)
        assert what is not None, code.hex()
        assert accesses.perform(fetch(context), context, what, machine.hart.protection) is None
    assert context.regs[PC] == CODE + len(code)
    mine = list(context.regs[X0 + 1 : PC]) + list(context.regs[F0:FCSR])
    return regs, memory, mine, machine.memory.read(page, PAGE)


def test_random_accesses(space: tuple[Machine, Space]) -> None:
    chooser = random.Random(7)
    for _ in range(600):
        code = _loads_and_stores(chooser)
        regs, memory, mine, by_hand = _both(*space, code, chooser, 1)
        assert (mine, by_hand) == (regs, memory), code.hex()


@pytest.mark.parametrize("between", [lambda: b"", lambda: asm.sd(11, 10), lambda: asm.ld(12, 10)])
def test_reservations(space: tuple[Machine, Space], between: Callable[[], bytes]) -> None:
    chooser = random.Random(8)
    code = asm.lr_d(5, 10) + between() + asm.sc_d(6, 7, 10)
    regs, memory, mine, by_hand = _both(*space, code, chooser, 3 if between() else 2)
    assert (mine, by_hand) == (regs, memory)


def test_other_instructions_access_nothing(space: tuple[Machine, Space]) -> None:
    context = space[1].context()
    for code in (asm.nop(), asm.ecall(), asm.jal(1, 8), asm.c_nop(), b"", asm.fadd_d(1, 2, 3)):
        assert operation(code, context) is None


def test_a_page_that_is_not_there_is_a_page_fault(space: tuple[Machine, Space]) -> None:
    context = space[1].context()
    context.regs[X0 + 10] = DATA + PAGE - 4
    for code, cause in ((asm.ld(5, 10), Cause.LOAD_PAGE), (asm.sd(5, 10), Cause.STORE_PAGE)):
        what = operation(code, context)
        assert what is not None
        assert Accesses().perform(code, context, what, space[0].hart.protection) is cause
