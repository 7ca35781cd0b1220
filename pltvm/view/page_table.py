"""A page table as a tree: tables on three levels, and their valid entries."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import ENTRIES, LEVEL_SHIFTS, PAGE_STEP, A, D, Entry, V, pte_address, visit
from pltvm.view.events import flags, shown_entry

_MOST_SHOWN: Final = 400  # lines


def _index(va: int, level: int) -> int:
    return va >> LEVEL_SHIFTS[level] & ENTRIES - 1


@dataclass(frozen=True, slots=True)
class PageTableEntry:
    """The valid entry number `index` of its table, for the addresses from `va` on. `table` is the table that
    it points to, None for an entry that maps memory."""

    index: int
    va: int
    pte: int
    table: "PageTableNode | None" = field(default=None, repr=False)

    @property
    def pa(self) -> int:
        """The physical address of the table or page."""
        return pte_address(self.pte)

    @property
    def flags(self) -> str:
        """The bits V R W X U G A D, as letters."""
        return flags(self.pte)


@dataclass(frozen=True, slots=True, repr=False)
class PageTableNode:
    """A table at physical address `pa`: level 0 is the root, level 2 maps pages."""

    level: int
    pa: int
    entries: tuple[PageTableEntry, ...]

    def __getitem__(self, index: int) -> PageTableEntry:
        for entry in self.entries:
            if entry.index == index:
                return entry
        raise KeyError(f"entry {index} of the table at {self.pa:#x} is not valid")

    def walk(self, va: int) -> list[PageTableEntry]:
        """Return the entries on the hardware's walk to this address, as far as they are valid."""
        path: list[PageTableEntry] = []
        table: PageTableNode | None = self
        while table is not None:
            index = _index(va, table.level)
            found = next((one for one in table.entries if one.index == index), None)
            if found is None:
                break
            path.append(found)
            table = found.table
        return path

    def leaves(self) -> Iterator[PageTableEntry]:
        """Yield every entry that maps memory, by address."""
        for entry in self.entries:
            if entry.table is None:
                yield entry
            else:
                yield from entry.table.leaves()

    def lines(self) -> Iterator[str]:
        """Yield the whole tree as text: one line per table and per entry; contiguous pages share a line."""
        yield f"table at {self.pa:#x}"
        yield from self._lines()

    def _lines(self) -> Iterator[str]:
        indent = "  " * (self.level + 1)
        start = 0
        while start < len(self.entries):
            first, end = self.entries[start], start + 1
            while first.table is None and end < len(self.entries) and _follows(self.entries, start, end):
                end += 1
            last = self.entries[end - 1].index
            index = f"{first.index}" if end - start == 1 else f"{first.index}…{last}"
            yield f"{indent}[{index}] {first.va:#x}: {shown_entry(first.pte & ~(A | D))}"
            if first.table is not None:
                yield from first.table._lines()
            start = end

    def __str__(self) -> str:
        lines = list(self.lines())
        more = len(lines) - _MOST_SHOWN
        return "\n".join([*lines[:_MOST_SHOWN], f"… {more} more lines"] if more > 0 else lines)

    def __repr__(self) -> str:
        pages = sum(1 for _ in self.leaves())
        return f"<PageTable at {self.pa:#x}, level {self.level}: {pages} pages>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _follows(entries: tuple[PageTableEntry, ...], start: int, end: int) -> bool:
    count = end - start
    first, this, ignored = entries[start], entries[end], ~(A | D)
    return (
        this.table is None
        and this.index == first.index + count
        and this.pte & ignored == (first.pte & ignored) + count * PAGE_STEP
    )


def page_table(memory: Memory, root: int) -> PageTableNode:
    """Return the tree of the page table at physical address `root`."""
    # by level: entries of tables whose node is not made yet
    rows: tuple[list[PageTableEntry], ...] = ([], [], [])
    # reversed: entries of a table come before the entry that points to it
    for one in reversed(list(visit(memory, root))):
        table = None
        if not one.is_leaf:
            below = rows[one.level + 1]
            table = PageTableNode(one.level + 1, pte_address(one.pte), tuple(reversed(below)))
            below.clear()
        rows[one.level].append(PageTableEntry(one.slot % PAGE // 8, one.va, one.pte, table))
    return PageTableNode(0, root, tuple(reversed(rows[0])))


def way(memory: Memory, root: int, va: int) -> Iterator[Entry]:
    """Yield the entries that the hardware reads on its walk to this address; the last one may be invalid.

    No other entries are read, so they may have any content. The walk ends before an entry outside RAM.
    """
    table = root
    for level, shift in enumerate(LEVEL_SHIFTS):
        slot = table + _index(va, level) * 8
        if not memory.contains(slot, 8):
            return
        entry = Entry(level, va & -1 << shift, memory.load(slot), slot)
        yield entry
        if entry.is_leaf or not entry.pte & V:
            return
        table = pte_address(entry.pte)
