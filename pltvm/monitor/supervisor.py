"""A host kernel that is guest code: its monitor calls, and instructions that trap because of TVM (§8).

With `mstatus.TVM` set, S-mode cannot access `satp` or fence by itself. The monitor does it: a new `satp` must
name a root in the root part of the PT area, with Sv39 on; a fence is a flush. Refused instructions, and every
fault of S-mode, go to the kernel's own trap vector, as in hardware (`deliver`).

A host kernel in Python has no such vector: traps of its user programs go to its `trap_vector`.
"""

from typing import Final

from pltvm.engine.context import A0, A1, A2, A3, A4, A6, A7, PRIV, SATP, Context, S
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import root_of
from pltvm.engine.trap import Cause, fetch
from pltvm.monitor import abi, host_calls
from pltvm.monitor.fault import describe_access
from pltvm.monitor.state import State

_FIRMWARE: Final = frozenset({Cause.ECALL_U, Cause.WFI, Cause.INTERRUPT, Cause.TIMER})
_SYSTEM: Final = 0x73
_CSR_SATP: Final = 0x180
_SFENCE_VMA, _SFENCE_MASK = 0x1200_0073, 0xFE00_7FFF


def table_for(state: State, satp: int) -> PageTable:
    """Return the page table of S-mode with this `satp`, to read its instructions."""
    return PageTable(state.hart.memory, root_of(satp), lambda: 0, user=False)


def trap(state: State, cause: int, context: Context) -> None:
    """Handle a trap of host code: an ecall, an instruction that TVM makes trap, or a fault."""
    if context.regs[PRIV] != S:
        state.trap_vector(cause, context)
    elif cause == Cause.ECALL_U and context.regs[A7] == abi.HOST_CALL:
        _monitor_call(state, context)
    elif cause == Cause.ILLEGAL and _emulated(state, context):
        context.step(4)
    elif cause in _FIRMWARE or not deliver(state, cause, context):
        state.trap_vector(cause, context)


def deliver(state: State, cause: int, context: Context) -> bool:
    """Deliver the trap to the kernel's own vector; return False when it has none."""
    behind = 4 if cause == Cause.ECALL_U else 0  # here pc is after the `ecall`
    access = None if behind else describe_access(cause, context)
    context.step(-behind)
    if state.hart.deliver(context, cause, access[0] if access else 0):
        return True
    context.step(behind)
    return False


def _monitor_call(state: State, context: Context) -> None:
    """Make a monitor call: a6 the function, arguments from a0; the result is in a0 and a1 (§8)."""
    regs = context.regs
    status = host_calls.call(state, regs[A6], (regs[A0], regs[A1], regs[A2], regs[A3], regs[A4]))
    context.table = table_for(state, regs[SATP])  # a new table may have the address of an old one
    if status is not None:
        set_result(context, status)


def set_result(context: Context, status: int) -> None:
    """Give host code the status of its monitor call: negative in a0, else 0 there and the status in a1."""
    context.regs[A0] = min(status, 0) & abi.MASK64
    context.regs[A1] = max(status, 0)


def _emulated(state: State, context: Context) -> bool:
    """Do a trapped `satp` access or fence; return False when it is neither, or refused."""
    word = int.from_bytes(fetch(context), "little")
    if word & _SFENCE_MASK == _SFENCE_VMA:
        state.hart.translations_changed()
        return True
    operation = word >> 12 & 7
    if word & 0x7F != _SYSTEM or operation in (0, 4) or word >> 20 != _CSR_SATP:
        return False
    old, field = context.regs[SATP], word >> 15 & 31
    source = field if operation & 4 else context.register(field)
    new = {1: source, 2: old | source, 3: old & ~source}[operation & 3]
    writes = operation & 3 == 1 or field != 0
    if writes and new != old:
        if state.tables is None or not state.tables.accepts_satp(new):
            return False
        context.regs[SATP] = new
        context.table = table_for(state, new)
        state.hart.context_changed()
    context.set_register(word >> 7 & 31, old)
    return True
