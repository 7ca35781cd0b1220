"""Opening what a walk has found: the flags of `open`, and which kinds of files may be opened at all."""

import os
import resource
import stat
from typing import Final

from pltvm.host.linux.errno import (
    EACCES,
    EEXIST,
    EISDIR,
    ELOOP,
    EMFILE,
    ENOENT,
    ENOTDIR,
    LinuxError,
    linux_errors,
)
from pltvm.host.linux.paths import Place
from pltvm.host.linux.room import Room

# As riscv64 has them; those of the machine that this runs on may differ.
O_WRONLY, O_RDWR, O_ACCESS = 1, 2, 3
O_CREAT, O_EXCL, O_TRUNC, O_APPEND = 0o100, 0o200, 0o1000, 0o2000
O_DIRECTORY, O_NOFOLLOW = 0o200000, 0o400000
KEPT_DESCRIPTORS: Final = 32  # of those that our own process may have


@linux_errors
def open_place(place: Place, flags: int, mode: int, room: Room) -> int | None:
    """A descriptor of the file at `place`, made if it is not there and O_CREAT is set.

    None when someone else has made it meanwhile: walk again. Raises LinuxError.
    """
    next_one = os.dup(place.folder)
    os.close(next_one)
    if next_one >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - KEPT_DESCRIPTORS:
        raise LinuxError(EMFILE)
    if place.found is not None:
        return _open_found(place, flags, room)
    if not flags & O_CREAT:
        raise LinuxError(ENOENT)
    how = _real_flags(flags) | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return room.make(lambda: os.open(place.name, how, mode & 0o777, dir_fd=place.folder))
    except FileExistsError:
        if flags & O_EXCL:
            raise
        return None


def _open_found(place: Place, flags: int, room: Room) -> int:
    """Open what was found, by its descriptor, once it is known to be of a kind that may be opened."""
    kind = place.kind
    if is_exclusive(flags):
        raise LinuxError(EEXIST)
    if flags & O_DIRECTORY and kind != stat.S_IFDIR:
        raise LinuxError(ENOTDIR)
    if kind == stat.S_IFLNK:
        raise LinuxError(ELOOP)
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise LinuxError(EACCES)
    if kind == stat.S_IFDIR and flags & (O_CREAT | O_TRUNC):
        raise LinuxError(EISDIR)
    how = _real_flags(flags)
    if flags & O_TRUNC:
        room.grow(place.state, 0)
        how |= os.O_TRUNC
    return os.open(place.itself, how)


def is_exclusive(flags: int) -> bool:
    """Whether the file must not be there: then a link in its place is not followed either."""
    return flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL


def _real_flags(flags: int) -> int:
    """What counts of the program's flags once the file is known, as this machine has them."""
    how = flags & O_ACCESS | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return how | os.O_APPEND if flags & O_APPEND else how
