"""The address space of one enclave: its page table, its regions, and the pages left over for tables.

    mmap area      grows down from MMAP_TOP; one region is one block the host gave
    heap           grows up from HEAP_BASE, likewise
    relay area     at RELAY_BASE: pages the host handed over at run time

A block of mmap or sbrk starts with a page for its record, which is not mapped. The records of each area's
regions form a list, from the lowest address up; for the heap, from the top down.

Methods that change mappings call `changed`, so that the TLB is flushed before guest code runs again.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.page_table import PageTable
from pltvm.errors import OutOfMemory
from pltvm.monitor.abi import MMAP_TOP, RELAY_BASE, SHM_BASE, STACK_TOP
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.records import EnclaveRecord, Region
from pltvm.monitor.store import Records

STACK_INDEX: Final = sv39.root_index(STACK_TOP - PAGE)  # in a root: the GiB that contains only the stack


class AddressSpace:
    """Everything mapped in the enclave of `record`; uses the record's fields `root` … `orphans`.

    A concurrent server has a root table for each slot: `root` is one of them, and `made` is called for new
    tables (`slots`). They differ only in stack and kbuffer, so the space of any slot is the server's.
    """

    def __init__(
        self,
        records: Records,
        owners: PageOwners,
        record: EnclaveRecord,
        changed: Callable[[], None],
        root: int = 0,
        made: Callable[[int, int], None] | None = None,
    ) -> None:
        self.memory = owners.memory
        self.records = records
        self.record = record
        self.changed = changed
        self._region = records.region
        root, take, both = root or record.root, self.take_page, owners.wants_both
        if made is None:
            self.table = PageTable(owners.memory, root, take, wants_both=both)
        else:
            self.table = PageTable(owners.memory, root, take, wants_both=both, made=made, keeps=STACK_INDEX)

    # -- pages for tables ------------------------------------------------------------------------------

    def take_page(self) -> int:
        """A zeroed page of the block; raises OutOfMemory when none is left."""
        page = self.record.free
        if page >= self.record.free_end:
            raise OutOfMemory("the enclave's block has no page left for a page table")
        self.memory.zero(page, PAGE)
        self.record.free = page + PAGE
        return page

    def has_room(self, *ranges: tuple[int, int], reserve: int = 0) -> bool:
        """Whether the tables for these ranges (address, pages), of different GiB, leave `reserve` pages."""
        return has_room(self.table, self.record.free_end - self.record.free, *ranges, reserve=reserve)

    def make_tables(self, va: int, pages: int, reserve: int = 0) -> bool:
        """Make the tables for these pages, so that mapping them needs no new ones.

        Returns False, and does nothing, if that would leave less than `reserve` pages of the block.
        """
        if not self.has_room((va, pages), reserve=reserve):
            return False
        if pages:
            self.table.make_tables(va, pages)
        return True

    # -- finding -----------------------------------------------------------------------------------------

    def regions(self, head: int) -> Iterator[Region]:
        """Yield the regions of the list that starts at `head`; the one yielded may be removed meanwhile."""
        while head:
            region = self.records.region(head)
            head = region.next
            yield region

    @property
    def lowest(self) -> int:
        """Return the start of the lowest mapping of the mmap area."""
        first = self.record.mmaps
        return self.records.region(first).va if first else MMAP_TOP

    @property
    def relays(self) -> list[Region]:
        """The regions of the relay area, by address."""
        return list(self.regions(self.record.relays))

    @property
    def mmaps(self) -> dict[int, Region]:
        """The regions of the mmap area by their addresses, which are in order."""
        return {region.va: region for region in self.regions(self.record.mmaps)}

    def find(self, va: int, size: int) -> Region | None:
        """Return the region with this range: one of the mmap area, or the first of the relay area."""
        at_relays = va == RELAY_BASE
        at = self.record.relays if at_relays else self.record.mmaps
        while at:
            region = self._region(at)
            start = region.va
            if start > va or (at_relays and start != va):
                return None
            end = start + region.size
            if va < end:
                return region if va + size <= end else None
            at = region.next
        return None

    def find_relay(self, va: int, size: int) -> Region | None:
        """Return the relay region that contains this range."""
        for region in self.regions(self.record.relays):
            if region.va <= va and va + size <= region.end:
                return region
        return None

    def is_free(self, va: int, pages: int) -> bool:
        """Whether a region fits at `va`: inside the mmap area, or at a free place of the relay area."""
        end = va + pages * PAGE
        if va >= RELAY_BASE:
            return end <= SHM_BASE and all(r.end <= va or end <= r.va for r in self.relays)
        if end > MMAP_TOP or va < self.record.heap_top:
            return False
        if pages and (self.table.entry(va) or self.table.entry(end - PAGE)):
            return False  # the usual case, tested first as there may be many regions
        for region in self.regions(self.record.mmaps):
            if end <= region.va:
                break
            if region.end > va:
                return False
        return True

    def place_for(self, wanted: int, pages: int, reserve: int = 0) -> int | None:
        """Return the address for `pages` pages: `wanted` if that is free, else just below the lowest region.

        Tables for `wanted` may use all but `reserve` pages of the block; if that is not enough, the pages
        go below the lowest region too. None if the area is full or no page is left for the tables.
        """
        record, end = self.record, wanted + pages * PAGE
        if (
            not record.mmaps
            and record.heap_top <= wanted
            and end <= MMAP_TOP
            and self.table.covers(wanted, end)
        ):
            return wanted  # the common case, in one go
        if self.is_free(wanted, pages) and self.make_tables(wanted, pages, reserve):
            return wanted
        return self.place_below(pages)

    def place_below(self, pages: int) -> int | None:
        """Return the address for `pages` pages below the lowest region, or at the top of an empty area."""
        va = self.lowest - pages * PAGE
        return va if va >= self.record.heap_top and self.make_tables(va, pages) else None

    def has(self, region: Region) -> bool:
        """Whether this region is in the mmap or relay area."""
        head = self.record.relays if region.va >= RELAY_BASE else self.record.mmaps
        return any(one.at == region.at for one in self.regions(head))

    # -- changing ----------------------------------------------------------------------------------------

    def move_to(self, target: "AddressSpace", region: Region, va: int) -> None:
        """Unmap `region` and map it in `target` at `va`, which `target.place_for` returned."""
        old, record = region.va, target.record
        region.holder = region.call = 0
        self._unlink(region)
        self.table.move(old, region.size >> PAGE_SHIFT, target.table, va)
        region.va = va
        if va < RELAY_BASE and not record.mmaps:  # the common case, in one go
            region.next = region.prev = 0
            record.mmaps = region.at
        else:
            target._link(region)
        self.changed()

    def insert(self, region: Region, va: int) -> None:
        """Map `region` at `va`, which `place_for` returned."""
        region.va = va
        self._link(region)
        self._map(region)

    def remove(self, region: Region) -> None:
        """Unmap `region`."""
        self._unlink(region)
        self._unmap(region)

    def grow_heap(self, region: Region) -> None:
        """Map `region` at the heap top."""
        record = self.record
        region.va = record.heap_top
        record.heap_top = region.end
        region.next = record.heap
        record.heap = region.at
        self._map(region)

    def shrink_heap(self) -> Region:
        """Unmap the last block of the heap and return it."""
        record = self.record
        region = self.records.region(record.heap)
        record.heap, record.heap_top = region.next, region.va
        self._unmap(region)
        return region

    def adopt(self, region: Region) -> None:
        """Add a region without mapping it: it came back when a chain was broken."""
        region.next = self.record.orphans
        self.record.orphans = region.at

    def all_regions(self) -> list[Region]:
        """Return every region that is not in the enclave's own block."""
        record = self.record
        heads = (record.heap, record.mmaps, record.relays, record.orphans)
        return [region for head in heads for region in self.regions(head)]

    # -- inside ------------------------------------------------------------------------------------------

    def _map(self, region: Region) -> None:
        self.table.put(region.va, sv39.contiguous_entries(self.memory, region.pa, region.pages, sv39.RW))
        self.changed()

    def _unmap(self, region: Region) -> None:
        self.memory.touch(region.pa, region.pages)  # the D bits go with the entries
        self.table.unmap(region.va, region.pages)
        self.changed()

    def _link(self, region: Region) -> None:
        """Insert it into the list of its area, in order."""
        record, at, va = self.record, region.at, region.va
        in_relays = va >= RELAY_BASE
        before, after = None, record.relays if in_relays else record.mmaps
        while after:
            following = self._region(after)
            if following.va > va:
                following.prev = at
                break
            before, after = following, following.next
        region.next = after
        if before is not None:
            region.prev, before.next = before.at, at
            return
        region.prev = 0
        if in_relays:
            record.relays = at
        else:
            record.mmaps = at

    def _unlink(self, region: Region) -> None:
        """Remove it from the list of its area."""
        before, after = region.prev, region.next
        if after:
            self._region(after).prev = before
        if before:
            self._region(before).next = after
        elif region.va >= RELAY_BASE:
            self.record.relays = after
        else:
            self.record.mmaps = after


def has_room(table: PageTable, size: int, *ranges: tuple[int, int], reserve: int = 0) -> bool:
    """Whether the tables for these ranges (address, pages), of different GiB, fit `size` bytes and leave
    `reserve` pages of them."""
    missing = sum(table.missing_tables(va, pages) for va, pages in ranges if pages)
    return not missing or missing <= size // PAGE - reserve
