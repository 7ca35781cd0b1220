"""Deliberate holes: each takes one check, flush or clearing out, and names the attack that then succeeds.

A hole is an edit of a function's source: the text must be there once, so that a hole can not silently go
stale. The code is swapped inside the function, so tables that refer to it have the hole too.
"""

import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from pltvm.engine.hart import Hart
from pltvm.engine.sv39 import PageTable
from pltvm.host import loading
from pltvm.host.supervisor import Supervisor
from pltvm.monitor import attest, lifecycle, ocall, relay, secure_shm, server, shadow
from pltvm.monitor.guard import HostTables
from pltvm.monitor.monitor import Monitor
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.state import State


class Edit(NamedTuple):
    """In the source of `function`, `old` becomes `new`."""

    function: Callable[..., Any]
    old: str
    new: str


class Hole(NamedTuple):
    """What is taken out, in words, the attack that succeeds then, and the edits."""

    what: str
    attack: str
    edits: tuple[Edit, ...]


def make(patch: pytest.MonkeyPatch, edit: Edit) -> None:
    """Make one edit, until the test ends."""
    function = edit.function
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(edit.old) == 1, f"{function.__qualname__}: {edit.old!r} is not there once"
    code = compile(source.replace(edit.old, edit.new), f"<hole in {function.__qualname__}>", "exec")
    names: dict[str, Any] = {}
    exec(code, function.__globals__, names)
    patch.setattr(function, "__code__", names[function.__name__].__code__)


def hole(what: str, attack: str, *edits: Any) -> Hole:
    """A hole of edits given one after the other: function, old, new, function, …"""
    triples = zip(edits[::3], edits[1::3], edits[2::3], strict=True)
    return Hole(what, attack, tuple(Edit(*triple) for triple in triples))


# Edits that serve in more than one hole.
NO_PMP_0 = (Monitor._init, "0: pmp.Entry(*regions[0], pmp.NO_ACCESS),", "")
WRITABLE_TABLES = (HostTables._read_only_tables, "return pte & ~(W | X) | R", "return pte")
NO_CLEARING = (State.clear, "self.memory.zero(pa, pages * PAGE)", "pass")
NOT_CLEAR = (ocall._take, "state.memory.zero(mapping.block, mapping.block_pages * PAGE)", "pass")
ANY_SIZE = (AddressSpace.find, "mapping is None or va + size > mapping.va + mapping.size", "mapping is None")
NO_FLUSH = (Hart.translations_changed, "self._stale_tlb = True", "pass")
_IDENTITY = "0x8000_0000 >> 2 | 0xDF"  # a huge page: all of RAM at its own address, for user mode

