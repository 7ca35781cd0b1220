"""The host's page tables: what set PTE accepts, and that private memory disappears from them (§8)."""

import pytest

from pltvm import Machine
from pltvm.engine import sv39
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import RW, RX, V, make_pte
from pltvm.monitor.abi import HostCall, SetPte, Status
from pltvm.monitor.guard import MOST_ENTRIES
from pltvm.monitor.monitor import Monitor
from pltvm.monitor.pages import enclave_owner

RAM = 64 << 20


class Tables:
    """A machine, a page of each kind of table, and three pages of the host's memory."""

    def __init__(self) -> None:
        self.machine = Machine(RAM)
        kernel = self.machine.kernel
        self.memory = kernel.memory
        self.root, self.middle, self.leaf = (kernel.tables.take(level) for level in range(3))
        self.pages = kernel.blocks.take(4)
        self.scratch = kernel.blocks.take(1)

    def set(self, kind: int, slot: int, value: int = 0, size: int = 0) -> int | None:
        return self.machine.monitor.call(HostCall.SET_PTE, kind, slot, value, size)

    def records(self, *pairs: tuple[int, int]) -> int:
        self.memory.write(
            self.scratch, b"".join(number.to_bytes(8, "little") for pair in pairs for number in pair)
        )
        return self.scratch


@pytest.fixture
def tables() -> Tables:
    return Tables()


def test_kinds(tables: Tables) -> None:
    leaf, load = tables.leaf, tables.memory.load
    ptes = [make_pte(tables.pages + at * PAGE, RW) for at in range(4)]
    assert tables.set(SetPte.ONE, leaf, ptes[0]) == Status.OK
    assert load(leaf) == ptes[0]
    assert tables.set(SetPte.ZERO, leaf) == Status.OK
    assert load(leaf) == 0
    source = tables.records((ptes[0], ptes[1]), (ptes[2], ptes[3]))
    assert tables.set(SetPte.COPY, leaf + 8, source, 32) == Status.OK
    assert [load(leaf + 8 * at) for at in range(1, 5)] == ptes
    assert (
        tables.set(SetPte.BATCH_SET, 0, tables.records((leaf + 80, ptes[3]), (leaf, ptes[2])), 2) == Status.OK
    )
    assert (load(leaf + 80), load(leaf)) == (ptes[3], ptes[2])
    assert tables.set(SetPte.BATCH_ZERO, 0, tables.records((leaf + 80, 0), (leaf, 5)), 2) == Status.OK
    assert (load(leaf + 80), load(leaf)) == (0, 0)


def test_parts(tables: Tables) -> None:
    """A root points to middle tables, a middle table to leaf tables, and only leaf tables map pages."""
    pointer = {name: make_pte(getattr(tables, name), V) for name in ("root", "middle", "leaf")}
    page = make_pte(tables.pages, RW)
    good = {("root", "middle"), ("middle", "leaf")}
    for table in ("root", "middle", "leaf"):
        for target in pointer:
            expected = Status.OK if (table, target) in good else Status.ERROR
            assert tables.set(SetPte.ONE, getattr(tables, table) + 16, pointer[target]) == expected
        assert tables.set(SetPte.ONE, getattr(tables, table) + 24, page) == (
            Status.OK if table == "leaf" else Status.ERROR
        )
    assert tables.machine.monitor.call(HostCall.SEPARATE, 1, 1) == Status.ERROR, "only once"


def test_no_table_before_the_parts_are_separate() -> None:
    """A leaf entry in a table that could be a root as well would be a huge page over enclaves' memory."""
    base = 0x8000_0000
    monitor = Monitor(Hart(Memory(base, RAM)))
    root, bitmap = base + (32 << 20), base + (48 << 20)
    assert monitor.call(HostCall.INIT, root, 1 << 20, bitmap, 1 << 20) == Status.OK

    def set_root_entry(pte: int) -> int | None:
        return monitor.call(HostCall.SET_PTE, SetPte.ONE, root, pte, 0)

    gigabyte, middle = make_pte(base, RW), make_pte(root + 2 * PAGE, V)
    assert [set_root_entry(pte) for pte in (gigabyte, middle, 0)] == [Status.ERROR] * 3
    assert not monitor.accepts_satp(sv39.satp_for(root, 0))
    assert monitor.call(HostCall.SEPARATE, 1, 1) == Status.OK
    assert monitor.call(HostCall.SEPARATE, 1, 1) == Status.ERROR
    assert [set_root_entry(pte) for pte in (gigabyte, middle)] == [Status.ERROR, Status.OK]
    assert monitor.accepts_satp(sv39.satp_for(root, 0))


