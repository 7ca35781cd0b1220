"""What may be watched on a hart: blocks, instructions, loads and stores, translations, traps.

For coverage, counters, debuggers and the fuzzer. What nobody watches costs nothing.
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
    """What others may watch of a hart: a base class of `Hart`, as `Preemptible` is."""

    handlers: Handlers

    def forget_all_code(self) -> None:
        """Translate all code anew: outside of guest code, or before a run."""
        quick.uc_ctl(self._handle, FLUSH_CODE)

    def watch_blocks(
        self, function: int, data: int, start: int = 1, end: int = 0, keep: object = None
    ) -> None:
        """Call native code at each block of code from now on, for good: the C function at `function` gets
        (engine, pc, bytes of the block, `data`). With `start` ≤ `end`: only for pc in that range.

        Code that was translated before is not watched: call this before any guest code has run. `keep` lives
        as long as the hook.
        """
        self._hooks.watch_blocks(function, data, start, end, keep)

    def watch(self, function: Callable[[int, int], None], start: int, end: int, blocks: bool) -> None:
        """As `watch_blocks`, but a Python function, which gets pc and bytes: of each block, or instruction.

        That is slow: half a microsecond each.
        """
        self.handlers.leave_to_python()
        self._hooks.watch(function, start, end, blocks)

    def watch_accesses(
        self, function: int | Callable[[bool, int, int], None], data: int = 0
    ) -> Callable[[], None]:
        """Call code at each load and store of guests from now on, before a run; what this gives ends that.

        A C function at `function` gets Unicorn's arguments and `data`; a Python function whether it writes,
        the physical address, and bytes. Atomic instructions load, and then store. Guest code runs slower.
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
        """The pc of the instruction that a function of `watch_accesses` was called for."""
        pc = ctypes.c_uint64()
        quick.uc_reg_read(self._handle, _PC, ctypes.byref(pc))
        return pc.value

    def replace_traps(self, function: int, data: int) -> tuple[int, int]:
        """Call native code at each trap in place of what was called before: the C function at `function`
        gets (engine, cause, `data`), and is to call the other one, which this gives with its data.

        Not from a handler.
        """
        return self._hooks.replace_traps(ctypes.c_void_p(function), data)

    def watch_translated(self, function: "int | Callable[..., None]", data: int = 0) -> None:
        """Call native or Python code for each block that was translated, with (engine, block, the one before,
        `data`): code that was there may have been replaced."""
        native_one = ctypes.c_void_p(function) if isinstance(function, int) else None
        self._hooks.watch_translated(native_one or self._hooks.translated_function(function), data)  # type: ignore[arg-type]

    def watch_aliases(self) -> None:
        """From now on see code change also when it is stored to through another mapping than it runs by.

        Unicorn looks at no store to a page between the first one by a mapping that is not executable and the
        next flush. So each block that is translated flushes. For guests that can map a page twice.
        """
        self._hooks.watch_aliases(lambda *_: quick.uc_ctl(self._handle, FLUSH_TLB))

    def pause(self) -> None:
        """From a function of `watch` for blocks: trap with Cause.WFI at the block it is called for."""
        quick.uc_emu_stop(self._handle)

    @staticmethod
    def stop_function() -> int:
        """The C function with which native code of `watch_blocks` can leave `run` with Cause.WFI, given the
        engine: at the block that it was called for."""
        return ctypes.cast(quick.uc_emu_stop, ctypes.c_void_p).value or 0
