"""The host kernel's page allocator: naturally aligned power-of-two blocks (a buddy system).

Blocks are handed out cleared. The allocator keeps sizes itself, so a wrong free is an error of the kernel
and not a corrupted list.
"""

from pltvm.engine.memory import PAGE, Memory, pages_for
from pltvm.errors import OutOfMemory


def order_for(pages: int) -> int:
    """The exponent of the smallest power of two ≥ `pages`."""
    return max(pages - 1, 0).bit_length()


class Blocks:
    """Allocator for the RAM from `start` to `end` (physical addresses, page aligned)."""

    def __init__(self, memory: Memory, start: int, end: int) -> None:
        self.memory = memory
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
        at = order
        while at < self._orders and not self._free[at]:
            at += 1
        if at >= self._orders:
            size = (PAGE << order) >> 10
            raise OutOfMemory(
                f"guest RAM has no free block of {size} KiB left: give the machine more (--ram)"
            )
        block, _ = self._free[at].popitem()
        while at > order:  # keep the lower half, free the upper
            at -= 1
            self._free[at][block + (PAGE << at)] = None
        self._taken[block] = order
        self.free_pages -= 1 << order
        return block

    def give(self, block: int, dirty: int | None = None) -> None:
        """Free a block that `take` gave, and clear it, or only its first `dirty` bytes."""
        order = self._taken.pop(block)
        self.memory.zero(block, PAGE << order if dirty is None else dirty)
        self.free_pages += 1 << order
        while order + 1 < self._orders:
            buddy = block ^ PAGE << order
            if buddy not in self._free[order]:
                break
            del self._free[order][buddy]
            block = min(block, buddy)
            order += 1
        self._free[order][block] = None

    def owns(self, block: int) -> bool:
        """Whether `block` is the start of a taken block."""
        return block in self._taken

    def size(self, block: int) -> int:
        """Bytes of a taken block."""
        return PAGE << self._taken[block]


__all__ = ["Blocks", "order_for", "pages_for"]
