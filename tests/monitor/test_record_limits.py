"""Records from outside: what a call does when there is no room for one, and that nobody can reach them."""

from collections.abc import Callable, Iterator

import pytest

from pltvm import Enclave
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import RW, make_pte, pte_address
from pltvm.errors import AccessFault, EnclaveError
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, HostCall, Ocall, SetPte, Status
from pltvm.monitor.records import NUMBERS
from tests.model.whole import Whole
from tests.monitor.rig import MINUS_1, Ref, Script, while_host_has_control
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split

KEY = 5


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf, 64 << 20)
    yield rig
    for enclave in reversed(rig._made):
        if enclave.alive:
            enclave.destroy()
    rig.machine.reclaim()
    rig.finish()


def use_up(rig: SharedRig, what: str, left: int = 0) -> None:
    """As if all but so many records of this kind were in use."""
    setattr(rig.state.globals, f"free_{what}s", 0)
    setattr(rig.state.globals, f"fresh_{what}s", NUMBERS[f"MOST_{what.upper()}S"] - left)


# -- at the limit --------------------------------------------------------------------------------------------


def test_relay_pages_without_a_record_are_refused(rig: SharedRig) -> None:
    enclave = rig.with_relay(Script(), numbered(2))
    use_up(rig, "region")
    for _ in range(2):
        before = Whole(rig.machine)
        with pytest.raises(EnclaveError, match="refused to run"):
            enclave.run()
    assert before.changes() == []  # the first time the driver has written what it asks for
    use_up(rig, "region", left=1)
    assert rig.outcome(enclave).result.status == "exited"
    rig.outcome(rig.with_relay(Script(), numbered(1)))  # the record that is free again


def test_an_instance_with_relay_pages_without_a_record_is_refused(rig: SharedRig) -> None:
    template = rig.template()
    use_up(rig, "region")
    living = list(rig.state.enclaves)
    with pytest.raises(EnclaveError, match="refused"):
        rig.instance(template, Script(), relay=numbered(1)).run()
    assert list(rig.state.enclaves) == living
    rig.check()
    assert rig.outcome(rig.instance(template, Script())).result.status == "exited"


@pytest.mark.parametrize("left", [0, 1])
def test_a_split_without_a_record_is_refused(rig: SharedRig, left: int) -> None:
    script = Script()
    first = split(script, RELAY, 4 * PAGE, RELAY + PAGE)
    second = split(script, RELAY, 4 * PAGE, RELAY + 2 * PAGE)
    value = script.peek(RELAY + 3 * PAGE)
    use_up(rig, "region", left=1 + left)
    outcome = rig.outcome(rig.with_relay(script, numbered(4)))
    assert (outcome[first], outcome[second]) == ((MINUS_1, MINUS_1) if not left else (0, MINUS_1))
    assert outcome[value] == 4


@pytest.mark.parametrize("way", ["get", "attach"])
def test_memory_shared_without_a_record_is_refused(rig: SharedRig, way: str) -> None:
    """No attachment, no segment, no page given by the host; with one record left it works."""
    script = Script()
    asks: dict[str, Callable[[], Ref]] = {
        "get": lambda: script.ocall(Ocall.SHM_GET, KEY, PAGE, 0),
        "attach": lambda: script.ecall(Call.SHM_ATTACH, KEY),
    }
    refused = asks[way]()
    other = Script()
    other.ocall(Ocall.SHM_GET, KEY, PAGE, 0)
    if way == "attach":
        rig.run(other)
    use_up(rig, "attachment")
    enclave = rig.enclave(script)
    segments = list(rig.state.segments)
    outcome = rig.outcome(enclave)
    assert outcome[refused] == (MINUS_1 if way == "get" else 0)
    assert list(rig.state.segments) == segments
    assert rig.state.globals.fresh_attachments == NUMBERS["MOST_ATTACHMENTS"]
    use_up(rig, "attachment", left=1)
    again = Script()
    got = again.ocall(Ocall.SHM_GET, KEY, PAGE, 0)
    again.poke(got, 1)
    assert rig.run(again)[got] == abi.SECURE_SHM_TOP - PAGE


def test_as_many_blocks_can_be_lent_and_no_more(rig: SharedRig) -> None:
    once, block = rig.state.globals, rig.machine.kernel.blocks.take(1)
    lent, once.lent = once.lent, NUMBERS["MOST_LENT"]
    before = Whole(rig.machine)
    for function in (HostCall.EXTEND, HostCall.RELAY_INIT):
        assert rig.call(function, block, PAGE) == Status.ERROR
    assert before.changes() == []
    once.lent = lent
    assert rig.call(HostCall.EXTEND, block, PAGE) == Status.OK


def test_no_address_space_number_is_left(rig: SharedRig) -> None:
    rig.server(Script())
    template = rig.template()
    once = rig.state.globals
    asids, once.asids = once.asids, NUMBERS["LAST_ASID"]
    for make in (lambda: rig.machine.create(rig.elf), lambda: rig.instance(template, Script()).run()):
        living, space = list(rig.state.enclaves), once.record_space
        with pytest.raises(EnclaveError, match="refused"):
            make()
        assert (list(rig.state.enclaves), once.record_space) == (living, space)
        rig.check()
    once.asids = asids
    assert rig.outcome(rig.instance(template, Script())).result.status == "exited"


