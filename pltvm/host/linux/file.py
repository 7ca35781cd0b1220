"""One open file of a Linux program: a regular file or folder of the host, a stream, or a device of our own.

What is saved of one is enough to open it again. A file that is open for writing is refused: what a run wrote
into it since would stay there when the machine is put back.
"""

import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pltvm.errors import SnapshotError
from pltvm.host.linux.errno import EBADF, EINVAL, ESPIPE, LinuxError, linux_errors
from pltvm.host.linux.opening import O_ACCESS, O_APPEND, O_RDWR, O_WRONLY
from pltvm.host.linux.room import Room

LARGEST_OFFSET: Final = (1 << 63) - 1
PART: Final = 1 << 20  # bytes of a file that are in our memory at a time when it is mapped

STDIN, STDOUT, STDERR = "standard input", "standard output", "standard error"


@dataclass(frozen=True, slots=True)
class SavedFile:
    """An open file: a stream or device by its name, or a file by its path from the root of the program.

    `identity` is which file it was and, of a regular one, its size and time of change. `ready` is what the
    enclave device has prepared.
    """

    name: str = ""
    path: bytes = b""
    flags: int = 0
    offset: int = 0
    identity: tuple[int, ...] = ()
    ready: Any = None


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

    def save(self) -> SavedFile:
        """What it takes to have it again; raises SnapshotError."""
        raise NotImplementedError

    def load(self, saved: SavedFile) -> None:
        """Be as it was, just opened again."""


class Output(File):
    """Standard output or error: a terminal, so that lines appear as they are written."""

    mode = stat.S_IFCHR | 0o620
    tty = True

    def __init__(self, sink: Callable[[bytes], None], name: str = STDOUT) -> None:
        self._sink = sink
        self._name = name

    def save(self) -> SavedFile:
        return SavedFile(self._name)

    def write(self, data: bytes) -> int:
        self._sink(data)
        return len(data)


class Input(File):
    """Standard input: the bytes it was given, then the end."""

    mode = stat.S_IFCHR | 0o620
    tty = True

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self.was_read = False

    def read(self, size: int) -> bytes:
        self.was_read = True
        return self._source(size)

    def save(self) -> SavedFile:
        self.check()
        return SavedFile(STDIN)

    def check(self) -> None:
        """Raises SnapshotError once something was read, as it cannot be read again."""
        if self.was_read:
            raise SnapshotError("standard input: some was read, which cannot be read again: save before that")


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

    def save(self) -> SavedFile:
        return SavedFile(f"/dev/{self._name}")


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

    @property
    def identity(self) -> tuple[int, ...]:
        """Which file it is and, of a regular one, its size and time of change."""
        info = self.stat()
        is_file = stat.S_ISREG(info.st_mode)
        return info.st_dev, info.st_ino, *((info.st_size, info.st_mtime_ns) if is_file else ())

    def save(self) -> SavedFile:
        path = os.readlink(f"/proc/self/fd/{self.descriptor}")
        if self.flags & O_ACCESS:
            raise SnapshotError(f"{path}: the program has it open for writing: save when it is closed")
        if not self.stat().st_nlink:
            raise SnapshotError(f"{path}: it was removed while it is open: save when it is closed")
        offset = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        return SavedFile("", os.fsencode(path), self.flags, offset, self.identity)

    def load(self, saved: SavedFile) -> None:
        os.lseek(self.descriptor, saved.offset, os.SEEK_SET)
