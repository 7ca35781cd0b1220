"""A whole machine: RAM, hart, monitor, host kernel and driver, put together for Python programs."""

from typing import Final

from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import PltvmError
from pltvm.host import api
from pltvm.host.api import Enclave
from pltvm.host.driver import Driver
from pltvm.host.elf import Source
from pltvm.host.kernel import SMALLEST_RAM, Kernel
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType
from pltvm.monitor.monitor import Monitor

RAM_BASE: Final = 0x8000_0000  # §8
DEFAULT_RAM: Final = 1 << 30
LARGEST_RAM: Final = 256 << 30


class Machine:
    """One RISC-V machine with a secure monitor.

    `ram` is in bytes, a page multiple; it is allocated as it is touched. Raises PltvmError for a size that
    does not work.
    """

    def __init__(self, ram: int = DEFAULT_RAM) -> None:
        if not SMALLEST_RAM <= ram <= LARGEST_RAM or ram % PAGE:
            raise PltvmError(
                f"{ram} bytes of RAM: it must be a page multiple from {SMALLEST_RAM >> 20} MiB "
                f"to {LARGEST_RAM >> 30} GiB"
            )
        self.memory = Memory(RAM_BASE, ram)
        self.hart = Hart(self.memory)
        self.monitor = Monitor(self.hart)
        self.kernel = Kernel(self.hart, self.monitor)
        self.driver = Driver(self.kernel)

    def create(
        self,
        elf: Source,
        *,
        name: str = "",
        type: EnclaveType = EnclaveType.NORMAL,
        stack_size: int = DEFAULT_STACK,
        shm: bytes | None = None,
        relay: bytes | None = None,
    ) -> Enclave:
        """Create an enclave from an ELF (path or bytes): `PLenclave_create`.

        `name` is at most 16 bytes; a server needs one that no living server has. `stack_size` is in bytes.
        `shm` is shared with the host while the enclave lives, `relay` is handed over when it runs; both are
        rounded up to whole pages. Raises ElfError, EnclaveError or OutOfMemory, and leaves nothing behind.
        """
        return api.create(self.driver, elf, name=name, kind=type, stack_size=stack_size, shm=shm, relay=relay)
