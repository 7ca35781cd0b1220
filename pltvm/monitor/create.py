"""Creates enclaves: monitor calls 92, 99, 90, and the part that 86 shares with them (§8).

Each function checks everything first and then acts, so that a refused call leaves no trace.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pltvm.engine import sv39
from pltvm.engine.context import A3, A4, SP, Context, U
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import Leaf, R, W, X, make_pte, pte_address
from pltvm.errors import PhysicalAddressError
from pltvm.monitor import abi, measure, slots
from pltvm.monitor.abi import CreateParams, EnclaveType, Status
from pltvm.monitor.enclave import RECORD_BYTES, Enclave, EnclaveState
from pltvm.monitor.pages import MONITOR, OWNERS
from pltvm.monitor.records import EnclaveRecord
from pltvm.monitor.space import AddressSpace, has_room
from pltvm.monitor.state import State


def extend(state: State, pa: int, size: int) -> int:
    """Monitor call 92: the host gives the monitor memory for its records."""
    if size <= 0 or size % PAGE or not state.records.has_room_for_lent():
        return Status.ERROR
    if not state.owners.claim(pa, size // PAGE, MONITOR):
        return Status.ERROR
    state.memory.zero(pa, size)
    state.records.add_lent(pa, size // PAGE)
    return Status.OK


_REGULAR: Final = sv39.U | R | sv39.G  # a page shared with the host has the first two


def create(state: State, params_pa: int) -> int:
    """Monitor call 99: create a normal enclave in the block that the parameters name."""
    return create_as(state, params_pa, EnclaveType.NORMAL)


def create_server(state: State, params_pa: int) -> int:
    """Monitor call 90: create a server, also a concurrent one, by type; its name must not be taken (§5)."""
    return create_as(state, params_pa, EnclaveType.SERVER)


def create_as(state: State, params_pa: int, kind: EnclaveType) -> int:
    """Create an enclave of any kind. A shadow template maps no host memory."""
    raw = state.read_host(params_pa, abi.CREATE_PARAMS.size)
    if raw is None:
        return Status.ERROR
    params = CreateParams(*abi.CREATE_PARAMS.unpack(raw))
    name = abi.clean_name(params.name)
    is_server, count = kind is EnclaveType.SERVER, 1
    if is_server and (not name or state.server(name) is not None):
        return Status.ERROR
    if is_server and params.type & abi.TYPE_MASK == EnclaveType.CONCURRENT_SERVER:
        kind, count = EnclaveType.CONCURRENT_SERVER, abi.slots_of(params.type)
    if count > abi.MOST_SLOTS or not parameters_are_sound(state, params):
        return Status.ERROR
    if state.globals.record_space < RECORD_BYTES * count:
        return Status.NO_MONITOR_MEMORY
    asid, leaves = state.records.next_asid(), _sound_layout(state, params)
    if asid is None or leaves is None or state.globals.next_eid >= OWNERS:
        return Status.ERROR
    stack = slots.stack_pages(leaves) if count > 1 or kind is EnclaveType.CONCURRENT_SERVER else 0
    if stack is None or state.records.asids_left < count:
        return Status.ERROR
    if not _has_room(state, params, kind, (count - 1) * abi.pages_of_slot(stack)):
        return Status.ERROR

    # Nothing can fail from here on.
    host_leaves = list(_host_leaves(params)) if kind is not EnclaveType.SHADOW else []
    content = measure.capture(state.memory, params.entry, leaves + host_leaves)
    enclave = settle(state, params, name, kind, params.paddr + PAGE, params.free_mem, asid)
    state.contents[enclave.eid] = content
    _settle_permissions(state, leaves)
    if is_server:
        state.add_server(enclave)
        enclave.state = EnclaveState.RUNNABLE
    if enclave.concurrent:
        slots.make(state, enclave, count, stack)
    return Status.OK


def _has_room(state: State, params: CreateParams, kind: EnclaveType, others: int) -> bool:
    """Whether the monitor's own mappings fit beside the host's: their addresses are free, and the block has
    pages for their tables and `others` more."""
    table = PageTable(state.memory, params.paddr + PAGE, lambda: 0)
    shm_pages = params.shm_size // PAGE
    if kind is EnclaveType.SHADOW:
        stack = abi.STACK_TOP - abi.DEFAULT_STACK, abi.DEFAULT_STACK // PAGE
        return not shm_pages and table.is_free(*stack)
    left = params.paddr + params.size - params.free_mem
    missing = (abi.KBUFFER, 1), (abi.SHM_BASE, shm_pages)
    return left // PAGE >= others and has_room(table, left, *missing, reserve=others)


def settle(
    state: State, params: CreateParams, name: bytes, kind: EnclaveType, root: int, free: int, asid: int
) -> Enclave:
    """Take the memory that checked parameters name, map the host's pages, and add the enclave.

    `root` is its table, `free` the physical start of the remaining pages. Cannot fail.
    """
    once, owners = state.globals, state.owners
    state.memory.zero(params.paddr, PAGE)
    at = state.records.new_enclave()
    record = state.records.view(EnclaveRecord, at)
    record.eid, record.kind, record.name, record.asid = once.next_eid, kind, name, asid
    record.entry, record.block, record.block_pages = params.entry, params.paddr, params.size // PAGE
    record.root, record.free, record.free_end = root, free, params.paddr + params.size
    record.kbuffer, record.shm_pa, record.shm_size = params.kbuffer, params.shm_paddr, params.shm_size
    record.ocall, record.arg0, record.arg1, record.syscall, record.retval = _mailbox(params)
    record.heap_top, record.top, record.innermost = abi.HEAP_BASE, at, at
    once.next_eid += 1
    state.records.use_asid(asid)
    if kind is not EnclaveType.SHADOW:
        map_host_pages(AddressSpace(state.records, owners, record, state.hart.translations_changed), params)
    enclave = state.enclave(at)
    enclave.entry_registers[:] = _entry_registers(enclave)
    enclave.context.regs[:] = enclave.entry_registers
    owners.claim(params.paddr, params.size // PAGE, enclave.owner)
    owners.hold(params.kbuffer, 1)
    owners.hold(params.shm_paddr, params.shm_size // PAGE)
    for page in mailbox_pages(params):
        owners.hold(page, 1)
    state.enclaves.add(enclave)
    state.memory.write(params.eid_pointer, enclave.eid.to_bytes(4, "little"))
    return enclave


def _settle_permissions(state: State, leaves: list[Leaf]) -> None:
    """Note the pages with code; map those that should be writable too with one permission at a time."""
    for _, pte, slot in leaves:
        page = pte_address(pte)
        if pte & W and pte & X:
            state.owners.want_both(page)
            state.memory.store(slot, pte & ~X)
        elif pte & X:
            state.memory.executable(page)


def parameters_are_sound(state: State, params: CreateParams) -> bool:
    """Whether the host may give every physical range of the parameters."""
    owners, size = state.owners, params.size
    shapes = (
        size >= (abi.RESERVED_PAGES + 1) * PAGE
        and not size & (size - 1)
        and not params.paddr % size
        and params.entry != 0
        and params.kbuffer_size == PAGE
        and not params.free_mem % PAGE
        and params.paddr < params.free_mem <= params.paddr + size
        and not params.shm_size % PAGE
        and params.shm_size <= abi.SECURE_SHM_TOP - abi.SHM_BASE
    )
    if not shapes or not owners.is_free(params.paddr, size // PAGE):
        return False
    block = range(params.paddr, params.paddr + size)
    outside = [(params.kbuffer, PAGE), (params.eid_pointer, 4), *((p, 8) for p in _mailbox(params))]
    if params.shm_size:
        outside.append((params.shm_paddr, params.shm_size))
    aligned = not (params.kbuffer | params.shm_paddr) % PAGE and not any(p % 8 for p in _mailbox(params))
    return aligned and all(
        owners.is_public(pa, n) and (pa + n <= block.start or pa >= block.stop) for pa, n in outside
    )


def _entry_registers(enclave: Enclave) -> memoryview:
    """Return the registers that are the same at every entry (§2); a server has its shared memory in a3,
    a4."""
    start = Context(U, enclave.satp, enclave.entry & ~1)  # mret ignores bit 0 of mepc
    start.regs[SP] = abi.STACK_TOP
    if enclave.is_server and enclave.shm_size:
        start.regs[A3], start.regs[A4] = abi.SHM_BASE, enclave.shm_size
    return start.regs


def _mailbox(params: CreateParams) -> tuple[int, ...]:
    return (params.ocall, params.arg0, params.arg1, params.syscall, params.retval)


def mailbox_pages(params: CreateParams) -> set[int]:
    """The pages that hold the mailbox."""
    return pages_of(_mailbox(params))


def pages_of(addresses: Iterable[int]) -> set[int]:
    """The pages that hold these addresses."""
    return {address & ~(PAGE - 1) for address in addresses}


def _sound_layout(state: State, params: CreateParams) -> list[Leaf] | None:
    """Check every table and every leaf that the host built (§10): nothing outside the block, no page twice.

    A leaf on a page table would let the enclave map any memory, so tables and leaves must be disjoint.
    Returns the leaves in order, None when the layout is refused.
    """
    first, last = params.paddr, params.free_mem
    root = first + PAGE
    used, leaves, entries = {root}, list[Leaf](), list[sv39.Entry]()
    try:
        for entry in sv39.visit(state.memory, root):  # one by one: a table that occurs twice ends it
            page = pte_address(entry.pte)
            if entry.is_leaf:
                entries.append(entry)
            elif not root < page < last or page in used or page == first + 2 * PAGE:
                return None
            else:
                used.add(page)
    except PhysicalAddressError:
        return None
    for level, va, pte, slot in entries:
        page = pte_address(pte)
        page_is_ours = first + abi.RESERVED_PAGES * PAGE <= page < last and page not in used
        regular = pte & _REGULAR == sv39.U | R and not pte >> 54
        in_place = va < abi.HEAP_BASE or abi.MMAP_TOP <= va < abi.STACK_TOP
        if not page_is_ours or not regular or not in_place or level < sv39.LAST_LEVEL:
            return None
        used.add(page)
        leaves.append(Leaf(va, pte, slot))
    table = PageTable(state.memory, root, lambda: 0)
    return leaves if table.translate(params.entry, X) is not None else None


def _host_leaves(params: CreateParams) -> Iterator[Leaf]:
    """Yield what `map_host_pages` maps: in table order this comes after all that the host may map itself."""
    for offset in range(0, params.shm_size, PAGE):
        yield Leaf(abi.SHM_BASE + offset, make_pte(params.shm_paddr + offset, sv39.RW), 0)
    yield Leaf(abi.KBUFFER, make_pte(params.kbuffer, sv39.RW), 0)


def map_host_pages(space: AddressSpace, params: CreateParams) -> None:
    """Map the kbuffer and the memory shared with the host; there is room for the tables."""
    table = space.table
    table.map(abi.KBUFFER, params.kbuffer, 1, sv39.RW)
    if params.shm_size:
        table.map(abi.SHM_BASE, params.shm_paddr, params.shm_size // PAGE, sv39.RW)
    space.record.kbuffer_slot = table.slot(abi.KBUFFER)
    space.record.kbuffer_entry = table.entry(abi.KBUFFER)
