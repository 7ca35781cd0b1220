"""Locks of files: of ranges of bytes, by a process or an open file, and of whole files (flock).

They are advisory. A thread that waits for a lock waits for the keys here, and tries again when any lock of
that file has changed.
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
    """A lock of the bytes from `start` up to `end`."""

    start: int
    end: int
    writes: bool
    owner: Owner


@dataclass(slots=True)
class LocksState:
    """By file: locks of ranges; and flock locks: whether the open file with this number has an exclusive
    one."""

    ranges: dict[Key, list[Lock]] = field(default_factory=dict)
    whole: dict[Key, dict[int, bool]] = field(default_factory=dict)


def key_of(file: File) -> Key:
    """Return the key of a file, which is the same for all open files of it."""
    return file.key if isinstance(file, HostFile) else (-1, file.number)


def range_key(key: Key) -> WaitKey:
    """Return the key that is woken when locks of ranges of this file have changed."""
    return ("lock", *key)


def flock_key(key: Key) -> WaitKey:
    """Return the key that is woken when flock locks of this file have changed."""
    return ("flock", *key)


class Locks(Part[LocksState]):
    """All locks of the system."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self.state = LocksState()

    # -- ranges --------------------------------------------------------------------------------------------

    def conflict(self, key: Key, wanted: Lock) -> Lock | None:
        """Return the first lock of another owner that conflicts with this one, or None."""
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
        """Set this lock, replacing those of its owner in the range."""
        mine, others = self._without(key, wanted)
        for lock in [one for one in mine if one.writes == wanted.writes]:
            if lock.end >= wanted.start and lock.start <= wanted.end:  # adjacent or overlapping
                mine.remove(lock)
                wanted = wanted._replace(start=min(lock.start, wanted.start), end=max(lock.end, wanted.end))
        self._put(key, [*mine, *others, wanted])

    def unset(self, key: Key, range_: Lock) -> None:
        """Remove an owner's locks in a range."""
        mine, others = self._without(key, range_)
        self._put(key, mine + others)

    def _without(self, key: Key, cut: Lock) -> tuple[list[Lock], list[Lock]]:
        """Return the locks of an owner outside a range, and those of other owners."""
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
        """Do flock; return False if another open file has a lock, and then remove this one's."""
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
        """Remove the flock lock of an open file."""
        key = key_of(file)
        held = self.state.whole.get(key, {})
        if held.pop(file.number, None) is not None:
            if not held:
                del self.state.whole[key]
            self._waker.wake(flock_key(key))

    # -- the end -------------------------------------------------------------------------------------------

    def closed_by(self, process: int, file: File) -> None:
        """Remove a process's locks of a file, as it closed one of its descriptors."""
        if self.state.ranges:
            self._release(key_of(file), ("process", process))

    def closed(self, file: File) -> None:
        """Remove the locks of an open file that is closed for good."""
        if self.state.ranges:
            self._release(key_of(file), ("file", file.number))
        if self.state.whole:
            self.unlock_whole(file)

    def _release(self, key: Key, owner: Owner) -> None:
        if any(lock.owner == owner for lock in self.state.ranges.get(key, ())):
            self.unset(key, Lock(0, END, True, owner))
