"""Relay pages (§7): host pages that become an enclave's, are split, go to another name, and come back.

    host ──run, resume──▶ region of an enclave ──asynchronous call──▶ bound to a name ──run, resume──▶ region
      ◀──exit, ocall 7────╯        (split)                               ╰──reclaim, cleared──▶ host

A region is mapped in one place or, while bound to a name, nowhere: then its owner is the monitor. Binding
trusts names, so an enclave can only run with relay pages if no other living one has its name.
"""

from typing import TYPE_CHECKING

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import FAILED, RELAY_BASE, RELAY_REGIONS, SHM_BASE, Ocall, Status
from pltvm.monitor.pages import MONITOR, SHARED
from pltvm.monitor.space import AddressSpace, Mapping
from pltvm.monitor.state import Block, Enclave, State

if TYPE_CHECKING:
    from pltvm.monitor.secure_shm import Segment

# -- from the host -----------------------------------------------------------------------------------------


class Offer:
    """Relay pages that an enclave may get, checked: `take` cannot fail."""

    def __init__(self, pages: Block | None, bound: list[Mapping]) -> None:
        self._pages = pages  # of the host
        self._bound = bound  # to the enclave's name
        self.pages = (pages[1] if pages else 0) + sum(region.pages for region in bound)

    def take(self, state: State, enclave: Enclave) -> None:
        """Make the pages the enclave's and map them from RELAY_BASE on."""
        va = RELAY_BASE
        enclave.space.make_tables(va, self.pages)
        if self._pages is not None:
            pa, pages = self._pages
            state.owners.claim(pa, pages, enclave.owner)
            enclave.space.insert(Mapping(state.memory, pa, pages, record=0), va)
        for region in self._bound:
            state.owners.set_owner(region.block, region.block_pages, enclave.owner)
            enclave.space.insert(region, va)
            va += region.size
        if self._bound:
            del state.bound[enclave.name]
        if enclave.space.relays:
            state.hart.translations_changed()


def offer(state: State, name: bytes, space: AddressSpace | None, pa: int, size: int) -> Offer | None:
    """Check relay pages that the host names for the enclave `name`; None when they are not acceptable.

    `space` is where they go, None for one that is still to be made: then the caller sees to the page tables.
    `pa`, `size`: host pages, or RELAY_BOUND and 0 for what is bound to the name, or 0 and 0 for none.
    """
    bound = state.bound.get(name, []) if pa == abi.RELAY_BOUND and not size else []
    if not size and not bound:
        return Offer(None, [])
    total = size or sum(region.size for region in bound)
    pages = total // PAGE
    fits = RELAY_BASE + total <= SHM_BASE if space is None else space.is_free(RELAY_BASE, pages)
    if total % PAGE or not fits or not _is_unique(state, name, space):
        return None
    if size and not state.owners.is_free(pa, pages):
        return None
    if space is not None and not space.has_room((RELAY_BASE, pages)):
        return None
    return Offer((pa, pages) if size else None, bound)


def _is_unique(state: State, name: bytes, space: AddressSpace | None) -> bool:
    """Whether no other enclave that could get relay pages has this name; the empty name is none."""
    return not name or not any(
        other.name == name and other.space is not space and other.copies is None
        for other in state.enclaves.values()
    )


def entry_size(enclave: Enclave) -> int:
    """Bytes of relay pages in all: a4 at entry (§2)."""
    return sum(region.size for region in enclave.space.relays)


# -- what an enclave does with them ------------------------------------------------------------------------


