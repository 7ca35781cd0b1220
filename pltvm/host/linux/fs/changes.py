"""Changes of folders and attributes: making, linking, renaming, removing; modes and times.

Everything is done through descriptors of the places that a walk has found, so names that are swapped
meanwhile have no effect: a name is changed in the folder that was found, a file by its own descriptor.
"""

import ctypes
import os
import stat
from contextlib import suppress
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EPERM, EXDEV
from typing import Final

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.inotify import IN_ATTRIB, IN_CREATE, IN_ISDIR
from pltvm.host.linux.fs.filesystem import FileSystem
from pltvm.host.linux.fs.nodes import Folder, Node, Opened
from pltvm.host.linux.fs.opening import OF_MODE
from pltvm.host.linux.fs.place import Place
from pltvm.host.linux.fs.shm import SharedFile, SharedFolder

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4  # of renameat2


def place_itself(place: Place) -> str:
    """Return a path of this process to the file found on the disk; raises LinuxError if there is none."""
    if isinstance(place.node, Opened):
        return itself(place.node.file)
    if isinstance(place.node, SharedFile):
        return place.node.itself
    place.state.st_ino  # noqa: B018  # it is there
    return place.itself


def itself(file: File) -> str:
    """Return a path of this process to an open file; raises LinuxError(EPERM) if it is on no disk."""
    if not isinstance(file, HostFile):
        raise LinuxError(EPERM)
    return f"/proc/self/fd/{file.descriptor}"


def _may_remove(place: Place) -> None:
    """Raise LinuxError(EBUSY) for a folder of nodes in the root, as for a mount point."""
    if isinstance(place.node, Folder) and place.node.path.count(b"/") == 1:
        raise LinuxError(EBUSY)


# -- making ------------------------------------------------------------------------------------------------


def _new_at(place: Place) -> int:
    """Return the folder for a new name; raises LinuxError(EEXIST) if the name exists."""
    if place.node is not None or place.info is not None:
        raise LinuxError(EEXIST)
    return place.where


def _note_new(fs: FileSystem, place: Place, mode: int | None) -> None:
    """Note a new file with this mode, or (None) a new name of an existing file."""
    fs.marks.written(os.fstat(place.folder))
    with suppress(OSError):  # another file may have the name by now
        info = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        if mode is None:
            fs.notes.happened(info, IN_ATTRIB, by_name=False)
            fs.marks.changed(info)
        else:
            fs.room.forget(info)
            fs.marks.made(info, mode)
        kind = IN_ISDIR if stat.S_ISDIR(info.st_mode) else 0
        fs.notes.named(place.folder, place.name, IN_CREATE | kind)


@linux_errors
def make_folder(fs: FileSystem, base: File, path: bytes, mode: int) -> None:
    """Make a folder."""
    with fs.find_name(base, path) as place:
        folder = _new_at(place)
        fs.room.make(lambda: os.mkdir(place.name, mode & OF_MODE, dir_fd=folder))
        _note_new(fs, place, mode)


@linux_errors
def make_node(fs: FileSystem, base: File, path: bytes, mode: int) -> None:
    """Make an empty file, or the name of a pipe or a socket; no devices."""
    kind = stat.S_IFMT(mode) or stat.S_IFREG
    if kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR):
        raise LinuxError(EPERM)
    if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        raise LinuxError(EINVAL)
    with fs.find_name(base, path) as place:
        folder = _new_at(place)
        if path.endswith(b"/"):
            raise LinuxError(ENOENT)
        fs.room.make(lambda: os.mknod(place.name, kind | mode & OF_MODE, dir_fd=folder))
        _note_new(fs, place, mode & 0o7777)


@linux_errors
def make_link(fs: FileSystem, target: bytes, base: File, path: bytes) -> None:
    """Make a link to a path. An absolute target is stored as its real path on the disk, so that the link
    works for others too; the program sees its own path (`Tree.seen`)."""
    if not target:
        raise LinuxError(ENOENT)
    with fs.find_name(base, path) as place:
        folder = _new_at(place)
        if path.endswith(b"/"):
            raise LinuxError(ENOENT)
        real = fs.tree.outside(target) if target.startswith(b"/") else target
        fs.room.make(lambda: os.symlink(real, place.name, dir_fd=folder))
        _note_new(fs, place, 0o777)


