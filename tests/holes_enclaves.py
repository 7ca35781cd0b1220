"""Holes in what keeps enclaves apart: clearing, registers, their page tables, and checks of their calls."""

from pltvm.engine import sv39
from pltvm.engine.hart import Hart
from pltvm.engine.memory import Memory
from pltvm.engine.page_table import PageTable
from pltvm.host import loading
from pltvm.monitor import chain, create, ocall, relay, run, secure_shm, server
from pltvm.monitor.monitor import Monitor
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.state import State
from pltvm.monitor.store import Records
from tests.holes import hole

# Edits that serve in more than one hole.
NO_CLEARING = (State.clear, "self.memory.zero(pa, pages * PAGE)", "pass")
NOT_CLEAR = (ocall._take, "state.memory.zero(pa, pages * PAGE)", "pass")
ANY_SIZE = (AddressSpace.find, "return region if va + size <= end else None", "return region")
_IDENTITY = "0x8000_0000 >> 2 | 0xDF"  # a huge page: all of RAM at its own address, for user mode
_S = 1  # the kernel's privilege; it does not execute pages of user mode, so these are made the kernel's

ENCLAVE_HOLES = [
    # -- clearing
    hole("clearing of what goes back", "s-leftovers", *NO_CLEARING),
    hole(
        "clearing of what goes back and of what comes",
        "e-shared",
        *NO_CLEARING,
        *NOT_CLEAR,
        secure_shm.memory_for,
        "state.memory.zero(block, size)",
        "pass",
    ),
    hole("clearing of what comes", "s-leftovers", *NOT_CLEAR),
    hole(
        "registers at entry",
        "c-leftovers",
        chain.leave,
        "server.context.regs[:] = server.entry_registers",
        "r, e = server.context.regs, server.entry_registers; r[:20], r[35:] = e[:20], e[35:]",
    ),
    hole(
        "floating-point registers at entry",
        "c-leftovers",
        chain.leave,
        "server.context.regs[:] = server.entry_registers",
        "server.context.regs[:36] = server.entry_registers[:36]",
    ),
    hole(
        "registers after a call",
        "c-leftovers",
        chain.pop,
        "leave(state, callee)",
        "caller.context.regs[14:36] = callee.context.regs[14:36]; leave(state, callee)",
    ),
    hole(
        "registers of the host",
        "s-leftovers",
        State.to_host,
        "self.hart.current = self.host",
        "self.host.regs[20:30] = self.hart.current.regs[20:30]; self.hart.current = self.host",
    ),
    hole(
        "registers of an enclave",
        "s-leftovers",
        run.start,
        "regs[A2] = number",
        "regs[A2] = number; regs[20:30] = state.hart.current.regs[20:30]",
    ),
    # -- enclaves
    hole(
        "an enclave's page table",
        "e-outside",
        create.map_host_pages,
        "    if params.shm_size:",
        f"    table.memory.store(table.root + 16, {_IDENTITY})\n    if params.shm_size:",
    ),
    hole(
        "not executable",
        "e-execute",
        create.map_host_pages,
        "params.kbuffer, 1, sv39.RW)",
        "params.kbuffer, 1, sv39.RW | X)",
    ),
    hole("not writable", "e-execute", loading.load, "sv39.RWX if run.writable else sv39.RX", "sv39.RWX"),
    hole("pointers", "e-pointers", PageTable.translate, "if pte & needed != needed:", "if not pte & 1:"),
    hole("what munmap may unmap", "e-pointers", *ANY_SIZE),
    hole("unknown calls", "e-privilege", Monitor._enclave_call, "elif regs[A7] == abi.LINUX_IOCTL:", "else:"),
    hole("unmapping", "e-stale-tlb", AddressSpace.remove, "self._unmap(region)", "pass"),
    hole(
        "unmapping of heap",
        "e-stale-tlb",
        AddressSpace.shrink_heap,
        "self._unmap(region)",
        "pass",
    ),
    hole(
        "unmapping of shared memory",
        "e-stale-tlb",
        secure_shm.detach,
        "enclave.space.table.unmap(attachment.va, segment.pages)",
        "pass",
    ),
    hole("where a region is split", "e-relay", relay.split, "or not va < at < va + size", ""),
    hole("which region is split", "e-relay", relay.split, "or region.size != size", ""),
    hole(
        "which region is sent",
        "e-relay",
        AddressSpace.find_relay,
        "region.va <= va and va + size <= region.end",
        "region.va <= va",
    ),
    hole(
        "who destroys shared memory",
        "e-shared",
        secure_shm.destroy,
        "or (_attachment(state, enclave, segment) is None and segment.creator != enclave.eid)",
        "",
    ),
    hole("the size of shared memory", "e-shared", secure_shm.get, "or size > segment.pages * PAGE", ""),
    # -- calls between enclaves
    hole("which ranges are passed", "c-caller-ranges", *ANY_SIZE),
    hole(
        "the struct outside the request",
        "c-caller-ranges",
        server._call,
        "start < struct_va + abi.CALL_STRUCT.size and struct_va < start + size",
        "False",
    ),
    hole("a struct that is writable", "c-caller-ranges", server._call, "struct_va, R | W)", "struct_va, R)"),
    hole(
        "only servers are called",
        "c-caller-ranges",
        server.call,
        "not callee.is_server",
        "callee.at == caller.at",
    ),
    hole("busy", "c-server-chain", server.call, "if (callee.caller", "if (False"),
    hole("servers do not exit", "c-server-chain", run.exit_enclave, "if enclave.is_server:", "if False:"),
    hole("a loan is not split", "c-server-chain", relay.split, "enclave.request == region.at", "False"),
    hole("which ranges come back", "c-server-ranges", *ANY_SIZE),
    hole(
        "a range comes back once",
        "c-server-ranges",
        server._passed,
        "region = owner.space.find(va, size)",
        "region = owner.space.find(va, size) or next(iter(owner.space.mmaps.values()), None)",
    ),
    hole(
        "the size that comes back",
        "c-struct",
        server.server_return,
        " and req_size >= request_size",
        "",
    ),
    hole(
        "unmapping from the caller",
        "c-given-away",
        PageTable.move,
        "words[source : source + count] = _NO_ENTRIES[:count]",
        "pass",
    ),
    hole(
        "unmapping of the kbuffer",
        "c-given-away",
        chain.leave,
        "words[word] = 0",
        "pass",
    ),
    hole(
        "taking back what a broken call passed",
        "c-never-returns",
        chain.unwind,
        "link.space.remove(request)",
        "link.space._unlink(request)",
    ),
    # -- what a switch of enclaves changes
    hole(
        "user mode",
        "e-privilege",
        create._entry_registers,
        "Context(U,",
        f"Context({_S},",
        sv39.make_pte,
        "return pa >> 2 | flags",
        "return pa >> 2 | flags & ~U",
        create._sound_layout,
        "pte & _REGULAR == sv39.U | R and",
        "",
        PageTable.__init__,
        "V | U if user else V",
        "V",
    ),
    hole(
        "flushes that are asked for",
        "e-stale-tlb",
        Hart.translations_changed,
        "self._stale_tlb = True",
        "pass",
    ),
    hole(
        "the flush when relay pages go back",
        "e-stale-tlb",
        AddressSpace._unmap,
        "self.changed()",
        "pass",
    ),
    hole(
        "the flush of a call: an ASID for each, and a flush when only the root changes",
        "c-given-away",
        Records.next_asid,
        "if once.free_asids:",
        "return 1\n    if once.free_asids:",
        AddressSpace.move_to,
        "self.changed()",
        "pass",
        Hart._load,
        "if (self._stale_tlb or changed) and",
        "if self._stale_tlb and",
    ),
    hole(
        "whose kbuffer a server sees",
        "c-given-away",
        chain.push,
        "= top.kbuffer_entry",
        "= next((e for e in state.enclaves.values() if e.state == CALLING), top).kbuffer_entry",
    ),
    hole(
        "forgetting code that a report wrote over",
        "c-stale-code",
        Memory.write,
        "self.on_code_changed(pa, size)",
        "pass",
    ),
    hole(
        "forgetting code that the results of a call wrote over",
        "c-stale-code",
        Memory.opened,
        "self.on_code_changed(pa, size)",
        "pass",
    ),
]
