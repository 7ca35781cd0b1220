"""The monitor against a hostile host: every wrong parameter is refused and leaves no trace (§8, rule 2)."""

from collections.abc import Callable
from typing import Any

import pytest

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import RW, RX, make_pte
from pltvm.monitor import abi
from pltvm.monitor.abi import CreateParams, HostCall, Ocall, Report, ResumeReason, RunParams, Status
from tests import independent_measure
from tests.model.whole import Whole
from tests.monitor.rig import STRUCT, Rig, Script, while_host_has_control

BLOCK_PAGES = 512


def snapshot(rig: Rig) -> Whole:
    """What a refused call must leave as it was: all of RAM and of the monitor's state."""
    return Whole(rig.machine)


class Forge:
    """Builds an enclave by hand: a block with tables, code that exits, a stack; then parameters for it."""

    def __init__(self, rig: Rig, block: int | None = None) -> None:
        self.rig = rig
        self.memory = rig.machine.memory
        blocks = rig.machine.kernel.blocks
        self.block = blocks.take(BLOCK_PAGES) if block is None else block
        self.page, self.kbuffer, self.shm = blocks.take(1), blocks.take(1), blocks.take(4)
        self.free = self.block + 3 * PAGE
        self.table = PageTable(self.memory, self.block + PAGE, self.take)
        self.code = self.take()
        # li a7, 99; lui a6, 0x100; addi a6, a6, 0x101; ecall
        for index, word in enumerate((0x06300893, 0x00100837, 0x10180813, 0x00000073)):
            self.memory.write(self.code + 4 * index, word.to_bytes(4, "little"))
        self.table.map(0x1000, self.code, 1, RX)
        self.stack = self.take()
        self.table.map(abi.STACK_TOP - PAGE, self.stack, 1, RW)

    def take(self) -> int:
        page, self.free = self.free, self.free + PAGE
        return page

    def params(self, **changes: Any) -> CreateParams:
        page = self.page + 256
        good = CreateParams(
            page + 40, b"forged", 0, self.block, BLOCK_PAGES * PAGE, 0x1000, self.free, self.kbuffer, PAGE,
            self.shm, 2 * PAGE, page, page + 8, page + 16, page + 24, page + 32,
        )  # fmt: skip
        return good._replace(**changes)

    def create(self, call: HostCall = HostCall.CREATE, at: int | None = None, **changes: Any) -> int | None:
        at = self.page if at is None else at
        if self.memory.contains(at, 256):
            self.memory.write(at, abi.CREATE_PARAMS.pack(*self.params(**changes)))
        before = snapshot(self.rig)
        status = self.rig.machine.monitor.call(call, at)
        assert status == Status.OK or before.changes() == []
        return status

    @property
    def eid(self) -> int:
        return int.from_bytes(self.memory.read(self.page + 256 + 40, 4), "little")

    def run(self) -> int:
        """Run the enclave that was created to its end; what it returned."""
        monitor = self.rig.machine.monitor
        self.memory.write(self.page, abi.RUN_PARAMS.pack(0, 0))
        assert monitor.call(HostCall.RUN, self.eid, self.page) is None
        assert monitor.run_guest() == Status.OK
        return self.memory.load(self.page + 256 + 32)


@pytest.fixture
def forge(rig: Rig) -> Forge:
    """A forged enclave in a machine that has a server; what it takes is lost to the kernel."""
    rig.server(Script())
    before = rig.free_pages
    forge = Forge(rig)
    rig.leak = before - rig.free_pages
    return forge


def test_forged_enclave_is_good_as_it_is(forge: Forge, rig: Rig) -> None:
    """Else the refusals below would mean nothing."""
    assert forge.create() == Status.OK
    rig.check()
    assert forge.run() == abi.SHM_BASE, "it returns a0 as it was at entry"


