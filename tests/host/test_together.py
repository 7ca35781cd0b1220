"""Several chains at once: whose turn it is, counted in instructions, and the same each time."""

import pickle
from collections.abc import Callable, Sequence
from struct import pack
from typing import Any

import pytest

from pltvm import Enclave, Machine, native
from pltvm.errors import ArgumentError, EnclaveError
from pltvm.host.enclave import REFUSED
from pltvm.host.schedule import NOBODY, Moment, Pct, Random, RoundRobin, Step, Steps, Why, parse, shown
from pltvm.host.together import Together
from pltvm.machine import MachineSnapshot
from pltvm.monitor.abi import Status

RAM = 32 << 20
COUNT, WAIT, SET, CALL, FAULT, PRINT, QUEUE = range(1, 8)
Part = tuple[int, int]
Build = Callable[[str], bytes]


class Cast:
    """A machine with an enclave for each part, and the server that some call."""

    def __init__(
        self,
        build: Build,
        parts: Sequence[Part],
        slots: int | None = None,
        server: str = "turns_server",
        **options: Any,
    ) -> None:
        self.machine = Machine(RAM, **options)
        kind = "server" if slots is None else "concurrent"
        self.server = self.machine.create(build(server), name="counter", type=kind, slots=slots)
        elf = build("turns")
        self.enclaves = [
            self.machine.create(elf, name=f"part{number}", shm=pack("<2Q", *part))
            for number, part in enumerate(parts)
        ]

    def run(self, **options: Any) -> Any:
        return self.machine.run_together(self.enclaves, **options)


def seen(results: Any) -> list[object]:
    """All that can be told of a run, but for places in it."""
    return [
        [(one.status, one.retval, one.output, one.shm, one.fault and one.fault.summary) for one in results],
        results.end,
        results.output,
        results.counts,
    ]


THREE = [(COUNT, 200), (CALL, 20), (PRINT, 5)]


def test_without_options_slices_are_long_and_all_come_to_their_ends(build_guest: Build) -> None:
    results = Cast(build_guest, THREE).run()
    assert [(one.status, one.retval) for one in results] == [
        ("exited", 200),
        ("exited", 210),
        ("exited", 200),
    ]
    assert results[2].output == "".join(f"3: {i}\n" for i in range(5)) == results.output
    assert results.end == ""


@pytest.mark.parametrize("options", [{"quantum": 37}, {"quantum": 500}, {"schedule": 5, "quantum": 100}, {}])
def test_ten_runs_are_the_same_and_so_is_the_schedule_that_one_gives(
    build_guest: Build, options: dict[str, Any]
) -> None:
    first = Cast(build_guest, THREE).run(**options)
    for number in range(10):
        uses_core = native.core is not None and number % 2 == 0
        again = Cast(build_guest, THREE, native=uses_core).run(**options)
        assert (seen(again), again.steps) == (seen(first), first.steps)
    repeated = Cast(build_guest, THREE).run(schedule=first.schedule)
    assert (seen(repeated), repeated.steps) == (seen(first), first.steps)


def test_a_chain_is_preempted_inside_of_a_server(build_guest: Build) -> None:
    """Others find it busy, and nothing is lost: calls of a server come one after another."""
    cast = Cast(build_guest, [(CALL, 30)] * 3)
    results = cast.run(quantum=60)
    sums = sum(one.retval for one in results)
    assert sums == sum(range(91))
    assert len(results.steps) > 50


@pytest.mark.parametrize("slots", [None, 1])
def test_chains_that_wait_for_a_server_get_their_turn(build_guest: Build, slots: int | None) -> None:
    """None is lost where there is one call at a time, and they go on in the order of coming."""
    first = Cast(build_guest, [(QUEUE, 20)] * 4, slots).run(schedule=2, quantum=150)
    assert [one.status for one in first] == ["exited"] * 4
    assert sum(one.retval or 0 for one in first) == sum(range(81))
    values = sorted(one.retval or 0 for one in first)
    assert values[-1] < 2 * values[0]  # nobody starves
    again = Cast(build_guest, [(QUEUE, 20)] * 4, slots).run(schedule=first.schedule)
    assert (seen(again), again.steps) == (seen(first), first.steps)


