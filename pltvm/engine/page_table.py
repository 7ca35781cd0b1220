"""An address space: maps, unmaps, looks up, reads and writes pages of one Sv39 page table.

A store to a page that is both writable and executable costs ten times as much as one to a page that is only
writable. So a page that should be both has one permission at a time, and `flip` turns it from RW to RX and
back when it faults. Entries do not mark these pages, as others may have written the entries: the creator of
the table names them (`wants_both`). The RSW bits only count flips; a page that mixes code and data and keeps
flipping stays RWX.

Nothing here flushes: the caller has to tell the hart that translations changed (`Hart.translations_changed`).
"""

from collections.abc import Callable, Iterator
from typing import Final

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Memory
from pltvm.engine.sv39 import (
    ENTRIES,
    FLIP_SHIFT,
    FLIPS,
    PPN_MASK,
    D,
    Leaf,
    R,
    U,
    V,
    W,
    X,
    contiguous_entries,
    make_pte,
    pte_address,
    root_index,
    visit,
    walk,
)

_ALL_D: Final = int.from_bytes(D.to_bytes(8, "little") * ENTRIES, "little")
_TABLE_SPAN: Final = ENTRIES * PAGE  # bytes mapped by a last-level table
_OFFSET: Final = PAGE - 1
_NO_ENTRIES: Final = memoryview(bytes(8 * ENTRIES)).cast("Q")


def _never(_pa: int) -> bool:
    return False


