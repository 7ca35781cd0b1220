"""Queues of messages of System V: each message has a type, by which it is received."""

from errno import E2BIG, EAGAIN, EIDRM, EINVAL, ENOMSG, ENOSPC, EPERM
from typing import Annotated, Final

from pltvm.host.linux import ipc
from pltvm.host.linux.arguments import Address, Choice, Int, Signed, Size
from pltvm.host.linux.credentials import CAP_SYS_RESOURCE
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.ipc import IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, READS, WRITES, Queue
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import IPC_PERM, MSQID_DS, MsqIdDs
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.waits import Blocked, Key

MSG_NOERROR, MSG_EXCEPT = 0o10000, 0o20000
LONGEST: Final = 8192  # bytes of a message
MOST: Final = 16384  # bytes in a queue, and messages
MOST_QUEUES: Final = 1024
_COMMANDS: Final = {"IPC_RMID": IPC_RMID, "IPC_SET": IPC_SET, "IPC_STAT": IPC_STAT}


@system_call(186)
def msgget(system: System, thread: Thread, key: Int, flags: Int) -> int:
    """Return the id of a queue; make one if there is none, and the flags say so."""
    who, table = thread.process.state.credentials, system.ipc.queues
    owner = who.acting

    def make() -> Queue:
        if len(table.state.objects) >= MOST_QUEUES:
            raise LinuxError(ENOSPC)
        return Queue(key, owner, owner, flags & 0o777, system.ipc.now(), most=MOST)

    return table.get(key, flags, who, make)[0]


def _key(number: int, what: str) -> Key:
    return ("queue", number, what)


def _find(system: System, thread: Thread, number: int, wanted: int) -> Queue:
    """Return a queue; it may have been removed during a wait."""
    error = EINVAL if thread.state.wait is None else EIDRM
    return system.ipc.queues.find(number, thread.process.state.credentials, wanted, error)


@system_call(189)
def msgsnd(system: System, thread: Thread, number: Int, message: Address, size: Size, flags: Int) -> int:
    """Send a message: its type, a long, and `size` bytes behind it."""
    kind = int.from_bytes(thread.space.read(message, 8), "little", signed=True)
    if kind < 1 or size > LONGEST:
        raise LinuxError(EINVAL)
    data = thread.space.read(message + 8, size)
    queue = _find(system, thread, number, WRITES)
    if queue.size + size > queue.most or len(queue.messages) >= queue.most:
        if flags & IPC_NOWAIT:
            raise LinuxError(EAGAIN)
        raise Blocked(_key(number, "room"), restarts=False)
    queue.messages.append((kind, data))
    queue.sent, queue.sender = system.ipc.now(), thread.process.pid
    system.wake(_key(number, "message"))
    return 0


@system_call(188)
def msgrcv(
    system: System, thread: Thread, number: Int, message: Address, size: Size, kind: Signed, flags: Int
) -> int:
    """Receive a message: the first, the first of a type or of another one, or that of the lowest type."""
    queue = _find(system, thread, number, READS)
    index = _chosen(queue, kind, bool(flags & MSG_EXCEPT))
    if index is None:
        if flags & IPC_NOWAIT:
            raise LinuxError(ENOMSG)
        raise Blocked(_key(number, "message"), restarts=False)
    found, data = queue.messages[index]
    if len(data) > size:
        if not flags & MSG_NOERROR:
            raise LinuxError(E2BIG)
        data = data[:size]
    del queue.messages[index]
    queue.received, queue.receiver = system.ipc.now(), thread.process.pid
    system.wake(_key(number, "room"))
    thread.space.write(message, found.to_bytes(8, "little") + data)
    return len(data)


def _chosen(queue: Queue, kind: int, others: bool) -> int | None:
    """Return the index of the message to be received."""
    kinds = [one for one, _ in queue.messages]
    if kind < 0:
        lowest = min((one for one in kinds if one <= -kind), default=None)
        return None if lowest is None else kinds.index(lowest)
    if not kind:
        return 0 if kinds else None
    return next((at for at, one in enumerate(kinds) if (one == kind) != others), None)


@system_call(187)
def msgctl(
    system: System, thread: Thread, number: Int, command: Annotated[int, Choice(_COMMANDS)], data: Address
) -> int:
    """Tell of a queue, change its owner and its size, or remove it."""
    table, who, space = system.ipc.queues, thread.process.state.credentials, thread.space
    if command == IPC_STAT:
        one = table.find(number, who, READS)
        told = MsqIdDs(
            IPC_PERM.pack(ipc.permissions(one)), one.sent, one.received, one.changed, one.size,
            len(one.messages), one.most, one.sender, one.receiver,
        )  # fmt: skip
        space.write(data, MSQID_DS.pack(told))
        return 0
    one = table.owned(number, who)
    if command == IPC_SET:
        wanted = MSQID_DS.unpack(space.read(data, MSQID_DS.size))
        if wanted.most > MOST and not who.may(CAP_SYS_RESOURCE):
            raise LinuxError(EPERM)
        one.most = min(wanted.most, 4 * MOST)
        ipc.set_owner(one, IPC_PERM.unpack(wanted.perm), system.ipc.now())
    else:
        del table.state.objects[number]
        system.wake(_key(number, "message"))
    system.wake(_key(number, "room"))
    return 0
