"""The calls of the host kernel in one table (§8): each has a handler and its number of arguments.

A handler returns the status, or None when an enclave has the hart now.
"""

from collections.abc import Callable
from typing import Final

from pltvm.monitor import attest, boot, create, destroy, relay, run, shadow
from pltvm.monitor.abi import HostCall, Status
from pltvm.monitor.state import State


def call(state: State, function: int, arguments: tuple[int, ...]) -> int | None:
    """Make a call, with plain numbers. Missing arguments are 0, surplus ones are ignored."""
    known = HOST_CALLS.get(function)
    if known is None or (state.tables is None and function != HostCall.INIT):
        return Status.ERROR
    arity, handler = known
    if len(arguments) != arity:
        arguments = (*arguments[:arity], *(0,) * (arity - len(arguments)))
    return handler(state, *arguments)


def _set_pte(state: State, kind: int, address: int, value: int, size: int) -> int:
    """Monitor call 101: change entries of the host's page tables, see `guard`."""
    assert state.tables is not None
    return state.tables.set_pte(kind, address, value, size)


def _separate(state: State, root_order: int, middle_order: int) -> int:
    """Monitor call 83: divide the PT area into its parts, see `guard`."""
    assert state.tables is not None
    return state.tables.separate(root_order, middle_order)


# Each with its number of arguments: registers always hold five.
HOST_CALLS: Final[dict[int, tuple[int, Callable[..., int | None]]]] = {
    HostCall.INIT: (4, boot.init),
    HostCall.SET_PTE: (4, _set_pte),
    HostCall.SEPARATE: (2, _separate),
    HostCall.CREATE: (1, create.create),
    HostCall.CREATE_SERVER: (1, create.create_server),
    HostCall.ATTEST: (3, attest.attest),
    HostCall.ATTEST_SHADOW: (3, attest.attest),
    HostCall.RUN: (2, run.run),
    HostCall.RESUME: (5, run.resume),
    HostCall.STOP: (1, run.stop),
    HostCall.DESTROY: (1, destroy.destroy),
    HostCall.DESTROY_SERVER: (1, destroy.destroy),
    HostCall.CREATE_SHADOW: (1, shadow.create),
    HostCall.RUN_SHADOW: (2, shadow.run),
    HostCall.DESTROY_SHADOW: (1, destroy.destroy),
    HostCall.EXTEND: (2, create.extend),
    HostCall.RELAY_INIT: (2, create.extend),
    HostCall.RECLAIM: (2, relay.reclaim),
    HostCall.CAN_GO_ON: (1, run.can_go_on),
    HostCall.TURN: (1, run.turn),
}
