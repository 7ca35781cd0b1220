"""epoll: waiting for many files, at a cost that does not grow with their number.

The interests and the ready list are plain data of the open file. An interest is added to the ready list when
a key of its file is woken (`watches`), and is checked when a thread waits. It stays there, at the end, while
the file is ready; an edge-triggered one leaves after it was reported, until its file wakes a key again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from errno import EBADF, EEXIST, EINVAL, ELOOP, ENOENT, EPERM
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import POLLERR, POLLHUP, READABLE, File
from pltvm.host.linux.files.watches import Target, Watches
from pltvm.host.linux.open_flags import O_PATH, O_RDWR
from pltvm.host.linux.waits import Key, Waker
from pltvm.host.plain import copied

EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
_HOW: Final = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET  # bits that are no events
_WITH_EXCLUSIVE: Final = 0x1 | 0x4 | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
ADD, DELETE, MODIFY = 1, 2, 3
DEEPEST: Final = 4  # longest chain of epolls that watch each other


@dataclass(slots=True)
class Interest:
    """The interest in one target: `events` with options, none after a one-shot was reported; `data` belongs
    to the program; `keys` are those of the file that report it; `queued`: it is on the ready list."""

    events: int
    data: int
    keys: tuple[Key, ...]
    queued: bool = False


@dataclass(slots=True)
class EpollState:
    """The interests, and the queue of those that may be ready."""

    interests: dict[Target, Interest] = field(default_factory=dict)
    ready: deque[Target] = field(default_factory=deque)


class EpollFile(File):
    """An epoll. `files` are all open files by number."""

    kind = "eventpoll"
    mode = 0o600

    def __init__(
        self,
        files: Mapping[int, File],
        watches: Watches,
        waker: Waker,
        state: EpollState | None = None,
        flags: int = O_RDWR,
    ) -> None:
        super().__init__(flags)
        self._files = files
        self._watches = watches
        self._waker = waker
        self.state = copied(state) if state is not None else EpollState()

    # -- what is watched ---------------------------------------------------------------------------------

    def control(self, operation: int, descriptor: int, file: File, events: int, data: int) -> None:
        """EPOLL_CTL_ADD, DEL or MOD; raises LinuxError."""
        if file.flags & O_PATH:
            raise LinuxError(EBADF)
        if not file.pollable:
            raise LinuxError(EPERM)
        if file is self:
            raise LinuxError(EINVAL)
        exclusive = bool(events & EPOLLEXCLUSIVE) and operation != DELETE
        if exclusive and (operation == MODIFY or isinstance(file, EpollFile) or events & ~_WITH_EXCLUSIVE):
            raise LinuxError(EINVAL)
        if operation == ADD and isinstance(file, EpollFile):
            self._must_not_nest(file)
        target = (file.number, descriptor)
        interest = self.state.interests.get(target)
        if operation == ADD:
            if interest is not None:
                raise LinuxError(EEXIST)
            self._add(target, file, events | POLLERR | POLLHUP, data)
        elif operation not in (DELETE, MODIFY):
            raise LinuxError(EINVAL)
        elif interest is None:
            raise LinuxError(ENOENT)
        elif operation == DELETE:
            self.forget(target)
        elif interest.events & EPOLLEXCLUSIVE:
            raise LinuxError(EINVAL)
        else:
            self._change(target, interest, file, events | POLLERR | POLLHUP, data)

    def _add(self, target: Target, file: File, events: int, data: int) -> None:
        interest = Interest(events, data, _keys(file, events))
        self._watches.add(self.number, target, interest.keys)
        self.state.interests[target] = interest
        self._look(target, file, events)

    def _change(self, target: Target, interest: Interest, file: File, events: int, data: int) -> None:
        keys = _keys(file, events)
        if keys != interest.keys:
            self._watches.remove(self.number, target, interest.keys)
            self._watches.add(self.number, target, keys)
        interest.events, interest.data, interest.keys = events, data, keys
        self._look(target, file, events)

    def _look(self, target: Target, file: File, events: int) -> None:
        """Queue a new or changed interest if the file is ready already."""
        if file.events() & events and self.mark(target):
            self._waker.wake(self.key)

    def mark(self, target: Target) -> bool:
        """Queue a target that may be ready; return whether there is an interest in it."""
        interest = self.state.interests.get(target)
        if interest is None or not interest.events & ~_HOW:
            return False
        if not interest.queued:
            interest.queued = True
            self.state.ready.append(target)
        return True

    def forget(self, target: Target) -> None:
        """Stop watching a target."""
        interest = self.state.interests.pop(target)
        if interest.queued:
            self.state.ready.remove(target)
        self._watches.remove(self.number, target, interest.keys)

    def _must_not_nest(self, file: "EpollFile") -> None:
        """Raise LinuxError(ELOOP) if watching this file makes a circle, or too long a chain, of epolls."""
        below, deep = self._row(file, lambda one: [number for number, _ in one.state.interests])
        _, high = self._row(self, lambda one: self._watches.epolls_of(one.number))
        if self in below or deep + 1 + high > DEEPEST:
            raise LinuxError(ELOOP)

    def _row(
        self, start: "EpollFile", after: "Callable[[EpollFile], Iterable[int]]"
    ) -> "tuple[set[EpollFile], int]":
        """Return the epolls reachable from one, with itself, and the length of their longest chain."""
        seen, row, length = {start}, {start}, 0
        while True:
            found = {self._files[number] for one in row for number in after(one)}
            row = {one for one in found if isinstance(one, EpollFile)}
            if not row or length > DEEPEST:
                return seen, length
            seen |= row
            length += 1

    # -- what is ready -----------------------------------------------------------------------------------

    @property
    def key(self) -> Key:
        """The key that is woken when something may be ready."""
        return ("epoll", self.number)

    def keys(self) -> tuple[Key, ...]:
        return (self.key,)

    def events(self) -> int:
        return READABLE if self.ready(1) else 0

    def ready(self, most: int) -> list[tuple[Target, int]]:
        """Return up to `most` ready targets, with their events. Targets that are not ready leave the list."""
        state, files, found = self.state, self._files, list[tuple[Target, int]]()
        for target in list(state.ready) if most > 1 else _first(state.ready):
            interest = state.interests[target]
            events = files[target[0]].events() & interest.events
            if events:
                found.append((target, events))
                if len(found) == most:
                    break
            else:
                interest.queued = False
                state.ready.remove(target)
        return found

    def told(self, found: list[tuple[Target, int]]) -> None:
        """Note that these were reported: they go to the end of the list, or leave it."""
        state = self.state
        for target, _ in found:
            interest = state.interests[target]
            state.ready.remove(target)
            if interest.events & EPOLLONESHOT:
                interest.events &= _HOW
            if interest.events & (EPOLLONESHOT | EPOLLET):
                interest.queued = False
            else:
                state.ready.append(target)

    # -- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        for target, interest in self.state.interests.items():
            self._watches.remove(self.number, target, interest.keys)
        self.state = EpollState()

    def save(self) -> Any:
        return copied(self.state)


def _keys(file: File, events: int) -> tuple[Key, ...]:
    return tuple(dict.fromkeys(file.keys_for(events)))


def _first(ready: deque[Target]) -> Iterator[Target]:
    """Yield the first target as long as there is one; the list may shrink meanwhile."""
    while ready:
        yield ready[0]
