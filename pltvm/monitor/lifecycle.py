"""Creating, running, stopping and destroying enclaves: monitor calls 99, 90, 97, 96, 95, 94, 89 (§8).

Each function checks everything first and then acts, so that a refused call leaves no trace.
"""

from collections.abc import Iterable, Iterator, Sequence

from pltvm.engine import sv39
from pltvm.engine.context import A0, A1, A2, A3, A4, SP, Context, U
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import Leaf, R, W, X, make_pte, pte_address
from pltvm.errors import PhysicalAddressError
from pltvm.monitor import abi, measure, ocall, relay, secure_shm
from pltvm.monitor.abi import CreateParams, EnclaveType, Mailbox, ResumeReason, RunParams, Status
from pltvm.monitor.pages import MONITOR, OWNERS
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.state import (
    DESTROYED,
    FRESH,
    RECORD_BYTES,
    RUNNABLE,
    WAITING,
    Enclave,
    State,
)

# -- create ------------------------------------------------------------------------------------------------


def extend(state: State, pa: int, size: int) -> int:
    """Monitor call 92: the host gives the monitor memory for its records."""
    if size <= 0 or size % PAGE or not state.owners.claim(pa, size // PAGE, MONITOR):
        return Status.ERROR
    state.memory.zero(pa, size)
    state.monitor_blocks.append((pa, size // PAGE))
    state.record_space += size
    return Status.OK


def create(state: State, params_pa: int) -> int:
    """Monitor call 99: a normal enclave from the block that the parameters name."""
    return create_as(state, params_pa, EnclaveType.NORMAL)


def create_server(state: State, params_pa: int) -> int:
    """Monitor call 90: a server enclave; its name must not be taken (§5)."""
    return create_as(state, params_pa, EnclaveType.SERVER)


def create_as(state: State, params_pa: int, kind: EnclaveType) -> int:
    """What the three kinds of create have in common. A shadow template maps nothing of the host."""
    raw = state.read_host(params_pa, abi.CREATE_PARAMS.size)
    if raw is None:
        return Status.ERROR
    params = CreateParams(*abi.CREATE_PARAMS.unpack(raw))
    name = abi.clean_name(params.name)
    if kind is EnclaveType.SERVER and (not name or name in state.servers):
        return Status.ERROR
    if not parameters_are_sound(state, params):
        return Status.ERROR
    if state.record_space < RECORD_BYTES:
        return Status.NO_MONITOR_MEMORY
    asid, leaves = state.next_asid(), _sound_layout(state, params)
    if asid is None or leaves is None or state.next_eid >= OWNERS:
        return Status.ERROR
    root = params.paddr + PAGE
    space = AddressSpace(state.owners, root, params.free_mem, params.paddr + params.size, asid)
    shm_pages = params.shm_size // PAGE
    if kind is EnclaveType.SHADOW:
        stack = abi.STACK_TOP - abi.DEFAULT_STACK, abi.DEFAULT_STACK // PAGE
        if shm_pages or not space.table.is_free(*stack):
            return Status.ERROR
    elif not space.has_room((abi.KBUFFER, 1), (abi.SHM_BASE, shm_pages)):
        return Status.ERROR

    # Nothing can fail from here on.
    enclave = Enclave(state.next_eid, name, kind, space, params.entry)
    host_leaves = []
    if kind is not EnclaveType.SHADOW:
        map_host_pages(space, params)
        host_leaves = list(_host_leaves(params))
    enclave.snapshot = measure.capture(state.memory, params.entry, leaves + host_leaves)
    settle(state, enclave, params)
    _settle_permissions(state, leaves)
    if kind is EnclaveType.SERVER:
        state.servers[name] = enclave
        enclave.state = RUNNABLE
    return Status.OK


def settle(state: State, enclave: Enclave, params: CreateParams) -> None:
    """Take what checked parameters name, and let the enclave exist. Can not fail."""
    space, eid, pages, shm_pages = enclave.space, enclave.eid, params.size // PAGE, params.shm_size // PAGE
    state.next_eid += 1
    state.use_asid(space.asid)
    state.record_space -= RECORD_BYTES
    state.owners.claim(params.paddr, pages, enclave.owner)
    state.owners.hold(params.kbuffer, 1)
    state.owners.hold(params.shm_paddr, shm_pages)
    for page in mailbox_pages(params):
        state.owners.hold(page, 1)
    enclave.block, enclave.block_pages = params.paddr, pages
    enclave.kbuffer = params.kbuffer
    enclave.kbuffer_pte = space.table.entry(abi.KBUFFER)
    enclave.kbuffer_word = (space.table.slot(abi.KBUFFER) - state.memory.base) >> 3
    enclave.shm_pa = params.shm_paddr
    enclave.shm = (abi.SHM_BASE, params.shm_size) if params.shm_size else (0, 0)
    enclave.entry_registers = _entry_registers(enclave)
    enclave.own_mailbox = Mailbox(params.ocall, params.arg0, params.arg1, params.syscall)
    enclave.retval_pointer = params.retval
    state.enclaves[eid] = enclave
    state.memory.write(params.eid_pointer, eid.to_bytes(4, "little"))


def _settle_permissions(state: State, leaves: list[Leaf]) -> None:
    """Note which pages are code, and map those that are to be written as well as one of both at a time."""
    for _, pte, slot in leaves:
        page = pte_address(pte)
        if pte & W and pte & X:
            state.owners.want_both(page)
            state.memory.store(slot, pte & ~X)
        elif pte & X:
            state.memory.executable(page)


def parameters_are_sound(state: State, params: CreateParams) -> bool:
    """Whether every physical range of the parameters is the host's to give."""
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
    """The registers that are the same at every entry (§2); a server gets its shared memory in a3, a4."""
    start = Context(U, enclave.space.satp, enclave.entry & ~1)  # as mret takes it from mepc
    start.regs[SP] = abi.STACK_TOP
    if enclave.is_server:
        start.regs[A3], start.regs[A4] = enclave.shm
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

    A leaf on a page table would let the enclave map what it likes, so tables and leaves are disjoint. Gives
    the leaves in order, None when the layout is refused.
    """
    first, last = params.paddr, params.free_mem
    table = sv39.PageTable(state.memory, first + PAGE, lambda: 0)
    used = set()
    leaves = []
    try:
        for page in table.tables():
            if not first + PAGE <= page < last or page in used or page == first + 2 * PAGE:
                return None
            used.add(page)
        for leaf in table.leaves():
            pte, page = leaf.pte, pte_address(leaf.pte)
            page_is_ours = first + abi.RESERVED_PAGES * PAGE <= page < last and page not in used
            regular = pte & sv39.U and pte & R and not pte & sv39.G and not pte >> 54
            in_place = leaf.va < abi.HEAP_BASE or abi.MMAP_TOP <= leaf.va < abi.STACK_TOP
            huge = not table.slot(leaf.va)
            if not page_is_ours or not regular or not in_place or huge:
                return None
            used.add(page)
            leaves.append(leaf)
    except PhysicalAddressError:
        return None
    return leaves if table.translate(params.entry, X) is not None else None


def _host_leaves(params: CreateParams) -> Iterator[Leaf]:
    """What `map_host_pages` maps: in the order of the tables it follows all that the host may map itself."""
    for offset in range(0, params.shm_size, PAGE):
        yield Leaf(abi.SHM_BASE + offset, make_pte(params.shm_paddr + offset, sv39.RW), 0)
    yield Leaf(abi.KBUFFER, make_pte(params.kbuffer, sv39.RW), 0)


def map_host_pages(space: AddressSpace, params: CreateParams) -> None:
    """Map the kbuffer and the memory shared with the host; there is room for the tables."""
    space.table.map(abi.KBUFFER, params.kbuffer, 1, sv39.RW)
    if params.shm_size:
        space.table.map(abi.SHM_BASE, params.shm_paddr, params.shm_size // PAGE, sv39.RW)


# -- run and resume ----------------------------------------------------------------------------------------


def run(state: State, eid: int, params_pa: int) -> int | None:
    """Monitor call 97: start a fresh enclave, with relay pages if the parameters name some (§7)."""
    enclave = state.enclaves.get(eid)
    raw = state.read_host(params_pa, abi.RUN_PARAMS.size)
    if enclave is None or raw is None or enclave.kind is not EnclaveType.NORMAL or enclave.state != FRESH:
        return Status.ERROR
    params = RunParams(*abi.RUN_PARAMS.unpack(raw))
    pages = relay.offer(state, enclave.name, enclave.space, params.relay_paddr, params.relay_size)
    if pages is None:
        return Status.ERROR
    pages.take(state, enclave)
    start(state, enclave, state.started)
    return None


def start(state: State, enclave: Enclave, number: int) -> None:
    """Enter a fresh enclave at its beginning; `number` is what it gets in a2 (§2)."""
    relay_size = relay.entry_size(enclave)
    regs = enclave.context.restart(enclave.entry_registers)
    regs[A0], regs[A1] = enclave.shm
    regs[A2] = number
    regs[A3], regs[A4] = (abi.RELAY_BASE if relay_size else 0), relay_size
    state.started += 1
    enclave.mailbox = enclave.own_mailbox
    state.enter(enclave)


def resume(state: State, eid: int, reason: int, number: int = 0, value: int = 0, size: int = 0) -> int | None:
    """Monitor call 95: let the innermost enclave of the chain that starts at `eid` run on.

    After an ocall `number` names it and `value`, `size` are the answer: a physical block for mmap and sbrk,
    else the result.
    """
    top = state.enclaves.get(eid)
    if top is None or top.top is not top or top.is_server or state.running is not None:
        return Status.ERROR
    if reason == ResumeReason.STOP:
        was_stopped, top.stopped = top.stopped, False
        return Status.OK if was_stopped else Status.ERROR
    enclave = top.innermost
    if top.stopped:
        return Status.ERROR
    if reason == ResumeReason.OCALL:
        if enclave.state != WAITING or number != enclave.waiting_for:
            return Status.ERROR
        if not ocall.answer(state, enclave, value, size):
            return Status.ERROR
    elif reason != ResumeReason.TIMER or enclave.state != RUNNABLE:
        return Status.ERROR
    state.enter(enclave)
    return None


def exit_enclave(state: State, enclave: Enclave, value: int) -> int | None:
    """Enclave call 99: the enclave ends; servers may not (§3)."""
    if enclave.is_server:
        return abi.FAILED
    state.memory.store(enclave.retval_pointer, value)
    kept = relay.release(state, enclave.space)  # relay pages go back with what is in them (§7)
    free(state, enclave, kept)
    state.leave(enclave, Status.OK)
    return None


def stop(state: State, eid: int) -> int:
    """Monitor call 96: keep a started enclave from being resumed until it is resumed from the stop."""
    enclave = state.enclaves.get(eid)
    if enclave is None or enclave.is_server or enclave.state == FRESH or enclave.stopped:
        return Status.ERROR
    enclave.stopped = True
    return Status.OK


# -- destroy -----------------------------------------------------------------------------------------------


def destroy(state: State, eid: int) -> int:
    """Monitor calls 94 and 89: end an enclave in whatever state it is.

    One that takes part in a call ends the whole chain: its top caller is destroyed with it, servers in
    between are idle again (§10).
    """
    enclave = state.enclaves.get(eid)
    if enclave is None or state.running is not None or enclave.instances:
        return Status.ERROR
    end_chain(state, enclave)
    return Status.OK


def end_chain(state: State, enclave: Enclave) -> tuple[int, ...]:
    """Destroy `enclave` and the top caller of its chain; returns their eids.

    The servers between them lose what the unfinished call had passed to them and are runnable again.
    """
    top = enclave.top
    link = top.innermost
    while link is not top:
        call = link.call
        assert call is not None
        if call.request is not None and link is not enclave and link.space.has(call.request):
            link.space.remove(call.request)
            state.owners.set_owner(call.request.block, call.request.block_pages, top.owner)
            top.space.orphans.append(call.request)
        idle(state, link)
        link = call.caller
    top.innermost = top
    if top is enclave:
        free(state, top)
        return (top.eid,)
    # Each lists the other's block, so that the host finds both from either.
    free(state, enclave, [(top.block, top.block_pages)])
    free(state, top, [(enclave.block, enclave.block_pages)])
    return (enclave.eid, top.eid)


def idle(state: State, server: Enclave) -> None:
    """Make a server ready for its next call, whatever it was doing."""
    state.memory.words[server.kbuffer_word] = 0
    state.hart.translations_changed()
    server.call = None
    server.top = server.innermost = server
    server.mailbox = None
    server.host_context = None
    server.state = RUNNABLE


def free(state: State, enclave: Enclave, kept: Sequence[tuple[int, int]] = ()) -> None:
    """Give all memory of an enclave back to the host, cleared, listed in the first page of its block.

    `kept` are blocks (physical address, pages) that the host got back as they are, to be listed too.
    """
    del state.enclaves[enclave.eid]
    if state.servers.get(enclave.name) is enclave:
        del state.servers[enclave.name]
    owners, space = state.owners, enclave.space
    owners.let_go(enclave.kbuffer, 1)
    owners.let_go(enclave.shm_pa, enclave.shm[1] // PAGE)
    for page in pages_of((*enclave.own_mailbox, enclave.retval_pointer)):
        owners.let_go(page, 1)
    blocks = [(enclave.block, enclave.block_pages)]
    blocks += [(mapping.block, mapping.block_pages) for mapping in space.mappings()]
    blocks += secure_shm.leave_all(state, enclave)
    if enclave.template is not None:
        enclave.template.instances -= 1
    state.give_back(blocks, kept)
    state.free_asids.append(space.asid)
    state.record_space += RECORD_BYTES
    state.hart.translations_changed()
    enclave.state = DESTROYED
