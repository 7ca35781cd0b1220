"""Threads of a Linux process, and who runs next: round robin, with time that passes by instructions.

There is one hart. A thread waits for a futex, a time, or the enclave that it runs. Time is the hart's clock
(10 ns a tick), so that a run repeats exactly; when nobody can run, it jumps to the next deadline. With
`real_time` it is the clock of the machine outside, and waiting really waits.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from pltvm.engine.context import A0, Context
from pltvm.engine.hart import Hart
from pltvm.engine.page_table import PageTable
from pltvm.host.linux.errno import EINTR, ETIMEDOUT
from pltvm.host.plain import copied, restored

TICK_NS: Final = 10
BOOT_NS: Final = 1_700_000_000_000_000_000  # the time of day at which every run starts
TIME_SLICE: Final = 100_000  # instructions, 1 ms
SS_DISABLE: Final = 2  # a flag of stack_t: there is no alternate stack
_SYSCALL_TICKS: Final = 100
_STALE_TIMERS: Final = 4096  # that are kept before they are thrown out


@dataclass(slots=True)
class ThreadState:
    """What is known of a thread besides its registers, which are in its context; `registers` when saved."""

    tid: int
    clear_tid: int = 0  # user address to clear and wake at the end
    robust_list: int = 0
    signal_mask: int = 0  # bit n − 1 for signal n
    pending: int = 0  # signals sent and not delivered yet, likewise
    alternate_stack: tuple[int, int, int] = (0, SS_DISABLE, 0)  # as stack_t: address, flags, size
    enclave: int = 0  # the driver's id of the one that it runs, and waits for in a system call
    futex: int = 0  # user address it waits for
    deadline: int | None = None
    alive: bool = True
    registers: bytes = b""


class Thread:
    """One thread of user code."""

    def __init__(self, tid: int, context: Context) -> None:
        self.context = context
        self.state = ThreadState(tid)

    @property
    def tid(self) -> int:
        """Its number, which no other thread of the process ever has."""
        return self.state.tid

    def answer(self, value: int) -> None:
        """Set the result of the system call it is in."""
        self.context.regs[A0] = value & 0xFFFF_FFFF_FFFF_FFFF

    def save(self) -> ThreadState:
        """A copy of the state."""
        return replace(self.state, registers=bytes(self.context.regs))

    def load(self, saved: ThreadState) -> None:
        """Put the state back."""
        self.context.regs[:] = memoryview(saved.registers).cast("Q")
        self.state = replace(saved, registers=b"")


@dataclass(slots=True)
class SchedulerState:
    """Who runs and who waits for what. Threads are named by their tid; `current` is 0 for none."""

    current: int = 0
    ready: deque[int] = field(default_factory=deque)
    timers: list[tuple[int, int, int]] = field(default_factory=list)  # a heap: deadline, order, thread
    futexes: dict[int, deque[int]] = field(default_factory=dict)  # by user address
    order: int = 0
    skipped_ns: int = 0  # time that passed while nobody could run


@dataclass(slots=True)
class SavedScheduler:
    """The scheduler and its threads."""

    scheduler: SchedulerState
    threads: list[ThreadState]


class Scheduler:
    """Ready and waiting threads on `hart`; `current` is the one that has it.

    `enter` lets the enclave go on that a thread runs, once it is the thread's turn; False if there is nothing
    to run after all.
    """

    def __init__(self, hart: Hart, real_time: bool) -> None:
        self.hart = hart
        self.real_time = real_time
        self.state = SchedulerState()
        self.threads: dict[int, Thread] = {}
        self.enter: Callable[[Thread], bool] = lambda _thread: False

    @property
    def current(self) -> Thread | None:
        """The thread that has the hart."""
        return self.threads.get(self.state.current)

    def is_current(self, tid: int) -> bool:
        """Whether this thread has the hart."""
        return self.state.current == tid

    def save(self) -> SavedScheduler:
        """A copy of the state."""
        return SavedScheduler(copied(self.state), [one.save() for one in self.threads.values()])

    def load(self, saved: SavedScheduler, table: PageTable) -> None:
        """Put the state back; new threads get `table` as theirs."""
        old, self.threads = self.threads, {}
        for one in saved.threads:
            thread = old.get(one.tid) or Thread(one.tid, Context(table=table))
            thread.load(one)
            self.threads[one.tid] = thread
        for tid, thread in old.items():
            thread.state.alive = tid in self.threads
        self.state = restored(self.state, saved.scheduler)
        self._set_slice()

    # -- time --------------------------------------------------------------------------------------------

    def monotonic(self) -> int:
        """Nanoseconds since the machine started."""
        if self.real_time:
            return time.monotonic_ns()
        return self.hart.clock * TICK_NS + self.state.skipped_ns

    def time_of_day(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() if self.real_time else BOOT_NS + self.monotonic()

    def count_system_call(self) -> None:
        """Let a little time pass, so that a program that polls the clock gets somewhere."""
        self.hart.clock += _SYSCALL_TICKS

    # -- threads -----------------------------------------------------------------------------------------

    def add(self, thread: Thread) -> None:
        """A new thread, ready to run."""
        self.threads[thread.tid] = thread
        self.state.ready.append(thread.tid)
        self._set_slice()

    def remove(self, thread: Thread) -> None:
        """A thread that has ended."""
        thread.state.alive = False
        self.threads.pop(thread.tid, None)
        self._forget(thread)
        self._leave(thread.tid)
        self._set_slice()

    def _leave(self, tid: int) -> None:
        """The thread does not have the hart, if it did."""
        if self.state.current == tid:
            self.state.current = 0

    def _set_slice(self) -> None:
        self.hart.set_time_slice(TIME_SLICE if len(self.threads) > 1 else 0)

    def block(self, thread: Thread, deadline: int | None = None, futex: int = 0) -> None:
        """Take the current thread off the hart until `wake`, the `deadline` (monotonic ns) or its futex."""
        state, thread.state.deadline, thread.state.futex = self.state, deadline, futex
        if deadline is not None:
            state.order += 1
            heapq.heappush(state.timers, (deadline, state.order, thread.tid))
            if len(state.timers) > len(self.threads) + _STALE_TIMERS:
                state.timers = [one for one in state.timers if self._is_due(one)]
                heapq.heapify(state.timers)
        if futex:
            state.futexes.setdefault(futex, deque()).append(thread.tid)
        self._leave(thread.tid)

    def park(self, tid: int) -> None:
        """Take a thread off every queue until `wake`."""
        self._forget(self.threads[tid])
        self._leave(tid)

    def wake(self, thread: Thread, result: int | None = None) -> None:
        """Make a waiting thread ready; `result` is that of its system call."""
        self._forget(thread)
        if result is not None:
            thread.answer(result)
        self.state.ready.append(thread.tid)

    def wake_up(self, tid: int) -> None:
        """As `wake`, by number."""
        self.wake(self.threads[tid])

    def finish_run(self, tid: int, result: int) -> None:
        """The enclave that a thread ran is done with, and it goes on."""
        thread = self.threads.get(tid)
        if thread is None:  # the process is over
            return
        thread.state.enclave = 0
        if self.is_current(tid):
            thread.answer(result)
            self.hart.current = thread.context
        else:
            self.wake(thread, result)

    def disturb(self, thread: Thread) -> None:
        """A signal has come: a wait for a time or a futex ends with EINTR."""
        if thread.state.futex or thread.state.deadline is not None:
            self.wake(thread, -EINTR)

    def _forget(self, thread: Thread) -> None:
        state, own = self.state, thread.state
        if own.futex:
            waiters = state.futexes.get(own.futex, deque())
            if own.tid in waiters:
                waiters.remove(own.tid)
            if not waiters:
                state.futexes.pop(own.futex, None)
        own.futex, own.deadline = 0, None
        if own.tid in state.ready:
            state.ready.remove(own.tid)

    def wake_futex(self, address: int, most: int) -> int:
        """Wake up to `most` threads that wait for the futex; how many that were."""
        woken, futexes = 0, self.state.futexes
        while woken < most and address in futexes:
            self.wake(self.threads[futexes[address][0]], 0)
            woken += 1
        return woken

    def requeue_futex(self, source: int, target: int, most: int) -> int:
        """Let up to `most` threads that wait for `source` wait for `target` instead; how many that were."""
        futexes = self.state.futexes
        waiters = futexes.get(source, deque())
        count = max(min(most, len(waiters)), 0)
        if source == target:
            return count
        for _ in range(count):
            tid = waiters.popleft()
            self.threads[tid].state.futex = target
            futexes.setdefault(target, deque()).append(tid)
        if not waiters:
            futexes.pop(source, None)
        return count

    # -- switching ---------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """The current thread's slice is over: it goes to the end of the queue."""
        if self.state.current:
            self.state.ready.append(self.state.current)
            self.state.current = 0

    def switch(self) -> bool:
        """Give the hart to the next thread. False when none will ever be ready, or the run is to end.

        Raises Interrupted when it is asked to end while it waits.
        """
        while not self.hart.halt.asked:
            self._wake_sleepers()
            if self.state.ready:
                thread = self.threads[self.state.ready.popleft()]
                self.state.current = thread.tid
                self.hart.current = thread.context
                if not thread.state.enclave or self.enter(thread):
                    return True
            elif not self._pass_time():
                return False
        return False

    def _wake_sleepers(self) -> None:
        now, state = self.monotonic(), self.state
        while state.timers and state.timers[0][0] <= now:
            timer = heapq.heappop(state.timers)
            if self._is_due(timer):
                thread = self.threads[timer[2]]
                self.wake(thread, -ETIMEDOUT if thread.state.futex else 0)

    def _pass_time(self) -> bool:
        """Nobody can run: go on to the next deadline. False when there is none."""
        timers = self.state.timers
        while timers:
            if not self._is_due(timers[0]):
                heapq.heappop(timers)
                continue
            wait = timers[0][0] - self.monotonic()
            if self.real_time:
                self.hart.halt.wait(max(wait, 0) / 1e9)
            else:
                self.state.skipped_ns += max(wait, 0)
            return True
        return False

    def _is_due(self, timer: tuple[int, int, int]) -> bool:
        """Whether a timer is still that of its thread's wait."""
        deadline, _, tid = timer
        thread = self.threads.get(tid)
        return thread is not None and thread.state.deadline == deadline
