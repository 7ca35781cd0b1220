"""The time that programs see: it passes by instructions, so that a run repeats exactly.

It is the hart's clock (10 ns per tick), and jumps to the next deadline when no thread can run. With
`real_time` it is the clock of the machine outside, and waiting takes real time.
"""

import time
from dataclasses import dataclass
from typing import Final

from pltvm.engine.hart import Hart
from pltvm.host.plain import Part

TICK_NS: Final = 10
START_NS: Final = 1_700_000_000_000_000_000  # the time of day at which every run starts
UPTIME_NS: Final = 3600 * 10**9  # since boot, at the start of a run: programs take a time of 0 for "never"
SYSCALL_TICKS: Final = 100


@dataclass(slots=True)
class ClockState:
    """`skipped_ns` is the time that passed while no thread could run."""

    skipped_ns: int = 0


class Clock(Part[ClockState]):
    """Times in nanoseconds."""

    def __init__(self, hart: Hart, real_time: bool) -> None:
        self._hart = hart
        self.real_time = real_time
        self.state = ClockState()

    def monotonic(self) -> int:
        """Return the time since the machine started."""
        if self.real_time:
            return time.monotonic_ns()
        return UPTIME_NS + self._hart.clock * TICK_NS + self.state.skipped_ns

    def offset(self) -> int:
        """Return the difference between the time since 1970 and monotonic time."""
        return time.time_ns() - time.monotonic_ns() if self.real_time else START_NS - UPTIME_NS

    def time_of_day(self) -> int:
        """Return the time since 1970."""
        return self.monotonic() + self.offset()

    def used(self) -> int:
        """Return the time that passed while threads ran, for their processor time."""
        return self._hart.clock * TICK_NS

    def pass_until(self, deadline: int) -> None:
        """Pass the time until `deadline`, as no thread can run before. Raises Interrupted if the run should
        end."""
        wait = deadline - self.monotonic()
        if wait <= 0:
            return
        if self.real_time:
            self._hart.halt.wait(wait / 1e9)
        else:
            self.state.skipped_ns += wait
