"""Folders: reading them, and the current folder of a process."""

from errno import EBADF, EINVAL, ENOENT, ENOTDIR, ERANGE
from struct import Struct
from typing import Final

from pltvm.host.linux.arguments import Buffer, Fd, Path, Size
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.open_flags import O_DIRECTORY, O_PATH
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import DIRENT
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_HEAD: Final = Struct("<QqHB")  # as DIRENT, without the padding: the name begins there
_LARGEST: Final = 1 << 20  # bytes of entries returned by one call
assert DIRENT.size >= _HEAD.size


@system_call(61)
def getdents64(system: System, thread: Thread, file: Fd, buffer: Buffer, size: Size) -> int:
    """Read the next entries of a folder, as many as fit."""
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    listing = file.listing
    if listing is None:
        raise LinuxError(ENOTDIR)
    rest, data, count = listing.rest(), bytearray(), 0
    size = min(size, _LARGEST)
    for one in rest:
        length = (_HEAD.size + len(one.name) + 1 + 7) & ~7
        if len(data) + length > size:
            break
        count += 1
        data += _HEAD.pack(one.inode, listing.offset + count, length, one.mode >> 12 & 15)
        data += one.name.ljust(length - _HEAD.size, b"\0")
    if rest and not count:
        raise LinuxError(EINVAL)
    thread.space.write(buffer, bytes(data))
    listing.offset += count
    return len(data)


@system_call(17)
def getcwd(system: System, thread: Thread, buffer: Buffer, size: Size) -> int:
    """Get the current folder."""
    folder = thread.process.folder
    if not folder.status().links:
        raise LinuxError(ENOENT)
    name = folder.name() + b"\0"
    if size < len(name):
        raise LinuxError(ERANGE)
    thread.space.write(buffer, name)
    return len(name)


@system_call(49)
def chdir(system: System, thread: Thread, path: Path) -> int:
    """Change the current folder."""
    return _go(system, thread, system.fs.open(thread.process.folder, path, O_PATH | O_DIRECTORY, 0))


@system_call(50)
def fchdir(system: System, thread: Thread, file: Fd) -> int:
    """Change the current folder to an open one."""
    if file.listing is None:
        raise LinuxError(ENOTDIR)
    return _go(system, thread, file.again(O_PATH | O_DIRECTORY))


def _go(system: System, thread: Thread, folder: File) -> int:
    state = thread.process.state
    system.add_file(folder).users += 1
    system.open_files.give_up(state.folder)
    state.folder = folder.number
    return 0
