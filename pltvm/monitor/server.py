"""Calls between enclaves (§5): acquire, call, return.

A call moves the passed memory from caller to callee, and lets the callee run in the caller's chain (`chain`);
a return moves memory back. Everything is checked before anything moves.
"""

from struct import Struct
from typing import Final

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import R, W
from pltvm.monitor import abi, chain, slots, waiting
from pltvm.monitor.abi import BUSY, DEADLOCK, FAILED
from pltvm.monitor.enclave import LINK, Enclave
from pltvm.monitor.records import Region
from pltvm.monitor.state import State
from pltvm.monitor.user import find_struct, read_name

_RESULTS = Struct("<5Q")  # the part of the call struct that a return writes, from its second field on
_RESULTS_AT: Final = 8
_pack_results, _unpack_link = _RESULTS.pack_into, LINK.layout.unpack_from
# Page tables for passed memory are taken from the server's own block, and stay. This many pages of it are
# reserved, so that callers cannot use it up by choosing addresses far apart.
CALLERS_RESERVE: Final = 64


def acquire(state: State, enclave: Enclave, context: Context) -> int:
    """Enclave call 97: a0 name → handle, or −1 when no living server has that name."""
    name = read_name(enclave.space.table, context.regs[A0])
    server = state.server(name) if name else None
    if server is None:
        if name:
            state.on_unknown_name(name)
        return FAILED
    return server.eid


def call(state: State, caller: Enclave, context: Context) -> int | None:
    """Enclave call 96: a0 handle, a1 → call struct. 0 once the server returns, −1, or −2 when it is busy."""
    callee = state.enclaves.get(context.regs[A0])
    if callee is None or not callee.is_server:
        return FAILED
    if (callee.caller or callee.busy or callee.first_waiting) and not waiting.room_for(state, callee):
        return BUSY
    return _call(state, caller, context, callee)


def call_waiting(state: State, caller: Enclave, context: Context) -> int | None:
    """Enclave call 64, ours: like `call`, but the chain waits while the server is busy.

    −3 if the wait would never end.
    """
    server = state.enclaves.get(context.regs[A0])
    if server is None or not server.is_server:
        return FAILED
    if waiting.room_for(state, server):
        return _call(state, caller, context, server)
    return None if waiting.wait(state, caller, server) else DEADLOCK


def call_now(state: State, caller: Enclave) -> int | None:
    """Make the call of an enclave that has waited and whose turn it is; like `call`."""
    waiting.leave(state, caller)
    server = state.enclaves.get(caller.context.regs[A0])
    return FAILED if server is None else _call(state, caller, caller.context, server)


def _call(state: State, caller: Enclave, context: Context, callee: Enclave) -> int | None:
    """Make a call of a server that has room."""
    regs = context.regs
    struct_va = regs[A1]
    struct = find_struct(caller.space.table, abi.CALL_STRUCT, struct_va, R | W)
    if struct is None:
        return FAILED
    struct_pa, struct_rest, (req_arg, _, req_vaddr, req_size, _, _) = struct

    request, callee_va = None, 0
    if req_vaddr:
        request = _passed(state, caller, req_vaddr, req_size)
        if request is None:
            return FAILED
        start, size = request.va, request.size
        if start < struct_va + abi.CALL_STRUCT.size and struct_va < start + size:
            return FAILED
        if callee.at == caller.home.at:
            place: int | None = start  # it has the region already
        else:
            place = callee.space.place_for(start, size >> PAGE_SHIFT, CALLERS_RESERVE)
        if place is None:
            return FAILED
        callee_va = place + req_vaddr - start

        # Nothing can fail from here on.
        _move(state, request, caller, callee, place)
    if callee.concurrent:
        callee = slots.free_slot(state, callee)
    chain.push(state, caller, callee, struct_pa, struct_rest, request, req_size)
    regs = callee.context.regs
    regs[A0], regs[A1], regs[A2] = req_arg, callee_va, req_size if callee_va else 0
    return None


