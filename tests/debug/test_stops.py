"""Stops of a machine without any debugger: a run that is stopped everywhere is the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from pltvm import EnclaveType, Machine
from pltvm.debug.history import History
from pltvm.debug.stops import Go, Reason, Stop, Stops
from pltvm.engine.context import PC, Context
from pltvm.engine.position import Counter
from pltvm.engine.sv39 import W
from pltvm.engine.trap import Cause
from pltvm.host.api import Enclave
from pltvm.host.linux.runner import run_program
from pltvm.host.symbols import Symbols
from tests.debug.debuggers import Programs


def _chain(programs: Programs, native: bool = True) -> tuple[Machine, Enclave]:
    machine = Machine(64 << 20, native=native)
    for name in ("second", "third"):
        machine.create(str(programs(name)), name=name, type=EnclaveType.SERVER)
    return machine, machine.create(str(programs("first")), name="first")


@pytest.mark.parametrize("native", [True, False])
def test_a_run_by_single_steps_is_the_run(programs: Programs, native: bool) -> None:
    _, first = _chain(programs, native)
    wanted = first.run()
    machine, first = _chain(programs, native)
    who: list[int] = []

    def on_stop(stop: Stop) -> Go:
        running = machine.monitor.state.running
        if running is not None and (not who or who[-1] != running.eid):
            who.append(running.eid)
        assert stop.reason in (Reason.BEGIN, Reason.STEP, Reason.NEW)
        return Go(step=True)

    Stops(machine, on_stop).begin()
    result = first.run()
    assert (result.output, result.retval) == (wanted.output, wanted.retval)
    assert who == [2, 0, 1, 0, 2]  # into the servers, and out of them
    assert machine.hart.breaks.places == {}


def test_places_watches_and_steps_together(programs: Programs) -> None:
    _, first = _chain(programs)
    wanted = first.run()
    machine, first = _chain(programs)
    reasons: list[Reason] = []
    third = next(one for one in machine.driver.enclaves.values() if one.label == "third")
    table = machine.monitor.state.enclaves[third.eid].space.table
    assert third.symbols is not None
    add, total = third.symbols.find("add"), third.symbols.find("total")
    assert add is not None
    assert total is not None

    def on_stop(stop: Stop) -> Go:
        reasons.append(stop.reason)
        if stop.reason is Reason.BEGIN:
            stops.add(table, add[0])
            assert stops.watch(table, total[0], 4, "w", put=True)
        return Go(step=len(reasons) % 3 == 0)

    stops = Stops(machine, on_stop)
    stops.begin()
    result = first.run()
    assert (result.output, result.retval) == (wanted.output, wanted.retval)
    assert reasons.count(Reason.BREAK) == 6
    assert reasons.count(Reason.WATCH) == 5  # one adds nothing
    assert table.translate(total[0], W) is not None  # no page table was changed
    stops.end()


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_count_is_the_same_before_stops_and_behind(programs: Programs, native: bool, first: bool) -> None:
    """Places and steps trap, which counts for nothing, whoever was on the machine first."""
    machine, run = _chain(programs, native)
    plain = Counter(machine.hart)
    run.run()
    machine, run = _chain(programs, native)
    symbols = next(one for one in machine.driver.enclaves.values() if one.label == "third").symbols
    add = symbols.find("add") if symbols is not None else None
    assert add is not None
    reasons: list[Reason] = []

    def on_stop(stop: Stop) -> Go:
        table = machine.hart.current.table
        if not reasons and table is not None:
            stops.add(table, add[0])
        reasons.append(stop.reason)
        return Go(step=len(reasons) % 5 != 0)

    counter = Counter(machine.hart) if first else None
    stops = Stops(machine, on_stop)
    stops.begin()
    counter = counter or Counter(machine.hart)
    run.run()
    assert counter.now == plain.now
    assert Reason.STEP in reasons


def test_what_cannot_be_watched(programs: Programs) -> None:
    machine, _ = _chain(programs)
    stops = Stops(machine, lambda _stop: Go())
    tables = [enclave.space.table for enclave in machine.monitor.state.enclaves.values()]
    assert not stops.watch(tables[0], 0x7000_0000, 8, "w", put=True)  # not mapped
    assert not stops.watch(tables[0], 0x1FFC, 8, "w", put=True)  # two pages
    assert all(stops.watch(table, 0x1000, 8, "w", put=True) for table in tables)
    assert not stops.watch(tables[0], 0x2000, 8, "w", put=True)  # a fourth page
    assert stops.watch(tables[0], 0x1010, 8, "w", put=True)  # no other page


SC_W = bytes.fromhex("2fa7b61e")  # sc.w.aqrl a4, a1, (a3): the one of `__unlockfile`
Turn = tuple[int, bytes, int]  # where a time slice ended, by whom, and the clock


def _turns(
    machine: Machine, program: Path, root: Path, at_each: Callable[[], None] = lambda: None
) -> tuple[list[Turn], bytes]:
    """The time slices of a Linux program, and its output; `at_each` is called when one ends."""
    handlers, turns = machine.hart.handlers, []
    own = handlers.given(Cause.TIMER)

    def on_timer(context: Context) -> None:
        turns.append((context.regs[PC], bytes(context.regs[4:36]), machine.hart.clock))
        at_each()
        own(context)

    handlers[Cause.TIMER] = on_timer
    result = run_program(machine.driver, program, root=root, timeout=60)
    assert (result.bugs, result.end) == (0, "")
    return turns, result.output


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("history", [False, True])
def test_threads_take_turns_as_without_stops(
    build_linux: Callable[[str], Path], tmp_path: Path, native: bool, history: bool
) -> None:
    """Stops of all kinds use up nothing of a time slice, and a lock is taken by a stopped `sc` too."""
    program = build_linux("history_threads")
    symbols = Symbols(program.read_bytes())
    with program.open("rb") as file:
        text: Any = ELFFile(file).get_section_by_name(".text")
        start, code = text["sh_addr"], text.data()
    places = [symbols.find(name) for name in ("printf", "fflush", "__lockfile", "__unlockfile")]
    addresses = [place[0] for place in places if place is not None]
    assert len(addresses) == 4
    addresses.append(start + code.index(SC_W, addresses[-1] - start))
    wanted = _turns(Machine(256 << 20, native=native), program, tmp_path)
    machine = Machine(256 << 20, native=native)
    reasons: list[Reason] = []

    def on_stop(stop: Stop) -> Go:
        table = machine.hart.current.table
        if not reasons and table is not None:
            for address in addresses:
                stops.add(table, address)
        reasons.append(stop.reason)
        if stop.reason is Reason.BREAK and len(reasons) % 5 == 0:
            stops.soon(Stop(Reason.NEW))
        return Go(step=len(reasons) % 7 != 0)

    stops = Stops(machine, on_stop)
    stops.begin()
    if history:
        History(machine, every=20_000)
    turns = _turns(machine, program, tmp_path, stops.request)
    assert len(wanted[0]) > 3
    assert turns == wanted
    assert {Reason.BREAK, Reason.STEP, Reason.NEW, Reason.REQUEST} <= set(reasons)
