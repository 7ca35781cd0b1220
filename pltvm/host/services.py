"""The ocalls that need something from outside the machine: random numbers, sectors of a file (8, 5, 6).

Random numbers come from a seed, so that runs repeat. There is always a disk (§8, "persistency init"): a file
of the host, or memory of this process that is lost at its end.
"""

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from weakref import finalize

from pltvm.errors import OutOfMemory, PltvmError, SnapshotError
from pltvm.host.enclave import DriverEnclave
from pltvm.host.ocalls import Ocalls
from pltvm.host.plain import Part, copied, restored
from pltvm.host.spans import Span
from pltvm.monitor.abi import MASK64, Ocall

SECTOR: Final = 4096
DISK_LIMIT: Final = 256 << 20  # bytes
FIRST_SIZE: Final = 4 << 20  # bytes of a new file
MOST_RANDOM: Final = 1 << 20  # bytes for one ocall
_BLANK: Final = bytes(SECTOR)
_OK: Final = (0, 0)
_FAILED: Final = (MASK64, 0)


@dataclass(slots=True)
class RandomState:
    """The position in a stream of random bytes."""

    seed: bytes
    requests: int = 0


class Random(Part[RandomState]):
    """A stream of bytes that depends only on the seed: SHAKE-256 of seed and number of the request."""

    def __init__(self, seed: int) -> None:
        self.state = RandomState(str(seed).encode())

    def bytes(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        import hashlib  # needs OpenSSL's library, which takes longer to load than most runs

        state = self.state
        state.requests += 1
        return hashlib.shake_256(b"%s/%d" % (state.seed, state.requests)).digest(size)


@dataclass(slots=True)
class DiskState:
    """The written sectors of a disk, by number, and its largest size in bytes."""

    limit: int
    sectors: dict[int, bytes] = field(default_factory=dict)


class Disk(Part[DiskState]):
    """Sectors kept only in this object, up to `limit` bytes; unwritten ones are zero."""

    def __init__(self, limit: int = DISK_LIMIT) -> None:
        self.state = DiskState(limit)

    @property
    def limit(self) -> int:
        """Its largest size in bytes."""
        return self.state.limit

    @property
    def is_lost(self) -> bool:
        """Whether sectors were written that are lost with the machine."""
        return bool(self.state.sectors)

    def check(self) -> None:
        """Raise SnapshotError for a disk that others can change, which can be neither saved nor restored."""

    def make(self) -> None:
        """Make the disk, as a host program has named memory for sectors."""

    def read(self, sector: int) -> bytes | None:
        """Return the sector, zeros if it was not written; None if it cannot be read."""
        return self.state.sectors.get(sector, _BLANK)

    def write(self, sector: int, data: bytes) -> bool:
        """Write the sector; False if it is beyond the limit, or if the host's file system refuses."""
        if (sector + 1) * SECTOR > self.limit:
            return False
        self.state.sectors[sector] = data
        return True


class FileDisk(Disk):
    """A file of sectors, which grows when they are written. Raises PltvmError unless it is a plain file.

    `path` may be a link; it is resolved when this object is made, because a host program may own the folder
    of the file, and rename links and pipes there.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int = DISK_LIMIT) -> None:
        super().__init__(limit)
        self.path = Path(path)
        folder, self._name = os.path.split(os.path.realpath(path))
        try:
            if self.path.exists() and not self.path.is_file():
                raise OSError
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise PltvmError(f"{self.path}: is not a file, nor can one be made there") from None
        finalize(self, os.close, self._folder)

    def check(self) -> None:
        raise SnapshotError(f"{self.path}: a disk in a file cannot be put back: make the machine without it")

    def save(self) -> DiskState:
        self.check()
        return super().save()

    def _open(self, flags: int) -> BinaryIO:
        how = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: it may have become a FIFO
        descriptor = os.open(self._name, how, 0o644, dir_fd=self._folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is not a plain file")
            return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
        except BaseException:
            os.close(descriptor)
            raise

    def make(self) -> None:
        """Make the file, full of zeros, if it does not exist."""
        try:
            with self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
                file.truncate(min(FIRST_SIZE, self.limit))
        except OSError:
            pass  # it exists; or reading and writing it will report the error

    def read(self, sector: int) -> bytes | None:
        if (sector + 1) * SECTOR > self.limit:
            return _BLANK
        try:
            with self._open(os.O_RDONLY) as file:
                file.seek(sector * SECTOR)
                return file.read(SECTOR).ljust(SECTOR, b"\0")
        except FileNotFoundError:
            return _BLANK
        except OSError:
            return None

    def write(self, sector: int, data: bytes) -> bool:
        if (sector + 1) * SECTOR > self.limit:
            return False
        try:
            with self._open(os.O_RDWR | os.O_CREAT) as file:
                file.seek(sector * SECTOR)
                file.write(data)
        except OSError:
            return False
        return True


@dataclass(slots=True)
class ServicesState:
    """The state of the services themselves.

    `persistent` is the physical address of the memory named for persistency (ioctl 0x18), with the sector at
    its start; while it is 0 there are no sectors. (An enclave's own shared memory could not be used, as the
    host does not know which enclave of a chain asks.)
    """

    persistent: int = 0


@dataclass(slots=True)
class SavedServices:
    """The services and their parts."""

    services: ServicesState
    random: RandomState
    disk: DiskState


class Services:
    """The random numbers and the disk of one driver, which serves them by `ocalls`."""

    def __init__(self, ocalls: Ocalls) -> None:
        self._ocalls = ocalls
        self.random = Random(0)
        self.disk = Disk()
        self.state = ServicesState()
        ocalls.serving[Ocall.GET_RANDOM] = self._serve_random
        ocalls.serving[Ocall.READ_SECTOR] = self._serve_read
        ocalls.serving[Ocall.WRITE_SECTOR] = self._serve_write

    @property
    def persistent(self) -> int:
        """The physical address of the memory for sectors, or 0."""
        return self.state.persistent

    def save(self) -> SavedServices:
        """Return a copy of the state, with that of the parts; raises SnapshotError."""
        return SavedServices(copied(self.state), self.random.save(), self.disk.save())

    def load(self, saved: SavedServices) -> None:
        """Restore the state, after `Disk.check`."""
        self.disk.load(saved.disk)
        self.random.load(saved.random)
        self.state = restored(self.state, saved.services)

    def use(self, pa: int) -> None:
        """Name the memory for sectors, 0 for none; the disk exists from now on."""
        self.state.persistent = pa
        self.disk.make()

    def forget(self, span: Span) -> None:
        """Note that memory is freed: if it was the memory for sectors, there are none any more."""
        if span.pa <= self.persistent < span.end:
            self.state.persistent = 0

    def _serve_random(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        size = min(size, MOST_RANDOM)
        try:
            buffer = self._ocalls.lend(enclave, size)
        except OutOfMemory:
            return 0, 0
        self._ocalls.memory.write(buffer, self.random.bytes(size))
        return buffer, size

    def _serve_read(self, _enclave: DriverEnclave, sector: int, _arg1: int) -> tuple[int, int]:
        data = self.disk.read(sector) if self.persistent else None
        if data is None:
            return _FAILED
        self._ocalls.memory.write(self.persistent, data)
        return _OK

    def _serve_write(self, _enclave: DriverEnclave, sector: int, _arg1: int) -> tuple[int, int]:
        if not self.persistent:
            return _FAILED
        written = self.disk.write(sector, self._ocalls.memory.read(self.persistent, SECTOR))
        return _OK if written else _FAILED
