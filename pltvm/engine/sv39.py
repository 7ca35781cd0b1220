"""Sv39 page tables, as the JIT's own walker reads them.

    63      54 53                                   10 9   8 7 6 5 4 3 2 1 0
    | reserved |          physical page number        | RSW |D A G U X W R V|

    virtual address:  38 … 30 root index | 29 … 21 middle | 20 … 12 leaf | 11 … 0 offset

A store to a page that is writable and executable at once costs ten times one to a page that is only
writable. So a page that is both by its owner's wish is never mapped as both: the software bit `BOTH` marks
it, and `flip` turns it from RW to RX and back as it faults. A page that mixes code and data and keeps
flipping is left RWX.

Nothing here flushes: the caller tells the hart that translations changed (`Hart.translations_changed`).
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pltvm.engine.memory import PAGE, Memory

V, R, W, X, U, G, A, D = (1 << bit for bit in range(8))
BOTH: Final = 1 << 8  # RSW bit: the owner wants W and X on this page
READ_ONLY_DATA = V | R | U | A | D
RW: Final = V | R | W | U | A | D
RX: Final = V | R | X | U | A | D
RWX: Final = RW | BOTH  # starts writable; the first fetch flips it

PPN_SHIFT: Final = 10
PPN_MASK: Final = ((1 << 44) - 1) << PPN_SHIFT
PAGE_STEP: Final = 1 << PPN_SHIFT  # PTE difference of neighbouring pages
ENTRIES: Final = 512
LEVEL_SHIFTS: Final = (30, 21, 12)
SATP_SV39: Final = 8 << 60
ASID_SHIFT: Final = 44
ASID_MASK: Final = 0xFFFF << ASID_SHIFT
VA_MASK: Final = (1 << 39) - 1
FLIPS_BEFORE_GIVING_UP: Final = 8


def canonical(va: int) -> bool:
    """Whether bits 63…38 of the address are all equal, as Sv39 demands."""
    return va >> 38 in (0, (1 << 26) - 1)


def pte_address(pte: int) -> int:
    """The physical address that an entry points to."""
    return (pte & PPN_MASK) << 2


def make_pte(pa: int, flags: int) -> int:
    """An entry for the page at `pa`."""
    return pa >> 2 | flags


def satp_for(root: int, asid: int) -> int:
    """The `satp` value that turns on the table at physical address `root`."""
    return SATP_SV39 | asid << ASID_SHIFT | root >> 12


class Leaf(NamedTuple):
    """One mapped page: its virtual address, entry, and the entry's own physical address."""

    va: int
    pte: int
    slot: int


