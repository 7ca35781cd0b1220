"""Host memory that enclaves see: shared memory, and relay pages whose ownership moves (§7).

    machine.create(elf, shm=b"…")      pages of that enclave alone, freed when it ends
    shm = machine.shm(8192)            pages with an id, for several enclaves, until `free`
    relay = machine.relay(b"…")        pages that are read and written only while they are the host's

Where an enclave takes pages, it takes any of these: `span` says which, `let_go` is called when it ends.
"""

from typing import TYPE_CHECKING, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EnclaveError
from pltvm.monitor.abi import RELAY_BOUND, HostCall, Status

if TYPE_CHECKING:
    from pltvm.host.driver import Driver

Span = tuple[int, int]  # physical address, bytes


class HostPages:
    """Whole pages of host memory, enough for `size` bytes and for `data`, which is at the start."""

    def __init__(self, driver: "Driver", data: bytes, size: int = 0) -> None:
        self._driver = driver
        self.size = max(pages_for(max(len(data), size)), 1) * PAGE
        self.pa = driver.blocks.take(self.size // PAGE)
        driver.pages[self.pa] = self
        driver.memory.write(self.pa, data)

    @property
    def span(self) -> Span:
        """Physical address and bytes."""
        return self.pa, self.size

    @property
    def here(self) -> bool:
        """Whether the host has all of the pages: the page bitmap says so."""
        return self._driver.memory.is_public(self.pa, self.size)

    def read(self) -> bytes:
        """The pages as they are now."""
        return self._driver.memory.read(self.pa, self.size)

    def free(self) -> None:
        """Give the pages back to the kernel."""
        self._driver.blocks.give(self.pa)
        del self._driver.pages[self.pa]

    def take(self) -> None:
        """An enclave has them from now on."""

    def let_go(self) -> None:
        """The enclave that had the pages has ended. Those that it handed on are freed when they are back."""
        if self.here:
            self.free()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Nobody waits for the pages any more: the driver frees them when they are back."""
        del self._driver.pages[self.pa]
        self._driver.away.add(self.pa)


class SharedMemory(HostPages):
    """Memory that the host shares with any number of enclaves: `Machine.shm`."""

    def __init__(self, driver: "Driver", data: bytes, size: int = 0) -> None:
        super().__init__(driver, data, size)
        self.id = driver.new_id()
        self.users = 0  # living enclaves

    def write(self, data: bytes, offset: int = 0) -> None:
        """Put `data` at `offset`. Raises EnclaveError if it does not fit."""
        if not 0 <= offset <= self.size - len(data):
            raise EnclaveError(f"{len(data)} bytes at offset {offset} do not fit {self.size} bytes")
        self._driver.memory.write(self.pa + offset, data)

    def part(self, offset: int, size: int) -> "SharedPart":
        """Whole pages of it, to be shared with an enclave instead of all. Raises EnclaveError."""
        if offset % PAGE or size % PAGE or offset < 0 or size <= 0 or offset + size > self.size:
            raise EnclaveError(f"{size} bytes at offset {offset}: no whole pages of {self.size} bytes")
        return SharedPart(self, offset, size)

    def take(self) -> None:
        """One more enclave has it."""
        self.users += 1

    def let_go(self) -> None:
        """One enclave less has it."""
        self.users -= 1

    def free(self) -> None:
        """Give the memory back. Raises EnclaveError while living enclaves have it."""
        if self.users:
            raise EnclaveError(f"shared memory {self.id} is used by {self.users} living enclaves")
        if self._driver.services.persistent is self:
            self._driver.services.persistent = None
        super().free()


class SharedPart(HostPages):
    """Some pages of a `SharedMemory`."""

    def __init__(self, whole: SharedMemory, offset: int, size: int) -> None:
        self._driver = whole._driver
        self.pa, self.size = whole.pa + offset, size
        self.take, self.let_go, self.free = whole.take, whole.let_go, whole.free  # type: ignore[method-assign]


class RelayMemory(HostPages):
    """Relay pages that outlive the enclave they are given to: `Machine.relay`."""

    def __init__(self, driver: "Driver", data: bytes, size: int = 0) -> None:
        super().__init__(driver, data, size)
        self.id = driver.new_id()

    def read(self) -> bytes:
        """The pages as they are now. Raises EnclaveError while they are not the host's."""
        self._must_be_here()
        return super().read()

    def write(self, data: bytes) -> None:
        """Put `data` at the start. EnclaveError while they are not the host's, or when it is too long."""
        self._must_be_here()
        if len(data) > self.size:
            raise EnclaveError(f"{len(data)} bytes do not fit {self.size} bytes")
        self._driver.memory.write(self.pa, data)

    def _must_be_here(self) -> None:
        if not self.here:
            raise EnclaveError(f"relay pages {self.id} are not the host's now")

    def reclaim(self) -> None:
        """Take back, cleared, what is bound to a name but not mapped; or EnclaveError."""
        driver = self._driver
        if not self.here and driver.kernel.call(HostCall.RECLAIM, self.pa, self.size) != Status.OK:
            raise EnclaveError(f"relay pages {self.id}: a living enclave has some of them")

    def let_go(self) -> None:
        """The enclave has ended: the pages are kept."""

    def free(self) -> None:
        """Give the pages back to the kernel, after `reclaim`."""
        self.reclaim()
        super().free()


class BoundRelay(HostPages):
    """Stands for all relay pages bound to the enclave's name by asynchronous calls (§7)."""

    def __init__(self) -> None:
        self.pa, self.size = RELAY_BOUND, 0

    @property
    def here(self) -> bool:
        """Which pages these are the host does not know."""
        return False

    def let_go(self) -> None:
        """Nothing of its own."""


BOUND: Final = BoundRelay()
