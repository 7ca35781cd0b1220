"""Opens files that a walk has found: the flags of `open`, and the kinds of files that may be opened."""

import os
import stat
from errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR
from typing import Final

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.host import KEPT_DESCRIPTORS, must_be_spare, real_flags
from pltvm.host.linux.fs.place import Place
from pltvm.host.linux.fs.room import Room
from pltvm.host.linux.open_flags import O_ACCESS, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_TRUNC

__all__ = ["KEPT_DESCRIPTORS", "is_exclusive", "open_nameless", "open_place"]

OF_MODE: Final = 0o1777  # bits of a mode that reach the disk: no set-user-ID there


@linux_errors
def open_place(place: Place, flags: int, mode: int, room: Room) -> int | None:
    """Open the file at `place`, or make it if it does not exist and O_CREAT is set; return a descriptor.

    Returns None if the file was made by another program meanwhile: walk again. Raises LinuxError.
    """
    if place.found is not None:
        return _open_found(place, flags, room)
    if not flags & O_CREAT:
        raise LinuxError(ENOENT)
    must_be_spare(os.dup(place.where), close=True)
    how = real_flags(flags) | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return room.make(lambda: os.open(place.name, how, mode & OF_MODE, dir_fd=place.where))
    except FileExistsError:
        if flags & O_EXCL:
            raise
        return None


def _open_found(place: Place, flags: int, room: Room) -> int:
    """Open the file found, by its descriptor, after checking that its kind may be opened."""
    kind = place.kind
    if flags & O_DIRECTORY and kind != stat.S_IFDIR:
        raise LinuxError(EEXIST if is_exclusive(flags) else ENOTDIR)
    if not flags & O_PATH:
        if is_exclusive(flags):
            raise LinuxError(EEXIST)
        if kind == stat.S_IFLNK:
            raise LinuxError(ELOOP)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise LinuxError(EACCES)
        if kind == stat.S_IFDIR and flags & (O_CREAT | O_TRUNC):
            raise LinuxError(EISDIR)
    how = real_flags(flags)
    if flags & O_TRUNC and not flags & O_PATH:
        room.grow(place.state, 0)
        how |= os.O_TRUNC
    descriptor = os.open(place.itself, how)
    must_be_spare(descriptor)
    return descriptor


@linux_errors
def open_nameless(place: Place, flags: int, mode: int, room: Room) -> int:
    """Do O_TMPFILE: return a descriptor of a new file without a name, on this folder's disk. Raises
    LinuxError."""
    if not flags & O_DIRECTORY or not flags & O_ACCESS:
        raise LinuxError(EINVAL)
    if place.kind != stat.S_IFDIR:
        raise LinuxError(ENOTDIR)
    place.state.st_ino  # noqa: B018  # it is on the disk
    must_be_spare(os.dup(place.folder), close=True)
    how = real_flags(flags) | os.O_TMPFILE | (os.O_EXCL if flags & O_EXCL else 0)
    made = room.make(lambda: os.open(place.itself, how, mode & OF_MODE))
    assert made is not None
    return made


def is_exclusive(flags: int) -> bool:
    """Whether the file must not exist: then a link in its place is not followed either."""
    return flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
