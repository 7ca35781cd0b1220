"""Faults: the enclave ends, the report says why, and nobody else notices (§3, rule "isolation by tables")."""

from pathlib import Path

import pytest

from pltvm.engine import sv39
from pltvm.engine.context import Context
from pltvm.engine.memory import PAGE
from pltvm.engine.memory import Memory as RAM
from pltvm.engine.page_table import PageTable
from pltvm.engine.trap import Cause
from pltvm.monitor import abi
from pltvm.monitor.abi import Call
from pltvm.monitor.fault import Fault, describe_owner, reason_for
from pltvm.monitor.monitor import _enclave_id
from pltvm.monitor.pages import MONITOR, PageOwners, enclave_owner, shared_owner
from tests.holes import Edit, make
from tests.monitor.rig import FILL, JUMP, NOWHERE, RAW, RECURSE, SCRATCH, STRUCT, SUM, Rig, Script, Server

SOURCE = (Path(__file__).parents[1] / "guest" / "script.c").read_text().splitlines()
NOTHING = "nothing is mapped there"


def line_of(mark: str) -> int:
    return next(number for number, text in enumerate(SOURCE, 1) if f"fault: {mark} " in text)


# -- what a fault report says ------------------------------------------------------------------------------


def test_report_of_a_load(rig: Rig) -> None:
    script = Script()
    script.print(b"before")
    script.peek(NOWHERE + 4)
    outcome = rig.run(script, name=b"victim")
    fault = outcome.fault
    assert (fault.address, fault.size, fault.owner) == (NOWHERE + 4, 8, NOTHING)
    assert fault.reason == "load from a page that is not mapped readable"
    assert fault.instruction in ("c.ld a0, 0(a0)", "ld a0, 0(a0)")
    assert fault.registers["a0"] == NOWHERE + 4
    assert fault.registers["pc"] == fault.pc
    assert fault.name == "victim"
    assert fault.chain == (f"victim (eid {fault.eid})",)
    assert fault.destroyed == (fault.eid,)
    report = outcome.result.fault
    assert report is not None
    assert f"script.c:{line_of('peek')}" in report.location
    assert "peek" in report.location
    for part in ("victim", hex(NOWHERE + 4), NOTHING, fault.instruction):
        assert part in str(report)
    assert outcome.result.status == "faulted"
    assert outcome.result.retval is None
    assert outcome.output == "before\n"


def test_report_of_a_store(rig: Rig) -> None:
    script = Script()
    script.poke(0x1000, 1)
    outcome = rig.run(script)
    fault = outcome.fault
    assert (fault.address, fault.size) == (0x1000, 8)
    assert fault.reason == "store to a page that is not mapped writable"
    assert fault.owner == f"the page belongs to enclave {fault.eid}"
    assert f"script.c:{line_of('poke')}" in outcome.result.fault.location


def test_access_across_a_page_end_names_the_part_that_is_missing(rig: Rig) -> None:
    script = Script()
    area = script.mmap(PAGE, NOWHERE)
    script.poke(area + PAGE - 4, 1)
    fault = rig.run(script).fault
    assert (fault.address, fault.size) == (NOWHERE + PAGE, 4)


UNREACHABLE = {
    "null": 0,
    "first page": 8,
    "monitor": 0x8000_0000,
    "host RAM": 0x8800_0000,
    "bitmap": 0x8020_0000,
    "heap without blocks": abi.HEAP_BASE,
    "mmap area": abi.MMAP_TOP - PAGE,
    "below the stack": abi.STACK_TOP - 16 * PAGE - 8,
    "relay area": abi.RELAY_BASE,
    "behind the kbuffer": abi.KBUFFER + PAGE,
    "not canonical": 1 << 38,
    "hole": 1 << 62,
    "last": 2**64 - 8,
}


