"""What the driver serves from outside the machine: random numbers, sectors of a file (ocalls 8, 5, 6).

Random numbers come from a seed, so that runs repeat. There always is a disk (§8, "persistency init"): a file
of the host's, or memory of this process that nobody keeps.
"""

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from weakref import finalize

from pltvm.errors import OutOfMemory, PltvmError
from pltvm.monitor.abi import MASK64, Ocall

if TYPE_CHECKING:
    from pltvm.host.driver import Driver, DriverEnclave
    from pltvm.host.shared import HostPages

SECTOR: Final = 4096
DISK_LIMIT: Final = 256 << 20  # bytes
FIRST_SIZE: Final = 4 << 20  # bytes of a new file
MOST_RANDOM: Final = 1 << 20  # bytes for one ocall
_BLANK: Final = bytes(SECTOR)
_OK: Final = (0, 0)
_FAILED: Final = (MASK64, 0)


class Random:
    """A stream of bytes that depends on the seed alone: SHAKE-256 of seed and number of the request."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed).encode()
        self._requests = 0

    def bytes(self, size: int) -> bytes:
        """The next `size` bytes."""
        self._requests += 1
        return hashlib.shake_256(b"%s/%d" % (self._seed, self._requests)).digest(size)


class Disk:
    """Sectors that are kept nowhere but here, up to `limit` bytes; what was never written is zero."""

    def __init__(self, limit: int = DISK_LIMIT) -> None:
        self.limit = limit
        self._sectors: dict[int, bytes] = {}

    @property
    def is_lost(self) -> bool:
        """Whether something was written that ends with the machine."""
        return bool(self._sectors)

    def make(self) -> None:
        """A host program has named memory for sectors: the disk is to be there."""

    def read(self, sector: int) -> bytes | None:
        """The sector, zeros where the disk has nothing; None when it cannot be read."""
        return self._sectors.get(sector, _BLANK)

    def write(self, sector: int, data: bytes) -> bool:
        """Write the sector; False for one behind the limit, or when the host's file system refuses."""
        if (sector + 1) * SECTOR > self.limit:
            return False
        self._sectors[sector] = data
        return True


class FileDisk(Disk):
    """A file of sectors, which grows as they are written. Raises PltvmError for what is no plain file.

    `path` may be a link, but it leads where it did when this was made: a host program may have the folder
    that the file is in as its own, and rename links and pipes there.
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

    def _open(self, flags: int) -> BinaryIO:
        how = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: it may be a FIFO by now
        descriptor = os.open(self._name, how, 0o644, dir_fd=self._folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is no plain file")
            return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
        except BaseException:
            os.close(descriptor)
            raise

    def make(self) -> None:
        """Make the file, of zeros, if there is none."""
        try:
            with self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
                file.truncate(min(FIRST_SIZE, self.limit))
        except OSError:
            pass  # it is there; or reading or writing it will say so

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


class Services:
    """Random numbers and disk of one driver.

    `persistent` is the memory named for persistency (ioctl 0x18), with the sector at its start; while none is
    named there are no sectors. (An enclave's own shared memory would not do: the host cannot tell which
    enclave of a call chain asks.)
    """

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self.random = Random(0)
        self.disk = Disk()
        self.persistent: HostPages | None = None
        driver.serving[Ocall.GET_RANDOM] = self._serve_random
        driver.serving[Ocall.READ_SECTOR] = self._serve_read
        driver.serving[Ocall.WRITE_SECTOR] = self._serve_write

    def use(self, pages: "HostPages | None") -> None:
        """Name the memory that sectors go through; the disk is there from now on."""
        self.persistent = pages
        self.disk.make()

    def _serve_random(self, enclave: "DriverEnclave", size: int, _arg1: int) -> tuple[int, int]:
        size = min(size, MOST_RANDOM)
        try:
            buffer = self._driver.lend(enclave, size)
        except OutOfMemory:
            return 0, 0
        self._driver.memory.write(buffer, self.random.bytes(size))
        return buffer, size

    def _sector_at(self) -> int:
        """Where sectors are read to and written from, or 0."""
        return self.persistent.pa if self.persistent is not None else 0

    def _serve_read(self, _enclave: "DriverEnclave", sector: int, _arg1: int) -> tuple[int, int]:
        place = self._sector_at()
        data = self.disk.read(sector) if place else None
        if data is None:
            return _FAILED
        self._driver.memory.write(place, data)
        return _OK

    def _serve_write(self, _enclave: "DriverEnclave", sector: int, _arg1: int) -> tuple[int, int]:
        place = self._sector_at()
        if not place:
            return _FAILED
        return _OK if self.disk.write(sector, self._driver.memory.read(place, SECTOR)) else _FAILED
