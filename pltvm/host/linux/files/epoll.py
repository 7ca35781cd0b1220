"""epoll: waiting for many files, at a cost that does not grow with their number.

What is watched and what may be ready is plain data of the open file. An interest gets on the ready list
when a key of its file is woken (`watches`), and is looked at when somebody waits. It stays there, at the end,
while the file is ready; an edge-triggered one leaves once it was told, until its file wakes a key again.
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
DEEPEST: Final = 4  # how often one epoll watches another in a row


@dataclass(slots=True)
class Interest:
    """What is wanted of one target: `events` and how, none of them once a one-shot was told; `data` is the
    program's own; `keys` are those of the file that tell of it; `queued`: it is on the ready list."""

    events: int
    data: int
    keys: tuple[Key, ...]
    queued: bool = False


@dataclass(slots=True)
class EpollState:
    """What is watched, and what of it may be ready, first come first served."""

    interests: dict[Target, Interest] = field(default_factory=dict)
    ready: deque[Target] = field(default_factory=deque)


class EpollFile(File):
    """An epoll. `files` are all open ones by number."""

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
        """An interest is new: the file may be ready already."""
        if file.events() & events and self.mark(target):
            self._waker.wake(self.key)

    def mark(self, target: Target) -> bool:
        """The target may be ready; whether that is of interest."""
        interest = self.state.interests.get(target)
        if interest is None or not interest.events & ~_HOW:
            return False
        if not interest.queued:
            interest.queued = True
            self.state.ready.append(target)
        return True

    def forget(self, target: Target) -> None:
        """Watch it no longer."""
        interest = self.state.interests.pop(target)
        if interest.queued:
            self.state.ready.remove(target)
        self._watches.remove(self.number, target, interest.keys)

    def _must_not_nest(self, file: "EpollFile") -> None:
        """Raises LinuxError(ELOOP) if watching that makes a circle, or too long a row, of epolls."""
        below, deep = self._row(file, lambda one: [number for number, _ in one.state.interests])
        _, high = self._row(self, lambda one: self._watches.epolls_of(one.number))
        if self in below or deep + 1 + high > DEEPEST:
            raise LinuxError(ELOOP)

    def _row(
        self, start: "EpollFile", after: "Callable[[EpollFile], Iterable[int]]"
    ) -> "tuple[set[EpollFile], int]":
        """The epolls that come after one, itself too, and how long their longest row is."""
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
        """What is woken when something may be ready."""
        return ("epoll", self.number)

    def keys(self) -> tuple[Key, ...]:
        return (self.key,)

    def events(self) -> int:
        return READABLE if self.ready(1) else 0

    def ready(self, most: int) -> list[tuple[Target, int]]:
        """Up to `most` targets that are ready, with their events. Those found not to be leave the list."""
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
        """The program knows of these now: they go to the end of the list, or are off it."""
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
    """The first target as long as there is one, while the list shrinks."""
    while ready:
        yield ready[0]
