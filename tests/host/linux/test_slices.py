"""Time slices: while somebody else wants the hart, and for a while after that."""

from types import SimpleNamespace
from typing import cast

from pltvm import Machine
from pltvm.host.linux.clock import Clock
from pltvm.host.linux.outside import Outside
from pltvm.host.linux.process import Thread
from pltvm.host.linux.scheduler import TIME_SLICE, SavedScheduler, Scheduler, SchedulerState
from pltvm.host.plain import copied


def scheduler_of_two() -> Scheduler:
    hart = Machine(16 << 20).kernel.hart
    scheduler = Scheduler(hart, Clock(hart, False), Outside(SimpleNamespace(), lambda _key: False))
    thread = SimpleNamespace(state=SimpleNamespace(alive=True))
    scheduler.threads = {one: cast(Thread, thread) for one in (1, 2)}
    return scheduler


def make_ready(scheduler: Scheduler) -> None:
    scheduler.state.ready.append(2)
    scheduler._set_slice()


def test_slices_end_when_they_were_in_vain_for_a_while() -> None:
    scheduler = scheduler_of_two()
    hart = scheduler.hart
    scheduler._set_slice()
    assert hart.time_slice == 0, "nobody is ready"
    make_ready(scheduler)
    for _ in range(50):
        scheduler.end_slice()
        assert hart.time_slice == TIME_SLICE
    scheduler.state.ready.clear()
    slices = 0
    while hart.time_slice:
        scheduler.end_slice()
        slices += 1
    assert 10 < slices < 30
    make_ready(scheduler)
    assert hart.time_slice == TIME_SLICE


def test_a_deadline_of_another_thread_needs_slices() -> None:
    scheduler = scheduler_of_two()
    scheduler.state.timers.append((10**18, 1, 2))
    scheduler._set_slice()
    for _ in range(50):
        scheduler.end_slice()
    assert scheduler.hart.time_slice == TIME_SLICE


def test_slices_are_state() -> None:
    scheduler = scheduler_of_two()
    make_ready(scheduler)
    scheduler.state.quiet = 7
    saved = SavedScheduler(copied(scheduler.state), [])
    scheduler.load(SavedScheduler(SchedulerState(), []), {})
    assert scheduler.hart.time_slice == 0
    scheduler.load(saved, {})
    assert (scheduler.hart.time_slice, scheduler.state.quiet) == (TIME_SLICE, 7)
