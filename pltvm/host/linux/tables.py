"""The page table of a Linux process, in the PT area; many entries are changed by one monitor call.

    root → middle table → leaf table → page          entries of one leaf table: 2 MiB of addresses

Consecutive entries are written as a row to a page of the host (`Frames.scratch`); the monitor checks each and
copies them from there (§8 call 101, kind COPY).
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from errno import EFAULT
from typing import Final, NamedTuple

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES
from pltvm.host.kernel import Kernel
from pltvm.host.linux.errors import LinuxError
from pltvm.monitor.abi import HostCall, SetPte, Status

LEAF_SHIFT: Final = 21  # log2 of the bytes mapped by a leaf table
_FEW_TABLES: Final = 16  # up to so many tables are looked up one by one
_NOTHING: Final = bytes(8 * ENTRIES)


class TablePage(NamedTuple):
    """A page of the PT area used by a page table: its level and physical address."""

    level: int
    page: int


class Row(NamedTuple):
    """Consecutive entries of one leaf table: the index of the first in RAM's words, and their number."""

    first: int
    length: int


class ProcessTable(PageTable):
    """A page table in the PT area: the same walk, but every change is a monitor call.

    `pages` are its pages, the root first; it takes more when it grows. `scratch` returns the physical address
    of the page for rows of entries.
    """

    def __init__(self, kernel: Kernel, pages: list[TablePage], scratch: Callable[[], int]) -> None:
        self._kernel = kernel
        self._scratch = scratch
        self.pages = pages
        if not pages:
            self._take(0)
        super().__init__(kernel.hart.memory, pages[0].page, lambda: 0)  # reads the table that the MMU walks
        # For copies, each of which reads one entry: va >> LEAF_SHIFT → index in `all_words`, if known.
        self.leaf_tables, self.all_words = self._leaf_tables, self._words

    def _take(self, level: int) -> int:
        page = self._kernel.tables.take(level)
        self.pages.append(TablePage(level, page))
        return page

    def must_have_room_for_another(self) -> None:
        """Raise OutOfMemory if there are too few pages for another process with as many tables."""
        for level, count in Counter(one.level for one in self.pages).items():
            self._kernel.tables.must_have(level, count)

    def load(self, pages: list[TablePage]) -> None:
        """Use other tables, which are in RAM; none at the end."""
        self.pages = pages
        self.root = pages[0].page if pages else 0
        self.forget()

    # -- lookup ------------------------------------------------------------------------------------------

    def raw_entry(self, va: int) -> int:
        """Return the leaf entry for `va`, even while the monitor hides it (V off); 0 if there is none."""
        table = self._leaf_table(va, create=False)
        return self._words[table + (va >> PAGE_SHIFT & ENTRIES - 1)] if table >= 0 else 0

    def raw_entries(self, va: int, count: int) -> list[int]:
        """Return `count` such entries from `va` on, all in one leaf table."""
        table = self._leaf_table(va, create=False)
        if table < 0:
            return [0] * count
        first = table + (va >> PAGE_SHIFT & ENTRIES - 1)
        return self._words[first : first + count].tolist()

    def rows(self, start: int, end: int) -> Iterator[Row]:
        """Yield the entries for a range, table by table; addresses without a table are left out."""
        for key in self._keys(start >> LEAF_SHIFT, end - 1 >> LEAF_SHIFT):
            table = self._leaf_table(key << LEAF_SHIFT, create=False)
            if table >= 0:
                low, high = max(start, key << LEAF_SHIFT), min(end, key + 1 << LEAF_SHIFT)
                yield Row(table + (low >> PAGE_SHIFT & ENTRIES - 1), high - low >> PAGE_SHIFT)

    def _keys(self, first: int, last: int) -> Iterable[int]:
        """Return the numbers of the leaf tables from `first` to `last`; for a large range only existing
        ones."""
        if last - first < _FEW_TABLES:
            return range(first, last + 1)
        words, base, found = self._words, self.memory.base, []
        root = self.root - base >> 3
        for number, pte in enumerate(words[root : root + ENTRIES].tolist()):
            if pte and first >> 9 <= number <= last >> 9:
                middle = sv39.pte_address(pte) - base >> 3
                entries = enumerate(words[middle : middle + ENTRIES].tolist(), number << 9)
                found += [key for key, one in entries if one and first <= key <= last]
        return found

    # -- changing ----------------------------------------------------------------------------------------

    def make_tables(self, va: int, pages: int) -> None:
        """Make the tables that mapping these pages needs; raises OutOfMemory."""
        for key in range(va >> LEAF_SHIFT, ((va + pages * PAGE - 1) >> LEAF_SHIFT) + 1):
            if key not in self._leaf_tables:
                sv39.walk(self.memory, self.root, key << LEAF_SHIFT, self._make_table)

    def _make_table(self, level: int, slot: int) -> int:
        page = self._take(level)
        self._set(slot, sv39.make_pte(page, sv39.V))
        return page

    def set_entry(self, va: int, pte: int) -> None:
        """Set the leaf entry for `va`; 0 clears it."""
        if pte:
            self.make_tables(va, 1)
        slot = self.slot(va)
        if slot:
            self._set(slot, pte)

    def set_entries(self, va: int, entries: "array[int]") -> None:
        """Set the entries from `va` on, all in one leaf table, which is made if necessary."""
        if len(entries) == 1:
            self.set_entry(va, entries[0])
        else:
            self.make_tables(va, 1)
            self._copy(self.slot(va), entries.tobytes())

    def clear(self, start: int, end: int) -> None:
        """Clear all entries for a range."""
        for row in self.rows(start, end):
            self._clear(row.first, row.length)

    def clear_writable(self, start: int, end: int) -> None:
        """Clear the writable entries for a range."""
        words, base = self._words, self.memory.base
        for index, count in self.rows(start, end):
            for first, stop in _runs([pte & sv39.W for pte in words[index : index + count].tolist()]):
                self._copy(base + 8 * (index + first), _NOTHING[: 8 * (stop - first)])

    def _clear(self, index: int, count: int) -> None:
        ptes = self._words[index : index + count]
        if not any(ptes):
            return
        for first, stop in _runs(ptes.tolist()):
            self._copy(self.memory.base + 8 * (index + first), _NOTHING[: 8 * (stop - first)])

    def _copy(self, slot: int, row: bytes) -> None:
        """Set consecutive entries."""
        if len(row) == 8:
            self._set(slot, int.from_bytes(row, "little"))
            return
        scratch = self._scratch()
        self._kernel.memory.write(scratch, row)
        if self._kernel.call(HostCall.SET_PTE, SetPte.COPY, slot, scratch, len(row)) != Status.OK:
            raise LinuxError(EFAULT)

    def _set(self, slot: int, pte: int) -> None:
        kind = SetPte.ONE if pte else SetPte.ZERO
        if self._kernel.call(HostCall.SET_PTE, kind, slot, pte, 0) != Status.OK:
            raise LinuxError(EFAULT)

    def free(self) -> None:
        """Clear every entry and give the tables back."""
        for level, page in reversed(self.pages):
            self._clear((page - self.memory.base) >> 3, ENTRIES)
            self._kernel.tables.give(level, page)
        self.pages.clear()
        self.forget()


def _runs(flags: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of set flags: the first index, and the one after the last."""
    count, at = len(flags), 0
    if all(flags):
        yield 0, count
        return
    while at < count:
        if not flags[at]:
            at += 1
            continue
        first = at
        while at < count and flags[at]:
            at += 1
        yield first, at
