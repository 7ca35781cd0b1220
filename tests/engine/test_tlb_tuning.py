"""Flushes from another thread while a program computes: they change nothing but the time it takes."""

import threading
import time

import pytest

from pltvm.engine import sv39, tlb_tuning
from pltvm.engine.context import S, U
from pltvm.engine.trap import Cause
from tests.asm import A0, A1, ZERO, addi, bne, ebreak, ecall, li
from tests.engine.harness import CODE, Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


def count_down(rounds: int) -> bytes:
    """A loop that takes a while, and counts in a1."""
    return li(A0, rounds) + addi(A1, A1, 1) + addi(A0, A0, -1) + bne(A0, ZERO, -8) + ecall()


def test_refresh_is_not_seen_by_the_program(machine: Machine) -> None:
    ended = threading.Event()

    def refresh() -> None:
        while not ended.is_set():
            machine.hart.refresh_tlb()
            time.sleep(0.0002)

    thread = threading.Thread(target=refresh)
    context = machine.space(count_down(30_000_000)).context()
    refreshes = machine.hart.refreshes
    thread.start()
    try:
        end = machine.run(context)
    finally:
        ended.set()
        thread.join()
    assert end.cause == Cause.ECALL_U
    assert context.register(A1) == 30_000_000
    assert machine.hart.refreshes > refreshes + 5


def test_a_program_that_computes_for_long_gets_flushes(machine: Machine) -> None:
    context = machine.space(count_down(60_000_000)).context()
    refreshes = machine.hart.refreshes
    machine.run(context)
    assert context.register(A1) == 60_000_000
    assert machine.hart.flushes <= 1  # what a run reports is not for the clock to decide
    assert machine.hart.refreshes > refreshes + 3


def test_nothing_is_left_behind(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlb_tuning, "_IDLE_LOOKS", 2)
    tuner = tlb_tuning.Tuner()
    tuner.begin(machine.hart)
    thread = tuner._thread
    assert thread is not None
    tuner.end(machine.hart)
    thread.join(timeout=5)
    assert not thread.is_alive()
    tuner.begin(machine.hart)  # it is made anew
    assert tuner._thread is not thread
    tuner.end(machine.hart)


def test_time_slices_are_not_disturbed(machine: Machine) -> None:
    machine.hart.set_time_slice(1_000_000)
    context = machine.space(count_down(2_000_000)).context()
    machine.hart.handlers[Cause.TIMER] = lambda _context: machine.hart.refresh_tlb()
    end = machine.run(context)
    assert end.cause == Cause.ECALL_U
    assert machine.hart.clock == 6_000_000


def test_refresh_comes_before_slices_begin_or_not_at_all(machine: Machine) -> None:
    """Else it would break off the first one, and when the next thread runs would be for the clock to say."""
    hart = machine.hart

    def begin_slices(_context: object) -> None:
        with hart._slicing:
            thread.start()  # waits for what `set_time_slice` has as well
            hart.slice.length = 1000
        thread.join()
        assert not hart._refresh
        hart.stop()

    thread = threading.Thread(target=hart.refresh_tlb)
    hart.handlers[Cause.ECALL_U] = begin_slices
    hart.current = machine.space(ecall()).context()
    hart.run()


def test_refresh_while_nothing_runs_is_forgotten(machine: Machine) -> None:
    machine.hart.refresh_tlb()
    context = machine.space(li(A0, 3) + ebreak()).context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.regs[35] >= CODE


@pytest.mark.parametrize("how", ["plain", "instructions", "blocks", "slices", "S-mode"])
def test_a_refresh_is_only_where_nobody_sees_it(machine: Machine, how: str) -> None:
    hart = machine.hart
    seen: list[int] = []
    if how in ("instructions", "blocks"):
        hart.watch(lambda pc, _size: seen.append(pc), CODE, CODE + 0xFFF, how == "blocks")
    if how == "slices":
        hart.set_time_slice(1_000_000)
    hart.handlers[Cause.ECALL_U] = lambda _context: hart.refresh_tlb()
    flags, priv = (sv39.RX & ~sv39.U, S) if how == "S-mode" else (sv39.RX, U)
    context = machine.space(ecall() + addi(A1, A1, 1) + ebreak(), flags).context(priv=priv)
    refreshes = hart.refreshes
    machine.run(context)
    assert context.register(A1) == 1
    assert hart.refreshes - refreshes == (how == "plain")
    assert len(seen) == len(set(seen))
