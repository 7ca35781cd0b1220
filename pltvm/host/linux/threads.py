"""Threads of a Linux process, and who runs next: round robin, with time that passes by instructions.

There is one hart. A thread waits for a futex, a time, or the enclave that it runs. Time is the hart's clock
(10 ns a tick), so that a run repeats exactly; when nobody can run, it jumps to the next deadline. With
`real_time` it is the clock of the machine outside, and waiting really waits.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from pltvm.engine.context import A0, Context
from pltvm.engine.hart import Hart
from pltvm.host.linux.errno import EINTR, ETIMEDOUT

TICK_NS: Final = 10
BOOT_NS: Final = 1_700_000_000_000_000_000  # the time of day at which every run starts
TIME_SLICE: Final = 100_000  # instructions, 1 ms
SS_DISABLE: Final = 2  # a flag of stack_t: there is no alternate stack
_SYSCALL_TICKS: Final = 100
_STALE_TIMERS: Final = 4096  # that are kept before they are thrown out


class Thread:
    """One thread. `enter` gives it the hart once it is its turn; False if it has nothing to run after all."""

    def __init__(self, tid: int, context: Context) -> None:
        self.tid = tid
        self.context = context
        self.clear_tid = 0  # user address to clear and wake at the end
        self.robust_list = 0
        self.signal_mask = 0  # bit n − 1 for signal n
        self.pending = 0  # signals sent and not delivered yet, likewise
        self.alternate_stack = (0, SS_DISABLE, 0)  # as stack_t: address, flags, size
        self.enter: Callable[[], bool] | None = None  # instead of running user code
        self.futex = 0  # user address it waits for
        self.deadline: int | None = None
        self.alive = True

    def answer(self, value: int) -> None:
        """Set the result of the system call it is in."""
        self.context.regs[A0] = value & 0xFFFF_FFFF_FFFF_FFFF


class Scheduler:
    """Ready and waiting threads on `hart`; `current` is the one that has it."""

    def __init__(self, hart: Hart, real_time: bool) -> None:
        self.hart = hart
        self.real_time = real_time
        self.current: Thread | None = None
        self.threads: dict[int, Thread] = {}
        self._ready: deque[Thread] = deque()
        self._timers: list[tuple[int, int, Thread]] = []  # deadline, order, thread
        self._futexes: dict[int, deque[Thread]] = {}
        self._order = 0
        self._skipped_ns = 0  # time that passed while nobody could run

    # -- time --------------------------------------------------------------------------------------------

    def monotonic(self) -> int:
        """Nanoseconds since the machine started."""
        if self.real_time:
            return time.monotonic_ns()
        return self.hart.clock * TICK_NS + self._skipped_ns

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
        self._ready.append(thread)
        self._set_slice()

    def remove(self, thread: Thread) -> None:
        """A thread that has ended."""
        thread.alive = False
        self.threads.pop(thread.tid, None)
        self._forget(thread)
        if self.current is thread:
            self.current = None
        self._set_slice()

    def _set_slice(self) -> None:
        self.hart.set_time_slice(TIME_SLICE if len(self.threads) > 1 else 0)

    def block(self, thread: Thread, deadline: int | None = None, futex: int = 0) -> None:
        """Take the current thread off the hart until `wake`, the `deadline` (monotonic ns) or its futex."""
        thread.deadline, thread.futex = deadline, futex
        if deadline is not None:
            self._order += 1
            heapq.heappush(self._timers, (deadline, self._order, thread))
            if len(self._timers) > len(self.threads) + _STALE_TIMERS:
                self._timers = [one for one in self._timers if _is_due(*one)]
                heapq.heapify(self._timers)
        if futex:
            self._futexes.setdefault(futex, deque()).append(thread)
        if self.current is thread:
            self.current = None

    def park(self, thread: Thread) -> None:
        """Take a thread off every queue until `wake`."""
        self._forget(thread)
        if self.current is thread:
            self.current = None

    def wake(self, thread: Thread, result: int | None = None) -> None:
        """Make a waiting thread ready; `result` is that of its system call."""
        self._forget(thread)
        if result is not None:
            thread.answer(result)
        self._ready.append(thread)

    def disturb(self, thread: Thread) -> None:
        """A signal has come: a wait for a time or a futex ends with EINTR."""
        if thread.futex or thread.deadline is not None:
            self.wake(thread, -EINTR)

    def _forget(self, thread: Thread) -> None:
        if thread.futex:
            waiters = self._futexes.get(thread.futex, deque())
            if thread in waiters:
                waiters.remove(thread)
            if not waiters:
                self._futexes.pop(thread.futex, None)
        thread.futex, thread.deadline = 0, None
        if thread in self._ready:
            self._ready.remove(thread)

    def wake_futex(self, address: int, most: int) -> int:
        """Wake up to `most` threads that wait for the futex; how many that were."""
        woken = 0
        while woken < most and address in self._futexes:
            self.wake(self._futexes[address][0], 0)
            woken += 1
        return woken

    def requeue_futex(self, source: int, target: int, most: int) -> int:
        """Let up to `most` threads that wait for `source` wait for `target` instead; how many that were."""
        waiters = self._futexes.get(source, deque())
        count = max(min(most, len(waiters)), 0)
        if source == target:
            return count
        for _ in range(count):
            thread = waiters.popleft()
            thread.futex = target
            self._futexes.setdefault(target, deque()).append(thread)
        if not waiters:
            self._futexes.pop(source, None)
        return count

    # -- switching ---------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """The current thread's slice is over: it goes to the end of the queue."""
        if self.current is not None:
            self._ready.append(self.current)
            self.current = None

    def switch(self) -> bool:
        """Give the hart to the next thread. False when none will ever be ready, or the run is to end.

        Raises Interrupted when it is asked to end while it waits.
        """
        while not self.hart.halt.asked:
            self._wake_sleepers()
            if self._ready:
                thread = self._ready.popleft()
                self.current = thread
                self.hart.current = thread.context
                if thread.enter is None or thread.enter():
                    return True
            elif not self._pass_time():
                return False
        return False

    def _wake_sleepers(self) -> None:
        now = self.monotonic()
        while self._timers and self._timers[0][0] <= now:
            deadline, _, thread = heapq.heappop(self._timers)
            if _is_due(deadline, 0, thread):
                self.wake(thread, -ETIMEDOUT if thread.futex else 0)

    def _pass_time(self) -> bool:
        """Nobody can run: go on to the next deadline. False when there is none."""
        while self._timers:
            deadline, _, thread = self._timers[0]
            if not _is_due(deadline, 0, thread):
                heapq.heappop(self._timers)
                continue
            wait = deadline - self.monotonic()
            if self.real_time:
                self.hart.halt.wait(max(wait, 0) / 1e9)
            else:
                self._skipped_ns += max(wait, 0)
            return True
        return False


def _is_due(deadline: int, _order: int, thread: Thread) -> bool:
    """Whether a timer is still that of its thread's wait."""
    return thread.alive and thread.deadline == deadline
