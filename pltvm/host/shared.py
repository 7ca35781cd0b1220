"""Host memory that enclaves see: shared memory, and relay pages whose ownership moves (§7).

    machine.create(elf, shm=b"…")      pages of that enclave alone, freed when it ends
    shm = machine.shm(8192)            pages with an id, for several enclaves, until `free`
    relay = machine.relay(b"…")        pages that are read and written only while they are the host's

Any of these can be given to an enclave: `span` is the address range. They are handles: the state of the pages
is in `kept`, so that they refer to the same pages after the machine was restored.
"""

from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EnclaveError
from pltvm.host.driver import Driver
from pltvm.host.kept import Kind
from pltvm.host.spans import Span
from pltvm.monitor.abi import RELAY_BOUND


class HostPages:
    """Whole pages of host memory, enough for `size` bytes and for `data`, which is at the start."""

    kind = Kind.OWN

    def __init__(self, driver: Driver, data: bytes, size: int = 0) -> None:
        self._driver = driver
        pages = max(pages_for(max(len(data), size)), 1)
        self.size = pages * PAGE
        self.pa, row = driver.kept.add(data, pages, self.kind)
        self.id = row.id

    @property
    def span(self) -> Span:
        """Their physical address and size."""
        return Span(self.pa, self.size)

    @property
    def here(self) -> bool:
        """Whether the host owns all of the pages, by the page bitmap."""
        return self._driver.kept.here(self.span)

    def read(self) -> bytes:
        """Return the content of the pages."""
        return self._driver.memory.read(self.pa, self.size)

    def free(self) -> None:
        """Give the pages back to the kernel. Raises EnclaveError while living enclaves use them."""
        self._driver.kept.free(self.pa)


class SharedMemory(HostPages):
    """Memory that the host shares with any number of enclaves: `Machine.shm`."""

    kind = Kind.SHARED

    @property
    def users(self) -> int:
        """The number of living enclaves that use it."""
        return self._driver.kept.users(self.pa)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Write `data` at `offset`. Raises EnclaveError if it does not fit."""
        if not 0 <= offset <= self.size - len(data):
            raise EnclaveError(f"{len(data)} bytes at offset {offset} do not fit {self.size} bytes")
        self._driver.memory.write(self.pa + offset, data)

    def part(self, offset: int, size: int) -> "SharedPart":
        """Return some whole pages of it, to share only these with an enclave. Raises EnclaveError."""
        if offset % PAGE or size % PAGE or offset < 0 or size <= 0 or offset + size > self.size:
            raise EnclaveError(f"{size} bytes at offset {offset}: no whole pages of {self.size} bytes")
        return SharedPart(self, offset, size)


class SharedPart(HostPages):
    """Some pages of a `SharedMemory`."""

    def __init__(self, whole: SharedMemory, offset: int, size: int) -> None:
        self._driver = whole._driver
        self.pa, self.size, self.id = whole.pa + offset, size, whole.id


class RelayMemory(HostPages):
    """Relay pages that outlive the enclave they are given to: `Machine.relay`."""

    kind = Kind.RELAY

    def read(self) -> bytes:
        """Return the content of the pages. Raises EnclaveError while the host does not own them."""
        self._must_be_here()
        return super().read()

    def write(self, data: bytes) -> None:
        """Write `data` at the start. Raises EnclaveError if it is too long, or while the host does not own
        the pages."""
        self._must_be_here()
        if len(data) > self.size:
            raise EnclaveError(f"{len(data)} bytes do not fit {self.size} bytes")
        self._driver.memory.write(self.pa, data)

    def _must_be_here(self) -> None:
        if not self.here:
            raise EnclaveError(f"relay pages {self.id} are not the host's now")

    def reclaim(self) -> None:
        """Take back pages that are bound to a name but not mapped; they are cleared. Raises EnclaveError."""
        self._driver.kept.reclaim(self.pa)


class BoundRelay(HostPages):
    """Stands for all relay pages bound to the enclave's name by asynchronous calls (§7)."""

    def __init__(self) -> None:
        self.pa, self.size, self.id = RELAY_BOUND, 0, 0

    @property
    def here(self) -> bool:
        """Always true: the host does not know which pages these are."""
        return False


BOUND: Final = BoundRelay()
