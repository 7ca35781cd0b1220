"""The chain: an enclave that the host runs, the server that it calls, the one that this calls … (§5).

    host ──begin──▶ top ──push──▶ server ──push──▶ server        innermost: runs, or waits for the host
         ◀──pause──────────────────────────────────╯ ╰──pop──▶

Each record of a chain names its `top`, and the record of the top names the innermost enclave. There is one
host context: it waits while a chain has the hart, and gets it back when the innermost enclave pauses or ends.
The mailbox and the kbuffer of a chain are those of its top; the kbuffer is mapped in the innermost enclave.
In a concurrent server a chain has a slot (`slots`), and may have several.

From an enclave's creation to its end only this file writes `state`, `top`, `innermost` and `caller` of its
record. The running enclave is set here, and by `State.to_host`.
"""

from collections.abc import Iterator, Sequence

from pltvm.engine.sv39 import PPN_SHIFT, D
from pltvm.monitor import abi, slots, waiting
from pltvm.monitor.abi import HostCall, Ocall, Status
from pltvm.monitor.enclave import LINK, Enclave, EnclaveState
from pltvm.monitor.records import Region
from pltvm.monitor.state import State

RUNNABLE, RUNNING, WAITING, CALLING = (
    int(EnclaveState.RUNNABLE),
    int(EnclaveState.RUNNING),
    int(EnclaveState.WAITING),
    int(EnclaveState.CALLING),
)
_pack_link = LINK.layout.pack_into


def begin(state: State, enclave: Enclave) -> None:
    """Give the hart to an enclave that has not run, or to the innermost enclave of a paused chain."""
    state.host = state.hart.current
    _run(state, enclave)


def _run(state: State, enclave: Enclave) -> None:
    enclave.state = RUNNING
    state.globals.running = enclave.at
    dirty, (record, registers) = state.dirty, enclave.pages
    dirty[record] = dirty[registers] = 1
    if enclave.concurrent:
        dirty[enclave.home.pages[0]] = 1
    state.hart.current = enclave.context


def pause(state: State, enclave: Enclave, status: int) -> None:
    """Give the hart back to the host, which can let the chain go on later."""
    enclave.state = RUNNABLE
    state.to_host(status)


def ask(state: State, enclave: Enclave, number: Ocall, arg0: int = 0, arg1: int = 0) -> None:
    """Put an ocall into the chain's mailbox, and pause until the host has answered it (§4)."""
    top = enclave if enclave.top == enclave.at else state.enclave(enclave.top)
    store = state.memory.store
    store(top.ocall, number)
    store(top.arg0, arg0)
    store(top.arg1, arg1)
    enclave.waiting_for = number
    enclave.state = WAITING
    state.to_host(Status.OCALL)


def push(
    state: State,
    caller: Enclave,
    callee: Enclave,
    struct_pa: int,
    struct_rest: int,
    request: Region | None,
    size: int,
) -> None:
    """Let `caller` wait and `callee` run from its entry point, with the registers that `leave` prepared.

    The results go to the struct at `struct_pa`, as of `find_struct`; `request` is the passed region, with
    `request.origin_va` as its address in the caller; `size` is the number of bytes that the caller named.
    """
    top = caller if caller.top == caller.at else state.enclave(caller.top)
    at, va = (request.at, request.origin_va) if request is not None else (0, 0)
    _pack_link(state.memory.bytes, callee.link, caller.at, struct_pa, struct_rest, at, va, size, top.at)
    top.innermost = callee.at
    if callee.concurrent:
        slots.enter(callee)
        if request is not None:
            slots.receive(callee, request)
    state.words[callee.kbuffer_word] = top.kbuffer_entry
    state.dirty[callee.kbuffer_table] = 1
    caller.state = CALLING
    _run(state, callee)


def pop(state: State, callee: Enclave, caller: Enclave) -> None:
    """Remove `callee` from the chain, and let its caller run again."""
    top = caller if caller.top == caller.at else state.enclave(caller.top)
    top.innermost = caller.at
    leave(state, callee)
    _run(state, caller)


def leave(state: State, server: Enclave) -> None:
    """Make a server ready for its next call, in any state: also its registers, except arguments."""
    words, word = state.words, server.kbuffer_word
    kbuffer = words[word]
    if kbuffer & D:  # the entry, and its D bit, go away
        state.dirty[(kbuffer >> PPN_SHIFT) - state.first_page] = 1
    words[word] = 0
    state.dirty[server.kbuffer_table] = 1
    server.caller = 0
    if server.request_va:
        server.request = server.request_va = 0
    if server.concurrent:
        slots.leave(state, server)
    server.top = server.at
    server.state = RUNNABLE
    server.context.regs[:] = server.entry_registers
    state.dirty[server.pages[1]] = 1


def links(state: State, innermost: Enclave) -> Iterator[Enclave]:
    """Yield the enclaves of a chain from the innermost to the top; the one yielded may leave meanwhile."""
    link = innermost
    for _ in range(state.globals.enclaves * abi.MOST_SLOTS):  # each slot is at most once in a chain
        caller = link.caller
        yield link
        if not caller:
            return
        link = state.enclave(caller)


def waits_for_turn(state: State, function: int, arguments: Sequence[int]) -> Enclave | None:
    """Return the enclave that waits for a server, if this monitor call would let its chain go on, or None."""
    top = state.enclaves.get(arguments[0]) if function == HostCall.RESUME and arguments else None
    innermost = state.enclave(top.innermost) if top is not None else None
    return innermost if innermost is not None and innermost.state == EnclaveState.QUEUED else None


def lose(state: State, innermost: Enclave, region: Region) -> None:
    """Forget a region that has left the chain: no unfinished call gives it back any more."""
    for link in links(state, innermost):
        if link.request == region.at:
            link.request = 0


def unwind(state: State, top: Enclave, ended: Enclave) -> None:
    """Break the chain of `top` because `ended` ends; every server in it is idle again.

    Memory that the unfinished calls had passed to them goes to the top, but unmapped; memory of `ended` ends
    with it. What a slot has passed to another slot of its server stays the server's.
    """
    innermost = state.enclave(top.innermost)
    if innermost.state == EnclaveState.QUEUED:
        waiting.leave(state, innermost)
    for link in links(state, innermost):
        if link.at == top.at:
            break
        if link.request and link.home.at not in (ended.at, state.enclave(link.caller).home.at):
            request = state.records.region(link.request)
            if link.space.has(request):
                link.space.remove(request)
                state.owners.set_owner(request.block, request.block_pages, top.owner)
                request.holder = request.call = 0
                top.space.adopt(request)
        leave(state, link)
    state.hart.translations_changed()  # in `push` and `pop` another ASID runs, so the hart flushes
    top.innermost = top.at
