"""Open files: reading, writing, descriptors."""

from collections.abc import Callable
from errno import EBADF, EFAULT, EFBIG, EINVAL, EPIPE
from typing import Annotated, Final

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import (
    Address,
    Buffer,
    Bytes,
    Fd,
    FdNumber,
    Flags,
    Int,
    Kind,
    Signed,
    Size,
    Unsigned,
    Word,
)
from pltvm.host.linux.calls import contents, locks
from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.console import Console
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.pipe import PipeEnd
from pltvm.host.linux.files.sockets.file import SocketFile
from pltvm.host.linux.open_flags import (
    O_APPEND,
    O_CLOEXEC,
    O_DIRECT,
    O_LARGEFILE,
    O_NONBLOCK,
    O_PATH,
    SETTABLE,
)
from pltvm.host.linux.process import MOST_FILES, Descriptor, Limit, Process, Thread
from pltvm.host.linux.space import USER_END
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.waits import Blocked

LARGEST_IO: Final = 16 << 20  # bytes of one call, in all its buffers: POSIX allows it to do less
_LARGEST_ROOM: Final = 1 << 20  # of a pipe, and more than that of a socket
MOST_VECTORS: Final = 1024
_FIONBIO, _FIOCLEX, _FIONCLEX = 0x5421, 0x5451, 0x5450
_AT_MOST: Final = 1 << 31


def _room(buffer: int, size: int) -> int:
    """Return how much of a buffer one call may use; raises LinuxError(EFAULT) if it is not in user memory."""
    if buffer + size > USER_END:
        raise LinuxError(EFAULT)
    return min(size, LARGEST_IO)


@system_call(57)
def close(system: System, thread: Thread, descriptor: FdNumber) -> int:
    """Close a descriptor."""
    if descriptor not in thread.process.state.descriptors:
        raise LinuxError(EBADF)
    system.close(thread.process, descriptor)
    return 0


@system_call(436)
def close_range(
    system: System,
    thread: Thread,
    first: Unsigned,
    last: Unsigned,
    flags: Annotated[int, Flags({"CLOSE_RANGE_UNSHARE": 2, "CLOSE_RANGE_CLOEXEC": 4})],
) -> int:
    """Close descriptors, or let `execve` close them."""
    if first > last:
        raise LinuxError(EINVAL)
    open_ones = thread.process.state.descriptors
    for number in [one for one in open_ones if first <= one <= last]:
        if flags & 4:
            open_ones[number] = open_ones[number]._replace(closes=True)
        else:
            system.close(thread.process, number)
    return 0


@system_call(63)
def read(system: System, thread: Thread, file: Fd, buffer: Buffer, size: Size) -> int:
    """Read from the current offset."""
    data = file.read(_room(buffer, size))
    try:
        thread.process.space.write(buffer, data)
    except LinuxError:
        file.unread(data)
        raise
    system.scheduler.copied(len(data))
    return len(data)


@system_call(64)
def write(system: System, thread: Thread, file: Fd, buffer: Bytes, size: Size) -> int:
    """Write at the current offset."""
    return send(system, thread, file, thread.process.space.read(buffer, _room(buffer, size)), file.write)


def send(
    system: System,
    thread: Thread,
    file: File,
    data: bytes,
    write_it: Callable[[bytes], int],
    quiet: bool = False,
) -> int:
    """Write all of `data`, or wait; bytes written before a wait are counted in the wait's state.

    For output to the outside the result is set first, as the function there may take a snapshot. Writing
    without a reader also sends a signal, unless `quiet`.
    """
    if isinstance(file, Console):
        thread.answer(len(data))
    elif isinstance(file, HostFile) and (limit := thread.process.limit(Limit.FSIZE)) < _AT_MOST:
        file.must_write()
        data = _within_limit(system, thread, file, data, limit)
    state = thread.state
    done = state.done
    try:
        while True:
            done += write_it(data[done:] if done else data)
            if done >= len(data):
                break
    except Blocked as blocked:
        state.done = done  # of the waiting call
        if done and signals.waiting(thread) and not blocked.wait.firm:
            state.done = 0
            return done
        raise
    except LinuxError as error:
        state.done = 0
        if done:
            return done
        if error.number == EPIPE and file.warns and not quiet:
            signals.broken_pipe(system, thread)
        raise
    state.done = 0
    system.scheduler.copied(done)
    return done


def _within_limit(
    system: System, thread: Thread, file: File, data: bytes, limit: int, at: int | None = None
) -> bytes:
    """Return what fits into RLIMIT_FSIZE; raises LinuxError(EFBIG), with SIGXFSZ, if nothing does."""
    if file.flags & O_APPEND:
        at = file.status().size
    elif at is None:
        at = file.seek(0, 1)
    if data and at >= limit:
        signals.send_own(system, thread, signals.SIGXFSZ)
        raise LinuxError(EFBIG)
    return data[: limit - at]


