"""The host kernel: boots, gives the monitor the places of page tables and page bitmap, and owns the free RAM.

    base                monitor (2 MiB)
    …                   page bitmap, page-table area: naturally aligned blocks out of the rest
    …                   free RAM

Its own context is in S-mode with `mstatus.TVM` set: only the monitor may change `satp`.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Protocol

from pltvm.engine.context import MSTATUS_TVM, Context, S
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.trap import Cause
from pltvm.errors import EngineError, OutOfMemory
from pltvm.host.blocks import Blocks, BlocksState, order_for
from pltvm.host.plain import Part, copied, restored
from pltvm.monitor.abi import HostCall, Status
from pltvm.monitor.boot import MONITOR_SIZE
from pltvm.monitor.monitor import Monitor

PT_AREA_SHARE: Final = 64  # the PT area is 1/64 of RAM
BITMAP_BYTES_A_PAGE: Final = 4
MONITOR_MEMORY: Final = 256 << 10  # bytes given to the monitor at a time
SMALLEST_RAM: Final = 8 << 20


@dataclass(slots=True)
class TablePagesState:
    """The free pages of the PT area by level; the last page of a level is taken first."""

    free: list[list[int]]


class TablePages(Part[TablePagesState]):
    """Free pages of the PT area, by level: 0 roots, 1 middle tables, 2 leaf tables (§8 call 83)."""

    def __init__(self, monitor: Monitor, start: int, pages: int) -> None:
        order = order_for(pages)
        roots, middle = max(order - 3, 1), max(order - 2, 2)  # for many processes with a few tables each
        if monitor.call(HostCall.SEPARATE, roots, middle) != Status.OK:
            raise EngineError("the monitor refused to separate the page-table area")
        bounds = [0, 1 << roots, (1 << roots) + (1 << middle), pages]
        self.state = TablePagesState(
            [[start + page * PAGE for page in reversed(range(low, high))] for low, high in pairwise(bounds)]
        )

    def take(self, level: int) -> int:
        """Take a cleared page for a table of this level; raises OutOfMemory."""
        self.must_have(level, 1)
        return self.state.free[level].pop()

    def must_have(self, level: int, count: int) -> None:
        """Raise OutOfMemory if there are fewer free tables of this level."""
        if len(self.state.free[level]) < count:
            raise OutOfMemory("the page-table area is used up: give the machine more RAM (--ram)")

    def give(self, level: int, page: int) -> None:
        """Free a page whose entries are all clear."""
        self.state.free[level].append(page)


class SavedProgram(Protocol):
    """The saved state of a user-mode program, as plain data."""

    def blocks(self) -> Iterable[int]:
        """Return the blocks that it has taken from the kernel."""


class Program(Protocol):
    """A program beside the driver: in user mode, or in the kernel's place."""

    def save(self) -> SavedProgram:
        """Return a copy of its state; raises SnapshotError."""

    def check(self, saved: SavedProgram | None) -> None:
        """Raise SnapshotError if the state cannot be restored; None means that it was not running."""

    def load(self, saved: SavedProgram | None) -> None:
        """Restore the state, after `check`."""

    def changed_since(self, saved: SavedProgram | None) -> bool:
        """Whether it has changed files of the host since then, which are not restored."""

    def silent(self) -> AbstractContextManager[None]:
        """Suppress its output in this context."""

    def go_on(self) -> bool:
        """After `load` in a callback of a run: return True if guest code goes on, False if the run is
        over."""

    def who(self) -> tuple[int, str]:
        """Return what has the hart if no enclave has it: a thread's number, or 0 without threads, and a
        name."""

    def location(self, pc: int) -> str:
        """Return the source location of `pc`, in the code of the thread that has the hart."""

    def name_of_call(self, number: int) -> str:
        """Return the name of its call with this number."""


