"""Files beneath a folder that the user named and that others may have filled.

No link in it is followed, and only plain files are read or written: each component of a path is opened by
itself, without following links, beneath the one before. The named folder itself may be a link.

All functions raise OSError, and PltvmError if the path is neither a plain file nor a folder.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError

MOST_TEXT: Final = 16 << 20  # bytes of a text file
MOST_INPUT: Final = 1 << 20  # bytes of an input; the largest that a campaign writes has 32 KiB
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: opening a FIFO must not wait


@contextmanager
def opened(root: Path, folder: Path) -> Iterator[int]:
    """Open `folder`, which is `root` or beneath it, and yield its descriptor."""
    descriptor = os.open(root, _FOLDER)
    try:
        for part in folder.relative_to(root).parts:
            if part == "..":
                raise PltvmError(f"{folder}: leads out of {root}")
            _must_not_be_a_link(descriptor, part, folder)
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(root: Path, folder: Path) -> None:
    """Make a folder unless it exists; its parent has to exist."""
    with opened(root, folder.parent) as parent, suppress(FileExistsError):
        os.mkdir(folder.name, dir_fd=parent)
    with opened(root, folder):
        pass


def plain_files(root: Path, folder: Path) -> list[str]:
    """Return the names of the plain files in a folder, sorted; links and others are left out."""
    with opened(root, folder) as descriptor, os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))


def read(root: Path, path: Path, most: int) -> bytes | None:
    """Return the content of a file of at most `most` bytes; None if there is no file."""
    try:
        with opened(root, path.parent) as folder, _plain(folder, path, os.O_RDONLY) as file:
            size = os.fstat(file).st_size
            if size > most:
                raise PltvmError(f"{path}: has {size:,} bytes; at most {most:,} are read")
            return _read_all(file, size)
    except FileNotFoundError:
        return None


def write(root: Path, path: Path, data: bytes, scratch: Path) -> None:
    """Write a file atomically, as `scratch`, which no other writer uses, and rename it."""
    with opened(root, scratch.parent) as away, opened(root, path.parent) as folder:
        _must_be_plain(folder, path)
        with suppress(FileNotFoundError):
            os.unlink(scratch.name, dir_fd=away)  # left by a killed process
        try:
            create(away, scratch.name, data)
            os.replace(scratch.name, path.name, src_dir_fd=away, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(scratch.name, dir_fd=away)
            raise


def create(folder: int, name: str, data: bytes) -> None:
    """Write a new file, which must not exist, in the folder with this descriptor."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o666, dir_fd=folder)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def append(root: Path, path: Path, data: bytes) -> None:
    """Append to an existing file."""
    with opened(root, path.parent) as folder, _plain(folder, path, os.O_WRONLY | os.O_APPEND) as file:
        _write_all(file, data)


def cut_last_line(root: Path, path: Path, longest: int) -> bool:
    """Cut an incomplete last line off a file; return False if there is no file, or no complete line in it.

    No line is longer than `longest` bytes.
    """
    try:
        with opened(root, path.parent) as folder, _plain(folder, path, os.O_RDWR) as file:
            size = os.fstat(file).st_size
            start = max(size - longest, 0)
            end = os.pread(file, longest, start).rfind(b"\n") + 1
            if end:
                os.ftruncate(file, start + end)
            return end > 0
    except FileNotFoundError:
        return False


@contextmanager
def _plain(folder: int, path: Path, flags: int) -> Iterator[int]:
    """Open an existing plain file, and yield its descriptor."""
    _must_be_plain(folder, path)
    descriptor = os.open(path.name, flags | _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PltvmError(f"{path}: is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def _must_be_plain(folder: int, path: Path) -> None:
    """Raise a clear error if the path is no plain file; opening checks it again."""
    _must_not_be_a_link(folder, path.name, path)
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise PltvmError(f"{path}: is not a plain file")


def _must_not_be_a_link(folder: int, name: str, path: Path) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise PltvmError(f"{path}: {name} is a link, and none is followed here")


def _read_all(descriptor: int, size: int) -> bytes:
    """Read at most `size` bytes, also of a file that grows meanwhile."""
    parts = []
    while size and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
