"""Let the JIT's TLB grow for programs that compute for long.

Unicorn's software TLB starts with 256 entries and changes its size only when it is flushed: it doubles if
most entries were in use. A program that accesses more pages and never traps would miss on nearly every
access (four times slower, measured). So a thread checks now and then whether a hart has stayed in guest code,
and then makes it flush a few times. No guest can notice this: the JIT is left between blocks (`leaving`) and
goes on with the complete state. As the JIT is left then, Python also handles work that the native core has
left for it.
"""

import os
import threading
import time
from typing import Final, Protocol

from pltvm.engine.core import WAITING, CoreHart

# Seconds between checks: usually, when harts trap, and when one does not. A check may have to wait for the
# interpreter lock, and meanwhile traps take a fifth longer: so it checks seldom if there are traps.
_LOOK, _BUSY_LOOK, _QUIET_LOOK = 0.005, 0.1, 0.002
_SOON: Final = 10  # consecutive checks, with a flush after each: enough to grow to the largest size
_LATER_LOOK: Final = 0.1  # after that: a check costs time of the processor, but needs change
_PROMPT_LOOK: Final = 0.015  # if work may be waiting for a check
_IDLE_LOOKS: Final = 40  # checks without a running hart until the thread ends


class Refreshed(Protocol):
    """The part of a hart that this file uses."""

    @property
    def traps(self) -> int:
        """The number of traps so far."""

    core: CoreHart
    may_wait: bool  # whether the core may leave work that has to be done soon

    def refresh_tlb(self) -> None:
        """Flush soon; from any thread."""


class Tuner:
    """Watches the running harts; there is one for the process."""

    def __init__(self) -> None:
        # Traps at the last check, checks since the last trap.
        self._running: dict[Refreshed, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self, hart: Refreshed) -> None:
        """Watch `hart`, which starts to run."""
        with self._lock:
            self._running[hart] = (-1, 0)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()

    def end(self, hart: Refreshed) -> None:
        """Stop watching a hart."""
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
                    if looks > _SOON:
                        delay = _LATER_LOOK
                    if hart.may_wait:
                        delay = min(delay, _PROMPT_LOOK)
                    if looks or hart.core.told & WAITING:
                        hart.refresh_tlb()


tuner: Final = Tuner()
os.register_at_fork(after_in_child=tuner.__init__)  # type: ignore[misc]  # its thread stays behind
