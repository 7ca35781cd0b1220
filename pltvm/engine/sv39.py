"""Sv39 page tables, in the format that the JIT's own walker reads.

63      54 53                                   10 9   8 7 6 5 4 3 2 1 0
| reserved |          physical page number        | RSW |D A G U X W R V|

virtual address:  38 … 30 root index | 29 … 21 middle | 20 … 12 leaf | 11 … 0 offset
"""

import ctypes
from array import array
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pltvm import native
from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import PhysicalAddressError

V, R, W, X, U, G, A, D = (1 << bit for bit in range(8))
READ_ONLY_DATA = V | R | U | A | D
RW: Final = V | R | W | U | A | D
RX: Final = V | R | X | U | A | D
RWX: Final = RW | X
FLIP_SHIFT, FLIPS = 8, 3 << 8  # RSW: the number of flips of the page

PPN_SHIFT: Final = 10
PPN_MASK: Final = ((1 << 44) - 1) << PPN_SHIFT
PAGE_STEP: Final = 1 << PPN_SHIFT  # difference of the PTEs of consecutive pages
ENTRIES: Final = 512
LEVEL_SHIFTS: Final = (30, 21, 12)
LAST_LEVEL: Final = 2
SATP_SV39: Final = 8 << 60
SATP_PPN: Final = (1 << 44) - 1
ASID_SHIFT: Final = 44
ASID_MASK: Final = 0xFFFF << ASID_SHIFT
VA_MASK: Final = (1 << 39) - 1
FLIPS_BEFORE_GIVING_UP: Final = FLIPS >> FLIP_SHIFT


def canonical(va: int) -> bool:
    """Whether bits 63…38 of the address are all equal, as Sv39 demands."""
    return va >> 38 in (0, (1 << 26) - 1)


def pte_address(pte: int) -> int:
    """Return the physical address that an entry points to."""
    return (pte & PPN_MASK) << 2


def root_index(va: int) -> int:
    """Return the index of the root table's entry for an address."""
    return va >> LEVEL_SHIFTS[0] & ENTRIES - 1


def make_pte(pa: int, flags: int) -> int:
    """Return an entry for the page at `pa`."""
    return pa >> 2 | flags


def satp_for(root: int, asid: int) -> int:
    """Return the `satp` value that turns on the table at physical address `root`."""
    return SATP_SV39 | asid << ASID_SHIFT | root >> 12


def root_of(satp: int) -> int:
    """Return the physical address of the root table that `satp` names."""
    return (satp & SATP_PPN) << 12


class Leaf(NamedTuple):
    """One mapped page: its virtual address, entry, and the entry's own physical address."""

    va: int
    pte: int
    slot: int


_BLANK: Final = bytes(128)  # sixteen entries, none set


def contiguous_entries(memory: Memory, pa: int, pages: int, flags: int) -> memoryview:
    """Return leaf entries, as u64, for `pages` pages from `pa`; PhysicalAddressError if they are not in
    RAM."""
    if not memory.contains(pa, pages * PAGE):
        raise PhysicalAddressError(f"{pages} pages at {pa:#x} are not in guest RAM")
    first = make_pte(pa, flags)
    return memoryview(array("Q", range(first, first + pages * PAGE_STEP, PAGE_STEP)))


def walk(memory: Memory, root: int, va: int, make: Callable[[int, int], int] | None = None) -> int:
    """Return the physical address of the last-level table for `va`, or 0.

    With `make`, missing tables are made: it gets the level (1, 2) and the physical address of the entry for
    the new table, sets that entry, and returns the table. Raises PhysicalAddressError for a table outside
    RAM and, with `make`, where a table is impossible.
    """
    table = root
    for level, shift in enumerate(LEVEL_SHIFTS[:2], 1):
        slot = table + ((va >> shift) & (ENTRIES - 1)) * 8
        pte = memory.load(slot) if canonical(va) else R
        if pte & (R | W | X):
            if make is None:
                return 0
            raise PhysicalAddressError(f"no page table can map {va:#x}: not canonical, or in a huge page")
        if pte & V:
            table = pte_address(pte)
        elif make is None:
            return 0
        else:
            table = make(level, slot)
    if not memory.contains(table, PAGE):
        raise PhysicalAddressError(f"the page table at {table:#x} is not in guest RAM")
    return table


class Entry(NamedTuple):
    """A valid entry of a table of level 0, 1 or 2, for the addresses from `va` on, and its own address."""

    level: int
    va: int
    pte: int
    slot: int

    @property
    def is_leaf(self) -> bool:
        """Whether it maps a page or a huge page, and does not point to a table."""
        return self.level == LAST_LEVEL or bool(self.pte & (R | W | X))


def visit(memory: Memory, root: int) -> Iterator[Entry]:
    """Yield every valid entry below `root` in index order, each before those of the table it points to.

    Raises PhysicalAddressError for a table outside RAM. The tables may change after the first entry is
    yielded.
    """
    plain = native.core is not None and type(memory) is Memory  # other classes check accesses
    entries = _visited(memory, root) if plain else None
    return _visit(memory, root, 0, 0) if entries is None else iter(entries)


_MOST: Final = 1 << 10
_Rows: Final = ctypes.c_uint64 * (4 * _MOST)


def _visited(memory: Memory, root: int) -> list[Entry] | None:
    """Return all entries by the native core; None if it cannot: too many, or outside RAM."""
    assert native.core is not None
    rows = _Rows()  # a new one, as another visit may begin before this one is read
    count = native.core.pltvm_visit(
        ctypes.c_void_p(memory.host_address), ctypes.c_uint64(memory.base), ctypes.c_uint64(memory.size),
        ctypes.c_uint64(root), rows, ctypes.c_int64(_MOST),
    )  # fmt: skip
    if count < 0:
        return None
    numbers = iter(rows[: 4 * count])
    return list(map(Entry, numbers, numbers, numbers, numbers))


def _visit(memory: Memory, table: int, level: int, va: int) -> Iterator[Entry]:
    shift = LEVEL_SHIFTS[level]
    data = memory.read(table, PAGE)
    for at in range(0, PAGE, len(_BLANK)):
        part = data[at : at + len(_BLANK)]
        if part == _BLANK:
            continue  # most tables are nearly empty
        for index, pte in enumerate(memoryview(part).cast("Q"), at // 8):
            if pte & V:
                here = va | index << shift
                if level == 0 and index >= ENTRIES // 2:
                    here |= 0xFFFF_FF80_0000_0000
                entry = Entry(level, here, pte, table + index * 8)
                yield entry
                if level < LAST_LEVEL and not pte & (R | W | X):
                    yield from _visit(memory, pte_address(pte), level + 1, here)
