"""What a Linux program has open: regular files and folders beneath one folder, and a few devices of our own.

Where a path leads is decided in `paths`; here it is acted on, through the descriptors that the walk ends
with. Other kinds of files (devices, pipes, sockets) can be seen, renamed and removed, but are never opened.
The program sees the root as its current folder and as `/`.
"""

import os
import random
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pltvm.errors import SnapshotError
from pltvm.host.elf_headers import MAX_FILE
from pltvm.host.linux.errno import (
    EACCES,
    EBADF,
    EBUSY,
    EFBIG,
    EINVAL,
    EISDIR,
    EMFILE,
    ENOENT,
    ENOTDIR,
    LinuxError,
    linux_errors,
)
from pltvm.host.linux.file import STDERR, STDIN, STDOUT, Device, File, HostFile, Input, Output, SavedFile
from pltvm.host.linux.opening import O_CREAT, O_NOFOLLOW, is_exclusive, open_place
from pltvm.host.linux.paths import Place, Tree
from pltvm.host.linux.room import Room, RoomState

AT_FDCWD: Final = -100
MOST_FILES: Final = 512  # half of what a process usually may have: pltvm needs some too
MOST_GROWTH: Final = 1 << 30  # bytes by which a program may make files grow, all together
MOST_NEW: Final = 1 << 17  # files and folders that a program may make
MOST_NUMBERS: Final = 1 << 17  # files whose inode numbers are remembered
_TRIES: Final = 100  # when what a path names comes and goes meanwhile


@dataclass(slots=True)
class FilesState:
    """What is open by descriptor (a number in `files`), and what decides what comes next."""

    open: dict[int, int]
    files: list[SavedFile]
    generator: tuple[Any, ...]  # the state of that of the devices
    room: RoomState
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)  # see `Files.number`


class Files:
    """The open files of a process, and the folder it is confined to. Paths and errors as for Linux.

    A path starts at the folder `directory`, an open one, or at the root for AT_FDCWD. Everything raises
    LinuxError.
    """

    def __init__(
        self,
        root: Path,
        output: Callable[[bytes], None],
        source: Callable[[int], bytes],
        seed: int,
        errors: Callable[[bytes], None] | None = None,
    ) -> None:
        self.tree = Tree(root)
        self._generator = random.Random(seed)
        self._room = Room(MOST_GROWTH, MOST_NEW)
        self._numbers: dict[tuple[int, int], int] = {}
        self.devices: dict[str, Callable[[], File]] = {
            f"/dev/{name}": self._device(name) for name in ("null", "zero", "urandom", "random")
        }
        self.output = output
        self._streams: dict[str, File] = {
            STDIN: Input(source),
            STDOUT: Output(output),
            STDERR: Output(errors or output, STDERR),
        }
        self._open: dict[int, File] = dict(enumerate(self._streams.values()))

    def _device(self, name: str) -> Callable[[], File]:
        return lambda: Device("urandom" if name == "random" else name, self._generator)

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> FilesState:
        """What is open; raises SnapshotError, with its name, for what cannot be opened again as it is."""
        unique = list(dict.fromkeys(self._open.values()))
        opened = {descriptor: unique.index(file) for descriptor, file in self._open.items()}
        saved = [replace(one, path=self._from_root(one.path)) for one in (file.save() for file in unique)]
        return FilesState(opened, saved, self._generator.getstate(), self._room.save(), dict(self._numbers))

    def _from_root(self, path: bytes) -> bytes:
        try:
            return self.tree.inside(path, from_guest=False) if path else b""
        except LinuxError:
            raise SnapshotError(f"{os.fsdecode(path)}: is no longer in the folder of the program") from None

    def check(self, saved: FilesState) -> None:
        """Raises SnapshotError for a file that is not what it was, or input that was read since."""
        for one in self._streams.values():
            if isinstance(one, Input):
                one.check()
        for again in [self._again(one) for one in saved.files if one.path]:
            again.close()

    def load(self, saved: FilesState) -> None:
        """Close what is open, and open what was, after `check`."""
        again = [self._again(one) for one in saved.files]
        for file in {*self._open.values()}:
            file.close()
        for file, state in zip(again, saved.files, strict=True):
            file.load(state)
        self._open = {descriptor: again[number] for descriptor, number in saved.open.items()}
        self._generator.setstate(saved.generator)
        self._room.load(saved.room)
        self._numbers = dict(saved.numbers)

    def _again(self, saved: SavedFile) -> File:
        """A file that was open, opened again; raises SnapshotError if it is not the same."""
        if not saved.path:
            return self._streams.get(saved.name) or self.devices[saved.name]()
        name = os.fsdecode(saved.path)
        try:
            with self.tree.find(None, saved.path, follow=False) as place:
                descriptor = open_place(place, saved.flags, 0, self._room)
        except LinuxError as error:
            raise SnapshotError(f"{name}: cannot be opened again: {os.strerror(error.number)}") from None
        assert descriptor is not None  # nothing is made
        file = HostFile(descriptor, saved.flags, self._room)
        if file.identity != saved.identity:
            file.close()
            raise SnapshotError(f"{name}: is not what it was when it was open: it has changed since")
        return file

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

    def content(self, path: bytes) -> bytes:
        """All bytes of a regular file, by its path from the root; EFBIG for more than an ELF may have."""
        with self._find(AT_FDCWD, path) as place:
            if place.kind != stat.S_IFREG:
                raise LinuxError(EACCES)
            if place.state.st_size > MAX_FILE:
                raise LinuxError(EFBIG)
            descriptor = open_place(place, 0, 0, self._room)
        assert descriptor is not None  # nothing is made
        file = HostFile(descriptor, 0, self._room)
        try:
            return b"".join(part for _, part in file.parts(place.state.st_size, 0))
        finally:
            file.close()

    def stat(self, directory: int, path: bytes, follow: bool) -> os.stat_result | File:
        """The state of what a path names."""
        device = self.devices.get(os.fsdecode(path))
        if device is not None:
            return device()
        with self._find(directory, path, follow) as place:
            return place.state

    def number(self, info: os.stat_result) -> int:
        """The inode number that the program sees: by the order in which it asked, so that runs repeat.

        By it programs tell whether two names are one file; ld.so does, of libraries.
        """
        key = info.st_dev, info.st_ino
        if key not in self._numbers:
            number = next(reversed(self._numbers.values()), 1) + 1
            if len(self._numbers) >= MOST_NUMBERS:
                del self._numbers[next(iter(self._numbers))]
            self._numbers[key] = number
        return self._numbers[key]

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