def test_who_is_stopped_while_it_waits_goes_on_at_its_turn(build_guest: Build) -> None:
    cast = Cast(build_guest, [(QUEUE, 20)] * 3 + [(PRINT, 20)], 1)
    stopped: list[Enclave] = []

    def on_output(_text: bytes) -> None:
        for one in cast.enclaves:
            if one.alive and one.inner.status == Status.WAITING and not one.inner.stopped:
                one.stop()
                stopped.append(one)

    results = cast.run(schedule=2, quantum=150, on_output=on_output)
    assert len(stopped) > 3
    assert [one.status for one in results] == ["exited"] * 4
    assert sum(one.retval or 0 for one in results[:3]) == sum(range(61))


def test_only_those_that_are_alive_are_ready_and_each_once(build_guest: Build) -> None:
    """Whoever has a turn by the monitor's account: it may be over in this run, or ready in any case."""
    cast = Cast(build_guest, [(QUEUE, 20)] * 3 + [(PRINT, 20)], 1)
    looks: list[tuple[list[int], list[int]]] = []

    def on_output(_text: bytes) -> None:
        together = cast.machine.driver.together
        assert isinstance(together, Together)
        turns = [one.id for one in cast.machine.driver.with_turn()]
        for number, chain in enumerate(together.state.chains):
            if chain.enclave in turns and chain.waits:
                before = together._ready()
                chain.waits = False
                assert together._ready() == before
                chain.waits, chain.status = True, REFUSED
                looks.append((before, [*together._ready(), number]))
                chain.status = None

    assert cast.run(schedule=2, quantum=150, on_output=on_output).end == ""
    assert looks
    assert all(sorted(without) == before == sorted(set(before)) for before, without in looks)


def test_slots_of_a_server_are_preempted_by_one_another(build_guest: Build) -> None:
    """Then updates of the server are lost; ten runs by the same seed are the same, also without the core."""
    first = Cast(build_guest, [(QUEUE, 20)] * 4, 3).run(schedule=2, quantum=150)
    assert [one.status for one in first] == ["exited"] * 4
    assert sum(one.retval or 0 for one in first) < sum(range(81))
    for number in range(10):
        uses_core = native.core is not None and number % 2 == 0
        again = Cast(build_guest, [(QUEUE, 20)] * 4, 3, native=uses_core).run(schedule=2, quantum=150)
        assert (seen(again), again.steps) == (seen(first), first.steps)


def test_an_update_is_lost_between_two_steps(build_guest: Build) -> None:
    """By one preemption, at the right instruction, and at no other."""
    results = Cast(build_guest, [(COUNT, 1), (COUNT, 1)]).run()
    assert results.counts[0] < 10_000
    lost = []
    for count in range(results.counts[0] - 60, results.counts[0]):
        again = Cast(build_guest, [(COUNT, 1), (COUNT, 1)]).run(schedule=f"0@{count}>1")
        if again[1].retval == 1 and again[0].retval == 1:
            lost.append(count)
    assert 1 <= len(lost) <= 3
    assert lost == list(range(lost[0], lost[0] + len(lost)))


def test_nobody_gets_further(build_guest: Build) -> None:
    results = Cast(build_guest, [(WAIT, 1), (WAIT, 1), (COUNT, 3)]).run(quantum=100)
    assert (results.end, [one.status for one in results]) == ("deadlock", ["deadlocked"] * 2 + ["exited"])
    assert "turns.c" in results[0].place.place


def test_who_waits_for_what_is_told(build_guest: Build) -> None:
    """One is in the server and waits there for ever, the other one waits for it."""
    cast = Cast(build_guest, [(QUEUE, 1), (QUEUE, 1)], 1, server="turns_stuck")
    results = cast.run()
    assert (results.end, [one.status for one in results]) == ("deadlock", ["deadlocked"] * 2)
    circle, queue = "part0 yields in a circle, and nothing changes", "part1 waits for the server counter"
    assert results.stuck == (circle, queue)
    assert "turns_stuck.c" in results[0].place.place


