"""POSIX message queues: `files.message_queue` has them."""

from errno import EACCES, EBADF, EBUSY, EEXIST, EINVAL, EMFILE, EMSGSIZE, ENOENT, ENOSPC, ENOSYS
from typing import Annotated, Final

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import Address, Fd, Flags, In, Mode, Path, Size, Unsigned
from pltvm.host.linux.credentials import CAP_DAC_OVERRIDE, CAP_SYS_RESOURCE, allowed
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.message_queue import Queue, QueueFile
from pltvm.host.linux.open_flags import (
    O_ACCESS,
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
)
from pltvm.host.linux.process import INFINITY, Limit, SignalInfo, Thread
from pltvm.host.linux.structs import MQ_ATTR, SIGEVENT, TIMESPEC, MqAttr, SigEvent
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD = 0, 1, 2
MOST_QUEUES: Final = 256
USUAL_BYTES: Final = 819_200  # of all queues
PRIORITIES: Final = 32768
_USUAL: Final = (10, 8192)  # messages, bytes of each: also the most of others than root
_MOST: Final = (65536, 16 << 20)
_FLAGS: Final = {
    "O_WRONLY": O_WRONLY, "O_RDWR": O_RDWR, "O_CREAT": O_CREAT, "O_EXCL": O_EXCL, "O_NONBLOCK": O_NONBLOCK,
    "O_CLOEXEC": O_CLOEXEC,
}  # fmt: skip


@system_call(180)
def mq_open(
    system: System,
    thread: Thread,
    name: Path,
    flags: Annotated[int, Flags(_FLAGS)],
    mode: Mode,
    attributes: Address,
) -> int:
    """Open a queue, or make one."""
    if flags & O_ACCESS == O_ACCESS:
        raise LinuxError(EINVAL)
    if not name or b"/" in name or name in (b".", b".."):
        raise LinuxError(EACCES if name else ENOENT)
    state, process = system.queues.state, thread.process
    process.free_descriptor()
    number = state.names.get(name, 0)
    if not number:
        if not flags & O_CREAT:
            raise LinuxError(ENOENT)
        number = system.queues.add(name, _made(system, thread, mode, attributes))
    elif flags & O_CREAT and flags & O_EXCL:
        raise LinuxError(EEXIST)
    else:
        _must_be_allowed(thread, state.queues[number], flags & O_ACCESS)
    file = QueueFile(system.queues, number, flags & (O_ACCESS | O_NONBLOCK))
    return process.add(system.add_file(file), closes=True)


def _made(system: System, thread: Thread, mode: int, attributes: int) -> Queue:
    process = thread.process
    who = process.state.credentials
    most, largest = _USUAL
    if attributes:
        given = MQ_ATTR.unpack(thread.space.read(attributes, MQ_ATTR.size))
        most, largest = given.most, given.largest
    limits = _MOST if who.may(CAP_SYS_RESOURCE) else _USUAL
    if not 0 < most <= limits[0] or not 0 < largest <= limits[1]:
        raise LinuxError(EINVAL)
    if len(system.queues.state.names) >= MOST_QUEUES:
        raise LinuxError(ENOSPC)
    queue = Queue(mode & 0o777 & ~process.state.umask, who.for_files, most, largest)
    limit = process.limit(Limit.MSGQUEUE)
    if system.queues.cost() + queue.cost() > (USUAL_BYTES if limit == INFINITY else limit):
        raise LinuxError(EMFILE)
    return queue


def _must_be_allowed(thread: Thread, queue: Queue, access: int) -> None:
    who = thread.process.state.credentials
    wanted = {O_RDONLY: 4, O_WRONLY: 2, O_RDWR: 6}[access]
    owns, in_group = who.user.files == queue.owner[0], queue.owner[1] in (who.group.files, *who.extra)
    if wanted & ~allowed(queue.mode, owns, in_group) and not who.may(CAP_DAC_OVERRIDE):
        raise LinuxError(EACCES)


@system_call(181)
def mq_unlink(system: System, thread: Thread, name: Path) -> int:
    """Remove a queue's name."""
    if name not in system.queues.state.names:
        raise LinuxError(EACCES if b"/" in name else ENOENT)
    system.queues.remove(name)
    return 0


