"""What a Linux program has open: regular files and folders beneath one folder, and a few devices of our own.

Where a path leads is decided in `paths`; here it is acted on, through the descriptors that the walk ends
with. Other kinds of files (devices, pipes, sockets) can be seen, renamed and removed, but are never opened.
The program sees the root as its current folder and as `/`.
"""

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pltvm.host.linux.errno import (
    EACCES,
    EBADF,
    EBUSY,
    EINVAL,
    EISDIR,
    EMFILE,
    ENOENT,
    ENOTDIR,
    ESPIPE,
    LinuxError,
    linux_errors,
)
from pltvm.host.linux.opening import (
    O_ACCESS,
    O_APPEND,
    O_CREAT,
    O_NOFOLLOW,
    O_RDWR,
    O_WRONLY,
    is_exclusive,
    open_place,
)
from pltvm.host.linux.paths import Place, Tree
from pltvm.host.linux.room import Room

AT_FDCWD: Final = -100
MOST_FILES: Final = 512  # half of what a process usually may have: pltvm needs some too
MOST_GROWTH: Final = 1 << 30  # bytes by which a program may make files grow, all together
MOST_NEW: Final = 1 << 17  # files and folders that a program may make
LARGEST_OFFSET: Final = (1 << 63) - 1
PART: Final = 1 << 20  # bytes of a file that are in our memory at a time when it is mapped
_TRIES: Final = 100  # when what a path names comes and goes meanwhile


