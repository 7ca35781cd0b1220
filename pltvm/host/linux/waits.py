"""What a thread waits for.

A system call that cannot be finished raises `Blocked`, with the keys of what would change that. Whoever
changes it wakes the key, and then the call is made anew, with the same arguments, from the start: nothing of
it has to be kept but its deadline. So what waits is plain data, and can be saved at any moment.
"""

from collections.abc import Hashable
from typing import NamedTuple, Protocol

Key = tuple[Hashable, ...]  # the kind of thing, and which one: ("pipe", 7)


class Wait(NamedTuple):
    """What a thread waits for: one of `keys`, or `deadline` (monotonic ns; None: no end).

    `restarts`: after a signal with SA_RESTART it is made anew; else it then fails with EINTR. `remaining` is
    a user address where the time left goes then, as a timespec; 0 for none. `bits` are those of a futex.
    With `firm` no signal but SIGKILL ends it: it ends by being released.
    """

    keys: tuple[Key, ...]
    deadline: int | None = None
    restarts: bool = True
    remaining: int = 0
    bits: int = 0xFFFF_FFFF
    firm: bool = False


class Blocked(Exception):
    """The system call waits for something, and is made anew when it may have come."""

    def __init__(
        self,
        *keys: Key,
        deadline: int | None = None,
        restarts: bool = True,
        remaining: int = 0,
        bits: int = 0xFFFF_FFFF,
        firm: bool = False,
    ) -> None:
        self.wait = Wait(keys, deadline, restarts, remaining, bits, firm)


class Waker(Protocol):
    """Who knows the threads that wait."""

    def wake(self, key: Key) -> None:
        """Something with this key has changed: those that wait for it look again."""