def _queue(file: File) -> QueueFile:
    if not isinstance(file, QueueFile):
        raise LinuxError(EBADF)
    return file


def _deadline(system: System, thread: Thread, timeout: int) -> tuple[int | None, bool]:
    """Return the end of a wait, a time of the day in memory, and whether that is over."""
    if not timeout:
        return None, False
    end = nanoseconds(TIMESPEC.unpack(thread.space.read(timeout, TIMESPEC.size))) - system.clock.offset()
    return end, end <= system.clock.monotonic()


@system_call(182)
def mq_timedsend(
    system: System,
    thread: Thread,
    file: Fd,
    message: Address,
    size: Size,
    priority: Unsigned,
    timeout: Address,
) -> int:
    """Send a message; wait for room."""
    if priority >= PRIORITIES:
        raise LinuxError(EINVAL)
    deadline, is_late = _deadline(system, thread, timeout)
    one = _queue(file)
    one.must_write()
    queue = one.queue
    if size > queue.largest:
        raise LinuxError(EMSGSIZE)
    data = thread.space.read(message, size)
    if len(queue.messages) >= queue.most:
        one.block("room", deadline, is_late and not one.flags & O_NONBLOCK)
    waits = [each.state.wait for each in system.scheduler.threads.values()]
    was_empty = one.send(priority, data)
    if was_empty and queue.told and not any(wait and one.receivers in wait.keys for wait in waits):
        _notify(system, thread, queue)
    return 0


def _notify(system: System, thread: Thread, queue: Queue) -> None:
    process, queue.told = system.processes.get(queue.told), 0
    if process is not None and queue.signal:
        own = thread.process.state
        user = own.credentials.user.real
        signals.send(system, process, SignalInfo(queue.signal, signals.SI_MESGQ, own.pid, user, queue.value))


@system_call(183)
def mq_timedreceive(
    system: System,
    thread: Thread,
    file: Fd,
    message: Address,
    size: Size,
    priority: Address,
    timeout: Address,
) -> int:
    """Receive the first message of the highest priority; wait for one."""
    deadline, is_late = _deadline(system, thread, timeout)
    one = _queue(file)
    one.must_read()
    if size < one.queue.largest:
        raise LinuxError(EMSGSIZE)
    if not one.queue.messages:
        one.block("message", deadline, is_late and not one.flags & O_NONBLOCK)
    sent, data = one.receive()
    thread.space.write(message, data)
    if priority:
        thread.space.write(priority, sent.to_bytes(4, "little"))
    return len(data)


@system_call(184)
def mq_notify(
    system: System, thread: Thread, file: Fd, event: Annotated[SigEvent | None, In(SIGEVENT, optional=True)]
) -> int:
    """Send the caller a signal for the next message in an empty queue, or no more."""
    queue, pid = _queue(file).queue, thread.process.pid
    if event is None:
        queue.told = 0 if queue.told == pid else queue.told
        return 0
    if event.notify == SIGEV_THREAD:  # needs AF_NETLINK
        system.refuse("mq_notify with SIGEV_THREAD")
        raise LinuxError(ENOSYS)
    if event.notify not in (SIGEV_SIGNAL, SIGEV_NONE):
        raise LinuxError(EINVAL)
    if event.notify == SIGEV_SIGNAL and not 0 <= event.number <= signals.SIGNALS:
        raise LinuxError(EINVAL)
    if queue.told:
        raise LinuxError(EBUSY)
    queue.told, queue.value = pid, event.value
    queue.signal = event.number if event.notify == SIGEV_SIGNAL else 0
    return 0


@system_call(185)
def mq_getsetattr(system: System, thread: Thread, file: Fd, new: Address, old: Address) -> int:
    """Tell of a queue, and set or clear O_NONBLOCK."""
    one = _queue(file)
    queue, flags = one.queue, None
    if new:
        flags = MQ_ATTR.unpack(thread.space.read(new, MQ_ATTR.size)).flags
        if flags & ~O_NONBLOCK:
            raise LinuxError(EINVAL)
    if old:
        told = MqAttr(one.flags & O_NONBLOCK, queue.most, queue.largest, len(queue.messages))
        thread.space.write(old, MQ_ATTR.pack(told))
    if flags is not None:
        one.flags = one.flags & ~O_NONBLOCK | flags
    return 0
