"""Watched memory: stops the run when it is read or written, without stepping.

PMP makes the page of RAM inaccessible: so each access to it traps, in any context and by any mapping, and all
other memory has full speed. If the access meets watched bytes, the run stops before it, as with RISC-V's own
triggers. Then the access is done here (`engine/access`). Page tables, measurements and snapshots are not
affected.

Writes of the monitor or the host cause no trap: the watched bytes are compared after each trap that they
handle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pltvm.engine import pmp
from pltvm.engine.access import Accesses, Operation, operation
from pltvm.engine.context import Context
from pltvm.engine.decode import Access
from pltvm.engine.handlers import Handler
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause, fetch
from pltvm.machine import Machine
from pltvm.monitor import boot

FREE: Final = (3, 4, 5)  # PMP entries that the monitor does not use
_ACCESSES: Final = (Cause.LOAD_ACCESS, Cause.STORE_ACCESS)
_MOVING: Final = (Cause.ECALL_U, Cause.FETCH_PAGE, Cause.LOAD_PAGE, Cause.STORE_PAGE)


@dataclass(slots=True)
class Watched:
    """Bytes at `va` of an address space, which are at `pa` now, and had `value` at the last check."""

    table: PageTable
    va: int
    size: int
    access: str  # "r", "w", or both
    pa: int
    value: bytes = b""

    @property
    def key(self) -> tuple[int, int, int, str]:
        """Its identity."""
        return self.table.root, self.va, self.size, self.access


class Watching:
    """The watched memory of one machine.

    `stopped` is called for an access, with whether a guest is about to make it; it returns False if the
    access is not made.
    """

    def __init__(self, machine: Machine, stopped: Callable[["Watched", str, bool], bool]) -> None:
        self._machine = machine
        self._monitor = machine.monitor.state
        self._hart = machine.hart
        self._memory = machine.memory
        self._stopped = stopped
        self._watched: dict[tuple[int, int, int, str], Watched] = {}
        self._accesses = Accesses()
        self._before: dict[Cause, Handler] = {}

    def __bool__(self) -> bool:
        return bool(self._watched)

    def put(self, table: PageTable, va: int, size: int, access: str) -> bool:
        """Watch `size` bytes; return False if they are not mapped, are in two pages, or there are too many
        pages."""
        entry = table.entry(va)
        pa = pte_address(entry) | va & PAGE - 1
        fits = 0 < size <= PAGE - va % PAGE
        if not entry or not fits or not self._memory.contains(pa, size):
            return False
        pages = {one.pa & -PAGE for one in self._watched.values()} | {pa & -PAGE}
        if len(pages) > len(FREE):
            return False
        one = Watched(table, va, size, access, pa, self._memory.read(pa, size))
        self._watched[one.key] = one
        self._changed()
        return True

    def take(self, table: PageTable, va: int, size: int, access: str) -> bool:
        """Stop watching them."""
        if self._watched.pop((table.root, va, size, access), None) is not None:
            self._changed()
        return True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Suspend watching in this context; in an errand of the hart."""
        watched, self._watched = self._watched, {}
        if watched:
            self._install()
            self._program()
        try:
            yield
        finally:
            self._watched = watched
            for one in list(watched.values()):
                entry = self._entry(one)
                if entry:
                    one.pa = pte_address(entry) | one.va & PAGE - 1
                one.value = self._memory.read(one.pa, one.size)
            if watched:
                self._install()
                self._program()

    @property
    def all(self) -> list[Watched]:
        """Return the watched memory."""
        return list(self._watched.values())

    def end(self) -> None:
        """Stop all watching."""
        if self._watched:
            self._watched.clear()
            self._changed()

    # -- the hart ----------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._install()
        self._hart.outside(self._program)

    def _install(self) -> None:
        handlers = self._hart.handlers
        if self._watched and not self._before:
            self._before = {cause: handlers.given(cause) for cause in (*_ACCESSES, *_MOVING)}
            for cause in _ACCESSES:
                handlers[cause] = self._on_access(cause)
            for cause in _MOVING:
                handlers[cause] = self._on_trap(cause)
        elif not self._watched and self._before:
            handlers.update(self._before)
            self._before = {}

    def _program(self) -> None:
        """Set PMP for the watched memory."""
        state = self._machine.monitor.state
        entries = boot.entries(state)
        pages = sorted({one.pa & -PAGE for one in self._watched.values()})
        for number, page in zip(FREE, pages, strict=False):
            entries[number] = pmp.Entry(page, PAGE, pmp.X)
        pmp.program(self._hart, entries, scratch=self._memory.base)

    def _on_access(self, cause: Cause) -> Handler:
        before = self._before[cause]

        def handle(context: Context) -> None:
            code = fetch(context)
            what, table = operation(code, context), context.table
            if what is None or table is None or not self._is_taken(table, what.access):
                before(context)
                return
            met = self._met(context, what)
            if met is not None and not self._stopped(*met, True):
                return  # the run has moved elsewhere
            if met is not None and not self._is_taken(table, what.access):
                return  # no longer watched: the instruction can run normally
            free = [entry.span(self._memory) for _, entry in sorted(boot.entries(self._monitor).items())]
            fault = self._accesses.perform(code, context, what, free)
            if fault is not None:
                self._hart.trap(fault)
                return
            self._hart.ran_by_hand(trapped=True)
            for one in self._watched.values():
                one.value = self._memory.read(one.pa, one.size)

        return handle

    def _met(self, context: Context, what: Operation) -> tuple[Watched, str] | None:
        """Return the watched bytes that an access meets, and the kind of access; a write only if it changes
        them."""
        table = context.table
        assert table is not None
        for one in self._watched.values():
            if not self._meets(table, one, what.access):
                continue
            if what.reads and "r" in one.access:
                return one, "r" if one.access == "r" else "rw"
            if what.writes and (one.access == "rw" or (one.access == "w" and self._changes(context, what))):
                return one, one.access
        return None

    def _changes(self, context: Context, what: Operation) -> bool:
        table = context.table
        old = table.read(what.access.address, what.access.size) if table is not None else None
        return old is None or self._accesses.result(context, what, old) not in (None, old)

    def _pages_of(self, table: PageTable, va: int, size: int) -> dict[int, int]:
        """Return the pages of RAM of a range, by the address of each part."""
        starts = {va, (va + size - 1) & -PAGE} if (va ^ va + size - 1) & -PAGE else {va}
        return {start: pte_address(table.entry(start)) for start in starts}

    def _is_taken(self, table: PageTable, access: Access) -> bool:
        """Whether it meets a page that PMP has made inaccessible."""
        pages = {one.pa & -PAGE for one in self._watched.values()}
        return not pages.isdisjoint(self._pages_of(table, access.address, access.size).values())

    def _meets(self, table: PageTable, one: Watched, access: Access) -> bool:
        end = access.address + access.size
        for start, page in self._pages_of(table, access.address, access.size).items():
            if page == one.pa & -PAGE:
                low = one.pa % PAGE
                first, last = start % PAGE, min(end - start + start % PAGE, PAGE)
                if first < low + one.size and low < last:
                    return True
        return False

    def _on_trap(self, cause: Cause) -> Handler:
        before = self._before[cause]

        def handle(context: Context) -> None:
            before(context)
            self._look()

        return handle

    def _look(self) -> None:
        """Check, after work of the monitor or the host, whether watched bytes have changed or moved."""
        moved = False
        for one in list(self._watched.values()):
            entry = self._entry(one)
            if entry is None:  # the program has ended
                del self._watched[one.key]
                moved = True
                continue
            if entry and pte_address(entry) != one.pa & -PAGE:
                one.pa = pte_address(entry) | one.va & PAGE - 1
                moved = True
            value = self._memory.read(one.pa, one.size)
            if value != one.value:
                one.value = value
                if "w" in one.access and not self._hart.stopping:
                    self._stopped(one, one.access, False)
        if moved:
            self._changed()

    def _entry(self, one: Watched) -> int | None:
        """Return the page-table entry, 0 while the page is elsewhere; None if the address space is gone."""
        state = self._machine.monitor.state
        if any(enclave.space.table.root == one.table.root for enclave in state.enclaves.values()):
            return one.table.entry(one.va)
        system = getattr(self._machine.kernel.program, "system", None)
        if system is not None and any(p.space.table is one.table for p in system.processes.values()):
            return one.table.entry(one.va)
        return one.table.entry(one.va) if system is None and self._hart.current.table is one.table else None
