"""A batch of executions that the native core runs by itself: `struct batch` of native/batch.h.

Python prepares it, and handles all but the common executions. Without the core it only counts the remaining
ones.
"""

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pltvm import native
from pltvm.engine.context import SLOTS, Context
from pltvm.engine.core import address_of
from pltvm.engine.handlers import Handler
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE_SHIFT, Memory
from pltvm.fuzz.arena import REGIONS, Arena
from pltvm.monitor.core import CoreCalls

_U64: Final = ctypes.c_uint64
_POINTER: Final = ctypes.c_void_p


# values of `found`: Python has to begin the next execution, or to make the next call
TO_BEGIN, TO_SEND = 4, 5


class Batch(ctypes.Structure):
    """See the header; a test checks that both are the same."""

    _fields_ = [
        ("arena", _POINTER),
        ("monitor", _POINTER),
        ("calls", _POINTER),
        ("kbuffer", _U64),
        ("target", _POINTER),
        ("last_call", _U64),
        ("regions", _POINTER * REGIONS),
        ("entry", _U64 * SLOTS),
        ("clock", _U64),
        ("most_calls", _U64),
        ("caller", _U64),
        ("server", _U64),
        ("struct_va", _U64),
        ("unused_va", _U64),
        ("first_request", _U64),
        ("first_place", _U64),
        ("room", _U64),
        ("slots", _POINTER),
        ("slot_count", _U64),
        ("request", _U64),
        ("place", _U64),
        ("passes", _U64),
        ("caller_va", _U64),
        ("logged", _POINTER),
        ("always", _POINTER),
        ("always_count", _U64),
        ("tables", _POINTER),
        ("plain", _U64),
        ("left", _U64),
        ("asked", _U64),
        ("by_python", _U64),
        ("changed", _U64),
        ("flips", _U64),
        ("begun", _U64),
        ("found", _U64),
    ]
    regions: Any
    entry: Any
    kbuffer: int
    last_call: int
    clock: int
    plain: int
    left: int
    asked: int
    by_python: int
    changed: int
    request: int
    place: int
    passes: int
    caller_va: int
    flips: int
    begun: int
    found: int

    def prepare(
        self,
        hart: Hart,
        arena: Arena,
        calls: CoreCalls,
        target: Context,
        entry: Any,
        contexts: Iterable[Context],
    ) -> None:
        """Prepare executions of `target` that start with the registers `entry`. Edges of each of `contexts`
        are counted separately."""
        self.arena, self.calls = arena.address, ctypes.addressof(calls)
        self.target, self.clock = target.address, hart.clock
        self.entry[:] = entry
        for index, context in enumerate(contexts):
            self.regions[index] = context.address

    def pass_on(self, slots: Sequence[int], **places: int) -> None:
        """Prepare for inputs of several calls: see the header for `places`."""
        self._slots = array("Q", slots)
        self.slots, self.slot_count = self._slots.buffer_info()
        for name, value in places.items():
            setattr(self, name, value)

    def watch_log(self, memory: Memory, always: Sequence[int], tables: Iterable[int]) -> None:
        """Take RAM's log as it is now as that of the snapshot. `always` are the numbers of pages in the log
        that have to be compared, `tables` the physical addresses of page tables."""
        self._logged, self._always = bytearray(memory.dirty), array("Q", always)
        self._tables = bytearray(len(memory.dirty))
        for pa in tables:
            self._tables[(pa - memory.base) >> PAGE_SHIFT] = 1
        self.logged, self.tables = address_of(self._logged), address_of(self._tables)
        self.always, self.always_count = self._always.buffer_info()

    def answer_for(self, hart: Hart, handler: Handler) -> None:
        """Let the core run executions from now on, as long as ecalls have this handler."""
        core = native.core
        if hart.has_core and core is not None:
            self.monitor = ctypes.cast(core.pltvm_answer, ctypes.c_void_p)
            hart.handlers.answer_with(handler, core.pltvm_fuzz_answer, ctypes.addressof(self))
