"""System calls about files. Signatures as in `syscalls`; what may be opened is decided in `files`."""

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pltvm.host.linux.device import EnclaveFile
from pltvm.host.linux.errno import (
    EACCES,
    EINVAL,
    ENOENT,
    ENOTDIR,
    ENOTTY,
    ERANGE,
    ESPIPE,
    LinuxError,
)
from pltvm.host.linux.files import AT_FDCWD, File, HostFile
from pltvm.host.linux.threads import Thread

if TYPE_CHECKING:
    from pltvm.host.linux.process import Process

LARGEST_IO: Final = 16 << 20  # bytes of one read or write; more is done in parts, as POSIX allows
_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_EMPTY_PATH = 0x100, 0x200, 0x1000
_TCGETS, _TIOCGWINSZ = 0x5401, 0x5413


def fd(value: int) -> int:
    """A descriptor argument as the signed 32-bit number that it is."""
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def openat(
    process: "Process", _thread: Thread, folder: int, path: int, flags: int, mode: int, *_: int
) -> int:
    """Open a file beneath the root, or a device."""
    return process.files.open(fd(folder), process.space.string(path), flags, mode)


def close(process: "Process", _thread: Thread, file: int, *_: int) -> int:
    """Close a descriptor."""
    process.files.close(fd(file))
    return 0


def read(process: "Process", _thread: Thread, file: int, buffer: int, size: int, *_: int) -> int:
    """Read from the current offset."""
    data = process.files.get(fd(file)).read(min(size, LARGEST_IO))
    process.space.write(buffer, data)
    return len(data)


def write(process: "Process", _thread: Thread, file: int, buffer: int, size: int, *_: int) -> int:
    """Write at the current offset."""
    opened = process.files.get(fd(file))
    return opened.write(process.space.read(buffer, min(size, LARGEST_IO)))


def _vectors(process: "Process", vectors: int, count: int) -> list[tuple[int, int]]:
    if not 0 <= count <= 1024:
        raise LinuxError(EINVAL)
    raw = process.space.read(vectors, 16 * count)
    words = memoryview(raw).cast("Q").tolist()
    return list(zip(words[::2], words[1::2], strict=True))


def readv(process: "Process", thread: Thread, file: int, vectors: int, count: int, *_: int) -> int:
    """Read into several buffers."""
    total = 0
    for buffer, size in _vectors(process, vectors, count):
        got = read(process, thread, file, buffer, size) if size else 0
        total += got
        if got < size:
            break
    return total


def writev(process: "Process", thread: Thread, file: int, vectors: int, count: int, *_: int) -> int:
    """Write several buffers."""
    opened = process.files.get(fd(file))
    parts = [process.space.read(at, min(size, LARGEST_IO)) for at, size in _vectors(process, vectors, count)]
    return opened.write(b"".join(parts))


def _host_file(process: "Process", file: int) -> HostFile:
    opened = process.files.get(fd(file))
    if not isinstance(opened, HostFile):
        raise LinuxError(ESPIPE)
    return opened


def pread64(
    process: "Process", _thread: Thread, file: int, buffer: int, size: int, offset: int, *_: int
) -> int:
    """Read at an offset."""
    data = _host_file(process, file).read_at(min(size, LARGEST_IO), offset)
    process.space.write(buffer, data)
    return len(data)


def pwrite64(
    process: "Process", _thread: Thread, file: int, buffer: int, size: int, offset: int, *_: int
) -> int:
    """Write at an offset."""
    opened = _host_file(process, file)
    here = opened.seek(0, os.SEEK_CUR)
    opened.seek(offset, os.SEEK_SET)
    try:
        return opened.write(process.space.read(buffer, min(size, LARGEST_IO)))
    finally:
        opened.seek(here, os.SEEK_SET)


def lseek(process: "Process", _thread: Thread, file: int, offset: int, whence: int, *_: int) -> int:
    """Move the offset."""
    return process.files.get(fd(file)).seek(offset - (1 << 64) if offset >> 63 else offset, whence)


