"""Files by path: opening, making, naming, removing."""

from errno import E2BIG, EAGAIN, EINVAL, ENOENT, EPERM
from typing import Annotated, Final

from pltvm.host.linux.arguments import (
    Buffer,
    Flags,
    Folder,
    In,
    Int,
    Mode,
    Path,
    Size,
    Unsigned,
)
from pltvm.host.linux.calls.at import AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, itself
from pltvm.host.linux.calls.fifos import open_fifo
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs import changes
from pltvm.host.linux.fs.fifo import Fifo
from pltvm.host.linux.fs.paths import CACHED
from pltvm.host.linux.open_flags import NAMES, O_CLOEXEC, O_CREAT, O_PATH, O_TMPFILE, ONLY_OPENING
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import OPEN_HOW, OpenHow
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_ALL: Final = sum(NAMES.values())
_RESOLVE: Final = 0x3F


class _OpenFlags(Flags):
    """Flags of `open`: unknown ones are ignored, as in Linux."""

    def decode(self, thread: Thread, value: int) -> int:
        return value & self.known


OpenFlags = Annotated[int, _OpenFlags(NAMES)]


@system_call(56)
def openat(system: System, thread: Thread, folder: Folder, path: Path, flags: OpenFlags, mode: Mode) -> int:
    """Open a file beneath the root, a device, a named pipe, or a file of /proc."""
    return _open(system, thread, folder, path, flags, mode & 0o7777)


def _open(
    system: System, thread: Thread, folder: File, path: bytes, flags: int, mode: int, resolve: int = 0
) -> int:
    process = thread.process
    process.free_descriptor()
    file = system.fs.open(folder, path, flags, mode & ~process.state.umask, resolve)
    system.fs.notes.opened(file)
    if isinstance(file, Fifo):
        file = open_fifo(system, file, flags)
    if not file.number:
        file.flags &= ~ONLY_OPENING
        system.add_file(file)
    return process.add(file, bool(flags & O_CLOEXEC))


@system_call(437)
def openat2(
    system: System, thread: Thread, folder: Folder, path: Path, how: Annotated[OpenHow, In(OPEN_HOW)],
    size: Size,
) -> int:  # fmt: skip
    """Like `openat`, but strict about flags; it can also restrict the resolution of the path."""
    if size < OPEN_HOW.size:
        raise LinuxError(EINVAL)
    if size > OPEN_HOW.size:
        raise LinuxError(E2BIG)
    creates = how.flags & (O_CREAT | O_TMPFILE)
    if how.flags & ~_ALL or how.resolve & ~_RESOLVE or (how.mode and not creates) or how.mode & ~0o7777:
        raise LinuxError(EINVAL)
    if how.flags & O_PATH and how.flags & ~(O_PATH | O_CLOEXEC | 0o200000 | 0o400000):
        raise LinuxError(EINVAL)
    if how.resolve & 0x18 == 0x18:  # BENEATH and IN_ROOT
        raise LinuxError(EINVAL)
    if how.resolve & CACHED:
        raise LinuxError(EAGAIN)  # nothing is cached
    return _open(system, thread, folder, path, how.flags, how.mode, how.resolve)


@system_call(78)
def readlinkat(system: System, thread: Thread, folder: Folder, path: Path, buffer: Buffer, size: Int) -> int:
    """Read a link; an empty path means a link that is open itself (O_PATH)."""
    if size <= 0:
        raise LinuxError(EINVAL)
    target = system.fs.read_link(folder, path) if path else _link_of(system, folder)
    thread.space.write(buffer, target[:size])
    return min(len(target), size)


def _link_of(system: System, file: File) -> bytes:
    real = itself(file)
    if real is None or not isinstance(file, HostFile):
        raise LinuxError(ENOENT)
    return system.fs.link_of(file)


@system_call(35)
def unlinkat(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    flags: Annotated[int, Flags({"AT_REMOVEDIR": 0x200})],
) -> int:
    """Remove a file, or an empty folder."""
    (changes.remove_folder if flags else changes.unlink)(system.fs, folder, path)
    return 0


@system_call(34)
def mkdirat(system: System, thread: Thread, folder: Folder, path: Path, mode: Mode) -> int:
    """Make a folder."""
    changes.make_folder(system.fs, folder, path, mode & 0o1777 & ~thread.process.state.umask)
    return 0


@system_call(33)
def mknodat(system: System, thread: Thread, folder: Folder, path: Path, mode: Mode, device: Unsigned) -> int:
    """Make an empty file, a named pipe or a socket's name; no devices."""
    changes.make_node(system.fs, folder, path, mode & 0o177777 & ~thread.process.state.umask)
    return 0


@system_call(36)
def symlinkat(system: System, thread: Thread, target: Path, folder: Folder, path: Path) -> int:
    """Make a link to a path."""
    changes.make_link(system.fs, target, folder, path)
    return 0


@system_call(37)
def linkat(
    system: System,
    thread: Thread,
    old_folder: Folder,
    old: Path,
    new_folder: Folder,
    new: Path,
    flags: Annotated[int, Flags({"AT_SYMLINK_FOLLOW": AT_SYMLINK_FOLLOW, "AT_EMPTY_PATH": AT_EMPTY_PATH})],
) -> int:
    """Give a file another name."""
    if not old and flags & AT_EMPTY_PATH:
        if itself(old_folder) is None:
            raise LinuxError(EPERM)
        changes.link_open(system.fs, old_folder, new_folder, new)
        return 0
    with system.fs.find(old_folder, old, bool(flags & AT_SYMLINK_FOLLOW)) as source:
        source.kind  # noqa: B018  # it is there
        changes.link(system.fs, source, new_folder, new)
    return 0


@system_call(38)
def renameat(
    system: System, thread: Thread, old_folder: Folder, old: Path, new_folder: Folder, new: Path
) -> int:
    """Rename a file."""
    changes.rename(system.fs, old_folder, old, new_folder, new)
    return 0


@system_call(276)
def renameat2(
    system: System,
    thread: Thread,
    old_folder: Folder,
    old: Path,
    new_folder: Folder,
    new: Path,
    flags: Annotated[int, Flags({"RENAME_NOREPLACE": 1, "RENAME_EXCHANGE": 2, "RENAME_WHITEOUT": 4})],
) -> int:
    """Rename a file, only if the new name is free, or exchange two files."""
    changes.rename(system.fs, old_folder, old, new_folder, new, flags)
    return 0
