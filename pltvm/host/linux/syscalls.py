"""The system calls of Linux programs: riscv64's numbers, and a function for each.

A function gets the process, the calling thread and its six arguments, and gives the result, or None when the
thread does not go on now. It raises LinuxError for an error number. What is missing here gives ENOSYS.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pltvm.engine.context import SP, TP, Context
from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import OutOfMemory
from pltvm.host.linux import fs_calls, path_calls, signal_calls
from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.errno import EAGAIN, EBADF, EINVAL, ENOMEM, ENOSYS, EOVERFLOW, EPERM, LinuxError
from pltvm.host.linux.file import LARGEST_OFFSET, HostFile
from pltvm.host.linux.process import Process
from pltvm.host.linux.program import BREAK_LIMIT
from pltvm.host.linux.signal_calls import signed
from pltvm.host.linux.space import EXEC, USER_END
from pltvm.host.linux.threads import Thread

SystemCall = Callable[..., int | None]
MAP_SHARED, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 1, 0x10, 0x20, 0x100000
CLONE_VM, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID = 0x100, 0x100000, 0x200000
CLONE_SETTLS, CLONE_CHILD_SETTID = 0x80000, 0x1000000


# -- memory ------------------------------------------------------------------------------------------------


def brk(process: Process, _thread: Thread, end: int, *_: int) -> int:
    """Move the end of the heap; gives where it is then."""
    space, state = process.space, process.space.state
    old = state.break_end
    if not state.break_start <= end <= state.break_start + BREAK_LIMIT:
        return old
    first, last = pages_for(old) * PAGE, pages_for(end) * PAGE
    if last > first:
        if space.overlaps(first, last):
            return old
        space.map(first, last - first, 3)
    elif last < first:
        space.unmap(last, first - last)
    state.break_end = end
    return end


def mmap(
    process: Process, _thread: Thread, address: int, size: int, prot: int, flags: int, fd: int, offset: int
) -> int:
    """Map anonymous memory, a private copy of a file, or what the enclave device has ready."""
    space = process.space
    if not 0 < size < USER_END or offset % PAGE:
        raise LinuxError(EINVAL)
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    length = pages_for(size) * PAGE
    if fixed and (address % PAGE or not PAGE <= address <= USER_END - length):
        raise LinuxError(EINVAL)
    if not fixed:
        hinted = PAGE <= address <= USER_END - length and not address % PAGE
        address = address if hinted and not space.overlaps(address, address + length) else space.place(length)
    if flags & MAP_ANONYMOUS:
        space.map(address, length, prot & 7)
        return address
    file = process.files.get(signed(fd, 32))
    if isinstance(file, EnclaveFile):
        if prot & EXEC:
            raise LinuxError(EPERM)  # as on a file system without execution
        pa = file.pages_to_map(length)
        space.map(address, length, prot & 7, shared=pa)
        return address
    if not isinstance(file, HostFile):
        raise LinuxError(EBADF)
    if flags & MAP_SHARED and prot & 2:
        raise LinuxError(EINVAL)  # changes would have to reach the file
    if offset + length > LARGEST_OFFSET:
        raise LinuxError(EOVERFLOW)
    space.map(address, length, prot & 7)
    try:
        for at, part in file.parts(size, offset) if offset < file.size() else ():
            process.hart.halt.check()
            space.fill(address + at, part)
    except (OutOfMemory, LinuxError):
        space.unmap(address, length)
        raise
    return address


def munmap(process: Process, _thread: Thread, address: int, size: int, *_: int) -> int:
    """Remove mappings."""
    _check_range(address, size)
    process.space.unmap(address, size)
    return 0


def mprotect(process: Process, _thread: Thread, address: int, size: int, prot: int, *_: int) -> int:
    """Change the protection of pages."""
    if size:
        _check_range(address, size)
        process.space.protect(address, size, prot & 7)
    return 0


def _check_range(address: int, size: int) -> None:
    if address % PAGE or not 0 < size <= USER_END or address + size > USER_END:
        raise LinuxError(EINVAL)


def madvise(process: Process, _thread: Thread, address: int, size: int, advice: int, *_: int) -> int:
    """MADV_DONTNEED drops the pages; other advice is taken for granted."""
    if advice == 4 and size:
        _check_range(address, size)
        process.space.drop(address, size)
    return 0


def mremap(_process: Process, _thread: Thread, *_: int) -> int:
    """Not offered: C libraries then allocate, copy and free."""
    raise LinuxError(ENOMEM)


# -- threads and time --------------------------------------------------------------------------------------


def clone(
    process: Process,
    thread: Thread,
    flags: int,
    stack: int,
    parent_tid: int,
    tls: int,
    child_tid: int,
    *_: int,
) -> int:
    """Start a thread. Processes (fork) are not offered."""
    if not flags & CLONE_VM or not stack:
        raise LinuxError(ENOSYS)
    context = Context(0, table=process.space.table)
    context.regs[:] = thread.context.regs
    context.regs[SP] = stack
    if flags & CLONE_SETTLS:
        context.regs[TP] = tls
    child = process.new_thread(context)
    child.state.signal_mask = thread.state.signal_mask
    child.answer(0)
    if flags & CLONE_CHILD_CLEARTID:
        child.state.clear_tid = child_tid
    for asked, address in ((CLONE_PARENT_SETTID, parent_tid), (CLONE_CHILD_SETTID, child_tid)):
        with suppress(LinuxError):  # as Linux does: the thread is there, and nobody is told
            if flags & asked:
                process.space.write(address, child.tid.to_bytes(4, "little"))
    return child.tid


def futex(
    process: Process,
    thread: Thread,
    address: int,
    operation: int,
    value: int,
    timeout: int,
    second: int,
    third: int,
) -> int | None:
    """Wait for and wake up other threads."""
    command, scheduler = operation & 0x7F, process.scheduler
    if address % 4:
        raise LinuxError(EINVAL)
    if command in (0, 9):  # WAIT, WAIT_BITSET
        if process.space.word(address) != value & 0xFFFF_FFFF:
            raise LinuxError(EAGAIN)
        deadline = None
        if timeout:
            deadline = process.timespec(timeout)
            if command == 0:
                deadline += scheduler.monotonic()
            elif operation & 0x100:  # an absolute time of day
                deadline -= scheduler.time_of_day() - scheduler.monotonic()
        scheduler.block(thread, deadline, futex=address)
        return None
    if command in (1, 10):  # WAKE, WAKE_BITSET
        return scheduler.wake_futex(address, signed(value, 32))
    if command in (3, 4):  # REQUEUE, CMP_REQUEUE
        if command == 4 and process.space.word(address) != third & 0xFFFF_FFFF:
            raise LinuxError(EAGAIN)
        wakes, moves = signed(value, 32), signed(timeout, 32)
        if second % 4 or wakes < 0 or moves < 0:
            raise LinuxError(EINVAL)
        return scheduler.wake_futex(address, wakes) + scheduler.requeue_futex(address, second, moves)
    raise LinuxError(ENOSYS)


def exit_thread(process: Process, thread: Thread, code: int, *_: int) -> None:
    """End the calling thread; the last one ends the process."""
    process.end_thread(thread, code & 0xFF)


def exit_group(process: Process, _thread: Thread, code: int, *_: int) -> None:
    """End the process."""
    process.end(code & 0xFF)


def set_tid_address(_process: Process, thread: Thread, address: int, *_: int) -> int:
    """Say what to clear when the thread ends."""
    thread.state.clear_tid = address
    return thread.tid


def set_robust_list(_process: Process, thread: Thread, head: int, *_: int) -> int:
    """Say where the locks are listed that the thread may die with."""
    thread.state.robust_list = head
    return 0


def sched_yield(process: Process, thread: Thread, *_: int) -> None:
    """Let others run."""
    thread.answer(0)
    process.scheduler.rotate()


def nanosleep(process: Process, thread: Thread, duration: int, *_: int) -> None:
    """Sleep for a time."""
    thread.answer(0)
    process.scheduler.block(thread, process.scheduler.monotonic() + process.timespec(duration))


def clock_nanosleep(process: Process, thread: Thread, clock: int, flags: int, when: int, *_: int) -> None:
    """Sleep for a time, or until a time (flag 1)."""
    scheduler, wanted = process.scheduler, process.timespec(when)
    if not flags & 1:
        wanted += scheduler.monotonic()
    elif clock == 0:
        wanted -= scheduler.time_of_day() - scheduler.monotonic()
    thread.answer(0)
    scheduler.block(thread, wanted)


def clock_gettime(process: Process, _thread: Thread, clock: int, result: int, *_: int) -> int:
    """The time: of day (0, 5), else since the start."""
    now = process.scheduler.time_of_day() if clock in (0, 5) else process.scheduler.monotonic()
    process.space.write(result, _pair(now // 10**9, now % 10**9))
    return 0


def clock_getres(process: Process, _thread: Thread, _clock: int, result: int, *_: int) -> int:
    """1 ns."""
    if result:
        process.space.write(result, _pair(0, 1))
    return 0


def gettimeofday(process: Process, _thread: Thread, result: int, *_: int) -> int:
    """The time of day in seconds and microseconds."""
    now = process.scheduler.time_of_day()
    process.space.write(result, _pair(now // 10**9, now % 10**9 // 1000))
    return 0


def times(process: Process, _thread: Thread, result: int, *_: int) -> int:
    """Processor time in hundredths of a second."""
    ticks = process.scheduler.monotonic() // 10**7
    if result:
        process.space.write(result, _pair(ticks, 0) + _pair(0, 0))
    return ticks


def getrusage(process: Process, _thread: Thread, _who: int, result: int, *_: int) -> int:
    """Processor time; the rest is zero."""
    now = process.scheduler.monotonic()
    process.space.write(result, _pair(now // 10**9, now % 10**9 // 1000) + bytes(128))
    return 0


def _pair(first: int, second: int) -> bytes:
    return first.to_bytes(8, "little") + second.to_bytes(8, "little")


# -- odds and ends -----------------------------------------------------------------------------------------


def prlimit(process: Process, _thread: Thread, _pid: int, resource: int, _new: int, old: int, *_: int) -> int:
    """8 MiB of stack, no other limits."""
    if old:
        limit = 8 << 20 if resource == 3 else (1 << 64) - 1
        process.space.write(old, limit.to_bytes(8, "little") + ((1 << 64) - 1).to_bytes(8, "little"))
    return 0


def uname(process: Process, _thread: Thread, result: int, *_: int) -> int:
    """Linux on riscv64."""
    fields = ("Linux", "pltvm", "6.1.0", "#1", "riscv64", "(none)")
    process.space.write(result, b"".join(field.encode().ljust(65, b"\0") for field in fields))
    return 0


def getrandom(process: Process, _thread: Thread, buffer: int, size: int, *_: int) -> int:
    """Bytes of the seeded generator."""
    process.space.write(buffer, process.random.randbytes(min(size, 1 << 20)))
    return min(size, 1 << 20)


def sysinfo(process: Process, _thread: Thread, result: int, *_: int) -> int:
    """Uptime and memory."""
    words = (process.scheduler.monotonic() // 10**9, 0, 0, 0, process.space.memory.size,
             process.kernel.blocks.free_pages * PAGE, 0, 0, 0, 0)  # fmt: skip
    data = b"".join(word.to_bytes(8, "little") for word in words)
    process.space.write(
        result, data + (1).to_bytes(8, "little") + bytes(8) + (1).to_bytes(4, "little") + bytes(12)
    )
    return 0


def sched_getaffinity(process: Process, _thread: Thread, _pid: int, size: int, mask: int, *_: int) -> int:
    """One processor."""
    if size < 8:
        raise LinuxError(EINVAL)
    process.space.write(mask, (1).to_bytes(8, "little"))
    return 8


def getpid(process: Process, *_: object) -> int:
    """The process."""
    return process.pid


def gettid(_process: Process, thread: Thread, *_: int) -> int:
    """The thread."""
    return thread.tid


def zero(*_: object) -> int:
    """For calls that have nothing to do here."""
    return 0


def nothing(*_: object) -> int:
    """For calls that a C library tries and does without."""
    raise LinuxError(ENOSYS)


SYSTEM_CALLS: Final[dict[int, SystemCall]] = {
    **fs_calls.SYSTEM_CALLS,
    **path_calls.SYSTEM_CALLS,
    **signal_calls.SYSTEM_CALLS,
    93: exit_thread, 94: exit_group, 96: set_tid_address, 98: futex, 99: set_robust_list, 101: nanosleep,
    113: clock_gettime, 114: clock_getres, 115: clock_nanosleep, 122: zero, 123: sched_getaffinity,
    124: sched_yield, 153: times, 160: uname, 165: getrusage, 166: zero,
    167: zero, 169: gettimeofday, 172: getpid, 173: zero, 174: zero, 175: zero, 176: zero, 177: zero,
    178: gettid, 179: sysinfo, 214: brk, 215: munmap, 216: mremap, 220: clone, 222: mmap, 226: mprotect,
    227: zero, 233: madvise, 258: nothing, 259: zero, 261: prlimit, 278: getrandom, 283: zero, 293: nothing,
}  # fmt: skip
"""By number. 258 is riscv_hwprobe and 293 rseq: known, and left to the C library's own ways."""
