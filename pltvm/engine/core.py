"""The state of the hart that the native core and Python share: `struct hart` of native/hart.h.

Without the core it holds only the clock.
"""

import ctypes
from collections.abc import Sequence
from typing import Final

from pltvm.engine import context as ctx
from pltvm.engine.memory import Memory
from pltvm.engine.unicorn_library import quick

_U64: Final = ctypes.c_uint64
_POINTER: Final = ctypes.c_void_p

# Flags of `told`.
SWITCHED: Final = 1
WAITING: Final = 2
SAVED: Final = 4


class CoreHart(ctypes.Structure):
    """See the header; a test checks that both are the same."""

    _fields_ = [
        ("engine", _POINTER),
        ("read_batch", _POINTER),
        ("write_batch", _POINTER),
        ("ctl", _POINTER),
        ("ids", _POINTER),
        ("flush_word", _U64),
        ("ram", _POINTER),
        ("base", _U64),
        ("size", _U64),
        ("dirty", _POINTER),
        ("code", _POINTER),
        ("answer", _POINTER),
        ("above", _POINTER),
        ("python", _POINTER),
        ("look", _POINTER),
        ("replaced", _U64),
        ("breaks", _U64),
        ("protection", _POINTER),
        ("rows", _U64),
        ("registers", _POINTER),
        ("told", _U64),
        ("clock", _U64),
        ("flips", _U64),
        ("traps", _U64),
        ("flushes", _U64),
        ("counter", _POINTER),
        ("log", _POINTER),
    ]
    replaced: int
    breaks: int
    registers: int | None
    told: int
    clock: int
    traps: int
    flushes: int
    flips: int

    def protect(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Set the PMP entries: start, end and permissions, by priority."""
        self._rows = (ctypes.c_uint64 * (3 * len(rows)))(*(number for row in rows for number in row))
        self.protection, self.rows = ctypes.addressof(self._rows), len(rows)

    def connect(self, engine: ctypes.c_void_p, memory: Memory, flush_word: int, **functions: object) -> None:
        """Fill in the constant fields. `functions` are ctypes functions for what the core leaves to Python:
        `python` for traps, `look` for blocks."""
        self.engine = engine.value
        for field, function in (
            ("read_batch", quick.uc_reg_read_batch),
            ("write_batch", quick.uc_reg_write_batch),
            ("ctl", quick.uc_ctl),
            *functions.items(),
        ):
            setattr(self, field, ctypes.cast(function, ctypes.c_void_p))  # type: ignore[arg-type]
        self.ids = ctypes.addressof(ctx.REGISTER_IDS)
        self.flush_word = flush_word & 0xFFFF_FFFF
        self.ram, self.base, self.size = memory.host_address, memory.base, memory.size
        self.dirty, self.code = address_of(memory.dirty), address_of(memory.code)


def address_of(buffer: bytearray) -> int:
    """Return the address of a bytearray, which cannot change its size from now on."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
