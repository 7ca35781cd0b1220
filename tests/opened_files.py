"""Files of a Linux process by descriptor, without a machine: calls of the file layer as programs do them."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pltvm.host.linux.clock import Clock
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files import devices
from pltvm.host.linux.files.console import STDERR, Input, Output
from pltvm.host.linux.files.file import File, Status
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.open_files import OpenFiles
from pltvm.host.linux.fs import changes
from pltvm.host.linux.fs.filesystem import CLOSED, FileSystem
from pltvm.host.linux.open_flags import O_DIRECTORY, O_PATH
from pltvm.host.linux.process import MOST_FILES, Descriptor, Process, ProcessState

AT_FDCWD = -100


class _Hart:
    clock = 0


class Files:
    """A process's open files, and the file system that it sees; the root is its current folder."""

    def __init__(
        self,
        root: Path,
        output: Callable[[bytes], None] = lambda _text: None,
        source: Callable[[int], bytes] = lambda _size: b"",
        seed: int = 0,
    ) -> None:
        self.fs = FileSystem(root, Clock(_Hart(), False))  # type: ignore[arg-type]
        self.open_files = OpenFiles()
        self.process = Process(ProcessState(100), None, self.open_files)  # type: ignore[arg-type]
        generator = random.Random(seed)
        for path, maker in devices.makers(generator).items():
            self.fs.add_device(path, lambda flags, maker=maker: maker(None, flags))  # type: ignore[misc]
        for stream in (Input(source), Output(output), Output(output, STDERR)):
            self.add(stream)
        self._root = self.open_files.add(self.fs.root())

    def add(self, file: File, lowest: int = 0) -> int:
        return self.process.add(file if file.number else self.open_files.add(file), False, lowest)

    def put(self, descriptor: int, file: File) -> int:
        """As dup3."""
        if descriptor not in range(MOST_FILES):
            raise LinuxError(9)
        file.users += 1
        if descriptor in self.process.state.descriptors:
            self.close(descriptor)
        self.process.state.descriptors[descriptor] = Descriptor(file.number)
        return descriptor

    def get(self, descriptor: int) -> File:
        return self.process.file(descriptor)

    def close(self, descriptor: int) -> None:
        self.get(descriptor)
        self.open_files.give_up(self.process.state.descriptors.pop(descriptor).file)

    def close_all(self) -> None:
        self.process.state.descriptors.clear()
        self.open_files.close_all()
        self.fs.tree.close()

    def base(self, directory: int) -> File:
        """Where a path begins."""
        if directory == AT_FDCWD:
            return self._root
        try:
            return self.get(directory)
        except LinuxError:
            return CLOSED

    # -- calls by path -------------------------------------------------------------------------------------

    def open(self, directory: int, path: bytes, flags: int, mode: int) -> int:
        self.process.free_descriptor()
        return self.add(self.fs.open(self.base(directory), path, flags, mode))

    def stat(self, directory: int, path: bytes, follow: bool) -> Status:
        return self.fs.status(self.base(directory), path, follow)

    def access(self, directory: int, path: bytes, mode: int, follow: bool = True) -> None:
        self.fs.access(self.base(directory), path, mode, follow)

    def read_link(self, directory: int, path: bytes) -> bytes:
        return self.fs.read_link(self.base(directory), path)

    def is_root(self, directory: int, path: bytes) -> bool:
        file = self.fs.open(self.base(directory), path, O_PATH | O_DIRECTORY, 0)
        try:
            return isinstance(file, HostFile) and file.key == self.fs.tree.id
        finally:
            with suppress(LinuxError):
                file.close()

    def make_folder(self, directory: int, path: bytes, mode: int) -> None:
        changes.make_folder(self.fs, self.base(directory), path, mode)

    def make_node(self, directory: int, path: bytes, mode: int) -> None:
        changes.make_node(self.fs, self.base(directory), path, mode)

    def make_link(self, directory: int, path: bytes, target: bytes) -> None:
        changes.make_link(self.fs, target, self.base(directory), path)

    def link(self, directory: int, path: bytes, other: int, new: bytes, follow: bool = False) -> None:
        with self.fs.find(self.base(directory), path, follow) as source:
            source.kind  # noqa: B018  # it is there
            changes.link(self.fs, source, self.base(other), new)

    def unlink(self, directory: int, path: bytes) -> None:
        changes.unlink(self.fs, self.base(directory), path)

    def remove_folder(self, directory: int, path: bytes) -> None:
        changes.remove_folder(self.fs, self.base(directory), path)

    def rename(self, directory: int, path: bytes, other: int, new: bytes, flags: int = 0) -> None:
        changes.rename(self.fs, self.base(directory), path, self.base(other), new, flags)

    def set_mode(self, directory: int, path: bytes, mode: int, follow: bool = True) -> None:
        with self.fs.find(self.base(directory), path, follow) as place:
            changes.set_mode(self.fs, changes.place_itself(place), mode)

    def set_times(self, directory: int, path: bytes, follow: bool = True) -> None:
        with self.fs.find(self.base(directory), path, follow) as place:
            changes.set_times(self.fs, changes.place_itself(place), 10**9, 2 * 10**9, True)
