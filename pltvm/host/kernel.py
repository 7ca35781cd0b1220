"""The host kernel: it boots, tells the monitor where page tables and page bitmap lie, and has the free RAM.

    base                monitor (2 MiB)
    …                   page bitmap, page-table area: naturally aligned blocks out of the rest
    …                   free RAM

Its own context is an S-mode context with `mstatus.TVM` set: nothing but the monitor may change `satp`.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final

from pltvm.engine.context import MSTATUS_TVM, Context, S
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EngineError, OutOfMemory
from pltvm.host.blocks import Blocks, order_for
from pltvm.monitor.abi import HostCall, Status
from pltvm.monitor.monitor import MONITOR_SIZE, Monitor

PT_AREA_SHARE: Final = 64  # of RAM, one part in so many
BITMAP_BYTES_A_PAGE: Final = 4
MONITOR_MEMORY: Final = 256 << 10  # given to the monitor at a time
SMALLEST_RAM: Final = 8 << 20


class TablePages:
    """Free pages of the PT area, by level: 0 roots, 1 middle tables, 2 leaf tables (§8 call 83)."""

    def __init__(self, kernel: "Kernel", start: int, pages: int) -> None:
        order = order_for(pages)
        roots, middle = max(order - 6, 1), max(order - 4, 2)
        if kernel.monitor.call(HostCall.SEPARATE, roots, middle) != Status.OK:
            raise EngineError("the monitor refused to separate the page-table area")
        bounds = [0, 1 << roots, (1 << roots) + (1 << middle), pages]
        self._free = [[start + page * PAGE for page in range(low, high)] for low, high in pairwise(bounds)]
        for pool in self._free:
            pool.reverse()  # the lowest page is taken first

    def take(self, level: int) -> int:
        """A cleared page for a table of this level; raises OutOfMemory."""
        if not self._free[level]:
            raise OutOfMemory("the page-table area is used up: give the machine more RAM (--ram)")
        return self._free[level].pop()

    def give(self, level: int, page: int) -> None:
        """Free a page whose entries are all clear."""
        self._free[level].append(page)


class Kernel:
    """The host's memory and its way to the monitor."""

    def __init__(self, hart: Hart, monitor: Monitor) -> None:
        self.hart = hart
        self.monitor = monitor
        self.memory = memory = monitor.host_memory
        # What each part of the host has taken from `blocks`: physical addresses. For the audit.
        self.holders: list[Callable[[], Iterable[int]]] = [self._held]
        self._lent: list[int] = []  # blocks that the monitor has for its records
        self.context = Context(S, mstatus=MSTATUS_TVM)
        hart.current = self.context
        self.blocks = Blocks(memory, memory.base + MONITOR_SIZE, memory.end)
        bitmap_pages = pages_for(memory.size // PAGE * BITMAP_BYTES_A_PAGE)
        pt_pages = 1 << order_for(memory.size // PT_AREA_SHARE // PAGE)
        self.bitmap, self.pt_area = self.blocks.take(bitmap_pages), self.blocks.take(pt_pages)
        self.bitmap_size = self.blocks.size(self.bitmap)
        self.monitor_size = MONITOR_SIZE
        status = monitor.call(
            HostCall.INIT, self.pt_area, self.blocks.size(self.pt_area), self.bitmap, self.bitmap_size
        )
        if status != Status.OK:
            raise EngineError("the monitor refused the memory layout of the host kernel")
        self.tables = TablePages(self, self.pt_area, self.blocks.size(self.pt_area) // PAGE)

    def call(self, function: HostCall, *arguments: int) -> int | None:
        """A monitor call, repeated with more monitor memory if the monitor has none left (§8)."""
        status = self.monitor.call(function, *arguments)
        if status == Status.NO_MONITOR_MEMORY:
            block = self.blocks.take(MONITOR_MEMORY // PAGE)
            if self.monitor.call(HostCall.EXTEND, block, MONITOR_MEMORY) != Status.OK:
                self.blocks.give(block)
                return status
            self._lent.append(block)
            status = self.monitor.call(function, *arguments)
        return status

    def _held(self) -> Iterable[int]:
        return (self.bitmap, self.pt_area, *self._lent)
