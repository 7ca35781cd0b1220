"""Blocks that enclaves have and no part of the host keeps: mappings, shared memory, pages that were sent on.

Enclaves split regions, exchange them in calls, send them to names, and end in any order; the monitor's tables
of returned memory name pages, not blocks. So nothing is counted here: a block is back, and freed, when all of
it is public; a table only says which blocks to check.
"""

from dataclasses import dataclass, field
from typing import Final

from pltvm.host.kernel import Kernel
from pltvm.host.plain import Part
from pltvm.monitor.abi import HostCall, Status

_AT_A_TIME: Final = 64


@dataclass(slots=True)
class AwayState:
    """The blocks that are away, in the order in which they were given."""

    blocks: dict[int, None] = field(default_factory=dict)


class Away(Part[AwayState]):
    """The blocks of `kernel` that enclaves have."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.state = AwayState()
        kernel.holders.append(lambda: self.state.blocks)
        kernel.blocks.shrink = self._shrink

    def add(self, block: int) -> None:
        """Note that an enclave gets or has `block`, which is to be freed when it is back."""
        self.state.blocks[block] = None

    def freed(self, block: int, dirty: int | None = None) -> bool:
        """Free `block` if it is away and all of it is back; `dirty` as for `Blocks.give`."""
        if block not in self.state.blocks or not self._kernel.blocks.give_if_back(block, dirty):
            return False
        del self.state.blocks[block]
        return True

    def reclaim(self, most: int | None = None) -> int:
        """Take back what is idle in the monitor, or the oldest `most` blocks, cleared; return the bytes.

        Idle are relay pages bound to a name, and memory shared between enclaves that none has attached.
        """
        kernel, total, taken = self._kernel, 0, 0
        for block in list(self.state.blocks):
            size = kernel.blocks.size(block)
            if kernel.call(HostCall.RECLAIM, block, size) == Status.OK and self.freed(block):
                total += size
                taken += 1
                if taken == most:
                    break
        return total

    def _shrink(self) -> bool:
        return self.reclaim(_AT_A_TIME) > 0
