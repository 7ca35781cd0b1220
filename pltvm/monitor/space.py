"""The address space of one enclave: its page table, its mappings, and the pages left over for tables.

    mmap area      grows down from MMAP_TOP; one mapping is one block the host gave
    heap           grows up from HEAP_BASE, likewise
    relay area     at RELAY_BASE: pages the host handed over at run time

A block that came through mmap or sbrk starts with a page for the monitor's record, which is not mapped.
"""

from bisect import bisect_right, insort

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import PageTable
from pltvm.errors import OutOfMemory
from pltvm.monitor.abi import HEAP_BASE, MMAP_TOP, RELAY_BASE, SHM_BASE
from pltvm.monitor.pages import PageOwners


class Mapping:
    """Pages that move as one: mapped at `va`, in RAM from `block`, of which `record` pages are not mapped.

    `entries` are its page-table entries, made once: wherever the mapping goes, they are the same. `origin` is
    the eid of the enclave that passed it on last, and its address there; for reports.
    """

    __slots__ = ("block", "block_pages", "entries", "origin", "pages", "size", "va")

    def __init__(self, memory: Memory, block: int, block_pages: int, record: int) -> None:
        self.va = 0
        self.origin = (-1, 0)
        self.block = block
        self.block_pages = block_pages
        self.pages = block_pages - record
        self.size = self.pages * PAGE
        self.entries = sv39.contiguous_entries(memory, block + record * PAGE, self.pages, sv39.RW)

    @property
    def end(self) -> int:
        """First address behind the mapping."""
        return self.va + self.size


