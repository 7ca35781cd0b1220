"""Concurrent servers, ours: several chains are in one at once, each in a slot of its own.

    slot 0   the server's own record, table, stack
    slot n   in the server's block: | registers | root | tables of the kbuffer | tables of the stack | stack |

    root of a slot ─┬─▶ tables of its own:   stack, kbuffer
                    ╰─▶ tables of all slots: text, data, heap, mmap area, what is shared

A slot is a `struct enclave` with the server's eid, so a chain goes through it as through any server. Memory
is the server's, whichever slot asks for it (`Enclave.home`). What a call passes is held by its slot while it
lasts: no other slot gives it away. A slot that was left has nothing: registers, stack and with it the
variables of the thread are as they were before its first call.
"""

from typing import Final

from pltvm.engine import sv39
from pltvm.engine.context import SATP
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES, D, Leaf, R, W, X, pte_address
from pltvm.monitor import abi
from pltvm.monitor.abi import STACK_TOP
from pltvm.monitor.enclave import OWN_INDICES, SLOTS_WORD, Enclave
from pltvm.monitor.records import EnclaveRecord, Region
from pltvm.monitor.space import STACK_INDEX
from pltvm.monitor.state import State

_ALL_D: Final = int.from_bytes(D.to_bytes(8, "little") * ENTRIES, "little")
_LEAF_SPAN: Final = ENTRIES * PAGE  # bytes that a table of the last level maps


# -- making them -------------------------------------------------------------------------------------------


def stack_pages(leaves: list[Leaf]) -> int | None:
    """Pages of the stack, which must be alone in its GiB, writable and not code; None where it is not so."""
    found = [leaf for leaf in leaves if sv39.root_index(leaf.va) == STACK_INDEX]
    at = STACK_TOP - len(found) * PAGE
    for leaf in found:
        if leaf.va != at or leaf.pte & (R | W | X) != R | W:
            return None
        at += PAGE
    return len(found)


def make(state: State, server: Enclave, slots: int, stack: int) -> None:
    """Give a new server its slots; there is room for records, ASIDs, and `pages_of_slot` for all but one."""
    server.slots = slots
    server.space.table.note_stored(STACK_TOP - stack * PAGE, stack * PAGE)  # what the host put there goes
    first = ((server.block - state.base) >> 3) + SLOTS_WORD
    state.words[first] = server.at
    state.dirty[server.pages[1]] = 1
    for number in range(1, slots):
        state.words[first + number] = _make_slot(state, server, number, stack)


def _make_slot(state: State, server: Enclave, number: int, stack: int) -> int:
    take, at = server.space.take_page, state.records.new_enclave()
    record = state.records.view(EnclaveRecord, at)
    record.eid, record.kind, record.name, record.entry = server.eid, server.kind, server.name, server.entry
    record.state, record.server, record.slot = server.state, server.at, number
    record.asid = state.records.next_asid() or 0
    state.records.use_asid(record.asid)
    record.block, record.root = take(), take()
    table = PageTable(state.memory, record.root, take)
    table.make_tables(abi.KBUFFER, 1)
    record.kbuffer_slot = table.slot(abi.KBUFFER)
    table.make_tables(STACK_TOP - stack * PAGE, stack)
    for page in range(stack):
        entry = sv39.contiguous_entries(state.memory, take(), 1, sv39.RW & ~D)
        table.put(STACK_TOP - (stack - page) * PAGE, entry)
    words, base = state.words, state.base
    root, shared = (record.root - base) >> 3, (server.root - base) >> 3
    for index in range(ENTRIES):
        if index not in OWN_INDICES:
            words[root + index] = words[shared + index]
    state.memory.touch(record.root, 1)
    record.top = record.innermost = at
    slot = state.enclave(at)
    slot.entry_registers[:] = server.entry_registers
    slot.entry_registers[SATP] = slot.satp
    slot.context.regs[:] = slot.entry_registers
    state.dirty[slot.pages[1]] = 1
    return at


# -- in calls ----------------------------------------------------------------------------------------------


def free_slot(state: State, server: Enclave) -> Enclave:
    """The first slot that is in no call; there is one."""
    number = (~server.busy & server.busy + 1).bit_length() - 1
    return state.slot(server, number)


def enter(slot: Enclave) -> None:
    """A call goes into this slot."""
    slot.home.busy |= 1 << slot.slot
    slot.calls += 1


def leave(state: State, slot: Enclave) -> None:
    """The slot is free again, and nothing is left on its stack."""
    slot.home.busy &= ~(1 << slot.slot)
    words, memory = state.words, state.memory
    for entries in _stack(state, slot):
        part = words[entries.start : entries.stop]
        if not int.from_bytes(part, "little") & _ALL_D:
            continue
        state.dirty[entries.start >> 9] = 1
        for at, pte in zip(entries, part.tolist(), strict=True):
            if pte & D:
                memory.zero(pte_address(pte), PAGE)
                words[at] = pte & ~D


def _stack(state: State, slot: Enclave) -> list[range]:
    """Where, in u64 of RAM, the entries of its stack are, by table."""
    if slot.stack is None:
        slot.stack, table, end = [], slot.space.table, STACK_TOP
        while table.entry(end - PAGE):
            start = end
            while start > end - _LEAF_SPAN and table.entry(start - PAGE):
                start -= PAGE
            first = (table.slot(start) - state.base) >> 3
            slot.stack.append(range(first, first + (end - start) // PAGE))
            end = start
    return slot.stack


def receive(slot: Enclave, region: Region) -> None:
    """A call has brought this region, or it is back: while the call of the slot lasts it is held."""
    if slot.request == region.at:
        region.holder, region.call = slot.at, slot.calls


def may_give(state: State, enclave: Enclave, region: Region) -> bool:
    """Whether a region of its space is none that another slot holds."""
    if not region.holder or region.holder == enclave.at:
        return True
    holder = state.enclave(region.holder)
    return not holder.caller or holder.calls != region.call
