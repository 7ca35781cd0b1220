"""Relay pages (§7): host pages that become an enclave's, are split, go to another name, and come back.

    host ──run, resume──▶ region of an enclave ──asynchronous call──▶ bound to a name ──run, resume──▶ region
      ◀──exit, ocall 7────╯        (split)                               ╰──reclaim, cleared──▶ host

A region is mapped in one place or, while it is bound to a name, nowhere: then its owner is the monitor. As
pages are bound to names, an enclave can run with relay pages only if no other living enclave has its name.
"""

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE, Block
from pltvm.monitor import abi, chain, secure_shm, slots
from pltvm.monitor.abi import FAILED, RELAY_BASE, RELAY_REGIONS, SHM_BASE, EnclaveType, Ocall, Status
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.pages import MONITOR, SHARED
from pltvm.monitor.records import Region, Segment
from pltvm.monitor.state import State
from pltvm.monitor.user import find_struct

# -- from the host -----------------------------------------------------------------------------------------


class Offer:
    """Checked relay pages that an enclave may get: `take` cannot fail."""

    def __init__(self, pages: Block | None, bound: list[Region]) -> None:
        self._pages = pages  # of the host
        self._bound = bound  # to the enclave's name
        self.pages = (pages[1] if pages else 0) + sum(region.pages for region in bound)

    def take(self, state: State, enclave: Enclave) -> None:
        """Give the pages to the enclave and map them from RELAY_BASE on."""
        va = RELAY_BASE
        enclave.space.make_tables(va, self.pages)
        if self._pages is not None:
            pa, pages = self._pages
            state.owners.claim(pa, pages, enclave.owner)
            enclave.space.insert(state.records.new_region(pa, pages, hidden=0), va)
        for region in self._bound:
            _unbind(state, region)
            state.owners.set_owner(region.block, region.block_pages, enclave.owner)
            enclave.space.insert(region, va)
            va += region.size


def offer(state: State, name: bytes, enclave: Enclave | None, pa: int, size: int) -> Offer | None:
    """Check relay pages that the host offers the enclave `name`; return None when they are not acceptable.

    `enclave` is None if it is still to be made: then the caller provides the page tables.
    `pa`, `size`: host pages, or RELAY_BOUND and 0 for all regions bound to the name, or 0 and 0 for none.
    """
    bound = state.bound_to(name) if pa == abi.RELAY_BOUND and not size else []
    if not size and not bound:
        return Offer(None, [])
    total = size or sum(region.size for region in bound)
    pages = total // PAGE
    fits = RELAY_BASE + total <= SHM_BASE if enclave is None else enclave.space.is_free(RELAY_BASE, pages)
    if total % PAGE or not fits or not _is_unique(state, name, enclave):
        return None
    if size and (not state.owners.is_free(pa, pages) or not state.records.regions_left):
        return None
    if enclave is not None and not enclave.space.has_room((RELAY_BASE, pages)):
        return None
    return Offer(Block(pa, pages) if size else None, bound)


def _is_unique(state: State, name: bytes, enclave: Enclave | None) -> bool:
    """Whether no other enclave that could get relay pages has this name; the empty name does not count."""
    at = enclave.at if enclave is not None else 0
    return not name or not any(
        other.name == name and other.at != at and other.kind != EnclaveType.SHADOW
        for other in state.enclaves.values()
    )


def entry_size(enclave: Enclave) -> int:
    """Return the bytes of all its relay pages: a4 at entry (§2)."""
    return sum(region.size for region in enclave.space.relays)


# -- calls of an enclave -----------------------------------------------------------------------------------


