"""A bare machine for engine tests: RAM, a hart, a pool of pages, and address spaces to run programs in.

Nothing of the monitor is here. Every cause ends the run and is recorded in `Machine.ends`, unless a test
puts its own handler in `hart.handlers`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pltvm.engine import pmp, sv39
from pltvm.engine.context import PC, Context, U
from pltvm.engine.decode import Access
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.trap import Cause, faulting_access
from tests.asm import RA, ZERO, jalr

BASE = 0x8000_0000
SIZE = 1 << 20
OUTSIDE = BASE + SIZE  # the first physical address behind RAM

CODE = 0x1_0000  # where programs run
DATA = 0x20_0000  # a page to load from and store to: not in the leaf table of CODE
NOWHERE = 0x30_0000  # never mapped
TOP = (1 << 64) - PAGE  # the last page

RETURN = jalr(ZERO, RA)

BOTH = 1 << 63  # a flag of `Space.map`: the pages may be written and executed in turns
RW_X, RX_W = sv39.RW | BOTH, sv39.RX | BOTH  # such pages, as they are at first

ALL_MEMORY = {pmp.LAST: pmp.Entry(0, 0, pmp.ALL)}
FAULTS = {
    *(Cause.FETCH_ACCESS, Cause.LOAD_ACCESS, Cause.STORE_ACCESS),
    *(Cause.FETCH_PAGE, Cause.LOAD_PAGE, Cause.STORE_PAGE),
    *(Cause.LOAD_MISALIGNED, Cause.STORE_MISALIGNED),
}


class Pool:
    """Hands out zeroed pages of RAM, from the second one on; the first is scratch."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.next = memory.base + PAGE

    def take(self, pages: int = 1) -> int:
        pa = self.next
        self.memory.read(pa, pages * PAGE)  # raises when RAM is used up
        self.next += pages * PAGE
        return pa


@dataclass(frozen=True)
class End:
    """How a run ended: the trap, the pc it is at, and what a fault wanted."""

    cause: Cause
    pc: int
    access: Access | None = None


class Machine:
    """A hart on its own RAM, all of which PMP allows, and the ends of its runs."""

    def __init__(self) -> None:
        self.memory = Memory(BASE, SIZE)
        self.pool = Pool(self.memory)
        self.hart = Hart(self.memory)
        self.ends: list[End] = []
        for cause in Cause:
            self.hart.handlers[cause] = self._ending(cause)
        self.set_pmp(ALL_MEMORY)

    def set_pmp(self, entries: dict[int, pmp.Entry]) -> None:
        pmp.program(self.hart, entries, scratch=BASE)

    def _ending(self, cause: Cause) -> Callable[[Context], None]:
        def end(context: Context) -> None:
            access = faulting_access(cause, context) if cause in FAULTS else None
            self.ends.append(End(cause, context.regs[PC], access))
            self.hart.stop()

        return end

    def run(self, context: Context) -> End:
        """Run `context` until a trap that ends the run."""
        self.hart.current = context
        self.hart.run()
        return self.ends[-1]

    def space(self, code: bytes = b"", flags: int = sv39.RX, asid: int = 1) -> "Space":
        """A fresh address space with `code` at CODE and an empty writable page at DATA."""
        space = Space(self, asid)
        space.map(CODE, flags, code)
        space.map(DATA, sv39.RW)
        return space


class Space:
    """An address space: a page table with its ASID."""

    def __init__(self, machine: Machine, asid: int) -> None:
        self.memory, self.pool = machine.memory, machine.pool
        self.both: set[int] = set()
        self.table = PageTable(
            self.memory, self.pool.take(), self.pool.take, wants_both=lambda pa: pa in self.both
        )
        self.satp = sv39.satp_for(self.table.root, asid)

    def map(self, va: int, flags: int, content: bytes = b"", pages: int = 1) -> int:
        """Map fresh pages at `va` that start with `content`; the physical address of the first."""
        pa = self.pool.take(pages)
        self.memory.write(pa, content)
        self.table.map(va, pa, pages, flags & ~BOTH)
        if flags & BOTH:
            self.both.update(range(pa, pa + pages * PAGE, PAGE))
        return pa

    def point(self, va: int, pa: int, flags: int) -> None:
        """Write the entry of a mapped page by hand, to wherever."""
        self.memory.store(self.table.slot(va), sv39.make_pte(pa, flags))

    def context(self, pc: int = CODE, priv: int = U, mstatus: int = 0) -> Context:
        return Context(priv, self.satp, pc, mstatus, self.table)


def run(machine: Machine, code: bytes, flags: int = sv39.RX) -> tuple[Context, Space, End]:
    """Run `code` in a fresh address space: its context, its space, how it ended."""
    space = machine.space(code, flags)
    context = space.context()
    return context, space, machine.run(context)


def word(code: bytes) -> int:
    """The number that a store puts where `code` is to be."""
    return int.from_bytes(code, "little")
