"""Holes in what keeps a hostile host out: PMP, its page tables, TVM, the TLB, and checks of its calls."""

from pltvm.engine.hart import Hart
from pltvm.engine.memory import Memory
from pltvm.engine.page_table import PageTable
from pltvm.host.supervisor import Supervisor
from pltvm.monitor import attest, boot, create, relay, run, shadow
from pltvm.monitor.guard import HostTables
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.state import State
from tests.holes import hole

# Edits that serve in more than one hole.
NO_PMP_0 = (boot.entries, "{**found, ", "{**{number: one for number, one in found.items() if number != 0}, ")
NO_PMP_1 = (boot.entries, "{**found, ", "{**{number: one for number, one in found.items() if number != 1}, ")
NO_PMP_2 = (boot.entries, "{**found, ", "{**{number: one for number, one in found.items() if number != 2}, ")
WRITABLE_TABLES = (HostTables._read_only_tables, "return pte & ~(W | X) | R", "return pte")
NO_FLUSH = (Hart.translations_changed, "self._stale_tlb = True", "pass")

HOST_HOLES = [
    # -- PMP, the host's page tables, TVM, the TLB
    hole("PMP entry 0", "s-protected", *NO_PMP_0),
    hole("PMP entry 0", "s-remap-protected", *NO_PMP_0),
    hole(
        "PMP entry 1 and the read-only mapping",
        "s-protected",
        *NO_PMP_1,
        *WRITABLE_TABLES,
    ),
    hole("the read-only mapping alone", "s-remap-protected", *WRITABLE_TABLES),
    hole("PMP entry 2", "s-protected", *NO_PMP_2),
    hole("the bitmap check", "s-remap-private", HostTables._may_map, "covered or", "True or"),
    hole(
        "hiding of what becomes private", "s-private", PageOwners.claim, "self.on_private(pa, pages)", "pass"
    ),
    hole("clearing of V", "s-private", HostTables._hide, "~V, 0", "~0, 0"),
    hole("huge pages", "s-huge-pages", HostTables._acceptable, "level == LEAVES and", ""),
    hole("reserved bits", "s-huge-pages", HostTables._acceptable, "or pte & _RESERVED", ""),
    hole("levels of tables", "s-own-tables", HostTables._acceptable, "level < LEAVES and", "True or"),
    hole("init only once", "s-own-tables", boot.init, "state.tables is not None or", ""),
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
    hole("flushes that are asked for", "s-stale-tlb", *NO_FLUSH),
    hole("the flush of set PTE", "s-stale-tlb", HostTables.set_pte, "self._changed()", "pass"),
    hole(
        "the flush when pages become private", "s-stale-tlb", HostTables._set_bits, "self._changed()", "pass"
    ),
    hole(
        "whose wish makes a page writable",
        "s-wish",
        PageTable.flip,
        "not self._wants_both(pte_address(pte))",
        "not pte & 0x100",
    ),
    hole("whose privilege it is", "s-user", Hart._on_trap, "if context.privileged:", "if False:"),
    hole("forgetting code that is gone", "s-stale-code", Memory.executable, "self.code[first] = 1", "pass"),
    hole(
        "forgetting code that a call wrote over",
        "s-stale-code",
        Memory.write,
        "self.on_code_changed(pa, size)",
        "pass",
    ),
    # -- create
    hole(
        "the overlap check",
        "s-forged-create",
        create.parameters_are_sound,
        "not shapes or not owners.is_free(params.paddr, size // PAGE)",
        "not shapes",
    ),
    hole(
        "the check of what is outside the block",
        "s-forged-create",
        create.parameters_are_sound,
        "return aligned and all(",
        "return aligned and True or all(",
    ),
    hole(
        "alignment of the block",
        "s-forged-create",
        create.parameters_are_sound,
        "and not params.paddr % size",
        "",
    ),
    hole("names of servers", "s-forged-create", create.create_as, "or state.server(name) is not None", ""),
    hole(
        "the entry check",
        "s-forged-create",
        create._sound_layout,
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
        create._sound_layout,
        "page_is_ours = ",
        "page_is_ours = True or ",
    ),
    hole(
        "the layout: which flags",
        "s-forged-layout",
        create._sound_layout,
        "regular = ",
        "regular = True or ",
    ),
    hole(
        "the layout: which addresses",
        "s-forged-layout",
        create._sound_layout,
        "in_place = ",
        "in_place = True or ",
    ),
    hole(
        "the layout: huge pages",
        "s-forged-layout",
        create._sound_layout,
        " or level < sv39.LAST_LEVEL",
        "",
    ),
    hole("the layout: tables in use", "s-forged-layout", create._sound_layout, "page in used or", ""),
    hole(
        "the layout: the spare page",
        "s-forged-layout",
        create._sound_layout,
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
        "not state.owners.is_free(pa, pages) or",
        "",
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
    hole("run only once", "s-forged-calls", run.run, "or enclave.state != EnclaveState.FRESH", ""),
    hole("servers are not stopped", "s-forged-calls", run.stop, "or enclave.is_server", ""),
    hole("reclaim only what is idle", "s-forged-calls", relay.reclaim, "and at not in idle", "and False"),
    hole(
        "relay pages apart", "s-forged-shadow", shadow._relay_is_apart, "return all(", "return True or all("
    ),
    hole(
        "the size of an instance",
        "s-forged-shadow",
        shadow.run,
        "params.size < _pages_needed(template, copies, params, pages.pages) * PAGE",
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
    hole("an answer must be to the ocall", "s-iago", run.resume, "or number != enclave.waiting_for", ""),
    hole("an answer must come", "s-iago", run.resume, "or enclave.state not in _GOES_ON", ""),
]
