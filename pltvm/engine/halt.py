"""A request that the run in progress ends: a state that all that runs, waits or computes for long looks at.

Asked for once, from any thread, it holds for the rest of the run. So nobody needs to be interrupted at the
right moment: the hart looks before it enters guest code, what waits for the world outside waits here, and
long work in Python looks every so often.

A debugger that has stopped the run says so (`standing`): time that passes then does not count for limits.

    who                                            looks by
    the hart, and who chooses what runs next       asked
    what waits for a time or a file                wait, which raises Interrupted
    a digest over much memory                      check, likewise
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
    """Whether one run is to end, and why: `reason` is what `ask` said first."""

    def __init__(self) -> None:
        self.asked = False
        self.reason = ""
        self._stood = 0.0  # seconds, in all
        self._since: float | None = None  # when it stood still, if it does
        self._ends: tuple[int, int] | None = None  # a pipe with a byte in it once `asked`, if anybody waits

    def __del__(self) -> None:
        for end in self._ends or ():
            os.close(end)

    def ask(self, reason: str) -> None:
        """From any thread: the run is to end."""
        if not self.asked:
            self.reason, self.asked = reason, True
            if self._ends is not None:
                os.write(self._ends[1], b"!")

    @contextmanager
    def standing(self) -> Iterator[None]:
        """While the block runs nobody's time passes."""
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
        """Seconds so far for which the run was held up by a debugger."""
        since = self._since
        return self._stood + (0.0 if since is None else time.monotonic() - since)

    def check(self) -> None:
        """Raise Interrupted if the run is to end."""
        if self.asked:
            raise Interrupted(self.reason)

    def wait(self, seconds: float | None = None, descriptor: int | None = None) -> None:
        """Wait until so much time has passed, or until there is something to read, its end included.

        Raises Interrupted as soon as the run is to end.
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
