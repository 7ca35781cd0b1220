"""Ends enclaves: by monitor calls 94, 89 and 79, or after a fault (§8, §10)."""

from collections.abc import Sequence

from pltvm.engine.memory import PAGE, Block
from pltvm.monitor import chain, secure_shm, waiting
from pltvm.monitor.abi import Status
from pltvm.monitor.create import pages_of
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.state import State


def destroy(state: State, eid: int) -> int:
    """Monitor calls 94 and 89: end an enclave in any state.

    If it is part of a call, the whole chain ends: its top caller is destroyed too, servers in
    between are idle again (§10). Ending a concurrent server ends all chains in it.
    """
    enclave = state.enclaves.get(eid)
    if enclave is None or state.globals.running or enclave.instances:
        return Status.ERROR
    end_chain(state, enclave)
    return Status.OK


def end_chain(state: State, enclave: Enclave) -> tuple[int, ...]:
    """Destroy `enclave`, or the server whose slot it is, and the top caller of each chain in it; return their
    eids."""
    enclave = enclave.home
    tops: dict[int, Enclave] = {}
    for slot in state.slots(enclave):
        if slot.caller:
            tops[slot.top] = state.enclave(slot.top)
    for top in tops.values() or (enclave,):
        chain.unwind(state, top, enclave)
    if enclave.is_server:
        waiting.dissolve(state, enclave)
    ended = (enclave.eid, *(top.eid for top in tops.values()))
    # Each table lists the other's block, so that the host finds all blocks from any of them.
    block = enclave.whole
    free(state, enclave, [top.whole for top in tops.values()])
    for top in tops.values():
        free(state, top, [block])
    return ended


def free(state: State, enclave: Enclave, kept: Sequence[Block] = ()) -> None:
    """Give all memory of an enclave back to the host, cleared, listed in the first page of its block.

    `kept` are blocks that the host gets back with their content; they are listed too.
    """
    state.enclaves.remove(enclave)
    if enclave.is_server:
        state.records.unlink(state.records.servers.of_name(enclave.name), enclave, "next_of_name")
    owners = state.owners
    for pa, pages in ((enclave.kbuffer, 1), (enclave.shm_pa, enclave.shm_size // PAGE)):
        owners.let_go(pa, pages)
        state.memory.touch(pa, pages)  # the D bits go with the enclave's tables
    for page in pages_of(enclave.mailbox):
        owners.let_go(page, 1)
    blocks = [enclave.whole]
    for region in enclave.space.all_regions():
        blocks.append(region.whole)
        state.records.free_region(region)
    blocks += secure_shm.leave_all(state, enclave)
    if enclave.template_of:
        state.enclave(enclave.template_of).instances -= 1
    state.contents.pop(enclave.eid, None)
    for slot in [*state.slots(enclave)][::-1]:
        state.hart.forget_context(slot.context)
        if state.globals.running == slot.at:
            state.globals.running = 0  # otherwise a query before the host has the hart would read its record
        state.forget(slot)
        state.records.free_asid(slot.asid)
        state.records.free_enclave(slot.at)
    state.give_back(blocks, kept)
    state.hart.translations_changed()
