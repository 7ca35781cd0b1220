"""Counts the blocks of code that enclaves run, in a hook of the engine; see `native/blocks.h`.

The hook has to be added before any guest code has run, as it does not see code translated before. It is
permanent.
"""

import ctypes
import weakref
from collections.abc import Callable
from typing import Final

from pltvm import native
from pltvm.machine import Machine
from pltvm.monitor.state import State

ROWS: Final = 1 << 14  # of 24 bytes
Block = tuple[int, int]  # pc, bytes
Counts = dict[int, dict[Block, int]]  # by eid

_FULL: Final = ctypes.CFUNCTYPE(None)


class _Row(ctypes.Structure):
    _fields_ = [
        ("pc", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("eid", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
    ]


class _Table(ctypes.Structure):
    _fields_ = [
        ("hart", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("rows", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
        ("most", ctypes.c_uint64),
        ("full", ctypes.c_void_p),
    ]
    used: int


class BlockCounts:
    """The counts of one machine, on which no guest code has run yet; it does not keep the machine alive.

    `rows` is the room for different blocks, a power of two; when it is full, the rows are added up.
    """

    def __init__(self, machine: Machine, rows: int = ROWS) -> None:
        self._counts: Counts = {}
        self._table: _Table | None = None
        core, hart = native.core, machine.hart
        if core is None or not hart.has_core:
            hart.watch(self._by_python(weakref.ref(machine.monitor.state)), start=1, end=0, blocks=True)
            return
        self._rows, self._taken = (_Row * rows)(), (ctypes.c_uint32 * rows)()
        self._full = _FULL(self._empty)
        self._table = _Table(
            *(ctypes.addressof(one) for one in (hart.core, self._rows, self._taken)),
            *(rows, 0, rows * 3 // 4), ctypes.cast(self._full, ctypes.c_void_p),
        )  # fmt: skip
        function = ctypes.cast(core.pltvm_cover_block, ctypes.c_void_p)
        hart.watch_blocks(function.value or 0, ctypes.addressof(self._table), keep=self)

    def take(self) -> Counts:
        """Return and reset the counts since the last call."""
        self._empty()
        counts, self._counts = self._counts, {}
        return counts

    def _by_python(self, state: "weakref.ref[State]") -> Callable[[int, int], None]:
        def count(pc: int, size: int) -> None:
            now = state()
            running = now.running if now is not None else None
            if running is not None:
                self._add(running.eid, (pc, size), 1)

        return count

    def _add(self, eid: int, block: Block, count: int) -> None:
        blocks = self._counts.setdefault(eid, {})
        blocks[block] = blocks.get(block, 0) + count

    def _empty(self) -> None:
        """Add up the rows and empty them."""
        table = self._table
        if table is not None:
            for number in self._taken[: table.used]:
                row = self._rows[number]
                self._add(row.eid, (row.pc, row.size), row.count)
                row.count = 0
            table.used = 0
