"""What a Linux program may open: regular files and folders beneath one folder, and a few devices of our own.

Every path is resolved here, link by link, and must end up beneath the root; other kinds of files (devices,
pipes, sockets) do not exist for the program. It sees the root as its current folder and as `/`.
"""

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pltvm.host.linux.errno import (
    EACCES,
    EBADF,
    EINVAL,
    EIO,
    EMFILE,
    ENOENT,
    ENOSPC,
    EPERM,
    ESPIPE,
    LinuxError,
)

_T = TypeVar("_T")

AT_FDCWD: Final = -100
MOST_FILES: Final = 1024
MOST_GROWTH: Final = 1 << 30  # bytes by which a program may make files grow, all together
_OPEN_FLAGS: Final = 0o3 | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND | os.O_DIRECTORY  # as on riscv64

_ALWAYS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class File:
    """Something open. Offsets are bytes; operations raise LinuxError."""

    path = ""
    mode = stat.S_IFREG | 0o644
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
        self.path = f"/dev/{name}"
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


class Room:
    """How much files may still grow."""

    def __init__(self) -> None:
        self.left = MOST_GROWTH

    def take(self, size: int) -> None:
        """Use up `size` bytes; raises LinuxError(ENOSPC) when there are not so many."""
        if size > self.left:
            raise LinuxError(ENOSPC)
        self.left -= size


class HostFile(File):
    """A regular file or folder of the real file system, by its descriptor."""

    def __init__(self, descriptor: int, path: str, room: "Room") -> None:
        self._room = room
        self.descriptor = descriptor
        self.path = path
        self.mode = os.fstat(descriptor).st_mode

    def read(self, size: int) -> bytes:
        return _checked(os.read, self.descriptor, size)

    def write(self, data: bytes) -> int:
        here = _checked(os.lseek, self.descriptor, 0, os.SEEK_CUR)
        size = self.size()
        self._room.take(max(here + len(data) - size, 0))
        return _checked(os.write, self.descriptor, data)

    def seek(self, offset: int, whence: int) -> int:
        if whence not in (0, 1, 2):
            raise LinuxError(EINVAL)
        return _checked(os.lseek, self.descriptor, offset, whence)

    def read_at(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        return _checked(os.pread, self.descriptor, size, offset)

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.descriptor).st_size

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long."""
        if size < 0:
            raise LinuxError(EINVAL)
        self._room.take(max(size - self.size(), 0))
        _checked(os.ftruncate, self.descriptor, size)

    def stat(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def _checked(call: Callable[..., _T], *arguments: object) -> _T:
    try:
        return call(*arguments)
    except OSError as error:
        raise LinuxError(error.errno or EIO) from None


class Files:
    """The open files of a process, and the folder it is confined to."""

    def __init__(
        self, root: Path, output: Callable[[bytes], None], source: Callable[[int], bytes], seed: int
    ) -> None:
        self.root = Path(os.path.realpath(root))
        self._generator = random.Random(seed)
        self._room = Room()
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
        for descriptor in range(max(lowest, 0), MOST_FILES):
            if descriptor not in self._open:
                self._open[descriptor] = file
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
            self.close(descriptor)

    # -- paths -------------------------------------------------------------------------------------------

    def resolve(self, directory: int, path: bytes, follow: bool = True) -> Path:
        """Where a path leads; raises LinuxError for one that leads out of the root."""
        name = os.fsdecode(path)
        if not name:
            raise LinuxError(ENOENT)
        if os.path.isabs(name):
            inside = Path(name) if Path(name).is_relative_to(self.root) else self.root / name.lstrip("/")
        elif directory == AT_FDCWD:
            inside = self.root / name
        else:
            base = self.get(directory)
            if not isinstance(base, HostFile):
                raise LinuxError(EBADF)
            inside = Path(base.path) / name
        try:
            folder = inside if follow else inside.parent
            real = Path(os.path.realpath(folder)) if follow else Path(os.path.realpath(folder), inside.name)
        except (OSError, ValueError):
            raise LinuxError(ENOENT) from None
        if not real.is_relative_to(self.root) or real.name == "..":
            raise LinuxError(EACCES)
        return real

    def open(self, directory: int, path: bytes, flags: int, mode: int) -> int:
        """Open a file; gives a descriptor. Raises LinuxError."""
        device = self.devices.get(os.fsdecode(path))
        if device is not None:
            return self.add(device())
        real = self.resolve(directory, path)
        if real.exists() and not (real.is_file() or real.is_dir()):
            raise LinuxError(EACCES)
        opened = _checked(
            os.open, real, flags & _OPEN_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode & 0o777
        )
        assert isinstance(opened, int)
        if stat.S_IFMT(os.fstat(opened).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            os.close(opened)
            raise LinuxError(EACCES)
        try:
            return self.add(HostFile(opened, str(real), self._room))
        except LinuxError:
            os.close(opened)
            raise

    def stat(self, directory: int, path: bytes, follow: bool) -> os.stat_result | File:
        """The state of what a path names."""
        device = self.devices.get(os.fsdecode(path))
        if device is not None:
            return device()
        return _checked(os.stat if follow else os.lstat, self.resolve(directory, path, follow))

    def change(self, what: Callable[..., object], *paths: Path) -> None:
        """Unlink, rename, make a folder …: an operation of `os` on resolved paths."""
        if any(path == self.root for path in paths):
            raise LinuxError(EPERM)
        _checked(what, *paths)
