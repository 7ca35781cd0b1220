"""A target that a debugger looks at: its blocks are counted as without one, so that it does the same.

What an execution does depends on how many blocks have run: when memory changes under it, when it hangs. Who
stops it inside of a block has Unicorn make another one of the rest. So the hook is told where that begins
(`State.again`), and counts nothing there.
"""

from pltvm.engine.context import PC, Context
from pltvm.engine.decode import instruction_length
from pltvm.engine.hart import Hart
from pltvm.engine.trap import Cause, fetch
from pltvm.fuzz import loop
from pltvm.fuzz.arena import Arena

_OF_WATCHED: tuple[Cause, ...] = (Cause.LOAD_ACCESS, Cause.STORE_ACCESS)


class Looked:
    """Counts the blocks of one hart into an arena, before any guest code has run."""

    def __init__(self, hart: Hart, arena: Arena) -> None:
        self._state = arena.state
        loop.watch(hart, arena, looked_at=True)
        hart.watch_leaving(self._on_left)
        hart.handlers.tell(self._on_trap)

    def _on_left(self, context: Context) -> None:
        """The JIT was left: for a stop or a checkpoint, if it is not for the end of the budget."""
        state, pc = self._state, context.regs[PC]
        if state.budget >= 0 and 0 <= pc - state.begun < state.begun_size:
            state.again = pc
        state.begun_size = 0

    def _on_trap(self, cause: int, context: Context) -> None:
        """A trap of which Python hears: some there are for the debugger alone."""
        state, pc = self._state, context.regs[PC]
        state.begun_size = 0
        if cause == Cause.BREAK:
            state.again = pc
        elif cause in _OF_WATCHED:  # the debugger does it, and goes on behind
            state.again = pc + instruction_length(fetch(context))
