"""Instructions counted block by block, for `position`: native/position.c line by line, without the core."""

import ctypes
from typing import Final

from pltvm.engine.context import SATP
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import pte_address, root_of

NEVER: Final = 0xFFFF_FFFF_FFFF_FFFF
MOST_WATCHED: Final = 64  # bytes

_U64: Final = ctypes.c_uint64
_POINTER: Final = ctypes.c_void_p


class CounterState(ctypes.Structure):
    """`struct counter` of native/position.h."""

    _fields_ = [
        ("hart", _POINTER),
        ("stop", _POINTER),
        ("next", _POINTER),
        ("count", _U64),
        ("again", _U64),
        ("pc", _U64),
        ("size", _U64),
        ("length", _U64),
        ("limit", _U64),
        ("stopped", _U64),
        ("blocks", _POINTER),
        ("epoch", _U64),
        ("watched", _POINTER),
        ("watched_size", _U64),
        ("changed_at", _U64),
        ("was", ctypes.c_uint8 * MOST_WATCHED),
        ("places", _POINTER),
        ("place_count", _U64),
        ("reached_at", _U64),
    ]
    count: int
    again: int
    pc: int
    size: int
    length: int
    limit: int
    stopped: int
    epoch: int
    watched: int | None
    watched_size: int
    changed_at: int
    place_count: int
    reached_at: int


def instructions(hart: Hart, start: int, end: int) -> int:
    """Return the number of instructions that begin from `start` up to `end`, on one page."""
    context = hart.whose() if hart.core.told else hart.current
    table = context.table
    entry = table.entry(start) if table is not None and not context.privileged else 0
    if table is None or not entry:
        return 0
    code = table.memory.read(pte_address(entry), PAGE)
    at, count = start & PAGE - 1, 0
    last = min(at + end - start, PAGE)
    while at < last:
        at += 4 if code[at] & 3 == 3 else 2
        count += 1
    return count


def look(state: CounterState) -> None:
    size = state.watched_size
    if size:
        now = ctypes.string_at(state.watched or 0, size)
        if now != bytes(state.was)[:size]:
            ctypes.memmove(state.was, now, size)
            state.changed_at = state.count


def block(hart: Hart, state: CounterState, pc: int, size: int) -> None:
    look(state)
    state.count += state.length
    state.pc, state.size, state.length = pc, size, instructions(hart, pc, pc + size)
    if state.count + state.length > state.limit:
        state.stopped = 1
        hart.pause()
        return
    if state.place_count:
        rows = (ctypes.c_uint64 * (2 * state.place_count)).from_address(state.places)
        root = root_of(hart.current.regs[SATP])
        for i in range(state.place_count):
            if 0 <= rows[2 * i + 1] - pc < size and rows[2 * i] in (0, root):
                state.reached_at = state.count


def left(hart: Hart, state: CounterState, pc: int) -> None:
    look(state)
    inside = 0 <= pc - state.pc < state.size and state.length
    state.count += instructions(hart, state.pc, pc) if inside else state.length
    state.length = 0


def fault(hart: Hart, state: CounterState, pc: int) -> None:
    if state.length:
        left(hart, state, pc)
        state.again += 1
