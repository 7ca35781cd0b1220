"""The address space of one enclave: its page table, its mappings, and the pages left over for tables.

    mmap area      grows down from MMAP_TOP; one mapping is one block the host gave
    heap           grows up from HEAP_BASE, likewise
    relay area     at RELAY_BASE: pages the host handed over at run time

A block that came through mmap or sbrk starts with a page for the monitor's record, which is not mapped.
"""

from bisect import bisect_right
from operator import attrgetter

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import PageTable
from pltvm.errors import OutOfMemory
from pltvm.monitor.abi import HEAP_BASE, MMAP_TOP, RELAY_BASE, SHM_BASE

_BY_ADDRESS = attrgetter("va")


class Mapping:
    """Pages that move as one: mapped at `va`, in RAM from `block`, of which `record` pages are not mapped."""

    __slots__ = ("block", "block_pages", "record", "va")

    def __init__(self, va: int, block: int, block_pages: int, record: int) -> None:
        self.va = va
        self.block = block
        self.block_pages = block_pages
        self.record = record

    @property
    def pages(self) -> int:
        """Number of mapped pages."""
        return self.block_pages - self.record

    @property
    def end(self) -> int:
        """First address behind the mapping."""
        return self.va + (self.block_pages - self.record) * PAGE

    @property
    def pa(self) -> int:
        """Physical address of the first mapped page."""
        return self.block + self.record * PAGE

    def holds(self, va: int, size: int) -> bool:
        """Whether `size` bytes at `va` lie inside."""
        return self.va <= va and va + size <= self.end


class AddressSpace:
    """Everything mapped in one enclave.

    `free` … `free_end` are the physical pages of the enclave's block that nothing uses yet; page tables
    come out of them.
    """

    def __init__(self, memory: Memory, root: int, free: int, free_end: int, asid: int) -> None:
        self.memory = memory
        self.table = PageTable(memory, root, self.take_page)
        self.asid = asid
        self.satp = sv39.satp_for(root, asid)
        self.free = free
        self.free_end = free_end
        self.mmaps: list[Mapping] = []  # by address
        self.heap: list[Mapping] = []  # by address, without gaps
        self.relays: list[Mapping] = []  # by address
        self.orphans: list[Mapping] = []  # not mapped: taken back from servers when a chain broke

    # -- pages for tables ------------------------------------------------------------------------------

    def take_page(self) -> int:
        """A zeroed page of the block; raises OutOfMemory when none is left."""
        if self.free >= self.free_end:
            raise OutOfMemory("the enclave's block has no page left for a page table")
        page = self.free
        self.memory.zero(page, PAGE)
        self.free += PAGE
        return page

    def make_tables(self, va: int, pages: int) -> bool:
        """Make sure that mapping these pages needs no new table; False when the block has none left."""
        try:
            for at in range(va & ~0x1F_FFFF, va + pages * PAGE, 1 << 21):
                self.table.make_tables(at)
        except OutOfMemory:
            return False
        return True

    # -- finding -----------------------------------------------------------------------------------------

    @property
    def heap_top(self) -> int:
        """Where the heap ends."""
        return self.heap[-1].end if self.heap else HEAP_BASE

    def find(self, va: int, size: int) -> Mapping | None:
        """The mapping of the mmap area, or the relay region that starts the relay area, with this range."""
        if RELAY_BASE <= va < SHM_BASE:
            first = self.relays[0] if self.relays else None
            return first if first and va == first.va == RELAY_BASE and first.holds(va, size) else None
        mmaps = self.mmaps
        index = bisect_right(mmaps, va, key=_BY_ADDRESS) - 1
        if index >= 0 and mmaps[index].holds(va, size):
            return mmaps[index]
        return None

    def is_free(self, va: int, pages: int) -> bool:
        """Whether a mapping fits at `va`: inside the mmap area, or in an empty relay area."""
        end = va + pages * PAGE
        if va == RELAY_BASE:
            return not self.relays and end <= SHM_BASE
        if va < self.heap_top or end > MMAP_TOP:
            return False
        index = bisect_right(self.mmaps, va, key=_BY_ADDRESS)
        below, above = self.mmaps[index - 1 : index], self.mmaps[index : index + 1]
        return (not below or below[0].end <= va) and (not above or end <= above[0].va)

    def place_for(self, wanted: int, pages: int) -> int | None:
        """Where `pages` pages go: at `wanted` if that is free, else just below the lowest mapping.

        None when the area is full or no page is left for the tables.
        """
        if not self.is_free(wanted, pages):
            return self.place_below(pages)
        return wanted if self.make_tables(wanted, pages) else None

    def place_below(self, pages: int) -> int | None:
        """Where `pages` pages go below the lowest mapping, or at the top of an empty area."""
        va = (self.mmaps[0].va if self.mmaps else MMAP_TOP) - pages * PAGE
        return va if va >= self.heap_top and self.make_tables(va, pages) else None

    # -- changing ----------------------------------------------------------------------------------------

    def insert(self, mapping: Mapping, va: int) -> None:
        """Map `mapping` at `va`, which `place_for` gave."""
        mapping.va = va
        mappings = self.relays if RELAY_BASE <= va < SHM_BASE else self.mmaps
        mappings.insert(bisect_right(mappings, va, key=_BY_ADDRESS), mapping)
        self.table.map(va, mapping.pa, mapping.pages, sv39.RW)

    def remove(self, mapping: Mapping) -> None:
        """Unmap `mapping`. The caller makes sure that the hart flushes."""
        (self.relays if RELAY_BASE <= mapping.va < SHM_BASE else self.mmaps).remove(mapping)
        self.table.unmap(mapping.va, mapping.pages)

    def grow_heap(self, mapping: Mapping) -> None:
        """Map `mapping`, placed at the heap top, as the end of the heap."""
        self.heap.append(mapping)
        self.table.map(mapping.va, mapping.pa, mapping.pages, sv39.RW)

    def shrink_heap(self) -> Mapping:
        """Unmap and give the last block of the heap."""
        mapping = self.heap.pop()
        self.table.unmap(mapping.va, mapping.pages)
        return mapping

    def mappings(self) -> list[Mapping]:
        """Every block that came from outside the enclave's own."""
        return [*self.heap, *self.mmaps, *self.relays, *self.orphans]
