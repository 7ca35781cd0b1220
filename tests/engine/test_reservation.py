"""Reservations of `lr` can be looked at, and put back where Unicorn forgets them."""

from pltvm.engine.context import PC
from pltvm.engine.trap import Cause
from tests.asm import A0, A1, A2, A3, ebreak, ecall, li, lr_d, sc_d
from tests.engine.harness import CODE, DATA, Machine

BEFORE = li(A3, 5) + li(A2, DATA) + li(A1, 7) + lr_d(A0, A2) + ecall()
PROGRAM = BEFORE + sc_d(A3, A1, A2) + ebreak()


def test_it_is_seen_and_put_back() -> None:
    machine = Machine()
    hart, space = machine.hart, machine.space(PROGRAM)
    seen = []

    def look(_context: object) -> None:
        held = hart.reservation.held
        seen.append(held)
        hart.reservation.hold(None)
        seen.append(hart.reservation.held)
        hart.reservation.hold(held)

    hart.handlers[Cause.ECALL_U] = look
    context = space.context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert seen == [(DATA, 0), None]
    assert context.register(A3) == 0, "sc has stored"


def test_what_was_not_reserved_is_not_stored() -> None:
    machine = Machine()
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: machine.hart.reservation.hold(None)
    context = machine.space(PROGRAM).context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A3) == 1


def test_code_is_forgotten_and_the_reservation_not() -> None:
    """As a debugger has it that sets and takes a place between `lr` and `sc`."""
    machine = Machine()
    hart, space = machine.hart, machine.space(PROGRAM)
    hart.settle = hart.breaks.settle
    context = space.context()
    table = context.table
    assert table is not None
    place = CODE + len(BEFORE)
    stopped = []

    def stop(context: object) -> None:
        stopped.append(machine.hart.current.regs[PC])
        hart.breaks.remove(table, place)

    hart.handlers[Cause.BREAK] = stop
    hart.handlers[Cause.ECALL_U] = lambda _context: hart.breaks.add(table, place)
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert stopped == [place]
    assert context.register(A3) == 0
