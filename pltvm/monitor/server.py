"""Calls between enclaves (§5): acquire, call, return.

A call moves three things from caller to callee: the memory it passes, the host context (so that an ocall or
interrupt in the callee reaches the host thread at the start of the chain), and control. A return moves them
back. Everything is checked before the first of them moves.

    host ──run──▶ caller ──call──▶ server ──call──▶ server
         context:   ╰──── moves ────▶╰──── moves ────▶╯
"""

from struct import Struct
from typing import Final

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import R, W
from pltvm.monitor import abi
from pltvm.monitor.abi import BUSY, FAILED
from pltvm.monitor.space import Mapping
from pltvm.monitor.state import CALLING, RUNNABLE, RUNNING, Call, Enclave, Spans, State

_RESULTS = Struct("<5Q")  # what a return writes of the call struct, from its second field on
_RESULTS_AT: Final = 8
# Tables for what callers pass come out of the server's own block and stay. So many pages of it are kept from
# callers that choose far-apart addresses to use it up.
CALLERS_RESERVE: Final = 64


def acquire(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 97: a0 name → handle, or −1 when no living server has that name."""
    name = read_name(enclave, context.regs[A0])
    server = state.servers.get(name) if name else None
    return FAILED if server is None else server.eid


def read_name(enclave: Enclave, va: int) -> bytes | None:
    """At most 16 bytes up to a NUL; the page behind the NUL need not be mapped."""
    table, memory = enclave.space.table, enclave.space.memory
    if va & (PAGE - 1) <= PAGE - abi.NAME_SIZE:
        pa = table.translate(va)
        if pa is None:
            return None
        at = pa - memory.base
        return bytes(memory.bytes[at : at + abi.NAME_SIZE]).split(b"\0", 1)[0]
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
    if callee.call is not None:
        return BUSY
    struct_va = regs[A1]
    struct, fields = _find_struct(state, caller, struct_va, R | W)
    if fields is None:
        return FAILED
    req_arg, _, req_vaddr, req_size, _, _ = fields

    request, place, callee_va = None, 0, 0
    if req_vaddr:
        request = caller.space.mmaps.get(req_vaddr)
        if request is None or not 0 < req_size <= request.size or req_size & PAGE - 1:
            request = _passed(caller, req_vaddr, req_size)  # not the plain case of a mapping from its start
        if request is None or _overlaps(request, struct_va):
            return FAILED
        found = callee.space.place_for(request.va, request.pages, CALLERS_RESERVE)
        if found is None:
            return FAILED
        place, callee_va = found, found + req_vaddr - request.va

    # Nothing can fail from here on.
    callee.call = Call(caller, struct, request, req_size)
    if request is not None:
        _move(state, request, caller, callee, place)
    top = callee.top = caller.top
    top.innermost = callee
    state.memory.words[callee.kbuffer_word] = top.kbuffer_pte
    _hand_over(state, caller, callee)
    caller.state = CALLING

    regs = callee.context.regs
    regs[:] = callee.entry_registers
    regs[A0], regs[A1], regs[A2] = req_arg, callee_va, req_size if callee_va else 0
    return None


def server_return(state: State, callee: Enclave, context: Context) -> int | None:
    """Enclave call 95: a0 → call struct with the results. Does not return.

    −1 outside a call, or for a pointer to memory that is not the server's.
    """
    current = callee.call
    if current is None:
        return FAILED
    _, results = _find_struct(state, callee, context.regs[A0], R)
    if results is None:
        return FAILED
    _, resp_val, req_vaddr, req_size, resp_vaddr, resp_size = results
    caller = current.caller

    given_req = given_resp = given_size = 0
    if current.request is not None and req_vaddr and req_size >= current.size:
        back = _passed(callee, req_vaddr, req_size)
        place = caller.space.place_for(current.request_va, back.pages) if back else None
        if back is not None and place is not None:
            given_req = place + req_vaddr - back.va
            _move(state, back, callee, caller, place)
    if resp_vaddr:
        response = _passed(callee, resp_vaddr, resp_size)
        place = caller.space.place_below(response.pages) if response else None
        if response is not None and place is not None:
            given_resp, given_size = place + resp_vaddr - response.va, resp_size
            _move(state, response, callee, caller, place)

    callee.call = None
    callee.top = callee
    caller.top.innermost = caller
    state.memory.words[callee.kbuffer_word] = 0
    _hand_over(state, callee, caller)
    callee.state = RUNNABLE
    _write_results(state, current, resp_val, given_req, given_resp, given_size)
    caller.context.regs[A0] = 0
    return None


def _hand_over(state: State, source: Enclave, target: Enclave) -> None:
    """Move the host context and its mailbox, and the hart, from one enclave to another (§5).

    The two have different ASIDs, so the switch flushes: no need to tell the hart that entries moved.
    """
    target.host_context, source.host_context = source.host_context, None
    target.mailbox, source.mailbox = source.mailbox, None
    target.state = RUNNING
    state.running = target
    state.hart.current = target.context


def caller_id(_state: State, enclave: Enclave, _context: Context) -> int:
    """Enclave call 91: the eid of who called, −1 when not called (§10)."""
    return enclave.call.caller.eid if enclave.call is not None else FAILED


def _find_struct(state: State, enclave: Enclave, va: int, flags: int) -> tuple[Spans, tuple[int, ...] | None]:
    """Where the call struct at `va` lies, in physical parts, and its six fields; None if it is not there."""
    memory, table = state.memory, enclave.space.table
    size = abi.CALL_STRUCT.size
    if va & (PAGE - 1) <= PAGE - size:
        pa = table.translate(va, flags)
        if pa is None:
            return [], None
        return [(pa, size)], abi.CALL_STRUCT.unpack_from(memory.bytes, pa - memory.base)
    struct = table.spans(va, size, flags)
    if struct is None:
        return [], None
    return struct, abi.CALL_STRUCT.unpack(b"".join(memory.read(pa, n) for pa, n in struct))


def _write_results(state: State, current: Call, *results: int) -> None:
    """Put resp_val, req_vaddr, resp_vaddr and resp_size into the caller's struct.

    The parts were checked when the call was made, and nothing of the caller's moved since but the request,
    which does not hold the struct. req_size is written as it was.
    """
    memory, struct = state.memory, current.struct
    resp_val, req_vaddr, resp_vaddr, resp_size = results
    if len(struct) == 1:
        memory.pack(
            struct[0][0] + _RESULTS_AT, _RESULTS, resp_val, req_vaddr, current.size, resp_vaddr, resp_size
        )
        return
    req_arg = b"".join(memory.read(pa, n) for pa, n in struct)[:_RESULTS_AT]
    data = req_arg + _RESULTS.pack(resp_val, req_vaddr, current.size, resp_vaddr, resp_size)
    for pa, n in struct:
        memory.write(pa, data[:n])
        data = data[n:]


def _passed(owner: Enclave, va: int, size: int) -> Mapping | None:
    """The mapping of `owner` that a call or return names, if the range is one that can move."""
    if va % PAGE or size % PAGE or not size:
        return None
    return owner.space.find(va, size)


def _overlaps(mapping: Mapping, struct_va: int) -> bool:
    return mapping.va < struct_va + abi.CALL_STRUCT.size and struct_va < mapping.va + mapping.size


def _move(state: State, mapping: Mapping, source: Enclave, target: Enclave, va: int) -> None:
    """Take a mapping out of one enclave and into another at `va`, and make it the other's."""
    mapping.origin = (source.eid, mapping.va)
    source.space.move_to(target.space, mapping, va)
    state.owners.set_owner(mapping.block, mapping.block_pages, target.owner)