@pytest.mark.parametrize(
    "kind", [SetPte.ONE, SetPte.COPY, SetPte.BATCH_SET], ids=["one", "copy", "batch set"]
)
def test_private_memory_is_refused_by_every_kind(tables: Tables, kind: SetPte) -> None:
    machine, leaf = tables.machine, tables.leaf
    enclave = machine.create("guest/elf/hello-world.elf")
    bitmap = machine.monitor.state.owners
    private = next(
        page for page in range(tables.memory.base, tables.memory.end, PAGE)
        if bitmap.owner(page) == enclave_owner(enclave.eid)
    )  # fmt: skip
    for page in (private, tables.memory.end, 0, 1 << 50):
        pte = make_pte(page, RW)
        good = make_pte(tables.pages, RW)
        if kind == SetPte.ONE:
            status = tables.set(kind, leaf, pte)
        elif kind == SetPte.COPY:
            status = tables.set(kind, leaf, tables.records((good, pte)), 16)
        else:
            status = tables.set(kind, 0, tables.records((leaf, good), (leaf + 8, pte)), 2)
        assert status == Status.ERROR, hex(page)
        assert tables.memory.load(leaf) == 0, "all or nothing"


@pytest.mark.parametrize(
    ("kind", "slot", "value", "size"),
    [
        (0, "leaf", 0, 0),
        (6, "leaf", 0, 0),
        (SetPte.ONE, "leaf+4", 0, 0),
        (SetPte.ONE, "pages", 0, 0),
        (SetPte.ONE, "leaf", 1 << 60, 0),
        (SetPte.ONE, "leaf", sv39.W | V, 0),
        (SetPte.ONE, "leaf", "page for W", 0),
        (SetPte.ONE, "leaf", "page for WX", 0),
        (SetPte.ONE, "leaf", "page without V", 0),
        (SetPte.COPY, "leaf", "scratch", 0),
        (SetPte.COPY, "leaf", "scratch", 12),
        (SetPte.COPY, "leaf", "scratch", 1 << 40),
        (SetPte.COPY, "leaf", "scratch+4", 8),
        (SetPte.COPY, "leaf", "root", 8),
        (SetPte.BATCH_SET, 0, "scratch", 1 << 62),
        (SetPte.BATCH_ZERO, 0, 0, 1),
    ],
)
def test_nonsense_is_refused(tables: Tables, kind: int, slot: object, value: object, size: int) -> None:
    wrong = {"page for W": V | sv39.W, "page for WX": V | sv39.W | sv39.X, "page without V": RW & ~V}

    def number(text: object) -> int:
        if isinstance(text, int):
            return text
        if text in wrong:
            return make_pte(tables.pages, wrong[str(text)])
        name, _, offset = str(text).partition("+")
        return int(getattr(tables, name)) + int(offset or 0)

    before = tables.memory.read(tables.machine.kernel.pt_area, 1 << 16)
    assert tables.set(kind, number(slot), number(value), size) == Status.ERROR
    assert tables.memory.read(tables.machine.kernel.pt_area, 1 << 16) == before


@pytest.mark.parametrize(
    ("kind", "width"), [(SetPte.COPY, 8), (SetPte.BATCH_ZERO, 16), (SetPte.BATCH_SET, 16)]
)
def test_one_call_takes_so_many_entries_and_no_more(tables: Tables, kind: int, width: int) -> None:
    """Nothing can interrupt a call: with all that RAM has room for it would take seconds, and much memory."""
    pages = (MOST_ENTRIES + 1) * width // PAGE + 1
    source, unit = tables.machine.kernel.blocks.take(pages), 1 if width == 16 else width
    if width == 16:
        tables.memory.write(
            source, b"".join(tables.leaf.to_bytes(8, "little") + bytes(8) for _ in range(MOST_ENTRIES + 1))
        )
    assert tables.set(kind, tables.leaf, source, MOST_ENTRIES * unit) == Status.OK
    assert tables.set(kind, tables.leaf, source, (MOST_ENTRIES + 1) * unit) == Status.ERROR


def test_what_pmp_protects_may_be_mapped_and_the_tables_only_to_read(tables: Tables) -> None:
    """No load or store gets there by these entries: PMP refuses it."""
    kernel, memory = tables.machine.kernel, tables.memory
    for page in (memory.base, kernel.bitmap):
        assert tables.set(SetPte.ONE, tables.leaf, make_pte(page, RW)) == Status.OK
        assert memory.load(tables.leaf) == make_pte(page, RW)
    assert tables.set(SetPte.ONE, tables.leaf, make_pte(kernel.pt_area, sv39.RWX)) == Status.OK
    assert memory.load(tables.leaf) == make_pte(kernel.pt_area, sv39.READ_ONLY_DATA)
    assert tables.set(SetPte.ZERO, tables.leaf) == Status.OK


