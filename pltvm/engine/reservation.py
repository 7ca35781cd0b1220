"""Keeps the reservation of an `lr` where Unicorn would clear it although no guest code ran meanwhile.

Unicorn clears the reservation whenever the privilege is written, so a loaded context has none. That is right
if another context has had the hart. But a context that is only stopped for an observer has to go on as if it
was not: otherwise its `sc` fails, and everything after it comes later than in other runs.

No register of Unicorn shows it. It is found in the data of `uc_context_save`, which is QEMU's CPU structure:
the address, and the value that was read, come after pc.
"""

import ctypes
import weakref
from typing import Final

from unicorn import riscv_const as riscv

from pltvm.engine.context import M
from pltvm.engine.supervisor import set_privilege
from pltvm.engine.unicorn_library import check, quick
from pltvm.errors import EngineError

Reserved = tuple[int, int]  # virtual address, value that was read

_NOTHING: Final = 0xFFFF_FFFF_FFFF_FFFF  # as address
_PATTERN: Final = 0x5A17_C0DE_0BAD_F00C  # a pc
_DIFFERENT: Final = "this Unicorn keeps reservations elsewhere than pltvm knows: use unicorn 2.1.4"

quick.uc_context_size.restype = ctypes.c_size_t


class Reservation:
    """The reservation of one engine, which has to be new: pc is written. Raises EngineError for another
    Unicorn."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        self._copy = ctypes.c_void_p()
        check(quick.uc_context_alloc(handle, ctypes.byref(self._copy)))
        weakref.finalize(self, quick.uc_context_free, self._copy)
        set_privilege(handle, M)  # clears it
        pc = ctypes.c_uint64(_PATTERN)
        quick.uc_reg_write(handle, riscv.UC_RISCV_REG_PC, ctypes.byref(pc))
        check(quick.uc_context_save(handle, self._copy))
        start = self._copy.value or 0
        content = ctypes.string_at(start, quick.uc_context_size(handle))
        at = content.find(_PATTERN.to_bytes(8, "little"))
        if at < 0 or at + 24 > len(content):
            raise EngineError(_DIFFERENT)
        self._words = (ctypes.c_uint64 * 2).from_address(start + at + 8)
        if self._words[0] != _NOTHING:
            raise EngineError(_DIFFERENT)

    @property
    def held(self) -> Reserved | None:
        """Return the present reservation."""
        quick.uc_context_save(self._handle, self._copy)
        address, value = self._words
        return None if address == _NOTHING else (address, value)

    def hold(self, reserved: Reserved | None) -> None:
        """Set the reservation."""
        quick.uc_context_save(self._handle, self._copy)
        self._words[0], self._words[1] = reserved or (_NOTHING, 0)
        quick.uc_context_restore(self._handle, self._copy)
