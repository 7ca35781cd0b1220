"""What every open file is: Linux calls it an open file description. Descriptors of processes share it.

A kind of file overrides what it can do. What it cannot do at once raises `Blocked` with the file's keys, and
whoever changes that wakes them; for a descriptor with O_NONBLOCK the system call makes EAGAIN of it.
"""

import stat
from errno import EAGAIN, EBADF, EINVAL, ENOTTY, ENXIO, ESPIPE
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from pltvm.errors import SnapshotError
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.listing import Listing
from pltvm.host.linux.open_flags import O_ACCESS, O_NONBLOCK, O_PATH, O_RDWR, O_WRONLY
from pltvm.host.linux.waits import Blocked, Key

DISK, DEVICES, ANONYMOUS = 1, 5, 6  # st_dev: of the root, of /dev, of what has no path

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 2, 4, 8, 16, 32
POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND, POLLRDHUP = 0x40, 0x80, 0x100, 0x200, 0x2000
FIONREAD: Final = 0x541B  # an ioctl: how many bytes can be read
READABLE: Final = POLLIN | POLLRDNORM
WRITABLE: Final = POLLOUT | POLLWRNORM


class Status(NamedTuple):
    """What `stat` tells of a file. Times in ns since 1970."""

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

    @property
    def blocks(self) -> int:
        """Units of 512 bytes: whole blocks, for all of the size if nothing else is known."""
        return -(-self.size // self.block) * (self.block // 512) if self.allocated is None else self.allocated


class SavedFile(NamedTuple):
    """An open file as plain data: `state` is what its kind needs to have it again."""

    number: int
    kind: str
    users: int
    flags: int
    state: Any


class File:
    """Something open, of a `kind`. `number` names it, `users` counts descriptors and others who hold it.

    Offsets and sizes are bytes; operations raise LinuxError or Blocked. `flags` are as F_GETFL gives them.
    """

    kind: ClassVar[str] = ""
    pollable: ClassVar[bool] = True  # whether epoll takes it: a file on disk is always ready
    warns: bool = True  # whether a write that nobody will read is a signal, too
    mode: int = stat.S_IFREG | 0o600
    number = 0
    users = 0
    listing: Listing | None = None  # of a folder: how far it was read

    def __init__(self, flags: int = O_RDWR) -> None:
        self.flags = flags

    # -- bytes -------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """Up to `size` bytes from the current offset; b"" is the end."""
        raise LinuxError(EINVAL)

    def write(self, data: bytes) -> int:
        """Write at the current offset; the number of bytes taken."""
        raise LinuxError(EINVAL)

    def read_at(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        raise LinuxError(ESPIPE)

    def write_at(self, data: bytes, offset: int) -> int:
        """Write at `offset`; the number of bytes taken."""
        raise LinuxError(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset; gives the new one."""
        raise LinuxError(ESPIPE)

    def truncate(self, size: int) -> None:
        """Make it `size` bytes long."""
        raise LinuxError(EINVAL)

    def must_read(self) -> None:
        """Raises LinuxError(EBADF) unless it is open for reading."""
        if self.flags & O_ACCESS == O_WRONLY or self.flags & O_PATH:
            raise LinuxError(EBADF)

    def must_write(self) -> None:
        """Raises LinuxError(EBADF) unless it is open for writing."""
        if self.flags & O_ACCESS not in (O_WRONLY, O_RDWR) or self.flags & O_PATH:
            raise LinuxError(EBADF)

    # -- waiting -----------------------------------------------------------------------------------------

    def events(self) -> int:
        """What it is ready for: POLLIN …"""
        return READABLE | WRITABLE

    def keys(self) -> tuple[Key, ...]:
        """What is woken when `events` may have changed."""
        return ()

    def keys_for(self, events: int) -> tuple[Key, ...]:
        """The keys of those who want to hear of `events` alone; POLLERR and POLLHUP wake all keys."""
        return self.keys()

    def ready_at(self) -> int | None:
        """When `events` changes by itself, in monotonic ns."""
        return None

    def changes(self) -> int:
        """A count that goes up with each event: for those who want to hear of each only once."""
        return 0

    def wait(self, *keys: Key, **how: Any) -> NoReturn:
        """Raises Blocked until `keys` (none: all) say something; LinuxError(EAGAIN) with O_NONBLOCK."""
        if self.flags & O_NONBLOCK:
            raise LinuxError(EAGAIN)
        raise Blocked(*(keys or self.keys()), **how)

    # -- what it is --------------------------------------------------------------------------------------

    def status(self) -> Status:
        """What `fstat` tells."""
        return Status(self.mode, inode=self.number, device=ANONYMOUS)

    def name(self) -> bytes:
        """What a link in /proc/self/fd says."""
        return b"anon_inode:[" + self.kind.encode() + b"]"

    def again(self, flags: int) -> "File":
        """The same opened once more, as by its name in /proc/self/fd; raises LinuxError."""
        raise LinuxError(ENXIO)

    def request(self, request: int, argument: int) -> bytes:
        """An ioctl without effect: the bytes that go to its argument."""
        raise LinuxError(ENOTTY)

    # -- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Nobody has it any more."""

    def save(self) -> Any:
        """The state that it takes to have it again, as plain data; raises SnapshotError."""
        raise SnapshotError(f"the program has something open that cannot be saved: {self.kind}")

    def after_load(self, state: Any) -> None:
        """It was made again from a saved state, by its kind; all other files are there."""