class PageTable:
    """The address space whose root table is at physical address `root`.

    `take_page` gives the physical address of a zeroed page for a new table, or raises.
    """

    def __init__(self, memory: Memory, root: int, take_page: Callable[[], int]) -> None:
        self.memory = memory
        self.root = root
        self._take_page = take_page
        self._flips: dict[int, int] = {}
        self._leaf_tables: dict[int, int] = {}  # va >> 21 → table; tables are never freed while in use

    def _leaf_table(self, va: int, create: bool) -> int:
        """Physical address of the last-level table for `va`, or 0 when there is none."""
        key = (va & VA_MASK) >> 21
        table = self._leaf_tables.get(key)
        if table is not None:
            return table
        table = self.root
        for shift in LEVEL_SHIFTS[:2]:
            slot = table + ((va >> shift) & (ENTRIES - 1)) * 8
            pte = self.memory.load(slot)
            if not pte & V:
                if not create:
                    return 0
                pte = make_pte(self._take_page(), V)
                self.memory.store(slot, pte)
            elif pte & (R | W | X):
                return 0  # a huge page
            table = pte_address(pte)
        self._leaf_tables[key] = table
        return table

    def map(self, va: int, pa: int, pages: int, flags: int) -> None:
        """Map `pages` contiguous pages at `va` to RAM at `pa`, replacing what was there.

        Raises PhysicalAddressError when RAM does not hold them, as the JIT cannot survive such an entry.
        """
        self.memory.read(pa, 0), self.memory.read(pa + pages * PAGE, 0)
        words, base = self.memory.words, self.memory.base
        while pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages, ENTRIES - index)
            slot = (self._leaf_table(va, create=True) - base >> 3) + index
            first = make_pte(pa, flags)
            if count == 1:
                words[slot] = first
            else:
                words[slot : slot + count] = array("Q", range(first, first + count * PAGE_STEP, PAGE_STEP))
            va += count * PAGE
            pa += count * PAGE
            pages -= count

    def make_tables(self, va: int) -> None:
        """Make the tables that mapping the page at `va` needs; raises what `take_page` raises."""
        self._leaf_table(va, create=True)

    def unmap(self, va: int, pages: int) -> None:
        """Clear the entries of `pages` pages from `va`; unmapped ones stay unmapped."""
        words, base = self.memory.words, self.memory.base
        while pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages, ENTRIES - index)
            table = self._leaf_table(va, create=False)
            if table:
                slot = (table - base >> 3) + index
                words[slot : slot + count] = array("Q", bytes(8 * count))
            va += count * PAGE
            pages -= count

    def slot(self, va: int) -> int:
        """Physical address of the last-level entry for `va`, or 0 when no table holds one."""
        if not canonical(va):
            return 0
        table = self._leaf_table(va, create=False)
        return table + ((va >> 12) & (ENTRIES - 1)) * 8 if table else 0

    def entry(self, va: int) -> int:
        """The leaf entry for `va`, 0 when there is none."""
        slot = self.slot(va)
        pte = self.memory.load(slot) if slot else 0
        return pte if pte & V else 0

    def is_free(self, va: int, pages: int) -> bool:
        """Whether none of `pages` pages from `va` is mapped."""
        words, base = self.memory.words, self.memory.base
        while pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages, ENTRIES - index)
            table = self._leaf_table(va, create=False)
            if table:
                slot = (table - base >> 3) + index
                if any(words[slot : slot + count]):
                    return False
            va += count * PAGE
            pages -= count
        return True

    def translate(self, va: int, flags: int = R) -> int | None:
        """Physical address of `va` if its page is mapped for user mode with all of `flags` (R, W, X)."""
        pte = self.entry(va)
        if pte & BOTH:
            pte |= W | X
        if not pte & U or pte & flags != flags:
            return None
        return pte_address(pte) | va & (PAGE - 1)

    def flip(self, va: int, want: int) -> bool:
        """Give the page at `va` the permission `want` (W or X) that its owner allows but that is off now."""
        slot = self.slot(va)
        pte = self.memory.load(slot) if slot else 0
        if not pte & V or not pte & BOTH or pte & want:
            return False
        flips = self._flips.get(slot, 0) + 1
        self._flips[slot] = flips
        if flips > FLIPS_BEFORE_GIVING_UP:
            pte |= W | X
        else:
            pte = (pte & ~(W | X)) | want
        self.memory.store(slot, pte)
        return True

    def leaves(self) -> Iterator[Leaf]:
        """Every mapped page in order of its table index, root to leaf.

        Raises PhysicalAddressError for a table outside RAM. Huge pages are given as one leaf.
        """
        yield from self._leaves(self.root, 0, 0)

    def _leaves(self, table: int, level: int, va: int) -> Iterator[Leaf]:
        shift = LEVEL_SHIFTS[level]
        entries = memoryview(self.memory.read(table, PAGE)).cast("Q")
        for index, pte in enumerate(entries):
            if not pte & V:
                continue
            at = va | index << shift
            if level == 0 and index >= ENTRIES // 2:
                at |= 0xFFFF_FF80_0000_0000
            if level == 2 or pte & (R | W | X):
                yield Leaf(at, pte, table + index * 8)
            else:
                yield from self._leaves(pte_address(pte), level + 1, at)

    def tables(self) -> Iterator[int]:
        """Physical address of every table page, the root first."""
        yield self.root
        for middle in self._children(self.root):
            yield middle
            yield from self._children(middle)

    def _children(self, table: int) -> Iterator[int]:
        for pte in memoryview(self.memory.read(table, PAGE)).cast("Q"):
            if pte & V and not pte & (R | W | X):
                yield pte_address(pte)

    def read(self, va: int, size: int) -> bytes | None:
        """`size` bytes at `va` as user mode may read them, across page ends; None if any is not readable."""
        spans = self.spans(va, size, R)
        return None if spans is None else b"".join(self.memory.read(pa, n) for pa, n in spans)

    def write(self, va: int, data: bytes) -> bool:
        """Write `data` at `va` if user mode may write all of it; False, and nothing written, if not."""
        spans = self.spans(va, len(data), W)
        if spans is None:
            return False
        done = 0
        for pa, n in spans:
            self.memory.write(pa, data[done : done + n])
            done += n
        return True

    def spans(self, va: int, size: int, flags: int) -> list[tuple[int, int]] | None:
        """(physical address, bytes) of each page-wise part of a range, or None if one lacks `flags`."""
        parts = []
        while size > 0:
            n = min(size, PAGE - (va & (PAGE - 1)))
            pa = self.translate(va, flags)
            if pa is None:
                return None
            parts.append((pa, n))
            va += n
            size -= n
        return parts