@linux_errors
def link(fs: FileSystem, source: Place, base: File, path: bytes) -> None:
    """Make another name for the file found at `source`."""
    with fs.find_name(base, path) as place:
        if isinstance(place.above, SharedFolder) and isinstance(source.node, SharedFile):
            place.above.give_name(source.node, place.name)
            return
        if isinstance(place.above, SharedFolder):
            raise LinuxError(EXDEV)
        folder = _new_at(place)
        if path.endswith(b"/"):
            raise LinuxError(ENOENT)
        if source.kind == stat.S_IFDIR or (source.node is not None and not isinstance(source.node, Opened)):
            raise LinuxError(EPERM if source.kind == stat.S_IFDIR else EXDEV)
        _link_file(fs, place_itself(source), place, folder)


@linux_errors
def link_open(fs: FileSystem, file: File, base: File, path: bytes) -> None:
    """Make a name for an open file."""
    with fs.find_name(base, path) as place:
        folder = _new_at(place)
        if path.endswith(b"/"):
            raise LinuxError(ENOENT)
        if stat.S_ISDIR(file.mode):
            raise LinuxError(EPERM)
        _link_file(fs, itself(file), place, folder)


def _link_file(fs: FileSystem, real: str, place: Place, folder: int) -> None:
    fs.room.make(lambda: os.link(real, place.name, dst_dir_fd=folder, follow_symlinks=True))
    _note_new(fs, place, None)


# -- removing and renaming -----------------------------------------------------------------------------------


@linux_errors
def unlink(fs: FileSystem, base: File, path: bytes) -> None:
    """Remove a name that is not a folder."""
    with fs.find_name(base, path) as place:
        if place.kind == stat.S_IFDIR:
            raise LinuxError(EISDIR)
        if path.endswith(b"/"):
            raise LinuxError(ENOTDIR)
        if isinstance(place.node, SharedFile):
            fs.shm.remove(place.name)
            return
        os.unlink(place.name, dir_fd=place.where)
        fs.marks.changed(place.state)
        fs.marks.written(os.fstat(place.folder))
        fs.notes.removed(place.folder, place.name, place.state)


@linux_errors
def remove_folder(fs: FileSystem, base: File, path: bytes) -> None:
    """Remove an empty folder."""
    with fs.find_name(base, path) as place:
        _may_remove(place)
        if place.name == b".":
            if path.rstrip(b"/").endswith(b".."):
                raise LinuxError(ENOTEMPTY)
            raise LinuxError(EBUSY if not path.strip(b"/") else EINVAL)
        os.rmdir(place.name, dir_fd=place.where)
        fs.marks.written(os.fstat(place.folder))
        fs.notes.removed(place.folder, place.name, place.state)


@linux_errors
def rename(fs: FileSystem, old_base: File, old: bytes, new_base: File, new: bytes, flags: int = 0) -> None:
    """Rename a file, folder or link, replacing the file with the new name; or, by the flags, only if the name
    is free, or by exchanging the two."""
    if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
        raise LinuxError(EINVAL)
    with fs.find_name(old_base, old) as source, fs.find_name(new_base, new) as target:
        if b"." in (source.name, target.name):
            raise LinuxError(EBUSY)
        for place in (source, target):
            _may_remove(place)
        if source.kind != stat.S_IFDIR and (old.endswith(b"/") or new.endswith(b"/")):
            raise LinuxError(ENOTDIR)
        if isinstance(source.node, SharedFile):
            _rename_in_memory(fs, source, target, flags)
            return
        if isinstance(target.node, SharedFile) or target.above is fs.shm:
            raise LinuxError(EXDEV)
        if flags & EXCHANGE and target.info is None:
            raise LinuxError(ENOENT)
        if flags & NOREPLACE and (target.info is not None or target.node is not None):
            raise LinuxError(EEXIST)
        if flags:
            _rename_so(source.where, source.name, target.where, target.name, flags)
        else:
            os.rename(source.name, target.name, src_dir_fd=source.where, dst_dir_fd=target.where)
        for place in (source, target):
            if place.info is not None:
                fs.marks.changed(place.info)
            fs.marks.written(os.fstat(place.folder))
        _tell_of_move(fs, source, target, flags)