def test_who_waits_for_a_flag_gets_it(build_guest: Build) -> None:
    results = Cast(build_guest, [(WAIT, 1), (WAIT, 1), (COUNT, 3000), (SET, 1)]).run(quantum=100)
    assert (results.end, [one.status for one in results]) == ("", ["exited"] * 4)


def test_a_fault_ends_its_own_chain_alone(build_guest: Build) -> None:
    results = Cast(build_guest, [(COUNT, 100), (FAULT, 1), (CALL, 10)]).run(quantum=50)
    assert [one.status for one in results] == ["exited", "faulted", "exited"]
    assert results[1].fault is not None
    assert [one.fault for one in results[::2]] == [None, None]


def test_a_limit_of_instructions_is_exact(build_guest: Build) -> None:
    results = Cast(build_guest, [(COUNT, 1000), (COUNT, 1000)]).run(quantum=100, most=12_345)
    assert (results.end, sum(results.counts)) == ("limit", 12_345)
    assert [one.status for one in results] == ["interrupted"] * 2


def test_a_time_limit_and_going_on(build_guest: Build) -> None:
    cast = Cast(build_guest, [(WAIT, 1), (COUNT, 1 << 60), (COUNT, 50)])
    results = cast.run(quantum=1000, timeout=0.1)
    for _ in range(100):
        if results[2].status == "exited":
            break
        results = cast.machine.resume_together(timeout=0.1)
    assert (results.end, [one.status for one in results]) == (
        "time limit",
        ["interrupted", "interrupted", "exited"],
    )
    again = cast.machine.resume_together(timeout=0.2)
    assert again.counts[1] > results.counts[1]
    assert again[2].status == "exited"


def test_a_snapshot_in_a_callback(build_guest: Build) -> None:
    """Put back in the same run, after it, and in another process's machine: the rest is the same."""
    options: dict[str, Any] = {"schedule": 3, "quantum": 80}
    cast, moments = Cast(build_guest, THREE), list[MachineSnapshot]()
    texts: list[bytes] = []

    def on_output(text: bytes) -> None:
        texts.append(text)
        if text == b"3: 2\n" and not moments:
            moments.append(cast.machine.snapshot())
        if text == b"3: 4\n" and texts.count(text) < 3:
            cast.machine.restore(moments[0])

    first = Cast(build_guest, THREE).run(**options)
    results = cast.run(**options, on_output=on_output)
    assert (seen(results), results.steps) == (seen(first), first.steps)
    assert texts.count(b"3: 4\n") == 3
    cast.machine.restore(moments[0])
    resumed = cast.machine.resume_together()
    assert (seen(resumed), resumed.steps) == (seen(first), first.steps)
    other = Machine(RAM)
    other.restore(pickle.loads(pickle.dumps(moments[0])))
    elsewhere = other.resume_together()
    assert [(one.status, one.retval) for one in elsewhere] == [(one.status, one.retval) for one in first]
    assert (elsewhere.steps, elsewhere.output) == (first.steps, first.output)


def test_a_callback_goes_back_to_before_the_run(build_guest: Build) -> None:
    cast = Cast(build_guest, THREE)
    before = cast.machine.snapshot()
    results = cast.run(quantum=90, on_output=lambda _text: cast.machine.restore(before))
    assert [one.status for one in results] == ["put back"] * 3
    assert [one.status for one in cast.run(quantum=90)] == ["exited"] * 3


