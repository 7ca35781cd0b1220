"""Does loads, stores and atomics in Python instead of the JIT, on pages that PMP has made inaccessible.

They work as RV64GC specifies, on the bytes that the page table names; the JIT's walker has set the entry's A
and D bits before it checked PMP. Reservations (`lr`) are kept here, as one held by the JIT would be of no
use.
"""

from dataclasses import dataclass

from pltvm.engine.bits import is_skipped
from pltvm.engine.context import F0, Context
from pltvm.engine.decode import Access, instruction_length, memory_access
from pltvm.engine.emulate import Protection, emulate
from pltvm.engine.sv39 import R, W
from pltvm.engine.trap import Cause

_LOAD, _LOAD_FP, _STORE, _STORE_FP, _AMO = 0x03, 0x07, 0x23, 0x27, 0x2F
_BOX = 0xFFFF_FFFF_0000_0000  # around a float of 32 bits
_LR, _SC = 2, 3


@dataclass(frozen=True, slots=True)
class Operation:
    """The memory access of an instruction: a read, a write, or both; the register is x or f."""

    access: Access
    reads: bool
    writes: bool
    register: int
    floats: bool = False
    signed: bool = False
    atomic: int | None = None  # the operation of an AMO
    operand: int = 0  # the register with the other operand of an AMO


def operation(code: bytes, context: Context) -> Operation | None:
    """Return the memory access of the instruction at the start of `code`; None if there is none."""
    access = memory_access(code, context)
    if access is None:
        return None
    if instruction_length(code) == 2:
        return _short(int.from_bytes(code[:2], "little"), access)
    word = int.from_bytes(code[:4], "little")
    opcode, function = word & 0x7F, word >> 12 & 7
    first, second = word >> 7 & 31, word >> 20 & 31
    if opcode in (_LOAD, _LOAD_FP):
        return Operation(access, True, False, first, opcode == _LOAD_FP, function < 3)
    if opcode in (_STORE, _STORE_FP):
        return Operation(access, False, True, second, opcode == _STORE_FP)
    kind = word >> 27
    return Operation(access, kind != _SC, kind != _LR, first, False, True, kind, second)


def _short(half: int, access: Access) -> Operation:
    quadrant, function = half & 3, half >> 13
    if is_skipped(half):  # of Zcb
        return Operation(access, half >> 11 & 1 == 0, half >> 11 & 1 == 1, 8 + (half >> 2 & 7))
    stores, register = bool(function & 4), 8 + (half >> 2 & 7)
    if quadrant == 2:
        register = half >> (2 if stores else 7) & 31
    return Operation(access, not stores, stores, register, function & 3 == 1, True)


class Accesses:
    """Does accesses and keeps the reservations of contexts."""

    def __init__(self) -> None:
        self._reserved: dict[Context, tuple[int, bytes]] = {}

    def perform(self, code: bytes, context: Context, what: Operation, free: Protection) -> Cause | None:
        """Do the instruction at pc and step over it; return None, or the cause of its page fault.

        `free` has the PMP entries without those that watch pages.
        """
        table, access = context.table, what.access
        assert table is not None
        if instruction_length(code) == 2 and is_skipped(int.from_bytes(code[:2], "little")):
            return emulate(code, context, free)
        spans = table.spans(access.address, access.size, W if what.writes else R)
        if spans is None:
            return Cause.STORE_PAGE if what.writes or what.atomic is not None else Cause.LOAD_PAGE
        memory = table.memory
        old = b"".join(memory.read(pa, size) for pa, size in spans)
        new = self._run(context, what, spans[0][0], old)
        if new is not None:
            for pa, size in spans:
                memory.write(pa, new[:size])
                new = new[size:]
        context.step(instruction_length(code))
        return None

    def result(self, context: Context, what: Operation, old: bytes) -> bytes | None:
        """Return the bytes that it would leave in memory; None if it would write nothing, or if that is
        unknown."""
        if what.atomic in (None, _LR):
            value = context.regs[F0 + what.register] if what.floats else context.register(what.register)
            size = what.access.size
            return (value & (1 << 8 * size) - 1).to_bytes(size, "little") if what.writes else None
        if what.atomic == _SC:
            return b""
        value, size = context.register(what.operand), what.access.size
        read = int.from_bytes(old, "little", signed=True)
        return (_combined(what.atomic or 0, read, value, size) & (1 << 8 * size) - 1).to_bytes(size, "little")

    def _run(self, context: Context, what: Operation, pa: int, old: bytes) -> bytes | None:
        """Set the registers, and return the bytes to write, if any."""
        size = what.access.size
        if what.atomic is not None:
            return self._atomic(context, what, pa, old)
        if what.writes:
            value = context.regs[F0 + what.register] if what.floats else context.register(what.register)
            return (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        value = int.from_bytes(old, "little", signed=what.signed and not what.floats)
        if what.floats:
            context.regs[F0 + what.register] = value | (_BOX if size == 4 else 0)
        else:
            context.set_register(what.register, value)
        return None

    def _atomic(self, context: Context, what: Operation, pa: int, old: bytes) -> bytes | None:
        size, kind = what.access.size, what.atomic
        mask, value = (1 << 8 * size) - 1, context.register(what.operand)
        read = int.from_bytes(old, "little", signed=True)
        if kind == _LR:
            self._reserved[context] = pa, old
        elif kind == _SC:
            holds = self._reserved.pop(context, None) == (pa, old)
            context.set_register(what.register, 0 if holds else 1)
            return (value & mask).to_bytes(size, "little") if holds else None
        context.set_register(what.register, read)
        return (
            None if kind == _LR else (_combined(kind or 0, read, value, size) & mask).to_bytes(size, "little")
        )


def _combined(kind: int, read: int, value: int, size: int) -> int:
    """Return what an AMO leaves in memory, given the old value (signed) and a register."""
    mask = (1 << 8 * size) - 1
    signed = int.from_bytes((value & mask).to_bytes(size, "little"), "little", signed=True)
    results = {
        0x00: read + value, 0x01: value, 0x04: read ^ value, 0x08: read | value, 0x0C: read & value,
        0x10: min(read, signed), 0x14: max(read, signed),
        0x18: min(read & mask, value & mask), 0x1C: max(read & mask, value & mask),
    }  # fmt: skip
    return results[kind]
