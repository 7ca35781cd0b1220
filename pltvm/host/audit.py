"""The host kernel's self-check: free lists, taken blocks and page bitmap must agree.

    RAM after the monitor = free blocks + taken blocks, without overlap
    a free block           every page is public, and held by no enclave
    a taken block          is known to exactly one part of the host, or away with an enclave
    a private page         is in a taken block

Not part of any call: tests run it whenever the host has control. The monitor has its own (`monitor.audit`).
"""

from collections import Counter
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.host.kernel import Kernel

_MOST: Final = 50  # discrepancies reported


def audit(kernel: Kernel) -> list[str]:
    """Return the discrepancies, in words; empty when every page is accounted for."""
    found: list[str] = []
    blocks = kernel.blocks
    free, taken = dict(blocks.free_blocks()), dict(blocks.taken_blocks())
    at = blocks.start
    for block, size in sorted([*free.items(), *taken.items()]):
        if block != at:
            found.append(f"{'no block has' if at < block else 'two blocks have'} {min(at, block):#x}")
        at = max(at, block + size)
    if at != blocks.end:
        found.append(f"the last block ends at {at:#x}, RAM at {blocks.end:#x}")
    if sum(free.values()) != blocks.free_pages * PAGE:
        found.append(f"{sum(free.values()) // PAGE} pages are free, counted {blocks.free_pages}")
    memory = kernel.hart.memory
    bitmap = memory.halves[(kernel.bitmap - memory.base) // 4 :]
    for block, size in free.items():
        first, pages = (block - memory.base) // PAGE, size // PAGE
        if bitmap[first : first + pages].tobytes() != bytes(4 * pages):
            found.append(f"the free block {block:#x} of {size} bytes is private, or held by an enclave")
    holders = Counter(block for holder in kernel.holders for block in holder())
    for block in taken:
        count = holders.pop(block, 0)
        if count != 1:
            found.append(f"the block {block:#x} is taken, and {count} parts of the host have it")
    found += [f"a part of the host has {block:#x}, which is no taken block" for block in holders]
    return found[:_MOST]
