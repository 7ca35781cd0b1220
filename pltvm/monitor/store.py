"""The storage of records in RAM: access by address, allocation, and lists by number or name.

Getting a record by its address marks its page as written (`Memory.dirty`), so views must not be kept from one
monitor call to the next. Records of enclaves are in memory that the host gave; regions and segments of mmap,
sbrk and shared memory are in the first page of their blocks; the rest is in tables of the monitor's own
memory.
"""

import ctypes
from typing import Any, Final
from zlib import crc32

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Block, Memory
from pltvm.errors import EngineError
from pltvm.monitor.records import (
    NUMBERS,
    Attachment,
    EnclaveRecord,
    Globals,
    Lent,
    Record,
    RecordType,
    Region,
)

_LENT: Final = ctypes.sizeof(Lent)
# For records in tables: the globals with the free list and the number ever used, and the table.
_TABLES: Final = {
    Region: ("free_regions", "fresh_regions", NUMBERS["REGIONS_AT"]),
    Attachment: ("free_attachments", "fresh_attachments", NUMBERS["ATTACHMENTS_AT"]),
}


class Heads:
    """A hash table: heads of lists of records, by a number or a name."""

    def __init__(self, memory: Memory, at: str, count: str) -> None:
        self.first = NUMBERS[at] >> 3  # index in u64 of RAM
        self.count = NUMBERS[count]
        self._dirty = memory.dirty

    def of_number(self, number: int) -> int:
        """Return the index, in u64 of RAM, of the head of the list for this number."""
        at = self.first + number % self.count
        self._dirty[at >> 9] = 1
        return at

    def of_name(self, name: bytes) -> int:
        """Return the same for a name."""
        at = self.first + crc32(name) % self.count
        self._dirty[at >> 9] = 1
        return at


