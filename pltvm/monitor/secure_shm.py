"""Memory shared between enclaves, out of the host's reach (§3 calls 84, 83; §4 ocalls 9, 10, 11).

    below 0x40_0000_0000, growing down: one mapping per segment, in each enclave that has it attached

It works like System V's: a segment is found by its key and exists without users; `destroy` removes the key at
once, and the memory when the last user has detached or ended. The pages of a segment have their own owner
number. As with mmap, the first page of the host's block is not mapped.
"""

from collections.abc import Iterator

from pltvm.engine import sv39
from pltvm.engine.context import A0, A1, A2, A3, Context
from pltvm.engine.memory import PAGE, Block
from pltvm.monitor import abi, chain
from pltvm.monitor.abi import FAILED, SECURE_SHM_TOP, SHM_BASE, Ocall
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.pages import shared_owner
from pltvm.monitor.records import Attachment, Segment
from pltvm.monitor.state import State

_LARGEST = SECURE_SHM_TOP - SHM_BASE


# -- enclave calls -----------------------------------------------------------------------------------------


def attach(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 84: a0 key → address, the same one if it is attached already; 0 on failure."""
    segment = _find(state, context.regs[A0])
    return (_attach(state, enclave, segment) or 0) if segment is not None else 0


def stat(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 83: a0 key, a1 → {enclaves that have it attached, bytes} → 0 or −1."""
    segment = _find(state, context.regs[A0])
    if segment is None:
        return FAILED
    record = segment.users.to_bytes(8, "little") + (segment.pages * PAGE).to_bytes(8, "little")
    return 0 if enclave.space.table.write(context.regs[A1], record) else FAILED


# -- ocalls ------------------------------------------------------------------------------------------------


def get(state: State, enclave: Enclave, context: Context) -> int | None:
    """9: a1 key, a2 bytes, a3 flags → address or −1. Makes the segment if none has that key.

    An existing one is attached if it has at least that size (0: any) and SHM_EXCLUSIVE is not set.
    """
    key, size, flags = context.regs[A1], context.regs[A2], context.regs[A3]
    if size % PAGE or size > _LARGEST:
        return FAILED
    segment = _find(state, key)
    if segment is not None:
        if flags & abi.SHM_EXCLUSIVE or size > segment.pages * PAGE:
            return FAILED
        return _attach(state, enclave, segment) or FAILED
    if not size or _place(state, enclave, size // PAGE) is None:
        return FAILED
    enclave.asked_where, enclave.asked_size = key, size
    chain.ask(state, enclave, Ocall.SHM_GET, size)
    return None


def memory_for(state: State, enclave: Enclave, block: int, size: int) -> int:
    """Handle the answer to 9: a block as for mmap. −1 if it is not acceptable, or the key is taken
    meanwhile."""
    key, asked = enclave.asked_where, enclave.asked_size
    if not state.is_offer(block, size, asked) or _find(state, key) is not None:
        return FAILED
    pages = asked // PAGE
    if _place(state, enclave, pages) is None:
        return FAILED
    once, words = state.globals, state.memory.words
    owner = shared_owner(once.next_segment)
    state.owners.claim(block, size // PAGE, owner)
    state.memory.zero(block, size)
    segment = state.records.view(Segment, block)
    segment.key, segment.has_key, segment.owner, segment.creator = key, 1, owner, enclave.eid
    segment.block, segment.block_pages, segment.pages = block, size // PAGE, pages
    once.next_segment += 1
    segment.next, once.first_segment = once.first_segment, segment.at
    if segment.next:
        state.records.view(Segment, segment.next).prev = segment.at
    head = state.records.segments.of_number(key)
    segment.next_of_key, words[head] = words[head], segment.at
    return _attach(state, enclave, segment) or FAILED


def detach(state: State, enclave: Enclave, context: Context) -> int | None:
    """10: a1 key → 0 or −1 if it is not attached. The host is asked only if it gets memory back."""
    key = context.regs[A1]
    # A key may have named an attached segment that was destroyed, and a newer one: detach the older one
    # first.
    before: Attachment | None = None
    found: tuple[Attachment | None, Attachment, Segment] | None = None
    for attachment, segment in attached(state, enclave):
        if segment.key == key:
            found = before, attachment, segment
        before = attachment
    if found is None:
        return FAILED
    before, attachment, segment = found
    if before is None:
        enclave.home.attached = attachment.next
    else:
        before.next = attachment.next
    state.memory.touch(segment.block, segment.block_pages)  # the D bits go with the entries
    enclave.space.table.unmap(attachment.va, segment.pages)
    state.hart.translations_changed()
    state.records.free_attachment(attachment)
    segment.users -= 1
    return _free_if_over(state, enclave, segment, Ocall.SHM_DETACH)


def destroy(state: State, enclave: Enclave, context: Context) -> int | None:
    """11: a1 key → 0; −1 if there is none, or if the enclave neither made it nor has it attached.

    The key is free at once; the memory goes to the host when no enclave has it attached any more.
    """
    segment = _find(state, context.regs[A1])
    if segment is None or (_attachment(state, enclave, segment) is None and segment.creator != enclave.eid):
        return FAILED
    _lose_key(state, segment)
    return _free_if_over(state, enclave, segment, Ocall.SHM_DESTROY)


def _free_if_over(state: State, enclave: Enclave, segment: Segment, number: Ocall) -> int | None:
    """If no enclave can use the segment any more, give its memory to the host, and tell it the table's
    address."""
    if segment.users or segment.has_key:
        return 0
    block = segment.whole
    forget(state, segment)
    state.give_back([block])
    chain.ask(state, enclave, number, block[0])
    return None


# -- inside ------------------------------------------------------------------------------------------------


def _find(state: State, key: int) -> Segment | None:
    """The segment that has this key."""
    at = state.memory.words[state.records.segments.of_number(key)]
    while at:
        segment = state.records.view(Segment, at)
        if segment.key == key:
            return segment
        at = segment.next_of_key
    return None


def _lose_key(state: State, segment: Segment) -> None:
    state.records.unlink(state.records.segments.of_number(segment.key), segment, "next_of_key")
    segment.has_key = 0


def forget(state: State, segment: Segment) -> None:
    """Remove the segment's record."""
    if segment.has_key:
        _lose_key(state, segment)
    if segment.next:
        state.records.view(Segment, segment.next).prev = segment.prev
    if segment.prev:
        state.records.view(Segment, segment.prev).next = segment.next
    else:
        state.globals.first_segment = segment.next


def attached(state: State, enclave: Enclave) -> Iterator[tuple[Attachment, Segment]]:
    """Yield the enclave's attachments from the lowest address up, which is newest first."""
    at = enclave.home.attached
    while at:
        attachment = state.records.view(Attachment, at)
        at = attachment.next
        yield attachment, state.records.view(Segment, attachment.segment)


def _attachment(state: State, enclave: Enclave, segment: Segment) -> Attachment | None:
    """Return the enclave's attachment of this segment, or None."""
    return next((one for one, other in attached(state, enclave) if other.at == segment.at), None)


def _place(state: State, enclave: Enclave, pages: int) -> int | None:
    """Return the address for `pages` pages: below the lowest mapping. None without room or pages for tables.

    Changes nothing: the tables are made when the pages are mapped.
    """
    lowest = (
        state.records.view(Attachment, enclave.home.attached).va if enclave.home.attached else SECURE_SHM_TOP
    )
    va = lowest - pages * PAGE
    if va < SHM_BASE + enclave.home.shm_size or not enclave.space.has_room((va, pages)):
        return None
    return va if state.records.attachments_left else None


def _attach(state: State, enclave: Enclave, segment: Segment) -> int | None:
    known = _attachment(state, enclave, segment)
    if known is not None:
        return known.va
    va = _place(state, enclave, segment.pages)
    if va is None:
        return None
    entries = sv39.contiguous_entries(state.memory, segment.block + PAGE, segment.pages, sv39.RW)
    enclave.space.table.put(va, entries)
    attachment = state.records.new_attachment()
    attachment.next, attachment.segment, attachment.va = enclave.home.attached, segment.at, va
    enclave.home.attached = attachment.at
    segment.users += 1
    state.hart.translations_changed()
    return va


def leave_all(state: State, enclave: Enclave) -> list[Block]:
    """Detach everything from an enclave that ends; return the blocks that no enclave can use any more."""
    over: list[Block] = []
    for attachment, segment in attached(state, enclave):
        state.records.free_attachment(attachment)
        state.memory.touch(segment.block, segment.block_pages)  # the D bits go with the enclave's tables
        segment.users -= 1
        if not segment.users and not segment.has_key:
            over.append(segment.whole)
            forget(state, segment)
    return over[::-1]
