"""System calls about open files. Signatures as in `syscalls`; the files are in `files`."""

from collections.abc import Callable
from typing import Final

from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.errno import EFAULT, EINVAL, ENOTTY, ESPIPE, LinuxError
from pltvm.host.linux.file import File, HostFile
from pltvm.host.linux.process import Process
from pltvm.host.linux.signal_calls import signed
from pltvm.host.linux.space import USER_END
from pltvm.host.linux.threads import Thread

LARGEST_IO: Final = 16 << 20  # bytes of one call, all its buffers together: POSIX lets it do less
MOST_VECTORS: Final = 1024
_TCGETS, _TIOCGWINSZ = 0x5401, 0x5413


def fd(value: int) -> int:
    """A descriptor argument as the signed 32-bit number that it is."""
    return signed(value, 32)


def close(process: Process, _thread: Thread, file: int, *_: int) -> int:
    """Close a descriptor."""
    process.files.close(fd(file))
    return 0


def read(process: Process, _thread: Thread, file: int, buffer: int, size: int, *_: int) -> int:
    """Read from the current offset."""
    data = process.files.get(fd(file)).read(_size(buffer, size))
    process.space.write(buffer, data)
    return len(data)


def write(process: Process, thread: Thread, file: int, buffer: int, size: int, *_: int) -> int:
    """Write at the current offset."""
    opened = process.files.get(fd(file))
    return _write(thread, opened, process.space.read(buffer, _size(buffer, size)))


def _write(thread: Thread, file: File, data: bytes) -> int:
    """What goes to the world outside has its answer before: somebody there may take a snapshot."""
    if file.tty:
        thread.answer(len(data))
    return file.write(data)


def _size(buffer: int, size: int) -> int:
    """How much of a buffer one call may use; raises LinuxError(EFAULT) if it is not in user memory."""
    if buffer + size > USER_END:
        raise LinuxError(EFAULT)
    return min(size, LARGEST_IO)


def _vectors(process: Process, vectors: int, count: int) -> list[tuple[int, int]]:
    """Address and size of the buffers at `vectors`, as far as one call may use them."""
    if count > MOST_VECTORS:
        raise LinuxError(EINVAL)
    words = memoryview(process.space.read(vectors, 16 * count)).cast("Q").tolist()
    buffers, left = [], LARGEST_IO
    for buffer, size in zip(words[::2], words[1::2], strict=True):
        if size >> 63:
            raise LinuxError(EINVAL)
        size = min(_size(buffer, size), left)
        left -= size
        if size:
            buffers.append((buffer, size))
    return buffers


def readv(process: Process, _thread: Thread, file: int, vectors: int, count: int, *_: int) -> int:
    """Read into several buffers."""
    opened = process.files.get(fd(file))
    buffers = _vectors(process, vectors, count)
    data, done = opened.read(sum(size for _, size in buffers)), 0
    for buffer, size in buffers:
        part = data[done : done + size]
        try:
            process.space.write(buffer, part)
        except LinuxError:
            if not done:
                raise
            break
        done += len(part)
    return done


def writev(process: Process, thread: Thread, file: int, vectors: int, count: int, *_: int) -> int:
    """Write several buffers, at once."""
    opened = process.files.get(fd(file))
    data = bytearray()
    for buffer, size in _vectors(process, vectors, count):
        try:
            data += process.space.read(buffer, size)
        except LinuxError:
            if not data:
                raise
            break
    return _write(thread, opened, bytes(data))


def _host_file(process: Process, file: int) -> HostFile:
    opened = process.files.get(fd(file))
    if not isinstance(opened, HostFile):
        raise LinuxError(ESPIPE)
    return opened


def pread64(
    process: Process, _thread: Thread, file: int, buffer: int, size: int, offset: int, *_: int
) -> int:
    """Read at an offset."""
    data = _host_file(process, file).read_at(_size(buffer, size), signed(offset))
    process.space.write(buffer, data)
    return len(data)


def pwrite64(
    process: Process, _thread: Thread, file: int, buffer: int, size: int, offset: int, *_: int
) -> int:
    """Write at an offset."""
    opened = _host_file(process, file)
    return opened.write_at(process.space.read(buffer, _size(buffer, size)), signed(offset))


def lseek(process: Process, _thread: Thread, file: int, offset: int, whence: int, *_: int) -> int:
    """Move the offset."""
    return process.files.get(fd(file)).seek(signed(offset), whence)


def ftruncate(process: Process, _thread: Thread, file: int, size: int, *_: int) -> int:
    """Set a file's length."""
    opened = process.files.get(fd(file))
    if not isinstance(opened, HostFile):
        raise LinuxError(EINVAL)
    opened.truncate(signed(size))
    return 0


def fsync(process: Process, _thread: Thread, file: int, *_: int) -> int:
    """Nothing to do: writes are not held back."""
    process.files.get(fd(file))
    return 0


def dup(process: Process, _thread: Thread, file: int, *_: int) -> int:
    """Another descriptor for an open file."""
    return process.files.add(process.files.get(fd(file)))


def dup3(process: Process, _thread: Thread, old: int, new: int, *_: int) -> int:
    """A given descriptor for an open file."""
    if fd(old) == fd(new):
        raise LinuxError(EINVAL)
    return process.files.put(fd(new), process.files.get(fd(old)))


def fcntl(process: Process, _thread: Thread, file: int, command: int, argument: int, *_: int) -> int:
    """Duplicate (0, 1030); read the flags of open (3); setting flags changes nothing."""
    opened = process.files.get(fd(file))
    if command in (0, 1030):
        return process.files.add(opened, fd(argument))
    if command == 3:
        return opened.flags
    if command in (1, 2, 4):
        return 0
    raise LinuxError(EINVAL)


def ioctl(process: Process, thread: Thread, file: int, request: int, argument: int, *_: int) -> int | None:
    """Requests to the enclave device, and the two that ask whether this is a terminal."""
    opened = process.files.get(fd(file))
    request &= 0xFFFF_FFFF
    if isinstance(opened, EnclaveFile):
        return opened.ioctl(thread, request, argument)
    if opened.tty and request == _TCGETS:
        process.space.write(argument, bytes(36))
        return 0
    if opened.tty and request == _TIOCGWINSZ:
        process.space.write(argument, b"".join(n.to_bytes(2, "little") for n in (24, 80, 0, 0)))
        return 0
    raise LinuxError(ENOTTY)


def ppoll(process: Process, _thread: Thread, polls: int, count: int, *_: int) -> int:
    """Everything is always ready."""
    if count > 1024:
        raise LinuxError(EINVAL)
    ready = 0
    for index in range(count):
        raw = process.space.read(polls + 8 * index, 8)
        wanted = int.from_bytes(raw[4:6], "little")
        try:
            process.files.get(fd(int.from_bytes(raw[:4], "little")))
        except LinuxError:
            wanted = 0x20  # POLLNVAL
        process.space.write(polls + 8 * index + 6, wanted.to_bytes(2, "little"))
        ready += wanted != 0
    return ready


SYSTEM_CALLS: Final[dict[int, Callable[..., int | None]]] = {
    23: dup, 24: dup3, 25: fcntl, 29: ioctl, 46: ftruncate, 57: close, 62: lseek, 63: read, 64: write,
    65: readv, 66: writev, 67: pread64, 68: pwrite64, 73: ppoll, 82: fsync, 83: fsync,
}  # fmt: skip
