"""System calls that take a path, and those about the state of files. Signatures as in `syscalls`.

What a path may lead to is decided in `paths` and `files`.
"""

import os
import stat
from collections.abc import Callable
from typing import Final

from pltvm.host.linux.errno import EACCES, EINVAL, ERANGE, LinuxError
from pltvm.host.linux.file import File
from pltvm.host.linux.files import AT_FDCWD, Files
from pltvm.host.linux.fs_calls import fd
from pltvm.host.linux.process import Process
from pltvm.host.linux.signal_calls import signed
from pltvm.host.linux.threads import Thread

_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_EACCESS, _AT_EMPTY_PATH = 0x100, 0x200, 0x200, 0x1000


def openat(process: Process, _thread: Thread, folder: int, path: int, flags: int, mode: int, *_: int) -> int:
    """Open a file beneath the root, or a device."""
    return process.files.open(fd(folder), process.space.string(path), flags, mode)


def _state(files: Files, file: File | os.stat_result) -> tuple[int, int, int]:
    """Mode, size and inode number of a file."""
    info = file.stat() if isinstance(file, File) else file
    if info is None:
        assert isinstance(file, File)
        return file.mode, 0, 1
    return info.st_mode, info.st_size, files.number(info)


def pack_stat(files: Files, file: File | os.stat_result) -> bytes:
    """riscv64's `struct stat`. Owners and times are constant, and inode numbers ours, so that runs repeat."""
    mode, size, number = _state(files, file)
    words32 = b"".join(value.to_bytes(4, "little") for value in (mode, 1, 0, 0))
    device = (0x8801 if stat.S_ISCHR(mode) else 0).to_bytes(8, "little")
    blocks = (size + 511) // 512
    return (
        (1).to_bytes(8, "little") + number.to_bytes(8, "little") + words32 + device + bytes(8)
        + size.to_bytes(8, "little") + (4096).to_bytes(4, "little") + bytes(4)
        + blocks.to_bytes(8, "little") + bytes(48 + 8)
    )  # fmt: skip


def fstat(process: Process, _thread: Thread, file: int, result: int, *_: int) -> int:
    """The state of an open file."""
    process.space.write(result, pack_stat(process.files, process.files.get(fd(file))))
    return 0


def newfstatat(
    process: Process, _thread: Thread, folder: int, path: int, result: int, flags: int, *_: int
) -> int:
    """The state of a path."""
    process.space.write(result, pack_stat(process.files, _stat(process, folder, path, flags)))
    return 0


def _stat(process: Process, folder: int, path: int, flags: int) -> File | os.stat_result:
    name = process.space.string(path)
    if not name and flags & _AT_EMPTY_PATH:
        if fd(folder) != AT_FDCWD:
            return process.files.get(fd(folder))
        name = b"."
    return process.files.stat(fd(folder), name, not flags & _AT_SYMLINK_NOFOLLOW)


def statx(
    process: Process, _thread: Thread, folder: int, path: int, flags: int, _mask: int, result: int, *_: int
) -> int:
    """The state of a path, in the newer form."""
    mode, size, number = _state(process.files, _stat(process, folder, path, flags))
    data = (0x7FF).to_bytes(4, "little") + (4096).to_bytes(4, "little") + bytes(8) + (1).to_bytes(4, "little")
    data += bytes(8) + mode.to_bytes(2, "little") + bytes(2) + number.to_bytes(8, "little")
    data += size.to_bytes(8, "little") + ((size + 511) // 512).to_bytes(8, "little")
    process.space.write(result, data.ljust(256, b"\0"))
    return 0


def faccessat(process: Process, thread: Thread, folder: int, path: int, mode: int, *_: int) -> int:
    """Whether a file may be read, written, executed."""
    return faccessat2(process, thread, folder, path, mode, 0)


def faccessat2(
    process: Process, _thread: Thread, folder: int, path: int, mode: int, flags: int, *_: int
) -> int:
    """The same, with flags: of a link itself, and by the effective user, which is the same here."""
    if mode & ~7 or flags & ~(_AT_SYMLINK_NOFOLLOW | _AT_EACCESS):
        raise LinuxError(EINVAL)
    process.files.access(fd(folder), process.space.string(path), mode, not flags & _AT_SYMLINK_NOFOLLOW)
    return 0


def readlinkat(
    process: Process, _thread: Thread, folder: int, path: int, buffer: int, size: int, *_: int
) -> int:
    """Where a link points; `/proc/self/exe` is the program."""
    room = signed(size, 32)
    if room <= 0:
        raise LinuxError(EINVAL)
    name = process.space.string(path)
    if name == b"/proc/self/exe":
        target = b"/" + os.path.basename(process.state.name)
    else:
        target = process.files.read_link(fd(folder), name)
    process.space.write(buffer, target[:room])
    return min(len(target), room)


def getcwd(process: Process, _thread: Thread, buffer: int, size: int, *_: int) -> int:
    """The current folder, which is the root."""
    if size < 2:
        raise LinuxError(ERANGE)
    process.space.write(buffer, b"/\0")
    return 2


def chdir(process: Process, _thread: Thread, path: int, *_: int) -> int:
    """Only the root can be the current folder."""
    if not process.files.is_root(AT_FDCWD, process.space.string(path)):
        raise LinuxError(EACCES)
    return 0


def unlinkat(process: Process, _thread: Thread, folder: int, path: int, flags: int, *_: int) -> int:
    """Remove a file, or an empty folder."""
    if flags & ~_AT_REMOVEDIR:
        raise LinuxError(EINVAL)
    remove = process.files.remove_folder if flags else process.files.unlink
    remove(fd(folder), process.space.string(path))
    return 0


def mkdirat(process: Process, _thread: Thread, folder: int, path: int, mode: int, *_: int) -> int:
    """Make a folder."""
    process.files.make_folder(fd(folder), process.space.string(path), mode)
    return 0


def renameat2(
    process: Process,
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
    text = process.space.string
    process.files.rename(fd(old_folder), text(old), fd(new_folder), text(new))
    return 0


def renameat(
    process: Process, thread: Thread, old_folder: int, old: int, new_folder: int, new: int, *_: int
) -> int:
    """Rename a file."""
    return renameat2(process, thread, old_folder, old, new_folder, new, 0)


SYSTEM_CALLS: Final[dict[int, Callable[..., int | None]]] = {
    17: getcwd, 34: mkdirat, 35: unlinkat, 38: renameat, 48: faccessat, 49: chdir, 56: openat,
    78: readlinkat, 79: newfstatat, 80: fstat, 276: renameat2, 291: statx, 439: faccessat2,
}  # fmt: skip
