"""The host's services for the native core, in place of ocalls: memory for enclaves, and printed text.

The core answers mmap, sbrk and prints of the running enclave without leaving guest code. It contains no part
of the host: it gets blocks from here, and waiting text is fetched from here.
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
    """The host's part of the native core. `collect` frees the blocks in a table of the monitor; `text` gets
    what the running enclave has printed."""

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
        # if they are replaced, the replacement is called
        self._served = {number: serving[number] for number in _BY_CORE}
        self.take_back = collect
        kernel.monitor.set_text_listener(text)
        kernel.monitor.set_block_host(self)

    def enter(self, enclave: DriverEnclave, late: bool) -> None:
        """Prepare for running this enclave. `late`: its printed text may come a little later."""
        monitor = self._kernel.monitor
        if monitor.hart.has_core:
            serving, served = self._serving, self._served
            blocks = all(serving[number] == served[number] for number in _BLOCKS)
            prints = late and serving[_WRITE] == served[_WRITE]
            monitor.let_core_answer(enclave.kbuffer if prints else 0, not enclave.gives_way, blocks)

    def offer(self, size: int) -> int:
        """Return a block for an enclave; raises OutOfMemory."""
        block = self._kernel.blocks.take(size // PAGE)
        self._away.add(block)
        return block

    def take_unused(self, block: int) -> None:
        """Take back a block that was not used."""
        self._away.freed(block, dirty=0)