@dataclass(slots=True)
class KernelState:
    """The kernel's state."""

    lent: list[int] = field(default_factory=list)  # blocks given to the monitor for its records
    programs: list[int] = field(default_factory=list)  # blocks of kernel programs, see `supervisor`
    waiting: SavedProgram | None = None  # a program saved in a callback, until it is resumed


@dataclass(slots=True)
class SavedKernel:
    """The kernel and its parts."""

    kernel: KernelState
    blocks: BlocksState
    tables: TablePagesState
    registers: bytes  # of its context


class Kernel:
    """The host's memory and its way to the monitor."""

    def __init__(self, hart: Hart, monitor: Monitor) -> None:
        self.hart = hart
        self.monitor = monitor
        self.memory = memory = monitor.host_memory
        # For the audit: the physical addresses that each part of the host has taken from `blocks`.
        self.holders: list[Callable[[], Iterable[int]]] = [self._held]
        self.state = KernelState()
        self.program: Program | None = None  # the running program
        # Gets a program's fault before its signal; True if it should go on instead. A debug port.
        self.spares: Callable[[Context, str, Cause | None], bool] = lambda *_: False
        self.loads = 0  # number of restores: code that calls a callback checks whether it has restored
        self.context = Context(S, mstatus=MSTATUS_TVM)
        hart.current = self.context
        self.blocks = Blocks(memory, memory.base + MONITOR_SIZE, memory.end)
        bitmap_pages = pages_for(memory.size // PAGE * BITMAP_BYTES_A_PAGE)
        pt_pages = 1 << order_for(memory.size // PT_AREA_SHARE // PAGE)
        self.bitmap, self.pt_area = self.blocks.take(bitmap_pages), self.blocks.take(pt_pages)
        self.bitmap_size = self.blocks.size(self.bitmap)
        self.monitor_size = MONITOR_SIZE
        status = monitor.call(
            HostCall.INIT, self.pt_area, self.blocks.size(self.pt_area), self.bitmap, self.bitmap_size
        )
        if status != Status.OK:
            raise EngineError("the monitor refused the memory layout of the host kernel")
        self.tables = TablePages(monitor, self.pt_area, self.blocks.size(self.pt_area) // PAGE)

    def save(self) -> SavedKernel:
        """Return a copy of the state, and of the running program; raises SnapshotError."""
        state = copied(self.state)
        if self.program is not None:
            state.waiting = self.program.save()
        registers = bytes(self.context.regs)
        return SavedKernel(state, self.blocks.save(), self.tables.save(), registers)

    def check(self, saved: SavedKernel) -> None:
        """Raise SnapshotError if the running program cannot be restored."""
        if self.program is not None:
            self.program.check(saved.kernel.waiting)

    def load(self, saved: SavedKernel) -> None:
        """Restore the state, after `check`: that of the running program; otherwise a saved program waits.

        Then no other context has the hart, unless the program names one.
        """
        self.loads += 1
        self.state = restored(self.state, saved.kernel)
        self.blocks.load(saved.blocks)
        self.tables.load(saved.tables)
        self.context.regs[:] = memoryview(saved.registers).cast("Q")
        self.hart.current = self.context
        if self.program is not None:
            waiting, self.state.waiting = self.state.waiting, None
            self.program.load(waiting)

    def call(self, function: HostCall, *arguments: int) -> int | None:
        """Make a monitor call, and repeat it with more monitor memory if the monitor has none left (§8)."""
        status = self.monitor.call(function, *arguments)
        if status == Status.NO_MONITOR_MEMORY:
            block = self.blocks.take(MONITOR_MEMORY // PAGE)
            if self.monitor.call(HostCall.EXTEND, block, MONITOR_MEMORY) != Status.OK:
                self.blocks.give(block)
                return status
            self.state.lent.append(block)
            status = self.monitor.call(function, *arguments)
        return status

    def _held(self) -> Iterable[int]:
        waiting = self.state.waiting.blocks() if self.state.waiting is not None else ()
        return (self.bitmap, self.pt_area, *self.state.lent, *self.state.programs, *waiting)