def split(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 92: a0 address and a1 bytes of a region, a2 where the second half starts → 0 or −1.

    Both parts stay mapped where they are. Refused for a region that a server's caller has passed to it.
    """
    va, size, at = context.regs[A0], context.regs[A1], context.regs[A2]
    space = enclave.space
    region = space.find_relay(va, size)
    if region is None or region.va != va or region.size != size or at % PAGE or not va < at < va + size:
        return FAILED
    if len(space.relays) >= RELAY_REGIONS or (enclave.caller and enclave.request == region.at):
        return FAILED
    if not state.records.regions_left or not slots.may_give(state, enclave, region):
        return FAILED
    behind = (va + size - at) // PAGE
    first = region.block_pages - behind
    second = state.records.new_region(region.block + first * PAGE, behind, hidden=0)
    space.remove(region)
    region.block_pages, region.size = first, at - va
    second.holder, second.call = region.holder, region.call
    space.insert(region, va)
    space.insert(second, at)
    return 0


def asynchronous_call(state: State, enclave: Enclave, name: bytes | None, context: Context) -> int:
    """Enclave call 93: a1 → call struct whose req_vaddr, req_size lie in a region → 0 or −1.

    The whole region leaves the enclave and is bound to `name`, until the host runs an enclave of that name
    with its bound regions.
    """
    found = find_struct(enclave.space.table, abi.CALL_STRUCT, context.regs[A1])
    if not name or found is None:
        return FAILED
    _, _, (_, _, va, size, _, _) = found
    if va % PAGE or size % PAGE or not size:
        return FAILED
    region = enclave.space.find_relay(va, size)
    if region is None or len(state.bound_to(name)) >= RELAY_REGIONS:
        return FAILED
    if not slots.may_give(state, enclave, region):
        return FAILED
    enclave.space.remove(region)
    chain.lose(state, enclave, region)
    region.origin_eid, region.origin_va = enclave.eid, region.va
    region.holder = region.call = 0
    state.owners.set_owner(region.block, region.block_pages, MONITOR)
    _bind(state, region, name)
    return 0


def _bind(state: State, region: Region, name: bytes) -> None:
    """Bind the region to `name`, after those bound already."""
    region.name, region.next = name, 0
    head, words = state.records.bound.of_name(name), state.memory.words
    if not words[head]:
        words[head] = region.at
        return
    last = state.records.region(words[head])
    while last.next:
        last = state.records.region(last.next)
    last.next = region.at


def _unbind(state: State, region: Region) -> None:
    """Remove the binding of the region."""
    head, words = state.records.bound.of_name(region.name), state.memory.words
    if words[head] == region.at:
        words[head] = region.next
    else:
        before = state.records.region(words[head])
        while before.next != region.at:
            before = state.records.region(before.next)
        before.next = region.next
    region.name = b""


def give_back(state: State, enclave: Enclave, _context: Context) -> int | None:
    """Ocall 7: give all regions with their content to the host, which can resume the enclave with new ones.

    The host finds them in a table in the kbuffer, with the layout of `State.give_back`; arg0 is its address.
    −1 if there is no region, and for a server, whose regions belong to its caller.
    """
    if enclave.is_server or not enclave.relays:
        return FAILED
    rows = release(state, enclave)
    table = [0, len(rows), *(number for pa, pages in rows for number in (pa, pages * PAGE))]
    for index, word in enumerate(table):
        state.memory.store(enclave.kbuffer + 8 * index, word)
    chain.ask(state, enclave, Ocall.RETURN_RELAY, enclave.kbuffer)
    return None


def release(state: State, enclave: Enclave) -> list[Block]:
    """Unmap all regions, give them to the host with their content, and return their blocks."""
    blocks = []
    for region in enclave.space.relays:
        enclave.space.remove(region)
        blocks.append(region.whole)
        if region.has_page:  # a region of mmap, passed in place of relay pages
            state.memory.zero(region.block, PAGE)
        else:
            state.records.free_region(region)
        state.owners.release(*blocks[-1])
    return blocks


def new_pages(state: State, enclave: Enclave, pa: int, size: int) -> int | None:
    """Handle the answer to ocall 7: relay pages as for run. None for bad ones: the enclave goes on
    waiting."""
    found = offer(state, enclave.name, enclave, pa, size)
    if found is None:
        return None
    found.take(state, enclave)
    return 0


# -- taking back -------------------------------------------------------------------------------------------


def reclaim(state: State, pa: int, size: int) -> int:
    """Monitor call 102, ours: give the host `size` bytes at `pa` back that are idle in the monitor.

    Idle are relay regions bound to a name, and shared memory that no enclave has mapped. They go back
    cleared. Refused if any page of the range is neither idle nor the host's.
    """
    if size <= 0 or pa % PAGE or size % PAGE or not state.memory.contains(pa, size):
        return Status.ERROR
    holder = state.owners.owner(pa)
    if holder is not None and MONITOR < holder < SHARED:
        return Status.ERROR  # a page of an enclave: refuse at once, as the host may ask for many
    regions = [r for bound in state.bound.values() for r in bound if _within(r, pa, size)]
    segments = [s for s in state.segments.values() if not s.users and _within(s, pa, size)]
    idle = {page for region in regions for page in _pages(region)}
    idle.update(page for segment in segments for page in _pages(segment))
    if any(state.owners.owner(at) is not None and at not in idle for at in range(pa, pa + size, PAGE)):
        return Status.ERROR
    for region in regions:
        block = region.whole
        _unbind(state, region)
        state.records.free_region(region)  # reads the record, which may be in the block
        state.clear(*block)
    for segment in segments:
        block = segment.whole
        secure_shm.forget(state, segment)
        state.clear(*block)
    return Status.OK


def _within(memory: Region | Segment, pa: int, size: int) -> bool:
    return pa <= memory.block and memory.block + memory.block_pages * PAGE <= pa + size


def _pages(memory: Region | Segment) -> range:
    return range(memory.block, memory.block + memory.block_pages * PAGE, PAGE)
