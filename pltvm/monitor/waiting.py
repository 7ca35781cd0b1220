"""Chains that wait until a server has room, ours: enclave call 64, and whether a wait would never end.

    server ──first_waiting──▶ enclave ──next_waiting──▶ enclave        in the order in which they came

An enclave waits with its registers as they were at the call, which is made anew when its turn has come: the
host lets it go on then (`run.resume`). As many of the first ones have their turn as there is room for; one
whose chain the host has stopped lets those behind it go first. Room that others have their turn for is none
for a call that does not wait, so nobody starves.
"""

from collections.abc import Iterator

from pltvm.monitor.abi import Status
from pltvm.monitor.state import Enclave, EnclaveState, State


def room(server: Enclave) -> int:
    """How many calls it would take now."""
    return server.slots - server.busy.bit_count() if server.concurrent else int(not server.caller)


def all_of(state: State, server: Enclave) -> Iterator[Enclave]:
    """Who waits for it, in order."""
    at = server.first_waiting
    while at:
        enclave = state.enclave(at)
        at = enclave.next_waiting
        yield enclave


def has_room(state: State, server: Enclave, enclave: Enclave | None = None) -> bool:
    """Whether there is room in `server` for `enclave`, which waits there, or for one that comes now."""
    left = room(server)
    for ahead in all_of(state, server):
        if not left or (enclave is not None and ahead.at == enclave.at):
            break
        left -= not state.enclave(ahead.top).stopped
    return left > 0


def has_turn(state: State, enclave: Enclave) -> bool:
    """Whether an enclave that waits can go on: there is room, or no such server any more."""
    return not enclave.queued or has_room(state, state.enclave(enclave.queued), enclave)


def wait(state: State, enclave: Enclave, server: Enclave) -> bool:
    """Pause the chain of `enclave` until `server` has room; False, and nothing done, if that never came."""
    if _would_never_end(state, enclave, server):
        return False
    waiting = list(all_of(state, server))
    if waiting:
        waiting[-1].next_waiting = enclave.at
    else:
        server.first_waiting = enclave.at
    enclave.queued = server.at
    enclave.state = EnclaveState.QUEUED
    state.to_host(Status.WAITING)
    return True


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
            if innermost.state != EnclaveState.QUEUED or has_turn(state, innermost):
                return False
            servers.append(state.enclave(innermost.queued))
    return True


def leave(state: State, enclave: Enclave) -> None:
    """An enclave waits no longer."""
    if not enclave.queued:
        return
    server, before = state.enclave(enclave.queued), None
    for one in all_of(state, server):
        if one.at == enclave.at:
            break
        before = one
    if before is None:
        server.first_waiting = enclave.next_waiting
    else:
        before.next_waiting = enclave.next_waiting
    enclave.queued = enclave.next_waiting = 0


def dissolve(state: State, server: Enclave) -> None:
    """The server ends: who waits for it can go on, and is told that there is none."""
    for enclave in all_of(state, server):
        enclave.queued = enclave.next_waiting = 0
    server.first_waiting = 0
