"""Blocks that enclaves have and nobody in the host waits for: mappings, what is shared, what was sent on.

Enclaves split regions, swap them for others in calls, send them to names, and end in any order; the tables
that the monitor leaves name pages, not blocks. So nothing is counted here. A block is back when all of it is
public, and then it is freed; a table only says where to look.
"""

from dataclasses import dataclass, field
from typing import Final

from pltvm.host.kernel import Kernel
from pltvm.host.plain import Part
from pltvm.monitor.abi import HostCall, Status

_AT_A_TIME: Final = 64


@dataclass(slots=True)
class AwayState:
    """The blocks that are away, in the order in which they were given away."""

    blocks: dict[int, None] = field(default_factory=dict)


class Away(Part[AwayState]):
    """The blocks of `kernel` that enclaves have."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.state = AwayState()
        kernel.holders.append(lambda: self.state.blocks)
        kernel.blocks.shrink = self._shrink

    def add(self, block: int) -> None:
        """An enclave is given `block`, or has it: it is freed when it is back."""
        self.state.blocks[block] = None

    def freed(self, block: int, dirty: int | None = None) -> bool:
        """Free `block` if it is one of these and all of it is back; `dirty` as of `Blocks.give`."""
        if block not in self.state.blocks or not self._kernel.blocks.give_if_back(block, dirty):
            return False
        del self.state.blocks[block]
        return True

    def reclaim(self, most: int | None = None) -> int:
        """Take back, cleared, what lies idle in the monitor, or the oldest `most` blocks; their bytes.

        Idle are relay pages on their way to a name, and memory between enclaves that none has attached.
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
