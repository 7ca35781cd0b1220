"""Reads the monitor's table of memory that it has given back, which is in that memory (§4)."""

from pltvm.host.spans import Span
from pltvm.monitor import abi
from pltvm.monitor.host_memory import HostMemory


def rows(memory: HostMemory, table: int) -> list[Span]:
    """Return the rows of the table at `table` and its further pages: see `State.give_back`. Raises
    AccessFault."""
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
