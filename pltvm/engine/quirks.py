"""The differences between Unicorn and a RISC-V CPU, and their corrections.

    Unicorn                                                           corrected by
    gives pc + 4 at a trap, whatever the instruction's length         `settle`
    is slow on pages that are writable and executable                 `settle`: they flip between the two
    lacks counters that are the same in each run                      `settle`, from one clock
    refuses `wfi` in user mode                                        `settle`
    reports some illegal words as fetch faults of the page before     `settle`
    lacks Zba, Zbb, Zbs and Zicond                                    `settle`, by `emulate`
    skips Zcb silently                                                `skipped` makes it trap; `settle`
    fails at an entry that points outside RAM                         `pmp`, which refuses it, and `settle`
    ends the run at `wfi`, and at `ebreak`                            `cause_of_end`
    finds code by addresses as the current privilege maps them        `remove_code`
    shows mstatus only in M-mode, fcsr only with floating point on    `supervisor`
    skips some floating-point instructions when it is off             `context`: it is on
    stops inside atomic instructions                                  `leaving`
    flushes when the ASID changes, and at no other time               `Hart._load`
    misses some stores to code through another mapping                `Hart.watch_aliases`
    enlarges its TLB only when that is flushed                        `tlb_tuning`

Each line has a test in `tests/engine/test_unicorn_facts.py`, and its correction one in `test_quirks.py`.
"""

import ctypes
from typing import Final, Protocol

from unicorn import unicorn_const as uc_const

from pltvm.engine.context import PC, PRIV, Context, M
from pltvm.engine.decode import memory_access
from pltvm.engine.emulate import Protection, emulate
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.reservation import Reservation
from pltvm.engine.supervisor import set_privilege
from pltvm.engine.sv39 import W, X, pte_address
from pltvm.engine.trap import FETCHES, Cause, faulting_access, fetch, next_page
from pltvm.engine.unicorn_library import CYCLE, INSTRET, TIME, control_word, quick

_ACCESS_FAULTS: Final = {Cause.FETCH_ACCESS, Cause.LOAD_ACCESS, Cause.STORE_ACCESS}
_BREAKPOINTS: Final = ((0x0010_0073).to_bytes(4, "little"), (0x9002).to_bytes(2, "little"))
_WAIT: Final = (0x1050_0073).to_bytes(4, "little")  # wfi

# The counter CSRs that a program may read; all show one deterministic clock.
_COUNTERS: Final = {CYCLE, TIME, INSTRET}
_TICKS_A_READ: Final = 100

_REMOVE_CODE: Final = control_word(uc_const.UC_CTL_TB_REMOVE_CACHE, 2)


class Clocked(Protocol):
    """The part of the hart that this file uses."""

    clock: int
    protection: Protection

    def note_flip(self) -> None:
        """Count a flip: the entry of a page changed."""


# -- traps -------------------------------------------------------------------------------------------------


def settle(hart: Clocked, cause: int, context: Context) -> int | None:
    """Return the cause that a CPU would give for a trap that is no ecall, and correct pc.

    None if a CPU would not have trapped, and the operation is done: a W/X flip, a counter, or an instruction
    that Unicorn lacks. This is for programs only; a guest kernel and its programs get Unicorn's CPU as it is.
    """
    context.step(-4)  # it may wrap around
    if cause == Cause.ILLEGAL:
        code = fetch(context)
        outcome = cause if context.privileged else emulate(code, context, hart.protection)
        if outcome is None or (outcome == Cause.ILLEGAL and _read_counter(hart, code, context)):
            return None
        if code.startswith(_WAIT):
            context.step(4)
            return Cause.WFI
        cause = outcome
    if cause == Cause.STORE_PAGE:
        access = memory_access(fetch(context), context)
        if access is not None and _flip(hart, context, access.address, access.size, W):
            return None
    elif cause == Cause.FETCH_PAGE:
        # The JIT fetches a whole block first: the missing bytes may be the end of a later instruction.
        pc = context.regs[PC]
        if _flip(hart, context, pc, 4, X) or _flip(hart, context, next_page(pc), 2, X):
            return None
        if _starts_page_illegally(context):
            return Cause.ILLEGAL
    elif cause in _ACCESS_FAULTS and _is_outside(cause, context):
        return Cause.OUTSIDE_RAM
    return cause


def _flip(hart: Clocked, context: Context, va: int, size: int, want: int) -> bool:
    """Flip a page of this range to the permission `want`; return whether one could have it and lacked it."""
    table = context.table
    if table is None:
        return False
    last = va + size - 1
    flipped = table.flip(va, want)
    if last >> PAGE_SHIFT != va >> PAGE_SHIFT:
        flipped |= table.flip(last, want)
    if flipped:
        hart.note_flip()
    return flipped


def _read_counter(hart: Clocked, code: bytes, context: Context) -> bool:
    """Do the instruction if it reads a counter and nothing else; return whether it does."""
    word = int.from_bytes(code, "little")
    is_read = word & 0x7F == 0x73 and word >> 12 & 2 and not word >> 15 & 31
    if is_read and word >> 20 in _COUNTERS:
        hart.clock += _TICKS_A_READ
        context.set_register(word >> 7 & 31, hart.clock)
        context.step(4)
        return True
    return False


def _starts_page_illegally(context: Context) -> bool:
    """Whether pc is at the start of an executable page and on one of the eight 16-bit illegal words.

    The JIT makes a block of size 0 of these (`c.addi4spn` of 0, which includes 0x0000), takes its last byte
    to be in the page before, and reports a fetch fault of that page.
    """
    code = b"" if context.regs[PC] & PAGE - 1 else fetch(context)
    return len(code) >= 2 and not int.from_bytes(code[:2], "little") & 0xFFE3


def _is_outside(cause: int, context: Context) -> bool:
    """Whether PMP refused an access because its page-table entry points outside RAM: see `pmp.program`."""
    access, table = faulting_access(cause, context), context.table
    if access is None or table is None:
        return False
    # The JIT fetches a whole block, and its end may be in the next page.
    last = next_page(access.address) if cause in FETCHES else access.address + access.size - 1
    entries = (table.entry(access.address), table.entry(last))
    return any(pte and not table.memory.contains(pte_address(pte)) for pte in entries)


def cause_of_end(status: int, context: Context) -> Cause:
    """Return the trap that a CPU would have taken when the JIT ended the run by itself with `status`."""
    if status == uc_const.UC_ERR_OK:
        return Cause.WFI  # in S-mode: in user mode it is ILLEGAL first
    if fetch(context).startswith(_BREAKPOINTS):
        return Cause.BREAKPOINT
    return Cause.OUTSIDE_RAM


# -- code --------------------------------------------------------------------------------------------------


def remove_code(
    handle: ctypes.c_void_p, pa: int, size: int, loaded: Context | None, reservation: Reservation
) -> None:
    """Discard the translated code of a physical range; `loaded` is the context whose registers are loaded.

    Only M-mode uses physical addresses. `loaded` keeps its reservation.
    """
    held = reservation.held if loaded is not None else None
    set_privilege(handle, M)
    quick.uc_ctl(handle, _REMOVE_CODE, ctypes.c_uint64(pa), ctypes.c_uint64(pa + size))
    if loaded is not None:
        set_privilege(handle, loaded.regs[PRIV])
        if held is not None:
            reservation.hold(held)