@pytest.mark.parametrize("where", UNREACHABLE)
@pytest.mark.parametrize("store", [False, True])
def test_addresses_that_are_nobodys(rig: Rig, where: str, store: bool) -> None:
    address = UNREACHABLE[where]
    script = Script()
    _ = script.poke(address, 1) if store else script.peek(address)
    fault = rig.run(script).fault
    assert (fault.address, fault.size, fault.owner) == (address, 8, NOTHING)


def test_another_enclaves_mapping(rig: Rig) -> None:
    """The same virtual address, mapped there and not here."""
    owner = Script()
    area = owner.mmap(PAGE, NOWHERE)
    owner.poke(area, 0x5EC2E7)
    owner.give()
    server = rig.server(owner)
    caller = Script()
    caller.call(server.eid)
    caller.peek(NOWHERE)
    assert rig.run(caller).fault.address == NOWHERE
    check = Script()
    value = check.peek(NOWHERE)
    check.give(resp_val=value)
    server.load(check)
    ask = Script()
    ask.call(server.eid)
    reply = ask.peek(STRUCT + 8)
    assert rig.run(ask)[reply] == 0x5EC2E7


def test_physical_addresses_are_no_virtual_ones(rig: Rig) -> None:
    other = rig.server(Script())
    block = rig.state.enclaves[other.eid].block
    for address in (block, block + PAGE, rig.machine.memory.base):
        script = Script()
        script.poke(address, 1)
        assert rig.run(script).fault.owner == NOTHING


def test_stack_overflow(rig: Rig) -> None:
    script = Script()
    script.step(RECURSE)
    outcome = rig.run(script)
    bottom = abi.STACK_TOP - 16 * PAGE
    assert bottom - PAGE <= outcome.fault.address < bottom
    assert "recurse" in outcome.result.fault.location


def test_whom_a_page_belongs_to_in_words() -> None:
    base, first = 0x8000_0000, 0x10_0000
    memory = RAM(base, 64 * PAGE)
    owners = PageOwners(memory, base)
    pages = iter(range(base + PAGE, memory.end, PAGE))
    table = PageTable(memory, next(pages), lambda: next(pages))
    words = {
        MONITOR: "the page belongs to the monitor",
        enclave_owner(0): "the page belongs to enclave 0",
        enclave_owner(41): "the page belongs to enclave 41",
        shared_owner(3): "the page belongs to memory shared between enclaves",
    }
    for at, owner in enumerate(words):
        page = base + (32 + at) * PAGE
        table.map(first + at * PAGE, page, 1, sv39.RW)
        owners.claim(page, 1, owner)
    context = Context(table=table)
    said = [describe_owner(owners, context, first + at * PAGE + 0xFFF) for at in range(len(words))]
    assert said == list(words.values())
    table.map(first, base + 40 * PAGE, 1, sv39.RW)
    assert describe_owner(owners, context, first + 8) == "the page belongs to the host"
    for outside in (base - PAGE, memory.end):
        memory.store(table.slot(first), sv39.make_pte(outside, sv39.RW))
        assert describe_owner(owners, context, first) == "mapped outside guest RAM"
    assert describe_owner(owners, context, first - PAGE) == NOTHING
    assert describe_owner(owners, Context(), first) == NOTHING


def test_causes_in_words() -> None:
    assert reason_for(Cause.LOAD_PAGE) == "load from a page that is not mapped readable"
    assert reason_for(77) == "trap 77"


# -- jumps -------------------------------------------------------------------------------------------------

RET = 0x8082_8082_8082_8082


