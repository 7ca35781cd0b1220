"""Counts a target's blocks under a debugger as without one, so that executions are the same.

An execution depends on the number of blocks that have run: for changes of memory, and for hangs. If a
debugger stops it inside a block, Unicorn makes another block of the rest. So the hook is told where that
begins (`State.again`), and does not count it.
"""

from pltvm.engine.context import PC, Context
from pltvm.engine.decode import instruction_length
from pltvm.engine.hart import Hart
from pltvm.engine.trap import Cause, fetch
from pltvm.fuzz import loop
from pltvm.fuzz.arena import Arena

_OF_WATCHED: tuple[Cause, ...] = (Cause.LOAD_ACCESS, Cause.STORE_ACCESS)


class Looked:
    """Counts the blocks of one hart into an arena; to be made before any guest code has run."""

    def __init__(self, hart: Hart, arena: Arena) -> None:
        self._state = arena.state
        loop.watch(hart, arena, looked_at=True)
        hart.watch_leaving(self._on_left)
        hart.handlers.tell(self._on_trap)

    def _on_left(self, context: Context) -> None:
        """Handle that the JIT was left for a stop or a checkpoint, not for the end of the budget."""
        state, pc = self._state, context.regs[PC]
        if state.budget >= 0 and 0 <= pc - state.begun < state.begun_size:
            state.again = pc
        state.begun_size = 0

    def _on_trap(self, cause: int, context: Context) -> None:
        """Handle a trap that comes to Python: some are only for the debugger."""
        state, pc = self._state, context.regs[PC]
        state.begun_size = 0
        if cause == Cause.BREAK:
            state.again = pc
        elif cause in _OF_WATCHED:  # the debugger does the access, and goes on after it
            state.again = pc + instruction_length(fetch(context))
