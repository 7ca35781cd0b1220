"""The hooks of one engine: functions that Unicorn calls at traps, blocks and instructions.

Hooks are permanent, and do not affect code that was translated before they were added. Code without hooks has
no cost.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from unicorn import unicorn_const as uc_const

from pltvm.engine.skipped import TranslatedBlock
from pltvm.engine.unicorn_library import check, library

# The core's flags, and the cause; the result is for the core. Unicorn itself gives the engine's address in
# place of flags: its lowest bits, where the flags are, are 0.
_TRAP: Final = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint8, ctypes.c_uint32)
_CODE: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
_ACCESS: Final = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
)
_Block = ctypes.POINTER(TranslatedBlock)
_TRANSLATED: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _Block, _Block, ctypes.c_void_p)

_EVERYWHERE: Final = 1, 0  # from, to: an empty range stands for all addresses


class Hooks:
    """Adds hooks to the engine at `handle`. `fail` gets errors raised by functions of `watch`."""

    def __init__(self, handle: ctypes.c_void_p, fail: Callable[[BaseException], None]) -> None:
        self._handle = handle
        self._fail = fail
        self._callbacks: list[object] = []  # must live as long as Unicorn may call them
        self._aliased = False  # whether guests may store to code through another mapping
        self.in_use = False  # other hooks than `begin`'s would notice that a block is left and entered again
        self.stepped = False  # hooks for single instructions need the JIT to be left inside blocks

    def trap_function(self, function: Callable[[int, int], bool]) -> object:
        """Return a C function for traps that calls `function` with the core's flags and the cause; it returns
        whether the core has to load the context's registers."""
        return self._kept(_TRAP(function))

    def translated_function(self, function: Callable[..., None]) -> object:
        """Return a C function for blocks that calls `function` with engine, block, previous block, and
        data."""
        return self._kept(_TRANSLATED(function))

    def begin(self, trap: object, translated: object, data: int) -> None:
        """Call these C functions at each trap, and for each translated block that will run next."""
        self._trap_hook = self._add(uc_const.UC_HOOK_INTR, trap, data, *_EVERYWHERE)
        self._trap = trap, data
        self._add(uc_const.UC_HOOK_EDGE_GENERATED, translated, data, *_EVERYWHERE)

    def replace_traps(self, function: object, data: int) -> tuple[int, int]:
        """See `Hart.replace_traps`."""
        (before, its_data), self._trap = self._trap, (function, data)
        check(library.uc_hook_del(self._handle, self._trap_hook))
        self._trap_hook = self._add(uc_const.UC_HOOK_INTR, function, data, *_EVERYWHERE)
        return ctypes.cast(before, ctypes.c_void_p).value or 0, its_data  # type: ignore[arg-type]

    def watch_translated(self, function: object, data: int) -> None:
        """See `Hart.watch_translated`."""
        self._add(uc_const.UC_HOOK_EDGE_GENERATED, function, data, *_EVERYWHERE)

    def watch_blocks(self, function: int, data: int, start: int, end: int, keep: object) -> None:
        """See `Hart.watch_blocks`."""
        self._kept(keep)
        self.in_use = True
        self._add(uc_const.UC_HOOK_BLOCK, ctypes.c_void_p(function), data, start, end)

    def watch(self, function: Callable[[int, int], None], start: int, end: int, blocks: bool) -> None:
        """See `Hart.watch`."""

        def seen(_engine: object, pc: int, size: int, _data: object) -> None:
            try:
                function(pc, size)
            except BaseException as error:  # must not unwind through C frames
                self._fail(error)

        self.in_use = True
        self.stepped |= not blocks
        kind = uc_const.UC_HOOK_BLOCK if blocks else uc_const.UC_HOOK_CODE
        self._add(kind, self._kept(_CODE(seen)), 0, start, end)

    def watch_accesses(self, function: object, data: int) -> Callable[[], None]:
        """See `Hart.watch_accesses`."""
        both = uc_const.UC_HOOK_MEM_READ | uc_const.UC_HOOK_MEM_WRITE
        hook = self._add(both, function, data, *_EVERYWHERE)
        self.in_use = True
        return lambda: check(library.uc_hook_del(self._handle, hook))

    def access_function(self, function: Callable[..., None]) -> object:
        """Return a C function for loads and stores that calls `function` with whether it writes, the physical
        address, and the size."""

        def seen(_engine: object, kind: int, pa: int, size: int, *_: object) -> None:
            try:
                function(kind == uc_const.UC_MEM_WRITE, pa, size)
            except BaseException as error:  # must not unwind through C frames
                self._fail(error)

        return self._kept(_ACCESS(seen))

    def watch_aliases(self, flush: Callable[..., object]) -> None:
        """Call `flush` for each translated block: `Hart.watch_aliases`. Further calls do nothing."""
        if not self._aliased:
            self._aliased = self.in_use = True
            self._add(uc_const.UC_HOOK_EDGE_GENERATED, self._kept(_TRANSLATED(flush)), 0, *_EVERYWHERE)

    def _kept(self, callback: object) -> object:
        self._callbacks.append(callback)
        return callback

    def _add(self, kind: int, function: object, data: int, start: int, end: int) -> ctypes.c_size_t:
        hook = ctypes.c_size_t()
        check(
            library.uc_hook_add(
                self._handle, ctypes.byref(hook), ctypes.c_int(kind), function, ctypes.c_void_p(data),
                ctypes.c_uint64(start), ctypes.c_uint64(end),
            )
        )  # fmt: skip
        return hook