def test_each_slot_needs_an_address_space_number(rig: SharedRig) -> None:
    once = rig.state.globals
    once.asids = NUMBERS["LAST_ASID"] - 2

    def make(slots: int) -> Enclave:
        return rig.machine.create(rig.elf, name="slots", type="concurrent", slots=slots)

    with pytest.raises(EnclaveError, match="refused"):
        make(3)
    assert rig.state.server(b"slots") is None
    assert rig.state.records.asids_left == 2
    server = make(2)
    assert rig.state.records.asids_left == 0
    server.destroy()
    assert rig.state.records.asids_left == 2


# -- out of reach --------------------------------------------------------------------------------------------


def record_pages(rig: SharedRig) -> dict[int, str]:
    """Every page with a record of the monitor, and what it has."""
    state = rig.state
    pages = {rig.machine.memory.base + at: "the monitor's" for at in range(0, NUMBERS["MONITOR_SIZE"], PAGE)}
    for pa, count in state.records.lent():
        pages |= {pa + at * PAGE: "enclaves" for at in range(count)}
    for enclave in state.enclaves.values():
        pages[enclave.block] = "registers"
        pages |= {region.at: "a region" for region in enclave.space.all_regions() if region.has_page}
    pages |= {segment.at: "a segment" for segment in state.all_segments()}
    return pages


def in_use(rig: SharedRig, look: Callable[[], None]) -> None:
    """Look while there are records of all kinds, deep in a chain."""
    server, caller = Script(), Script()
    server.sbrk(PAGE)
    server.mmap(2 * PAGE)
    server.ecall(Call.SHM_ATTACH, KEY)
    server.print(b"now")
    server.give()
    rig.server(server)
    caller.ocall(Ocall.SHM_GET, KEY, PAGE, 0)
    split(caller, RELAY, 3 * PAGE, RELAY + PAGE)
    send(caller, b"next", RELAY, PAGE)
    page = caller.mmap(PAGE)
    caller.call(caller.acquire(b"server"), req_vaddr=page, req_size=PAGE)
    rig.instance(rig.template(), Script())
    with while_host_has_control(rig.machine, lambda _status: look()) as statuses:
        assert rig.with_relay(caller, numbered(3)).run(timeout=20).output == "now\n"
    assert len(statuses) > 5


def test_no_page_of_a_record_is_mapped_or_the_hosts(rig: SharedRig) -> None:
    """In all page tables, whoever's, whenever the host has control."""
    seen: set[str] = set()
    memory = rig.machine.memory

    def look() -> None:
        pages = record_pages(rig)
        seen.update(pages.values())
        for enclave in rig.state.enclaves.values():
            mapped = {pte_address(leaf.pte) for leaf in enclave.space.table.leaves()}
            assert mapped.isdisjoint(pages)
        assert [pa for pa in pages if rig.state.owners.is_public(pa, PAGE)] == []
        for pa in pages:
            with pytest.raises(AccessFault):
                rig.state.host_memory.read(pa, 8)
            with pytest.raises(AccessFault):
                rig.state.host_memory.store(pa, 1)

    in_use(rig, look)
    assert seen == {"the monitor's", "enclaves", "registers", "a region", "a segment"}
    assert memory.base in record_pages(rig)


def test_the_host_can_have_no_page_of_a_record_mapped_or_given(rig: SharedRig) -> None:
    """By no monitor call: to be mapped (but what PMP keeps from it), as a block, mailbox, or relay pages."""
    slot = rig.machine.kernel.tables.take(2)
    free = rig.machine.kernel.blocks.take(1)

    def look() -> None:
        own = {pa: what for pa, what in record_pages(rig).items() if what != "the monitor's"}
        before = Whole(rig.machine)
        for pa in (*own, rig.machine.memory.base):
            if pa in own:
                assert rig.call(HostCall.SET_PTE, SetPte.ONE, slot, make_pte(pa, RW), 0) == Status.ERROR
            assert rig.call(HostCall.SET_PTE, SetPte.COPY, slot, pa, 8) == Status.ERROR
            assert rig.call(HostCall.EXTEND, pa, PAGE) == Status.ERROR
            assert rig.call(HostCall.CREATE, pa) == Status.ERROR
            assert rig.call(HostCall.ATTEST, next(iter(rig.state.enclaves)), pa, 0) == Status.ERROR
        assert before.changes() == []

    in_use(rig, look)
    rig.machine.kernel.blocks.give(free)
    rig.machine.kernel.tables.give(2, slot)


@pytest.mark.parametrize("what", ["mmap", "sbrk", "shm"])
def test_an_enclave_finds_nothing_before_its_memory(rig: SharedRig, what: str) -> None:
    script = Script()
    if what == "mmap":
        at = script.mmap(PAGE)
    elif what == "sbrk":
        at = script.sbrk(PAGE) - PAGE
    else:
        at = script.ocall(Ocall.SHM_GET, KEY, PAGE, 0)
    script.peek(at)
    script.peek(at - 8)
    fault = rig.run(script).fault
    assert (fault.owner, fault.size) == ("nothing is mapped there", 8)
