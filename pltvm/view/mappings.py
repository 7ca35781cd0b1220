"""What is mapped in an enclave, in rows: addresses, permissions, purpose, and physical address."""

from bisect import bisect_right
from dataclasses import dataclass, replace

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import W, X, pte_address
from pltvm.monitor import abi, secure_shm
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State
from pltvm.view.events import permissions
from pltvm.view.shown import Table
from pltvm.view.who import Names


@dataclass(frozen=True, slots=True)
class Mapping:
    """The pages from virtual address `start` up to `end`, which are contiguous in RAM from `pa` on.

    `permissions` are those of the entries now, such as "rw-". Pages that should be both writable and
    executable have only one of the two at a time; `what` says so.
    """

    start: int
    end: int
    permissions: str
    what: str
    pa: int

    @property
    def pages(self) -> int:
        """The number of pages."""
        return (self.end - self.start) // PAGE


class Mappings(Table[Mapping]):
    """All mappings of an enclave, by address; `at` finds the row of an address."""

    titles = ("start", "end", "pages", "", "what", "pa")

    def at(self, va: int) -> Mapping:
        """Return the row of this address; raises KeyError where nothing is mapped."""
        for row in self:
            if row.start <= va < row.end:
                return row
        raise KeyError(f"{va:#x}")

    @staticmethod
    def cells(row: Mapping) -> tuple[str, ...]:
        """Return the cells of a row, in words."""
        return (
            f"{row.start:#x}", f"{row.end:#x}", str(row.pages), row.permissions, row.what, f"{row.pa:#x}",
        )  # fmt: skip


def mappings(state: State, enclave: Enclave, names: Names) -> Mappings:
    """Return what is mapped now."""
    areas = sorted(_areas(state, enclave, names))
    starts = [start for start, _, _ in areas]
    stack = _lowest_of_stack(enclave)
    rows: list[Mapping] = []
    for va, pte, _ in enclave.space.table.leaves():
        pa, flags = pte_address(pte), permissions(pte >> 1 & 7)
        at = bisect_right(starts, va) - 1
        if at >= 0 and va < areas[at][1]:
            what = areas[at][2]
        else:
            what = "stack" if stack <= va < abi.STACK_TOP else _of_elf(state, pte, pa)
        last = rows[-1] if rows else None
        if last and (last.end, last.permissions, last.what, last.pa + last.end - last.start) == (
            va, flags, what, pa,
        ):  # fmt: skip
            rows[-1] = replace(last, end=va + PAGE)
        else:
            rows.append(Mapping(va, va + PAGE, flags, what, pa))
    return Mappings(rows)


def _of_elf(state: State, pte: int, pa: int) -> str:
    if state.memory.contains(pa) and state.owners.wants_both(pa):
        return "text that may turn writable" if pte & X else "data that may turn executable"
    return "text" if pte & X else "data" if pte & W else "read-only data"


def _lowest_of_stack(enclave: Enclave) -> int:
    """Return the start of the mapped pages that end at the top of the stack."""
    va, entry = abi.STACK_TOP, enclave.space.table.entry
    while va > abi.MMAP_TOP and entry(va - PAGE):
        va -= PAGE
    return va


def _areas(state: State, enclave: Enclave, names: Names) -> list[tuple[int, int, str]]:
    """Return start, end and name of all areas in the monitor's records."""
    found = [(abi.KBUFFER, abi.KBUFFER + PAGE, "kbuffer")]
    home = enclave.home
    if home.heap_top > abi.HEAP_BASE:
        found.append((abi.HEAP_BASE, home.heap_top, "heap"))
    for region in enclave.space.mmaps.values():
        moved = f"passed by {names.of_eid(region.origin_eid)}" if region.origin_va else "mmap"
        found.append((region.va, region.end, moved))
    found += [(region.va, region.end, "relay pages") for region in enclave.space.relays]
    if home.shm_size:
        found.append((abi.SHM_BASE, abi.SHM_BASE + home.shm_size, "shared with the host"))
    for attachment, segment in secure_shm.attached(state, enclave):
        end = attachment.va + segment.pages * PAGE
        found.append((attachment.va, end, f"shared memory, key {segment.key:#x}"))
    return found