@pytest.mark.parametrize("where", ["heap", "mmap", "stack", "shm", "kbuffer", "relay"])
def test_data_is_not_executable(rig: Rig, where: str) -> None:
    script = Script()
    heap, area = script.sbrk(PAGE), script.mmap(PAGE)
    address = {
        "heap": heap - PAGE,
        "mmap": area,
        "stack": abi.STACK_TOP - 16 * PAGE,
        "shm": abi.SHM_BASE + 9 * PAGE,
        "kbuffer": abi.KBUFFER,
        "relay": abi.RELAY_BASE,
    }[where]
    script.poke(address, RET)
    script.step(JUMP, address)
    outcome = rig.run(script, relay=b"x")
    fault = outcome.fault
    assert fault.reason == "jump to a page that is not mapped executable"
    assert fault.pc == fault.address == (outcome[address] if not isinstance(address, int) else address)
    assert fault.instruction == "(none: the page is not executable)"


@pytest.mark.parametrize("address", [0, NOWHERE, 0x8000_0000, 1 << 38, 1 << 63, 2**64 - 2, 2**64 - PAGE])
def test_jump_to_nowhere(rig: Rig, address: int) -> None:
    script = Script()
    script.step(JUMP, address)
    fault = rig.run(script).fault
    assert (fault.address, fault.pc) == (address, address)
    assert fault.owner == NOTHING


def test_data_segments_are_executable(rig: Rig) -> None:
    """PF_W segments and .bss are mapped R W X (§1); bit 0 of a jump target is dropped by the hardware."""
    script = Script()
    scratch = script.step(SCRATCH)
    script.poke(scratch, RET)
    script.step(JUMP, scratch)
    script.step(JUMP, scratch + 3)
    script.step(FILL, scratch, 2**64 - 1, 4)
    script.step(JUMP, scratch)
    outcome = rig.run(script)
    assert (outcome.fault.reason, outcome.fault.pc) == ("illegal instruction", outcome[scratch])


# -- instructions ------------------------------------------------------------------------------------------

ILLEGAL = (
    "zero", "mhartid", "satp", "write satp", "sret", "mret", "sfence", "mstatus", "pmpaddr0", "ones",
    "write cycle", "sstatus",
)  # fmt: skip


@pytest.mark.parametrize("name", ILLEGAL)
def test_privileged_and_illegal_instructions(rig: Rig, name: str) -> None:
    script = Script()
    script.odd(name)
    outcome = rig.run(script)
    assert outcome.fault.reason == "illegal instruction"
    assert outcome.fault.address is None
    assert "odd" in outcome.result.fault.location


@pytest.mark.parametrize("name", ["ebreak", "c.ebreak"])
def test_breakpoint(rig: Rig, name: str) -> None:
    script = Script()
    script.odd(name)
    outcome = rig.run(script)
    assert (outcome.fault.reason, outcome.fault.instruction) == ("breakpoint", name)
    if name == "ebreak":
        assert f"script.c:{line_of('ebreak')}" in outcome.result.fault.location


def test_wfi_goes_on(rig: Rig) -> None:
    script = Script()
    script.odd("wfi")
    script.print(b"awake")
    outcome = rig.run(script)
    assert outcome.result.ok
    assert outcome.output == "awake\n"


# -- unknown calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a6", "a7"), [(0x100101, 29), (0x100101, 0), (0x100101, 2**64 - 1), (0x100100, 99), (0, 1), (1, 93)]
)
def test_unknown_calls_destroy(rig: Rig, a6: int, a7: int) -> None:
    script = Script()
    script.step(RAW, a6, a7, 1)
    fault = rig.run(script).fault
    assert fault.reason == f"unknown enclave call: a6 = {a6:#x}, a7 = {a7}"
    assert fault.instruction == "ecall"


@pytest.mark.parametrize(
    ("a6", "a7", "words"),
    [
        (0, 2, "an older call interface of Penglai has a6 = 0, as Linux programs may; build anew"),
        (0, 64, "an older call interface of Penglai has a6 = 0, as Linux programs may; build anew"),
        (98, 0x100101, "the PMP variant of Penglai has the two the other way round; build for Penglai-TVM"),
        (99, 0x100101, "the PMP variant of Penglai has the two the other way round; build for Penglai-TVM"),
    ],
)
def test_calls_of_other_interfaces_are_called_that(rig: Rig, a6: int, a7: int, words: str) -> None:
    script = Script()
    script.step(RAW, a6, a7, 1)
    assert rig.run(script).fault.reason == f"unknown enclave call: a6 = {a6:#x}, a7 = {a7}: {words}"


