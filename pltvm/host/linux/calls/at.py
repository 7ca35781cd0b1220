"""The common part of calls that take a path: flags, and files given by a descriptor or by a path."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EBADF, EFAULT
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.fs import changes
from pltvm.host.linux.fs.filesystem import CLOSED
from pltvm.host.linux.open_flags import O_PATH
from pltvm.host.linux.system import System

AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_EACCESS, AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x200, 0x400
AT_NO_AUTOMOUNT, AT_EMPTY_PATH = 0x800, 0x1000
EMPTY_OR_LINK: Final = {"AT_SYMLINK_NOFOLLOW": AT_SYMLINK_NOFOLLOW, "AT_EMPTY_PATH": AT_EMPTY_PATH}


def itself(file: File) -> str | None:
    """Return a path of this process to an open file; None if it is not on a disk."""
    if file is CLOSED:
        raise LinuxError(EBADF)
    return changes.itself(file) if isinstance(file, HostFile) else None


def not_only_a_path(file: File) -> File:
    """Raise LinuxError(EBADF) for a descriptor opened with O_PATH."""
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    return file


@contextmanager
def target(system: System, folder: File, path: bytes | None, flags: int) -> Iterator[str | None]:
    """Give a path of this process to the file named by folder, path and AT_… flags; None if it is on no
    disk."""
    if path is None:
        if folder is CLOSED:
            raise LinuxError(EFAULT)
        yield itself(folder)
    elif not path and flags & AT_EMPTY_PATH:
        yield itself(folder)
    else:
        with system.fs.find(folder, path, not flags & AT_SYMLINK_NOFOLLOW) as place:
            yield None if changes.is_ours(place) else changes.place_itself(place)
