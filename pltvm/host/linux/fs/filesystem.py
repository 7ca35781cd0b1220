"""The files beneath one folder, shared by all processes of a system: operations by path.

`paths` resolves paths; the operations here use the descriptors that a walk ends with. Special files on the
disk (devices, pipes, sockets) can be seen, renamed and removed, but are never opened.
Programs see the root as `/`. Some paths are not on any disk: they are in `nodes`. Operations that change
folders are in `changes`.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from errno import EACCES, EBADF, EBUSY, EFBIG, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, ETXTBSY
from pathlib import Path
from typing import Any, Final

from pltvm.errors import SnapshotError
from pltvm.host.elf_headers import MAX_FILE
from pltvm.host.linux.clock import Clock
from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.file import File, Status
from pltvm.host.linux.files.host import (
    Disk,
    HostFile,
    HostFolder,
    Image,
    Key,
    Mappings,
    NoMappings,
    SavedHostFile,
)
from pltvm.host.linux.files.inotify import IN_CREATE, Notes
from pltvm.host.linux.files.listing import Entry
from pltvm.host.linux.files.memory_file import Memory, MemoryFiles, MemoryFilesState
from pltvm.host.linux.fs.fifo import Fifo
from pltvm.host.linux.fs.marks import Marks, MarksState
from pltvm.host.linux.fs.nodes import Folder, Link, Node, NodeFile, Opened, Special, Texts, open_node
from pltvm.host.linux.fs.opening import OF_MODE, is_exclusive, open_nameless, open_place
from pltvm.host.linux.fs.paths import IN_ROOT, Tree
from pltvm.host.linux.fs.place import Place
from pltvm.host.linux.fs.room import Room, RoomState
from pltvm.host.linux.fs.shm import DEVICE, SharedFolder
from pltvm.host.linux.open_flags import O_ACCESS, O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, O_TRUNC

MOST_GROWTH: Final = 1 << 30  # bytes by which programs may make files grow, in total
MOST_NEW: Final = 1 << 17  # files and folders that they may make, in total
_TRIES: Final = 100  # retries if a file comes and goes meanwhile


class _Closed(File):
    """Replaces a folder descriptor that is not open, as the path may not need it."""

    def status(self) -> Status:
        raise LinuxError(EBADF)


CLOSED: Final = _Closed()


@dataclass(slots=True)
class SavedFileSystem:
    """The marks of files, and the remaining room on the disk."""

    marks: MarksState
    room: RoomState
    memory: MemoryFilesState


class FileSystem:
    """The files beneath the folder `root`. Paths and errors as in Linux; everything raises LinuxError.

    A path starts at `base`, an open folder. `mappings` are the file mappings.
    """

    def __init__(self, root: Path, clock: Clock, mappings: Mappings | None = None) -> None:
        self.tree = Tree(root)
        self.room = Room(MOST_GROWTH, MOST_NEW)
        self.marks = Marks(clock)
        self.nodes = self.tree.nodes
        self.notes = Notes()
        self.marks.told = self.notes.happened
        self.is_run: Callable[[Key], bool] = lambda _key: False  # whether the file is a process's program
        self._texts = Texts()
        self.disk = Disk(
            self._grow,
            self.marks.status,
            self.tree.path_of,
            self.marks.written,
            self._listing,
            mappings or NoMappings(),
            self._gone,
        )
        self.memory = MemoryFiles(self.disk)
        self.shm = SharedFolder(self.memory, self._status_of_memory, self._made_in_memory)
        self.nodes.folder(b"dev").add(self.shm)

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedFileSystem:
        """Return a copy of the state."""
        return SavedFileSystem(self.marks.save(), self.room.save(), self.memory.save())

    def load(self, saved: SavedFileSystem) -> None:
        """Restore the state."""
        self.marks.load(saved.marks)
        self.room.load(saved.room)
        keys = self.memory.load(saved.memory)
        for known in (self.marks.state.known, self.room.state.highest):
            _rename(known, keys)

    def changed_since(self, saved: SavedFileSystem) -> bool:
        """Whether programs have changed something on the disk since then."""
        return bool(self.marks.changed_since(saved.marks) - self.memory.keys())

    def again(self, saved: SavedHostFile, flags: int) -> HostFile:
        """Open a saved file again; raises SnapshotError if it is not the same file."""
        name = os.fsdecode(saved.path)
        try:
            with self.tree.find(None, saved.path, follow=False) as place:
                descriptor = open_place(place, flags & ~O_TRUNC, 0, self.room)
        except LinuxError as error:
            raise SnapshotError(f"{name}: cannot be opened again: {os.strerror(error.number)}") from None
        assert descriptor is not None  # nothing is created
        file = self._opened(descriptor, flags)
        if file.identity != saved.identity:
            file.close()
            raise SnapshotError(f"{name}: is not what it was when it was open: it has changed since")
        return file

    def node_again(self, state: tuple[bytes, int, bytes, tuple[Entry, ...]], flags: int) -> File:
        """Open a saved node again, with its former text."""
        path, _, content, _ = state
        at: Node | None = self.nodes
        for name in [name for name in path.split(b"/") if name]:
            at = at.child(name) if isinstance(at, Folder) else None
        file = NodeFile(at or Node(path), flags, self._beneath)
        file.content = content
        return file

    # -- attributes for programs -------------------------------------------------------------------------

    def _gone(self, key: Key) -> None:
        self.room.state.gone.append(key)
        self.marks.state.known.pop(key, None)
        self._give_back()

    def _give_back(self) -> None:
        """Give back the room of removed files in memory, once no mapping shows them any more."""
        gone = self.room.state.gone
        for key in [key for key in gone if not self.disk.mappings.find(key)]:
            gone.remove(key)
            self.room.give_back(key)

    def _grow(self, info: os.stat_result, end: int) -> None:
        if self.room.state.gone:
            self._give_back()
        self.room.grow(info, end)

    def _status_of_memory(self, memory: Memory) -> Status:
        return self.marks.status(os.fstat(memory.descriptor))._replace(links=memory.names, device=DEVICE)

    def _made_in_memory(self, memory: Memory, mode: int) -> None:
        os.fchmod(memory.descriptor, mode & OF_MODE)
        self.marks.made(os.fstat(memory.descriptor), mode)

    def _listing(self, descriptor: int) -> list[Entry]:
        """Return the entries of an open folder of the root, sorted; LinuxError(ENOENT) if it was removed."""
        info = os.fstat(descriptor)
        if not info.st_nlink:
            raise LinuxError(ENOENT)
        is_root = (info.st_dev, info.st_ino) == self.tree.id
        above = info if is_root else os.stat("..", dir_fd=descriptor)
        entries = [
            Entry(name, self.marks.inode((one.st_dev, one.st_ino)), one.st_mode)
            for name, one in ((b".", info), (b"..", above))
        ]
        found = self._names(descriptor, info.st_dev)
        if is_root:
            for name in self.nodes.names():
                node = self.nodes.child(name)
                if name not in found and node is not None and node.is_listed:
                    found[name] = node.entry(name)
        return entries + [found[name] for name in sorted(found)]

    def _names(self, descriptor: int, device: int) -> dict[bytes, Entry]:
        opened = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(opened) as entries:
                rows = sorted((os.fsencode(one.name), one.inode(), _kind(one)) for one in entries)
        finally:
            os.close(opened)
        return {name: Entry(name, self.marks.inode((device, inode)), kind) for name, inode, kind in rows}

    def _beneath(self, node: Node) -> list[Entry]:
        """Return the entries of the root's folder with the path of a node."""
        folder = self.tree.beneath(node)
        if folder < 0:
            return []
        try:
            return list(self._names(folder, os.fstat(folder).st_dev).values())
        finally:
            os.close(folder)

    def status_at(self, place: Place) -> Status:
        """Return the attributes, for a program, of the file that a walk has found."""
        if place.node is not None:
            return place.node.status()
        status = self.marks.status(place.state)
        if place.kind == stat.S_IFLNK:  # the length of the path that the program sees
            return status._replace(size=len(self.tree.seen(place.link())))
        return status

    # -- paths -------------------------------------------------------------------------------------------

    def add_device(self, path: str, opener: Callable[[int], File]) -> None:
        """Add an internal device at a path."""
        *folders, name = os.fsencode(path).strip(b"/").split(b"/")
        at = self.nodes
        for folder in folders:
            at = at.folder(folder)
        at.add(Special(at.path_of(name), opener))

    def root(self) -> HostFolder:
        """Open the root."""
        return HostFolder(self.tree.open_root(), O_PATH, self.disk)

    def find(self, base: File, path: bytes, follow: bool = True, resolve: int = 0) -> Place:
        """Resolve a path; a link at its end is followed if `follow`. `resolve` is that of openat2."""
        if path.startswith(b"/") and not resolve & IN_ROOT:
            return self.tree.find(None, path, follow, resolve)
        if base is CLOSED:
            raise LinuxError(EBADF if path else ENOENT)
        if isinstance(base, NodeFile) and isinstance(base.node, Folder):
            return self.tree.find(base.node, path, follow, resolve)
        if not isinstance(base, HostFolder):
            raise LinuxError(ENOTDIR if path else ENOENT)
        return self.tree.find(base.descriptor, path, follow, resolve)

    def find_name(self, base: File, path: bytes) -> Place:
        """Return the place of a name to be made, removed or renamed: a link at the end is not followed."""
        return self.find(base, path.rstrip(b"/") or path, follow=False)

    def _opened(self, descriptor: int, flags: int) -> HostFile:
        info = os.fstat(descriptor)
        return (HostFolder if stat.S_ISDIR(info.st_mode) else HostFile)(descriptor, flags, self.disk, info)

    def open(self, base: File, path: bytes, flags: int, mode: int, resolve: int = 0) -> File:
        """Open a file; the result may be a `Fifo`, which has to be opened by `calls.fifos`."""
        if flags & O_PATH:
            flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW
        elif flags & O_CREAT and flags & O_DIRECTORY:
            raise LinuxError(EINVAL)
        elif flags & O_TMPFILE:
            with self.find(base, path, resolve=resolve) as place:
                return self._made(open_nameless(place, flags, mode, self.room), flags, mode)
        if flags & O_CREAT and path.endswith(b"/"):
            with self.find_name(base, path):  # errors of the path come first
                raise LinuxError(EISDIR)
        follow = not (flags & O_NOFOLLOW or is_exclusive(flags))
        for _ in range(_TRIES):
            with self.find(base, path, follow, resolve) as place:
                if place.node is not None:
                    file = open_node(place.node, flags, self._beneath)
                    self._texts.opened(file)
                    return file
                if place.info is not None:
                    return self._found(place, flags)
                if isinstance(place.above, SharedFolder) and flags & O_CREAT:
                    return place.above.make(place.name, flags, mode)
                made = open_place(place, flags, mode, self.room)
                if made is not None:
                    file = self._made(made, flags, mode)
                    self.marks.written(os.fstat(place.folder))
                    self.notes.named(place.folder, place.name, IN_CREATE)
                    return file
        raise LinuxError(EBUSY)

    def _found(self, place: Place, flags: int) -> File:
        if place.kind == stat.S_IFIFO and not flags & (O_PATH | O_DIRECTORY) and not is_exclusive(flags):
            return Fifo(self.marks.status(place.state), flags)
        if place.kind == stat.S_IFSOCK and not flags & (O_PATH | O_DIRECTORY) and not is_exclusive(flags):
            raise LinuxError(ENXIO)
        writes = flags & (O_ACCESS | O_TRUNC) and not flags & O_PATH
        if writes and self.is_run((place.state.st_dev, place.state.st_ino)):
            raise LinuxError(ETXTBSY)
        opened = open_place(place, flags, 0, self.room)
        assert opened is not None
        file = self._opened(opened, flags)
        if flags & O_TRUNC and not flags & O_PATH:
            self.marks.written(place.state)
            if self.disk.mappings.shows_files():
                self.disk.mappings.resized(file.key, 0)
        return file

    def _made(self, descriptor: int, flags: int, mode: int) -> HostFile:
        self.marks.made(os.fstat(descriptor), mode)
        return HostFile(descriptor, flags, self.disk)

    def interpreter(self, path: bytes) -> Image:
        """Return an interpreter, by its path from the root."""
        root = self.root()
        try:
            file = self.open_program(root, path, executable=False)
        finally:
            root.close()
        try:
            return file.image()
        finally:
            file.close()

    def open_program(self, base: File, path: bytes, follow: bool = True, executable: bool = True) -> HostFile:
        """Open a file to be executed."""
        with self.find(base, path, follow) as place:
            node = place.node
            kind = place.kind
            mode = self.status_at(place).mode
            if kind == stat.S_IFLNK:
                raise LinuxError(ELOOP)
            if kind == stat.S_IFDIR or (executable and (kind != stat.S_IFREG or not mode & 0o111)):
                raise LinuxError(EACCES)
            if isinstance(node, Opened):
                file: File = node.file.again(0)
            elif node is not None:
                raise LinuxError(EACCES)
            else:
                file = self._found(place, 0)
        if not isinstance(file, HostFile) or file.size() > MAX_FILE:
            file.close()
            raise LinuxError(EFBIG if isinstance(file, HostFile) else EACCES)
        return file

    def status(self, base: File, path: bytes, follow: bool) -> Status:
        """Return the attributes of the file at a path."""
        with self.find(base, path, follow) as place:
            return self.status_at(place)

    @linux_errors
    def access(self, base: File, path: bytes, mode: int, follow: bool = True) -> None:
        """Raise LinuxError(EACCES) unless the file may be read (4), written (2), executed (1)."""
        with self.find(base, path, follow) as place:
            if place.node is not None:
                file_mode = place.node.status().mode
                if (mode & 1 and not file_mode & 0o111) or (mode & 2 and not file_mode & 0o222):
                    raise LinuxError(EACCES)
                return
            never = place.kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO)
            executable = place.kind == stat.S_IFDIR or self.marks.status(place.state).mode & 0o111
            if (mode and never) or (mode & 1 and not executable) or not os.access(place.itself, mode & 6):
                raise LinuxError(EACCES)

    def read_link(self, base: File, path: bytes) -> bytes:
        """Return the target of the link at a path."""
        with self.find(base, path, follow=False) as place:
            return self.link_at(place)

    @linux_errors
    def link_of(self, file: HostFile) -> bytes:
        """Return the target of a link that is open itself; LinuxError(ENOENT) if it is no link."""
        if not stat.S_ISLNK(file.mode):
            raise LinuxError(ENOENT)
        return self.tree.seen(os.readlink(b"", dir_fd=file.descriptor))

    def link_at(self, place: Place) -> bytes:
        """Return the target of the link that a walk has found."""
        if place.kind != stat.S_IFLNK:
            raise LinuxError(EINVAL)
        if isinstance(place.node, Link | Opened):
            return place.node.target()
        return self.tree.seen(place.link())


def _rename(known: "dict[Key, Any]", keys: dict[Key, Key]) -> None:
    """Move entries for files to their new keys."""
    moved = {new: known.pop(old) for old, new in keys.items() if old in known}
    known.update(moved)


def _kind(entry: "os.DirEntry[str]") -> int:
    """Return S_IFREG … of an entry, from the folder's data."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return stat.S_IFREG
