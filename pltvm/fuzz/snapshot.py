"""The whole machine at one moment, and the way back to it.

Two ways back. The light one is for runs in which the monitor did nothing that lasts: the pages that guest
code has written, as the D bits of leaf entries tell, are copied back by native code (`turn.restore`). The
full one also undoes what the monitor and the host did: pages that Python wrote, page tables, the page
bitmap, and every object (`objects`). Both cost what the run has touched.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import D, pte_address
from pltvm.errors import PltvmError
from pltvm.fuzz import turn
from pltvm.fuzz.objects import ObjectSnapshot
from pltvm.machine import Machine
from pltvm.monitor.space import AddressSpace


class Snapshot:
    """The machine as it is now. `roots` are further objects that belong to it; `user` is who uses it.

    From now on the D bit of a watched leaf entry means: written since the snapshot.
    """

    def __init__(self, machine: Machine, arena: turn.Arena, *roots: object, user: object = None) -> None:
        self.machine = machine
        self.memory = memory = machine.memory
        self.arena = arena
        self.ram = np.frombuffer(memory.bytes, np.uint8)
        state = machine.monitor.state
        spaces = [enclave.space for enclave in state.enclaves.values()]
        self._both: list[int] = []  # pages that may be executable and written
        self._watch(spaces)
        self.copy = self.ram.copy()
        pages = {page for space in spaces for page in space.table.tables()}
        pages |= {page for pa, size in self._fixed_areas() for page in range(pa, pa + size, PAGE)}
        self._tables = np.array(sorted(pages), np.int64)  # page tables, and what the monitor writes anyway
        self._touched: set[int] = set()  # pages that Python wrote
        self._executable = memory.executable_pages()
        self._flipped = False  # whether pages were writable and executable in turns
        self._journal(memory)
        for space in spaces:
            self._journal_unmap(space.table)
            self._journal_flip(space.table)
        self._clock = machine.hart.clock
        self._current = machine.hart.current
        self._objects = ObjectSnapshot(state, machine.kernel, machine.driver, *roots, without=user)

    def _fixed_areas(self) -> list[tuple[int, int]]:
        """Memory that the monitor writes without asking: the page bitmap, and the mailboxes."""
        kernel = self.machine.kernel
        areas = [(kernel.bitmap, kernel.bitmap_size)]
        for enclave in self.machine.driver.enclaves.values():
            areas += [(enclave.page, PAGE), (enclave.kbuffer, PAGE)]
        return areas

    def _watch(self, spaces: list[AddressSpace]) -> None:
        """Clear the D bit of every writable leaf entry, and note where the entries are.

        Entries that moving mappings carry with them lose it too.
        """
        memory, arena, count = self.memory, self.arena, 0
        owners = self.machine.monitor.state.owners
        for space in spaces:
            for mapping in space.mappings():
                for index, entry in enumerate(mapping.entries):
                    mapping.entries[index] = entry & ~D
            for leaf in space.table.leaves():
                space.table.slot(leaf.va)  # so that it knows the table, also after each way back
                if space.table.writable(leaf.pte):
                    if count == turn.MOST_SLOTS:
                        raise PltvmError(
                            f"more than {turn.MOST_SLOTS * PAGE >> 20} MiB of writable memory: "
                            "too much to go back to a snapshot quickly"
                        )
                    memory.store(leaf.slot, leaf.pte & ~D)
                    arena.slots[count] = (leaf.slot - memory.base) >> 3
                    arena.entries[count] = leaf.pte & ~D
                    count += 1
                    if owners.wants_both(pte_address(leaf.pte)):
                        self._both.append(pte_address(leaf.pte))
        arena.state[turn.SLOTS] = count

    def read(self, pa: int, size: int) -> bytes:
        """`size` bytes at physical address `pa` as they were."""
        at = pa - self.memory.base
        return bytes(self.copy[at : at + size])

    # -- what Python writes --------------------------------------------------------------------------------

    def _journal(self, memory: Any) -> None:
        """Note the pages that are written through the methods of `memory`."""
        touched = self._touched

        def noting(method: Callable[..., None], size_of: Callable[[Any], int]) -> Callable[..., None]:
            def write(pa: int, value: Any, *more: int) -> None:
                method(pa, value, *more)
                touched.update(range(pa & -PAGE, pa + size_of(value), PAGE))

            return write

        memory.write = noting(memory.write, len)
        memory.store = noting(memory.store, lambda _value: 8)
        memory.zero = noting(memory.zero, int)
        memory.pack = noting(memory.pack, lambda layout: layout.size)

    def _journal_unmap(self, table: Any) -> None:
        """Note the pages that guest code wrote before they were unmapped: the D bit goes with the entry."""
        touched, unmap = self._touched, table.unmap

        def noting(va: int, pages: int) -> None:
            for at in range(va, va + pages * PAGE, PAGE):
                pte = table.entry(at)
                if pte & D:
                    touched.add(pte_address(pte))
            unmap(va, pages)

        table.unmap = noting

    def _journal_flip(self, table: Any) -> None:
        """Note flips: what was code in between may still be translated."""
        flip = table.flip

        def noting(va: int, want: int) -> bool:
            if not flip(va, want):
                return False
            self._flipped = True
            return True

        table.flip = noting

    # -- the ways back -------------------------------------------------------------------------------------

    def light(self) -> None:
        """Undo what guest code did."""
        turn.restore(self.arena.bytes, self.ram, self.copy, self.memory.base)
        self.after_light()

    def after_light(self) -> None:
        """What native code cannot do: tell the hart."""
        hart = self.machine.hart
        hart.clock = self._clock
        hart.translations_changed()
        if self._flipped:
            self._flipped = False
            for page in self._both:
                hart.forget_code(page, PAGE)

    def full(self) -> None:
        """Undo what guest code, monitor and host did."""
        base = self.memory.base
        self._harvest()
        turn.restore(self.arena.bytes, self.ram, self.copy, base)
        turn.copy_back(self.ram, self.copy, self._tables, base)
        touched = self._touched
        turn.copy_back(self.ram, self.copy, np.fromiter(touched, np.int64, len(touched)), base)
        self._forget_code(touched)
        touched.clear()
        self._objects.restore()
        hart = self.machine.hart
        hart.current = self._current
        hart.context_changed()
        self.after_light()

    def _forget_code(self, pages: set[int]) -> None:
        """Native code wrote these pages back: what ran there before is not what is there now."""
        memory = self.memory
        code = {page for page in pages if memory.is_executable(page)}
        memory.restore_executable(self._executable)
        code |= {page for page in pages if memory.is_executable(page)}
        for page in sorted(code):
            self.machine.hart.forget_code(page, PAGE)

    def _harvest(self) -> None:
        """Note the pages of the snapshot that are written, and mapped elsewhere than they were."""
        for enclave in self.machine.monitor.state.enclaves.values():
            space = enclave.space
            for mapping in space.mappings():
                if mapping.va and mapping.pages:
                    for at in range(mapping.va, mapping.end, PAGE):
                        pte = space.table.entry(at)
                        if pte & D:
                            self._touched.add(pte_address(pte))
