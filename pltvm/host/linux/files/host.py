"""A regular file or folder of the real file system, by its descriptor.

Its saved state is enough to open it again. Saving a file that is open for writing is refused: what a run
wrote to it later would stay there after a restore.
"""

import os
import resource
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EACCES, EBADF, EINVAL, EISDIR, ELOOP, EMFILE, ENODEV, ENXIO, EOPNOTSUPP
from typing import Any, Final, NamedTuple, Protocol, Self

from pltvm.errors import SnapshotError
from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.file import FIONREAD, File, Status
from pltvm.host.linux.files.listing import Entry, Listing
from pltvm.host.linux.open_flags import O_ACCESS, O_APPEND, O_PATH, O_TRUNC, O_WRONLY

LARGEST_OFFSET: Final = (1 << 63) - 1
PART: Final = 1 << 20  # bytes of a mapped file that are read at a time
KEPT_DESCRIPTORS: Final = 32  # descriptors of this process that must stay free
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16  # of fallocate
_UNREADABLE: Final = O_WRONLY | O_PATH
_ZEROS: Final = bytes(1 << 16)
Key = tuple[int, int]  # device and inode of the real file


def must_be_spare(descriptor: int, error: int = EMFILE, close: bool = False) -> None:
    """Raise LinuxError if this process runs short of descriptors with this one, which is then closed. With
    `close` it is closed in any case."""
    is_short = descriptor >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - KEPT_DESCRIPTORS
    if is_short or close:
        os.close(descriptor)
    if is_short:
        raise LinuxError(error)


@dataclass(frozen=True, slots=True)
class SavedHostFile:
    """A file, by its path from the program's root. `identity` identifies the file and, if regular, its size
    and time of change; `names` are the remaining entries of a folder that is being read, from `offset` on."""

    path: bytes
    offset: int
    identity: tuple[int, ...]
    names: tuple[Entry, ...] = ()


class Image(NamedTuple):
    """A program's file: its bytes, and the number of the memory object that shows it, 0 for none."""

    data: bytes
    object: int = 0


class Mappings(Protocol):
    """The owner of file mappings: it is notified of reads and writes of mapped files."""

    def shows_files(self) -> bool:
        """Whether any file is mapped."""

    def find(self, key: Key) -> int:
        """Return the number of the object that shows this file, or 0."""

    def image(self, descriptor: int, read: Callable[[], bytes]) -> Image:
        """Return a file to be run; `read` gives its bytes."""

    def sync_file(self, key: Key) -> None:
        """Write back mappings, before a file is read."""

    def wrote(self, key: Key, offset: int, data: bytes) -> None:
        """Update mappings, after a file was written."""

    def resized(self, key: Key, size: int) -> None:
        """Update mappings, after a file's size changed."""


