"""epoll: a file that waits for others."""

from errno import EINVAL, EPERM
from typing import Annotated, Final

from pltvm.host.linux.arguments import Address, At, Buffer, Choice, FdNumber, Flags, Int, Word
from pltvm.host.linux.calls.poll import TimeoutAt, set_mask
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.epoll import ADD, DELETE, MODIFY, EpollFile
from pltvm.host.linux.open_flags import O_CLOEXEC
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import EPOLL_EVENT, TIMESPEC, EpollEvent
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds
from pltvm.host.linux.waits import Blocked

MOST_EVENTS: Final = (1 << 31) // EPOLL_EVENT.size
_MILLISECOND: Final = 10**6
Operation = Annotated[
    int, Choice({"EPOLL_CTL_ADD": ADD, "EPOLL_CTL_DEL": DELETE, "EPOLL_CTL_MOD": MODIFY}, others=True)
]


@system_call(20)
def epoll_create1(
    system: System, thread: Thread, flags: Annotated[int, Flags({"EPOLL_CLOEXEC": O_CLOEXEC})]
) -> int:
    """Make an epoll that watches nothing."""
    thread.process.free_descriptor()
    file = system.add_file(EpollFile(system.open_files, system.watches, system))
    return thread.process.add(file, bool(flags))


@system_call(21)
def epoll_ctl(
    system: System,
    thread: Thread,
    epoll: FdNumber,
    operation: Operation,
    descriptor: FdNumber,
    event: Annotated[int, At(EPOLL_EVENT)],
) -> int:
    """Add, change or remove a watched file."""
    wanted = EpollEvent(0, 0)
    if operation != DELETE:
        wanted = EPOLL_EVENT.unpack(thread.space.read(event, EPOLL_EVENT.size))
    watcher, file = thread.process.file(epoll), thread.process.file(descriptor)
    if not isinstance(watcher, EpollFile):
        raise LinuxError(EINVAL if file.pollable else EPERM)
    watcher.control(operation, descriptor, file, *wanted)
    return 0


@system_call(22)
def epoll_pwait(
    system: System,
    thread: Thread,
    epoll: FdNumber,
    events: Buffer,
    most: Int,
    timeout: Int,
    mask: Address,
    size: Word,
) -> int:
    """Wait until a watched file is ready, for a time in milliseconds; a negative one has no end."""
    set_mask(thread, mask, size)
    return _wait(system, thread, epoll, events, most, timeout * _MILLISECOND if timeout >= 0 else None)


@system_call(441)
def epoll_pwait2(
    system: System,
    thread: Thread,
    epoll: FdNumber,
    events: Buffer,
    most: Int,
    timeout: TimeoutAt,
    mask: Address,
    size: Word,
) -> int:
    """Like `epoll_pwait`, with a timespec; without one there is no end."""
    given = TIMESPEC.unpack(thread.space.read(timeout, TIMESPEC.size)) if timeout else None
    time = nanoseconds(given) if given is not None else None
    set_mask(thread, mask, size)
    return _wait(system, thread, epoll, events, most, time)


def _wait(system: System, thread: Thread, number: int, events: int, most: int, timeout: int | None) -> int:
    if not 0 < most <= MOST_EVENTS:
        raise LinuxError(EINVAL)
    epoll = thread.process.file(number)
    if not isinstance(epoll, EpollFile):
        raise LinuxError(EINVAL)
    deadline = thread.deadline(system.clock, timeout) if timeout is not None else None
    system.outside.look()
    found = epoll.ready(most)
    if found:
        interests = epoll.state.interests
        pack = EPOLL_EVENT.struct.pack
        thread.space.write(events, b"".join([pack(seen, interests[target].data) for target, seen in found]))
        epoll.told(found)
        return len(found)
    if timeout == 0 or (deadline is not None and system.clock.monotonic() >= deadline):
        return 0
    raise Blocked(epoll.key, deadline=deadline, restarts=False)