class PageTable:
    """The address space whose root table is at physical address `root`.

    `take_page` returns the physical address of a zeroed page for a new table, or raises. `user` says whether
    the table is for user mode or supervisor mode. `wants_both` says whether a mapped page, given by its
    physical address, should be writable and executable. `made` is called for each new table with its level
    and the entry that points to it. `keeps` is an index of the root: D bits below it stay (`note_written`).
    """

    def __init__(
        self,
        memory: Memory,
        root: int,
        take_page: Callable[[], int],
        user: bool = True,
        wants_both: Callable[[int], bool] = _never,
        made: Callable[[int, int], None] = lambda _level, _slot: None,
        keeps: int = -1,
    ) -> None:
        self.memory = memory
        self._wants_both = wants_both
        self._needed = V | U if user else V
        self.root = root
        self._take_page = take_page
        self._made, self._keeps = made, keeps
        self._words = memory.words
        self._dirty = memory.dirty  # by page: entries are written without the methods of RAM
        # va >> 21 → index in `words` of the last-level table; tables are never freed while in use.
        self._leaf_tables: dict[int, int] = {}
        self._last_tables: list[int] | None = None  # all last-level tables, once they were requested
        self._kept: set[int] = set()  # those of them whose D bits stay
        self._upper: set[int] = set()  # and the pages of upper tables, numbered from the start of RAM

    def _leaf_table(self, va: int, create: bool) -> int:
        """Return the index in `words` of the last-level table for `va`, or -1."""
        index = self._leaf_tables.get(va >> 21)
        if index is not None:
            return index
        table = walk(self.memory, self.root, va, self._make_table if create else None)
        if not table:
            return -1
        index = self._leaf_tables[va >> 21] = (table - self.memory.base) >> 3
        return index

    def _make_table(self, level: int, slot: int) -> int:
        table = self._take_page()
        self.memory.store(slot, make_pte(table, V))
        self._last_tables = None
        self._made(level, slot)
        return table

    def tables_made(self) -> None:
        """Note that a table which shares tables with this one has made new ones."""
        self._last_tables = None

    # -- changing ----------------------------------------------------------------------------------------

    def covers(self, va: int, end: int) -> bool:
        """Whether the tables for a range of at most 2 MiB exist and are known."""
        tables = self._leaf_tables
        return va >> 21 in tables and (end - 1) >> 21 in tables and end - va <= 2 << 20

    def missing_tables(self, va: int, pages: int) -> int:
        """Return the number of tables that are missing to map these pages."""
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
        if len(entries) == 1 and va >> 21 in self._leaf_tables:  # a slice would cost three times as much
            table = self._leaf_tables[va >> 21]
            self._words[table + ((va >> 12) & (ENTRIES - 1))] = entries[0]
            self._dirty[table >> 9] = 1
            return
        done, pages = 0, len(entries)
        while done < pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages - done, ENTRIES - index)
            at = self._leaf_table(va, create=True) + index
            self._words[at : at + count] = entries[done : done + count]
            self._dirty[at >> 9] = 1
            done += count
            va += count * PAGE

    def map(self, va: int, pa: int, pages: int, flags: int) -> None:
        """Map `pages` contiguous pages at `va` to RAM at `pa`, replacing what was there.

        Raises PhysicalAddressError if they are not in RAM, as the JIT would crash at such an entry.
        """
        self.put(va, contiguous_entries(self.memory, pa, pages, flags))
        if flags & X:
            self.memory.executable(pa, pages)

    def unmap(self, va: int, pages: int) -> None:
        """Clear the entries of `pages` pages from `va`; unmapped ones stay unmapped."""
        if pages == 1 and va >> 21 in self._leaf_tables:
            table = self._leaf_tables[va >> 21]
            self._words[table + ((va >> 12) & (ENTRIES - 1))] = 0
            self._dirty[table >> 9] = 1
            return
        while pages:
            index = (va >> 12) & (ENTRIES - 1)
            count = min(pages, ENTRIES - index)
            table = self._leaf_table(va, create=False)
            if table >= 0:
                self._words[table + index : table + index + count] = _NO_ENTRIES[:count]
                self._dirty[table >> 9] = 1
            va += count * PAGE
            pages -= count

    def move(self, va: int, pages: int, target: "PageTable", goal: int) -> None:
        """Move the entries of `pages` mapped pages from `va` to `target`, from `goal` on."""
        words, dirty = self._words, self._dirty
        if pages == 1 and va >> 21 in self._leaf_tables and goal >> 21 in target._leaf_tables:
            source = self._leaf_tables[va >> 21] + ((va >> 12) & (ENTRIES - 1))
            sink = target._leaf_tables[goal >> 21] + ((goal >> 12) & (ENTRIES - 1))
            entry, words[source] = words[source], 0
            words[sink] = entry
            dirty[source >> 9] = dirty[sink >> 9] = 1
            return
        while pages:
            source, sink = va >> 12 & (ENTRIES - 1), goal >> 12 & (ENTRIES - 1)
            count = min(pages, ENTRIES - source, ENTRIES - sink)
            source += self._leaf_table(va, create=False)
            sink += target._leaf_table(goal, create=True)
            words[sink : sink + count] = words[source : source + count]
            words[source : source + count] = _NO_ENTRIES[:count]
            dirty[source >> 9] = dirty[sink >> 9] = 1
            va, goal, pages = va + count * PAGE, goal + count * PAGE, pages - count

    def forget(self) -> None:
        """Forget the places of tables, as they may have moved."""
        self._leaf_tables.clear()
        self._last_tables = None

    def look_again(self, changed: set[int]) -> None:
        """After RAM was restored and the pages with these numbers changed: `forget` if tables may have moved.
        Their count is not enough to decide, as others may have been made then."""
        if self._last_tables is None or not changed.isdisjoint(self._upper):
            self.forget()

    def note_written(self) -> None:
        """Add the pages written through this table to RAM's log, by their D bits.

        Clears the D bits, except those that stay; the caller has to tell the hart.
        """
        words, memory = self._words, self.memory
        if self._last_tables is None:
            pointers = [entry for entry in visit(memory, self.root) if not entry.is_leaf]
            tables = [(entry.level, (pte_address(entry.pte) - memory.base) >> 3) for entry in pointers]
            self._upper = {(self.root - memory.base) >> PAGE_SHIFT}
            self._upper |= {first >> 9 for level, first in tables if level == 0}
            self._last_tables = [first for level, first in tables if level == 1]
            kept = (entry for entry in pointers if entry.level == 1 and root_index(entry.va) == self._keeps)
            self._kept = {(pte_address(entry.pte) - memory.base) >> 3 for entry in kept}
        for first in self._last_tables:
            self._dirty[first >> 9] = 1  # the JIT sets A and D in it
            entries = words[first : first + ENTRIES]
            if int.from_bytes(entries, "little") & _ALL_D:
                stay = D if first in self._kept else 0
                for index, pte in enumerate(entries.tolist()):
                    if pte & D:
                        words[first + index] = pte & ~D | stay
                        memory.touch(pte_address(pte))

    # -- lookup ------------------------------------------------------------------------------------------

    def slot(self, va: int) -> int:
        """Return the physical address of the last-level entry for `va`, or 0 without a table."""
        table = self._leaf_table(va, create=False)
        return self.memory.base + (table + ((va >> 12) & (ENTRIES - 1))) * 8 if table >= 0 else 0

    def entry(self, va: int) -> int:
        """Return the leaf entry for `va`, or 0."""
        table = self._leaf_table(va, create=False)
        pte = self._words[table + ((va >> 12) & (ENTRIES - 1))] if table >= 0 else 0
        return pte if pte & V else 0

    def is_free(self, va: int, pages: int) -> bool:
        """Whether none of `pages` pages from `va` is mapped."""
        return not any(self.entry(at) for at in range(va, va + pages * PAGE, PAGE))

    def translate(self, va: int, flags: int = R) -> int | None:
        """Return the physical address of `va` if its page is mapped with all of `flags` (R, W, X), or
        None."""
        key, offset = divmod(va, _TABLE_SPAN)  # small numbers from here on: they are faster
        table = self._leaf_tables.get(key)
        if table is None:
            table = self._leaf_table(va, create=False)
            if table < 0:
                return None
        pte = self._words[table + (offset >> PAGE_SHIFT)]
        needed = flags | self._needed
        if pte & needed != needed:
            missing = needed & ~pte
            if missing & ~(W | X) or not pte & V or not self._wants_both(pte_address(pte)):
                return None
        return ((pte & PPN_MASK) << 2) + (offset & _OFFSET)

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
        """Whether the page of this valid entry is, or can become, writable."""
        return bool(pte & W) or self._wants_both(pte_address(pte))

    def leaves(self) -> Iterator[Leaf]:
        """Yield every mapped page in the order of table indexes, from root to leaf.

        Raises PhysicalAddressError for a table outside RAM. A huge page is one leaf.
        """
        for entry in visit(self.memory, self.root):
            if entry.is_leaf:
                yield Leaf(entry.va, entry.pte, entry.slot)

    def tables(self) -> Iterator[int]:
        """Yield the physical address of every table, the root first."""
        yield self.root
        for entry in visit(self.memory, self.root):
            if not entry.is_leaf:
                yield pte_address(entry.pte)

    def read(self, va: int, size: int) -> bytes | None:
        """Return `size` bytes at `va` with user-mode permissions, also across pages; None if any is not
        readable."""
        spans = self.spans(va, size, R)
        return None if spans is None else b"".join(self.memory.read(pa, n) for pa, n in spans)

    def write(self, va: int, data: bytes) -> bool:
        """Write `data` at `va` if user mode may write all of it; otherwise return False and write nothing."""
        spans = self.spans(va, len(data), W)
        if spans is None:
            return False
        done = 0
        for pa, n in spans:
            self.memory.write(pa, data[done : done + n])
            done += n
        if self._keeps >= 0:
            self.note_stored(va, len(data))
        return True

    def note_stored(self, va: int, size: int) -> None:
        """Set the D bits of the pages in a range that was written without this table."""
        for page in range(va & -PAGE, va + size, PAGE):
            slot = self.slot(page)
            pte = self.memory.load(slot) if slot else 0
            if pte & V:
                self.memory.store(slot, pte | D)

    def spans(self, va: int, size: int, flags: int) -> list[tuple[int, int]] | None:
        """Return (physical address, bytes) of each page-wise part of a range, or None if one lacks
        `flags`."""
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
