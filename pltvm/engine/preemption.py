"""Leaves guest code without a trap: at an interrupt, for another time slice, or to flush.

A method here sets a flag and asks Unicorn to stop, which it does at the next block boundary (`leaving`). Then
`Hart.run` checks the flags, and goes on or handles a trap.
"""

import ctypes
import threading
from collections.abc import Callable

from pltvm.engine.context import Context
from pltvm.engine.hooks import Hooks
from pltvm.engine.unicorn_library import quick


class TimeSlice:
    """The number of instructions until Cause.TIMER, and how many of them have run.

    Any thread may set the length at any time: a new slice then begins where guest code is left next.
    """

    def __init__(self) -> None:
        self.length = 0  # 0: there are no slices
        self._used = 0
        self._set = self._began = 0  # how often the length was set: until now, until this slice began

    def set(self, length: int) -> None:
        """Set the length of slices; 0 for none."""
        self.length = length
        self._set += 1

    @property
    def used(self) -> int:
        """Instructions of it that have run, as of when guest code was left."""
        return self._used if self._began == self._set else 0

    def use(self, instructions: int) -> None:
        """Count instructions that ran before guest code was left, unless the length was set meanwhile."""
        if self._began == self._set:
            self._used += instructions
        else:
            self.begin()

    def begin(self, used: int = 0) -> None:
        """Begin a slice of which `used` instructions have run already."""
        self._used, self._began = used, self._set

    def left(self) -> int:
        """Return how many instructions are left; 0 without slices, −1 if it is over and the next begins."""
        # In this order: if another thread sets the length now, the next call finds that and begins anew.
        number, length = self._set, self.length
        left = length - (self._used if self._began == number else 0)
        if self._began != number or left <= 0:
            self._used, self._began = 0, number
        return left if left > 0 else -1 if length else 0


class Preemptible:
    """The requests to a running hart, also from other threads.

    It is a base class of `Hart`, not a member, so that `run` and each entry of an enclave need no second
    lookup.
    """

    current: Context

    def __init__(self, handle: ctypes.c_void_p, hooks: Hooks) -> None:
        self._handle = handle
        self._hooks = hooks
        self._running = False
        self._interrupted = False
        self.slice = TimeSlice()
        self._restart = False  # leave the JIT to start it with another slice
        self._refresh = False  # leave it to flush
        # Set by code that watches blocks and flushes in one of them: asks it to do so, from any thread.
        self.refresher: Callable[[], None] | None = None
        self._slicing = threading.Lock()  # so that no refresh is requested after slices have begun

    def set_time_slice(self, instructions: int) -> None:
        """Trap with Cause.TIMER after so many instructions each time; 0 for never, which runs 40 % faster.

        With slices the clock advances by one per instruction.
        """
        if instructions != self.slice.length:
            with self._slicing:
                self.slice.set(instructions)
                if self._running:
                    self._restart = True
                    quick.uc_emu_stop(self._handle)

    @property
    def running(self) -> bool:
        """Whether a run is in progress."""
        return self._running

    @property
    def time_slice(self) -> int:
        """The instructions in a slice; 0 if there are no slices."""
        return self.slice.length

    def interrupt(self) -> None:
        """Trap with Cause.INTERRUPT at the next block boundary; from any thread. It is lost if nothing runs.

        With time slices it may come inside an atomic instruction: then the context must not go on.

        To end a run, set `halt`, which is not lost, and repeat this until the run has ended.
        """
        if self._running:
            self._interrupted = True
            quick.uc_emu_stop(self._handle)

    def refresh_tlb(self) -> None:
        """Flush at the next block boundary, if user code runs and is neither counted nor watched; from any
        thread.

        No guest can notice: it goes on with its complete state, including the reservation of an `lr`. (The
        exceptions: time slices count instructions; a watcher would see a block twice that is left and entered
        again; and a guest kernel, which flushes often anyway, could lose a `wfi`.)
        """
        if self.refresher is not None:
            self.refresher()
            return
        with self._slicing:
            if self._running and self.can_refresh and not self.current.privileged:
                self._refresh = True
                quick.uc_emu_stop(self._handle)

    @property
    def can_refresh(self) -> bool:
        """Whether `refresh_tlb` has any effect, if there is no guest kernel."""
        return not (self.slice.length or self._hooks.in_use)
