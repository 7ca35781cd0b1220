"""What the monitor says that it has given back: a table that it leaves in the memory that came back (§4)."""

from pltvm.host.spans import Span
from pltvm.monitor import abi
from pltvm.monitor.host_memory import HostMemory


def rows(memory: HostMemory, table: int) -> list[Span]:
    """What the table at `table`, and those that it leads to, list: see `State.give_back`. AccessFault."""
    following, count, pa, size = memory.unpack(abi.FREED_BLOCK, table)
    if count == 1 and not following:
        return [Span(pa, size)]
    found: list[Span] = []
    while table:
        following, count, _, _ = memory.unpack(abi.FREED_BLOCK, table)
        numbers = memoryview(memory.read(table + 16, 16 * count)).cast("Q").tolist()
        found += map(Span, numbers[::2], numbers[1::2])
        table = following
    return found
