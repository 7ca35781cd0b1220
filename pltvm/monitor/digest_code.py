"""The digest's rounds as machine code, run on a hart of the monitor's own: a hundred times as fast as Python.

    BASE        the code: digest.bin, made from guest/monitor/digest.c by `python -m pltvm.build enclaves`
    + TABLES    state, 8 u64 | round constants, 64 u64 | room for the message schedule, 68 u64
    + STACK     the end of a small stack
    + DATA      the blocks of one go
    + PAGING    page tables that map all that at its own address: code and data apart, which is what makes
                stores fast

`digest.PenglaiDigest` says the same in Python, and is what this is compared with.
"""

import threading
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Final

from pltvm.engine import pmp, sv39
from pltvm.engine.context import A0, A1, A2, A3, A4, PC, SP, Context, U
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.trap import Cause
from pltvm.errors import EngineError

BLOCK: Final = 64  # bytes
MOST: Final = 256 << 10  # bytes of one go: some milliseconds
_BASE: Final = 0x8000_0000
_TABLES, _STACK, _PAGING, _DATA = 0x1000, 0x4000, 0x8000, 0x10000
_STATE: Final = Struct("<8Q")
_CONSTANTS: Final = Struct("<64Q")


class Rounds:
    """The rounds with these constants, each rotated by the number of its round."""

    def __init__(self, constants: tuple[int, ...]) -> None:
        self._memory = memory = Memory(_BASE, _DATA + MOST)
        self._hart = Hart(memory, use_core=False)
        self._lock = threading.Lock()  # an engine is for one thread at a time
        pmp.program(self._hart, {pmp.LAST: pmp.Entry(0, 0, pmp.ALL)}, scratch=_BASE)
        memory.write(_BASE, Path(__file__).with_name("digest.bin").read_bytes())
        memory.pack(_BASE + _TABLES + _STATE.size, _CONSTANTS, *constants)
        pages = iter(range(_BASE + _PAGING, _BASE + _DATA, PAGE))
        self._table = PageTable(memory, next(pages), lambda: next(pages))
        self._table.map(_BASE, _BASE, 1, sv39.RX)
        for start, end in ((_TABLES, _STACK), (_DATA, memory.size)):
            self._table.map(_BASE + start, _BASE + start, (end - start) // PAGE, sv39.RW)
        for cause in Cause:
            self._hart.handlers[cause] = self._fails
        self._hart.handlers[Cause.WFI] = lambda _context: self._hart.stop()  # its end

    def _fails(self, context: Context) -> None:
        raise EngineError(f"the digest's code stopped at {context.regs[PC]:#x}")

    def compress(self, state: tuple[int, ...], data: bytes | memoryview) -> tuple[int, ...]:
        """The state after whole blocks, of at most MOST bytes."""
        tables = _BASE + _TABLES
        with self._lock:
            self._memory.pack(tables, _STATE, *state)
            self._memory.write(_BASE + _DATA, data)
            context = Context(U, sv39.satp_for(self._table.root, 0), _BASE, table=self._table)
            regs = context.regs
            regs[SP], regs[A0], regs[A1], regs[A2] = _BASE + _STACK, tables, _BASE + _DATA, len(data) // BLOCK
            regs[A3], regs[A4] = tables + _STATE.size, tables + _STATE.size + _CONSTANTS.size
            self._hart.current = context
            self._hart.run()
            return _STATE.unpack(self._memory.read(tables, _STATE.size))


@cache
def rounds(constants: tuple[int, ...]) -> Rounds:
    """One for the process, made when it is first needed."""
    return Rounds(constants)
