"""Runs enclaves: monitor calls 97, 95 and 96, and the exit of an enclave (§3, §8)."""

from pltvm.engine.context import A0, A1, A2, A3, A4
from pltvm.monitor import abi, chain, destroy, ocall, relay, server, waiting
from pltvm.monitor.abi import EnclaveType, ResumeReason, RunParams, Status
from pltvm.monitor.enclave import Enclave, EnclaveState
from pltvm.monitor.state import State

_GOES_ON = (EnclaveState.RUNNABLE, EnclaveState.QUEUED)


def run(state: State, eid: int, params_pa: int) -> int | None:
    """Monitor call 97: start a fresh enclave, with relay pages if the parameters name some (§7)."""
    enclave = state.enclaves.get(eid)
    raw = state.read_host(params_pa, abi.RUN_PARAMS.size)
    if enclave is None or raw is None or enclave.kind != EnclaveType.NORMAL:
        return Status.ERROR
    if state.globals.running or enclave.state != EnclaveState.FRESH:
        return Status.ERROR
    params = RunParams(*abi.RUN_PARAMS.unpack(raw))
    pages = relay.offer(state, enclave.name, enclave, params.relay_paddr, params.relay_size)
    if pages is None:
        return Status.ERROR
    pages.take(state, enclave)
    start(state, enclave, state.globals.started)
    return None


def start(state: State, enclave: Enclave, number: int) -> None:
    """Enter a fresh enclave at its entry point; `number` goes to a2 (§2)."""
    relay_size = relay.entry_size(enclave)
    regs = enclave.context.restart(enclave.entry_registers)
    regs[A0], regs[A1] = (abi.SHM_BASE if enclave.shm_size else 0), enclave.shm_size
    regs[A2] = number
    regs[A3], regs[A4] = (abi.RELAY_BASE if relay_size else 0), relay_size
    state.globals.started += 1
    chain.begin(state, enclave)


def resume(state: State, eid: int, reason: int, number: int = 0, value: int = 0, size: int = 0) -> int | None:
    """Monitor call 95: let the innermost enclave of the chain that starts at `eid` go on.

    After an ocall `number` is its number, and `value`, `size` are the answer: a physical block for mmap and
    sbrk, else the result. Returns WAITING, and does nothing, if the chain waits for a server and it is not
    its turn.
    """
    top = state.enclaves.get(eid)
    if top is None or top.top != top.at or top.is_server or state.globals.running:
        return Status.ERROR
    if reason == ResumeReason.STOP:
        was_stopped, top.stopped = top.stopped, 0
        return Status.OK if was_stopped else Status.ERROR
    enclave = top if top.innermost == top.at else state.enclave(top.innermost)
    if top.stopped:
        return Status.ERROR
    if reason == ResumeReason.OCALL:
        if enclave.state != EnclaveState.WAITING or number != enclave.waiting_for:
            return Status.ERROR
        if not ocall.answer(state, enclave, value, size):
            return Status.ERROR
    elif reason != ResumeReason.TIMER or enclave.state not in _GOES_ON:
        return Status.ERROR
    elif enclave.state == EnclaveState.QUEUED:
        return _go_on_with_call(state, enclave)
    chain.begin(state, enclave)
    return None


def _go_on_with_call(state: State, enclave: Enclave) -> int | None:
    """Let an enclave that has waited for a server make its call, if it is its turn."""
    if not waiting.has_turn(state, enclave):
        return Status.WAITING
    chain.begin(state, enclave)
    result = server.call_now(state, enclave)
    if result is not None:
        state.answer(enclave.context, result)
    return None


def can_go_on(state: State, eid: int) -> int:
    """Monitor call 103, ours: OK, or WAITING if the chain that starts at `eid` has to go on waiting for a
    server."""
    top = state.enclaves.get(eid)
    if top is None or top.is_server or top.state == EnclaveState.FRESH:
        return Status.ERROR
    enclave = state.enclave(top.innermost)
    waits = enclave.state == EnclaveState.QUEUED and not waiting.has_turn(state, enclave)
    return Status.WAITING if waits else Status.OK


def turn(state: State, eid: int) -> int:
    """Monitor call 104, ours: of the chains that wait for a server, could go on (call 103) and are not
    stopped, the one that comes after that of `eid`; the first for −1. ERROR: there is none, or `eid` is not
    one of them.
    """
    after = None
    if eid != abi.MASK64:
        top = state.enclaves.get(eid)
        if top is None or top.is_server or top.stopped:
            return Status.ERROR
        after = state.enclave(top.innermost)
        if after.state != EnclaveState.QUEUED or not waiting.has_turn(state, after):
            return Status.ERROR
    found = waiting.next_turn(state, after)
    return Status.ERROR if found is None else state.enclave(found.top).eid


def stop(state: State, eid: int) -> int:
    """Monitor call 96: stop a started enclave until a resume with reason "stop"."""
    enclave = state.enclaves.get(eid)
    if enclave is None or enclave.is_server or enclave.state == EnclaveState.FRESH or enclave.stopped:
        return Status.ERROR
    enclave.stopped = 1
    return Status.OK


def exit_enclave(state: State, enclave: Enclave, value: int) -> int | None:
    """Enclave call 99: the enclave ends; servers may not (§3)."""
    if enclave.is_server:
        return abi.FAILED
    state.memory.store(enclave.retval, value)
    kept = relay.release(state, enclave)  # relay pages go back with their content (§7)
    destroy.free(state, enclave, kept)
    state.to_host(Status.OK)
    return None
