"""Sv39 page tables, as the JIT's own walker reads them.

    63      54 53                                   10 9   8 7 6 5 4 3 2 1 0
    | reserved |          physical page number        | RSW |D A G U X W R V|

    virtual address:  38 … 30 root index | 29 … 21 middle | 20 … 12 leaf | 11 … 0 offset

A store to a page that is writable and executable at once costs ten times one to a page that is only
writable. So a page that is to be both is mapped as one at a time, and `flip` turns it from RW to RX and back
as it faults. Which pages these are is not told by entries, which others may have filled: whoever makes the
table says so (`wants_both`). The RSW bits count the flips, no more; a page that mixes code and data and keeps
flipping is left RWX.

Nothing here flushes: the caller tells the hart that translations changed (`Hart.translations_changed`).
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import PhysicalAddressError

V, R, W, X, U, G, A, D = (1 << bit for bit in range(8))
READ_ONLY_DATA = V | R | U | A | D
RW: Final = V | R | W | U | A | D
RX: Final = V | R | X | U | A | D
RWX: Final = RW | X
FLIP_SHIFT, FLIPS = 8, 3 << 8  # RSW: how often the page has flipped

PPN_SHIFT: Final = 10
PPN_MASK: Final = ((1 << 44) - 1) << PPN_SHIFT
PAGE_STEP: Final = 1 << PPN_SHIFT  # PTE difference of neighbouring pages
ENTRIES: Final = 512
LEVEL_SHIFTS: Final = (30, 21, 12)
SATP_SV39: Final = 8 << 60
ASID_SHIFT: Final = 44
ASID_MASK: Final = 0xFFFF << ASID_SHIFT
VA_MASK: Final = (1 << 39) - 1
FLIPS_BEFORE_GIVING_UP: Final = FLIPS >> FLIP_SHIFT


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


_BLANK: Final = bytes(128)  # sixteen entries, none set
_NO_ENTRIES: Final = memoryview(bytes(8 * ENTRIES)).cast("Q")


def contiguous_entries(memory: Memory, pa: int, pages: int, flags: int) -> memoryview:
    """Leaf entries, as u64, for `pages` pages of RAM from `pa`; PhysicalAddressError if RAM lacks them."""
    if not memory.contains(pa, pages * PAGE):
        raise PhysicalAddressError(f"{pages} pages at {pa:#x} are not in guest RAM")
    first = make_pte(pa, flags)
    return memoryview(array("Q", range(first, first + pages * PAGE_STEP, PAGE_STEP)))


def _never(_pa: int) -> bool:
    return False


def _no_table(va: int, create: bool) -> int:
    if create:
        raise PhysicalAddressError(f"no page table can map {va:#x}: not canonical, or in a huge page")
    return -1


class PageTable:
    """The address space whose root table is at physical address `root`.

    `take_page` gives the physical address of a zeroed page for a new table, or raises. `user` says whether
    user mode looks through it, or supervisor mode. `wants_both` tells of a mapped page, by its physical
    address, whether it is to be writable and executable.
    """

    def __init__(
        self,
        memory: Memory,
        root: int,
        take_page: Callable[[], int],
        user: bool = True,
        wants_both: Callable[[int], bool] = _never,
    ) -> None:
        self.memory = memory
        self._wants_both = wants_both
        self._needed = V | U if user else V
        self.root = root
        self._take_page = take_page
        self._words = memory.words
        # va >> 21 → index in `words` of the last-level table; tables are never freed while in use.
        self._leaf_tables: dict[int, int] = {}

    def _leaf_table(self, va: int, create: bool) -> int:
        """Index in `words` of the last-level table for `va`, or -1 when there is none."""
        index = self._leaf_tables.get(va >> 21)
        if index is not None:
            return index
        if not canonical(va):
            return _no_table(va, create)
        memory, table = self.memory, self.root
        for shift in LEVEL_SHIFTS[:2]:
            slot = table + ((va >> shift) & (ENTRIES - 1)) * 8
            pte = memory.load(slot)
            if not pte & V:
                if not create:
                    return -1
                pte = make_pte(self._take_page(), V)
                memory.store(slot, pte)
            elif pte & (R | W | X):
                return _no_table(va, create)  # a huge page
            table = pte_address(pte)
        if not memory.contains(table, PAGE):
            raise PhysicalAddressError(f"the page table at {table:#x} is not in guest RAM")
        index = self._leaf_tables[va >> 21] = (table - memory.base) >> 3
        return index

    # -- changing ----------------------------------------------------------------------------------------

    def covers(self, va: int, end: int) -> bool:
        """Whether the tables for a range of at most 2 MiB are there and known."""
        tables = self._leaf_tables
        return va >> 21 in tables and (end - 1) >> 21 in tables and end - va <= 2 << 20

    def missing_tables(self, va: int, pages: int) -> int:
        """How many tables mapping these pages would have to make."""
        last = (va + pages * PAGE - 1) >> 21
        if last - (va >> 21) <= 1 and va >> 21 in self._leaf_tables and last in self._leaf_tables:
            return 0
        missing = [
            key
            for key in range(va >> 21, last + 1)
            if key not in self._leaf_tables and self._leaf_table(key << 21, create=False) < 0
        ]
        if not missing:
            return 0
        roots = {key >> 9 & (ENTRIES - 1) for key in missing}
        return len(missing) + sum(not self.memory.load(self.root + 8 * index) & V for index in roots)

    def make_tables(self, va: int, pages: int) -> None:
        """Make the tables that mapping these pages needs; raises what `take_page` raises."""
        last = (va + pages * PAGE - 1) >> 21
        for key in range(va >> 21, last + 1):
            if key not in self._leaf_tables:
                self._leaf_table(key << 21, create=True)

    def put(self, va: int, entries: memoryview) -> None:
        """Set the leaf entries from `va` on, making tables as needed; the entries must point to RAM."""
        if len(entries) == 1 and va >> 21 in self._leaf_tables:  # a slice costs three times as much
            self._words[self._leaf_tables[va >> 21] + ((va >> 12) & (ENTRIES - 1))] = entries[0]
            return
        done, pages = 0, len(entries)
        while done < pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages - done, ENTRIES - index)
            at = self._leaf_table(va, create=True) + index
            self._words[at : at + count] = entries[done : done + count]
            done += count
            va += count * PAGE

    def map(self, va: int, pa: int, pages: int, flags: int) -> None:
        """Map `pages` contiguous pages at `va` to RAM at `pa`, replacing what was there.

        Raises PhysicalAddressError when RAM does not hold them, as the JIT cannot survive such an entry.
        """
        self.put(va, contiguous_entries(self.memory, pa, pages, flags))
        if flags & X:
            self.memory.executable(pa, pages)

    def unmap(self, va: int, pages: int) -> None:
        """Clear the entries of `pages` pages from `va`; unmapped ones stay unmapped."""
        if pages == 1 and va >> 21 in self._leaf_tables:
            self._words[self._leaf_tables[va >> 21] + ((va >> 12) & (ENTRIES - 1))] = 0
            return
        while pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages, ENTRIES - index)
            table = self._leaf_table(va, create=False)
            if table >= 0:
                self._words[table + index : table + index + count] = _NO_ENTRIES[:count]
            va += count * PAGE
            pages -= count

    # -- looking -----------------------------------------------------------------------------------------

    def slot(self, va: int) -> int:
        """Physical address of the last-level entry for `va`, or 0 when no table holds one."""
        table = self._leaf_table(va, create=False)
        return self.memory.base + (table + ((va >> 12) & (ENTRIES - 1))) * 8 if table >= 0 else 0

    def entry(self, va: int) -> int:
        """The leaf entry for `va`, 0 when there is none."""
        table = self._leaf_table(va, create=False)
        pte = self._words[table + ((va >> 12) & (ENTRIES - 1))] if table >= 0 else 0
        return pte if pte & V else 0

    def is_free(self, va: int, pages: int) -> bool:
        """Whether none of `pages` pages from `va` is mapped."""
        return not any(self.entry(at) for at in range(va, va + pages * PAGE, PAGE))

    def translate(self, va: int, flags: int = R) -> int | None:
        """Physical address of `va` if its page is mapped, for user mode, with all of `flags` (R, W, X)."""
        table = self._leaf_tables.get(va >> 21)
        if table is None:
            table = self._leaf_table(va, create=False)
            if table < 0:
                return None
        pte = self._words[table + ((va >> 12) & (ENTRIES - 1))]
        needed = flags | self._needed
        if pte & needed != needed:
            missing = needed & ~pte
            if missing & ~(W | X) or not pte & V or not self._wants_both(pte_address(pte)):
                return None
        return (pte & PPN_MASK) << 2 | va & (PAGE - 1)

    def flip(self, va: int, want: int) -> bool:
        """Give the page at `va` the permission `want` (W or X) that its owner allows but that is off now."""
        slot = self.slot(va)
        pte = self.memory.load(slot) if slot else 0
        if not pte & V or pte & want or not self._wants_both(pte_address(pte)):
            return False
        flips = pte & FLIPS
        if flips == FLIPS:
            pte |= W | X
        else:
            pte = (pte & ~(W | X | FLIPS)) | want | flips + (1 << FLIP_SHIFT)
        self.memory.store(slot, pte)
        if pte & X:
            self.memory.executable(pte_address(pte))
        return True

    def writable(self, pte: int) -> bool:
        """Whether the page of this valid entry is, or may become, writable."""
        return bool(pte & W) or self._wants_both(pte_address(pte))

    def leaves(self) -> Iterator[Leaf]:
        """Every mapped page in order of its table index, root to leaf.

        Raises PhysicalAddressError for a table outside RAM. Huge pages are given as one leaf.
        """
        yield from self._leaves(self.root, 0, 0)

    def _leaves(self, table: int, level: int, va: int) -> Iterator[Leaf]:
        shift = LEVEL_SHIFTS[level]
        for index, pte in self._present(table):
            at = va | index << shift
            if level == 0 and index >= ENTRIES // 2:
                at |= 0xFFFF_FF80_0000_0000
            if level == 2 or pte & (R | W | X):
                yield Leaf(at, pte, table + index * 8)
            else:
                yield from self._leaves(pte_address(pte), level + 1, at)

    def _present(self, table: int) -> Iterator[tuple[int, int]]:
        """Index and value of the valid entries of a table; most tables are nearly empty."""
        data = self.memory.read(table, PAGE)
        for at in range(0, PAGE, len(_BLANK)):
            part = data[at : at + len(_BLANK)]
            if part != _BLANK:
                for index, pte in enumerate(memoryview(part).cast("Q"), at // 8):
                    if pte & V:
                        yield index, pte

    def tables(self) -> Iterator[int]:
        """Physical address of every table page, the root first."""
        yield self.root
        for middle in self._children(self.root):
            yield middle
            yield from self._children(middle)

    def _children(self, table: int) -> Iterator[int]:
        for _, pte in self._present(table):
            if not pte & (R | W | X):
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
        if (va & (PAGE - 1)) + size <= PAGE:
            pa = self.translate(va, flags)
            return None if pa is None else [(pa, size)]
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
