"""Positions: counted the same with and without the core; and a run can be stopped at each."""

import pytest

from pltvm import native
from pltvm.engine.context import PC, Context
from pltvm.engine.counting import MOST_WATCHED, NEVER, CounterState
from pltvm.engine.position import Counter
from pltvm.engine.trap import Cause
from pltvm.errors import EngineError
from tests.asm import A0, A1, A2, A3, addi, bne, ebreak, ecall, jal, ld, li, lr_d, nop, sc_d, sd
from tests.engine.harness import CODE, DATA, Machine
from tests.native_headers import fields_in_python, fields_of, structs

ROUNDS = 40
SETUP = li(A1, ROUNDS) + li(A2, DATA)
BODY = addi(A0, A0, 1) + sd(A0, A2) + nop() + ecall()
LOOP = BODY + bne(A0, A1, -len(BODY))
PROGRAM = SETUP + LOOP + ebreak()
LENGTH = len(SETUP) // 4 + ROUNDS * (len(LOOP) // 4)


def test_it_is_laid_out_as_in_the_header() -> None:
    before = "struct hart; typedef int answer_function(void *, uint32_t);"
    declared = structs("engine/native/position.h", before)
    assert fields_of(declared, "counter") == fields_in_python(CounterState)


@pytest.fixture(params=[pytest.param(True, id="core"), pytest.param(False, id="python")])
def counted(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Machine, Counter, Context]:
    """A machine that counts, and a program whose calls come back."""
    if request.param and native.core is None:
        pytest.skip(native.status)
    if not request.param:
        monkeypatch.setattr(native, "core", None)
    machine = Machine()
    counter = Counter(machine.hart)
    space = machine.space(PROGRAM)
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: None
    return machine, counter, space.context()


def test_a_run_is_counted(counted: tuple[Machine, Counter, Context]) -> None:
    machine, counter, context = counted
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert counter.now == LENGTH