def test_what_was_loaded_and_what_the_host_shares_is_measured(forge: Forge, rig: Rig) -> None:
    """As it is at creation, in the order of the tables; what the enclave writes later does not count."""
    memory = forge.memory
    memory.write(forge.shm, b"shared")
    memory.write(forge.shm + PAGE, b"and more")
    loaded = {0x1000: forge.code, abi.STACK_TOP - PAGE: forge.stack, abi.KBUFFER: forge.kbuffer}
    loaded |= {abi.SHM_BASE + at: forge.shm + at for at in (0, PAGE)}
    pages = {va: memory.read(pa, PAGE) for va, pa in loaded.items()}
    measured = independent_measure.digest(independent_measure.message(0x1000, pages, 0))
    assert forge.create() == Status.OK
    memory.write(forge.shm, b"changed")
    monitor = rig.machine.monitor
    assert monitor.measurement(forge.eid) == measured
    assert monitor.call(HostCall.ATTEST, forge.eid, forge.page, 5) == Status.OK
    report = Report(*abi.REPORT.unpack(memory.read(forge.page, abi.REPORT.size)))
    assert report.hash == independent_measure.report_hash(measured, 5)


Change = Callable[[Forge], dict[str, Any]]


def _bad_addresses(forge: Forge) -> dict[str, int]:
    machine = forge.rig.machine
    server = next(iter(forge.rig.state.enclaves.values()))
    return {
        "monitor": machine.memory.base,
        "pt area": machine.kernel.pt_area,
        "bitmap": machine.kernel.bitmap,
        "enclave": server.block,
        "own block": forge.block,
        "end of own block": forge.block + (BLOCK_PAGES - 1) * PAGE,
        "null": 0,
        "below RAM": machine.memory.base - PAGE,
        "behind RAM": machine.memory.end,
        "huge": 2**64 - PAGE,
    }


PLACES = (
    "monitor", "pt area", "bitmap", "enclave", "own block", "end of own block", "null", "below RAM",
    "behind RAM", "huge",
)  # fmt: skip
POINTERS = ("eid_pointer", "kbuffer", "shm_paddr", "ocall", "arg0", "arg1", "syscall", "retval")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("field", POINTERS)
def test_pointers_into_what_is_not_the_hosts(forge: Forge, rig: Rig, field: str, place: str) -> None:
    assert forge.create(**{field: _bad_addresses(forge)[place]}) == Status.ERROR


@pytest.mark.parametrize("place", [place for place in PLACES if "own" not in place])
def test_block_or_parameters_that_are_not_the_hosts(forge: Forge, rig: Rig, place: str) -> None:
    address = _bad_addresses(forge)[place]
    free = address + PAGE * 8
    assert forge.create(paddr=address, free_mem=free % 2**64) == Status.ERROR
    assert forge.rig.machine.monitor.call(HostCall.CREATE, address) == Status.ERROR


def _holds_page(name: str) -> Change:
    """A block around a page that an enclave uses and the host owns."""

    def change(forge: Forge) -> dict[str, Any]:
        server = next(iter(forge.rig.state.enclaves.values()))
        page = {"kbuffer": server.kbuffer, "shm": server.shm_pa, "mailbox": server.ocall}[name]
        block = page & ~(8 * PAGE - 1)
        return {"paddr": block, "size": 8 * PAGE, "free_mem": block + 8 * PAGE}

    return change


