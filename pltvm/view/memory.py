"""Physical memory: the owners of its pages, and the PMP entries."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.monitor.pages import BOTH, PRIVATE
from pltvm.monitor.state import State
from pltvm.view.events import permissions
from pltvm.view.shown import Table
from pltvm.view.who import Owner

_AT_A_TIME: Final = PAGE  # entries that are compared at once


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """The pages from physical address `start` up to `end`, with one owner.

    `what` describes pages of the monitor; `held` is the number of mappings and mailboxes of enclaves that
    hold each of these pages of the host, 0 for private pages.
    """

    start: int
    end: int
    owner: Owner
    what: str = ""
    held: int = 0

    @property
    def pages(self) -> int:
        """The number of pages."""
        return (self.end - self.start) // PAGE


@dataclass(frozen=True, slots=True)
class PmpRow:
    """PMP entry `number`: permissions of user and supervisor mode from physical address `start` up to `end`.

    The entry with the lowest number decides.
    """

    number: int
    start: int
    end: int
    permissions: str


class Owners(Table[OwnerRow]):
    """The owner of each page of RAM, in rows by address; `at` finds the row of an address."""

    titles = ("start", "end", "pages", "owner", "")

    def at(self, pa: int) -> OwnerRow:
        """Return the row of this physical address; raises KeyError outside RAM."""
        for row in self:
            if row.start <= pa < row.end:
                return row
        raise KeyError(f"{pa:#x}")

    def of(self, eid: int) -> "Owners":
        """Return the rows of one enclave."""
        return Owners(row for row in self if row.owner == Owner("enclave", eid))

    @staticmethod
    def cells(row: OwnerRow) -> tuple[str, ...]:
        """A row in words."""
        held = f"held {row.held} times" if row.held > 1 else "held by an enclave" if row.held else ""
        return f"{row.start:#x}", f"{row.end:#x}", str(row.pages), str(row.owner), row.what or held


class Pmp(Table[PmpRow]):
    """The PMP entries in rows, by number."""

    titles = ("entry", "start", "end", "")

    @staticmethod
    def cells(row: PmpRow) -> tuple[str, ...]:
        """A row in words."""
        return str(row.number), f"{row.start:#x}", f"{row.end:#x}", row.permissions


def pmp(hart: Hart) -> Pmp:
    """Return the PMP entries as they are now."""
    rows = hart.protected.items()
    return Pmp(PmpRow(n, start, end, permissions(rwx)) for n, (start, end, rwx) in rows)


def owners(state: State) -> Owners:
    """Return the owners of all pages as they are now."""
    return Owners(_rows(state))


def _rows(state: State) -> Iterator[OwnerRow]:
    places = _places(state)
    base = state.memory.base
    for first, end, entry in _runs(state):
        start, stop, owner = base + (first << PAGE_SHIFT), base + (end << PAGE_SHIFT), Owner.of(entry)
        if owner.kind != "monitor":
            yield OwnerRow(start, stop, owner, held=entry if entry < PRIVATE else 0)
            continue
        while start < stop:
            inside = [(b, what) for a, b, what in places if a <= start < b]
            ahead = min((a for a, _, _ in places if a > start), default=stop)
            until, what = inside[0] if inside else (ahead, "")
            yield OwnerRow(start, min(until, stop), owner, what)
            start = min(until, stop)


def _places(state: State) -> list[tuple[int, int, str]]:
    """Return start, end and purpose of the monitor's own areas."""
    host = state.tables
    assert host is not None
    bitmap = state.owners.bitmap
    known = {
        state.memory.base: "the monitor itself",
        bitmap: "page bitmap",
        host.start: "the host's page tables",
    }
    found = [(pa, pa + pages * PAGE, known.get(pa, "")) for pa, pages in state.fixed_blocks]
    found = [row for row in found if row[2]]
    found += [(one.pa, one.pa + one.pages * PAGE, "records") for one in state.records.lent()]
    for name, regions in state.bound.items():
        what = f"relay pages for {name.decode('ascii', 'backslashreplace')!r}"
        found += [(one.block, one.block + one.block_pages * PAGE, what) for one in regions]
    return sorted(found)


def _runs(state: State) -> Iterator[tuple[int, int, int]]:
    """Yield runs of pages with one owner: first page number, end, and the bitmap entry without `both`."""
    entries = state.owners.entries
    whole = memoryview(entries).cast("B")
    start, current = 0, -1
    for at in range(0, len(entries), _AT_A_TIME):
        part = entries[at : at + _AT_A_TIME]
        plain = current.to_bytes(4, "little") * len(part) if current >= 0 else b""
        if whole[4 * at : 4 * (at + len(part))] == plain:
            continue
        for index, entry in enumerate(part, at):
            entry = entry & ~BOTH if entry >= PRIVATE else entry
            if entry != current:
                if current >= 0:
                    yield start, index, current
                start, current = index, entry
    yield start, len(entries), current