def ftruncate(process: "Process", _thread: Thread, file: int, size: int, *_: int) -> int:
    """Set a file's length."""
    opened = process.files.get(fd(file))
    if not isinstance(opened, HostFile):
        raise LinuxError(EINVAL)
    opened.truncate(size)
    return 0


def pack_stat(file: File | os.stat_result) -> bytes:
    """riscv64's `struct stat`. Owners, inode numbers and times are constant, so that runs repeat."""
    info = file.stat() if isinstance(file, File) else file
    mode = info.st_mode if info is not None else file.mode if isinstance(file, File) else 0
    size = info.st_size if info is not None else 0
    words32 = b"".join(value.to_bytes(4, "little") for value in (mode, 1, 0, 0))
    device = (0x8801 if stat.S_ISCHR(mode) else 0).to_bytes(8, "little")
    blocks = (size + 511) // 512
    return (
        (1).to_bytes(8, "little") + (1).to_bytes(8, "little") + words32 + device + bytes(8)
        + size.to_bytes(8, "little") + (4096).to_bytes(4, "little") + bytes(4)
        + blocks.to_bytes(8, "little") + bytes(48 + 8)
    )  # fmt: skip


def fstat(process: "Process", _thread: Thread, file: int, result: int, *_: int) -> int:
    """The state of an open file."""
    process.space.write(result, pack_stat(process.files.get(fd(file))))
    return 0


def newfstatat(
    process: "Process", _thread: Thread, folder: int, path: int, result: int, flags: int, *_: int
) -> int:
    """The state of a path."""
    process.space.write(result, pack_stat(_stat(process, folder, path, flags)))
    return 0


def _stat(process: "Process", folder: int, path: int, flags: int) -> File | os.stat_result:
    name = process.space.string(path)
    if not name and flags & _AT_EMPTY_PATH:
        return process.files.get(fd(folder))
    return process.files.stat(fd(folder), name, not flags & _AT_SYMLINK_NOFOLLOW)


