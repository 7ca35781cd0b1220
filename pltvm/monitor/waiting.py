"""Chains that wait until a server has room, ours: enclave call 64, and whether a wait would never end.

    globals ──first_awaited──▶ server ──next_awaited──▶ server         those that somebody waits for
                                  │
                                  ╰──first_waiting──▶ enclave ──next_waiting──▶ enclave ◀──last_waiting──
                                                      in the order in which they came

An enclave waits with its registers as they were at the call, which is made anew when its turn has come: the
host lets it go on then (`run.resume`). As many of the first ones have their turn as there is room for; one
whose chain the host has stopped lets those behind it go first. Room that others have their turn for is none
for a call that does not wait, so nobody starves. Those whose server has ended have their turn in any case:
they are in a queue of the globals.
"""

from collections.abc import Iterator
from itertools import chain

from pltvm.monitor.abi import Status
from pltvm.monitor.enclave import Enclave, EnclaveState
from pltvm.monitor.records import Globals
from pltvm.monitor.state import State


def room(server: Enclave) -> int:
    """How many calls it would take now."""
    return server.slots - server.busy.bit_count() if server.concurrent else int(not server.caller)


def all_of(state: State, queue: Enclave | Globals, behind: Enclave | None = None) -> Iterator[Enclave]:
    """Who waits for a server, in order, or who did when it ended; all, or those behind this one."""
    at = queue.first_waiting if behind is None else behind.next_waiting
    while at:
        enclave = state.enclave(at)
        at = enclave.next_waiting
        yield enclave


def awaited(state: State, at: int) -> Iterator[Enclave]:
    """The servers that somebody waits for, from this one on; the first is the one awaited last."""
    while at:
        server = state.enclave(at)
        at = server.next_awaited
        yield server


def room_for(state: State, server: Enclave, enclave: Enclave | None = None) -> int:
    """How much room is left by those who wait before `enclave`, or before one that comes now."""
    left = room(server)
    for ahead in all_of(state, server):
        if not left or (enclave is not None and ahead.at == enclave.at):
            break
        left -= not state.enclave(ahead.top).stopped
    return left


def has_turn(state: State, enclave: Enclave) -> bool:
    """Whether an enclave that waits can go on: there is room, or no such server any more."""
    return not enclave.queued or room_for(state, state.enclave(enclave.queued), enclave) > 0


def next_turn(state: State, after: Enclave | None) -> Enclave | None:
    """Of those that have their turn and are not stopped, who comes after `after`, which is one, or first.

    First come those whose server has ended, then server by server, in the order of `awaited`. None: nobody.
    """
    queue: Enclave | Globals = state.globals
    left, servers = 1, state.globals.first_awaited
    if after is not None and after.queued:
        queue = server = state.enclave(after.queued)
        left, servers = room_for(state, server, after) - 1, server.next_awaited
    rest = all_of(state, queue, after) if left > 0 else iter(())
    others = (all_of(state, server) for server in awaited(state, servers) if room(server))
    waiting = chain.from_iterable(chain((rest,), others))
    return next((one for one in waiting if not state.enclave(one.top).stopped), None)


def wait(state: State, enclave: Enclave, server: Enclave) -> bool:
    """Pause the chain of `enclave` until `server` has room; False, and nothing done, if that never came."""
    if _would_never_end(state, enclave, server):
        return False
    if not server.first_waiting:
        server.next_awaited, state.globals.first_awaited = state.globals.first_awaited, server.at
    _append(state, server, enclave.at, enclave.at)
    enclave.queued = server.at
    enclave.state = EnclaveState.QUEUED
    state.to_host(Status.WAITING)
    return True


def _append(state: State, queue: Enclave | Globals, first: int, last: int) -> None:
    if queue.first_waiting:
        state.enclave(queue.last_waiting).next_waiting = first
    else:
        queue.first_waiting = first
    queue.last_waiting = last


def _would_never_end(state: State, enclave: Enclave, server: Enclave) -> bool:
    """Whether all who could make room wait themselves, for room that only they could make."""
    seen, servers = {enclave.top}, [server]
    for one in servers:
        if room(one):
            return False  # who waits ahead goes first
        for slot in state.slots(one):
            if slot.top in seen:
                continue
            seen.add(slot.top)
            innermost = state.enclave(state.enclave(slot.top).innermost)
            if innermost.state != EnclaveState.QUEUED or not innermost.queued:
                return False
            servers.append(state.enclave(innermost.queued))
    return True


def leave(state: State, enclave: Enclave) -> None:
    """An enclave that waits does so no longer."""
    queue = state.enclave(enclave.queued) if enclave.queued else state.globals
    before = _before(all_of(state, queue), enclave)
    if before is None:
        queue.first_waiting = enclave.next_waiting
    else:
        before.next_waiting = enclave.next_waiting
    if queue.last_waiting == enclave.at:
        queue.last_waiting = before.at if before is not None else 0
    if enclave.queued and not queue.first_waiting:
        _not_awaited(state, state.enclave(enclave.queued))
    enclave.queued = enclave.next_waiting = 0


def dissolve(state: State, server: Enclave) -> None:
    """The server ends: who waits for it can go on, and is told that there is none."""
    if not server.first_waiting:
        return
    for enclave in all_of(state, server):
        enclave.queued = 0
    _append(state, state.globals, server.first_waiting, server.last_waiting)
    server.first_waiting = server.last_waiting = 0
    _not_awaited(state, server)


def _not_awaited(state: State, server: Enclave) -> None:
    """Nobody waits for this server any more."""
    before = _before(awaited(state, state.globals.first_awaited), server)
    if before is None:
        state.globals.first_awaited = server.next_awaited
    else:
        before.next_awaited = server.next_awaited
    server.next_awaited = 0


def _before(some: Iterator[Enclave], one: Enclave) -> Enclave | None:
    """Who is before `one` in a list that it is in."""
    before = None
    for other in some:
        if other.at == one.at:
            break
        before = other
    return before
