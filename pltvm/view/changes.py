"""Finds changes in RAM since the last look: owners of pages, entries of page tables, enclaves.

They are found in RAM itself, whatever made them: RAM's log says which pages were written, and a copy of each
page of the bitmap and of each table has the content from before.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import ENTRIES, LAST_LEVEL, LEVEL_SHIFTS, PAGE_STEP, A, D, R, V, W, X, pte_address
from pltvm.monitor.enclave import Enclave, EnclaveState
from pltvm.monitor.pages import BOTH, ENTRY_SIZE, PRIVATE
from pltvm.monitor.state import State

_LEAF: Final = R | W | X
_SEEN_BITS: Final = ~(A | D)  # bits set by the hardware do not count as changes
_PART: Final = 128  # bytes that are compared at a time
_NO_ENTRIES: Final = bytes(PAGE)
_HIGH_HALF: Final = 0xFFFF_FF80_0000_0000


class Moved(NamedTuple):
    """Pages from `pa` on, and their bitmap entry before and after, see `pages.py`; 0 for public pages."""

    pa: int
    pages: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Row:
    """Entries of the table at `table` from `index` on: see `events.Pte`. `eid` is the owner of the table,
    None for the host."""

    table: int
    index: int
    count: int
    level: int
    before: int
    after: int
    eid: int | None
    va: int | None


class Change(NamedTuple):
    """An enclave, and the names of its states before and after; "" before its creation and after its end.

    `slot` is the number of the slot of a concurrent server; None for other enclaves.
    """

    eid: int
    slot: int | None
    before: str
    after: str


class _Table:
    """The former content of a page table, and its position: `va` is the address that its first entry maps."""

    def __init__(self, level: int, eid: int | None, va: int | None) -> None:
        self.level, self.eid, self.va = level, eid, va
        self.content = _NO_ENTRIES


class Owners:
    """The former content of the page bitmap. `pages` are the numbers of the pages that hold it."""

    def __init__(self, state: State) -> None:
        self._base = state.memory.base
        self._bytes = memoryview(state.owners.entries).cast("B")
        self._start = state.owners.bitmap - self._base
        end = self._start + len(self._bytes)
        self.pages = range(self._start >> PAGE_SHIFT, (end + PAGE - 1) >> PAGE_SHIFT)
        self._was = bytearray(self._bytes)

    def changes(self, number: int) -> Iterator[Moved]:
        """Yield the changes in one page of the bitmap, by address; equal changes of neighbours are one."""
        at = (number << PAGE_SHIFT) - self._start
        now, was = bytes(self._bytes[at : at + PAGE]), bytes(self._was[at : at + PAGE])
        if now != was:
            self._was[at : at + PAGE] = now
            yield from _moved(self._base + (at // ENTRY_SIZE << PAGE_SHIFT), was, now)


def whose(entry: int) -> int:
    """Return an entry of the bitmap without the bits that do not affect the owner."""
    return entry & ~BOTH if entry >= PRIVATE else 0


def _moved(pa: int, was: bytes, now: bytes) -> Iterator[Moved]:
    before, after = array("I", was), array("I", now)
    run: Moved | None = None
    for index in _different(was, now, ENTRY_SIZE):
        old, new, at = whose(before[index]), whose(after[index]), pa + (index << PAGE_SHIFT)
        if old == new:
            continue
        if run is not None and (run.before, run.after, run.pa + run.pages * PAGE) == (old, new, at):
            run = run._replace(pages=run.pages + 1)
            continue
        if run is not None:
            yield run
        run = Moved(at, 1, old, new)
    if run is not None:
        yield run


def _different(was: bytes, now: bytes, size: int) -> Iterator[int]:
    """Yield the indexes of the elements of `size` bytes that differ."""
    for start in range(0, len(now), _PART):
        if was[start : start + _PART] != now[start : start + _PART]:
            for at in range(start, min(start + _PART, len(now)), size):
                if was[at : at + size] != now[at : at + size]:
                    yield at // size


class Tables:
    """The former content of all page tables: those of living enclaves, and of the host in the pages
    `host`."""

    def __init__(self, state: State) -> None:
        assert state.tables is not None
        self._state, self._memory, self._host = state, state.memory, state.tables
        self.host = state.tables.pages
        self._tables: dict[int, _Table] = {}  # by number of the page
        self._of: dict[int, set[int]] = {}  # the pages of each enclave's tables
        self._fresh: list[int] = []  # pages of tables that were not visited yet
        # numbers of the first page, and of the one after the last
        self.reach = self.host.start, self.host.stop
        for number in self.host:
            now = self._now(number)
            if now != _NO_ENTRIES and (table := self._host_table(number)) is not None:
                table.content = now
        for enclave in self._state.enclaves.values():
            self.add(enclave)
        for _ in self.changes([]):
            pass

    def _host_table(self, number: int) -> _Table | None:
        level = self._host.level_of(self._memory.base + (number << PAGE_SHIFT))
        if level is None:
            return None
        table = self._tables[number] = _Table(level, None, None)
        return table

    def _now(self, number: int) -> bytes:
        return bytes(self._memory.bytes[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT])

    def add(self, enclave: Enclave) -> None:
        """Add a new enclave: all its entries count as changes."""
        self._of[enclave.eid] = set()
        self._add(enclave.root, 0, enclave.eid, 0)

    def _add(self, pa: int, level: int, eid: int, va: int) -> None:
        if self._memory.contains(pa, PAGE):
            number = (pa - self._memory.base) >> PAGE_SHIFT
            self._tables[number] = _Table(level, eid, va)
            self._of[eid].add(number)
            self._fresh.append(number)
            self.include(number, number + 1)

    def include(self, first: int, end: int) -> None:
        """Extend the range of pages of interest by these."""
        self.reach = min(self.reach[0], first), max(self.reach[1], end)

    def remove(self, eid: int) -> None:
        """Remove an enclave that has ended, and its tables: that is not reported as changes."""
        for number in self._of.pop(eid, ()):
            if number in self._tables and self._tables[number].eid == eid:
                del self._tables[number]

    def changes(self, numbers: list[int]) -> Iterator[Row]:
        """Yield the changes in these pages of RAM and in new tables, table by table; consecutive entries are
        one."""
        for some in (numbers, self._fresh):
            for number in some:  # _fresh grows meanwhile
                table = self._tables.get(number)
                if table is None and number in self.host:
                    table = self._host_table(number)
                if table is None:
                    continue
                now, was = self._now(number), table.content
                if now != was:
                    table.content = now
                    for row in self._rows(number, table, was, now):
                        yield row
                        if row.eid is not None and row.va is not None and _is_pointer(row.level, row.after):
                            self._add(pte_address(row.after), row.level + 1, row.eid, row.va)
        self._fresh.clear()

    def everything(self) -> Iterator[Row]:
        """Yield all existing entries, as if each was new: a table before the tables that it points to."""
        for number, table in sorted(self._tables.items(), key=lambda item: (item[1].level, item[0])):
            yield from self._rows(number, table, _NO_ENTRIES, table.content)

    def _rows(self, number: int, table: _Table, was: bytes, now: bytes) -> Iterator[Row]:
        before, after = array("Q", was), array("Q", now)
        run: Row | None = None
        for index in _different(was, now, 8):
            old, new = before[index] & _SEEN_BITS, after[index] & _SEEN_BITS
            if old == new:
                continue
            if run is not None and _follows(run, index, old, new):
                run = replace(run, count=run.count + 1)
                continue
            if run is not None:
                yield run
            va = _address(table, index)
            pa = self._memory.base + (number << PAGE_SHIFT)
            run = Row(pa, index, 1, table.level, old, new, table.eid, va)
        if run is not None:
            yield run


def _is_pointer(level: int, pte: int) -> bool:
    return level < LAST_LEVEL and bool(pte & V) and not pte & _LEAF


def _follows(run: Row, index: int, old: int, new: int) -> bool:
    step = run.count * PAGE_STEP
    return (
        index == run.index + run.count
        and run.level == LAST_LEVEL
        and old == (run.before and run.before + step)
        and new == (run.after and run.after + step)
    )


def _address(table: _Table, index: int) -> int | None:
    if table.va is None:
        return None
    high = _HIGH_HALF if table.level == 0 and index >= ENTRIES // 2 else 0
    return table.va | index << LEVEL_SHIFTS[table.level] | high


class States:
    """The living enclaves, of a concurrent server each slot, and their former states."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._were = {_name(one): one.state for one in self._state.all_slots()}
        self._counts = self._now()

    def _now(self) -> tuple[int, int]:
        once = self._state.globals
        return once.next_eid, once.enclaves

    def changes(self) -> list[Change]:
        """Return the changes: ended enclaves, then the others in the order of creation."""
        were, found = self._were, []
        living = list(self._state.all_slots())
        now = self._now()
        if now != self._counts:
            self._counts = now
            there = set(map(_name, living))
            for name in [name for name in were if name not in there]:
                found.append(Change(*name, name_of_state(were.pop(name)), ""))
        for one in living:
            name, state = _name(one), one.state
            was = were.get(name)
            if was != state:
                were[name] = state
                found.append(Change(*name, "" if was is None else name_of_state(was), name_of_state(state)))
        return found


def _name(enclave: Enclave) -> tuple[int, int | None]:
    """Return the key of an enclave or slot: eid and slot."""
    return enclave.eid, enclave.slot if enclave.concurrent else None


def name_of_state(state: int) -> str:
    """Return the state of an enclave, as one word."""
    return _STATES[state]


_STATES: Final = [one.name.lower() for one in sorted(EnclaveState)]
assert all(a + 1 == b for a, b in pairwise(sorted(EnclaveState)))