def test_what_cannot_run(build_guest: Build) -> None:
    cast = Cast(build_guest, [(COUNT, 1), (COUNT, 1)])
    with pytest.raises(EnclaveError, match="is a server"):
        cast.machine.run_together([cast.server])
    with pytest.raises(EnclaveError, match="twice"):
        cast.machine.run_together([cast.enclaves[0], cast.enclaves[0]])
    with pytest.raises(EnclaveError, match="no interrupted run"):
        cast.machine.resume_together()
    for wrong in ("0@5", "a@5>1", "0@5>1;", "0@9999999999999999999>1"):
        with pytest.raises(ArgumentError, match="is no step"):
            cast.run(schedule=wrong)
    for wrong in ("0@5>2", "2@5>1", "start>7"):
        with pytest.raises(ArgumentError, match=r"there is no chain [27]: they are numbered 0 to 1"):
            cast.run(schedule=wrong)
    for options in ({"quantum": 0}, {"quantum": 5, "schedule": "0@5>1"}):
        with pytest.raises(ArgumentError, match="quantum"):
            cast.run(**options)
    assert [one.status for one in cast.run()] == ["exited"] * 2
    with pytest.raises(EnclaveError, match="has run already"):
        cast.run()


def test_who_ran_together_and_alone(build_guest: Build) -> None:
    """One that was interrupted can be resumed by itself, and one machine do this and that."""
    cast = Cast(build_guest, [(COUNT, 10_000), (COUNT, 10_000)])
    cast.run(quantum=100, most=20_000)
    alone: list[Enclave] = cast.enclaves
    assert [one.resume().status for one in alone] == ["exited", "exited"]


# -- policies ------------------------------------------------------------------------------------------------


def test_texts_of_schedules() -> None:
    steps = parse("start>2 0@15>1,1@7>0")
    assert steps == [Step(NOBODY, 0, 2), Step(0, 15, 1), Step(1, 7, 0)]
    assert shown(steps) == "start>2 0@15>1 1@7>0"


def moment(why: Why, current: int, ready: Sequence[int], count: int = 0) -> Moment:
    return Moment(why, current, ready, {current: count})


def test_round_robin_and_steps() -> None:
    robin = RoundRobin(10)
    assert [robin.choose(moment(Why.SLICE, current, [0, 2, 5])) for current in (0, 2, 5)] == [2, 5, 0]
    steps = Steps(parse("1@10>0 1@30>2 0@5>1"))
    assert [steps.until(1, count) for count in (0, 10, 29)] == [10, 30, 30]
    assert steps.choose(moment(Why.SLICE, 1, [0, 1, 2], 30)) == 2
    assert steps.choose(moment(Why.SLICE, 1, [0, 1], 30)) == 0  # who is meant cannot run
    assert steps.choose(moment(Why.YIELD, 1, [0, 1, 2], 31)) == 2


def test_random_turns_are_fair_and_the_same_by_their_seed() -> None:
    def order(seed: int) -> list[int]:
        policy = Random(seed)
        return [policy.choose(moment(Why.SLICE, 0, [0, 1, 2])) for _ in range(300)]

    assert order(1) == order(1) != order(2)
    assert all(70 < order(1).count(one) < 130 for one in range(3))


def test_pct_finds_bugs_as_often_as_it_says() -> None:
    """A model, two chains of k steps: the bug is one between the fourth and the fifth of the other.

    Depth 2 with the order of the start: a probability of at least 1 / (n · k)."""
    length, runs, found = 8, 4000, 0
    points = [(chain, count) for chain in range(2) for count in range(length)]
    for seed in range(runs):
        policy, counts, order, current, why = (
            Pct(seed, 2, points),
            {0: 0, 1: 0},
            list[int](),
            NOBODY,
            Why.START,
        )
        while ready := [one for one in (0, 1) if counts[one] < length]:
            current = policy.choose(Moment(why, current, ready, counts))
            until = max(policy.until(current, counts[current]), counts[current] + 1)
            steps = min(until, length) - counts[current]
            counts[current] += steps
            order += [current] * steps
            why = Why.SLICE if counts[current] < length else Why.OVER
        at = [i for i, one in enumerate(order) if one == 0]
        found += at[4] - at[3] > 1  # the other one came between the fourth and the fifth step
    assert found / runs >= 1 / (2 * len(points)) * 0.8