def server_return(state: State, callee: Enclave, context: Context) -> int | None:
    """Enclave call 95: a0 → call struct with the results. Does not return to the server.

    −1 outside a call, or for a pointer to memory that is not the server's.
    """
    link = _unpack_link(state.memory.bytes, callee.link)
    caller_at, struct_pa, struct_rest, kept, request_va, request_size, _ = link
    if not caller_at:
        return FAILED
    results = find_struct(callee.space.table, abi.CALL_STRUCT, context.regs[A0])
    if results is None:
        return FAILED
    _, _, (_, resp_val, req_vaddr, req_size, resp_vaddr, resp_size) = results
    caller = state.views.get(caller_at) or state.enclave(caller_at)  # `chain.pop` marks its page
    found = True
    if caller.concurrent:
        found, struct_pa, struct_rest = _find_struct_again(caller)

    given_req = given_resp = given_size = 0
    if found and request_va and req_vaddr and req_size >= request_size:
        back = _passed(state, callee, req_vaddr, req_size)
        place = _place_back(callee, caller, back, request_va) if back else None
        if back is not None and place is not None:
            given_req = place + req_vaddr - back.va
            kept = 0 if kept == back.at else kept
            _move(state, back, callee, caller, place)
            if caller.concurrent:
                slots.receive(caller, back)
    if found and resp_vaddr:
        response = _passed(state, callee, resp_vaddr, resp_size)
        place = _place_below(callee, caller, response) if response else None
        if response is not None and place is not None:
            given_resp, given_size = place + resp_vaddr - response.va, resp_size
            kept = 0 if kept == response.at else kept
            _move(state, response, callee, caller, place)
            if caller.concurrent:
                slots.receive(caller, response)
    if kept:  # the callee may use it freely, also in other chains
        chain.lose(state, caller, state.records.region(kept))

    if found:
        _write_results(
            state,
            struct_pa,
            struct_rest,
            resp_val,
            given_req,
            request_size,
            given_resp,
            given_size,
        )
    chain.pop(state, callee, caller)
    caller.context.regs[A0] = 0 if found else FAILED & abi.MASK64
    return None


def _find_struct_again(caller: Enclave) -> tuple[bool, int, int]:
    """Find the struct of a caller again, as its other slots have run meanwhile.

    Return whether it is still there, and its places.
    """
    struct = find_struct(caller.space.table, abi.CALL_STRUCT, caller.context.regs[A1], R | W)
    if struct is None:
        return False, 0, 0
    caller.space.table.note_stored(caller.context.regs[A1], abi.CALL_STRUCT.size)  # see `slots.leave`
    return True, struct[0], struct[1]


def _place_back(callee: Enclave, caller: Enclave, region: Region, va: int) -> int | None:
    """Return the address for memory that was passed from `va` and goes back; it stays if both are slots of
    one server."""
    if callee.home is caller.home:
        return region.va
    return caller.space.place_for(va, region.pages)


def _place_below(callee: Enclave, caller: Enclave, region: Region) -> int | None:
    """Return the address for an answer; it stays if both are slots of one server."""
    return region.va if callee.home is caller.home else caller.space.place_below(region.pages)


def slot_id(_state: State, enclave: Enclave, _context: Context) -> int:
    """Enclave call 63, ours: the number of the slot, from 0; 0 for enclaves without slots."""
    return enclave.slot


def caller_id(state: State, enclave: Enclave, _context: Context) -> int:
    """Enclave call 91: the eid of the caller, −1 outside a call (§10)."""
    return state.enclave(enclave.caller).eid if enclave.caller else FAILED


def _write_results(
    state: State,
    struct_pa: int,
    struct_rest: int,
    resp_val: int,
    req_vaddr: int,
    req_size: int,
    resp_vaddr: int,
    resp_size: int,
) -> None:
    """Write the results into the caller's struct, whose places are as of `find_struct`.

    They were checked when the call was made, and no memory of the caller has moved since except the request,
    which does not contain the struct. req_arg and req_size stay as they were.
    """
    memory = state.memory
    if not struct_rest:
        at = memory.opened(struct_pa + _RESULTS_AT, _RESULTS.size)
        _pack_results(memory.bytes, at, resp_val, req_vaddr, req_size, resp_vaddr, resp_size)
        return
    first = -struct_pa % PAGE
    data = memory.read(struct_pa, first) + memory.read(struct_rest, abi.CALL_STRUCT.size - first)
    data = data[:_RESULTS_AT] + _RESULTS.pack(resp_val, req_vaddr, req_size, resp_vaddr, resp_size)
    memory.write(struct_pa, data[:first])
    memory.write(struct_rest, data[first:])


def _passed(state: State, owner: Enclave, va: int, size: int) -> Region | None:
    """Return the region of `owner` that a call or return names, if it can move that range."""
    if (va | size) & PAGE - 1 or not size:
        return None
    region = owner.space.find(va, size)
    if region is not None and region.holder and not slots.may_give(state, owner, region):
        return None
    return region


def _move(state: State, region: Region, source: Enclave, target: Enclave, va: int) -> None:
    """Move a region from one enclave to another, at `va`, and change its owner."""
    region.origin_eid, region.origin_va = source.eid, region.va
    if source.home is not target.home:
        source.space.move_to(target.space, region, va)
        state.owners.set_owner(region.block, region.block_pages, target.owner)
