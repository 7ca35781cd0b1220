"""Trap causes of RISC-V, and the memory that a faulting instruction accessed.

Unicorn reports a cause but neither `mtval` nor the exact instruction, so the faulting address is computed
here from the instruction and the registers. This is the slow path: only faults need it.
"""

from enum import IntEnum
from typing import Final

from pltvm.engine.context import PC, Context
from pltvm.engine.decode import Access, memory_access
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import R, W, X


class Cause(IntEnum):
    """`mcause` of the privileged architecture; negative values are the engine's own causes."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_S = 9
    ECALL_M = 11
    FETCH_PAGE = 12
    LOAD_PAGE = 13
    STORE_PAGE = 15
    WFI = -1
    OUTSIDE_RAM = -2
    INTERRUPT = -3
    TIMER = -4
    BREAK = -5

    @property
    def text(self) -> str:
        """The cause in words."""
        return _TEXT[self]


_TEXT: Final = {
    Cause.FETCH_MISALIGNED: "jump to a misaligned address",
    Cause.FETCH_ACCESS: "instruction fetch refused by PMP",
    Cause.ILLEGAL: "illegal instruction",
    Cause.BREAKPOINT: "breakpoint",
    Cause.LOAD_MISALIGNED: "misaligned load",
    Cause.LOAD_ACCESS: "load refused by PMP",
    Cause.STORE_MISALIGNED: "misaligned store",
    Cause.STORE_ACCESS: "store refused by PMP",
    Cause.ECALL_U: "environment call from user mode",
    Cause.ECALL_S: "environment call from supervisor mode",
    Cause.ECALL_M: "environment call from machine mode",
    Cause.FETCH_PAGE: "jump to a page that is not mapped executable",
    Cause.LOAD_PAGE: "load from a page that is not mapped readable",
    Cause.STORE_PAGE: "store to a page that is not mapped writable",
    Cause.WFI: "wait for interrupt",
    Cause.OUTSIDE_RAM: "access outside guest RAM",
    Cause.INTERRUPT: "interrupted from outside",
    Cause.TIMER: "end of the time slice",
    Cause.BREAK: "a place where a debugger stops",
}

FETCHES: Final = frozenset({Cause.FETCH_MISALIGNED, Cause.FETCH_ACCESS, Cause.FETCH_PAGE})
_DATA_PAGE_FAULTS: Final = {Cause.LOAD_PAGE, Cause.STORE_PAGE}


def fetch(context: Context) -> bytes:
    """Return the bytes of the instruction at pc (4, or 2 before an unmapped page), b"" if not executable."""
    return fetch_at(context, context.regs[PC])


def fetch_at(context: Context, pc: int) -> bytes:
    """Like `fetch`, for any address."""
    table = context.table
    if table is None:
        return b""
    spans, memory = table.spans(pc, 4, X) or table.spans(pc, 2, X) or [], table.memory
    return b"".join(memory.read(pa, n) for pa, n in spans if memory.contains(pa, n))


def faulting_access(cause: int, context: Context) -> Access | None:
    """Return the bytes that the fetch, load or store at pc wanted to access.

    For a page fault they begin at the first inaccessible byte. The pc of a fetch fault may be on an earlier
    instruction of the same page, as the JIT fetches a whole block before it runs.
    """
    table, pc = context.table, context.regs[PC]
    if cause in FETCHES:
        if cause == Cause.FETCH_PAGE and table is not None and table.translate(pc, X) is not None:
            return Access(next_page(pc), 2)
        return Access(pc, 2)
    access = memory_access(fetch(context), context)
    if access is not None and table is not None and cause in _DATA_PAGE_FAULTS:
        flags = W if cause == Cause.STORE_PAGE else R
        split, end = next_page(access.address), access.address + access.size
        if split < end and table.translate(access.address, flags) is not None:
            return Access(split, end - split)
    return access


def next_page(address: int) -> int:
    """Return the start of the page after that of `address`."""
    return (address | PAGE - 1) + 1
