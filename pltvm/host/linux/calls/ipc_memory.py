"""Shared memory of System V: a segment is a memory object that its id keeps, too."""

from errno import EIDRM, EINVAL, ENOMEM
from typing import Annotated, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.linux import ipc
from pltvm.host.linux.arguments import Address, Choice, Flags, Int, Size
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.ipc import IPC_RMID, IPC_SET, IPC_STAT, READS, WRITES, Segment
from pltvm.host.linux.process import Thread
from pltvm.host.linux.space import READ, USER_END, WRITE
from pltvm.host.linux.structs import IPC_PERM, SHMID_DS, ShmIdDs
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

SHM_RDONLY, SHM_RND, SHM_REMAP = 0o10000, 0o20000, 0o40000
SHM_LOCK, SHM_UNLOCK, SHM_DEST = 11, 12, 0o1000
_COMMANDS: Final = {
    "IPC_RMID": IPC_RMID, "IPC_SET": IPC_SET, "IPC_STAT": IPC_STAT, "SHM_LOCK": SHM_LOCK,
    "SHM_UNLOCK": SHM_UNLOCK,
}  # fmt: skip


@system_call(194)
def shmget(system: System, thread: Thread, key: Int, size: Size, flags: Int) -> int:
    """Return the id of a segment; make one if there is none, and the flags say so."""
    process = thread.process
    who = process.state.credentials
    owner = who.acting

    def make() -> Segment:
        if not size:
            raise LinuxError(EINVAL)
        if size > system.kernel.memory.size:
            raise LinuxError(ENOMEM)
        number = system.objects.anonymous(pages_for(size) * PAGE)
        system.objects.enter(number)
        now = system.ipc.now()
        return Segment(key, owner, owner, flags & 0o777, now, size, number, made_by=process.pid)

    _tidy(system)
    found, segment = system.ipc.memory.get(key, flags, who, make)
    if size > segment.size:
        raise LinuxError(EINVAL)
    return found


def _users(system: System, segment: Segment) -> int:
    """Return how many times a segment is attached, in all processes."""
    spaces = {process.space for process in system.processes.values() if process.alive}
    return sum(area.object == segment.object for space in spaces for area in space.state.areas)


def _tidy(system: System) -> None:
    """Forget removed segments that are no longer attached."""
    objects = system.ipc.memory.state.objects
    for number, one in list(objects.items()):
        if one.removed and one.object not in system.objects.state.objects:
            del objects[number]


@system_call(196)
def shmat(
    system: System,
    thread: Thread,
    number: Int,
    address: Address,
    flags: Annotated[
        int,
        Flags({"SHM_RDONLY": SHM_RDONLY, "SHM_RND": SHM_RND, "SHM_REMAP": SHM_REMAP}, others=0o7777),
    ],
) -> int:
    """Map a segment."""
    space, process = thread.space, thread.process
    reads_only = bool(flags & SHM_RDONLY)
    _tidy(system)
    if flags & SHM_RND:
        address &= -PAGE
    if address % PAGE or (not address and flags & SHM_REMAP):
        raise LinuxError(EINVAL)
    wanted = READS if reads_only else READS | WRITES
    segment = system.ipc.memory.find(number, process.state.credentials, wanted)
    length = pages_for(segment.size) * PAGE
    if not address:
        address = space.place(length)
    elif address > USER_END - length or (not flags & SHM_REMAP and space.overlaps(address, address + length)):
        raise LinuxError(EINVAL)
    name = f"/SYSV{segment.key & 0xFFFF_FFFF:08x} (deleted)"
    prot = READ if reads_only else READ | WRITE
    space.map(address, length, prot, object=segment.object, may_write=not reads_only, name=name)
    segment.attached, segment.used_by = system.ipc.now(), process.pid
    return address


@system_call(197)
def shmdt(system: System, thread: Thread, address: Address) -> int:
    """Unmap a segment, by the address at which it was mapped."""
    space = thread.space
    segments = {one.object: one for one in system.ipc.memory.state.objects.values()}
    found = [
        area for area in space.state.areas if area.object in segments and area.start - area.offset == address
    ]
    if not found or address % PAGE:
        raise LinuxError(EINVAL)
    first = found[0]
    segment = segments[first.object]
    segment.detached, segment.used_by = system.ipc.now(), thread.process.pid
    for area in found:
        if area.object == first.object:
            space.unmap(area.start, area.end - area.start)
    _tidy(system)
    return 0


@system_call(195)
def shmctl(
    system: System, thread: Thread, number: Int, command: Annotated[int, Choice(_COMMANDS)], data: Address
) -> int:
    """Tell of a segment, change its owner, or remove it."""
    table, who, space = system.ipc.memory, thread.process.state.credentials, thread.space
    _tidy(system)
    if command == IPC_STAT:
        one = table.find(number, who, READS)
        perm = IPC_PERM.pack(ipc.permissions(one, SHM_DEST if one.removed else 0))
        told = ShmIdDs(
            perm,
            one.size,
            one.attached,
            one.detached,
            one.changed,
            one.made_by,
            one.used_by,
            _users(system, one),
        )
        space.write(data, SHMID_DS.pack(told))
    elif command == IPC_SET:
        perm = SHMID_DS.unpack(space.read(data, SHMID_DS.size)).perm
        ipc.set_owner(table.owned(number, who), IPC_PERM.unpack(perm), system.ipc.now())
    elif command == IPC_RMID:
        one = table.owned(number, who)
        if one.removed:
            raise LinuxError(EIDRM)
        one.removed, one.key = True, ipc.IPC_PRIVATE
        system.objects.leave(one.object)
        _tidy(system)
    else:
        table.owned(number, who)  # all memory is locked in any case
    return 0
