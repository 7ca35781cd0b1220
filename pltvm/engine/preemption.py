"""That guest code is left though it does not trap: at an interrupt, for another time slice, or to flush.

Whoever wants it sets a flag and has Unicorn stop, which is at the next block boundary (`leaving`). Then
`Hart.run` looks at the flags, and goes on or hands over a trap.
"""

import ctypes
import threading
from collections.abc import Callable

from pltvm.engine.context import Context
from pltvm.engine.hooks import Hooks
from pltvm.engine.unicorn_library import quick


class TimeSlice:
    """The instructions until Cause.TIMER, and how many of them are used up.

    Its length may be set at any time, by any thread: then another slice begins where guest code is left next.
    """

    def __init__(self) -> None:
        self.length = 0  # 0: there are no slices
        self._used = 0
        self._set = self._began = 0  # how often the length was set: now, and when this slice began

    def set(self, length: int) -> None:
        """Have slices of this length."""
        self.length = length
        self._set += 1

    @property
    def used(self) -> int:
        """Instructions of it that have run, as of when guest code was left."""
        return self._used if self._began == self._set else 0

    def use(self, instructions: int) -> None:
        """Guest code was left after so many; they were of another slice if its length was set meanwhile."""
        if self._began == self._set:
            self._used += instructions
        else:
            self.begin()

    def begin(self, used: int = 0) -> None:
        """Begin a slice, of which so much is used already."""
        self._used, self._began = used, self._set

    def left(self) -> int:
        """What may still run of it; 0: there are no slices, −1: it is over, and the next one begins."""
        left = self.length - self.used
        if self._began != self._set or left <= 0:
            self.begin()
        return left if left > 0 else -1 if self.length else 0


class Preemptible:
    """What may be asked of a hart while it runs, also by other threads.

    A base class of `Hart` and no part of it: `run`, and each entry of an enclave, find all in one step.
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
        # Who watches blocks, and flushes in one of them: its way to be told that it should, from any thread.
        self.refresher: Callable[[], None] | None = None
        self._slicing = threading.Lock()  # so that no refresh is asked for once slices begin

    def set_time_slice(self, instructions: int) -> None:
        """Trap with Cause.TIMER after every so many instructions; 0 for never, which runs 40 % faster.

        The clock advances by one an instruction in the slices.
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
        """Instructions in a slice; 0: there are none."""
        return self.slice.length

    def interrupt(self) -> None:
        """From any thread: trap with Cause.INTERRUPT at the next block boundary. Lost while nothing runs.

        In time slices it may come inside an atomic instruction: who interrupts there does not go on.

        To end a run, set `halt`, which is not lost, and repeat this until the run is left.
        """
        if self._running:
            self._interrupted = True
            quick.uc_emu_stop(self._handle)

    def refresh_tlb(self) -> None:
        """From any thread: flush at the next block boundary, if user code runs, neither counted nor watched.

        No guest can tell: it goes on with all that it had, the reservation of an `lr` included. (Time slices
        count instructions, a block that is left and entered again is seen twice, and where there is a guest
        kernel, which flushes all the time anyway, a `wfi` could be lost.)
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
        """Whether `refresh_tlb` does anything, where there is no guest kernel."""
        return not (self.slice.length or self._hooks.in_use)
