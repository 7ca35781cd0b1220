"""Monitor call 100: sets what PMP and the page bitmap protect from then on (§8)."""

from itertools import pairwise
from typing import Final

from pltvm.engine import pmp
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Block
from pltvm.monitor.abi import Status
from pltvm.monitor.guard import HostTables
from pltvm.monitor.pages import MONITOR, PageOwners
from pltvm.monitor.records import NUMBERS
from pltvm.monitor.state import State

MONITOR_SIZE: Final = NUMBERS["MONITOR_SIZE"]  # bytes of its own memory, at the start of RAM
_EVERYTHING: Final = pmp.Entry(0, 0, pmp.ALL)


def protect_monitor(hart: Hart) -> None:
    """Protect the monitor's own memory, until `init` sets all entries."""
    base = hart.memory.base
    entries = {0: pmp.Entry(base, MONITOR_SIZE, pmp.NO_ACCESS), pmp.LAST: _EVERYTHING}
    pmp.program(hart, entries, scratch=base)


def init(state: State, pt_area: int, pt_size: int, bitmap: int, bitmap_size: int) -> int:
    """Monitor call 100: set the places of the host's page tables and the page bitmap; possible once."""
    memory = state.memory
    regions = [(memory.base, MONITOR_SIZE), (pt_area, pt_size), (bitmap, bitmap_size)]
    if state.tables is not None or bitmap_size < PageOwners.bitmap_bytes(memory):
        return Status.ERROR
    for start, size in regions:
        if size < PAGE or size & (size - 1) or start % size or not memory.contains(start, size):
            return Status.ERROR
    ends = sorted((start, start + size) for start, size in regions)
    if any(a[1] > b[0] for a, b in pairwise(ends)):
        return Status.ERROR
    memory.zero(bitmap, bitmap_size)
    memory.zero(pt_area, pt_size)
    state.owners = owners = PageOwners(memory, bitmap)
    state.core.owners = memory.host_address + bitmap - memory.base
    for start, size in regions:
        owners.claim(start, size // PAGE, MONITOR)
        state.fixed_blocks.append(Block(start, size // PAGE))
    hart = state.hart
    state.tables = HostTables(
        memory, owners, pt_area, pt_size, regions, state.globals, lambda: hart.translations_changed()
    )
    state.host_memory.guard(owners, range(pt_area, pt_area + pt_size))
    pmp.program(state.hart, entries(state), scratch=memory.base)
    return Status.OK


def entries(state: State) -> dict[int, pmp.Entry]:
    """Return the PMP entries from `init` on, by number; 3 to 5 are free."""
    rights = (pmp.NO_ACCESS, pmp.READ_ONLY, pmp.NO_ACCESS)
    found = {
        number: pmp.Entry(pa, pages * PAGE, right)
        for number, ((pa, pages), right) in enumerate(zip(state.fixed_blocks, rights, strict=False))
    }
    return {**found, pmp.LAST: _EVERYTHING}
