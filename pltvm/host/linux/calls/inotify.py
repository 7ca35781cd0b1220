"""inotify: `files.inotify` has the watches."""

import os
from errno import EINVAL, ENOTDIR
from stat import S_IFDIR
from typing import Annotated, Final

from pltvm.host.linux.arguments import Fd, Flags, Int, Path, Unsigned
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.inotify import ALL_EVENTS, IN_MASK_ADD, IN_MASK_CREATE, InotifyFile
from pltvm.host.linux.open_flags import O_CLOEXEC, O_NONBLOCK, O_RDONLY
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

IN_ONLYDIR, IN_DONT_FOLLOW = 0x0100_0000, 0x0200_0000
NO_DISK: Final = -1  # in place of the device: an internal file, of which nothing is told


@system_call(26)
def inotify_init1(
    system: System,
    thread: Thread,
    flags: Annotated[int, Flags({"IN_NONBLOCK": O_NONBLOCK, "IN_CLOEXEC": O_CLOEXEC})],
) -> int:
    """Make a file from which changes of files are read."""
    thread.process.free_descriptor()
    file = InotifyFile(system.fs.notes, system, O_RDONLY | flags & O_NONBLOCK)
    return thread.process.add(system.add_file(file), bool(flags & O_CLOEXEC))


def _inotify(file: File) -> InotifyFile:
    if not isinstance(file, InotifyFile):
        raise LinuxError(EINVAL)
    return file


@system_call(27)
def inotify_add_watch(system: System, thread: Thread, file: Fd, path: Path, mask: Unsigned) -> int:
    """Watch the file at a path."""
    if not mask & ALL_EVENTS or (mask & IN_MASK_ADD and mask & IN_MASK_CREATE):
        raise LinuxError(EINVAL)
    watching = _inotify(file)
    with system.fs.find(thread.process.folder, path, not mask & IN_DONT_FOLLOW) as place:
        is_folder = place.kind == S_IFDIR
        if mask & IN_ONLYDIR and not is_folder:
            raise LinuxError(ENOTDIR)
        if place.node is not None:
            return watching.watch((NO_DISK, place.node.status().inode), mask, "")
        folder = os.readlink(place.itself) if is_folder else ""
        return watching.watch((place.state.st_dev, place.state.st_ino), mask, folder)


@system_call(28)
def inotify_rm_watch(system: System, thread: Thread, file: Fd, number: Int) -> int:
    """Watch a file no more."""
    _inotify(file).remove(number)
    return 0
