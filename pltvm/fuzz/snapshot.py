"""The machine before its input is read, and the two ways to restore it.

The light way is for executions in which only guest code wrote: the written pages, by the D bits of leaf
entries, are copied back (`turn.restore`). The full way is `Machine.restore`. The cost of both depends on the
pages touched.
"""

import mmap
from collections.abc import Callable, Mapping
from typing import Final

from pltvm.engine.memory import MAP_NORESERVE, PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import pte_address
from pltvm.errors import PltvmError
from pltvm.fuzz import loop
from pltvm.fuzz.arena import MOST_SLOTS, Arena
from pltvm.machine import Machine

_ZEROS: Final = bytes(PAGE)


class Snapshot:
    """The state of the machine; `put_back` is called after the full way, to restore what else belongs to it.

    From now on the D bit of a watched leaf entry means that its page was written since the snapshot.
    """

    def __init__(self, machine: Machine, arena: Arena, put_back: Callable[[], None]) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.arena = arena
        self._put_back = put_back
        self._both: list[int] = []  # pages that may be both executable and written
        self._flips = machine.hart.flips
        self._saved = machine.snapshot()
        self._pages = self._saved.engine.pages
        self._watch()
        self.copy = _laid_out(self._pages, self.memory.size)
        arena.use(self.memory.base, self.memory.bytes, self.copy)
        dirty = self.memory.dirty
        # pages that are always in RAM's log
        always = [number for number in range(len(dirty)) if dirty[number]]
        self._logged = len(always)
        running = machine.monitor.state.running
        # every execution sets all of them at its start
        registers = running.pages[1] if running is not None else -1
        self.compared = [number for number in always if number != registers]

    def _watch(self) -> None:
        """Find the leaf entries of writable pages, and clear their D bits."""
        memory, arena, count = self.memory, self.arena, 0
        state = self.machine.monitor.state
        for enclave in state.enclaves.values():
            table = enclave.space.table
            for leaf in table.leaves():
                if table.writable(leaf.pte):
                    if count == MOST_SLOTS:
                        raise PltvmError(
                            f"more than {MOST_SLOTS * PAGE >> 20} MiB of writable memory: "
                            "too much to go back to a snapshot quickly"
                        )
                    arena.slots[count] = (leaf.slot - memory.base) >> 3
                    arena.entries[count] = leaf.pte
                    count += 1
                    if state.owners.wants_both(pte_address(leaf.pte)):
                        self._both.append(pte_address(leaf.pte))
        arena.state.watched = count

    def read(self, pa: int, size: int) -> bytes:
        """Return `size` bytes at physical address `pa` at the snapshot."""
        at = pa - self.memory.base
        return bytes(self.copy[at : at + size])

    def is_light(self) -> bool:
        """Whether monitor and host have written nothing since then, so that the light way is enough."""
        return self.memory.dirty.count(1) == self._logged and all(
            bytes(self.memory.bytes[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT])
            == self._pages.get(number, _ZEROS)
            for number in self.compared
        )

    def light(self) -> None:
        """Undo writes of guest code."""
        loop.restore(self.arena)
        self.after_light()

    def after_light(self) -> None:
        """Notify the hart after the light way, which the loop cannot do."""
        hart = self.machine.hart
        hart.clock = self._saved.engine.clock
        hart.translations_changed()
        self._forget_flipped()

    def _forget_flipped(self) -> None:
        hart = self.machine.hart
        if hart.flips != self._flips:  # the loop has restored pages that had code
            self._flips = hart.flips
            for page in self._both:
                hart.forget_code(page, PAGE)

    def full(self) -> None:
        """Undo changes of guest code, monitor and host."""
        loop.restore(self.arena)
        self.machine.restore(self._saved)
        self._put_back()
        self._forget_flipped()


def _laid_out(pages: Mapping[int, bytes], size: int) -> memoryview:
    """Return RAM of `size` bytes with these pages; others are zero, and cost nothing until they are read."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    ram = memoryview(mmap.mmap(-1, size, flags=flags))
    for number, content in pages.items():
        ram[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT] = content
    return ram
