"""The fuzzing loop: the steps of `turn`, or the same in C with the native core."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Final

from pltvm.engine.hart import Hart
from pltvm.fuzz import turn as python
from pltvm.fuzz.arena import Arena
from pltvm.native import core

Step = Callable[[Arena], None]
Keeping = Callable[[Arena, bool], int]

classify: Final[Keeping] = core.pltvm_fuzz_classify if core else python.classify
part: Final[Callable[[Arena, int, bool], None]] = core.pltvm_fuzz_part if core else python.part
restore: Final[Step] = core.pltvm_fuzz_restore if core else python.restore
deeper: Final[Keeping] = core.pltvm_fuzz_deeper if core else python.deeper
place: Final[Step] = core.pltvm_fuzz_place if core else python.place
advance: Final[Step] = core.pltvm_fuzz_advance if core else python.advance
turn: Final[Callable[[Arena], int]] = core.pltvm_fuzz_turn if core else python.turn


def watch(hart: Hart, arena: Arena, looked_at: bool = False) -> None:
    """Count edges, and count down blocks to the end of the budget, which gives Cause.WFI.

    To be called before any guest code has run, like `Hart.watch_blocks`. `looked_at`: under a debugger.
    """
    if core is None:
        block = python.block_looked_at if looked_at else python.block
        hart.watch(partial(block, arena, hart.pause), start=1, end=0, blocks=True)
    else:
        arena.state.stop = hart.stop_function()
        hook = core.pltvm_fuzz_block_looked_at if looked_at else core.pltvm_fuzz_block
        function = ctypes.cast(hook, ctypes.c_void_p)
        hart.watch_blocks(function.value or 0, arena.address)
