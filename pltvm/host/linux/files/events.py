"""Event files: counters that programs wait for (eventfd), and timers that are read (timerfd).

A timer rings once; the number of expirations since then is computed when it is read, and only then it rings
again. So a timer that is never read does not keep a deadlocked run alive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL
from typing import Any, Final

from pltvm.host.linux.clock import Clock
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import READABLE, WRITABLE, File
from pltvm.host.linux.waits import Key, Waker
from pltvm.host.plain import copied

HIGHEST: Final = (1 << 64) - 2  # of a counter
_WORD: Final = 8  # bytes
SetAlarm = Callable[[int, int, int], None]  # deadline, process (0: an open file), which


@dataclass(slots=True)
class EventState:
    """The count, and whether a read takes one or all of it."""

    count: int = 0
    is_semaphore: bool = False


class EventFile(File):
    """A counter: writing adds to it, reading takes from it. Reading waits while it is 0, writing waits for
    room below 2⁶⁴ − 1."""

    kind = "eventfd"
    mode = 0o600

    def __init__(self, waker: Waker, state: EventState, flags: int) -> None:
        super().__init__(flags)
        self._waker = waker
        self.state = copied(state)

    def read(self, size: int) -> bytes:
        if size < _WORD:
            raise LinuxError(EINVAL)
        state = self.state
        if not state.count:
            self.wait(self._key("readers"))
        taken = 1 if state.is_semaphore else state.count
        state.count -= taken
        self._waker.wake(self._key("writers"))
        return taken.to_bytes(_WORD, "little")

    def write(self, data: bytes) -> int:
        added = int.from_bytes(data[:_WORD], "little")
        if len(data) != _WORD or added > HIGHEST:
            raise LinuxError(EINVAL)
        if self.state.count + added > HIGHEST:
            self.wait(self._key("writers"))
        self.state.count += added
        self._waker.wake(self._key("readers"))
        return _WORD

    def events(self) -> int:
        count = self.state.count
        return (READABLE if count else 0) | (WRITABLE if count < HIGHEST else 0)

    def _key(self, whom: str) -> Key:
        return ("eventfd", self.number, whom)

    def keys(self) -> tuple[Key, ...]:
        return self._key("readers"), self._key("writers")

    def keys_for(self, events: int) -> tuple[Key, ...]:
        return self.keys() if events & WRITABLE else (self._key("readers"),)

    def save(self) -> Any:
        return copied(self.state)


@dataclass(slots=True)
class TimerState:
    """The state of a timer: it expires at `deadline` (monotonic ns; 0: off), then every `interval` ns. After
    the first expiration `rang` is set, and `ticks` counts, until it is read."""

    clock: int
    deadline: int = 0
    interval: int = 0
    ticks: int = 0
    rang: bool = False


class TimerFile(File):
    """A timer: reading waits until it expires, and gives the number of expirations."""

    kind = "timerfd"
    mode = 0o600

    def __init__(
        self, waker: Waker, clock: Clock, set_alarm: SetAlarm, state: TimerState, flags: int
    ) -> None:
        super().__init__(flags)
        self._waker = waker
        self._clock = clock
        self._set_alarm = set_alarm
        self.state = copied(state)

    def set(self, deadline: int, interval: int) -> None:
        """Set the next expiration (monotonic ns; 0: never), and the `interval` in ns."""
        self.state = TimerState(self.state.clock, deadline, interval)
        self._arm()

    def _arm(self) -> None:
        deadline = self.state.deadline
        if deadline and not self.ring():
            self._set_alarm(deadline, 0, self.number)

    def ring(self) -> bool:
        """Ring if the time has come; return whether it has."""
        state = self.state
        if not state.rang and state.deadline and state.deadline <= self._clock.monotonic():
            state.rang = True
            state.ticks += 1
            self._waker.wake(self._key)
        return state.rang

    def _catch_up(self) -> None:
        """Count the expirations of a timer that rang, and let it ring again."""
        state = self.state
        if state.rang and state.interval:
            missed = (self._clock.monotonic() - state.deadline) // state.interval
            state.ticks += missed
            state.deadline += (missed + 1) * state.interval
            state.rang = False
            self._arm()

    def left(self) -> tuple[int, int]:
        """Return the nanoseconds until it expires (0: off), and its interval."""
        self.ring()
        self._catch_up()
        state = self.state
        off = not state.deadline or state.rang
        return 0 if off else max(state.deadline - self._clock.monotonic(), 1), state.interval

    def read(self, size: int) -> bytes:
        if size < _WORD:
            raise LinuxError(EINVAL)
        self.ring()
        if not self.state.ticks:
            self.wait()
        self._catch_up()
        ticks, self.state.ticks = self.state.ticks, 0
        return ticks.to_bytes(_WORD, "little")

    def events(self) -> int:
        self.ring()
        return READABLE if self.state.ticks else 0

    @property
    def _key(self) -> Key:
        return ("timerfd", self.number)

    def keys(self) -> tuple[Key, ...]:
        return (self._key,)

    def save(self) -> Any:
        return copied(self.state)
