"""The monitor's self-check: derives the owner of every page from the enclaves, and compares with the bitmap;
follows every page table and every queue.

Not part of any call: tests and the debug switch run it whenever the host has control.
"""

from array import array
from collections.abc import Iterator

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Block
from pltvm.engine.sv39 import ENTRIES, V, X, pte_address, root_index
from pltvm.errors import PhysicalAddressError
from pltvm.monitor import abi
from pltvm.monitor.create import pages_of
from pltvm.monitor.enclave import OWN_INDICES, Enclave, EnclaveState
from pltvm.monitor.pages import MONITOR, PRIVATE
from pltvm.monitor.records import Segment
from pltvm.monitor.secure_shm import attached
from pltvm.monitor.state import State

_MOST = 50  # discrepancies reported
_AT_ONCE = 1024  # entries of the bitmap compared at once


def audit(state: State) -> list[str]:
    """Return the discrepancies, in words; empty when every page has exactly the owner in the bitmap, and
    queues and tables are as they should be."""
    found: list[str] = []
    expected = _claims(state, found)
    for pa, holds in _holds(state).items():
        if not state.memory.contains(pa, PAGE):
            found.append(f"{pa:#x} is held, and is not in RAM")
            continue
        page = (pa - state.base) >> PAGE_SHIFT
        if expected[page]:
            found.append(f"{pa:#x} is private and held as a page of the host")
        expected[page] = holds
    found += _said_wrongly(state, expected)
    for enclave in state.enclaves.values():
        for slot in state.slots(enclave):
            found += _mapped_wrongly(state, slot)
        if enclave.concurrent:
            found += _shared_wrongly(state, enclave)
    found += _queued_wrongly(state)
    if state.tables is not None:
        found += [
            f"{pa:#x}: code of the host there would not be forgotten when it is written"
            for pa in state.tables.executable_pages()
            if not state.memory.is_executable(pa)
        ]
    for segment, users in _users(state):
        if users != segment.users:
            found.append(f"shared memory {segment.key:#x}: {users} users, counted {segment.users}")
    return found[:_MOST]


