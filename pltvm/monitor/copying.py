"""Copies an address space: the tables and the writable pages; read-only pages stay shared.

The layout is computed once for a template, so that each copy is a few slice copies:

    new block   | tables, root first | writable pages |
                  links: which entry of which table points to which table
                  runs:  which entries of which table map which writable pages
"""

from array import array
from typing import Final, NamedTuple

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import ENTRIES, FLIPS, PAGE_STEP, R, V, W, X, make_pte, pte_address
from pltvm.monitor.pages import PageOwners

_LEAF: Final = R | W | X
_PAGE_WORDS: Final = PAGE // 8


class _Link(NamedTuple):
    """Entry `word` (counted from the start of the new block) points to table number `table`."""

    word: int
    table: int


class _Run(NamedTuple):
    """Entries from `word` on map `pages` contiguous writable pages from `source`, copied to page `target`."""

    word: int
    pages: int
    source: int
    target: int
    flags: int


class TableCopy:
    """How to copy the address space of `root`. The template must not change afterwards.

    `both` are the pages of a copy, counted from its start, that are to be writable and executable.
    """

    def __init__(self, owners: PageOwners, root: int) -> None:
        self._memory: Memory = owners.memory
        self._owners = owners
        self._tables = [root]
        self._links: list[_Link] = []
        self._runs: list[_Run] = []
        self.writable = 0  # pages
        self.both: list[int] = []
        numbers = {root: 0}  # of the tables
        for entry in sv39.visit(self._memory, root):
            table, index = entry.slot & -PAGE, entry.slot % PAGE // 8
            word, target = numbers[table] * _PAGE_WORDS + index, pte_address(entry.pte)
            if not entry.is_leaf:
                self._links.append(_Link(word, len(self._tables)))
                numbers[target] = len(self._tables)
                self._tables.append(target)
            elif entry.pte & W or owners.wants_both(target):
                self._add(word, entry.pte)
        first = len(self._tables)
        self._runs = [run._replace(target=run.target + first) for run in self._runs]
        self.both = [page + first for page in self.both]

    @property
    def pages(self) -> int:
        """Pages of a copy: tables and writable pages."""
        return len(self._tables) + self.writable

    def _add(self, word: int, pte: int) -> None:
        flags = pte & ~(sv39.PPN_MASK | FLIPS | sv39.D)  # D of pages written since a snapshot is not copied
        page = pte_address(pte)
        if self._owners.wants_both(page):
            self.both.append(self.writable)
        last = self._runs[-1] if self._runs else None
        if (
            last is not None
            and word == last.word + last.pages
            and word % ENTRIES
            and page == last.source + last.pages * PAGE
            and flags == last.flags
        ):
            self._runs[-1] = last._replace(pages=last.pages + 1)
        else:
            self._runs.append(_Run(word, 1, page, self.writable, flags))
        self.writable += 1

    def make(self, block: int) -> None:
        """Copy into the `pages` pages at physical address `block`; the root comes first."""
        memory = self._memory
        words, base = memory.words, memory.base
        start = (block - base) >> 3
        for number, table in enumerate(self._tables):
            source, target = (table - base) >> 3, start + number * _PAGE_WORDS
            words[target : target + _PAGE_WORDS] = words[source : source + _PAGE_WORDS]
        memory.touch(block, len(self._tables))
        for word, table in self._links:
            words[start + word] = make_pte(block + table * PAGE, V)
        for word, pages, origin, page, flags in self._runs:
            goal = block + page * PAGE
            first = make_pte(goal, flags)
            words[start + word : start + word + pages] = array(
                "Q", range(first, first + pages * PAGE_STEP, PAGE_STEP)
            )
            memory.copy(origin, goal, pages * PAGE)