BAD_SHAPES: dict[str, Change] = {
    "unaligned block": lambda f: {"paddr": f.block + PAGE},
    "block at a byte": lambda f: {"paddr": f.block + 8},
    "size not a power of two": lambda f: {"size": (BLOCK_PAGES - 1) * PAGE},
    "size zero": lambda _: {"size": 0},
    "size of a page": lambda _: {"size": PAGE},
    "size of bytes": lambda _: {"size": 8},
    "size huge": lambda _: {"size": 1 << 63},
    "block too big": lambda f: {
        "size": 2 * BLOCK_PAGES * PAGE,
        "paddr": f.block & ~(2 * BLOCK_PAGES * PAGE - 1),
    },
    "around a kbuffer": _holds_page("kbuffer"),
    "around shared memory": _holds_page("shm"),
    "around a mailbox": _holds_page("mailbox"),
    "entry 0": lambda _: {"entry": 0},
    "entry not mapped": lambda _: {"entry": 0x9000},
    "entry on the stack": lambda _: {"entry": abi.STACK_TOP - PAGE},
    "entry in the kbuffer": lambda _: {"entry": abi.KBUFFER},
    "entry not canonical": lambda _: {"entry": 1 << 40 | 0x1000},
    "free memory at the start": lambda f: {"free_mem": f.block},
    "free memory at the root": lambda f: {"free_mem": f.block + PAGE},
    "free memory with tables in it": lambda f: {"free_mem": f.block + 4 * PAGE},
    "free memory with a leaf in it": lambda f: {"free_mem": f.free - PAGE},
    "free memory behind": lambda f: {"free_mem": f.block + (BLOCK_PAGES + 1) * PAGE},
    "free memory before": lambda f: {"free_mem": f.block - PAGE},
    "free memory unaligned": lambda f: {"free_mem": f.free + 8},
    "no page left for tables": lambda f: {"free_mem": f.block + BLOCK_PAGES * PAGE},
    "kbuffer of two pages": lambda _: {"kbuffer_size": 2 * PAGE},
    "kbuffer of none": lambda _: {"kbuffer_size": 0},
    "kbuffer unaligned": lambda f: {"kbuffer": f.kbuffer + 8},
    "shm unaligned": lambda f: {"shm_paddr": f.shm + 8},
    "shm of bytes": lambda _: {"shm_size": 8},
    "shm huge": lambda _: {"shm_size": 1 << 40},
    "shm wraps": lambda _: {"shm_size": 2**64 - PAGE},
    "shm reaches the own block": lambda f: {"shm_paddr": f.block - PAGE},
    "mailbox unaligned": lambda f: {"ocall": f.page + 257},
    "retval unaligned": lambda f: {"retval": f.page + 257},
}


@pytest.mark.parametrize("shape", BAD_SHAPES)
def test_wrong_shapes(forge: Forge, rig: Rig, shape: str) -> None:
    assert forge.create(**BAD_SHAPES[shape](forge)) == Status.ERROR
    assert forge.create() == Status.OK, "the refusal left nothing that is in the way"


def _map(va: int, pa: Callable[[Forge], int], flags: int = RW) -> Callable[[Forge], None]:
    def change(forge: Forge) -> None:
        forge.table.make_tables(va, 1)
        forge.memory.store(forge.table.slot(va), make_pte(pa(forge), flags))

    return change


def _root_entry(index: int, pte: Callable[[Forge], int]) -> Callable[[Forge], None]:
    def change(forge: Forge) -> None:
        forge.memory.store(forge.block + PAGE + 8 * index, pte(forge))

    return change


def _middle_of(forge: Forge) -> int:
    return sv39.pte_address(forge.memory.load(forge.block + PAGE))


