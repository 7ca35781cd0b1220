"""Waiting for the outside world: real sockets, and standard input.

Each descriptor outside has a key for reading and one for writing. The operating system is asked only for
changes (epoll, edge-triggered), at each switch of threads; a change wakes the keys, and waiting threads try
again, perhaps in vain. So waiting for the outside works like all other waiting (`waits`): in a call, in
`poll`, by an epoll of the program.

    data comes → look → wake(("socket", 7, "in")) → the call of the waiting thread is made again

If no thread can run, and one waits for one of these keys, the whole machine waits here. On systems other than
Linux, without epoll, this kind of waiting is not available.
"""

import os
import select
import stat
from collections.abc import Callable
from typing import Final

from pltvm.engine.halt import Halt
from pltvm.host.linux.waits import Key, Waker

_READABLE, _WRITABLE, _BOTH = 0x1 | 0x2 | 0x2000, 0x4, 0x8 | 0x10  # IN, PRI, RDHUP; OUT; ERR, HUP
_CHANGES: Final = 1 << 31  # EPOLLET


def is_null(descriptor: int) -> bool:
    """Whether this descriptor of this process is /dev/null."""
    try:
        about = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISCHR(about.st_mode) and about.st_rdev == os.stat(os.devnull).st_rdev


class Outside:
    """Descriptors of this process, and the keys that their changes wake.

    `is_waited_for` says whether a thread waits for a key, directly or by an epoll.
    """

    def __init__(self, waker: Waker, is_waited_for: Callable[[Key], bool]) -> None:
        self._waker = waker
        self._is_waited_for = is_waited_for
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._keys: dict[int, tuple[Key, Key]] = {}

    @property
    def can_wait(self) -> bool:
        """Whether this operating system offers it."""
        return self._epoll is not None

    def add(self, descriptor: int, readable: Key, writable: Key) -> bool:
        """Watch a descriptor from now on; return False for one that is always ready, like a file."""
        if self._epoll is None:
            return False
        try:
            self._epoll.register(descriptor, _READABLE | _WRITABLE | _CHANGES)
        except PermissionError:
            return False
        self._keys[descriptor] = (readable, writable)
        return True

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor, before it is closed."""
        assert self._epoll is not None
        self._epoll.unregister(descriptor)
        for key in self._keys.pop(descriptor):
            self._waker.wake(key)

    @property
    def is_used(self) -> bool:
        """Whether any descriptor is watched."""
        return bool(self._keys)

    def look(self) -> None:
        """Wake the keys of changed descriptors, without waiting."""
        if not self._keys or self._epoll is None:
            return
        for descriptor, events in self._epoll.poll(0):
            readable, writable = self._keys[descriptor]
            if events & (_READABLE | _BOTH):
                self._waker.wake(readable)
            if events & (_WRITABLE | _BOTH):
                self._waker.wake(writable)

    def concerns(self) -> bool:
        """Whether a thread waits for something outside."""
        return any(self._is_waited_for(key) for keys in self._keys.values() for key in keys)

    def wait(self, halt: Halt, seconds: float | None) -> None:
        """Wait until something has changed, or the time is over. Raises Interrupted if the run should end."""
        assert self._epoll is not None
        halt.wait(seconds, self._epoll.fileno())


def events_of(descriptor: int, wanted: int) -> int:
    """Return the events that a descriptor is ready for now: of `wanted`, and those that are always
    reported."""
    poller = select.poll()
    poller.register(descriptor, wanted)
    return sum(events for _, events in poller.poll(0))
