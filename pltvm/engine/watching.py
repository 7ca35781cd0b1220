"""Hooks on a hart: for blocks, instructions, loads and stores, translations, traps.

They serve coverage, counters, debuggers and the fuzzer. Without hooks a run is as fast as if there were none.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from unicorn import riscv_const as riscv

from pltvm.engine.handlers import Handlers
from pltvm.engine.preemption import Preemptible
from pltvm.engine.unicorn_library import FLUSH_CODE, FLUSH_TLB, quick

_PC: Final = riscv.UC_RISCV_REG_PC


class Watchable(Preemptible):
    """The part of a hart that other parts can watch: a base class of `Hart`, like `Preemptible`."""

    handlers: Handlers

    def forget_all_code(self) -> None:
        """Discard all translated code; call it outside guest code, or before a run."""
        quick.uc_ctl(self._handle, FLUSH_CODE)

    def watch_blocks(
        self, function: int, data: int, start: int = 1, end: int = 0, keep: object = None
    ) -> None:
        """Call native code at each block of code from now on, permanently: the C function at `function` gets
        (engine, pc, bytes of the block, `data`). With `start` ≤ `end` only for pc in that range.

        Code that was translated before is not watched: call this before any guest code has run. A reference
        to `keep` is held as long as the hook exists.
        """
        self._hooks.watch_blocks(function, data, start, end, keep)

    def watch(self, function: Callable[[int, int], None], start: int, end: int, blocks: bool) -> None:
        """Like `watch_blocks`, for a Python function, which gets pc and size of each block or instruction.

        This is slow: half a microsecond each.
        """
        self.handlers.leave_to_python()
        self._hooks.watch(function, start, end, blocks)

    def watch_accesses(
        self, function: int | Callable[[bool, int, int], None], data: int = 0
    ) -> Callable[[], None]:
        """Call code at each load and store of guests from now on; the returned function ends that. Call
        before a run.

        A C function at `function` gets Unicorn's arguments and `data`; a Python function gets whether it is a
        write, the physical address, and the size. Atomic instructions load and then store. Guest code runs
        slower.
        """
        hooks = self._hooks
        native_one = ctypes.c_void_p(function) if isinstance(function, int) else None
        remove = hooks.watch_accesses(native_one or hooks.access_function(function), data)  # type: ignore[arg-type]
        self.forget_all_code()

        def end() -> None:
            remove()
            self.forget_all_code()

        return end

    def pc_inside(self) -> int:
        """Return the pc of the instruction for which a function of `watch_accesses` was called."""
        pc = ctypes.c_uint64()
        quick.uc_reg_read(self._handle, _PC, ctypes.byref(pc))
        return pc.value

    def replace_traps(self, function: int, data: int) -> tuple[int, int]:
        """Call native code at each trap in place of the former function: the C function at `function` gets
        (engine, cause, `data`), and has to call the former one, which is returned with its data.

        Not to be called from a handler.
        """
        return self._hooks.replace_traps(ctypes.c_void_p(function), data)

    def watch_translated(self, function: "int | Callable[..., None]", data: int = 0) -> None:
        """Call native or Python code for each translated block, with (engine, block, previous block, `data`):
        former code may have been replaced."""
        native_one = ctypes.c_void_p(function) if isinstance(function, int) else None
        self._hooks.watch_translated(native_one or self._hooks.translated_function(function), data)  # type: ignore[arg-type]

    def watch_aliases(self) -> None:
        """Notice changes of code also when it is stored to through another mapping than the one it runs from.

        After the first store to a page through a mapping that is not executable, Unicorn checks no stores to
        it until the next flush. So each translation of a block flushes. Needed for guests that can map a page
        twice.
        """
        self._hooks.watch_aliases(lambda *_: quick.uc_ctl(self._handle, FLUSH_TLB))

    def pause(self) -> None:
        """Trap with Cause.WFI at the current block; for functions of `watch` for blocks."""
        quick.uc_emu_stop(self._handle)

    @staticmethod
    def stop_function() -> int:
        """Return the C function by which native code of `watch_blocks` leaves `run` with Cause.WFI at the
        current block; its argument is the engine."""
        return ctypes.cast(quick.uc_emu_stop, ctypes.c_void_p).value or 0
