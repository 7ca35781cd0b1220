"""Blocks that enclaves have and nobody in the host waits for: mappings, what is shared, what was sent on.

Enclaves split regions, swap them for others in calls, send them to names, and end in any order; the tables
that the monitor leaves name pages, not blocks. So nothing is counted here. A block is back when all of it is
public, and then it is freed; a table only says where to look.
"""

from typing import TYPE_CHECKING, Final

from pltvm.monitor.abi import HostCall, Status

if TYPE_CHECKING:
    from pltvm.host.kernel import Kernel

_AT_A_TIME: Final = 64


class Away:
    """The blocks of `kernel` that enclaves have."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._blocks: dict[int, None] = {}  # in the order in which they were given away
        kernel.holders.append(lambda: self._blocks)
        kernel.blocks.shrink = self._shrink

    def add(self, block: int) -> None:
        """An enclave is given `block`, or has it: it is freed when it is back."""
        self._blocks[block] = None

    def freed(self, block: int, dirty: int | None = None) -> bool:
        """Free `block` if it is one of these and all of it is back; `dirty` as of `Blocks.give`."""
        if block not in self._blocks or not self._kernel.blocks.give_if_back(block, dirty):
            return False
        del self._blocks[block]
        return True

    def reclaim(self, most: int | None = None) -> int:
        """Take back, cleared, what lies idle in the monitor, or the oldest `most` blocks; their bytes.

        Idle are relay pages on their way to a name, and memory between enclaves that none has attached.
        """
        kernel, total, taken = self._kernel, 0, 0
        for block in list(self._blocks):
            size = kernel.blocks.size(block)
            if kernel.call(HostCall.RECLAIM, block, size) == Status.OK and self.freed(block):
                total += size
                taken += 1
                if taken == most:
                    break
        return total

    def _shrink(self) -> bool:
        return self.reclaim(_AT_A_TIME) > 0
