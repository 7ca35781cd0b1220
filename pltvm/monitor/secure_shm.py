"""Memory shared between enclaves, out of the host's reach (§3 calls 84, 83; §4 ocalls 9, 10, 11).

    below 0x40_0000_0000, growing down: one mapping a segment in each enclave that has it attached

Like System V's: a segment is found by its key, lives on without users, and `destroy` takes the key away at
once and the memory when the last user has detached or ended. The pages of a segment have an owner number
of their own. As with mmap the first page of the host's block is not mapped.
"""

from pltvm.engine import sv39
from pltvm.engine.context import A0, A1, A2, A3, Context
from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import FAILED, SECURE_SHM_TOP, SHM_BASE, Ocall
from pltvm.monitor.pages import shared_owner
from pltvm.monitor.state import Block, Enclave, State

_LARGEST = SECURE_SHM_TOP - SHM_BASE


class Segment:
    """Memory of `pages` pages found by `key`; `users` enclaves have it mapped."""

    __slots__ = ("block", "block_pages", "creator", "entries", "key", "owner", "pages", "users")

    def __init__(self, state: State, key: int, size: int, block: Block, creator: int) -> None:
        self.key = key
        self.pages = size // PAGE
        self.block, self.block_pages = block
        self.entries = sv39.contiguous_entries(state.memory, self.block + PAGE, self.pages, sv39.RW)
        self.owner = shared_owner(state.next_segment)
        self.creator = creator  # eid
        self.users = 0


# -- enclave calls -----------------------------------------------------------------------------------------


def attach(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 84: a0 key → address, the same one if it is attached already; 0 on failure."""
    segment = state.segments.get(context.regs[A0])
    return (_attach(state, enclave, segment) or 0) if segment is not None else 0


def stat(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 83: a0 key, a1 → {enclaves that have it attached, bytes} → 0 or −1."""
    segment = state.segments.get(context.regs[A0])
    if segment is None:
        return FAILED
    record = segment.users.to_bytes(8, "little") + (segment.pages * PAGE).to_bytes(8, "little")
    return 0 if enclave.space.table.write(context.regs[A1], record) else FAILED


# -- ocalls ------------------------------------------------------------------------------------------------


def get(state: State, enclave: Enclave, context: Context) -> int | None:
    """9: a1 key, a2 bytes, a3 flags → address or −1. Makes the segment if there is none of that key.

    One that exists is attached if it has at least that size (0: any) and SHM_EXCLUSIVE is not set.
    """
    key, size, flags = context.regs[A1], context.regs[A2], context.regs[A3]
    if size % PAGE or size > _LARGEST:
        return FAILED
    segment = state.segments.get(key)
    if segment is not None:
        if flags & abi.SHM_EXCLUSIVE or size > segment.pages * PAGE:
            return FAILED
        return _attach(state, enclave, segment) or FAILED
    if not size or _place(enclave, size // PAGE) is None:
        return FAILED
    enclave.ocall_args = (key, size)
    state.ask(enclave, Ocall.SHM_GET, size)
    return None


def memory_for(state: State, enclave: Enclave, block: int, size: int) -> int:
    """The host's answer to 9: a block as for mmap. −1 if it is not acceptable, or the key is taken by now."""
    key, asked = enclave.ocall_args
    if not state.is_offer(block, size, asked) or key in state.segments:
        return FAILED
    segment = Segment(state, key, asked, (block, size // PAGE), enclave.eid)
    if _place(enclave, segment.pages) is None:
        return FAILED
    state.next_segment += 1
    state.owners.claim(block, size // PAGE, segment.owner)
    state.memory.zero(block, size)
    state.segments[key] = segment
    return _attach(state, enclave, segment) or FAILED


def detach(state: State, enclave: Enclave, context: Context) -> int | None:
    """10: a1 key → 0 or −1 if it is not attached. The host is asked only if it gets memory back."""
    key = context.regs[A1]
    # A key may name an attached segment that was destroyed, and a newer one: the older one goes first.
    segment = next((one for one in enclave.attached if one.key == key), None)
    if segment is None:
        return FAILED
    va = enclave.attached.pop(segment)
    enclave.space.table.unmap(va, segment.pages)
    state.hart.translations_changed()
    segment.users -= 1
    return _free_if_over(state, enclave, segment, Ocall.SHM_DETACH)


def destroy(state: State, enclave: Enclave, context: Context) -> int | None:
    """11: a1 key → 0, or −1 if there is none, or the enclave neither made it nor has it attached.

    The key is free at once; the memory goes to the host when nobody has it attached any more.
    """
    segment = state.segments.get(context.regs[A1])
    if segment is None or (segment not in enclave.attached and segment.creator != enclave.eid):
        return FAILED
    del state.segments[segment.key]
    return _free_if_over(state, enclave, segment, Ocall.SHM_DESTROY)


def _free_if_over(state: State, enclave: Enclave, segment: Segment, number: Ocall) -> int | None:
    """Give the memory to the host if nobody can use it any more, and tell it where the table of it is."""
    if not _is_over(state, segment):
        return 0
    state.give_back([(segment.block, segment.block_pages)])
    state.ask(enclave, number, segment.block)
    return None


# -- inside ------------------------------------------------------------------------------------------------


def _is_over(state: State, segment: Segment) -> bool:
    return not segment.users and state.segments.get(segment.key) is not segment


def _place(enclave: Enclave, pages: int) -> int | None:
    """Where `pages` pages go: below the lowest mapping. None when there is no place or no page for tables.

    Changes nothing: the tables are made when the pages are mapped.
    """
    va = min(enclave.attached.values(), default=SECURE_SHM_TOP) - pages * PAGE
    if va < SHM_BASE + enclave.shm[1] or not enclave.space.has_room((va, pages)):
        return None
    return va


def _attach(state: State, enclave: Enclave, segment: Segment) -> int | None:
    va = enclave.attached.get(segment)
    if va is None:
        va = _place(enclave, segment.pages)
        if va is None:
            return None
        enclave.space.table.put(va, segment.entries)
        enclave.attached[segment] = va
        segment.users += 1
        state.hart.translations_changed()
    return va


def leave_all(state: State, enclave: Enclave) -> list[Block]:
    """Detach everything from an enclave that ends; the blocks that nobody can use any more."""
    over = []
    for segment in enclave.attached:
        segment.users -= 1
        if _is_over(state, segment):
            over.append((segment.block, segment.block_pages))
    enclave.attached.clear()
    return over