def _said_wrongly(state: State, expected: memoryview) -> Iterator[str]:
    """Yield the pages that the bitmap gives to another owner than `expected`."""
    entries = state.owners.entries
    for start in range(0, len(entries), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        if entries[part].tobytes() == expected[part].tobytes():
            continue
        for page, entry in enumerate(state.owners.who(start, _AT_ONCE), start):
            if entry != expected[page]:
                pa = state.base + (page << PAGE_SHIFT)
                yield f"{pa:#x}: the bitmap says {_words(entry)}, it is {_words(expected[page])}"


def _words(entry: int) -> str:
    return f"owner {entry & ~PRIVATE:#x}" if entry & PRIVATE else f"the host's, held {entry} times"


def _claims(state: State, found: list[str]) -> memoryview:
    """Return the bitmap as it should be for private pages, 0 for all others."""
    claims = memoryview(bytearray(state.owners.entries.nbytes)).cast("I")
    for (pa, pages), owner in _blocks(state):
        if not state.memory.contains(pa, pages * PAGE):
            found.append(f"{pa:#x}: a block of {pages} pages of owner {owner:#x} is not in RAM")
            continue
        first = (pa - state.base) >> PAGE_SHIFT
        block = claims[first : first + pages]
        if any(block):
            for page, entry in enumerate(block):
                if entry:
                    both = f"{_words(entry)} and owner {owner:#x}"
                    found.append(f"{pa + page * PAGE:#x} is in two blocks: {both}")
        block[:] = array("I", [PRIVATE | owner]) * pages
    return claims


def _blocks(state: State) -> Iterator[tuple[Block, int]]:
    """Yield every private block and its owner."""
    for block in (*state.fixed_blocks, *state.records.lent()):
        yield block, MONITOR
    for regions in state.bound.values():
        for region in regions:
            yield region.whole, MONITOR
    for segment in state.all_segments():
        yield segment.whole, segment.owner
    for enclave in state.enclaves.values():
        yield enclave.whole, enclave.owner
        for region in enclave.space.all_regions():
            yield region.whole, enclave.owner


def _users(state: State) -> list[tuple[Segment, int]]:
    """Return every memory shared between enclaves, with the number of enclaves that have it attached."""
    counts: dict[int, int] = {}
    for enclave in state.enclaves.values():
        for _, segment in attached(state, enclave):
            counts[segment.at] = counts.get(segment.at, 0) + 1
    return [(segment, counts.get(segment.at, 0)) for segment in state.all_segments()]


def _holds(state: State) -> dict[int, int]:
    """Return how often each page of the host is held by enclaves, by address."""
    holds: dict[int, int] = {}
    for enclave in state.enclaves.values():
        shm = range(enclave.shm_pa, enclave.shm_pa + enclave.shm_size, PAGE)
        for pa in (enclave.kbuffer, *shm, *pages_of(enclave.mailbox)):
            holds[pa] = holds.get(pa, 0) + 1
    return holds


def _mapped_wrongly(state: State, enclave: Enclave) -> Iterator[str]:
    """Yield the pages and tables that the enclave's page table reaches but should not."""
    table, owners = enclave.space.table, state.owners
    shared = {
        attachment.va + page * PAGE: segment.block + (1 + page) * PAGE
        for attachment, segment in attached(state, enclave)
        for page in range(segment.pages)
    }
    try:
        for pa in table.tables():
            if not state.memory.contains(pa, PAGE) or owners.owner(pa) != enclave.owner:
                yield f"{enclave}: its page table at {pa:#x} is not its own"
        for va, pte, _ in table.leaves():
            pa = pte_address(pte)
            owner = owners.owner(pa) if state.memory.contains(pa, PAGE) else None
            if va == abi.KBUFFER:
                right = pa == state.enclave(enclave.top).kbuffer and owner is None
            elif va in shared:
                right = pa == shared.pop(va)
            elif abi.SHM_BASE <= va < abi.SHM_BASE + enclave.home.shm_size:
                right = pa == enclave.home.shm_pa + va - abi.SHM_BASE and owner is None
            elif enclave.template_of and owner == state.enclave(enclave.template_of).owner:
                right = not table.writable(pte)
            else:
                right = owner == enclave.owner
            if not right:
                yield f"{enclave}: {va:#x} maps {pa:#x}, which it may not have so"
            elif pte & X and not state.memory.is_executable(pa):
                yield f"{enclave}: code at {va:#x} would not be forgotten when {pa:#x} is written"
    except PhysicalAddressError as error:
        yield f"{enclave}: {error}"
    for va in shared:
        yield f"{enclave}: attached memory is not mapped at {va:#x}"


def _shared_wrongly(state: State, server: Enclave) -> Iterator[str]:
    """Yield errors of a server's slots: pages of two slots, differing root entries, leftovers in idle
    slots."""
    words, seen = state.words, dict[int, Enclave]()
    roots = [(slot.root - state.base) >> 3 for slot in state.slots(server)]
    for slot, root in zip(state.slots(server), roots, strict=True):
        for index in range(ENTRIES):
            entry = words[root + index]
            if index not in OWN_INDICES:
                if entry != words[roots[0] + index]:
                    yield f"{slot}: entry {index} of its root is not that of the others"
            elif entry:
                for page in (pte_address(entry), *_below(state, pte_address(entry))):
                    if seen.setdefault(page, slot) is not slot:
                        yield f"{slot}: {page:#x} is {seen[page]}'s too"
        if bool(slot.caller) != bool(server.busy >> slot.slot & 1):
            yield f"{slot}: is {'in a' if slot.caller else 'in no'} call, which its server does not know"
        if not slot.caller and not _is_clear(state, slot):
            yield f"{slot}: is in no call, and its stack or kbuffer is not as before the first"


def _below(state: State, table: int) -> Iterator[int]:
    """Yield the last-level tables, and the stack pages, below a middle table of a slot."""
    for middle in _valid(state, table):
        yield pte_address(middle)
        for leaf in _valid(state, pte_address(middle)):
            if state.owners.owner(pte_address(leaf)) is not None:  # otherwise it is the kbuffer of a chain
                yield pte_address(leaf)


def _valid(state: State, table: int) -> list[int]:
    start = (table - state.base) >> 3
    return [entry for entry in state.words[start : start + ENTRIES] if entry & V]


def _is_clear(state: State, slot: Enclave) -> bool:
    if slot.calls == 0 and slot.slot == 0:
        return True  # its content from the host is measured
    pages = (leaf for leaf in slot.space.table.leaves() if root_index(leaf.va) in OWN_INDICES)
    return all(
        leaf.va != abi.KBUFFER and not any(state.memory.read(pte_address(leaf.pte), PAGE)) for leaf in pages
    )


def _queued_wrongly(state: State) -> Iterator[str]:
    """Yield errors of the queues of those that wait for a server, and of the list of awaited servers."""
    known = {slot.at: slot for slot in state.all_slots()}
    waiting: set[int] = set()
    for name, queue in (("the ended servers", state.globals), *((str(one), one) for one in known.values())):
        at = queue.at if isinstance(queue, Enclave) else 0
        places, end = _linked(known, queue.first_waiting, "next_waiting")
        if end:
            yield f"the queue of {name} goes on at {end:#x}: a circle, or no enclave"
        if queue.last_waiting != (places[-1] if places else 0):
            yield f"the queue of {name} does not end where it says"
        for one in (known[place] for place in places):
            if one.state != EnclaveState.QUEUED or one.queued != at:
                yield f"{one}: is in the queue of {name}, where it does not wait"
        waiting.update(places)
    awaited, end = _linked(known, state.globals.first_awaited, "next_awaited")
    if end:
        yield f"the list of awaited servers goes on at {end:#x}: a circle, or no enclave"
    for one in known.values():
        if one.at not in waiting and (one.state == EnclaveState.QUEUED or one.queued or one.next_waiting):
            yield f"{one}: waits, and is in no queue"
        if bool(one.first_waiting) != (one.at in awaited) or (one.next_awaited and one.at not in awaited):
            yield f"{one}: is awaited, and not in the list of those, or the other way round"
        if one.first_waiting and not one.is_server:
            yield f"{one}: has a queue, and is no server"


def _linked(known: dict[int, Enclave], at: int, link: str) -> tuple[list[int], int]:
    """Return the places of a list, and where it goes on: 0, unless that is in the list, or no enclave."""
    places: dict[int, None] = {}
    while at in known and at not in places:
        places[at] = None
        at = getattr(known[at], link)
    return list(places), at