@pytest.mark.parametrize(("orders", "status"), [
    ((0, 0), Status.OK), ((0, 3), Status.OK), ((3, 0), Status.OK), ((-1, 0), Status.ERROR),
    ((0, -1), Status.ERROR), ((4, 0), Status.ERROR), ((3, 3), Status.ERROR), ((2**64 - 1, 0), Status.ERROR),
])  # fmt: skip
def test_parts_are_separate_if_each_has_a_page(orders: tuple[int, int], status: Status) -> None:
    base, area = 0x8000_0000, 16 * PAGE
    monitor = Monitor(Hart(Memory(base, RAM)))
    assert monitor.call(HostCall.INIT, base + (32 << 20), area, base + (48 << 20), 1 << 20) == Status.OK
    assert monitor.call(HostCall.SEPARATE, *orders) == status
    if status == Status.OK:
        tables = base + (32 << 20)
        middle = tables + (PAGE << orders[0])
        leaf = middle + (PAGE << orders[1])
        for slot, target in ((tables, middle), (middle - 8, middle), (middle, leaf), (leaf - 8, leaf)):
            assert monitor.call(HostCall.SET_PTE, SetPte.ONE, slot, make_pte(target, V), 0) == Status.OK
        assert monitor.call(HostCall.SET_PTE, SetPte.ONE, leaf, make_pte(leaf, V), 0) == Status.ERROR


def test_pages_that_become_private_disappear_and_come_back(tables: Tables) -> None:
    machine, leaf = tables.machine, tables.leaf
    relay = machine.relay(bytes(2 * PAGE))
    entries = [make_pte(relay.pa, RW), make_pte(relay.pa + PAGE, RX), make_pte(tables.pages, RW)]
    for at, pte in enumerate(entries):
        assert tables.set(SetPte.ONE, leaf + 8 * at, pte) == Status.OK
    seen = []
    enclave = machine.create("guest/elf/hello-world.elf", relay=relay)
    enclave.run(on_output=lambda _text: seen.append([tables.memory.load(leaf + 8 * at) for at in range(3)]))
    assert seen == [[entries[0] & ~V, entries[1] & ~V, entries[2]]]
    assert [tables.memory.load(leaf + 8 * at) for at in range(3)] == entries


def test_satp(tables: Tables) -> None:
    accepts = tables.machine.monitor.accepts_satp
    assert accepts(sv39.satp_for(tables.root, 0))
    for bad in (0, tables.root >> 12, sv39.satp_for(tables.middle, 0), sv39.satp_for(tables.pages, 0),
                9 << 60 | tables.root >> 12):  # fmt: skip
        assert not accepts(bad)


# -- what an entry may become ------------------------------------------------------------------------------


@pytest.mark.parametrize("rsw", [0, 1 << 8, 1 << 9, 3 << 8])
@pytest.mark.parametrize("flags", [sv39.READ_ONLY_DATA, RX, RW])
def test_bits_for_software_give_no_permission(tables: Tables, flags: int, rsw: int) -> None:
    pte = make_pte(tables.pages, flags | rsw)
    assert tables.set(SetPte.ONE, tables.leaf, pte) == Status.OK
    assert tables.memory.load(tables.leaf) == pte
    assert not tables.machine.monitor.state.owners.wants_both(tables.pages)


def test_pages_that_are_mapped_executable_are_known(tables: Tables) -> None:
    """And only these: what is unmapped, or mapped once less, or private, is not the host's code."""
    executable, page, kernel = tables.memory.is_executable, tables.pages, tables.machine.kernel
    now = tables.machine.monitor.state.tables.executable_pages
    tables.set(SetPte.ONE, tables.leaf, make_pte(page, RW))
    assert not executable(page)
    for slot in (0, 8):
        tables.set(SetPte.ONE, tables.leaf + slot, make_pte(page, RX))
    assert executable(page)
    assert now() == [page]
    assert not executable(page + PAGE)
    tables.set(SetPte.ZERO, tables.leaf)
    assert executable(page)
    tables.set(SetPte.ONE, tables.leaf + 8, make_pte(page, RW))
    assert not executable(page)

    tables.set(SetPte.ONE, tables.leaf, make_pte(page, RX))
    monitor = tables.machine.monitor
    assert monitor.state.owners.claim(page, 1, enclave_owner(77))
    assert not executable(page), "hidden from the host"
    assert now() == []
    monitor.state.clear(page, 1)
    assert executable(page), "its entry is valid again"
    tables.set(SetPte.ZERO, tables.leaf)
    assert not executable(page)
    kernel.blocks.give(tables.pages)