def test_ioctl_probe_returns_0(rig: Rig) -> None:
    script = Script()
    for a6 in (0, 0x100100, 2**64 - 1):
        probe = script.step(RAW, a6, 29, 1, 0x5413, 7)
    outcome = rig.run(script)
    assert outcome.result.ok
    assert outcome[probe] == 0
    assert outcome.regs[11:13] == [0x5413, 7]


# -- faults in chains --------------------------------------------------------------------------------------


class Chain:
    """top → outer → inner, where inner faults; outer holds a secret of its own."""

    def __init__(self, rig: Rig, inner_list: Script, passed: bool = True) -> None:
        self.rig = rig
        self.inner: Server = rig.server(inner_list, b"inner")
        outer = Script()
        at = outer.entry(11)
        own = outer.mmap(PAGE)
        outer.poke(own, 0x0E)
        give = {"req_vaddr": at, "req_size": PAGE} if passed else {}
        outer.call(self.inner.eid, **give)  # type: ignore[arg-type]
        outer.give()
        self.outer: Server = rig.server(outer, b"outer")
        self.bystander = rig.server(secret_keeper(), b"bystander")
        ask(rig, self.bystander, 0x5EC2E7)

    def run(self) -> tuple[int, ...]:
        top = Script()
        area = top.mmap(PAGE)
        top.poke(area, 0xAA)
        top.call(self.outer.eid, req_vaddr=area, req_size=PAGE)
        outcome = self.rig.run(top, name=b"top")
        fault = outcome.fault
        names = [text.split()[0] for text in fault.chain]
        assert names == ["top", "outer", "inner"]
        assert fault.name == "inner"
        assert not self.inner.enclave.alive
        assert self.outer.enclave.alive
        assert self.bystander.enclave.alive
        assert set(self.rig.state.enclaves) == {self.outer.eid, self.bystander.eid}
        assert ask(self.rig, self.bystander, 1) == 0x5EC2E7
        return fault.destroyed


def secret_keeper() -> Script:
    """A server that gives the argument of the call before."""
    script = Script()
    area = script.mmap(PAGE, NOWHERE)
    first = script.entry(10)
    script.poke(area, first)
    script.give()
    old = script.peek(area)
    second = script.entry(10)
    script.poke(area, second)
    script.give(resp_val=old)
    return script


def ask(rig: Rig, server: Server, argument: int) -> int:
    caller = Script()
    status = caller.call(server.eid, req_arg=argument)
    value = caller.peek(STRUCT + 8)
    outcome = rig.run(caller)
    assert outcome[status] == 0
    return outcome[value]


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("how", ["peek", "jump", "illegal", "call", "breakpoint"])
def test_fault_in_a_server_ends_it_and_the_top_caller(rig: Rig, how: str, passed: bool) -> None:
    inner = Script()
    match how:
        case "peek":
            inner.peek(NOWHERE)
        case "jump":
            inner.step(JUMP, abi.HEAP_BASE)
        case "illegal":
            inner.odd("zero")
        case "call":
            inner.step(RAW, abi.ENCLAVE_CALL, 1)
        case "breakpoint":
            inner.odd("ebreak")
    chain = Chain(rig, inner, passed)
    destroyed = chain.run()
    assert destroyed[0] == chain.inner.eid
    assert len(destroyed) == 2

    # The server in the middle is idle: it can be called again, has its own memory, and not the request.
    again = Script()
    own = again.peek(abi.MMAP_TOP - 2 * PAGE)
    again.give(resp_val=own)
    chain.outer.load(again)
    assert ask(rig, chain.outer, 0) == 0x0E
    gone = Script()
    gone.peek(abi.MMAP_TOP - PAGE)
    chain.outer.load(gone)
    caller = Script()
    caller.call(chain.outer.eid)
    assert rig.run(caller).fault.address == abi.MMAP_TOP - PAGE


