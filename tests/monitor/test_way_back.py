"""RAM is what it was once, and so is all that the monitor derives from it: `Machine.restore`."""

from collections.abc import Callable, Iterator

import pytest

from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.host.api import Enclave
from pltvm.host.elf import load_image
from pltvm.host.shared import SharedMemory
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType, Ocall
from tests.monitor.rig import DATA, LIST_PAGES, NOWHERE, SHM_PAGES, Script
from tests.monitor.shared_rig import SharedRig, numbered


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf)
    yield rig
    rig.check()


def pages_of(rig: SharedRig) -> list[bytes]:
    """All of RAM."""
    memory = rig.machine.memory
    return [memory.read(at, PAGE) for at in range(memory.base, memory.end, PAGE)]


def with_shm(rig: SharedRig, script: Script) -> tuple[Enclave, SharedMemory]:
    """An enclave with one relay page whose list is in pages that the host keeps when it ends."""
    shm = SharedMemory(rig.machine.driver, script.words.tobytes(), SHM_PAGES * PAGE)
    inner = rig.machine.driver.create(load_image(rig.elf), b"", EnclaveType.NORMAL, shm=shm.span)
    inner.relay = SharedMemory(rig.machine.driver, numbered(1)).span
    return Enclave(rig.machine.driver, inner), shm


@pytest.mark.parametrize("end", ["exit", "fault", "destroy"])
def test_what_an_ended_enclave_wrote_to_pages_of_the_host_goes_back(rig: SharedRig, end: str) -> None:
    script = Script()
    script.poke(DATA, 1)
    script.ocall(Ocall.RETURN_RELAY)
    script.poke(DATA, 2)
    if end == "fault":
        script.peek(NOWHERE)
    elif end == "destroy":
        script.ocall(Ocall.RETURN_RELAY)
    enclave, shm = with_shm(rig, script)
    enclave.run()
    saved, before = rig.machine.snapshot(), pages_of(rig)
    enclave.resume(relay=numbered(1))
    if end == "destroy":
        enclave.destroy()
    assert not enclave.alive
    assert shm.read()[LIST_PAGES * PAGE] == 2
    rig.machine.restore(saved)
    assert shm.read()[LIST_PAGES * PAGE] == 1
    assert pages_of(rig) == before


def serving(rig: SharedRig, answer: int) -> int:
    """The eid of a new server that gives this answer."""
    script = Script()
    script.give(resp_val=answer)
    return rig.server(script).eid


def answered(rig: SharedRig, eid: int) -> int:
    """What a call of this server gives."""
    script = Script()
    done = script.call(eid)
    value = script.results()["resp_val"]
    outcome = rig.outcome(rig.enclave(script))
    assert outcome[done] == 0
    return outcome[value]


@pytest.mark.parametrize("stack", [DEFAULT_STACK, 64 * DEFAULT_STACK])
def test_another_enclave_in_the_same_record(rig: SharedRig, stack: int) -> None:
    """What is derived from a record is not kept for another's with the same eid, whatever kind it is."""
    machine = rig.machine
    empty = machine.snapshot()
    server = serving(rig, 5)
    one = machine.snapshot()
    machine.restore(empty)
    other = rig.enclave(Script(), stack_size=stack)
    assert other.eid == server
    two = machine.snapshot()
    machine.restore(one)
    assert answered(rig, server) == 5
    machine.restore(two)
    rig.check()
    assert not rig.state.enclaves[server].is_server
    assert rig.outcome(other).result.ok
    machine.restore(one)
    assert answered(rig, server) == 5


def test_another_enclave_after_the_way_back(rig: SharedRig) -> None:
    """As above, with somebody who still has what was derived."""
    machine = rig.machine
    empty = machine.snapshot()
    eid = rig.enclave(Script()).eid
    kept = rig.state.enclaves[eid]
    machine.restore(empty)
    assert serving(rig, 6) == eid
    assert answered(rig, eid) == 6
    assert kept.eid == eid


def test_another_template_in_the_same_record(rig: SharedRig, build_guest: Callable[[str], bytes]) -> None:
    """How a template is copied goes with its content."""
    machine = rig.machine
    empty = machine.snapshot()
    other = machine.create(guest.examples()["hello-world"].elf, type=EnclaveType.SHADOW)
    assert other.fork().run().ok
    machine.restore(empty)
    template = rig.template()
    assert template.eid == other.eid
    script = Script()
    value = script.enclave_id()
    instance = rig.instance(template, script)
    assert rig.outcome(instance)[value] == 1


def test_another_table_in_the_same_page(rig: SharedRig) -> None:
    """Where tables lie is not kept when the same page was a table for other addresses then."""
    machine, places = rig.machine, (0x20_0000_0000, 0x21_0000_0000)
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    script.mmap(PAGE, script.peek(DATA))
    script.ocall(Ocall.RETURN_RELAY)
    enclave, shm = with_shm(rig, script)
    enclave.run()
    start, saved = machine.snapshot(), []
    for place in places:
        machine.restore(start)
        shm.write(place.to_bytes(8, "little"), LIST_PAGES * PAGE)
        enclave.resume(relay=numbered(1))
        saved.append(machine.snapshot())
    table = rig.state.enclaves[enclave.eid].space.table
    assert [bool(table.entry(place)) for place in places] == [False, True]
    machine.restore(saved[0])
    table = rig.state.enclaves[enclave.eid].space.table
    assert [bool(table.entry(place)) for place in places] == [True, False]
