"""The request to end the run in progress; all code that runs, waits or computes for long checks it.

A request, from any thread, holds for the rest of the run. So no interruption has to come at the right moment:
the hart checks before it enters guest code, code that waits for the outside world waits here, and long
computations in Python check regularly.

While a debugger has stopped the run (`standing`), time does not count for limits.

    user                                           checks by
    the hart, and schedulers                       asked
    code that waits for a time or a file           wait, which raises Interrupted
    a digest over much memory                      check, which raises it too
"""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pltvm.errors import Interrupted

_LONGEST: Final = 3600  # seconds that the operating system is asked to wait at once


class Halt:
    """Whether one run should end, and why: `reason` is that of the first `ask`."""

    def __init__(self) -> None:
        self.asked = False
        self.reason = ""
        self._stood = 0.0  # total seconds
        self._since: float | None = None  # when it was stopped, if it is
        self._ends: tuple[int, int] | None = None  # a pipe, which has a byte after `ask`, if a thread waits

    def __del__(self) -> None:
        for end in self._ends or ():
            os.close(end)

    def ask(self, reason: str) -> None:
        """Ask the run to end; from any thread."""
        if not self.asked:
            self.reason, self.asked = reason, True
            if self._ends is not None:
                os.write(self._ends[1], b"!")

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Stop the clock of time limits in this context."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._stood += time.monotonic() - self._since
            self._since = None

    @property
    def stood(self) -> float:
        """Return the seconds for which a debugger has stopped the run so far."""
        since = self._since
        return self._stood + (0.0 if since is None else time.monotonic() - since)

    def check(self) -> None:
        """Raise Interrupted if the run should end."""
        if self.asked:
            raise Interrupted(self.reason)

    def wait(self, seconds: float | None = None, descriptor: int | None = None) -> None:
        """Wait until so much time has passed, or until the descriptor has data or is at its end.

        Raises Interrupted as soon as the run should end.
        """
        ends = self._ends = self._ends or os.pipe()
        waiter = select.poll()
        waiter.register(ends[0], select.POLLIN)
        if descriptor is not None:
            waiter.register(descriptor, select.POLLIN)
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            self.check()
            left = _LONGEST if end is None else end - time.monotonic()
            if left <= 0:
                return
            ready = waiter.poll(1000 * min(left, _LONGEST))
            if any(one == descriptor for one, _ in ready):
                return
