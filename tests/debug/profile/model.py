"""A count of instructions made one by one: a hook on each, which is slow, and knows nothing of blocks.

An instruction that is looked at and then traps, or is left, has not been done: it is taken back, unless the
trap is its purpose (ecall), or its handler does what Unicorn cannot (pc is behind it then).
"""

from collections import Counter

from pltvm import Machine
from pltvm.engine.context import PC, Context
from pltvm.engine.trap import Cause


class Model:
    """Counts on a machine without the native core: by who runs, and pc."""

    def __init__(self, machine: Machine) -> None:
        self.done: Counter[tuple[str, int]] = Counter()
        self._hart, self._machine = machine.hart, machine
        self._trapped: tuple[Context, tuple[str, int]] | None = None
        self._latest: tuple[str, int] | None = None
        machine.hart.watch(self._look, 1, 0, blocks=False)
        machine.hart.watch_traps(self._before, self._after)
        machine.hart.watch_leaving(self._left)

    def _who(self) -> str:
        enclave = self._machine.monitor.state.running
        if enclave is not None:
            return f"eid {enclave.eid}"
        thread = self._machine.kernel.program.thread  # type: ignore[union-attr]
        return f"pid {thread.process.state.pid} {thread.process.state.path!r}"

    def _look(self, pc: int, _size: int) -> None:
        self._latest = self._who(), pc
        self.done[self._latest] += 1

    def _before(self, cause: int) -> None:
        self._trapped = None
        if cause == Cause.ECALL_U:
            return
        context = self._hart.current
        self._hart.read_registers()
        key = self._who(), context.regs[PC] - 4
        if key == self._latest:  # else the instruction could not be fetched
            self.done[key] -= 1
        self._trapped = context, key

    def _after(self, cause: int) -> None:
        if self._trapped is not None and cause == Cause.ILLEGAL and self._hart.current is self._trapped[0]:
            context, key = self._trapped
            if context.regs[PC] - key[1] in (2, 4):
                self.done[key] += 1
        self._latest = None

    def _left(self, context: Context) -> None:
        if self._latest is not None and self._latest[1] == context.regs[PC]:
            self.done[self._latest] -= 1
        self._latest = None

    def counts(self) -> dict[tuple[str, int], int]:
        """Instructions that were done."""
        return {key: times for key, times in self.done.items() if times}