def test_in_handlers(counted: tuple[Machine, Counter, Context]) -> None:
    """A call counts, and what it is for is being done."""
    machine, counter, context = counted
    seen: list[int] = []
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: seen.append(counter.now)
    machine.run(context)
    first = len(SETUP) // 4 + len(BODY) // 4
    assert seen == [first + round_ * len(LOOP) // 4 for round_ in range(ROUNDS)]


def test_each_position(counted: tuple[Machine, Counter, Context]) -> None:
    """An errand goes on one by one: pc is that of the instruction which comes next."""
    machine, counter, context = counted
    seen: list[tuple[int, int]] = []

    def errand() -> None:
        for position in range(1, LENGTH):
            counter.go_to(position)
            seen.append((counter.now, machine.hart.current.regs[PC]))

    machine.hart.outside(errand)
    assert machine.run(context).cause == Cause.BREAKPOINT
    order = [*range(0, len(SETUP), 4), *[*range(len(SETUP), len(SETUP) + len(LOOP), 4)] * ROUNDS]
    assert seen == [(position, CODE + order[position]) for position in range(1, LENGTH)]
    assert counter.now == LENGTH


def test_an_alarm_at_each_position(counted: tuple[Machine, Counter, Context]) -> None:
    """Also in the middle of a block, and again and again in a loop: nothing runs twice or is left out."""
    machine, counter, context = counted
    seen: list[tuple[int, int]] = []

    def alarm() -> None:
        seen.append((counter.now, machine.hart.current.regs[PC]))
        counter.alarm_at(counter.now + 1)

    counter.on_alarm = alarm
    counter.alarm_at(1)
    assert machine.run(context).cause == Cause.BREAKPOINT
    order = [
        *range(0, len(SETUP), 4),
        *[*range(len(SETUP), len(SETUP) + len(LOOP), 4)] * ROUNDS,
        len(SETUP) + len(LOOP),
    ]
    assert seen == [(position, CODE + order[position]) for position in range(1, LENGTH + 1)]
    assert (counter.now, context.register(A0)) == (LENGTH, ROUNDS)


@pytest.mark.parametrize("step", [3, 7, 50])
def test_an_alarm_that_is_taken_back(counted: tuple[Machine, Counter, Context], step: int) -> None:
    """In a handler, also when the JIT is on its way there; others come where they are due."""
    machine, counter, context = counted
    seen: list[int] = []
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: counter.alarm_at(counter.now + step)
    counter.on_alarm = lambda: seen.append(counter.now)
    first = len(SETUP) // 4 + len(BODY) // 4
    machine.run(context)
    calls = [first + round_ * len(LOOP) // 4 for round_ in range(ROUNDS)]
    ends = [*calls[1:], NEVER]
    expected = [call + step for call, end in zip(calls, ends, strict=True) if call + step < end]
    assert seen == [one for one in expected if one < LENGTH]
    assert (counter.now, context.register(A0)) == (LENGTH, ROUNDS)


def test_a_counter_that_comes_late(counted: tuple[Machine, Counter, Context]) -> None:
    """What has run before is translated anew."""
    del counted
    machine = Machine()
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: None
    machine.run(machine.space(PROGRAM).context())
    counter = Counter.of(machine.hart)
    assert Counter.of(machine.hart) is counter
    machine.run(machine.space(PROGRAM).context())
    assert counter.now == LENGTH


def test_limits_and_what_is_looked_for(counted: tuple[Machine, Counter, Context]) -> None:
    machine, counter, context = counted
    table = context.table
    assert table is not None
    pa = table.translate(DATA, 0)
    assert pa is not None
    here: list[tuple[int, int | None, int | None]] = []

    def reached() -> None:
        here.append((counter.now, counter.changed_at, counter.reached_at))

    def errand() -> None:
        counter.watch(machine.memory.host_address + pa - machine.memory.base, 8)
        counter.look_for([(table.root, CODE + len(SETUP))])
        counter.on_limit = reached
        counter.stop_behind(LENGTH // 2)

    machine.hart.outside(errand)
    machine.run(context)
    (now, changed, last) = here[0]
    assert LENGTH // 2 - len(LOOP) // 4 <= now <= LENGTH // 2
    assert last is not None
    assert (last - len(SETUP) // 4) % (len(LOOP) // 4) in (0, len(LOOP) // 4 - 1), "a block with the place"
    assert changed is not None
    assert now - changed <= 2 * len(LOOP) // 4


def test_what_cannot_be(counted: tuple[Machine, Counter, Context]) -> None:
    machine, counter, context = counted
    with pytest.raises(EngineError, match="at most 64 can be"):
        counter.watch(machine.memory.host_address, MOST_WATCHED + 1)
    said: list[str] = []

    def errand() -> None:
        with pytest.raises(EngineError, match="did not repeat") as raised:
            counter.go_to(LENGTH * 2)
        said.append(str(raised.value))

    machine.hart.outside(errand)
    machine.run(context)
    assert said
    assert NEVER > LENGTH


ATOMIC = (
    li(A3, 5)
    + li(A2, DATA)
    + lr_d(A0, A2)
    + addi(A0, A0, 1)
    + jal(0, 4)
    + sc_d(A3, A0, A2)
    + ld(A1, A2)
    + ecall()
    + ebreak()
)


def test_a_reservation_outlives_each_stop(counted: tuple[Machine, Counter, Context]) -> None:
    """Between `lr` and `sc` too somebody may look, and have everything translated anew: the store is done."""
    machine, counter, _ = counted
    context = machine.space(ATOMIC).context()
    stops = 0

    def errand() -> None:
        nonlocal stops
        for position in range(1, len(ATOMIC) // 4 - 2):
            counter.go_to(position)
            machine.hart.translations_changed()
            machine.hart.context_changed()
            stops += 1

    machine.hart.outside(errand)
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert stops > len(ATOMIC) // 4 - 4
    assert (context.register(A3), context.register(A1)) == (0, 1), "sc has stored"


def test_a_reservation_ends_with_the_slice(counted: tuple[Machine, Counter, Context]) -> None:
    """As without who counts: what is loaded for a slice has none."""
    machine, counter, _ = counted
    found = []
    for stop in (False, True):
        context = machine.space(ATOMIC).context()
        hart = machine.hart
        hart.handlers[Cause.TIMER] = lambda _context: None
        hart.set_time_slice(0)
        hart.set_time_slice(len(li(A3, 5) + li(A2, DATA)) // 4 + 2)  # behind lr
        if stop:
            start = counter.now
            hart.outside(lambda start=start: counter.go_to(start + 3))  # type: ignore[misc]
        assert machine.run(context).cause == Cause.BREAKPOINT
        found.append(context.register(A3))
    assert found == [1, 1]