def _tell_of_move(fs: FileSystem, source: Place, target: Place, flags: int) -> None:
    """Tell those who watch that a file has got the name `target`, and what the file that had it becomes."""
    old, new = (source.folder, source.name), (target.folder, target.name)
    if source.identity == target.identity:  # two names of one file both stay
        return
    fs.notes.moved(old, new, source.state)
    if target.info is not None:
        if flags & EXCHANGE:
            fs.notes.moved(new, old, target.info)
        else:
            fs.notes.replaced(target.info)


def _rename_in_memory(fs: FileSystem, source: Place, target: Place, flags: int) -> None:
    """Rename within /dev/shm."""
    assert isinstance(source.node, SharedFile)
    if not isinstance(target.node, SharedFile) and target.above is not fs.shm:
        raise LinuxError(EXDEV)
    if flags & NOREPLACE and target.node is not None:
        raise LinuxError(EEXIST)
    if flags & EXCHANGE:
        if target.node is None:
            raise LinuxError(ENOENT)
        fs.shm.swap(source.name, target.name)
    elif source.name != target.name:
        same = isinstance(target.node, SharedFile) and target.node.memory is source.node.memory
        if not same:  # two names of the same file both stay
            fs.shm.give_name(source.node, target.name)
            fs.shm.remove(source.name)


def _renameat2() -> "ctypes._NamedFuncPointer | None":
    """Return the C library's renameat2, if it has one: Python has none."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


_RENAMEAT2: Final = _renameat2()


def _rename_so(source: int, old: bytes, target: int, new: bytes, flags: int) -> None:
    if _RENAMEAT2 is None:
        raise LinuxError(EINVAL)
    if _RENAMEAT2(source, ctypes.c_char_p(old), target, ctypes.c_char_p(new), ctypes.c_uint(flags)):
        raise LinuxError(ctypes.get_errno() or EINVAL)


# -- attributes ----------------------------------------------------------------------------------------------


@linux_errors
def set_mode(fs: FileSystem, real: str, mode: int) -> bool:
    """Set the permissions of the file at this path of our process; return whether they reached the disk.

    Behind the wall (`confine`) they do so only for files that can be opened. Otherwise they are stored here,
    for this run.
    """
    info = os.stat(real)
    if stat.S_ISLNK(info.st_mode):
        raise LinuxError(EOPNOTSUPP)
    fs.marks.permitted(info, mode)
    try:
        os.chmod(real, mode & OF_MODE)
    except PermissionError:
        return _set_mode_of_open(real, info, mode & OF_MODE)
    return True


def _set_mode_of_open(real: str, info: os.stat_result, mode: int) -> bool:
    """Set them by a descriptor: the wall refuses a change by path, as the path could lead anywhere."""
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return False
    try:
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return False
    try:
        os.fchmod(opened, mode)
    except PermissionError:
        return False
    finally:
        os.close(opened)
    return True


@linux_errors
def set_times(fs: FileSystem, real: str, accessed: int | None, modified: int | None, explicit: bool) -> None:
    """Set the times of a file, in ns (None: unchanged). Times chosen by the program (`explicit`) are also
    written to the disk."""
    info = os.stat(real)
    if explicit:
        os.utime(
            real,
            ns=(
                info.st_atime_ns if accessed is None else accessed,
                info.st_mtime_ns if modified is None else modified,
            ),
        )
    fs.marks.timed(info, accessed, modified)


def is_ours(place: Place) -> bool:
    """Whether the file found is on no disk."""
    node: Node | None = place.node
    if isinstance(node, Opened):
        return not isinstance(node.file, HostFile)
    return node is not None and not isinstance(node, SharedFile)