class Records:
    """All records of the monitor in `memory`, whose first bytes belong to the monitor."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._base = memory.base
        self._host = memory.host_address - memory.base
        self._dirty = memory.dirty
        self._shorts = memory.bytes.cast("H")
        self._views: dict[type[Record], dict[int, Any]] = {}
        self._regions: dict[int, Region] = self._views.setdefault(Region, {})
        self.enclaves = Heads(memory, "ENCLAVES_AT", "ENCLAVE_LISTS")
        self.servers = Heads(memory, "SERVERS_AT", "SERVER_LISTS")
        self.segments = Heads(memory, "SEGMENTS_AT", "SEGMENT_LISTS")
        self.bound = Heads(memory, "BOUNDS_AT", "BOUND_LISTS")
        self.globals = self.view(Globals, memory.base + NUMBERS["GLOBALS_AT"])

    def view(self, kind: type[RecordType], pa: int) -> RecordType:
        """Return the record of this kind at `pa`."""
        known = self._views.setdefault(kind, {})
        view = known.get(pa)
        if view is None:
            if not self.memory.contains(pa, ctypes.sizeof(kind)):
                # outside RAM it would be memory of this process
                raise EngineError(f"no record can be at {pa:#x}")
            view = known[pa] = kind.from_address(self._host + pa)
            view.at = pa
        self._dirty[(pa - self._base) >> PAGE_SHIFT] = 1
        return view

    def region(self, pa: int) -> Region:
        """Return the region whose record is at `pa`: like `view`, for hot calls."""
        region = self._regions.get(pa)
        if region is None:
            return self.view(Region, pa)
        self._dirty[(pa - self._base) >> PAGE_SHIFT] = 1
        return region

    # -- allocation --------------------------------------------------------------------------------------

    def lent(self) -> list[Block]:
        """Return the blocks that the host gave for records."""
        blocks = (self._lent(index) for index in range(self.globals.lent))
        return [Block(block.pa, block.pages) for block in blocks]

    def has_room_for_lent(self) -> bool:
        """Whether the host can give one more block."""
        return self.globals.lent < NUMBERS["MOST_LENT"]

    def add_lent(self, pa: int, pages: int) -> None:
        """Add a block that the host gave."""
        once = self.globals
        block = self._lent(once.lent)
        block.pa, block.pages = pa, pages
        once.lent += 1
        once.record_space += pages * PAGE

    def _lent(self, index: int) -> Lent:
        return self.view(Lent, self._base + NUMBERS["LENT_AT"] + index * _LENT)

    def new_enclave(self) -> int:
        """Return the address of a new struct enclave, all zero; there must be room (`record_space`)."""
        once = self.globals
        once.record_space -= NUMBERS["RECORD_BYTES"]
        if once.free_records:
            at = once.free_records
            once.free_records = self.view(EnclaveRecord, at).next
        else:
            block = self._lent(once.filling)
            if once.fresh == block.pa + block.pages * PAGE:  # this block is full
                once.filling += 1
                once.fresh = self._lent(once.filling).pa
            at = once.fresh or block.pa
            once.fresh = at + NUMBERS["RECORD_BYTES"]
        self.memory.zero(at, NUMBERS["RECORD_BYTES"])
        return at

    def free_enclave(self, at: int) -> None:
        """Free the record of an enclave."""
        once = self.globals
        self.view(EnclaveRecord, at).next = once.free_records
        once.free_records = at
        once.record_space += NUMBERS["RECORD_BYTES"]

    @property
    def regions_left(self) -> int:
        """Return for how many regions without a page of their own there is room, at least."""
        return NUMBERS["MOST_REGIONS"] - self.globals.fresh_regions + bool(self.globals.free_regions)

    def new_region(self, block: int, pages: int, hidden: int) -> Region:
        """Make a region. The record of relay pages (`hidden` 0, or half of a block with a record) is in the
        table, which must have room; others are in the first page of their block."""
        region = self.view(Region, block if hidden else self._new(Region))
        region.next = region.prev = region.va = region.holder = region.call = 0
        region.block, region.block_pages, region.size = block, pages, (pages - hidden) << PAGE_SHIFT
        region.origin_eid, region.origin_va, region.name = -1, 0, b""
        return region

    def free_region(self, region: Region) -> None:
        """Remove a region: its record, if it is in the table, can be used again."""
        if not region.has_page:
            self._free(region)

    @property
    def attachments_left(self) -> int:
        """Return for how many attachments there is room, at least."""
        once = self.globals
        return NUMBERS["MOST_ATTACHMENTS"] - once.fresh_attachments + bool(once.free_attachments)

    def new_attachment(self) -> Attachment:
        """Return a new attachment, not yet filled in."""
        return self.view(Attachment, self._new(Attachment))

    def free_attachment(self, attachment: Attachment) -> None:
        """Free an attachment."""
        self._free(attachment)

    def _new(self, kind: type[Region | Attachment]) -> int:
        once, (free, fresh, table) = self.globals, _TABLES[kind]
        at: int = getattr(once, free)
        if at:
            setattr(once, free, self.view(kind, at).next)
            return at
        used: int = getattr(once, fresh)
        setattr(once, fresh, used + 1)
        return self._base + table + used * ctypes.sizeof(kind)

    def _free(self, record: Region | Attachment) -> None:
        free, _, _ = _TABLES[type(record)]
        record.next = getattr(self.globals, free)
        setattr(self.globals, free, record.at)

    # -- numbers -------------------------------------------------------------------------------------------

    def next_asid(self) -> int | None:
        """Return an ASID that no living enclave has (the host has 0), or None; `use_asid` takes it."""
        once = self.globals
        if once.free_asids:
            return self._shorts[self._asid_slot(once.free_asids - 1)]
        return once.asids + 1 if once.asids < NUMBERS["LAST_ASID"] else None

    @property
    def asids_left(self) -> int:
        """Return the number of unused ASIDs."""
        return self.globals.free_asids + NUMBERS["LAST_ASID"] - self.globals.asids

    def use_asid(self, asid: int) -> None:
        """Mark the ASID that `next_asid` returned as used."""
        if self.globals.free_asids:
            self.globals.free_asids -= 1
        else:
            self.globals.asids = asid

    def free_asid(self, asid: int) -> None:
        """Free an ASID."""
        self._shorts[self._asid_slot(self.globals.free_asids)] = asid
        self.globals.free_asids += 1

    def _asid_slot(self, index: int) -> int:
        """Return the index, in u16 of RAM, of this entry of the stack of free ASIDs."""
        at = NUMBERS["ASIDS_AT"] + 2 * index
        self._dirty[at >> PAGE_SHIFT] = 1
        return at >> 1

    # -- lists with heads in tables ----------------------------------------------------------------------

    def unlink(self, head: int, record: RecordType, link: str) -> None:
        """Remove a record from the list whose head has this index; `link` is the field with the next
        record."""
        words = self.memory.words
        if words[head] == record.at:
            words[head] = getattr(record, link)
            return
        before = self.view(type(record), words[head])
        while getattr(before, link) != record.at:
            before = self.view(type(record), getattr(before, link))
        setattr(before, link, getattr(record, link))