BAD_TABLES: dict[str, Callable[[Forge], None]] = {
    "leaf before the block": _map(0x3000, lambda f: f.block - PAGE),
    "leaf behind the block": _map(0x3000, lambda f: f.block + BLOCK_PAGES * PAGE),
    "leaf in free memory": _map(0x3000, lambda f: f.block + (BLOCK_PAGES - 1) * PAGE),
    "leaf on the monitor": _map(0x3000, lambda f: f.memory.base),
    "leaf on an enclave": _map(0x3000, lambda f: next(iter(f.rig.state.enclaves.values())).block + 3 * PAGE),
    "leaf outside RAM": _map(0x3000, lambda _: 0x1000_0000),
    "leaf far outside": _map(0x3000, lambda _: 1 << 55),
    "leaf on the monitor's page": _map(0x3000, lambda f: f.block),
    "leaf on the root": _map(0x3000, lambda f: f.block + PAGE),
    "leaf on the spare page": _map(0x3000, lambda f: f.block + 2 * PAGE),
    "leaf on a middle table": _map(0x3000, _middle_of),
    "leaf on a leaf table": _map(0x3000, lambda f: f.table.slot(0x1000) & ~(PAGE - 1)),
    "page twice": _map(0x3000, lambda f: f.code),
    "page twice far away": _map(abi.STACK_TOP - 2 * PAGE, lambda f: f.code),
    "in the heap": _map(abi.HEAP_BASE, lambda f: f.take()),
    "in the mmap area": _map(abi.MMAP_TOP - PAGE, lambda f: f.take()),
    "in the relay area": _map(abi.RELAY_BASE, lambda f: f.take()),
    "in shared memory": _map(abi.SHM_BASE, lambda f: f.take()),
    "at the kbuffer": _map(abi.KBUFFER, lambda f: f.take()),
    "high half": _map(0xFFFF_FFC0_0000_0000, lambda f: f.take()),
    "not for user mode": _map(0x3000, lambda f: f.take(), RW & ~sv39.U),
    "write only": _map(0x3000, lambda f: f.take(), RW & ~sv39.R),
    "global": _map(0x3000, lambda f: f.take(), RW | sv39.G),
    "reserved bits": _map(0x3000, lambda f: f.take(), RW | 1 << 60),
    "the lowest reserved bit": _map(0x3000, lambda f: f.take(), RW | 1 << 54),
    "valid without rights": _map(0x3000, lambda f: f.take(), sv39.V),
    "gigabyte page": _root_entry(5, lambda f: make_pte(f.block, RW)),
    "gigabyte page of RAM": _root_entry(2, lambda _: make_pte(0x8000_0000, RW)),
    "megabyte page": lambda f: f.memory.store(_middle_of(f) + 8 * 7, make_pte(f.block, RW)),
    "table outside the block": _root_entry(6, lambda f: make_pte(f.block - PAGE, sv39.V)),
    "table in the monitor": _root_entry(6, lambda f: make_pte(f.memory.base, sv39.V)),
    "table outside RAM": _root_entry(6, lambda _: make_pte(1 << 50, sv39.V)),
    "table in free memory": _root_entry(6, lambda f: make_pte(f.block + 500 * PAGE, sv39.V)),
    "table on the spare page": _root_entry(6, lambda f: make_pte(f.block + 2 * PAGE, sv39.V)),
    "root as its own table": _root_entry(6, lambda f: make_pte(f.block + PAGE, sv39.V)),
    "table twice": _root_entry(6, lambda f: make_pte(_middle_of(f), sv39.V)),
    "table on a leaf": _root_entry(6, lambda f: make_pte(f.code, sv39.V)),
    "code not executable": lambda f: f.table.map(0x1000, f.code, 1, RW),
    "no code": lambda f: f.table.unmap(0x1000, 1),
}


@pytest.mark.parametrize("table", BAD_TABLES)
def test_wrong_tables(forge: Forge, rig: Rig, table: str) -> None:
    BAD_TABLES[table](forge)
    assert forge.create() == Status.ERROR


def test_entry_0_is_refused_even_where_there_is_code(forge: Forge, rig: Rig) -> None:
    forge.table.map(0, forge.take(), 1, RX)
    assert forge.create(entry=0) == Status.ERROR
    assert forge.create() == Status.OK


def test_an_odd_entry_is_the_even_one(forge: Forge, rig: Rig) -> None:
    """As `mret` does it: bit 0 of mepc is always 0."""
    assert forge.create(entry=0x1001) == Status.OK
    forge.run()


def test_without_shared_memory_an_enclave_is_told_of_none(forge: Forge, rig: Rig) -> None:
    assert forge.create(shm_paddr=0, shm_size=0) == Status.OK
    assert forge.run() == 0


