"""The host kernel's page allocator: naturally aligned power-of-two blocks (a buddy system).

Blocks are handed out cleared. What is free, taken, and how big each block is the allocator keeps itself, so a
wrong free is an error of the kernel and not a corrupted list. Whose a page is the page bitmap says: a block
with a private page in it is neither handed out nor freed.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import OutOfMemory
from pltvm.monitor.host_memory import HostMemory

_MOST_SHRINKS: Final = 16  # for one block


def order_for(pages: int) -> int:
    """The exponent of the smallest power of two ≥ `pages`."""
    return max(pages - 1, 0).bit_length()


class Blocks:
    """Allocator for the RAM from `start` to `end` (physical addresses, page aligned).

    `shrink` is called when no block is left; it makes others give memory back, False if they have none.
    """

    def __init__(self, memory: HostMemory, start: int, end: int) -> None:
        self.memory = memory
        self.start, self.end = start, end
        self.shrink: Callable[[], bool] = lambda: False
        self._orders = order_for((end - start) // PAGE) + 1
        # By order, the free blocks; a dict serves as an ordered set, so that runs repeat exactly.
        self._free: list[dict[int, None]] = [{} for _ in range(self._orders)]
        self._taken: dict[int, int] = {}
        self.free_pages = 0
        while start < end:
            fits = ((end - start) // PAGE).bit_length() - 1
            aligned = (start // PAGE & -(start // PAGE)).bit_length() - 1
            order = min(fits, aligned)
            self._free[order][start] = None
            self.free_pages += 1 << order
            start += PAGE << order

    def take(self, pages: int) -> int:
        """Physical address of a cleared block of `pages` pages rounded up to a power of two.

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

    def _split_off(self, order: int) -> int | None:
        """A free block of this order, out of the smallest that there is; None when there is none."""
        free, at = self._free, order
        while at < self._orders:
            if not free[at]:
                at += 1
                continue
            block, _ = free[at].popitem()
            self.free_pages -= 1 << order
            while at > order:  # keep the lower half, free the upper
                at -= 1
                free[at][block + (PAGE << at)] = None
            self._taken[block] = order
            if self.memory.is_public(block, PAGE << order):
                return block  # else somebody took it past the allocator: it stays out of the lists
        return None

    def give(self, block: int, dirty: int | None = None) -> None:
        """Free a block that `take` gave, and clear it, or only its first `dirty` bytes.

        Raises AccessFault, and changes nothing, if not all of it is the host's.
        """
        if not self.give_if_back(block, dirty):
            self.memory.require(block, self.size(block))

    def give_if_back(self, block: int, dirty: int | None = None) -> bool:
        """As `give`; False, and nothing changed, if not all of the block is the host's."""
        order = self._taken[block]
        size = PAGE << order
        if not self.memory.clear(block, size, size if dirty is None else dirty):
            return False
        del self._taken[block]
        self.free_pages += 1 << order
        while order + 1 < self._orders:
            buddy = block ^ PAGE << order
            if buddy not in self._free[order]:
                break
            del self._free[order][buddy]
            block = min(block, buddy)
            order += 1
        self._free[order][block] = None
        return True

    def size(self, block: int) -> int:
        """Bytes of a taken block."""
        return PAGE << self._taken[block]

    def holding(self, pa: int) -> int | None:
        """The taken block that holds the page at `pa`; None when that is free, or not RAM of the host."""
        if pa in self._taken:
            return pa
        for order in range(1, self._orders):
            block = pa & -(PAGE << order)
            if self._taken.get(block, -1) == order:
                return block
        return None

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """Every free block and its bytes."""
        for order, blocks in enumerate(self._free):
            for block in blocks:
                yield block, PAGE << order

    def taken_blocks(self) -> Iterator[tuple[int, int]]:
        """Every taken block and its bytes."""
        for block, order in self._taken.items():
            yield block, PAGE << order


__all__ = ["Blocks", "order_for", "pages_for"]
