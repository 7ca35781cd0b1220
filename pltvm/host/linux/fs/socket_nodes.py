"""The names of sockets in folders.

On the disk they are unconnected sockets: the socket of the system is found by the inode, and names made by
programs outside lead nowhere.
"""

import os
import stat
from contextlib import suppress
from errno import EADDRINUSE, ECONNREFUSED, ENOENT

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.file import File
from pltvm.host.linux.fs.filesystem import FileSystem
from pltvm.host.linux.fs.place import Place


@linux_errors
def make(fs: FileSystem, base: File, path: bytes, mode: int) -> int:
    """Make a socket's name; return its inode. Raises LinuxError(EADDRINUSE) if the name exists."""
    with fs.find_name(base, path) as place:
        if place.info is not None or place.node is not None:
            raise LinuxError(EADDRINUSE)
        if path.endswith(b"/"):
            raise LinuxError(ENOENT)
        key = _make(fs, place, mode)
        fs.marks.written(os.fstat(place.folder))
        with suppress(OSError, LinuxError):
            fs.marks.state.sockets[key] = fs.tree.path_of(place.folder).rstrip(b"/") + b"/" + place.name
    return fs.marks.inode(key)


def _make(fs: FileSystem, place: Place, mode: int) -> tuple[int, int]:
    fs.room.make(lambda: os.mknod(place.name, stat.S_IFSOCK | mode & 0o777, dir_fd=place.where))
    info = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    key = info.st_dev, info.st_ino
    fs.room.forget(info)
    fs.marks.made(info, mode)
    fs.marks.state.sockets[key] = b""
    return key


def find(fs: FileSystem, base: File, path: bytes) -> int:
    """Return the inode of a socket's name; raises LinuxError(ECONNREFUSED) if it is no socket."""
    with fs.find(base, path) as place:
        if place.kind != stat.S_IFSOCK:
            raise LinuxError(ECONNREFUSED)
        return fs.marks.inode(place.identity)


# -- snapshots -----------------------------------------------------------------------------------------------


def note(fs: FileSystem) -> None:
    """Before the state is saved, note which paths still lead to them."""
    sockets = fs.marks.state.sockets
    for key, path in sockets.items():
        if path and _at(fs, path) != key:
            sockets[key] = b""


def _at(fs: FileSystem, path: bytes) -> tuple[int, int] | None:
    with suppress(LinuxError), fs.tree.find(None, path, follow=False) as place:
        return place.identity
    return None


def make_again(fs: FileSystem) -> None:
    """After the state was restored, make missing names again. That changes only which real files they are."""
    state, room = fs.marks.state, fs.room.save()
    for key, path in list(state.sockets.items()):
        if not path or _at(fs, path) != (0, 0):
            continue
        mark, next_inode = state.known.get(key), state.next_inode
        with suppress(LinuxError, OSError), fs.tree.find(None, path, follow=False) as place:
            new = _make(fs, place, 0o755)
            for known in (state.known, state.sockets):
                known.pop(key, None)
            state.known.pop(new, None)
            state.sockets[new] = path
            if mark is not None:
                state.known[new] = mark
        state.next_inode = next_inode
    fs.room.load(room)