def statx(
    process: "Process", _thread: Thread, folder: int, path: int, flags: int, _mask: int, result: int, *_: int
) -> int:
    """The state of a path, in the newer form."""
    file = _stat(process, folder, path, flags)
    info = file.stat() if isinstance(file, File) else file
    mode = info.st_mode if info is not None else file.mode if isinstance(file, File) else 0
    size = info.st_size if info is not None else 0
    data = (0x7FF).to_bytes(4, "little") + (4096).to_bytes(4, "little") + bytes(8) + (1).to_bytes(4, "little")
    data += bytes(8) + mode.to_bytes(2, "little") + bytes(2) + (1).to_bytes(8, "little")
    data += size.to_bytes(8, "little") + ((size + 511) // 512).to_bytes(8, "little")
    process.space.write(result, data.ljust(256, b"\0"))
    return 0


def faccessat(process: "Process", _thread: Thread, folder: int, path: int, mode: int, *_: int) -> int:
    """Whether a file may be read or written."""
    name = process.space.string(path)
    if os.fsdecode(name) in process.files.devices:
        return 0
    real = process.files.resolve(fd(folder), name)
    if not real.exists():
        raise LinuxError(ENOENT)
    if not os.access(real, mode & 7):
        raise LinuxError(EACCES)
    return 0


def readlinkat(
    process: "Process", _thread: Thread, folder: int, path: int, buffer: int, size: int, *_: int
) -> int:
    """Where a link points; `/proc/self/exe` is the program."""
    name = process.space.string(path)
    if name == b"/proc/self/exe":
        target = b"/" + os.path.basename(process.program_name)
    else:
        real = process.files.resolve(fd(folder), name, follow=False)
        if not real.is_symlink():
            raise LinuxError(EINVAL if real.exists() else ENOENT)
        target = os.fsencode(os.readlink(real))
    process.space.write(buffer, target[:size])
    return min(len(target), size)


def getcwd(process: "Process", _thread: Thread, buffer: int, size: int, *_: int) -> int:
    """The current folder, which is the root."""
    if size < 2:
        raise LinuxError(ERANGE)
    process.space.write(buffer, b"/\0")
    return 2


def unlinkat(process: "Process", _thread: Thread, folder: int, path: int, flags: int, *_: int) -> int:
    """Remove a file, or an empty folder."""
    real = process.files.resolve(fd(folder), process.space.string(path), follow=False)
    process.files.change(os.rmdir if flags & _AT_REMOVEDIR else os.unlink, real)
    return 0


def mkdirat(process: "Process", _thread: Thread, folder: int, path: int, *_: int) -> int:
    """Make a folder."""
    process.files.change(os.mkdir, process.files.resolve(fd(folder), process.space.string(path)))
    return 0


def renameat2(
    process: "Process",
    _thread: Thread,
    old_folder: int,
    old: int,
    new_folder: int,
    new: int,
    flags: int,
    *_: int,
) -> int:
    """Rename a file."""
    if flags:
        raise LinuxError(EINVAL)
    files, text = process.files, process.space.string
    files.change(
        os.rename,
        files.resolve(fd(old_folder), text(old), follow=False),
        files.resolve(fd(new_folder), text(new), follow=False),
    )
    return 0


def renameat(
    process: "Process", thread: Thread, old_folder: int, old: int, new_folder: int, new: int, *_: int
) -> int:
    """Rename a file."""
    return renameat2(process, thread, old_folder, old, new_folder, new, 0)


def fsync(process: "Process", _thread: Thread, file: int, *_: int) -> int:
    """Nothing to do: writes are not held back."""
    process.files.get(fd(file))
    return 0


def chdir(process: "Process", _thread: Thread, path: int, *_: int) -> int:
    """Only the root can be the current folder."""
    real = process.files.resolve(AT_FDCWD, process.space.string(path))
    if not real.is_dir():
        raise LinuxError(ENOTDIR)
    if real != process.files.root:
        raise LinuxError(EACCES)
    return 0


def dup(process: "Process", _thread: Thread, file: int, *_: int) -> int:
    """Another descriptor for an open file."""
    return process.files.add(process.files.get(fd(file)))


def dup3(process: "Process", _thread: Thread, old: int, new: int, *_: int) -> int:
    """A given descriptor for an open file."""
    if fd(old) == fd(new):
        raise LinuxError(EINVAL)
    return process.files.put(fd(new), process.files.get(fd(old)))


def fcntl(process: "Process", _thread: Thread, file: int, command: int, argument: int, *_: int) -> int:
    """Duplicate (0, 1030); flags read as plain, and setting them changes nothing."""
    opened = process.files.get(fd(file))
    if command in (0, 1030):
        return process.files.add(opened, fd(argument))
    if command == 3:
        return 2 if not isinstance(opened, HostFile) else 0
    if command in (1, 2, 4):
        return 0
    raise LinuxError(EINVAL)


def ioctl(process: "Process", thread: Thread, file: int, request: int, argument: int, *_: int) -> int | None:
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


def ppoll(process: "Process", _thread: Thread, polls: int, count: int, *_: int) -> int:
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
    17: getcwd, 23: dup, 24: dup3, 25: fcntl, 29: ioctl, 34: mkdirat, 35: unlinkat, 38: renameat,
    46: ftruncate, 48: faccessat, 49: chdir, 56: openat, 57: close, 62: lseek, 63: read, 64: write,
    65: readv, 66: writev, 67: pread64, 68: pwrite64, 73: ppoll, 78: readlinkat, 79: newfstatat, 80: fstat,
    82: fsync, 83: fsync, 276: renameat2, 291: statx, 439: faccessat,
}  # fmt: skip