def split(_state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 92: a0 address and a1 bytes of a region, a2 where the second half starts → 0 or −1.

    Both halves stay mapped where they are. Not for a region that the caller of a server lent it.
    """
    va, size, at = context.regs[A0], context.regs[A1], context.regs[A2]
    space = enclave.space
    region = space.find_relay(va, size)
    if region is None or region.va != va or region.size != size or at % PAGE or not va < at < va + size:
        return FAILED
    if len(space.relays) >= RELAY_REGIONS or (enclave.call is not None and enclave.call.request is region):
        return FAILED
    first = (at - va) // PAGE
    record = region.block_pages - region.pages
    halves = [
        Mapping(space.memory, region.block, record + first, record),
        Mapping(space.memory, region.block + (record + first) * PAGE, region.pages - first, record=0),
    ]
    space.remove(region)
    space.insert(halves[0], va)
    space.insert(halves[1], at)
    return 0


def asynchronous_call(state: State, enclave: Enclave, name: bytes | None, context: Context) -> int:
    """Enclave call 93: a1 → call struct whose req_vaddr, req_size lie in a region → 0 or −1.

    The whole region leaves the enclave and is bound to `name`, until the host runs an enclave of that name
    with what is bound to it.
    """
    raw = enclave.space.table.read(context.regs[A1], abi.CALL_STRUCT.size)
    if not name or raw is None:
        return FAILED
    _, _, va, size, _, _ = abi.CALL_STRUCT.unpack(raw)
    if va % PAGE or size % PAGE or not size:
        return FAILED
    region = enclave.space.find_relay(va, size)
    if region is None or len(state.bound.get(name, ())) >= RELAY_REGIONS:
        return FAILED
    enclave.space.remove(region)
    region.origin = (enclave.eid, region.va)
    state.owners.set_owner(region.block, region.block_pages, MONITOR)
    state.bound.setdefault(name, []).append(region)
    state.hart.translations_changed()
    return 0


def give_back(state: State, enclave: Enclave, _context: Context) -> int | None:
    """Ocall 7: all regions go to the host with what is in them; it can resume the enclave with new ones.

    The host finds them in a table of the form that `State.give_back` describes, in the kbuffer; arg0 is its
    address. −1 with no region, and for a server: its regions are on loan from its caller.
    """
    space = enclave.space
    if enclave.is_server or not space.relays:
        return FAILED
    rows = release(state, space)
    table = [0, len(rows), *(number for pa, pages in rows for number in (pa, pages * PAGE))]
    for index, word in enumerate(table):
        state.memory.store(enclave.kbuffer + 8 * index, word)
    state.ask(enclave, Ocall.RETURN_RELAY, enclave.kbuffer)
    return None


def release(state: State, space: AddressSpace) -> list[Block]:
    """Unmap all regions and make them the host's as they are; which ones they were."""
    blocks = []
    for region in list(space.relays):
        space.remove(region)
        blocks.append((region.block, region.block_pages))
        state.owners.release(*blocks[-1])
    state.hart.translations_changed()
    return blocks


def new_pages(state: State, enclave: Enclave, pa: int, size: int) -> int | None:
    """The answer to ocall 7: relay pages as for run. None, so that the enclave waits on, for bad ones."""
    found = offer(state, enclave.name, enclave.space, pa, size)
    if found is None:
        return None
    found.take(state, enclave)
    return 0


# -- taking back -------------------------------------------------------------------------------------------


def reclaim(state: State, pa: int, size: int) -> int:
    """Monitor call 102, ours: the host wants `size` bytes at `pa` back that lie idle in the monitor.

    That is: relay regions bound to a name, and memory shared between enclaves that no enclave has mapped.
    They go back cleared. Refused if any page of the range is neither that nor the host's.
    """
    if size <= 0 or pa % PAGE or size % PAGE or not state.memory.contains(pa, size):
        return Status.ERROR
    holder = state.owners.owner(pa)
    if holder is not None and MONITOR < holder < SHARED:
        return Status.ERROR  # an enclave's: told at once, as the host may ask for many
    regions = [(name, r) for name, bound in state.bound.items() for r in bound if _within(r, pa, size)]
    segments = [s for s in state.segments.values() if not s.users and _within(s, pa, size)]
    idle = {page for _, region in regions for page in _pages(region)}
    idle.update(page for segment in segments for page in _pages(segment))
    if any(state.owners.owner(at) is not None and at not in idle for at in range(pa, pa + size, PAGE)):
        return Status.ERROR
    for name, region in regions:
        state.bound[name].remove(region)
        if not state.bound[name]:
            del state.bound[name]
        state.clear(region.block, region.block_pages)
    for segment in segments:
        del state.segments[segment.key]
        state.clear(segment.block, segment.block_pages)
    return Status.OK


def _within(memory: "Mapping | Segment", pa: int, size: int) -> bool:
    return pa <= memory.block and memory.block + memory.block_pages * PAGE <= pa + size


def _pages(memory: "Mapping | Segment") -> range:
    return range(memory.block, memory.block + memory.block_pages * PAGE, PAGE)
