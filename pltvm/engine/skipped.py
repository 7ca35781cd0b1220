"""Makes compressed instructions trap that Unicorn would skip silently, and `breaks` too.

Unicorn's decoder does not know Zcb, and does not refuse unknown instructions there. So each block is examined
when it has been translated and has not run yet. If it has such an instruction, RAM holds an illegal one in
its place while the block is translated again; then RAM is as before, and the block traps there. No guest runs
in between.

    translated, seen here -> illegal word put in, translation discarded, pc written: the block is left
    translated again      -> the word put back; the block runs up to the trap
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Final

from unicorn import riscv_const as riscv

from pltvm.engine.bits import is_skipped
from pltvm.engine.breaks import Breaks
from pltvm.engine.context import Context, M
from pltvm.engine.memory import Memory
from pltvm.engine.quirks import remove_code
from pltvm.engine.reservation import Reservation
from pltvm.engine.sv39 import X
from pltvm.engine.unicorn_library import quick

_ILLEGAL: Final = 0x8002  # c.jr of x0, which Unicorn does refuse


@functools.cache
def _halves() -> bytes:
    """Return a table by the first 16 bits of an instruction: its length in halves, or 0 if Unicorn skips it.

    It is made when a block is first examined here; the native core examines most blocks.
    """
    return bytes(2 if half & 3 == 3 else 0 if is_skipped(half) else 1 for half in range(1 << 16))


_FIRST_BLOCKS: Final = bytes.fromhex("09a0 0100 7300 5010")  # c.j to c.nop; wfi


class TranslatedBlock(ctypes.Structure):
    """Unicorn's `uc_tb`: a block of code, `size` in bytes."""

    _fields_ = [("pc", ctypes.c_uint64), ("instructions", ctypes.c_uint16), ("size", ctypes.c_uint16)]


class Skipped:
    """Examines the blocks of one engine, also for the places of `breaks`."""

    def __init__(
        self, handle: ctypes.c_void_p, memory: Memory, breaks: Breaks, reservation: Reservation
    ) -> None:
        self._handle = handle
        self._reservation = reservation
        self._memory = memory
        self._breaks = breaks
        self._halves = memory.bytes.cast("H")  # changed without the methods of RAM: it is not noticed
        self._changed: tuple[int, int] | None = None  # the place of the illegal half, and the original value

    def begin(self, run: Callable[[Context], None]) -> None:
        """Run two blocks in M-mode before any guest, as Unicorn reports only blocks that follow another."""
        at = self._memory.size - len(_FIRST_BLOCKS)
        end = self._memory.bytes[at:]
        before = bytes(end)
        end[:] = _FIRST_BLOCKS
        run(Context(M, pc=self._memory.base + at))
        end[:] = before
        remove_code(self._handle, self._memory.base + at, len(_FIRST_BLOCKS), None, self._reservation)

    def look_at(self, block: TranslatedBlock, context: Context) -> bool:
        """Examine a block of `context` that was translated and will run next. True if the next one is
        awaited."""
        if self._changed is None:
            self._look_for(block, context)
        else:
            self.put_back()
        return self._changed is not None

    def _look_for(self, block: TranslatedBlock, context: Context) -> None:
        table = context.table
        if table is None:
            return
        pc, halves, over, lengths = block.pc, self._halves, 0, _halves()
        stop = self._breaks.first(pc, block.size, table) if self._breaks.places else None
        if context.privileged and stop is None:
            return
        spans = table.spans(pc, block.size, X) or []  # none if the entry was changed meanwhile
        va = pc
        for pa, size in spans:
            at = pa - self._memory.base >> 1
            end = at + (size >> 1)
            if at < 0 or end > len(halves):
                return
            place = at + (stop - va >> 1) if stop is not None else -1
            at += over  # an instruction may begin on one page and end on the next
            while at < end:
                length = lengths[halves[at]]
                if at == place or not (length or context.privileged):
                    self._replace(at, pc, spans[0][0], context)
                    return
                at += length or 1
            over = at - end
            va += size

    def _replace(self, at: int, pc: int, pa: int, context: Context) -> None:
        """Translate the block at `pc`, which begins at `pa`, again with an illegal half at `at`."""
        self._changed = at, self._halves[at]
        self._halves[at] = _ILLEGAL
        remove_code(self._handle, pa, 2, context, self._reservation)
        value = ctypes.c_uint64(pc)
        quick.uc_reg_write(self._handle, riscv.UC_RISCV_REG_PC, ctypes.byref(value))

    def put_back(self) -> None:
        """Restore RAM, when the block was translated, or will not be."""
        if self._changed is not None:
            at, half = self._changed
            self._halves[at] = half
            self._changed = None
