"""What the native core asks of the host in place of an ocall: memory for enclaves, and what they print.

The core answers mmap, sbrk and prints of the enclave that the driver has entered without leaving guest code.
It has nothing of the host: blocks come from here, and text that waits is taken here.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.host.away import Away
from pltvm.host.enclave import DriverEnclave
from pltvm.host.kernel import Kernel
from pltvm.host.ocalls import Serve
from pltvm.monitor.abi import Ocall

_WRITE: Final = int(Ocall.WRITE)
_BLOCKS: Final = (int(Ocall.MMAP), int(Ocall.MUNMAP), int(Ocall.SBRK))
_BY_CORE: Final = (_WRITE, *_BLOCKS)


class CoreHost:
    """The host's part, for the monitor's native core. `collect` looks after the blocks in a table of the
    monitor's; `text` gets what the enclave that runs has printed."""

    def __init__(
        self,
        kernel: Kernel,
        away: Away,
        serving: dict[int, Serve],
        collect: Callable[[int], None],
        text: Callable[[bytes], None],
    ) -> None:
        self._kernel = kernel
        self._away = away
        self._serving = serving
        self._served = {number: serving[number] for number in _BY_CORE}  # who else serves them is asked
        self.take_back = collect
        kernel.monitor.set_text_listener(text)
        kernel.monitor.set_block_host(self)

    def enter(self, enclave: DriverEnclave, late: bool) -> None:
        """This enclave runs now. `late`: what it prints may come a moment later."""
        monitor = self._kernel.monitor
        if monitor.hart.has_core:
            serving, served = self._serving, self._served
            blocks = all(serving[number] == served[number] for number in _BLOCKS)
            prints = late and serving[_WRITE] == served[_WRITE]
            monitor.let_core_answer(enclave.kbuffer if prints else 0, not enclave.gives_way, blocks)

    def offer(self, size: int) -> int:
        """Give a block for an enclave; raises OutOfMemory."""
        block = self._kernel.blocks.take(size // PAGE)
        self._away.add(block)
        return block

    def take_unused(self, block: int) -> None:
        """It was not taken."""
        self._away.freed(block, dirty=0)
