"""Places that trap: exactly there, in one address space, and RAM and all other code are as they were."""

import pytest

from pltvm.engine import sv39
from pltvm.engine.context import PC, X0, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause
from tests import asm
from tests.asm import A0, A1
from tests.engine.harness import CODE, Machine, Space

LOOP = asm.li(A0, 0) + asm.li(A1, 5) + asm.addi(A0, A0, 1) + asm.c_nop() + asm.bne(A0, A1, -6) + asm.ecall()
INSIDE = CODE + len(asm.li(A0, 0)) + len(asm.li(A1, 5))


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.hart.settle = machine.hart.breaks.settle
    return machine


def _stops(machine: Machine, space: Space, context: Context | None = None) -> list[tuple[int, int]]:
    """pc and a0 at each stop; each goes on by a way that does not stop there again at once."""
    found, hart = [], machine.hart

    def on_break(context: Context) -> None:
        found.append((context.regs[PC], context.regs[X0 + A0]))
        if context.regs[PC] == INSIDE:  # as if its instruction had run
            context.regs[X0 + A0] += 1
            context.step(4)

    hart.handlers[Cause.BREAK] = on_break
    assert machine.run(context or space.context()).cause == Cause.ECALL_U
    return found


def test_a_place_stops_each_time_before_its_instruction(machine: Machine) -> None:
    space = machine.space(LOOP)
    code = machine.memory.read(pte_address(space.table.entry(CODE)), PAGE)
    machine.hart.breaks.add(space.table, INSIDE)
    assert _stops(machine, space) == [(INSIDE, number) for number in range(5)]
    assert machine.memory.read(pte_address(space.table.entry(CODE)), PAGE) == code


def test_code_that_ran_before_stops_too_and_after_it_is_removed_no_more(machine: Machine) -> None:
    space = machine.space(LOOP)
    assert _stops(machine, space) == []
    machine.hart.breaks.add(space.table, INSIDE)
    assert len(_stops(machine, space)) == 5
    machine.hart.breaks.hush(INSIDE)
    assert _stops(machine, space) == []
    machine.hart.breaks.wake(INSIDE)
    assert len(_stops(machine, space)) == 5
    machine.hart.breaks.remove(space.table, INSIDE)
    assert _stops(machine, space) == []
    assert machine.hart.core.breaks == 0


def test_other_spaces_do_not_stop(machine: Machine) -> None:
    one, other = machine.space(LOOP, asid=1), machine.space(LOOP, asid=2)
    machine.hart.breaks.add(one.table, INSIDE)
    assert _stops(machine, other) == []
    assert len(_stops(machine, one)) == 5


def test_a_space_that_shares_the_page_has_the_same_translation(machine: Machine) -> None:
    """It traps for both; who handles that sees that it is not the one."""
    one, other = machine.space(LOOP, asid=1), machine.space(asid=2)
    other.table.map(CODE, pte_address(one.table.entry(CODE)), 1, one.table.entry(CODE) & 0xFF)
    assert _stops(machine, other) == []  # translated without
    machine.hart.breaks.add(one.table, INSIDE)
    assert len(_stops(machine, other)) == 5
    assert machine.hart.breaks.has(one.table, INSIDE)
    assert not machine.hart.breaks.has(other.table, INSIDE)


def test_a_place_inside_of_an_instruction_changes_nothing(machine: Machine) -> None:
    space = machine.space(LOOP)
    machine.hart.breaks.add(space.table, INSIDE + 2)
    assert _stops(machine, space) == []


def test_a_page_that_is_mapped_later(machine: Machine) -> None:
    space = machine.space()
    machine.hart.breaks.add(space.table, CODE + PAGE + INSIDE - CODE)
    space.map(CODE + PAGE, sv39.RX, LOOP)
    context = space.context()
    context.regs[PC] = CODE + PAGE
    hart = machine.hart
    found: list[int] = []

    def on_break(context: Context) -> None:
        found.append(context.regs[PC])
        hart.stop()

    hart.handlers[Cause.BREAK] = on_break
    hart.current = context
    hart.run()
    assert found == [CODE + PAGE + INSIDE - CODE]


def test_an_instruction_that_unicorn_lacks_can_be_a_place(machine: Machine) -> None:
    sh1add = (0x2000_2033 | A0 << 7 | A0 << 15 | A1 << 20).to_bytes(4, "little")
    space = machine.space(asm.li(A0, 3) + asm.li(A1, 4) + sh1add + asm.ecall())
    at = CODE + len(asm.li(A0, 3)) + len(asm.li(A1, 4))
    machine.hart.breaks.add(space.table, at)
    stopped: list[int] = []

    def on_break(context: Context) -> None:
        stopped.append(context.regs[PC])
        machine.hart.breaks.remove(space.table, at)

    machine.hart.handlers[Cause.BREAK] = on_break
    context = space.context()
    assert machine.run(context).cause == Cause.ECALL_U
    assert stopped == [at]
    assert context.regs[X0 + A0] == 10


def test_an_errand_is_run_outside_before_anything_else(machine: Machine) -> None:
    space = machine.space(asm.ecall() + asm.li(A0, 7) + asm.ecall())
    hart, order = machine.hart, []

    def first(_context: Context) -> None:
        order.append("call")
        hart.handlers[Cause.ECALL_U] = machine._ending(Cause.ECALL_U)
        hart.outside(lambda: order.append(f"errand {hart.current.regs[X0 + A0]}"))

    hart.handlers[Cause.ECALL_U] = first
    hart.outside(lambda: order.append("begin"))
    context = space.context()
    machine.run(context)
    assert order == ["begin", "call", "errand 0"]
    assert context.regs[X0 + A0] == 7