def write_at(system: System, thread: Thread, file: File, data: bytes, offset: int) -> int:
    """Write at an offset, as far as RLIMIT_FSIZE allows."""
    limit = thread.process.limit(Limit.FSIZE)
    if limit < _AT_MOST and isinstance(file, HostFile):
        file.must_write()
        data = _within_limit(system, thread, file, data, limit, offset)
    return file.write_at(data, offset)


# -- several buffers -----------------------------------------------------------------------------------------


def vectors_at(thread: Thread, address: int, count: int) -> list[tuple[int, int]]:
    """Return address and size of the buffers listed there, as far as one call may use them."""
    if not 0 <= count <= MOST_VECTORS:
        raise LinuxError(EINVAL)
    words = memoryview(thread.space.read(address, 16 * count)).cast("Q").tolist()
    buffers, left = [], LARGEST_IO
    for buffer, size in zip(words[::2], words[1::2], strict=True):
        if size >> 63:
            raise LinuxError(EINVAL)
        size = min(_room(buffer, size), left)
        left -= size
        if size:
            buffers.append((buffer, size))
    return buffers


def scatter(thread: Thread, buffers: list[tuple[int, int]], data: bytes) -> int:
    """Copy data into buffers; return how much."""
    done = 0
    for buffer, size in buffers:
        part = data[done : done + size]
        try:
            thread.space.write(buffer, part)
        except LinuxError:
            if not done:
                raise
            break
        done += len(part)
    return done


def gather(thread: Thread, buffers: list[tuple[int, int]], most: int = LARGEST_IO) -> bytes:
    """Return the bytes of buffers, up to the first that cannot be read, or with which there are `most`."""
    data = bytearray()
    for buffer, size in buffers:
        if len(data) >= most:
            break
        try:
            data += thread.space.read(buffer, size)
        except LinuxError:
            if not data:
                raise
            break
    return bytes(data)


@system_call(65)
def readv(system: System, thread: Thread, file: Fd, vectors: Address, count: Int) -> int:
    """Read into several buffers."""
    buffers = vectors_at(thread, vectors, count)
    data = file.read(sum(size for _, size in buffers))
    done = 0
    try:
        done = scatter(thread, buffers, data)
    finally:
        if done < len(data):
            file.unread(data[done:])
    return done


@system_call(66)
def writev(system: System, thread: Thread, file: Fd, vectors: Address, count: Int) -> int:
    """Write several buffers, at once."""
    most = _LARGEST_ROOM if file.flags & O_NONBLOCK and _is_stream(file) else LARGEST_IO
    return send(system, thread, file, gather(thread, vectors_at(thread, vectors, count), most), file.write)


def _is_stream(file: File) -> bool:
    """Whether a write that does not wait may write a part."""
    return isinstance(file, PipeEnd) or (isinstance(file, SocketFile) and file.contents.is_stream)


@system_call(67)
def pread64(system: System, thread: Thread, file: Fd, buffer: Buffer, size: Size, offset: Signed) -> int:
    """Read at an offset."""
    if offset < 0:
        raise LinuxError(EINVAL)
    data = file.read_at(_room(buffer, size), offset)
    thread.space.write(buffer, data)
    return len(data)


@system_call(68)
def pwrite64(system: System, thread: Thread, file: Fd, buffer: Bytes, size: Size, offset: Signed) -> int:
    """Write at an offset."""
    if offset < 0:
        raise LinuxError(EINVAL)
    return write_at(system, thread, file, thread.space.read(buffer, _room(buffer, size)), offset)


@system_call(69)
def preadv(system: System, thread: Thread, file: Fd, vectors: Address, count: Int, offset: Signed) -> int:
    """Read at an offset into several buffers."""
    if offset < 0:
        raise LinuxError(EINVAL)
    buffers = vectors_at(thread, vectors, count)
    return scatter(thread, buffers, file.read_at(sum(size for _, size in buffers), offset))


@system_call(70)
def pwritev(system: System, thread: Thread, file: Fd, vectors: Address, count: Int, offset: Signed) -> int:
    """Write several buffers at an offset."""
    if offset < 0:
        raise LinuxError(EINVAL)
    return write_at(system, thread, file, gather(thread, vectors_at(thread, vectors, count)), offset)


@system_call(62)
def lseek(system: System, thread: Thread, file: Fd, offset: Signed, whence: Int) -> int:
    """Move the offset."""
    return file.seek(offset, whence)


@system_call(82, 83)
def fsync(system: System, thread: Thread, file: Fd) -> int:
    """Do nothing: writes are not delayed."""
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    if isinstance(file, PipeEnd):
        raise LinuxError(EINVAL)
    return 0


# -- descriptors ---------------------------------------------------------------------------------------------