class AddressSpace:
    """Everything mapped in one enclave.

    `free` … `free_end` are the physical pages of the enclave's block that nothing uses yet; page tables
    come out of them.
    """

    def __init__(self, owners: PageOwners, root: int, free: int, free_end: int, asid: int) -> None:
        self.memory = memory = owners.memory
        self.table = PageTable(memory, root, self.take_page, wants_both=owners.wants_both)
        self.asid = asid
        self.satp = sv39.satp_for(root, asid)
        self.free = free
        self.free_end = free_end
        self.mmaps: dict[int, Mapping] = {}  # by address
        self._starts: list[int] = []  # the same addresses, sorted
        self.heap: list[Mapping] = []  # by address, without gaps
        self.heap_top = HEAP_BASE  # where it ends
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

    def has_room(self, *ranges: tuple[int, int], reserve: int = 0) -> bool:
        """Whether the tables for these ranges (address, pages), of different GiB, leave `reserve` pages."""
        missing = sum(self.table.missing_tables(va, pages) for va, pages in ranges if pages)
        return not missing or missing <= (self.free_end - self.free) // PAGE - reserve

    def make_tables(self, va: int, pages: int, reserve: int = 0) -> bool:
        """Make sure that mapping these pages needs no new table.

        False, and nothing done, when that would leave less than `reserve` pages of the block.
        """
        if not self.has_room((va, pages), reserve=reserve):
            return False
        if pages:
            self.table.make_tables(va, pages)
        return True

    # -- finding -----------------------------------------------------------------------------------------

    @property
    def lowest(self) -> int:
        """Where the lowest mapping of the mmap area starts."""
        return self._starts[0] if self._starts else MMAP_TOP

    def find(self, va: int, size: int) -> Mapping | None:
        """The mapping of the mmap area, or the relay region that starts the relay area, with this range."""
        mapping = self.mmaps.get(va)
        if mapping is None:
            if va == RELAY_BASE:
                mapping = self.relays[0] if self.relays and self.relays[0].va == va else None
            else:
                index = bisect_right(self._starts, va) - 1
                mapping = self.mmaps[self._starts[index]] if index >= 0 else None
        if mapping is None or va + size > mapping.va + mapping.size:
            return None
        return mapping

    def find_relay(self, va: int, size: int) -> Mapping | None:
        """The relay region that holds this range."""
        for region in self.relays:
            if region.va <= va and va + size <= region.end:
                return region
        return None

    def is_free(self, va: int, pages: int) -> bool:
        """Whether a mapping fits at `va`: inside the mmap area, or where no region of the relay area is."""
        end = va + pages * PAGE
        if va >= RELAY_BASE:
            return end <= SHM_BASE and all(r.end <= va or end <= r.va for r in self.relays)
        if end > MMAP_TOP or va < self.heap_top:
            return False
        starts = self._starts
        if not starts:
            return True
        index = bisect_right(starts, va)
        if index and self.mmaps[starts[index - 1]].end > va:
            return False
        return index == len(starts) or end <= starts[index]

    def place_for(self, wanted: int, pages: int, reserve: int = 0) -> int | None:
        """Where `pages` pages go: at `wanted` if that is free, else just below the lowest mapping.

        Tables for `wanted` may use all but `reserve` pages of the block; where that is not enough, the
        pages go below the lowest mapping too. None when the area is full or no page is left for the tables.
        """
        end = wanted + pages * PAGE
        if (
            not self._starts
            and self.heap_top <= wanted
            and end <= MMAP_TOP
            and self.table.covers(wanted, end)
        ):
            return wanted  # the common case, in one go
        if self.is_free(wanted, pages) and self.make_tables(wanted, pages, reserve):
            return wanted
        return self.place_below(pages)

    def place_below(self, pages: int) -> int | None:
        """Where `pages` pages go below the lowest mapping, or at the top of an empty area."""
        va = self.lowest - pages * PAGE
        return va if va >= self.heap_top and self.make_tables(va, pages) else None

    def has(self, mapping: Mapping) -> bool:
        """Whether this very mapping of the mmap or relay area is here."""
        return self.mmaps.get(mapping.va) is mapping or mapping in self.relays

    # -- changing ----------------------------------------------------------------------------------------

    def move_to(self, target: "AddressSpace", mapping: Mapping, va: int) -> None:
        """Take `mapping` out and map it in `target` at `va`, which its `place_for` gave."""
        old, entries = mapping.va, mapping.entries
        if old >= RELAY_BASE or va >= RELAY_BASE:
            self.remove(mapping)
            target.insert(mapping, va)
            return
        del self.mmaps[old]
        starts = self._starts
        del starts[bisect_right(starts, old) - 1 if len(starts) > 1 else 0]
        self.table.unmap(old, mapping.pages)
        mapping.va = va
        target.mmaps[va] = mapping
        if target._starts:
            insort(target._starts, va)
        else:
            target._starts.append(va)
        target.table.put(va, entries)

    def insert(self, mapping: Mapping, va: int) -> None:
        """Map `mapping` at `va`, which `place_for` gave."""
        mapping.va = va
        if va >= RELAY_BASE:
            insort(self.relays, mapping, key=_address)
        else:
            self.mmaps[va] = mapping
            if self._starts:
                insort(self._starts, va)
            else:
                self._starts.append(va)
        self.table.put(va, mapping.entries)

    def remove(self, mapping: Mapping) -> None:
        """Unmap `mapping`. The caller makes sure that the hart flushes."""
        va = mapping.va
        if va >= RELAY_BASE:
            self.relays.remove(mapping)
        else:
            del self.mmaps[va]
            starts = self._starts
            del starts[bisect_right(starts, va) - 1 if len(starts) > 1 else 0]
        self.table.unmap(va, mapping.pages)

    def grow_heap(self, mapping: Mapping) -> None:
        """Map `mapping` at the heap top."""
        mapping.va = self.heap_top
        self.heap_top += mapping.size
        self.heap.append(mapping)
        self.table.put(mapping.va, mapping.entries)

    def shrink_heap(self) -> Mapping:
        """Unmap and give the last block of the heap."""
        mapping = self.heap.pop()
        self.heap_top = mapping.va
        self.table.unmap(mapping.va, mapping.pages)
        return mapping

    def mappings(self) -> list[Mapping]:
        """Every block that came from outside the enclave's own."""
        return [*self.heap, *self.mmaps.values(), *self.relays, *self.orphans]


def _address(mapping: Mapping) -> int:
    return mapping.va
