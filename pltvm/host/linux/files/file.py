"""The base class of open files, which Linux calls open file descriptions. Descriptors share them.

A kind of file overrides the operations that it has. An operation that cannot be done at once raises `Blocked`
with the file's keys, which are woken when that may have changed; with O_NONBLOCK the call fails with EAGAIN.
"""

import stat
from errno import EAGAIN, EBADF, EINVAL, ENOTTY, ENXIO, ESPIPE
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from pltvm.errors import SnapshotError
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.listing import Listing
from pltvm.host.linux.open_flags import O_ACCESS, O_NONBLOCK, O_PATH, O_RDWR, O_WRONLY
from pltvm.host.linux.waits import Blocked, Key

DISK, DEVICES, ANONYMOUS = 1, 5, 6  # st_dev of files of the root, of /dev, and of files without a path

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 2, 4, 8, 16, 32
POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND, POLLRDHUP = 0x40, 0x80, 0x100, 0x200, 0x2000
FIONREAD: Final = 0x541B  # an ioctl: the number of bytes that can be read
READABLE: Final = POLLIN | POLLRDNORM
WRITABLE: Final = POLLOUT | POLLWRNORM


class Status(NamedTuple):
    """The attributes of a file for `stat`. Times are in ns since 1970."""

    mode: int
    inode: int = 0
    size: int = 0
    links: int = 1
    device: int = DISK
    kind_of_device: int = 0  # st_rdev
    accessed: int = 0
    modified: int = 0
    changed: int = 0
    block: int = 4096
    allocated: int | None = None  # units of 512 bytes, of a file with holes
    owner: tuple[int, int] = (0, 0)  # user and group

    @property
    def blocks(self) -> int:
        """The size on disk in units of 512 bytes: whole blocks for the size, if nothing else is known."""
        return -(-self.size // self.block) * (self.block // 512) if self.allocated is None else self.allocated


class SavedFile(NamedTuple):
    """An open file as plain data: its kind can make it again from `state`."""

    number: int
    kind: str
    users: int
    flags: int
    state: Any


class File:
    """An open file of a `kind`. `number` names it, `users` counts descriptors and other references.

    Offsets and sizes are bytes; operations raise LinuxError or Blocked. `flags` are as F_GETFL gives them.
    """

    kind: ClassVar[str] = ""
    pollable: ClassVar[bool] = True  # whether epoll takes it: a file on disk is always ready
    warns: bool = True  # whether a write without a reader also sends a signal
    mode: int = stat.S_IFREG | 0o600
    number = 0
    users = 0
    listing: Listing | None = None  # of a folder: the progress of reading it

    def __init__(self, flags: int = O_RDWR) -> None:
        self.flags = flags

    # -- bytes -------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes from the current offset; b"" is the end."""
        raise LinuxError(EINVAL)

    def write(self, data: bytes) -> int:
        """Write at the current offset; return the number of bytes written."""
        raise LinuxError(EINVAL)

    def unread(self, data: bytes) -> None:
        """Take back the bytes that were read last, as the reader has no memory for them. Some kinds lose
        them."""

    def read_at(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`."""
        raise LinuxError(ESPIPE)

    def write_at(self, data: bytes, offset: int) -> int:
        """Write at `offset`; return the number of bytes written."""
        raise LinuxError(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset; return the new one."""
        raise LinuxError(ESPIPE)

    def truncate(self, size: int) -> None:
        """Make it `size` bytes long."""
        raise LinuxError(EINVAL)

    def must_read(self) -> None:
        """Raise LinuxError(EBADF) unless it is open for reading."""
        if self.flags & O_ACCESS == O_WRONLY or self.flags & O_PATH:
            raise LinuxError(EBADF)

    def must_write(self) -> None:
        """Raise LinuxError(EBADF) unless it is open for writing."""
        if self.flags & O_ACCESS not in (O_WRONLY, O_RDWR) or self.flags & O_PATH:
            raise LinuxError(EBADF)

    # -- waiting -----------------------------------------------------------------------------------------

    def events(self) -> int:
        """Return the events that it is ready for: POLLIN …"""
        return READABLE | WRITABLE

    def keys(self) -> tuple[Key, ...]:
        """Return the keys that are woken when `events` may have changed."""
        return ()

    def keys_for(self, events: int) -> tuple[Key, ...]:
        """Return the keys to wait for only these `events`; POLLERR and POLLHUP wake all keys."""
        return self.keys()

    def ready_at(self) -> int | None:
        """Return the time when `events` changes by itself, in monotonic ns, or None."""
        return None

    def changes(self) -> int:
        """Return a count that increases with each event, for edge-triggered interests."""
        return 0

    def wait(self, *keys: Key, **how: Any) -> NoReturn:
        """Raise Blocked to wait for `keys` (none: all); LinuxError(EAGAIN) with O_NONBLOCK."""
        if self.flags & O_NONBLOCK:
            raise LinuxError(EAGAIN)
        raise Blocked(*(keys or self.keys()), **how)

    # -- attributes --------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return its attributes."""
        return Status(self.mode, inode=self.number, device=ANONYMOUS)

    def name(self) -> bytes:
        """Return the target of its link in /proc/self/fd."""
        return b"anon_inode:[" + self.kind.encode() + b"]"

    def again(self, flags: int) -> "File":
        """Open it again, as by its name in /proc/self/fd; raises LinuxError."""
        raise LinuxError(ENXIO)

    def request(self, request: int, argument: int) -> bytes:
        """Return the result of an ioctl without side effects: the bytes to write to its argument."""
        raise LinuxError(ENOTTY)

    # -- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it, as it has no users any more."""

    def save(self) -> Any:
        """Return the state from which it can be made again, as plain data; raises SnapshotError."""
        raise SnapshotError(f"the program has something open that cannot be saved: {self.kind}")

    def after_load(self, state: Any) -> None:
        """Finish restoring it from its saved state, when all other files exist."""
