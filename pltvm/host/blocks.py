"""The host kernel's page allocator: naturally aligned power-of-two blocks (a buddy system).

Blocks are cleared when they are handed out. The allocator keeps the lists of free and taken blocks, with
their sizes, outside RAM, so a wrong free raises an error and cannot corrupt a list. The page bitmap has the
owners: a block that contains a private page is neither handed out nor freed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.errors import OutOfMemory
from pltvm.host.plain import Part
from pltvm.host.spans import Span
from pltvm.monitor.host_memory import HostMemory

_MOST_SHRINKS: Final = 16  # for one block


def order_for(pages: int) -> int:
    """Return the exponent of the smallest power of two ≥ `pages`."""
    return max(pages - 1, 0).bit_length()


@dataclass(slots=True)
class BlocksState:
    """Blocks by their physical address. A dict serves as an ordered set, so that runs repeat exactly."""

    free: list[dict[int, None]]  # by order
    taken: dict[int, int]  # the order of each
    free_pages: int


class Blocks(Part[BlocksState]):
    """The allocator of the RAM from `start` to `end` (physical addresses, page aligned).

    `shrink` is called when no block is left; it makes others give memory back, and returns False if they have
    none.
    """

    def __init__(self, memory: HostMemory, start: int, end: int) -> None:
        self.memory = memory
        self.start, self.end = start, end
        self.shrink: Callable[[], bool] = lambda: False
        self._orders = order_for((end - start) // PAGE) + 1
        self.state = BlocksState([{} for _ in range(self._orders)], {}, 0)
        while start < end:
            fits = ((end - start) // PAGE).bit_length() - 1
            aligned = (start // PAGE & -(start // PAGE)).bit_length() - 1
            order = min(fits, aligned)
            self.state.free[order][start] = None
            self.state.free_pages += 1 << order
            start += PAGE << order

    @property
    def free_pages(self) -> int:
        """Pages of all free blocks."""
        return self.state.free_pages

    def take(self, pages: int) -> int:
        """Return the physical address of a cleared block of `pages` pages, rounded up to a power of two.

        Raises OutOfMemory.
        """
        order = order_for(pages)
        for _ in range(_MOST_SHRINKS):
            block = self._split_off(order)
            if block is not None:
                return block
            if order >= self._orders or not self.shrink():
                break
        size = (PAGE << order) >> 10
        raise OutOfMemory(f"guest RAM has no free block of {size} KiB left: give the machine more (--ram)")

    def take_all(self, *counts: int) -> list[int]:
        """Take a block for each count of pages, as `take`; raises OutOfMemory, and then takes none."""
        taken: list[int] = []
        try:
            for pages in counts:
                taken.append(self.take(pages))
        except OutOfMemory:
            for block in taken:
                self.give(block)
            raise
        return taken

    def _split_off(self, order: int) -> int | None:
        """Split a free block of this order off the smallest free one; None if there is none."""
        state, at = self.state, order
        free = state.free
        while at < self._orders:
            if not free[at]:
                at += 1
                continue
            block, _ = free[at].popitem()
            state.free_pages -= 1 << order
            while at > order:  # keep the lower half, free the upper
                at -= 1
                free[at][block + (PAGE << at)] = None
            state.taken[block] = order
            if self.memory.is_public(block, PAGE << order):
                return block  # otherwise it was taken without the allocator: it stays out of the lists
        return None

    def give(self, block: int, dirty: int | None = None) -> None:
        """Free a block that `take` returned, and clear it, or only its first `dirty` bytes.

        Raises AccessFault, and changes nothing, if not all of it is the host's.
        """
        if not self.give_if_back(block, dirty):
            self.memory.require(block, self.size(block))

    def give_if_back(self, block: int, dirty: int | None = None) -> bool:
        """Like `give`; returns False and changes nothing if not all of the block is the host's."""
        state = self.state
        order = state.taken[block]
        size = PAGE << order
        if not self.memory.clear(block, size, size if dirty is None else dirty):
            return False
        del state.taken[block]
        state.free_pages += 1 << order
        while order + 1 < self._orders:
            buddy = block ^ PAGE << order
            if buddy not in state.free[order]:
                break
            del state.free[order][buddy]
            block = min(block, buddy)
            order += 1
        state.free[order][block] = None
        return True

    def size(self, block: int) -> int:
        """Bytes of a taken block."""
        return PAGE << self.state.taken[block]

    def holding(self, pa: int) -> int | None:
        """Return the taken block that contains the page at `pa`; None if it is free, or not RAM of the
        host."""
        if pa in self.state.taken:
            return pa
        for order in range(1, self._orders):
            block = pa & -(PAGE << order)
            if self.state.taken.get(block, -1) == order:
                return block
        return None

    def free_blocks(self) -> Iterator[Span]:
        """Every free block."""
        for order, blocks in enumerate(self.state.free):
            for block in blocks:
                yield Span(block, PAGE << order)

    def taken_blocks(self) -> Iterator[Span]:
        """Every taken block."""
        for block, order in self.state.taken.items():
            yield Span(block, PAGE << order)