class File:
    """Something open. Offsets are bytes; operations raise LinuxError."""

    mode = stat.S_IFREG | 0o644
    flags = O_RDWR  # as F_GETFL gives them
    tty = False

    def read(self, size: int) -> bytes:
        """Up to `size` bytes from the current offset."""
        raise LinuxError(EBADF)

    def write(self, data: bytes) -> int:
        """Write at the current offset; the number of bytes taken."""
        raise LinuxError(EBADF)

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset; gives the new one."""
        raise LinuxError(ESPIPE)

    def stat(self) -> os.stat_result | None:
        """The state of a real file, None for others."""
        return None

    def close(self) -> None:
        """Let go of it."""


class Output(File):
    """Standard output or error: a terminal, so that lines appear as they are written."""

    mode = stat.S_IFCHR | 0o620
    tty = True

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        self._sink(data)
        return len(data)


class Input(File):
    """Standard input: the bytes it was given, then the end."""

    mode = stat.S_IFCHR | 0o620
    tty = True

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        return self._source(size)


class Device(File):
    """`/dev/null`, `/dev/zero` and `/dev/urandom`; the last from a seeded generator, so that runs repeat."""

    mode = stat.S_IFCHR | 0o666

    def __init__(self, name: str, generator: random.Random) -> None:
        self._name = name
        self._generator = generator

    def read(self, size: int) -> bytes:
        if self._name == "null":
            return b""
        return self._generator.randbytes(size) if self._name == "urandom" else bytes(size)

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        return 0


class HostFile(File):
    """A regular file or folder of the real file system, by its descriptor; `flags` as it was opened with."""

    def __init__(self, descriptor: int, flags: int, room: Room) -> None:
        self._room = room
        self.descriptor = descriptor
        self.flags = flags & (O_ACCESS | O_APPEND)
        self.mode = os.fstat(descriptor).st_mode

    @linux_errors
    def read(self, size: int) -> bytes:
        return os.read(self.descriptor, size)

    @linux_errors
    def write(self, data: bytes) -> int:
        self._make_room(os.lseek(self.descriptor, 0, os.SEEK_CUR), len(data))
        return os.write(self.descriptor, data)

    @linux_errors
    def seek(self, offset: int, whence: int) -> int:
        if whence not in (0, 1, 2):
            raise LinuxError(EINVAL)
        return os.lseek(self.descriptor, offset, whence)

    @linux_errors
    def read_at(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        return os.pread(self.descriptor, size, offset)

    @linux_errors
    def write_at(self, data: bytes, offset: int) -> int:
        """Write at `offset`, or at the end of a file that was opened to append; the number of bytes taken."""
        if offset < 0:
            raise LinuxError(EINVAL)
        self._make_room(offset, len(data))
        return os.pwrite(self.descriptor, data, offset)

    def parts(self, size: int, offset: int) -> Iterator[tuple[int, bytes]]:
        """Up to `size` bytes at `offset` in small parts: how far from `offset`, and the bytes."""
        done = 0
        while done < size and (part := self.read_at(min(size - done, PART), offset + done)):
            yield done, part
            done += len(part)

    def _make_room(self, offset: int, size: int) -> None:
        if self.flags & O_ACCESS not in (O_WRONLY, O_RDWR):
            raise LinuxError(EBADF)
        info = self.stat()
        start = info.st_size if self.flags & O_APPEND else offset
        if start + size > LARGEST_OFFSET:
            raise LinuxError(EINVAL)
        if size:
            self._room.grow(info, start + size)

    def size(self) -> int:
        """Bytes in the file."""
        return self.stat().st_size

    @linux_errors
    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long."""
        if size < 0 or self.flags & O_ACCESS not in (O_WRONLY, O_RDWR):
            raise LinuxError(EINVAL)
        self._room.grow(self.stat(), size)
        os.ftruncate(self.descriptor, size)

    @linux_errors
    def stat(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    @linux_errors
    def close(self) -> None:
        os.close(self.descriptor)


class Files:
    """The open files of a process, and the folder it is confined to. Paths and errors as for Linux.

    A path starts at the folder `directory`, an open one, or at the root for AT_FDCWD. Everything raises
    LinuxError.
    """

    def __init__(
        self, root: Path, output: Callable[[bytes], None], source: Callable[[int], bytes], seed: int
    ) -> None:
        self.tree = Tree(root)
        self._generator = random.Random(seed)
        self._room = Room(MOST_GROWTH, MOST_NEW)
        self.devices: dict[str, Callable[[], File]] = {
            f"/dev/{name}": self._device(name) for name in ("null", "zero", "urandom", "random")
        }
        self.output = output
        self._open: dict[int, File] = {0: Input(source), 1: Output(output), 2: Output(output)}

    def _device(self, name: str) -> Callable[[], File]:
        return lambda: Device("urandom" if name == "random" else name, self._generator)

    # -- descriptors -------------------------------------------------------------------------------------

    def get(self, descriptor: int) -> File:
        """The open file; raises LinuxError(EBADF)."""
        file = self._open.get(descriptor)
        if file is None:
            raise LinuxError(EBADF)
        return file

    def add(self, file: File, lowest: int = 0) -> int:
        """A descriptor for `file`: the lowest free one from `lowest` on."""
        descriptor = self._free(lowest)
        self._open[descriptor] = file
        return descriptor

    def _free(self, lowest: int = 0) -> int:
        if not 0 <= lowest < MOST_FILES:
            raise LinuxError(EINVAL)
        for descriptor in range(lowest, MOST_FILES):
            if descriptor not in self._open:
                return descriptor
        raise LinuxError(EMFILE)

    def put(self, descriptor: int, file: File) -> int:
        """Make `descriptor` name `file`, closing what it named."""
        if not 0 <= descriptor < MOST_FILES:
            raise LinuxError(EBADF)
        if descriptor in self._open:
            self.close(descriptor)
        self._open[descriptor] = file
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close a descriptor; the file closes with its last one."""
        file = self.get(descriptor)
        del self._open[descriptor]
        if file not in self._open.values():
            file.close()

    def close_all(self) -> None:
        """Close everything, at the end of the process."""
        for descriptor in list(self._open):
            with suppress(LinuxError):  # it is closed nevertheless
                self.close(descriptor)
        self.tree.close()

    # -- paths -------------------------------------------------------------------------------------------

    def _find(self, directory: int, path: bytes, follow: bool = True) -> Place:
        base = None
        if directory != AT_FDCWD and not path.startswith(b"/"):
            file = self.get(directory)
            if not (isinstance(file, HostFile) and stat.S_ISDIR(file.mode)):
                raise LinuxError(ENOTDIR if path else ENOENT)
            base = file.descriptor
        return self.tree.find(base, path, follow)

    def open(self, directory: int, path: bytes, flags: int, mode: int) -> int:
        """Open a file; gives a descriptor."""
        device = self.devices.get(os.fsdecode(path))
        if device is not None:
            return self.add(device())
        number = self._free()
        if flags & O_CREAT and path.endswith(b"/"):
            with self._name(directory, path):  # what is wrong with the way there comes first
                raise LinuxError(EISDIR)
        follow = not (flags & O_NOFOLLOW or is_exclusive(flags))
        for _ in range(_TRIES):
            with self._find(directory, path, follow) as place:
                opened = open_place(place, flags, mode, self._room)
            if opened is not None:
                self._open[number] = HostFile(opened, flags, self._room)
                return number
        raise LinuxError(EBUSY)

    def stat(self, directory: int, path: bytes, follow: bool) -> os.stat_result | File:
        """The state of what a path names."""
        device = self.devices.get(os.fsdecode(path))
        if device is not None:
            return device()
        with self._find(directory, path, follow) as place:
            return place.state

    @linux_errors
    def access(self, directory: int, path: bytes, mode: int, follow: bool = True) -> None:
        """Whether a file may be read (4), written (2), executed (1); raises LinuxError(EACCES) if not."""
        if os.fsdecode(path) in self.devices:
            return
        with self._find(directory, path, follow) as place:
            never = place.kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
            if (mode and never) or not os.access(place.itself, mode):
                raise LinuxError(EACCES)

    def read_link(self, directory: int, path: bytes) -> bytes:
        """Where a link points to."""
        with self._find(directory, path, follow=False) as place:
            if place.kind != stat.S_IFLNK:
                raise LinuxError(EINVAL)
            return place.link()

    # -- changes of folders --------------------------------------------------------------------------------

    def _name(self, directory: int, path: bytes) -> Place:
        """The place of a name that is to be made, removed or given away: a link stands for itself."""
        return self._find(directory, path.rstrip(b"/") or path, follow=False)

    @linux_errors
    def make_folder(self, directory: int, path: bytes, mode: int) -> None:
        """Make a folder."""
        with self._name(directory, path) as place:
            self._room.make(lambda: os.mkdir(place.name, mode & 0o777, dir_fd=place.folder))

    @linux_errors
    def unlink(self, directory: int, path: bytes) -> None:
        """Remove a name that is no folder."""
        with self._name(directory, path) as place:
            if place.kind == stat.S_IFDIR:
                raise LinuxError(EISDIR)
            if path.endswith(b"/"):
                raise LinuxError(ENOTDIR)
            os.unlink(place.name, dir_fd=place.folder)

    @linux_errors
    def remove_folder(self, directory: int, path: bytes) -> None:
        """Remove an empty folder."""
        with self._name(directory, path) as place:
            if place.name == b".":
                raise LinuxError(EBUSY if not path.strip(b"/") else EINVAL)
            os.rmdir(place.name, dir_fd=place.folder)

    @linux_errors
    def rename(self, old_directory: int, old: bytes, new_directory: int, new: bytes) -> None:
        """Give a file, folder or link another name, in place of what has it."""
        with self._name(old_directory, old) as source, self._name(new_directory, new) as target:
            if b"." in (source.name, target.name):
                raise LinuxError(EBUSY)
            if source.kind != stat.S_IFDIR and (old.endswith(b"/") or new.endswith(b"/")):
                raise LinuxError(ENOTDIR)
            os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)

    def is_root(self, directory: int, path: bytes) -> bool:
        """Whether a path leads to the root; raises LinuxError(ENOTDIR) for what is no folder."""
        with self._find(directory, path) as place:
            if place.kind != stat.S_IFDIR:
                raise LinuxError(ENOTDIR)
            return (place.state.st_dev, place.state.st_ino) == self.tree.id