HOLES = [
    # -- PMP, the host's page tables, TVM, the TLB
    hole("PMP entry 0", "s-protected", *NO_PMP_0),
    hole("PMP entry 0", "s-remap-protected", *NO_PMP_0),
    hole(
        "PMP entry 1 and the read-only mapping",
        "s-protected",
        Monitor._init,
        "1: pmp.Entry(*regions[1], pmp.READ_ONLY),",
        "",
        *WRITABLE_TABLES,
    ),
    hole("the read-only mapping alone", "s-remap-protected", *WRITABLE_TABLES),
    hole("PMP entry 2", "s-protected", Monitor._init, "2: pmp.Entry(*regions[2], pmp.NO_ACCESS),", ""),
    hole("the bitmap check", "s-remap-private", HostTables._may_map, "covered or", "True or"),
    hole(
        "hiding of what becomes private", "s-private", PageOwners.claim, "self.on_private(pa, pages)", "pass"
    ),
    hole("clearing of V", "s-private", HostTables._hide, "pte & ~V", "pte"),
    hole("huge pages", "s-huge-pages", HostTables._acceptable, "LEAVES in levels and", ""),
    hole("reserved bits", "s-huge-pages", HostTables._acceptable, "or pte & _RESERVED", ""),
    hole("levels of tables", "s-own-tables", HostTables._acceptable, "return any(", "return True or any("),
    hole("init only once", "s-own-tables", Monitor._init, "self.state.pages is not None or", ""),
    hole(
        "the satp check",
        "s-satp",
        HostTables.accepts_satp,
        "satp & _SATP_MODE == SATP_SV39 and low <= root < high",
        "satp & _SATP_MODE == SATP_SV39",
    ),
    hole(
        "the mode in satp",
        "s-satp",
        HostTables.accepts_satp,
        "satp & _SATP_MODE == SATP_SV39 and low <= root < high",
        "not satp or low <= root < high",
    ),
    hole("TVM", "s-satp", Supervisor.run, "MSTATUS_TVM", "0"),
    hole("every flush", "s-stale-tlb", *NO_FLUSH),
    hole("every flush", "e-stale-tlb", *NO_FLUSH),
    hole("the flush of set PTE", "s-stale-tlb", HostTables.set_pte, "self._changed()", "pass"),
    hole(
        "the flush when pages become private", "s-stale-tlb", HostTables._set_valid, "self._changed()", "pass"
    ),
    # -- create
    hole(
        "the overlap check",
        "s-forged-create",
        lifecycle.parameters_are_sound,
        "not shapes or not owners.is_free(params.paddr, size // PAGE)",
        "not shapes",
    ),
    hole(
        "the check of what is outside the block",
        "s-forged-create",
        lifecycle.parameters_are_sound,
        "return aligned and all(",
        "return aligned and True or all(",
    ),
    hole(
        "alignment of the block",
        "s-forged-create",
        lifecycle.parameters_are_sound,
        "and not params.paddr % size",
        "",
    ),
    hole("names of servers", "s-forged-create", lifecycle.create_as, "or name in state.servers", ""),
    hole(
        "the entry check",
        "s-forged-create",
        lifecycle._sound_layout,
        "leaves if table.translate(params.entry, X) is not None else None",
        "leaves",
    ),
    hole(
        "the check of parameters' own address",
        "s-forged-create",
        State.read_host,
        "if self.owners.is_public(pa, size)",
        "if self.memory.contains(pa, size)",
    ),
    hole(
        "the layout: whose page",
        "s-forged-layout",
        lifecycle._sound_layout,
        "page_is_ours = ",
        "page_is_ours = True or ",
    ),
    hole(
        "the layout: which flags",
        "s-forged-layout",
        lifecycle._sound_layout,
        "regular = ",
        "regular = True or ",
    ),
    hole(
        "the layout: which addresses",
        "s-forged-layout",
        lifecycle._sound_layout,
        "in_place = ",
        "in_place = True or ",
    ),
    hole(
        "the layout: huge pages",
        "s-forged-layout",
        lifecycle._sound_layout,
        "huge = not",
        "huge = False and not",
    ),
    hole("the layout: tables in use", "s-forged-layout", lifecycle._sound_layout, "page in used or", ""),
    hole(
        "the layout: the spare page",
        "s-forged-layout",
        lifecycle._sound_layout,
        "or page == first + 2 * PAGE",
        "",
    ),
    # -- the other calls of the host
    hole(
        "the source of set PTE",
        "s-forged-calls",
        HostTables._requested,
        "not self.owners.is_public(value, length)",
        "not self.memory.contains(value, length)",
    ),
    hole(
        "relay pages must be free",
        "s-forged-calls",
        relay.offer,
        "not state.owners.is_free(pa, pages)",
        "False",
    ),
    hole(
        "the report's address",
        "s-forged-calls",
        attest.attest,
        "not state.owners.is_public(report_pa, abi.REPORT.size)",
        "not state.memory.contains(report_pa, abi.REPORT.size)",
    ),
    hole(
        "records must be free memory",
        "s-forged-calls",
        PageOwners.claim,
        "if not self.is_free(pa, pages):",
        "if not pa:",
    ),
    hole("run only once", "s-forged-calls", lifecycle.run, "or enclave.state != FRESH", ""),
    hole("servers are not stopped", "s-forged-calls", lifecycle.stop, "or enclave.is_server", ""),
    hole("reclaim only what is idle", "s-forged-calls", relay.reclaim, "and at not in idle", "and False"),
    hole(
        "relay pages apart", "s-forged-shadow", shadow._relay_is_apart, "return all(", "return True or all("
    ),
    hole(
        "the size of an instance",
        "s-forged-shadow",
        shadow.run,
        "params.size < (template.copies.pages + _STACK_PAGES) * PAGE",
        "False",
    ),
    # -- answers to ocalls
    hole(
        "an answer must be free memory",
        "s-iago",
        State.is_offer,
        "shaped and self.owners.is_free(block, size // PAGE)",
        "shaped",
    ),
    hole("an answer must be aligned", "s-iago", State.is_offer, "and not block % size", ""),
    hole(
        "an answer must be to the ocall", "s-iago", lifecycle.resume, "or number != enclave.waiting_for", ""
    ),
    hole("an answer must come", "s-iago", lifecycle.resume, "or enclave.state != RUNNABLE", ""),
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
        server.call,
        "regs[:] = callee.entry_registers",
        "regs[:20], regs[35:] = callee.entry_registers[:20], callee.entry_registers[35:]",
    ),
    hole(
        "floating-point registers at entry",
        "c-leftovers",
        server.call,
        "regs[:] = callee.entry_registers",
        "regs[:36] = callee.entry_registers[:36]",
    ),
    hole(
        "registers after a call",
        "c-leftovers",
        server.server_return,
        "caller.context.regs[A0] = 0",
        "caller.context.regs[A0:36] = callee.context.regs[A0:36]; caller.context.regs[A0] = 0",
    ),
    hole(
        "registers of the host",
        "s-leftovers",
        State.leave,
        "self.hart.current = enclave.host_context",
        "self.hart.current = now = enclave.host_context; now.regs[20:30] = enclave.context.regs[20:30]",
    ),
    hole(
        "registers of an enclave",
        "s-leftovers",
        lifecycle.start,
        "regs[A2] = number",
        "regs[A2] = number; regs[20:30] = state.hart.current.regs[20:30]",
    ),
    # -- enclaves
    hole(
        "an enclave's page table",
        "e-outside",
        lifecycle.map_host_pages,
        "return True",
        f"space.memory.store(space.table.root + 16, {_IDENTITY})\n    return True",
    ),
    hole(
        "not executable",
        "e-execute",
        lifecycle.map_host_pages,
        "params.kbuffer, 1, sv39.RW)",
        "params.kbuffer, 1, sv39.RW | X)",
    ),
    hole("not writable", "e-execute", loading.load, "sv39.RWX if run.writable else sv39.RX", "sv39.RWX"),
    hole("pointers", "e-pointers", PageTable.translate, "if pte & needed != needed:", "if not pte & 1:"),
    hole("what munmap may unmap", "e-pointers", *ANY_SIZE),
    hole("unknown calls", "e-privilege", Monitor._enclave_call, "elif regs[A7] == abi.LINUX_IOCTL:", "else:"),
    hole("unmapping", "e-stale-tlb", AddressSpace.remove, "self.table.unmap(va, mapping.pages)", "pass"),
    hole(
        "unmapping of heap",
        "e-stale-tlb",
        AddressSpace.shrink_heap,
        "self.table.unmap(mapping.va, mapping.pages)",
        "pass",
    ),
    hole(
        "unmapping of shared memory",
        "e-stale-tlb",
        secure_shm.detach,
        "enclave.space.table.unmap(va, segment.pages)",
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
        "or (segment not in enclave.attached and segment.creator != enclave.eid)",
        "",
    ),
    hole("the size of shared memory", "e-shared", secure_shm.get, "or size > segment.pages * PAGE", ""),
    # -- calls between enclaves
    hole("which ranges are passed", "c-caller-ranges", *ANY_SIZE),
    hole(
        "the struct outside the request",
        "c-caller-ranges",
        server.call,
        "request is None or _overlaps(request, struct_va)",
        "request is None",
    ),
    hole("a struct that is writable", "c-caller-ranges", server.call, "struct_va, R | W)", "struct_va, R)"),
    hole("only servers are called", "c-caller-ranges", server.call, "or not callee.is_server", ""),
    hole("busy", "c-server-chain", server.call, "if callee.call is not None:", "if False:"),
    hole(
        "servers do not exit", "c-server-chain", lifecycle.exit_enclave, "if enclave.is_server:", "if False:"
    ),
    hole("a loan is not split", "c-server-chain", relay.split, "enclave.call.request is region", "False"),
    hole("which ranges come back", "c-server-ranges", *ANY_SIZE),
    hole(
        "a range comes back once",
        "c-server-ranges",
        server._passed,
        "return owner.space.find(va, size)",
        "return owner.space.find(va, size) or next(iter(owner.space.mmaps.values()), None)",
    ),
    hole("the size that comes back", "c-struct", server.server_return, "and req_size >= current.size", ""),
    hole(
        "unmapping from the caller",
        "c-given-away",
        AddressSpace.move_to,
        "self.table.unmap(old, mapping.pages)",
        "pass",
    ),
    hole(
        "unmapping of the kbuffer",
        "c-given-away",
        server.server_return,
        "state.memory.words[callee.kbuffer_word] = 0",
        "pass",
    ),
    hole(
        "taking back what a broken call passed",
        "c-never-returns",
        lifecycle.end_chain,
        "link.space.remove(call.request)",
        "link.space.remove(call.request); link.space.insert(call.request, call.request.va)",
    ),
]