def test_fault_after_the_request_was_unmapped(rig: Rig) -> None:
    """The middle server has no request any more that could be taken from it."""
    inner = rig.server(script_of("fault"), b"inner")
    outer_list = Script()
    at = outer_list.entry(11)
    outer_list.munmap(at, PAGE)
    outer_list.call(inner.eid)
    outer = rig.server(outer_list, b"outer")
    top = Script()
    area = top.mmap(PAGE)
    top.call(outer.eid, req_vaddr=area, req_size=PAGE)
    assert rig.run(top).fault.name == "inner"
    assert outer.enclave.alive
    again = Script()
    again.give(resp_val=4)
    outer.load(again)
    assert ask(rig, outer, 0) == 4


def test_fault_while_an_idle_server_has_the_request(rig: Rig) -> None:
    """The middle server gave the request to a server that kept it: it belongs to that one now."""
    keeper_list = Script()
    keeper_list.give()
    value = keeper_list.peek(abi.MMAP_TOP - PAGE)
    keeper_list.give(resp_val=value)
    keeper = rig.server(keeper_list, b"keeper")
    inner = rig.server(script_of("fault"), b"inner")
    outer_list = Script()
    at = outer_list.entry(11)
    outer_list.call(keeper.eid, req_vaddr=at, req_size=PAGE)
    outer_list.call(inner.eid)
    outer = rig.server(outer_list, b"outer")
    top = Script()
    area = top.mmap(PAGE)
    top.poke(area, 0xAA)
    top.call(outer.eid, req_vaddr=area, req_size=PAGE)
    assert rig.run(top).fault.name == "inner"
    assert outer.enclave.alive
    assert keeper.enclave.alive
    assert ask(rig, keeper, 0) == 0xAA


def script_of(what: str) -> Script:
    script = Script()
    assert what == "fault"
    script.peek(NOWHERE)
    return script


def test_request_given_away_with_a_response_still_pending(rig: Rig) -> None:
    """A relay region passed along two calls goes back to the host, cleared, when the second server faults."""
    inner = rig.server(script_of("fault"), b"inner")
    outer_list = Script()
    at = outer_list.entry(11)
    outer_list.call(inner.eid, req_vaddr=at, req_size=PAGE)
    outer = rig.server(outer_list, b"outer")
    top = Script()
    top.call(outer.eid, req_vaddr=abi.RELAY_BASE, req_size=PAGE)
    outcome = rig.run(top, relay=b"secret")
    assert outcome.fault.name == "inner"
    assert outcome.result.relay in (None, bytes(PAGE))
    assert outer.enclave.alive