class NoMappings:
    """Used without file mappings."""

    def shows_files(self) -> bool:
        """Never."""
        return False

    def find(self, key: Key) -> int:
        """Nothing."""
        return 0

    def image(self, descriptor: int, read: Callable[[], bytes]) -> Image:
        """Its bytes."""
        return Image(read())

    def sync_file(self, key: Key) -> None:
        """Nothing to do."""

    def wrote(self, key: Key, offset: int, data: bytes) -> None:
        """Nothing to do."""

    def resized(self, key: Key, size: int) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The common part of the files of one root.

    `grow` lets a file grow up to an offset, `status` turns the real attributes of a file into those for
    programs, `path` gives the path of a descriptor from the root; all raise LinuxError. `written` is called
    for each change of a file's content, `gone` for each removed file in memory; `listing` lists a folder.
    """

    grow: Callable[[os.stat_result, int], None]
    status: Callable[[os.stat_result], Status]
    path: Callable[[int], bytes]
    written: Callable[[os.stat_result], None]
    listing: Callable[[int], list[Entry]]
    mappings: Mappings
    gone: Callable[[Key], None]


class HostFile(File):
    """A file by its descriptor; `flags` are those of `open`, `info` has its real attributes."""

    kind = "file"
    pollable = False

    def __init__(self, descriptor: int, flags: int, disk: Disk, info: os.stat_result | None = None) -> None:
        super().__init__(flags)
        self._disk = disk
        self._mappings = disk.mappings
        self.descriptor = descriptor
        info = info or os.fstat(descriptor)
        self.mode = info.st_mode
        self.key: Key = (info.st_dev, info.st_ino)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @linux_errors
    def read(self, size: int) -> bytes:
        if self.flags & _UNREADABLE:
            self.must_read()
        if self._mappings.shows_files():
            self._mappings.sync_file(self.key)
        return os.read(self.descriptor, size)

    @linux_errors
    def write(self, data: bytes) -> int:
        self.must_write()
        at_end = self.flags & O_APPEND
        start = os.lseek(self.descriptor, 0, os.SEEK_END if at_end else os.SEEK_CUR)
        self._make_room(start, len(data))
        done = os.write(self.descriptor, data)
        if self._mappings.shows_files():
            self._mappings.wrote(self.key, start, data[:done])
        return done

    @linux_errors
    def seek(self, offset: int, whence: int) -> int:
        if self.flags & O_PATH:
            raise LinuxError(EBADF)
        if whence not in (0, 1, 2, 3, 4):
            raise LinuxError(EINVAL)
        return os.lseek(self.descriptor, offset, whence)

    @linux_errors
    def unread(self, data: bytes) -> None:
        os.lseek(self.descriptor, -len(data), os.SEEK_CUR)

    @linux_errors
    def read_at(self, size: int, offset: int) -> bytes:
        if self.flags & _UNREADABLE:
            self.must_read()
        if self._mappings.shows_files():
            self._mappings.sync_file(self.key)
        return os.pread(self.descriptor, size, offset)

    @linux_errors
    def write_at(self, data: bytes, offset: int) -> int:
        self.must_write()
        if offset < 0:
            raise LinuxError(EINVAL)
        if self.flags & O_APPEND:  # Linux appends, whatever the offset
            offset = os.fstat(self.descriptor).st_size
        self._make_room(offset, len(data))
        done = os.pwrite(self.descriptor, data, offset)
        if self._mappings.shows_files():
            self._mappings.wrote(self.key, offset, data[:done])
        return done

    def parts(self, size: int, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield up to `size` bytes at `offset` in small parts: distance from `offset`, and the bytes."""
        done = 0
        while done < size and (part := self.read_at(min(size - done, PART), offset + done)):
            yield done, part
            done += len(part)

    def image(self) -> Image:
        """Return it as a program."""
        return self._mappings.image(self.descriptor, self._all)

    def _all(self) -> bytes:
        return b"".join(part for _, part in self.parts(self.size(), 0))

    def _make_room(self, start: int, size: int) -> None:
        if start + size > LARGEST_OFFSET:
            raise LinuxError(EINVAL)
        if size:
            info = os.fstat(self.descriptor)
            self._disk.grow(info, start + size)
            self._disk.written(info)

    def size(self) -> int:
        """Bytes in the file."""
        return self.info().st_size

    @linux_errors
    def truncate(self, size: int) -> None:
        if self.flags & O_PATH:
            raise LinuxError(EBADF)
        if size < 0 or self.flags & O_ACCESS == 0:
            raise LinuxError(EINVAL)
        info = os.fstat(self.descriptor)
        self._disk.grow(info, size)
        os.ftruncate(self.descriptor, size)
        self._disk.written(info)
        if self._mappings.shows_files():
            self._mappings.resized(self.key, size)

    @linux_errors
    def allocate(self, mode: int, offset: int, size: int) -> None:
        """Do fallocate as far as it shows in the content: new bytes read as zero; holes and ranges are
        zeroed."""
        self.must_write()
        if offset < 0 or size <= 0:
            raise LinuxError(EINVAL)
        if self.is_folder:
            raise LinuxError(EISDIR)
        if not stat.S_ISREG(self.mode):
            raise LinuxError(ENODEV)
        what = mode & ~KEEP_SIZE
        if what not in (0, PUNCH_HOLE, ZERO_RANGE) or (what == PUNCH_HOLE and not mode & KEEP_SIZE):
            raise LinuxError(EOPNOTSUPP)
        info = os.fstat(self.descriptor)
        end, old = offset + size, info.st_size
        self._disk.grow(info, end)
        if what:
            self._zero(offset, min(end, old))
        if end > old and not mode & KEEP_SIZE:
            os.ftruncate(self.descriptor, end)
            if self._mappings.shows_files():
                self._mappings.resized(self.key, end)
        self._disk.written(info)

    def _zero(self, start: int, end: int) -> None:
        """Write zeros over existing bytes, but not into holes, which may be huge."""
        position = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        try:
            while start < end:
                try:
                    start = os.lseek(self.descriptor, start, os.SEEK_DATA)
                except OSError:  # there are no bytes after it
                    break
                stop = min(os.lseek(self.descriptor, start, os.SEEK_HOLE), end)
                for at in range(start, stop, len(_ZEROS)):
                    part = _ZEROS[: stop - at]
                    os.pwrite(self.descriptor, part, at)
                    if self._mappings.shows_files():
                        self._mappings.wrote(self.key, at, part)
                start = max(stop, start + 1)
        finally:
            os.lseek(self.descriptor, position, os.SEEK_SET)

    @linux_errors
    def info(self) -> os.stat_result:
        """Its real attributes."""
        return os.fstat(self.descriptor)

    def status(self) -> Status:
        return self._disk.status(self.info())

    @linux_errors
    def request(self, request: int, argument: int) -> bytes:
        if request == FIONREAD and not self.is_folder:
            left = self.size() - os.lseek(self.descriptor, 0, os.SEEK_CUR)
            return (left & 0xFFFF_FFFF).to_bytes(4, "little")
        return super().request(request, argument)

    @linux_errors
    def name(self) -> bytes:
        return self._disk.path(self.descriptor)

    def may_be_reached(self) -> None:
        """Raise LinuxError(EACCES) if it is no longer beneath the root."""
        self._disk.path(self.descriptor)

    def emptied(self, flags: int) -> Self:
        """Return this newly opened file, truncated if `flags` have O_TRUNC; close it if that fails."""
        if flags & O_TRUNC and not flags & O_PATH:
            try:
                self.truncate(0)
            except LinuxError:
                self.close()
                raise
        return self

    @linux_errors
    def again(self, flags: int) -> File:
        kind = stat.S_IFMT(self.mode)
        if not flags & O_PATH:
            if kind == stat.S_IFLNK:
                raise LinuxError(ELOOP)
            if kind not in (stat.S_IFREG, stat.S_IFDIR):
                raise LinuxError(ENXIO if kind == stat.S_IFSOCK else EACCES)
        self.may_be_reached()
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", real_flags(flags))
        must_be_spare(descriptor)
        return type(self)(descriptor, flags, self._disk).emptied(flags)

    @linux_errors
    def close(self) -> None:
        os.close(self.descriptor)

    @property
    def identity(self) -> tuple[int, ...]:
        """Return what identifies the file and, if regular, its size and time of change."""
        info = self.info()
        is_file = stat.S_ISREG(info.st_mode)
        return info.st_dev, info.st_ino, *((info.st_size, info.st_mtime_ns) if is_file else ())

    def save(self) -> Any:
        name = os.readlink(f"/proc/self/fd/{self.descriptor}")
        if self.flags & O_ACCESS and not self.flags & O_PATH:
            raise SnapshotError(f"{name}: the program has it open for writing: save when it is closed")
        if not self.info().st_nlink:
            raise SnapshotError(f"{name}: it was removed while it is open: save when it is closed")
        try:
            inside = self._disk.path(self.descriptor).lstrip(b"/") or b"."
        except LinuxError:
            raise SnapshotError(f"{name}: is no longer in the folder of the program") from None
        offset = 0 if self.flags & O_PATH else os.lseek(self.descriptor, 0, os.SEEK_CUR)
        return SavedHostFile(inside, offset, self.identity)

    def after_load(self, state: Any) -> None:
        if not self.flags & O_PATH:
            os.lseek(self.descriptor, state.offset, os.SEEK_SET)


class HostFolder(HostFile):
    """A folder: it can be read entry by entry."""

    kind = "folder"
    listing: Listing

    def __init__(self, descriptor: int, flags: int, disk: Disk, info: os.stat_result | None = None) -> None:
        super().__init__(descriptor, flags, disk, info)
        self.listing = Listing(lambda: disk.listing(descriptor))

    def seek(self, offset: int, whence: int) -> int:
        self.must_read()
        return self.listing.seek(offset, whence)

    def save(self) -> Any:
        saved: SavedHostFile = super().save()
        return SavedHostFile(saved.path, self.listing.offset, saved.identity, tuple(self.listing.known))

    def after_load(self, state: Any) -> None:
        self.listing.offset, self.listing.known = state.offset, list(state.names)


def real_flags(flags: int) -> int:
    """Return the program's flags that matter for a known file, with this machine's values."""
    if flags & O_PATH:
        return os.O_PATH | os.O_CLOEXEC
    # O_APPEND is handled here, as F_SETFL may clear it
    return flags & O_ACCESS | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
