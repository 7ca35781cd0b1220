"""The waits of threads.

A system call that cannot be finished raises `Blocked`, with the keys of events that would change that. Code
that causes an event wakes the key, and then the call is made again from the start, with the same arguments:
only its deadline has to be kept. So waits are plain data, and can be saved at any moment.
"""

from collections.abc import Hashable
from typing import NamedTuple, Protocol

Key = tuple[Hashable, ...]  # kind and number of an object: ("pipe", 7)


class Wait(NamedTuple):
    """The wait of a thread: for one of `keys`, or until `deadline` (monotonic ns; None: no end).

    `restarts`: after a signal with SA_RESTART the call is made again; otherwise it fails with EINTR.
    `remaining` is a user address for the remaining time as a timespec; 0 for none. `bits` are those of a
    futex. With `firm`, only SIGKILL or a release ends it.
    """

    keys: tuple[Key, ...]
    deadline: int | None = None
    restarts: bool = True
    remaining: int = 0
    bits: int = 0xFFFF_FFFF
    firm: bool = False


class Blocked(Exception):
    """The system call has to wait, and is made again when the event may have come."""

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
    """Finds waiting threads."""

    def wake(self, key: Key) -> None:
        """Wake threads that wait for this key, as it has changed."""
