"""Decides which thread has the hart: round robin among the ready threads of all processes.

There is one hart. A waiting thread is in a queue for each of its keys (`waits`), in order of arrival, or has
a deadline. Alarms are deadlines without a waiting thread: `ring` is called. Threads of a stopped process are
held back.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pltvm.engine.hart import Hart
from pltvm.host.linux.clock import TICK_NS, Clock
from pltvm.host.linux.outside import Outside
from pltvm.host.linux.process import Thread, ThreadState
from pltvm.host.linux.waits import Key, Wait
from pltvm.host.plain import copied, restored
from pltvm.host.schedule import Policy, Why
from pltvm.host.turns import UNLIMITED, SavedTurns, Turns

TIME_SLICE: Final = 100_000  # instructions, 1 ms
_QUIET_SLICES: Final = 20  # consecutive slices at whose end no other thread was ready
_BYTES_A_TICK: Final = 128
_STALE_TIMERS: Final = 4096  # outdated timers that are kept before they are removed


@dataclass(slots=True)
class SchedulerState:
    """The running, ready and waiting threads, by tid; `current` is 0 for none."""

    current: int = 0
    ready: deque[int] = field(default_factory=deque)
    held: deque[int] = field(default_factory=deque)  # ready, but their process is stopped
    waiting: dict[Key, deque[int]] = field(default_factory=dict)
    timers: list[tuple[int, int, int]] = field(default_factory=list)  # a heap: deadline, order, thread
    alarms: list[tuple[int, int, int, int]] = field(default_factory=list)  # deadline, order, process, which
    order: int = 0
    since: int = 0  # processor time of the clock when `current` got the hart
    sliced: bool = False  # whether threads run in time slices
    quiet: int = 0  # consecutive slices at whose end no other thread was ready
    yielded: bool = False  # the last thread yielded by itself
    limited: bool = False  # a process has a limit of processor time, which is checked after each slice


@dataclass(slots=True)
class SavedScheduler:
    """The scheduler and its threads."""

    scheduler: SchedulerState
    threads: list[ThreadState]
    turns: SavedTurns | None = None


class Scheduler:
    """Ready and waiting threads on `hart`; `current` has the hart.

    `enter` lets a thread's enclave go on, at the thread's turn; it returns False if there is nothing to run.
    `ring` is called with process and number of an alarm that is due. With `share` a policy decides the turns.
    """

    def __init__(self, hart: Hart, clock: Clock, outside: Outside) -> None:
        self.hart = hart
        self.clock = clock
        self.outside = outside
        self.state = SchedulerState()
        self.threads: dict[int, Thread] = {}
        self.enter: Callable[[Thread], bool] = lambda _thread: False
        self.ring: Callable[[int, int], None] = lambda _process, _which: None
        self.turns: Turns | None = None
        self.on_spent: Callable[[], None] = lambda: None

    @property
    def current(self) -> Thread | None:
        """The thread that has the hart."""
        return self.threads.get(self.state.current)

    def is_current(self, tid: int) -> bool:
        """Whether this thread has the hart."""
        return self.state.current == tid

    def save(self) -> SavedScheduler:
        """Return a copy of the state, and of the threads."""
        self._account()
        turns = self.turns.save() if self.turns is not None else None
        return SavedScheduler(copied(self.state), [thread.save() for thread in self.threads.values()], turns)

    def load(self, saved: SavedScheduler, threads: dict[int, Thread]) -> None:
        """Restore the state; `threads` are all restored threads."""
        for tid, thread in self.threads.items():
            thread.state.alive = tid in threads
        self.threads = threads
        self.state = restored(self.state, saved.scheduler)
        self._slice(self.state.sliced)
        if self.turns is not None and saved.turns is not None:
            self.turns.load(saved.turns)

    # -- threads -----------------------------------------------------------------------------------------

    def add(self, thread: Thread) -> None:
        """Add a new thread, ready to run."""
        self.threads[thread.tid] = thread
        self.state.ready.append(thread.tid)
        self._set_slice()

    def remove(self, thread: Thread) -> None:
        """Remove a thread that has ended."""
        self._account()
        self._forget(thread)
        self._leave(thread.tid)
        thread.state.alive = False
        thread.process.state.used += thread.state.used
        thread.process.threads.pop(thread.tid, None)
        self.threads.pop(thread.tid, None)
        self._set_slice()

    def _leave(self, tid: int) -> None:
        """Take the hart from the thread, if it has it."""
        if self.state.current == tid:
            self._account()
            self.state.current = 0

    def _account(self) -> None:
        """Count the processor time of the thread that has the hart."""
        state, now = self.state, self.clock.used()
        thread = self.threads.get(state.current)
        if thread is not None:
            thread.state.used += now - state.since
        state.since = now

    def used_by(self, thread: Thread) -> int:
        """Return the processor time of a thread in ns."""
        self._account()
        return thread.state.used

    def _set_slice(self) -> None:
        """Switch time slices on if they are needed now."""
        if self._needs_slices():
            self.state.quiet = 0
            if not self.state.sliced:
                self._slice(True)

    def _needs_slices(self) -> bool:
        """Whether another thread waits for the hart, or for an event that may come while a thread runs."""
        state = self.state
        others = len(self.threads) > 1
        return (
            state.limited
            or bool(state.alarms)
            or (others and bool(state.ready or state.timers or self.outside.is_used))
        )

    def limit_time(self) -> None:
        """Run in time slices from now on, as a process has a limit of processor time."""
        self.state.limited = True
        self._set_slice()

    def _slice(self, sliced: bool) -> None:
        self.state.sliced = sliced
        if self.turns is None:
            self.hart.set_time_slice(TIME_SLICE if sliced else 0)

    # -- waiting -----------------------------------------------------------------------------------------

    def block(self, thread: Thread, wait: Wait) -> None:
        """Let the current thread's system call wait; it is made again afterwards."""
        state, thread.state.wait = self.state, wait
        if wait.deadline is not None:
            state.order += 1
            heapq.heappush(state.timers, (wait.deadline, state.order, thread.tid))
            if len(state.timers) > len(self.threads) + _STALE_TIMERS:
                state.timers = [one for one in state.timers if self._is_due(one)]
                heapq.heapify(state.timers)
        waiting, tid = state.waiting, thread.state.tid
        for key in wait.keys:
            if key in waiting:
                waiting[key].append(tid)
            else:
                waiting[key] = deque((tid,))
        self._leave(tid)
        if wait.deadline is not None:
            self._set_slice()

    def park(self, tid: int) -> None:
        """Remove a thread from every queue until `rouse`."""
        self._forget(self.threads[tid])
        self._leave(tid)

    def rouse(self, thread: Thread) -> None:
        """Make a thread ready, whatever it waits for; its system call is made again."""
        self._forget(thread)
        self.state.ready.append(thread.tid)
        self._set_slice()

    def wake(self, key: Key) -> None:
        """Rouse all threads that wait for this key."""
        waiting, ready = self.state.waiting, self.state.ready
        if key not in waiting:
            return
        for tid in waiting.pop(key):  # threads in a queue are neither ready nor held
            wait = self.threads[tid].state.wait
            assert wait is not None
            if len(wait.keys) > 1:
                for other in wait.keys:
                    self._unqueue(other, tid)
            ready.append(tid)
        self._set_slice()

    def release(self, key: Key, most: int, bits: int = 0xFFFF_FFFF, result: int = 0) -> int:
        """End the system calls of up to `most` threads that wait for this key with common `bits`, with
        `result`; return their number."""
        released = 0
        for tid in list(self.state.waiting.get(key, ())):
            if released >= most:
                break
            thread = self.threads[tid]
            if thread.state.wait is not None and thread.state.wait.bits & bits:
                self.rouse(thread)
                thread.answer(result)
                released += 1
        return released

    def requeue(self, source: Key, target: Key, most: int) -> int:
        """Let up to `most` threads that wait for `source` wait for `target` instead; return their number."""
        tids = list(self.state.waiting.get(source, ()))[: max(most, 0)]
        if source == target:
            return len(tids)
        for tid in tids:
            self._unqueue(source, tid)
            wait = self.threads[tid].state.wait
            assert wait is not None
            self.threads[tid].state.wait = wait._replace(keys=(target,), remaining=0)
            self.state.waiting.setdefault(target, deque()).append(tid)
        return len(tids)

    def waiters(self, key: Key) -> list[Thread]:
        """Return the threads that wait for this key, in order of arrival."""
        return [self.threads[tid] for tid in self.state.waiting.get(key, ())]

    def finish_run(self, tid: int, result: int) -> None:
        """Let a thread go on whose run of an enclave is over."""
        thread = self.threads.get(tid)
        if thread is None:  # the thread has ended
            return
        thread.state.enclave = 0
        thread.answer(result)
        if self.is_current(tid):
            self.hart.current = thread.context
        else:
            self.rouse(thread)

    def _forget(self, thread: Thread) -> None:
        wait, tid, state = thread.state.wait, thread.state.tid, self.state
        if wait is not None:
            for key in wait.keys:
                self._unqueue(key, tid)
        for queue in (state.ready, state.held):
            if tid in queue:
                queue.remove(tid)

    def _unqueue(self, key: Key, tid: int) -> None:
        waiting = self.state.waiting
        queue = waiting.get(key)
        if queue is None or tid not in queue:
            return
        if len(queue) > 1:
            queue.remove(tid)
        else:
            del waiting[key]

    def set_alarm(self, deadline: int, process: int, which: int) -> None:
        """Call `ring` at this time; `ring` has to ignore alarms that are no longer valid."""
        self.state.order += 1
        alarms = self.state.alarms
        heapq.heappush(alarms, (deadline, self.state.order, process, which))
        if len(alarms) % _STALE_TIMERS == 0:
            newest = {one[2:]: one for one in sorted(alarms, key=lambda one: one[1])}
            alarms[:] = newest.values()  # setting a timer again leaves its former entry
            heapq.heapify(alarms)
        self._set_slice()

    # -- switching ---------------------------------------------------------------------------------------

    def end_slice(self) -> None:
        """End the current thread's slice.

        With slices code runs several times slower, and when they begin or end the JIT discards all translated
        code. So slices are switched off, but only after they were not needed for a while.
        """
        state = self.state
        if self.turns is not None:
            self.turns.account()
            self.hart.clock += self.turns.in_one_go
            self.rotate()
            return
        state.quiet = 0 if self._needs_slices() else state.quiet + 1
        if state.quiet >= _QUIET_SLICES and state.sliced:
            self._slice(False)
        self.rotate()

    def rotate(self) -> None:
        """Move the current thread to the end of the queue."""
        if self.state.current:
            self._account()
            self.state.ready.append(self.state.current)
            self.state.current, self.state.yielded = 0, self.turns is not None

    def copied(self, size: int) -> None:
        """Account for bytes copied by the current thread's call: that takes time, perhaps its whole slice."""
        ticks = size // _BYTES_A_TICK
        if ticks:
            self.hart.clock += ticks
            if self.clock.used() - self.state.since > TIME_SLICE * TICK_NS:
                self.rotate()

    def hold(self, process: int) -> None:
        """Hold back the threads of a stopped process."""
        if self.current is not None and self.current.process.pid == process:
            self.rotate()

    def let_go(self) -> None:
        """Make held threads ready, whose process goes on."""
        held, self.state.held = self.state.held, deque()
        self.state.ready.extend(held)
        self._set_slice()

    def switch(self) -> bool:
        """Give the hart to the next thread. False if none will ever be ready, or if the run should end.

        Raises Interrupted if it is asked to end while it waits.
        """
        state, hart, threads, outside = self.state, self.hart, self.threads, self.outside
        all_rung = 0  # when each alarm that is set now will have rung
        while not hart.halt.asked:
            if self.is_spent:
                self.on_spent()
                return False
            if state.timers or state.alarms:
                self.look_at_time()
            if outside.is_used:
                outside.look()
            if state.ready:
                tid = state.ready.popleft() if self.turns is None else self._next_by_turns(self.turns)
                thread = threads[tid]
                if thread.process.state.stopped:
                    state.held.append(tid)
                    continue
                self._account()
                state.current = tid
                hart.current = thread.context
                if not thread.state.enclave or thread.is_killed or self.enter(thread):
                    return True
            else:
                all_rung = all_rung or max((alarm[0] for alarm in state.alarms), default=0)
                if not self._pass_time(all_rung):
                    return False
        return False

    def share(self, policy: Policy, most: int = UNLIMITED) -> Turns:
        """Let a policy decide the turns from now on; time advances by the instructions in its slices.

        After `most` instructions in total no thread runs any more; 0: no limit.
        """
        self.turns = Turns(self.hart, policy, self._can_run, most, always=True)
        self.turns.begin()
        return self.turns

    @property
    def is_spent(self) -> bool:
        """Whether the limit of instructions is reached; calls `on_spent`, before anything changes."""
        return self.turns is not None and self.turns.spent

    def _can_run(self) -> list[int]:
        """Return the threads that can have the hart, by number."""
        found = {self.state.current, *self.state.ready} - {0}
        return sorted(tid for tid in found if not self.threads[tid].process.state.stopped)

    def _next_by_turns(self, turns: Turns) -> int:
        """Take the next thread from the queue."""
        state = self.state
        why = Why.SLICE if turns.due else Why.YIELD if state.yielded else Why.OVER
        state.yielded = False
        tid = turns.choose(why)
        if tid not in state.ready:  # all threads are stopped, or the chosen one is
            return state.ready.popleft()
        state.ready.remove(tid)
        turns.run(tid)
        return tid

    def look_at_time(self) -> None:
        """Rouse threads whose deadline has passed, and ring alarms."""
        state = self.state
        now = self.clock.monotonic()
        while state.timers and state.timers[0][0] <= now:
            timer = heapq.heappop(state.timers)
            if self._is_due(timer):
                self.rouse(self.threads[timer[2]])
        while state.alarms and state.alarms[0][0] <= now:
            _, _, process, which = heapq.heappop(state.alarms)
            self.ring(process, which)
            if not state.alarms:
                self._set_slice()

    def _pass_time(self, all_rung: int) -> bool:
        """Pass the time to the next deadline, or event from outside, as no thread can run. False if none will
        come: also after `all_rung`, if only alarms go on, as they have rung and roused nobody."""
        timers, alarms = self.state.timers, self.state.alarms
        while timers and not self._is_due(timers[0]):
            heapq.heappop(timers)
        deadlines = [queue[0][0] for queue in (timers, alarms) if queue]
        if self.outside.concerns():
            left = (min(deadlines) - self.clock.monotonic()) / 1e9 if deadlines else None
            self.outside.wait(self.hart.halt, left)
        elif not deadlines or (not timers and self.clock.monotonic() >= all_rung):
            return False
        else:
            self.clock.pass_until(min(deadlines))
        return True

    def _is_due(self, timer: tuple[int, int, int]) -> bool:
        """Whether a timer still belongs to its thread's present wait."""
        thread = self.threads.get(timer[2])
        return (
            thread is not None
            and thread.state.wait is not None
            and thread.state.wait.deadline == timer[0]
            and timer[2] not in self.state.ready
        )
