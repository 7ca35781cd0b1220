"""Locks of files: of ranges of bytes, by a process or an open file, and of whole files (flock).

Nobody has to heed them but those who lock. Who waits for one waits for the keys here, and looks again when
any lock of that file has changed.
"""

from dataclasses import dataclass, field
from errno import ENOLCK
from typing import Final, NamedTuple

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile, Key
from pltvm.host.linux.waits import Key as WaitKey
from pltvm.host.linux.waits import Waker
from pltvm.host.plain import Part

END: Final = 1 << 63  # of a range without end
MOST_LOCKS: Final = 4096  # of ranges
Owner = tuple[str, int]  # ("process", pid) or ("file", number of the open file)


class Lock(NamedTuple):
    """A lock of the bytes from `start` to before `end`."""

    start: int
    end: int
    writes: bool
    owner: Owner


@dataclass(slots=True)
class LocksState:
    """Of ranges, and by flock: whether the open file with this number has it alone; by file."""

    ranges: dict[Key, list[Lock]] = field(default_factory=dict)
    whole: dict[Key, dict[int, bool]] = field(default_factory=dict)


def key_of(file: File) -> Key:
    """Which file it is, for all who have it open."""
    return file.key if isinstance(file, HostFile) else (-1, file.number)


def range_key(key: Key) -> WaitKey:
    """What is woken when locks of ranges of this file have changed."""
    return ("lock", *key)


def flock_key(key: Key) -> WaitKey:
    """The same, of the whole file."""
    return ("flock", *key)


class Locks(Part[LocksState]):
    """All locks of the system."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self.state = LocksState()

    # -- ranges --------------------------------------------------------------------------------------------

    def conflict(self, key: Key, wanted: Lock) -> Lock | None:
        """The first lock of somebody else that does not go together with this one."""
        for lock in self.state.ranges.get(key, ()):
            if (
                lock.owner != wanted.owner
                and (lock.writes or wanted.writes)
                and lock.start < wanted.end
                and wanted.start < lock.end
            ):
                return lock
        return None

    def set(self, key: Key, wanted: Lock) -> None:
        """Have this lock, in place of what its owner had there."""
        mine, others = self._without(key, wanted)
        for lock in [one for one in mine if one.writes == wanted.writes]:
            if lock.end >= wanted.start and lock.start <= wanted.end:  # they touch
                mine.remove(lock)
                wanted = wanted._replace(start=min(lock.start, wanted.start), end=max(lock.end, wanted.end))
        self._put(key, [*mine, *others, wanted])

    def unset(self, key: Key, range_: Lock) -> None:
        """Have no lock in a range."""
        mine, others = self._without(key, range_)
        self._put(key, mine + others)

    def _without(self, key: Key, cut: Lock) -> tuple[list[Lock], list[Lock]]:
        """The locks of an owner without a range, and those of the others."""
        mine: list[Lock] = []
        others: list[Lock] = []
        for lock in self.state.ranges.get(key, ()):
            if lock.owner != cut.owner:
                others.append(lock)
                continue
            if lock.end <= cut.start or cut.end <= lock.start:
                mine.append(lock)
                continue
            if lock.start < cut.start:
                mine.append(lock._replace(end=min(lock.end, cut.start)))
            if lock.end > cut.end:
                mine.append(lock._replace(start=max(lock.start, cut.end)))
        return mine, others

    def _put(self, key: Key, locks: list[Lock]) -> None:
        more = len(locks) - len(self.state.ranges.get(key, ()))
        if more > 0 and more + sum(map(len, self.state.ranges.values())) > MOST_LOCKS:
            raise LinuxError(ENOLCK)
        if locks:
            self.state.ranges[key] = sorted(locks)
        else:
            self.state.ranges.pop(key, None)
        self._waker.wake(range_key(key))

    # -- whole files ---------------------------------------------------------------------------------------

    def lock_whole(self, file: File, alone: bool) -> bool:
        """flock; False if somebody else has it, and then this one has none any more."""
        key = key_of(file)
        held = self.state.whole.get(key, {})
        if held.get(file.number) == alone:
            return True
        self.unlock_whole(file)
        if any(other or alone for number, other in held.items() if number != file.number):
            return False
        self.state.whole.setdefault(key, {})[file.number] = alone
        return True

    def unlock_whole(self, file: File) -> None:
        """Have no lock by flock."""
        key = key_of(file)
        held = self.state.whole.get(key, {})
        if held.pop(file.number, None) is not None:
            if not held:
                del self.state.whole[key]
            self._waker.wake(flock_key(key))

    # -- the end -------------------------------------------------------------------------------------------

    def closed_by(self, process: int, file: File) -> None:
        """A process closed one of its descriptors: it has no locks of that file any more."""
        if self.state.ranges:
            self._release(key_of(file), ("process", process))

    def closed(self, file: File) -> None:
        """Nobody has an open file any more."""
        if self.state.ranges:
            self._release(key_of(file), ("file", file.number))
        if self.state.whole:
            self.unlock_whole(file)

    def _release(self, key: Key, owner: Owner) -> None:
        if any(lock.owner == owner for lock in self.state.ranges.get(key, ())):
            self.unset(key, Lock(0, END, True, owner))