def test_server_faults_in_memory_it_gave_back(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    server_list.give(req_vaddr=at, req_size=PAGE)
    server_list.peek(at)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    caller.poke(area, 1)
    caller.call(server.eid)
    fault = rig.run(caller).fault
    assert (fault.name, fault.address) == ("server", abi.MMAP_TOP - PAGE)


def test_many_faults_leave_a_bystander_alone(rig: Rig) -> None:
    keeper = rig.server(secret_keeper(), b"bystander")
    previous = 7
    ask(rig, keeper, previous)
    area_words = PAGE // 8
    for kind, address in enumerate((0, 0x1000, NOWHERE, 0x8000_0000, abi.KBUFFER + PAGE)):
        script = Script()
        own = script.mmap(PAGE, NOWHERE + PAGE)
        script.step(FILL, own, 0xFF, area_words)
        script.step(SUM, own, area_words)
        script.poke(address, 1)
        assert rig.run(script).fault.address == address
        if kind % 2:
            assert ask(rig, keeper, kind) == previous
            # The list alternates between storing and asking: store anew.
            previous = kind + 100
            ask(rig, keeper, previous)


def test_next_enclave_reuses_the_memory_and_sees_none_of_it(rig: Rig) -> None:
    dirty = Script()
    scratch = dirty.step(SCRATCH)
    dirty.step(FILL, scratch, 0x5EC2E7, 1024)
    dirty.step(FILL, abi.STACK_TOP - 16 * PAGE, 0x5EC2E7, 1024)
    area = dirty.mmap(PAGE)
    dirty.step(FILL, area, 0x5EC2E7, PAGE // 8)
    dirty.peek(0)
    rig.run(dirty)
    free = rig.machine.kernel.blocks.take(1024)
    assert not any(rig.machine.memory.read(free, 1024 * PAGE))
    rig.machine.kernel.blocks.give(free)
    clean = Script()
    scratch = clean.step(SCRATCH)
    sums = [clean.step(SUM, at, 1024) for at in (scratch, abi.STACK_TOP - 16 * PAGE)]
    outcome = rig.run(clean)
    assert [outcome[ref] for ref in sums] == [0, 0]


def test_return_refused_then_fault_by_sdk(rig: Rig) -> None:
    """`server_return` of the SDK stops on a breakpoint when the monitor refuses."""
    script = Script()
    result = script.ecall(Call.RETURN, STRUCT)
    assert rig.run(script)[result] == 2**64 - 1


# -- errors of ours ----------------------------------------------------------------------------------------


@pytest.mark.python
def test_an_error_of_ours_ends_the_enclave_and_nobody_else(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should one escape while an enclave is served: it ends, with a report, and is counted as a bug."""
    other = rig.enclave(Script())
    script = Script()
    script.enclave_id()
    with monkeypatch.context() as patch:
        make(patch, Edit(_enclave_id, "return enclave.eid", "return (enclave.eid).to_bytes(0)[0]"))
        outcome = rig.run(script, name=b"victim")
    assert outcome.result.status == "faulted"
    assert "error in pltvm, please report it: OverflowError" in outcome.fault.reason
    assert len(rig.machine.monitor.errors) == 1
    rig.machine.monitor.errors.clear()
    assert other.run().ok


@pytest.mark.python
def test_an_error_of_ours_in_a_server_ends_its_chain(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Script()
    inside.enclave_id()
    server = rig.server(inside)
    caller = Script()
    caller.call(caller.acquire(b"server"))
    with monkeypatch.context() as patch:
        make(patch, Edit(_enclave_id, "return enclave.eid", "return [][0]"))
        outcome = rig.run(caller)
    assert "error in pltvm, please report it: IndexError" in outcome.fault.reason
    assert set(outcome.fault.destroyed) == {server.eid, outcome.fault.destroyed[1]}
    rig.machine.monitor.errors.clear()


def test_an_error_in_a_callback_is_the_callers(rig: Rig) -> None:
    script = Script()
    script.print(b"text")

    def fails(_text: bytes) -> None:
        raise ValueError("mine")

    enclave = rig.enclave(script)
    with pytest.raises(ValueError, match="mine"):
        enclave.run(on_output=fails)
    assert not rig.machine.monitor.errors
    enclave.destroy()


def test_nobody_runs_when_a_fault_is_told(rig: Rig) -> None:
    """Who asks then finds nothing in the record of the enclave that has ended, which another gets next."""
    monitor, told = rig.machine.monitor, []
    tell = monitor.on_fault

    def listen(fault: Fault) -> None:
        told.append(rig.state.running)
        tell(fault)

    monitor.set_fault_listener(listen)
    bad, answering, caller = Script(), Script(), Script()
    bad.peek(NOWHERE)
    answering.give()
    assert rig.run(bad).result.status == "faulted"
    assert told == [None]
    done = caller.call(rig.server(answering).eid)
    assert rig.run(caller)[done] == 0
