"""System V IPC: shared memory, sets of semaphores, and queues of messages, by keys and ids (sysvipc(7)).

One `Table` for each kind has its objects by id, and the rules that all three share. Ids count up from 0 and
are not used again. What waiting calls need is in the objects, so all is plain data.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EACCES, EEXIST, EINVAL, ENOENT, ENOSPC, EPERM
from typing import Final, Generic, TypeVar

from pltvm.host.linux.clock import Clock
from pltvm.host.linux.credentials import CAP_IPC_OWNER, CAP_SYS_ADMIN, Credentials, allowed
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.objects import Objects
from pltvm.host.linux.structs import IpcPermissions
from pltvm.host.linux.waits import Key, Waker
from pltvm.host.plain import Part

IPC_PRIVATE: Final = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT = 0, 1, 2
READS, WRITES = 4, 2  # what a call does with an object
HIGHEST: Final = 32767  # value of a semaphore
MOST_OBJECTS: Final = 4096  # of one kind


@dataclass(slots=True)
class Owned:
    """What all kinds have: key, owner and maker (user and group), permissions, times in seconds."""

    key: int
    maker: tuple[int, int]
    owner: tuple[int, int]
    mode: int
    changed: int


@dataclass(slots=True)
class Segment(Owned):
    """Shared memory of `size` bytes, in a memory object. Once it is `removed`, it goes with its last user."""

    size: int = 0
    object: int = 0
    attached: int = 0
    detached: int = 0
    made_by: int = 0
    used_by: int = 0
    removed: bool = False


@dataclass(slots=True)
class Semaphores(Owned):
    """A set: values, and the processes that changed them last. `undo` has by process what is added to them
    at its end, by number."""

    values: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    undo: dict[int, dict[int, int]] = field(default_factory=dict)
    used: int = 0


@dataclass(slots=True)
class Queue(Owned):
    """Messages, each with its type; `most` is the largest number of their bytes."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    most: int = 0
    sent: int = 0
    received: int = 0
    sender: int = 0
    receiver: int = 0

    @property
    def size(self) -> int:
        """The bytes in all messages."""
        return sum(len(data) for _, data in self.messages)


_T = TypeVar("_T", bound=Owned)


@dataclass(slots=True)
class TableState(Generic[_T]):
    """The objects of one kind by id."""

    objects: dict[int, _T] = field(default_factory=dict)
    next_id: int = 0


SavedIpc = tuple[TableState[Segment], TableState[Semaphores], TableState[Queue]]


class Table(Part[TableState[_T]], Generic[_T]):
    """The objects of one kind."""

    def __init__(self) -> None:
        self.state: TableState[_T] = TableState()

    def get(self, key: int, flags: int, who: Credentials, make: Callable[[], _T]) -> tuple[int, _T]:
        """Return the id and the object of a key, or a new one, with any key, if the flags say so."""
        state, wanted = self.state, (flags >> 6 | flags >> 3 | flags) & (READS | WRITES)
        if key != IPC_PRIVATE:
            for number, one in state.objects.items():
                if one.key == key:
                    if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL:
                        raise LinuxError(EEXIST)
                    self.must_be_allowed(one, who, wanted)
                    return number, one
            if not flags & IPC_CREAT:
                raise LinuxError(ENOENT)
        if len(state.objects) >= MOST_OBJECTS:
            raise LinuxError(ENOSPC)
        made, number = make(), state.next_id
        state.objects[number] = made
        state.next_id += 1
        return number, made

    def find(self, number: int, who: Credentials, wanted: int, error: int = EINVAL) -> _T:
        """Return the object of an id for these accesses; `error` if there is none."""
        one = self.state.objects.get(number)
        if one is None:
            raise LinuxError(error)
        self.must_be_allowed(one, who, wanted)
        return one

    def owned(self, number: int, who: Credentials) -> _T:
        """Return the object of an id, to be changed or removed by its owner, maker, or root."""
        one = self.find(number, who, 0)
        if who.user.effective not in (one.owner[0], one.maker[0]) and not who.may(CAP_SYS_ADMIN):
            raise LinuxError(EPERM)
        return one

    @staticmethod
    def must_be_allowed(one: Owned, who: Credentials, wanted: int) -> None:
        """Raise LinuxError(EACCES) unless the object's permissions allow these accesses."""
        groups = (who.group.effective, *who.extra)
        owns = who.user.effective in (one.owner[0], one.maker[0])
        in_group = one.owner[1] in groups or one.maker[1] in groups
        if wanted & ~allowed(one.mode, owns, in_group) and not who.may(CAP_IPC_OWNER):
            raise LinuxError(EACCES)


class Ipc:
    """The three tables. Segments are objects of `objects`; `clock` gives times in seconds."""

    def __init__(self, waker: Waker, objects: Objects, clock: Clock) -> None:
        self._waker, self._objects, self._clock = waker, objects, clock
        self.memory: Table[Segment] = Table()
        self.semaphores: Table[Semaphores] = Table()
        self.queues: Table[Queue] = Table()

    def save(self) -> SavedIpc:
        """Return a copy of the state."""
        return self.memory.save(), self.semaphores.save(), self.queues.save()

    def load(self, saved: SavedIpc) -> None:
        """Restore the state."""
        memory, semaphores, queues = saved
        self.memory.load(memory)
        self.semaphores.load(semaphores)
        self.queues.load(queues)

    def now(self) -> int:
        """Return the time since 1970, in seconds."""
        return self._clock.time_of_day() // 10**9

    def changed(self, number: int, which: int) -> None:
        """Wake those who wait for a semaphore of a set."""
        for what in ("zero", "more"):
            self._waker.wake(semaphore_key(number, which, what))

    def ended(self, pid: int) -> None:
        """Undo what a process has done with SEM_UNDO, at its end."""
        for number, one in self.semaphores.state.objects.items():
            for which, change in one.undo.pop(pid, {}).items():
                one.values[which] = min(max(one.values[which] + change, 0), HIGHEST)
                one.users[which], one.used = pid, self.now()
                self.changed(number, which)

    def close(self) -> None:
        """Free all segments, after the run."""
        segments = self.memory.state.objects
        for one in segments.values():
            if not one.removed:
                self._objects.leave(one.object)
        segments.clear()


def semaphore_key(number: int, which: int, what: str) -> Key:
    """Return the key of those who wait for a semaphore to become 0 ("zero") or larger ("more")."""
    return ("semaphore", number, which, what)


def permissions(one: Owned, mode: int = 0) -> IpcPermissions:
    """Return `struct ipc64_perm` of an object; `mode` has further bits."""
    return IpcPermissions(one.key, *one.owner, *one.maker, one.mode | mode, 0)


def set_owner(one: Owned, wanted: IpcPermissions, now: int) -> None:
    """Do what all kinds do for IPC_SET."""
    one.owner, one.mode, one.changed = (wanted.uid, wanted.gid), wanted.mode & 0o777, now
