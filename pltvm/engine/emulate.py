"""Runs instructions that Unicorn lacks (see `bits`) for a program, as hardware would.

Their loads and stores walk the page tables and check PMP here, as the JIT does for its own: a program can
access the same memory as with other instructions, and the same bits of the entries are set.
"""

from collections.abc import Sequence
from typing import Final

from pltvm.engine import bits
from pltvm.engine.context import Context
from pltvm.engine.decode import memory_access
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES, LEVEL_SHIFTS, A, D, R, U, V, W, X, canonical, pte_address
from pltvm.engine.trap import Cause, next_page

# (start, end, permissions) of physical memory by priority; permissions are 1 to read, 2 to write.
Protection = Sequence[tuple[int, int, int]]

_PMP_READ, _PMP_WRITE = 1, 2
_PAGE_FAULT: Final = {False: Cause.LOAD_PAGE, True: Cause.STORE_PAGE}
_ACCESS_FAULT: Final = {False: Cause.LOAD_ACCESS, True: Cause.STORE_ACCESS}


def emulate(code: bytes, context: Context, protection: Protection) -> Cause | None:
    """Run the instruction at pc, with the bytes `code`, and step over it; return None, or the cause of a
    trap.

    If it traps, only A and D bits have changed. The cause is ILLEGAL for other instructions, or that of a
    refused load or store.
    """
    if bits.execute(code, context):
        return None
    what, access, table = bits.transfer(code), memory_access(code, context), context.table
    if what is None or access is None or table is None:
        return Cause.ILLEGAL
    store = what.store
    spans: list[tuple[int, int]] = []
    va, end = access.address, access.address + access.size
    while va < end:
        part = min(end, next_page(va))
        pa = _physical(table, va & 0xFFFF_FFFF_FFFF_FFFF, store, protection)
        if isinstance(pa, Cause):
            return pa
        spans.append((pa, part - va))
        va = part
    memory = table.memory
    if store:
        data = (context.register(what.register) & (1 << 8 * what.size) - 1).to_bytes(what.size, "little")
        for pa, size in spans:
            memory.write(pa, data[:size])
            data = data[size:]
    else:
        data = b"".join(memory.read(pa, size) for pa, size in spans)
        context.set_register(what.register, int.from_bytes(data, "little", signed=what.signed))
    context.step(2)
    return None


def _physical(table: PageTable, va: int, store: bool, protection: Protection) -> int | Cause:
    """Return the physical address of a byte for user mode, or the cause of the fault; sets A and D."""
    memory, at = table.memory, table.root
    for shift in LEVEL_SHIFTS if canonical(va) else ():
        slot = at + (va >> shift & ENTRIES - 1) * 8
        if not _allows(protection, slot, _PMP_READ) or not memory.contains(slot, 8):
            return _ACCESS_FAULT[store]
        pte = memory.load(slot)
        if not pte & V:
            break
        at = pte_address(pte)
        if not pte & (R | W | X):
            continue
        needed = U | (R | W if store else R)  # W without R is reserved
        if pte & needed != needed or at & (1 << shift) - 1:
            break
        pa = at | va & (1 << shift) - 1
        if not _allows(protection, pa, _PMP_WRITE if store else _PMP_READ) or not memory.contains(pa):
            return _ACCESS_FAULT[store]
        seen = pte | A | (D if store else 0)
        if seen != pte:
            memory.store(slot, seen)
        return pa
    return _PAGE_FAULT[store]


def _allows(protection: Protection, pa: int, permission: int) -> bool:
    """Whether PMP lets user mode access this byte."""
    for start, end, permissions in protection:
        if start <= pa < end:
            return bool(permissions & permission)
    return False
