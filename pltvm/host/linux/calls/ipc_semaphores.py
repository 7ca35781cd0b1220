"""Semaphores of System V: several operations of a set are done at once, or not yet."""

from collections.abc import Sequence
from errno import E2BIG, EAGAIN, EFBIG, EIDRM, EINVAL, ENOSPC, ERANGE
from typing import Annotated, Final

from pltvm.host.linux import ipc
from pltvm.host.linux.arguments import Address, Choice, Int, Size, Word, signed32
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.ipc import (
    HIGHEST,
    IPC_NOWAIT,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    READS,
    WRITES,
    Semaphores,
    semaphore_key,
)
from pltvm.host.linux.process import Process, Thread
from pltvm.host.linux.structs import IPC_PERM, SEMBUF, SEMID_DS, TIMESPEC, SemBuf, SemIdDs
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds
from pltvm.host.linux.waits import Blocked

SEM_UNDO: Final = 0x1000
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
MOST_OPERATIONS: Final = 500  # of one call
MOST_IN_SET, MOST_SEMAPHORES = 32000, 256_000
_COMMANDS: Final = {
    "IPC_RMID": IPC_RMID, "IPC_SET": IPC_SET, "IPC_STAT": IPC_STAT, "GETPID": GETPID, "GETVAL": GETVAL,
    "GETALL": GETALL, "GETNCNT": GETNCNT, "GETZCNT": GETZCNT, "SETVAL": SETVAL, "SETALL": SETALL,
}  # fmt: skip


@system_call(190)
def semget(system: System, thread: Thread, key: Int, count: Int, flags: Int) -> int:
    """Return the id of a set; make one if there is none, and the flags say so."""
    if not 0 <= count <= MOST_IN_SET:
        raise LinuxError(EINVAL)
    who, table = thread.process.state.credentials, system.ipc.semaphores
    owner = who.acting

    def make() -> Semaphores:
        if not count:
            raise LinuxError(EINVAL)
        if count + sum(len(one.values) for one in table.state.objects.values()) > MOST_SEMAPHORES:
            raise LinuxError(ENOSPC)
        return Semaphores(key, owner, owner, flags & 0o777, system.ipc.now(), [0] * count, [0] * count)

    number, found = table.get(key, flags, who, make)
    if count > len(found.values):
        raise LinuxError(EINVAL)
    return number


@system_call(193)
def semop(system: System, thread: Thread, number: Int, operations: Address, count: Size) -> int:
    """Do operations on a set, all at once; wait until that is possible."""
    return semtimedop(system, thread, number, operations, count, 0)


@system_call(192)
def semtimedop(
    system: System, thread: Thread, number: Int, operations: Address, count: Size, timeout: Address
) -> int:
    """The same, with an end of the wait."""
    if not count:
        raise LinuxError(EINVAL)
    if count > MOST_OPERATIONS:
        raise LinuxError(E2BIG)
    raw = thread.space.read(operations, SEMBUF.size * count)
    asked = [SEMBUF.unpack(raw[at : at + SEMBUF.size]) for at in range(0, len(raw), SEMBUF.size)]
    deadline = None
    if timeout:
        time = nanoseconds(TIMESPEC.unpack(thread.space.read(timeout, TIMESPEC.size)))
        deadline = thread.deadline(system.clock, time)
    waited = thread.state.wait is not None
    wanted = WRITES if any(one.change for one in asked) else READS
    found = system.ipc.semaphores.find(
        number, thread.process.state.credentials, wanted, EIDRM if waited else EINVAL
    )
    if any(one.number >= len(found.values) for one in asked):
        raise LinuxError(EFBIG)
    values = list(found.values)
    obstacle = _apply(values, asked)
    if obstacle is not None:
        if obstacle.flags & IPC_NOWAIT or (deadline is not None and system.clock.monotonic() >= deadline):
            raise LinuxError(EAGAIN)
        what = "more" if obstacle.change else "zero"
        raise Blocked(semaphore_key(number, obstacle.number, what), deadline=deadline, restarts=False)
    _finish(system, thread.process, number, found, values, asked)
    return 0


def _apply(values: list[int], asked: Sequence[SemBuf]) -> SemBuf | None:
    """Do operations on values; return the first that has to wait."""
    for one in asked:
        value = values[one.number] + one.change
        if value < 0 or (not one.change and value):
            return one
        if value > HIGHEST:
            raise LinuxError(ERANGE)
        values[one.number] = value
    return None


def _finish(
    system: System,
    process: Process,
    number: int,
    found: Semaphores,
    values: list[int],
    asked: Sequence[SemBuf],
) -> None:
    before, found.values = found.values, values
    found.used = system.ipc.now()
    for one in asked:
        found.users[one.number] = process.pid
        if one.flags & SEM_UNDO and one.change:
            undo = found.undo.setdefault(process.pid, {})
            undo[one.number] = undo.get(one.number, 0) - one.change
    for which in dict.fromkeys(one.number for one in asked):
        if values[which] != before[which]:
            system.ipc.changed(number, which)


@system_call(191)
def semctl(
    system: System,
    thread: Thread,
    number: Int,
    which: Int,
    command: Annotated[int, Choice(_COMMANDS)],
    data: Word,
) -> int:
    """Get or set values, tell of a set, change its owner, or remove it."""
    table, who, space = system.ipc.semaphores, thread.process.state.credentials, thread.space
    if command in (IPC_RMID, IPC_SET):
        one = table.owned(number, who)
        if command == IPC_SET:
            perm = SEMID_DS.unpack(space.read(data, SEMID_DS.size)).perm
            ipc.set_owner(one, IPC_PERM.unpack(perm), system.ipc.now())
        else:
            del table.state.objects[number]
            for each in range(len(one.values)):
                system.ipc.changed(number, each)
        return 0
    one = table.find(number, who, WRITES if command in (SETVAL, SETALL) else READS)
    if command == IPC_STAT:
        perm = IPC_PERM.pack(ipc.permissions(one))
        space.write(data, SEMID_DS.pack(SemIdDs(perm, one.used, one.changed, len(one.values))))
    elif command == GETALL:
        space.write(data, b"".join(value.to_bytes(2, "little") for value in one.values))
    elif command == SETALL:
        _set(
            system,
            thread,
            number,
            dict(enumerate(memoryview(space.read(data, 2 * len(one.values))).cast("H"))),
        )
    elif not 0 <= which < len(one.values):
        raise LinuxError(EINVAL)
    elif command == SETVAL:
        _set(system, thread, number, {which: signed32(data)})
    elif command == GETVAL:
        return one.values[which]
    elif command == GETPID:
        return one.users[which]
    else:
        key = semaphore_key(number, which, "more" if command == GETNCNT else "zero")
        waits = (each.state.wait for each in system.scheduler.threads.values())
        return sum(wait is not None and key in wait.keys for wait in waits)
    return 0


def _set(system: System, thread: Thread, number: int, values: dict[int, int]) -> None:
    """Set values; nothing is undone in them any more."""
    found = system.ipc.semaphores.state.objects[number]
    if not all(0 <= value <= HIGHEST for value in values.values()):
        raise LinuxError(ERANGE)
    found.changed = system.ipc.now()
    for which, value in values.items():
        found.values[which], found.users[which] = value, thread.process.pid
        for undo in found.undo.values():
            undo.pop(which, None)
        system.ipc.changed(number, which)
