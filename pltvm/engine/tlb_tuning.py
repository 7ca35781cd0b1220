"""Let the JIT's TLB grow for programs that compute for long.

Unicorn's software TLB starts with 256 entries and changes its size only when it is flushed: it doubles if
most entries were in use. A program that touches more pages and never traps would miss on nearly every
access (four times slower, measured). So a thread looks now and then whether a hart is in guest code all the
time, and has it flush a few times. That changes nothing that a guest can see: the JIT is left between blocks
(`leaving`) and goes on with all that it had. And as the run is left then, Python sees what the native core
has put aside for it.
"""

import os
import threading
import time
from typing import Final, Protocol

from pltvm.engine.core import WAITING, CoreHart

# Seconds between looks: usually, when harts trap, and when one does not. A look may have to wait for the
# interpreter, and while it does, traps take a fifth longer: so where there are traps it seldom looks.
_LOOK, _BUSY_LOOK, _QUIET_LOOK = 0.005, 0.1, 0.002
_PROMPT_LOOK: Final = 0.015  # where something may wait for one
_IDLE_LOOKS: Final = 40  # without a hart that runs, until the thread ends
_SOON: Final = 10  # looks in a row after each of which there is a flush: enough to grow to the largest size
_LATER: Final = 50  # looks from one flush to the next after these, as needs change


class Refreshed(Protocol):
    """A hart, as it is looked at from here."""

    @property
    def traps(self) -> int:
        """So far."""

    core: CoreHart
    may_wait: bool  # the core may leave something that is to be looked at soon

    def refresh_tlb(self) -> None:
        """From any thread: flush soon."""


class Tuner:
    """Looks after the harts that run; one for the process."""

    def __init__(self) -> None:
        # Traps when last looked, looks since the last trap.
        self._running: dict[Refreshed, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self, hart: Refreshed) -> None:
        """`hart` starts to run."""
        with self._lock:
            self._running[hart] = (-1, 0)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()

    def end(self, hart: Refreshed) -> None:
        """It does not run any more."""
        with self._lock:
            self._running.pop(hart, None)

    def _look(self) -> None:
        idle, delay = 0, _LOOK
        while True:
            time.sleep(delay)
            with self._lock:
                idle = 0 if self._running else idle + 1
                if idle >= _IDLE_LOOKS:
                    self._thread = None
                    return
                delay = _LOOK
                for hart, (traps, looks) in self._running.items():
                    looks = looks + 1 if hart.traps == traps else 0
                    self._running[hart] = (hart.traps, looks)
                    delay = _QUIET_LOOK if looks or traps < 0 else _BUSY_LOOK
                    if hart.may_wait:
                        delay = min(delay, _PROMPT_LOOK)
                    if 0 < looks <= _SOON or (looks and looks % _LATER == 0) or hart.core.told & WAITING:
                        hart.refresh_tlb()


tuner: Final = Tuner()
os.register_at_fork(after_in_child=tuner.__init__)  # type: ignore[misc]  # its thread stays behind