def test_what_the_host_keeps_may_lie_right_at_the_block(rig: Rig) -> None:
    rig.server(Script())
    before = rig.free_pages
    area = rig.machine.kernel.blocks.take(4 * BLOCK_PAGES)
    start, end = area + BLOCK_PAGES * PAGE, area + 2 * BLOCK_PAGES * PAGE
    for fields in (
        {"kbuffer": end}, {"kbuffer": start - PAGE}, {"shm_paddr": end}, {"shm_paddr": start - 2 * PAGE},
        *({field: end} for field in ("ocall", "arg0", "arg1", "syscall", "retval", "eid_pointer")),
        *({field: start - 8} for field in ("ocall", "arg0", "arg1", "syscall", "retval")),
        {"eid_pointer": start - 4},
    ):  # fmt: skip
        forge = Forge(rig, start)
        rig.leak = before - rig.free_pages
        assert forge.create(**fields) == Status.OK, fields
        where = fields.get("eid_pointer", forge.page + 256 + 40)
        eid = int.from_bytes(forge.memory.read(where, 4), "little")
        assert rig.machine.monitor.call(HostCall.DESTROY, eid) == Status.OK
        rig.check()


@pytest.mark.parametrize(("shm_pages", "needed"), [(0, 2), (2, 4)])
def test_there_is_room_for_the_tables_of_what_the_host_shares(
    forge: Forge, rig: Rig, shm_pages: int, needed: int
) -> None:
    """A middle and a leaf table for the kbuffer, and as many for shared memory."""
    for left in range(needed):
        free = forge.block + (BLOCK_PAGES - left) * PAGE
        assert forge.create(free_mem=free, shm_size=shm_pages * PAGE) == Status.ERROR
    assert forge.create(free_mem=free - PAGE, shm_size=shm_pages * PAGE) == Status.OK