@system_call(59)
def pipe2(
    system: System,
    thread: Thread,
    result: Address,
    flags: Annotated[int, Flags({"O_CLOEXEC": O_CLOEXEC, "O_NONBLOCK": O_NONBLOCK, "O_DIRECT": O_DIRECT})],
) -> int:
    """Make a pipe: a descriptor to read from and one to write to."""
    thread.space.write(result, bytes(8))  # fails before anything is made
    numbers = add_all(system, thread.process, system.pipes.pair(flags & ~O_CLOEXEC), bool(flags & O_CLOEXEC))
    thread.space.write(result, b"".join(number.to_bytes(4, "little") for number in numbers))
    return 0


def add_all(system: System, process: Process, files: tuple[File, ...], closes: bool) -> list[int]:
    """Add descriptors for new files, all or none; raises LinuxError(EMFILE)."""
    for file in files:
        system.add_file(file)
    numbers: list[int] = []
    try:
        for file in files:
            numbers.append(process.add(file, closes))
    except LinuxError:
        for number in numbers:
            system.close(process, number)
        for file in files[len(numbers) :]:
            system.open_files.give_up(file.number)
        raise
    return numbers


@system_call(23)
def dup(system: System, thread: Thread, file: Fd) -> int:
    """Make another descriptor for an open file."""
    return thread.process.add(file)


@system_call(24)
def dup3(
    system: System,
    thread: Thread,
    old: FdNumber,
    new: FdNumber,
    flags: Annotated[int, Flags({"O_CLOEXEC": O_CLOEXEC})],
) -> int:
    """Make a given descriptor refer to an open file, replacing what it referred to."""
    process = thread.process
    if old == new:
        raise LinuxError(EINVAL)
    file = process.file(old)
    if not 0 <= new < min(process.limit(Limit.NOFILE), MOST_FILES):
        raise LinuxError(EBADF)
    file.users += 1
    if new in process.state.descriptors:
        system.close(process, new)
    process.state.descriptors[new] = Descriptor(file.number, bool(flags))
    return new


F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
_HARMLESS: Final = {8: 0, 9: 0, 10: 0, 11: 0, 1025: 2}  # F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG, F_GETLEASE
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ = 1030, 1031, 1032


@system_call(25)
def fcntl(system: System, thread: Thread, descriptor: FdNumber, command: Int, argument: Word) -> int:
    """Duplicate a descriptor; get and set flags, locks, the size of a pipe."""
    process = thread.process
    file = process.file(descriptor)
    if file.flags & O_PATH and command not in (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL):
        raise LinuxError(EBADF)
    if command in (F_DUPFD, F_DUPFD_CLOEXEC):
        return process.add(file, command == F_DUPFD_CLOEXEC, argument if argument < 1 << 31 else -1)
    if command == F_GETFD:
        return int(process.state.descriptors[descriptor].closes)
    if command == F_SETFD:
        process.state.descriptors[descriptor] = Descriptor(file.number, bool(argument & 1))
        return 0
    if command == F_GETFL:
        return file.flags & ~O_CLOEXEC | O_LARGEFILE * isinstance(file, HostFile)
    if command == F_SETFL:
        file.flags = file.flags & ~SETTABLE | argument & SETTABLE
        return 0
    if command in locks.COMMANDS:
        return locks.lock_range(system, thread, file, command, argument)
    if command in (contents.F_ADD_SEALS, contents.F_GET_SEALS):
        return contents.seals(system, file, command, argument)
    if command in _HARMLESS:  # there are no such signals and leases
        return _HARMLESS[command]
    if command in (F_SETPIPE_SZ, F_GETPIPE_SZ):
        if not isinstance(file, PipeEnd):
            raise LinuxError(EBADF)
        return file.resize(argument & 0xFFFF_FFFF) if command == F_SETPIPE_SZ else file.contents.room
    system.refuse(f"fcntl {command}")
    raise LinuxError(EINVAL)


class _Request(Kind):
    """The number of an ioctl."""

    def decode(self, thread: Thread, value: int) -> int:
        return value & 0xFFFF_FFFF

    def show(self, thread: Thread, value: int) -> str:
        return hex(value & 0xFFFF_FFFF)


@system_call(29)
def ioctl(
    system: System, thread: Thread, descriptor: FdNumber, request: Annotated[int, _Request()], argument: Word
) -> int | None:
    """Make a request to the enclave device; other files have a few, about terminals and waiting."""
    process = thread.process
    file = process.file(descriptor)
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    if isinstance(file, EnclaveFile):
        return file.ioctl(thread, request, argument)
    if request == _FIONBIO:
        wanted = thread.space.word(argument)
        file.flags = file.flags | O_NONBLOCK if wanted else file.flags & ~O_NONBLOCK
        return 0
    if request in (_FIOCLEX, _FIONCLEX):
        process.state.descriptors[descriptor] = Descriptor(file.number, request == _FIOCLEX)
        return 0
    answer = file.request(request, argument)
    thread.space.write(argument, answer)
    return 0
