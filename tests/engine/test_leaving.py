"""Requests to leave guest code, at every access to memory that a program makes: it never notices one.

A hook asks where a thread would ask sometime, so each run is the same. It is called before the access is
made: behind that was where Unicorn left the instruction, to run it again.
"""

from collections.abc import Callable

import pytest
from unicorn import unicorn_const as uc_const

from pltvm.engine import leaving
from pltvm.engine.hart import Hart
from pltvm.engine.leaving import Leaving
from pltvm.engine.trap import Cause
from pltvm.errors import EngineError
from tests.asm import (
    A0,
    A1,
    A2,
    T0,
    T1,
    ZERO,
    add,
    addi,
    amoadd_d,
    beq,
    bne,
    ecall,
    fld,
    fsd,
    ld,
    li,
    lr_d,
    sc_d,
    sd,
)
from tests.engine.harness import DATA, Machine

ROUNDS = 3
NEXT_BLOCK = beq(ZERO, ZERO, 4)
START = li(T0, DATA) + li(T1, 5) + li(A2, ROUNDS)


def rounds(body: bytes) -> bytes:
    return START + body + addi(A2, A2, -1) + bne(A2, ZERO, -len(body) - 4) + ecall()


PROGRAMS = {
    "amo": rounds(amoadd_d(A0, T1, T0) + add(A1, A1, A0)),
    "lock": rounds(lr_d(A0, T0) + add(A0, A0, T1) + sc_d(A0, A0, T0) + add(A1, A1, A0)),
    "lock in blocks": rounds(
        lr_d(A0, T0) + NEXT_BLOCK + add(A0, A0, T1) + sc_d(A0, A0, T0) + NEXT_BLOCK + add(A1, A1, A0)
    ),
    "load and store": rounds(ld(A0, T0) + add(A0, A0, T1) + sd(A0, T0) + add(A1, A1, A0)),
    "floating point": rounds(sd(T1, T0, 8) + fld(1, T0, 8) + fsd(1, T0) + ld(A0, T0) + add(A1, A1, A0)),
}


def run(program: bytes, at: int, ask: Callable[[Hart], None]) -> tuple[Machine, int, tuple[int, ...]]:
    """Run with a request at the access to memory of this number; how many there were, and how it ended."""
    machine = Machine()
    space = machine.space(program)
    count = 0

    def access(*_: object) -> None:
        nonlocal count
        count += 1
        if count == at:
            ask(machine.hart)

    machine.hart._uc.hook_add(
        uc_const.UC_HOOK_MEM_READ | uc_const.UC_HOOK_MEM_WRITE, access, begin=0, end=1 << 56
    )
    machine.hart.handlers[Cause.INTERRUPT] = lambda _context: None
    context = space.context()
    assert machine.run(context).cause == Cause.ECALL_U
    words = machine.memory.read(space.table.translate(DATA), 16)
    return machine, count, (*context.regs, *words)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_refresh_at_any_access_is_not_seen(program):
    _, count, end = run(program, 0, Hart.refresh_tlb)
    assert count >= 2 * ROUNDS
    for at in range(1, count + 1):
        machine, again, same = run(program, at, Hart.refresh_tlb)
        assert (again, same) == (count, end), at
        assert machine.hart.refreshes


@pytest.mark.parametrize("name", ["amo", "load and store", "floating point"])
def test_interrupt_at_any_access_is_not_seen(name):
    _, count, end = run(PROGRAMS[name], 0, Hart.interrupt)
    for at in range(1, count + 1):
        machine, again, same = run(PROGRAMS[name], at, Hart.interrupt)
        assert (again, same) == (count, end), at
        assert machine.hart.traps == 2


def test_interrupt_leaves_no_store_of_a_conditional_that_fails():
    """It may cost the reservation, as a trap does; then nothing is stored."""
    program = rounds(lr_d(A0, T0) + add(A0, A0, T1) + sc_d(A0, A0, T0) + bne(A0, ZERO, -12))
    _, count, end = run(program, 0, Hart.interrupt)
    for at in range(1, count + 1):
        assert run(program, at, Hart.interrupt)[2] == end, at


def test_another_unicorn_is_refused():
    hart = Machine().hart
    hart._leaving.between_blocks(only=True)
    with pytest.raises(EngineError, match="use unicorn"):  # a field is not what it must be
        Leaving(hart._handle, hart.memory.end - 2)
    hart._leaving.between_blocks(only=False)
    assert Leaving(hart._handle, hart.memory.end - 2)


def test_engine_without_the_known_fields_is_refused(monkeypatch):
    monkeypatch.setattr(leaving, "_SEARCHED", 8)
    with pytest.raises(EngineError, match="use unicorn"):
        Machine()
