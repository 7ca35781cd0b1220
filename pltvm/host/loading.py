"""Loads an enclave's ELF, its stack and its page tables into a block of host memory (§1)."""

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES
from pltvm.errors import OutOfMemory
from pltvm.host.elf import EnclaveImage
from pltvm.monitor import abi
from pltvm.monitor.host_memory import HostMemory


class BlockTable(PageTable):
    """A page table that the host builds in its own memory: each entry is a store of the host."""

    def put(self, va: int, entries: memoryview) -> None:
        """Set the leaf entries from `va` on, making tables as needed; raises AccessFault."""
        while entries:
            count = min(len(entries), ENTRIES - (va >> 12) % ENTRIES)
            self.make_tables(va, count)
            self.memory.write(self.slot(va), entries[:count].cast("B"))
            entries, va = entries[count:], va + count * PAGE


def load(memory: HostMemory, image: EnclaveImage, block: int, block_pages: int, stack_size: int) -> int:
    """Load the image and its page tables into `block` (§1); return the physical address of the first unused
    page."""
    free = block + abi.RESERVED_PAGES * PAGE
    end = block + block_pages * PAGE

    def take(pages: int = 1) -> int:
        nonlocal free
        taken, free = free, free + pages * PAGE
        if free > end:
            raise OutOfMemory("the enclave's tables do not fit its block")
        return taken

    table = BlockTable(memory, block + PAGE, take)
    stack_pages = pages_for(stack_size)
    if stack_pages:
        table.map(abi.STACK_TOP - stack_pages * PAGE, take(stack_pages), stack_pages, sv39.RW)
    for run in image.runs():
        pa = take(run.npages)
        for offset, data in run.parts:
            memory.write(pa + offset, data)
        table.map(run.vaddr, pa, run.npages, sv39.RWX if run.writable else sv39.RX)
    return free
