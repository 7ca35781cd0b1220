"""The ocalls that the driver serves itself (§4): memory, and printed text.

`serving` is the table of all ocalls that are answered at once. The driver finds the request in the mailbox
and passes the answer back; services from outside the machine are in `services`.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import OutOfMemory
from pltvm.host.away import Away
from pltvm.host.enclave import DriverEnclave
from pltvm.host.kernel import Kernel
from pltvm.monitor import abi
from pltvm.monitor.abi import Ocall

Serve = Callable[[DriverEnclave, int, int], tuple[int, int]]

_NEWLINE: Final = ord("\n")


class Ocalls:
    """Memory for enclaves, from `kernel`, and printed text, which `write` gets.

    `collect` frees the pages in a table of the monitor.
    """

    def __init__(
        self,
        kernel: Kernel,
        away: Away,
        write: Callable[[DriverEnclave, bytes], None],
        collect: Callable[[int], None],
    ) -> None:
        self.memory = kernel.memory
        self._blocks = kernel.blocks
        self._away = away
        self._write = write
        self._collect = collect
        self.serving: dict[int, Serve] = {
            Ocall.MMAP: self._serve_block,
            Ocall.SBRK: self._serve_sbrk,
            Ocall.MUNMAP: self._serve_freed,
            Ocall.WRITE: self._serve_write,
            Ocall.SHM_GET: self._serve_shared,
            Ocall.SHM_DETACH: self._serve_freed,
            Ocall.SHM_DESTROY: self._serve_freed,
        }

    def lend(self, enclave: DriverEnclave, size: int) -> int:
        """Return the physical address of memory for an answer; raises OutOfMemory.

        When the answer is taken, the block is freed, or, if the monitor has made it private, it counts as
        away.
        """
        block = self._blocks.take(pages_for(size))
        enclave.lent.append(block)
        return block

    def answer_taken(self, enclave: DriverEnclave) -> None:
        """Free the memory of an answer, as the enclave has taken it, or has ended."""
        while enclave.lent:
            block = enclave.lent.pop()
            if self.memory.is_public(block, PAGE):
                self._blocks.give(block)
            else:
                self._away.add(block)

    def _serve_write(self, enclave: DriverEnclave, _arg0: int, _arg1: int) -> tuple[int, int]:
        text = self.memory.read(enclave.kbuffer, abi.WRITE_LIMIT).partition(b"\0")[0]
        if text:
            self._write(enclave, text if text[-1] == _NEWLINE else text + b"\n")
        return 0, 0

    def _serve_block(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        block = self.lend(enclave, size + PAGE)
        return block, self._blocks.size(block)

    def _serve_shared(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        try:
            return self._serve_block(enclave, size, 0)
        except OutOfMemory:
            return 0, 0

    def _serve_sbrk(self, enclave: DriverEnclave, size: int, freed: int) -> tuple[int, int]:
        if size:
            return self._serve_block(enclave, size, 0)
        self._collect(freed)
        return 0, 0

    def _serve_freed(self, _enclave: DriverEnclave, block: int, _arg1: int) -> tuple[int, int]:
        self._collect(block)
        return 0, 0
