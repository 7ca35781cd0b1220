"""Backtraces without debug information: return addresses on the stack.

A word counts as a return address if it points after a call instruction in an executable page. Old words that
were not overwritten count too, so outer frames may be wrong; the innermost few rarely are.
"""

from collections.abc import Iterator
from typing import Final

from pltvm.engine.context import PC, RA, SP, Context
from pltvm.engine.memory import Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import R, X

DEPTH: Final = 6
_SCANNED: Final = 2048  # bytes of stack


def stack_of(context: Context, memory: Memory) -> tuple[int, ...]:
    """Return program counters, innermost first: of the instruction, then of the calls that led to it."""
    regs, table = context.regs, context.table
    if table is None:
        return (regs[PC],)
    found = [regs[PC]]
    for address in (regs[RA], *_words(table, memory, regs[SP])):
        if len(found) == DEPTH:
            break
        call = _call_before(table, memory, address)
        if call and call != found[-1]:
            found.append(call)
    return tuple(found)


def _words(table: PageTable, memory: Memory, sp: int) -> Iterator[int]:
    """Yield the u64 on the stack, up to its end."""
    sp &= -8
    for va in range(sp, sp + _SCANNED, 8):
        pa = table.translate(va, R)
        if pa is None:
            return
        yield memory.load(pa)


def _call_before(table: PageTable, memory: Memory, address: int) -> int:
    """Return the address of the call instruction that returns to `address`, or 0."""
    if address & 1 or address < 4 or address >> 39:
        return 0
    halves = []
    for va in (address - 4, address - 2):
        pa = table.translate(va, X)
        if pa is None:
            return 0
        halves.append(int.from_bytes(memory.read(pa, 2), "little"))
    word = halves[0] | halves[1] << 16
    if word & 0xFFF in (0x0EF, 0x0E7):  # jal ra, jalr ra
        return address - 4
    if halves[1] & 0xF07F == 0x9002 and halves[1] & 0xF80:  # c.jalr
        return address - 2
    return 0
