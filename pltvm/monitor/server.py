"""Calls between enclaves (§5): acquire, call, return.

A call moves three things from caller to callee: the memory it passes, the host context (so that an ocall or
interrupt in the callee reaches the host thread at the start of the chain), and control. A return moves them
back. Everything is checked before the first of them moves.

    host ──run──▶ caller ──call──▶ server ──call──▶ server
         context:   ╰──── moves ────▶╰──── moves ────▶╯
"""

from pltvm.engine.context import A0, A1, A2, A3, A4, SP, Context, U
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import RW, R, W, make_pte
from pltvm.monitor import abi
from pltvm.monitor.abi import BUSY, FAILED, CallStruct
from pltvm.monitor.space import Mapping
from pltvm.monitor.state import CALLING, RUNNABLE, RUNNING, Call, Enclave, State


def acquire(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 97: a0 name → handle, or −1 when no living server has that name."""
    name = _read_name(enclave, context.regs[A0])
    server = state.servers.get(name) if name else None
    return FAILED if server is None else server.eid


def _read_name(enclave: Enclave, va: int) -> bytes | None:
    """At most 16 bytes up to a NUL; the page behind the NUL need not be mapped."""
    table = enclave.space.table
    raw = table.read(va, abi.NAME_SIZE)
    if raw is None:
        to_page_end = PAGE - va % PAGE
        raw = table.read(va, to_page_end) if to_page_end < abi.NAME_SIZE else None
        if raw is None or b"\0" not in raw:
            return None
    return abi.clean_name(raw)


def call(state: State, caller: Enclave, context: Context) -> int | None:
    """Enclave call 96: a0 handle, a1 → call struct. 0 once the server returns, −1, or −2 when it is busy."""
    regs = context.regs
    callee = state.enclaves.get(regs[A0])
    if callee is None or not callee.is_server:
        return FAILED
    if callee.call is not None or callee.state != RUNNABLE:
        return BUSY
    struct_va = regs[A1]
    arguments = _read_struct(caller, struct_va)
    if arguments is None:
        return FAILED

    request, place, callee_va = None, 0, 0
    if arguments.req_vaddr:
        request = _passed(caller, arguments.req_vaddr, arguments.req_size)
        if request is None or _overlaps(request, struct_va):
            return FAILED
        found = callee.space.place_for(request.va, request.pages)
        if found is None:
            return FAILED
        place = found
        callee_va = place + arguments.req_vaddr - request.va

    callee.call = Call(caller, struct_va, request, arguments.req_size)
    if request is not None:
        _move(state, request, caller, callee, place)
    top = caller.top
    callee.top = top
    top.innermost = callee
    state.memory.store(callee.kbuffer_slot, make_pte(top.kbuffer, RW))
    state.hart.translations_changed()
    callee.host_context, caller.host_context = caller.host_context, None
    callee.mailbox, caller.mailbox = caller.mailbox, None
    caller.state, callee.state = CALLING, RUNNING

    callee.context.reset(U, callee.space.satp, callee.entry)
    regs = callee.context.regs
    regs[SP] = abi.STACK_TOP
    regs[A0], regs[A1], regs[A2] = arguments.req_arg, callee_va, arguments.req_size if callee_va else 0
    regs[A3], regs[A4] = callee.shm
    state.running = callee
    state.hart.current = callee.context
    return None


def server_return(state: State, callee: Enclave, context: Context) -> int | None:
    """Enclave call 95: a0 → call struct with the results. Does not return; −1 outside a call or for a bad
    pointer, as the server could not be resumed otherwise."""
    current = callee.call
    if current is None:
        return FAILED
    results = _read_struct(callee, context.regs[A0], R)
    if results is None:
        return FAILED
    caller = current.caller

    req_vaddr = resp_vaddr = resp_size = 0
    back = None
    if current.request is not None:
        back = _passed(callee, results.req_vaddr, results.req_size)
        if back is not None and results.req_size >= current.size:
            place = caller.space.place_for(current.request_va, back.pages)
            if place is not None:
                req_vaddr = place + results.req_vaddr - back.va
                _move(state, back, callee, caller, place)
    response = _passed(callee, results.resp_vaddr, results.resp_size) if results.resp_vaddr else None
    if response is not None:
        place = caller.space.place_below(response.pages)
        if place is not None:
            resp_vaddr, resp_size = place + results.resp_vaddr - response.va, results.resp_size
            _move(state, response, callee, caller, place)

    callee.call = None
    callee.state = RUNNABLE
    callee.top = callee
    caller.top.innermost = caller
    state.memory.store(callee.kbuffer_slot, 0)
    state.hart.translations_changed()
    caller.host_context, callee.host_context = callee.host_context, None
    caller.mailbox, callee.mailbox = callee.mailbox, None
    caller.state = RUNNING
    state.running = caller
    state.hart.current = caller.context
    given = CallStruct(0, results.resp_val, req_vaddr, 0, resp_vaddr, resp_size)
    written = _write_results(caller, current, given)
    state.answer(caller.context, 0 if written else FAILED)
    return None


def caller_id(_state: State, enclave: Enclave, _context: Context) -> int:
    """Enclave call 91: the eid of who called, −1 when not called (§10)."""
    return enclave.call.caller.eid if enclave.call is not None else FAILED


def _read_struct(enclave: Enclave, va: int, flags: int = R | W) -> CallStruct | None:
    """The call struct at `va`; None unless every page of it is mapped with `flags`."""
    table = enclave.space.table
    size = abi.CALL_STRUCT.size
    spans = table.spans(va, size, flags)
    if spans is None:
        return None
    memory = enclave.space.memory
    if len(spans) == 1:
        return CallStruct(*abi.CALL_STRUCT.unpack_from(memory.bytes, spans[0][0] - memory.base))
    return CallStruct(*abi.CALL_STRUCT.unpack(b"".join(memory.read(pa, n) for pa, n in spans)))


def _write_results(caller: Enclave, current: Call, given: CallStruct) -> bool:
    """Put the results into the caller's struct, leaving what the caller alone sets."""
    old = _read_struct(caller, current.struct_va)
    if old is None:
        return False
    merged = given._replace(req_arg=old.req_arg, req_size=old.req_size)
    return caller.space.table.write(current.struct_va, abi.CALL_STRUCT.pack(*merged))


def _passed(owner: Enclave, va: int, size: int) -> Mapping | None:
    """The mapping of `owner` that a call or return names, if the range is one that can move."""
    if va % PAGE or size % PAGE or not size:
        return None
    return owner.space.find(va, size)


def _overlaps(mapping: Mapping, struct_va: int) -> bool:
    return mapping.va < struct_va + abi.CALL_STRUCT.size and struct_va < mapping.end


def _move(state: State, mapping: Mapping, source: Enclave, target: Enclave, va: int) -> None:
    """Take a mapping out of one enclave and into another at `va`, and make it the other's."""
    source.space.remove(mapping)
    target.space.insert(mapping, va)
    state.owners.set_owner(mapping.block, mapping.block_pages, target.owner)
