"""Breakpoints: places in code that trap before their instruction runs, for debuggers.

RAM holds only the program's own code while guests run. While a block with a breakpoint is translated, there
is an illegal instruction in RAM, as `skipped` does it; then the block traps there, and all other code runs at
full speed. These blocks are found when they are translated; adding or removing a breakpoint discards the
translated code around it.

A breakpoint is an address in one address space. If several address spaces have the same page at the same
address, Unicorn translates its code once, so the trap may come from another of them: the handler of
Cause.BREAK checks that.
"""

from collections.abc import Callable
from typing import Protocol

from pltvm.engine import quirks
from pltvm.engine.context import PC, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause


class _Core(Protocol):
    breaks: int


class Breaks:
    """The breakpoints of one hart. `core` is told whether there are any; `forget` discards code by physical
    address; `ran` counts instructions that the JIT has not counted."""

    def __init__(
        self,
        core: _Core,
        forget: Callable[[int, int], None],
        ran: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._core = core
        self._forget = forget
        self._ran = ran
        self.places: dict[int, dict[int, PageTable]] = {}  # by address, then by root table
        self._hushed: set[int] = set()

    def add(self, table: PageTable, va: int) -> None:
        """Add a breakpoint: code of this address space traps with Cause.BREAK when it reaches `va`."""
        spaces = self.places.setdefault(va, {})
        if table.root not in spaces:
            spaces[table.root] = table
            self._changed(table, va)

    def remove(self, table: PageTable, va: int) -> None:
        """Remove a breakpoint."""
        spaces = self.places.get(va, {})
        if spaces.pop(table.root, None) is not None:
            if not spaces:
                del self.places[va]
            self._changed(table, va)

    def hush(self, va: int) -> None:
        """Disable breakpoints at this address until `wake`, so that its instruction can run."""
        if va in self.places and va not in self._hushed:
            self._hushed.add(va)
            for table in self.places[va].values():
                self._changed(table, va)

    def wake(self, va: int) -> None:
        """Undo `hush`."""
        if va in self._hushed:
            self._hushed.remove(va)
            for table in self.places.get(va, {}).values():
                self._changed(table, va)

    def has(self, table: PageTable | None, va: int) -> bool:
        """Whether there is a breakpoint at `va` in this address space."""
        return table is not None and table.root in self.places.get(va, ())

    def _changed(self, table: PageTable, va: int) -> None:
        self._core.breaks = len(self.places)
        entry = table.entry(va)
        if entry and table.memory.contains(pte_address(entry), PAGE):
            self._forget(pte_address(entry) | va & PAGE - 1, 2)

    def first(self, pc: int, size: int, table: PageTable) -> int | None:
        """Return the first breakpoint in a block of code, also one of another space with the same code, or
        None."""
        end, hushed = pc + size, self._hushed
        found = (
            va for va in self.places if pc <= va < end and va not in hushed and self._is_meant(va, table)
        )
        return min(found, default=None)

    def _is_meant(self, va: int, table: PageTable) -> bool:
        spaces = self.places[va]
        if table.root in spaces:
            return True
        here = pte_address(table.entry(va))
        entries = [other.entry(va) for other in spaces.values()]
        return any(not entry or pte_address(entry) == here for entry in entries)

    def settle(self, hart: quirks.Clocked, cause: int, context: Context) -> int | None:
        """Like `quirks.settle`, with Cause.BREAK at a breakpoint."""
        if cause == Cause.ILLEGAL and context.regs[PC] - 4 in self.places:
            context.step(-4)
            self._ran(-1)  # the instruction is counted when it runs
            return Cause.BREAK
        return quirks.settle(hart, cause, context)
