"""Concurrent servers, by the example programs: chains in them at once, waiting, ends at every moment.

What each call does in every state is in the reference model (tests/model); here are whole programs.
"""

import struct
from collections.abc import Iterator

import pytest

from pltvm import CallError, Enclave, EnclaveType, Machine
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.driver import Driver
from pltvm.host.elf import load_image
from pltvm.monitor import slots
from pltvm.monitor.abi import HostCall, Status
from pltvm.monitor.audit import audit
from tests.model.ram import touched
from tests.model.whole import Whole

RAM = 64 << 20
ADD, ADD_LOCKED, GET = range(3)  # counter.h
DEADLOCK = 2**64 - 3
EXAMPLES = guest.examples()


@pytest.fixture(params=[True, False], ids=["core", "python"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    machine = Machine(RAM, native=request.param)
    yield machine
    assert audit(machine.monitor.state) == []


def server(machine: Machine, slots: int, name: str = "counter", elf: str = "counter") -> Enclave:
    return machine.create(EXAMPLES[elf].elf, name=name, type="concurrent", slots=slots)


def client(machine: Machine, operation: int = ADD, times: int = 1) -> Enclave:
    made = machine.create(EXAMPLES["count-client"].elf, shm=struct.pack("<QQ", operation, times))
    made.inner.gives_way = True
    return made


def go(enclave: Enclave) -> int:
    """Run it to its next pause, or its end."""
    driver: Driver = enclave._driver
    return driver.resume(enclave.inner) if enclave.inner.started else driver.run(enclave.inner)


def finish(enclave: Enclave) -> int:
    """Run it to its end; what it returned."""
    while (status := go(enclave)) == Status.YIELD:
        pass
    assert status == Status.OK
    return enclave.inner.value


def test_a_chain_in_each_slot_and_no_more(machine: Machine) -> None:
    counter = server(machine, slots=3)
    inside = [client(machine) for _ in range(3)]
    assert [go(one) for one in inside] == [Status.YIELD] * 3
    record = machine.monitor.state.enclaves[counter.eid]
    assert record.busy == 0b111
    with pytest.raises(CallError, match="busy"):
        counter.call(GET)
    assert finish(inside[1]) == 1
    assert record.busy == 0b101
    assert counter.call(GET).value == 1
    again = client(machine)
    assert go(again) == Status.YIELD
    assert record.busy == 0b111
    assert [finish(one) for one in (again, inside[0], inside[2])] == [2, 1, 1]
    assert record.busy == 0


@pytest.mark.parametrize("kind", ["server", "concurrent"])
def test_who_waits_goes_in_order_and_before_those_that_do_not_wait(machine: Machine, kind: str) -> None:
    slots = {"slots": 1} if kind == "concurrent" else {}
    counter = machine.create(EXAMPLES["counter"].elf, name="counter", type=kind, **slots)
    first, second, third = (client(machine) for _ in range(3))
    assert [go(first), go(second), go(third)] == [Status.YIELD, Status.WAITING, Status.WAITING]
    can_go_on = machine.driver.can_go_on
    assert not can_go_on(second.inner)
    assert finish(first) == 1
    assert can_go_on(second.inner)
    assert not can_go_on(third.inner)
    with pytest.raises(CallError, match="busy"):  # nobody is in it, but somebody has the turn
        counter.call(GET)
    assert third.resume().status == "waiting"
    assert finish(second) == 2
    assert finish(third) == 3
    assert counter.call(GET).value == 3


def test_a_chain_that_is_stopped_lets_others_go_first_and_keeps_its_place(machine: Machine) -> None:
    server(machine, slots=1)
    first, second, third, fourth = (client(machine) for _ in range(4))
    assert [go(one) for one in (first, second, third, fourth)] == [Status.YIELD, *[Status.WAITING] * 3]
    second.stop()
    assert finish(first) == 1
    assert go(third) == Status.YIELD
    assert go(fourth) == Status.WAITING
    assert finish(third) == 2
    assert go(second) == Status.YIELD  # which undoes the stop
    assert go(fourth) == Status.WAITING
    assert [finish(second), finish(fourth)] == [3, 4]


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_chain_comes_back_as_deep_as_there_are_slots(machine: Machine, slots: int) -> None:
    """The server front, by the name of the one that it calls, calls itself."""
    itself = server(machine, slots, elf="counter-front")
    assert finish(client(machine)) == DEADLOCK
    state = machine.monitor.state
    assert [slot.calls for slot in state.slots(state.enclaves[itself.eid])] == [1] * slots


def test_a_wait_that_another_chain_could_end_is_no_deadlock(machine: Machine) -> None:
    server(machine, slots=2, name="front", elf="counter-front")
    server(machine, slots=1)
    inside, waits, third = (client(machine, ADD_LOCKED) for _ in range(3))
    assert [go(one) for one in (inside, waits, third)] == [Status.YIELD, Status.WAITING, Status.WAITING]
    assert [finish(one) for one in (inside, waits, third)] == [1, 2, 3]


@pytest.mark.parametrize("faults", [False, True])
def test_a_wait_behind_one_whose_server_has_ended_is_no_deadlock(machine: Machine, faults: bool) -> None:
    counter = server(machine, slots=1)
    inside, ahead, behind = (client(machine) for _ in range(3))
    assert go(inside) == Status.YIELD  # in counter, as there is no front yet
    server(machine, slots=1, name="front", elf="counter-front")
    assert go(ahead) == Status.WAITING
    if faults:
        space = machine.monitor.state.enclaves[counter.eid].space
        space.table.unmap(0x1000, 1)
        space.changed()
        assert go(inside) == Status.ERROR
    else:
        counter.destroy()
    assert go(behind) == Status.WAITING
    assert go(ahead) == Status.OK
    assert go(behind) == Status.OK
    assert not inside.alive
    assert not counter.alive


def take_turns(machine: Machine, clients: list[Enclave], count: int) -> None:
    """Let the living clients run in turns."""
    for number in range(count):
        one = clients[number % len(clients)]
        if one.alive:
            go(one)


@pytest.mark.parametrize("count", range(0, 26))
def test_the_server_ends_at_any_moment_with_all_that_are_in_it(machine: Machine, count: int) -> None:
    server(machine, slots=3, name="front", elf="counter-front")
    counter = server(machine, slots=2)
    clients = [client(machine, ADD_LOCKED, 2) for _ in range(4)]
    take_turns(machine, clients, count)
    state = machine.monitor.state
    slots = list(state.slots(state.enclaves[counter.eid]))
    inside = {state.enclave(slot.top).eid for slot in slots if slot.caller}
    before = {one.eid for one in clients if one.alive}
    counter.destroy()
    assert audit(state) == []
    assert {one.eid for one in clients if one.alive} == before - inside
    for one in clients:
        if one.alive:  # those that waited are told, and those that come now find no such server
            finish(one)


@pytest.mark.parametrize("count", range(1, 22, 2))
@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_client_that_ends_in_the_middle_frees_its_slot_and_nothing_else(
    machine: Machine, count: int, which: int
) -> None:
    server(machine, slots=3, name="front", elf="counter-front")
    counter = server(machine, slots=2)
    clients = [client(machine, ADD, 2) for _ in range(4)]
    take_turns(machine, clients, count)
    if clients[which].alive:
        clients[which].destroy()
    assert audit(machine.monitor.state) == []
    while any(one.alive for one in clients):
        take_turns(machine, clients, len(clients))
    assert counter.alive
    assert machine.monitor.state.enclaves[counter.eid].busy == 0
    assert finish(client(machine)) > 0


def test_the_host_resumes_no_chain_but_those_that_have_their_turn(machine: Machine) -> None:
    counter = server(machine, slots=1)
    inside, waits = client(machine), client(machine)
    assert [go(inside), go(waits)] == [Status.YIELD, Status.WAITING]
    call, before = machine.kernel.call, Whole(machine)
    for eid, reason, status in (
        (counter.eid, 0, Status.ERROR),
        (waits.eid, 0, Status.WAITING),
        (waits.eid, 1, Status.ERROR),
        (waits.eid, 2, Status.ERROR),
        (inside.eid, 2, Status.ERROR),
        (99, 0, Status.ERROR),
    ):
        assert call(HostCall.RESUME, eid, reason) == status
        assert before.changes() == []
    assert call(HostCall.CAN_GO_ON, waits.eid) == Status.WAITING
    assert call(HostCall.CAN_GO_ON, inside.eid) == Status.OK
    assert call(HostCall.CAN_GO_ON, counter.eid) == call(HostCall.CAN_GO_ON, 99) == Status.ERROR
    assert [finish(inside), finish(waits)] == [1, 2]


def with_turn(machine: Machine) -> list[int]:
    """The eids of who waits and can go on, as the host finds them; nothing changes by its asking."""
    before, found = Whole(machine), [one.eid for one in machine.driver.with_turn()]
    assert before.changes() == []
    return found


def test_the_host_asks_who_has_a_turn(machine: Machine) -> None:
    """Call 104: one waits in the server front for counter, others for front; then the servers end."""
    call = machine.kernel.call
    front, counter = server(machine, slots=2, name="front", elf="counter-front"), server(machine, slots=1)
    inside, first, second, third = (client(machine) for _ in range(4))
    assert [go(one) for one in (inside, first, second, third)] == [Status.YIELD, *[Status.WAITING] * 3]
    assert with_turn(machine) == []
    assert call(HostCall.TURN, first.eid) == Status.ERROR
    assert finish(inside) == 1
    assert with_turn(machine) == [second.eid, first.eid]
    for eid in (third.eid, inside.eid, counter.eid, 99, 2**64 - 2):
        assert call(HostCall.TURN, eid) == Status.ERROR
    second.stop()
    assert with_turn(machine) == [third.eid, first.eid]
    assert call(HostCall.TURN, second.eid) == Status.ERROR
    counter.destroy()
    assert with_turn(machine) == [first.eid, third.eid]
    front.destroy()
    assert not first.alive
    assert with_turn(machine) == [third.eid]
    assert machine.driver.unstop(second.inner)
    assert with_turn(machine) == [second.eid, third.eid]
    third.destroy()
    assert with_turn(machine) == [second.eid]
    assert finish(second) == 2**64 - 1
    assert with_turn(machine) == []


def test_snapshots_in_the_middle_lose_nothing_that_is_to_be_cleared(machine: Machine) -> None:
    """D bits say what was written since a snapshot, and what of a slot's stack was written in its call."""
    server(machine, slots=2)
    first, second = client(machine), client(machine)
    assert [go(first), go(second)] == [Status.YIELD] * 2
    before = machine.snapshot()
    for _ in range(2):
        assert [finish(first), finish(second)] == [1, 1]
        assert audit(machine.monitor.state) == []  # which looks at the stacks
        machine.restore(before)
        assert [first.alive, second.alive] == [True, True]
    third = client(machine)
    assert go(third) == Status.WAITING
    machine.restore(machine.snapshot())
    assert [finish(first), finish(third), finish(second)] == [1, 2, 1]


def test_where_a_stack_is_does_not_outlive_a_way_back(machine: Machine) -> None:
    """Of two servers in the same place, whose records are alike, the second has a smaller stack."""

    def stacks(server: Enclave) -> list[list[range]]:
        state = machine.monitor.state
        return [list(slots._stack(state, slot)) for slot in state.slots(state.enclaves[server.eid])]

    def made(name: str) -> Enclave:
        elf = EXAMPLES[name].elf
        stack = (8 - load_image(elf.read_bytes()).pages) * PAGE
        return machine.create(elf, name="server", type="concurrent", slots=2, stack_size=stack)

    empty = machine.snapshot()
    first = made("counter")
    before, then = stacks(first), machine.snapshot()
    machine.restore(empty)
    assert stacks(made("fs-server")) != before
    machine.restore(then)
    assert stacks(first) == before


def test_a_report_names_the_slot(machine: Machine) -> None:
    counter = server(machine, slots=2)
    first, second = client(machine), client(machine)
    assert [go(first), go(second)] == [Status.YIELD] * 2
    place = second.place
    assert place is not None
    assert place.fault.chain[-1] == f"counter (eid {counter.eid}, slot 1)"
    assert "slot 1" in str(place)
    finish(first)
    finish(second)


def test_slots_are_looked_into_one_by_one(machine: Machine) -> None:
    counter = server(machine, slots=3)
    first, second = client(machine), client(machine)
    assert [go(first), go(second)] == [Status.YIELD] * 2
    slots = counter.slots
    assert [one.slot for one in slots] == [0, 1, 2]
    assert slots[0] == counter
    assert slots[1] != counter
    assert [one.caller for one in slots] == [first, second, None]
    assert [one.chain[0] for one in slots[:2]] == [first, second]
    assert second.chain[-1] == slots[1]
    assert first.slots == (first,)
    top = 0x38_0000_0000 - PAGE
    assert slots[0].mappings().at(top).pa != slots[1].mappings().at(top).pa
    assert any(slots[1].read(top, PAGE))
    assert not any(slots[2].read(top, PAGE))
    seen = []
    with machine.watch(on_switch=lambda event: seen.append(str(event.after))):
        finish(second)
        finish(first)
    assert [name for name in seen if name.startswith("counter (")] == [
        f"counter (eid {counter.eid}, slot 1)",
        f"counter (eid {counter.eid}, slot 0)",
    ]


def test_what_is_no_concurrent_server_has_no_slots(machine: Machine) -> None:
    elf = EXAMPLES["counter"].elf
    for count in (0, 65):
        with pytest.raises(EnclaveError, match="1 to 64"):
            machine.create(elf, name="counter", type=EnclaveType.CONCURRENT_SERVER, slots=count)
    with pytest.raises(EnclaveError, match="concurrent"):
        machine.create(elf, name="counter", type="server", slots=2)


def test_it_is_measured_as_a_server(machine: Machine) -> None:
    one = server(machine, slots=4)
    other = Machine(RAM).create(EXAMPLES["counter"].elf, name="counter", type="server")
    assert one.measurement == other.measurement
    assert one.attest(7).hash == other.attest(7).hash


def test_a_thousand_chains_at_once_in_under_300_mib() -> None:
    """What is touched of RAM, which is what the process is charged for: some are inside, the others wait."""
    machine = Machine(4 << 30)
    server(machine, slots=64)
    clients = [client(machine) for _ in range(1000)]
    assert [go(one) for one in clients] == [Status.YIELD] * 64 + [Status.WAITING] * 936
    assert sum(end - start for start, end in touched(machine.memory)) < 300 << 20
    assert all(finish(one) > 0 for one in clients)
