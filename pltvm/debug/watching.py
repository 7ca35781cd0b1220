"""Memory that is watched: the run is stopped when it is read or written, without a step of anybody.

PMP takes the page of RAM away from everybody: so each access to it traps, whoever makes it and by which
mapping, and all other memory is as fast as ever. If it meets what is watched, the run is stopped before it,
as by RISC-V's own triggers. Then the access is done here (`engine/access`). Page tables, measurements and
snapshots see nothing of it.

What the monitor or the host writes makes no access: after each of their traps what is watched is compared.
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

FREE: Final = (3, 4, 5)  # entries of PMP that the monitor does not use
_ACCESSES: Final = (Cause.LOAD_ACCESS, Cause.STORE_ACCESS)
_MOVING: Final = (Cause.ECALL_U, Cause.FETCH_PAGE, Cause.LOAD_PAGE, Cause.STORE_PAGE)


@dataclass(slots=True)
class Watched:
    """Bytes at `va` of an address space, which are at `pa` now, and were `value` when last looked at."""

    table: PageTable
    va: int
    size: int
    access: str  # "r", "w", or both
    pa: int
    value: bytes = b""

    @property
    def key(self) -> tuple[int, int, int, str]:
        """What tells it from others."""
        return self.table.root, self.va, self.size, self.access


class Watching:
    """What is watched on one machine.

    `stopped` is told of an access, and whether a guest is about to make it; False: it does not come to that.
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
        """Watch `size` bytes; False where nothing is mapped, they lie in two pages, or pages are too many."""
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
        """Watch them no more."""
        if self._watched.pop((table.root, va, size, access), None) is not None:
            self._changed()
        return True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While the block runs, in an errand of the hart, nothing is watched; then what there is by then."""
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
        """What is watched."""
        return list(self._watched.values())

    def end(self) -> None:
        """Nothing is watched any more."""
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
        """Have PMP say what is watched now."""
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
                return  # it goes on elsewhere
            if met is not None and not self._is_taken(table, what.access):
                return  # it is watched no more, and can be run
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
        """What is watched that an access meets, and how; a write only if it changes something."""
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
        """The pages of RAM of a range, by the address where each part starts."""
        starts = {va, (va + size - 1) & -PAGE} if (va ^ va + size - 1) & -PAGE else {va}
        return {start: pte_address(table.entry(start)) for start in starts}

    def _is_taken(self, table: PageTable, access: Access) -> bool:
        """Whether it meets a page that PMP keeps from everybody."""
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
        """The monitor or the host has done something: whether what is watched has changed, or moved."""
        moved = False
        for one in list(self._watched.values()):
            entry = self._entry(one)
            if entry is None:  # its program has ended
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
        """The entry of the page, 0 while it is elsewhere; None when its address space is no more."""
        state = self._machine.monitor.state
        if any(enclave.space.table.root == one.table.root for enclave in state.enclaves.values()):
            return one.table.entry(one.va)
        system = getattr(self._machine.kernel.program, "system", None)
        if system is not None and any(p.space.table is one.table for p in system.processes.values()):
            return one.table.entry(one.va)
        return one.table.entry(one.va) if system is None and self._hart.current.table is one.table else None