def test_a_template_has_neither_stack_nor_shared_memory(forge: Forge, rig: Rig) -> None:
    """And it may be as full as can be: nothing more is mapped in it."""
    shadow: dict[str, Any] = {"type": 2, "free_mem": forge.block + BLOCK_PAGES * PAGE}
    assert forge.create(HostCall.CREATE_SHADOW, **shadow, shm_size=0) == Status.ERROR
    for va in (abi.STACK_TOP - abi.DEFAULT_STACK, abi.STACK_TOP - PAGE):
        forge.table.unmap(abi.STACK_TOP - abi.DEFAULT_STACK, abi.DEFAULT_STACK // PAGE)
        forge.table.map(va, forge.stack, 1, RW)
        assert forge.create(HostCall.CREATE_SHADOW, **shadow, shm_size=0) == Status.ERROR
    forge.table.unmap(abi.STACK_TOP - PAGE, 1)
    assert forge.create(HostCall.CREATE_SHADOW, **shadow) == Status.ERROR
    assert forge.create(HostCall.CREATE_SHADOW, **shadow, shm_size=0) == Status.OK
    rig.check()
    assert rig.machine.monitor.call(HostCall.DESTROY_SHADOW, forge.eid) == Status.OK


def test_names_of_servers(forge: Forge, rig: Rig) -> None:
    for name in (b"server", b"server\0tail", b""):
        assert forge.create(HostCall.CREATE_SERVER, name=name, type=1) == Status.ERROR
    assert forge.create(HostCall.CREATE_SERVER, name=b"0123456789abcdef", type=1) == Status.OK
    caller = Script()
    handle = caller.acquire(b"0123456789abcdef")
    assert rig.run(caller)[handle] == forge.eid
    assert rig.machine.monitor.call(HostCall.DESTROY_SERVER, forge.eid) == Status.OK


def test_unknown_calls_and_enclaves(rig: Rig) -> None:
    script = Script()
    fresh = rig.enclave(script)
    call = rig.machine.monitor.call
    before = snapshot(rig)
    page = rig.machine.kernel.blocks.take(1)
    assert {call(number) for number in (0, 1, 77, 255, 2**64 - 1)} == {Status.ERROR}
    for eid in (999, 2**64 - 1, 1 << 32):
        assert call(HostCall.RUN, eid, page) == Status.ERROR
        assert call(HostCall.STOP, eid) == Status.ERROR
        assert call(HostCall.RESUME, eid, ResumeReason.TIMER) == Status.ERROR
        assert call(HostCall.DESTROY, eid) == Status.ERROR
        assert call(HostCall.DESTROY_SERVER, eid) == Status.ERROR
    for pa in (0, rig.machine.memory.base, rig.machine.memory.end, 2**64 - 1):
        assert call(HostCall.RUN, fresh.eid, pa) == Status.ERROR
    for reason in (*ResumeReason, 3, 2**64 - 1):
        assert call(HostCall.RESUME, fresh.eid, reason) == Status.ERROR
    assert call(HostCall.STOP, fresh.eid) == Status.ERROR, "it has not been started"
    assert call(HostCall.INIT, 0, 0, 0, 0) == Status.ERROR, "only once"
    rig.machine.kernel.blocks.give(page)
    assert before.changes() == []


def test_relay_parameters(rig: Rig) -> None:
    machine = rig.machine
    enclave = rig.enclave(Script())
    other = rig.state.enclaves[rig.server(Script()).eid]
    page = machine.kernel.blocks.take(1)
    free = machine.kernel.blocks.take(2)
    for pa, size in (
        (machine.memory.base, PAGE),
        (machine.kernel.pt_area, PAGE),
        (other.block, PAGE),
        (other.kbuffer, PAGE),
        (other.shm_pa, PAGE),
        (free + 8, PAGE),
        (free, 8),
        (free, PAGE + 1),
        (free, 1 << 40),
        (free, 2**64 - PAGE),
        (machine.memory.end - PAGE, 2 * PAGE),
        (0, PAGE),
    ):
        machine.memory.write(page, abi.RUN_PARAMS.pack(*RunParams(pa, size)))
        before = snapshot(rig)
        assert machine.monitor.call(HostCall.RUN, enclave.eid, page) == Status.ERROR
        assert before.changes() == []
    for block in (page, free):
        machine.kernel.blocks.give(block)
    assert enclave.run().ok


def test_a_server_is_neither_run_nor_stopped_nor_resumed_by_the_host(rig: Rig) -> None:
    """It is runnable from its creation, but nobody called it."""
    server = rig.server(Script())
    call = rig.machine.monitor.call
    page = rig.machine.kernel.blocks.take(1)
    rig.machine.memory.write(page, abi.RUN_PARAMS.pack(0, 0))
    before = snapshot(rig)
    for reason in ResumeReason:
        assert call(HostCall.RESUME, server.eid, reason) == Status.ERROR
    assert call(HostCall.STOP, server.eid) == Status.ERROR
    assert call(HostCall.RUN, server.eid, page) == Status.ERROR
    assert before.changes() == []
    rig.machine.kernel.blocks.give(page)


def test_run_and_destroy_twice(rig: Rig) -> None:
    machine = rig.machine
    script = Script()
    script.print(b"x")
    enclave = rig.enclave(script)
    tries: list[int | None] = []
    page = machine.driver.enclaves[next(iter(machine.driver.enclaves))].page

    def act(_status: int) -> None:
        tries.append(machine.monitor.call(HostCall.RUN, enclave.eid, page))

    with while_host_has_control(machine, act) as statuses:
        assert enclave.run().ok
    assert statuses == [Status.OCALL, Status.OK]
    assert tries == [Status.ERROR] * 2
    victim = rig.enclave(Script())
    assert machine.monitor.call(HostCall.DESTROY, victim.eid) == Status.OK
    before = snapshot(rig)
    assert machine.monitor.call(HostCall.DESTROY, victim.eid) == Status.ERROR
    assert before.changes() == []
    machine.driver._ended(victim._inner)
    machine.driver.let_go(victim.inner)


def test_wrong_answers_while_an_ocall_waits(rig: Rig) -> None:
    machine = rig.machine
    script = Script()
    area = script.mmap(PAGE)
    enclave = rig.enclave(script)
    call = machine.monitor.call

    def act(status: int) -> None:
        if status != Status.OCALL:
            return
        before = snapshot(rig)
        for reason, number in ((0, 0), (1, 0), (2, Ocall.SBRK), (2, 0), (2, 2**64 - 1), (3, Ocall.MMAP)):
            assert call(HostCall.RESUME, enclave.eid, reason, number, 0, 0) == Status.ERROR
            assert before.changes() == []

    with while_host_has_control(machine, act):
        result = enclave.run()
    assert result.ok
    assert area.step == 0


def test_stop_and_resume(rig: Rig) -> None:
    machine = rig.machine
    script = Script()
    script.yield_()
    script.print(b"on")
    enclave = rig.enclave(script)
    call = machine.monitor.call

    def act(status: int) -> None:
        if status != Status.YIELD:
            return
        assert call(HostCall.STOP, enclave.eid) == Status.OK
        assert call(HostCall.STOP, enclave.eid) == Status.ERROR
        assert call(HostCall.RESUME, enclave.eid, ResumeReason.TIMER) == Status.ERROR
        assert call(HostCall.RESUME, enclave.eid, ResumeReason.STOP) == Status.OK
        assert call(HostCall.RESUME, enclave.eid, ResumeReason.STOP) == Status.ERROR

    with while_host_has_control(machine, act) as statuses:
        result = enclave.run()
    assert statuses == [Status.YIELD, Status.OCALL, Status.OK]
    assert result.output == "on\n"


@pytest.mark.parametrize("victim", ["top", "outer", "inner"])
def test_destroy_in_a_chain_while_an_ocall_waits(rig: Rig, victim: str) -> None:
    """The chain is unwound: the victim and the top caller end, the others are idle (§10)."""
    machine = rig.machine
    inner_list = Script()
    inner_list.yield_()
    inner_list.give(resp_val=1)
    inner = rig.server(inner_list, b"inner")
    outer_list = Script()
    at = outer_list.entry(11)
    outer_list.call(inner.eid, req_vaddr=at, req_size=PAGE)
    outer_list.give()
    outer = rig.server(outer_list, b"outer")
    top_list = Script()
    area = top_list.mmap(PAGE)
    top_list.call(outer.eid, req_vaddr=area, req_size=PAGE)
    top = rig.enclave(top_list, name=b"top")
    eid = {"top": top.eid, "outer": outer.eid, "inner": inner.eid}[victim]
    servers = {one.enclave for one in (inner, outer) if one.eid != eid}

    top._inner.gives_way = True  # the host does not go on after the yield
    assert machine.driver.run(top._inner) == Status.YIELD
    rig.check()
    assert rig.state.enclave(rig.state.enclaves[top.eid].innermost).eid == inner.eid
    by_eid = {top.eid: top, outer.eid: outer.enclave, inner.eid: inner.enclave}
    by_eid[eid].destroy()
    rig.check()
    assert not top.alive
    assert {one.enclave for one in (inner, outer) if one.enclave.alive} == servers
    assert set(rig.state.enclaves) == {one.eid for one in servers}
    for server in (inner, outer):
        if server.enclave in servers:
            again = Script()
            again.give(resp_val=5)
            server.load(again)
            caller = Script()
            caller.call(server.eid)
            value = caller.peek(STRUCT + 8)
            assert rig.run(caller)[value] == 5


def test_a_server_between_loses_what_the_call_had_passed_to_it(rig: Rig) -> None:
    """The top caller passed it, and that one is gone; its pages are the host's (§10)."""
    inner_list = Script()
    inner_list.yield_()
    inner = rig.server(inner_list, b"inner")
    outer_list = Script()
    outer_list.poke(outer_list.entry(11), 77)
    outer_list.call(inner.eid)
    outer = rig.server(outer_list, b"outer")
    top_list = Script()
    area = top_list.mmap(PAGE)
    top_list.call(outer.eid, req_vaddr=area, req_size=PAGE)
    top = rig.enclave(top_list, name=b"top")
    top._inner.gives_way = True
    free = rig.free_pages
    assert rig.machine.driver.run(top._inner) == Status.YIELD
    address = outer.now.entry[11]
    inner.enclave.destroy()
    rig.check()
    assert (top.alive, outer.enclave.alive) == (False, True)
    assert rig.free_pages > free, "the host has them back"
    again = Script()
    again.peek(address)
    outer.load(again)
    caller = Script()
    caller.call(outer.eid)
    assert rig.run(caller).fault.address == address


def test_extend(rig: Rig) -> None:
    machine = rig.machine
    call = machine.monitor.call
    server = rig.state.enclaves[rig.server(Script()).eid]
    free = machine.kernel.blocks.take(4)
    before = snapshot(rig)
    for pa, size in (
        (server.block, PAGE), (machine.memory.base, PAGE), (machine.kernel.pt_area, PAGE), (free + 8, PAGE),
        (free, 0), (free, 8), (machine.memory.end, PAGE), (server.kbuffer, PAGE), (0, PAGE),
    ):  # fmt: skip
        assert call(HostCall.EXTEND, pa, size) == Status.ERROR
        assert before.changes() == []
    assert call(HostCall.EXTEND, free, 4 * PAGE) == Status.OK
    assert call(HostCall.EXTEND, free, 4 * PAGE) == Status.ERROR
    rig.check()


def test_no_monitor_memory(rig: Rig) -> None:
    """−2 until the host extends; then the same call goes through."""
    forge = Forge(rig)
    rig.leak = rig.pages_at_start - rig.free_pages
    assert forge.create() == Status.NO_MONITOR_MEMORY
    block = rig.machine.kernel.blocks.take(1)
    assert rig.machine.monitor.call(HostCall.EXTEND, block, PAGE) == Status.OK
    assert forge.create() == Status.OK
    assert rig.machine.monitor.call(HostCall.DESTROY, forge.eid) == Status.OK


def test_monitor_memory_is_taken_and_given_back_enclave_by_enclave(rig: Rig) -> None:
    call = rig.machine.monitor.call
    assert call(HostCall.EXTEND, rig.machine.kernel.blocks.take(1), PAGE) == Status.OK
    eids: list[int] = []

    def fill() -> int:
        """Create enclaves until there is no memory for their records; how many."""
        for count in range(100):
            forge = Forge(rig)
            rig.leak = rig.pages_at_start - rig.free_pages
            status = forge.create()
            if status == Status.NO_MONITOR_MEMORY:
                return count
            assert status == Status.OK
            eids.append(forge.eid)
        raise AssertionError("it never ends")

    assert fill() == len(eids) > 4
    for some in (1, 3, len(eids)):
        for _ in range(some):
            assert call(HostCall.DESTROY, eids.pop()) == Status.OK
        assert fill() == some
    for eid in eids:
        assert call(HostCall.DESTROY, eid) == Status.OK


def test_the_name_of_a_server_is_free_when_it_is_gone(rig: Rig) -> None:
    def acquired() -> int:
        script = Script()
        handle = script.acquire(b"server")
        return rig.run(script)[handle]

    first = rig.server(Script())
    rig.enclave(Script(), name=b"server").destroy()
    assert acquired() == first.eid, "another enclave of the name was not the server"
    first.enclave.destroy()
    assert acquired() == 2**64 - 1
    second = rig.server(Script())
    assert acquired() == second.eid != first.eid
