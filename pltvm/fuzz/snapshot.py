"""The machine before its input is read, and the two ways back to that.

The light way is for executions in which only guest code did something: the pages that it has written, as the
D bits of leaf entries tell, are copied back by native code (`turn.restore`). The full way is
`Machine.restore`. Both cost what the execution has touched.
"""

from collections.abc import Callable

import numpy as np

from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import pte_address
from pltvm.errors import PltvmError
from pltvm.fuzz import turn
from pltvm.machine import Machine


class Snapshot:
    """The machine as it is now; `put_back` puts back what else belongs to it, after the full way.

    From now on the D bit of a watched leaf entry means: written since the snapshot.
    """

    def __init__(self, machine: Machine, arena: turn.Arena, put_back: Callable[[], None]) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.arena = arena
        self.ram = np.frombuffer(self.memory.bytes, np.uint8)
        self._put_back = put_back
        self._both: list[int] = []  # pages that may be executable and written
        self._flips = machine.hart.flips
        self._saved = machine.snapshot()
        self._watch()
        self.copy = self.ram.copy()
        dirty = self.memory.dirty
        always = [number for number in range(len(dirty)) if dirty[number]]  # pages that RAM's log always has
        self._logged = len(always)
        running = machine.monitor.state.running
        registers = running.pages[1] if running is not None else -1  # every execution starts with all of them
        self._compared = [number for number in always if number != registers]

    def _watch(self) -> None:
        """Note where the leaf entries of writable pages are; their D bits are clear."""
        memory, arena, count = self.memory, self.arena, 0
        state = self.machine.monitor.state
        for enclave in state.enclaves.values():
            table = enclave.space.table
            for leaf in table.leaves():
                if table.writable(leaf.pte):
                    if count == turn.MOST_SLOTS:
                        raise PltvmError(
                            f"more than {turn.MOST_SLOTS * PAGE >> 20} MiB of writable memory: "
                            "too much to go back to a snapshot quickly"
                        )
                    arena.slots[count] = (leaf.slot - memory.base) >> 3
                    arena.entries[count] = leaf.pte
                    count += 1
                    if state.owners.wants_both(pte_address(leaf.pte)):
                        self._both.append(pte_address(leaf.pte))
        arena.state[turn.SLOTS] = count

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa` as they were."""
        at = pa - self.memory.base
        return bytes(self.copy[at : at + size])

    def is_light(self) -> bool:
        """Whether the monitor and the host have written nothing since: the light way back will do."""
        return self.memory.dirty.count(1) == self._logged and all(
            self.memory.bytes[at : at + PAGE] == self.copy[at : at + PAGE].data
            for at in (number << PAGE_SHIFT for number in self._compared)
        )

    def light(self) -> None:
        """Undo what guest code did."""
        turn.restore(self.arena.bytes, self.ram, self.copy, self.memory.base)
        self.after_light()

    def after_light(self) -> None:
        """What native code cannot do: tell the hart."""
        hart = self.machine.hart
        hart.clock = self._saved.engine.clock
        hart.translations_changed()
        self._forget_flipped()

    def _forget_flipped(self) -> None:
        hart = self.machine.hart
        if hart.flips != self._flips:  # native code has put back what ran in these pages
            self._flips = hart.flips
            for page in self._both:
                hart.forget_code(page, PAGE)

    def full(self) -> None:
        """Undo what guest code, monitor and host did."""
        turn.restore(self.arena.bytes, self.ram, self.copy, self.memory.base)
        self.machine.restore(self._saved)
        self._put_back()
        self._forget_flipped()
