"""Relay pages (§7): handed over, split, sent to a name, returned, taken back."""

from collections.abc import Callable, Iterator

import pytest

from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.shared import BOUND, RelayMemory
from pltvm.monitor import abi
from pltvm.monitor.abi import HostCall, Ocall, Status
from tests.monitor.rig import BUSY, DATA, MINUS_1, NAME, NOWHERE, STRUCT, Script, stopped_in_loop
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split

FOUR = 4 * PAGE


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf)
    yield rig
    rig.finish()


def relay_of(rig: SharedRig, pages: int = 4) -> RelayMemory:
    return RelayMemory(rig.machine.driver, numbered(pages))


# -- split ---------------------------------------------------------------------------------------------------


def test_split_keeps_both_halves_where_they_are(rig: SharedRig) -> None:
    script = Script()
    done = split(script, RELAY, FOUR, RELAY + PAGE)
    values = [script.peek(RELAY + page * PAGE) for page in range(4)]
    script.poke(RELAY + 8, 77)
    script.poke(RELAY + 3 * PAGE + 8, 78)
    relay = relay_of(rig)
    outcome = rig.outcome(rig.with_relay(script, relay))
    assert outcome[done] == 0
    assert [outcome[value] for value in values] == [1, 2, 3, 4]
    assert outcome.entry[13:15] == [RELAY, FOUR]
    assert relay.here
    words = memoryview(relay.read()).cast("Q")
    assert (words[1], words[3 * 512 + 1]) == (77, 78)
    relay.free()


def test_ten_regions_at_most(rig: SharedRig) -> None:
    script = Script()
    size = 16 * PAGE
    results = [split(script, RELAY + n * PAGE, size - n * PAGE, RELAY + (n + 1) * PAGE) for n in range(10)]
    outcome = rig.outcome(rig.with_relay(script, numbered(16)))
    assert [outcome[result] for result in results] == [0] * 9 + [MINUS_1]
    assert outcome.result.relay == numbered(16)


@pytest.mark.parametrize(
    ("address", "size", "at"),
    [
        (RELAY, FOUR, RELAY + 8),  # §10
        (RELAY, FOUR, RELAY),
        (RELAY, FOUR, RELAY + FOUR),
        (RELAY, FOUR, RELAY - PAGE),
        (RELAY, FOUR, NOWHERE),
        (RELAY, 2 * PAGE, RELAY + PAGE),
        (RELAY, 5 * PAGE, RELAY + PAGE),
        (RELAY, 0, RELAY),
        (RELAY + PAGE, 3 * PAGE, RELAY + 2 * PAGE),
        (NOWHERE, FOUR, NOWHERE + PAGE),
        (MINUS_1, MINUS_1, MINUS_1),
        (abi.SHM_BASE, FOUR, abi.SHM_BASE + PAGE),
    ],
)
def test_refused_split(rig: SharedRig, address: int, size: int, at: int) -> None:
    script = Script()
    refused = split(script, address, size, at)
    good = split(script, RELAY, FOUR, RELAY + 2 * PAGE)
    outcome = rig.outcome(rig.with_relay(script, numbered(4)))
    assert (outcome[refused], outcome[good]) == (MINUS_1, 0)


def test_split_without_relay_pages(rig: SharedRig) -> None:
    script = Script()
    refused = split(script, RELAY, PAGE, RELAY)
    assert rig.outcome(rig.enclave(script))[refused] == MINUS_1


# -- asynchronous call ---------------------------------------------------------------------------------------


def test_a_region_goes_to_a_name(rig: SharedRig) -> None:
    sender, receiver = Script(), Script()
    split(sender, RELAY, FOUR, RELAY + PAGE)
    sent = send(sender, b"receiver", RELAY + PAGE, 3 * PAGE)
    kept = sender.peek(RELAY)
    values = [receiver.peek(RELAY + page * PAGE) for page in range(3)]
    receiver.poke(RELAY + 8, 99)
    relay = relay_of(rig)
    outcome = rig.outcome(rig.with_relay(sender, relay, b"sender"))
    assert (outcome[sent], outcome[kept]) == (0, 1)
    assert not relay.here
    with pytest.raises(EnclaveError, match="not the host's"):
        relay.read()
    outcome = rig.outcome(rig.with_relay(receiver, BOUND, b"receiver"))
    assert [outcome[value] for value in values] == [2, 3, 4]
    assert outcome.entry[13:15] == [RELAY, 3 * PAGE]
    assert memoryview(relay.read()).cast("Q")[512 + 1] == 99
    relay.free()


def test_several_regions_to_one_name_come_in_order(rig: SharedRig) -> None:
    sender, receiver = Script(), Script()
    split(sender, RELAY, FOUR, RELAY + PAGE)
    split(sender, RELAY + PAGE, 3 * PAGE, RELAY + 2 * PAGE)
    send(sender, b"receiver", RELAY + PAGE, PAGE)
    send(sender, b"receiver", RELAY, PAGE)
    values = [receiver.peek(RELAY + page * PAGE) for page in range(2)]
    rig.outcome(rig.with_relay(sender, numbered(4)))
    outcome = rig.outcome(rig.with_relay(receiver, BOUND, b"receiver"))
    assert [outcome[value] for value in values] == [2, 1]
    assert outcome.entry[14] == 2 * PAGE


def test_what_was_sent_is_unmapped(rig: SharedRig) -> None:
    script = Script()
    send(script, b"other", RELAY, PAGE)
    script.peek(RELAY)
    relay = relay_of(rig, 1)
    fault = rig.outcome(rig.with_relay(script, relay)).fault
    assert fault.address == RELAY
    relay.free()  # cleared, from the monitor


def test_nothing_bound_is_no_error(rig: SharedRig) -> None:
    outcome = rig.outcome(rig.with_relay(Script(), BOUND, b"nobody"))
    assert outcome.entry[13:15] == [0, 0]


@pytest.mark.parametrize("late", [False, True])
def test_the_receiver_may_exist_before(rig: SharedRig, late: bool) -> None:
    sender, receiver = Script(), Script()
    send(sender, b"receiver", RELAY, PAGE)
    value = receiver.peek(RELAY)
    first = None if late else rig.with_relay(receiver, BOUND, b"receiver")
    rig.outcome(rig.with_relay(sender, numbered(1)))
    assert rig.outcome(first or rig.with_relay(receiver, BOUND, b"receiver"))[value] == 1


def test_ten_regions_for_a_name_at_most(rig: SharedRig) -> None:
    sent = []
    for _ in range(11):
        script = Script()
        result = send(script, b"full", RELAY, PAGE)
        sent.append(rig.outcome(rig.with_relay(script, numbered(1)))[result])
    assert sent == [0] * 10 + [MINUS_1]
    outcome = rig.outcome(rig.with_relay(Script(), BOUND, b"full"))
    assert outcome.entry[14] == 10 * PAGE


@pytest.mark.parametrize(
    ("name", "address", "size"),
    [
        (b"", RELAY, PAGE),
        (b"x", RELAY, 0),
        (b"x", RELAY, 5 * PAGE),
        (b"x", RELAY, PAGE + 8),
        (b"x", RELAY + 8, PAGE),
        (b"x", 0, PAGE),
        (b"x", NOWHERE, PAGE),
        (b"x", abi.SHM_BASE, PAGE),
        (b"x", MINUS_1 - PAGE + 1, MINUS_1 - PAGE + 1),
    ],
)
def test_refused_asynchronous_call(rig: SharedRig, name: bytes, address: int, size: int) -> None:
    script = Script()
    refused = send(script, name, address, size)
    value = script.peek(RELAY)
    outcome = rig.outcome(rig.with_relay(script, numbered(4)))
    assert (outcome[refused], outcome[value]) == (MINUS_1, 1)
    assert outcome.result.relay == numbered(4)


@pytest.mark.parametrize("pointer", [NOWHERE, MINUS_1, 0, DATA + 2 * PAGE - 16])
def test_asynchronous_call_with_a_bad_pointer(rig: SharedRig, pointer: int) -> None:
    script = Script()
    script.text(b"x", NAME)
    script.struct(STRUCT, req_vaddr=RELAY, req_size=PAGE)
    bad_struct = script.ecall(abi.Call.ASYNC_CALL, NAME, pointer)
    bad_name = script.ecall(abi.Call.ASYNC_CALL, NOWHERE, STRUCT)
    outcome = rig.outcome(rig.with_relay(script, numbered(1)))
    assert (outcome[bad_struct], outcome[bad_name]) == (MINUS_1, MINUS_1)


def test_names_must_be_unique(rig: SharedRig) -> None:
    first = rig.with_relay(Script(), numbered(1), b"twin")
    second = rig.with_relay(Script(), numbered(1), b"twin")
    for enclave in (first, second):
        with pytest.raises(EnclaveError, match="refused"):
            enclave.run()
    rig.check()
    first.destroy()
    assert rig.outcome(second).entry[14] == PAGE


def test_without_relay_pages_names_need_not_be_unique(rig: SharedRig) -> None:
    rig.enclave(Script(), name=b"twin")
    assert rig.outcome(rig.enclave(Script(), name=b"twin")).result.ok


# -- return of relay pages -----------------------------------------------------------------------------------


def test_return_and_run_again_with_new_pages(rig: SharedRig) -> None:
    script = Script()
    first = script.peek(RELAY)
    script.poke(RELAY, 11)
    returned = script.ocall(Ocall.RETURN_RELAY)
    second = script.peek(RELAY)
    script.poke(RELAY, 22)
    one, two = relay_of(rig, 2), RelayMemory(rig.machine.driver, bytes([5]))
    enclave = rig.with_relay(script, one)
    outcome = rig.outcome(enclave)
    assert outcome.result.status == "relay returned"
    assert outcome.result.retval is None
    assert outcome[first] == 1
    assert memoryview(one.read()).cast("Q")[0] == 11
    outcome = rig.resumed(enclave, relay=two)
    assert outcome.result.ok
    assert (outcome[returned], outcome[second]) == (0, 5)
    assert memoryview(two.read()).cast("Q")[0] == 22
    one.free()
    two.free()


def test_all_regions_are_returned(rig: SharedRig) -> None:
    script = Script()
    split(script, RELAY, FOUR, RELAY + PAGE)
    split(script, RELAY + PAGE, 3 * PAGE, RELAY + 2 * PAGE)
    script.ocall(Ocall.RETURN_RELAY)
    again = script.ocall(Ocall.RETURN_RELAY)
    relay = relay_of(rig)
    enclave = rig.with_relay(script, relay)
    rig.outcome(enclave)
    assert relay.read() == numbered(4)
    outcome = rig.resumed(enclave)  # no new ones
    assert outcome.result.ok
    assert outcome[again] == MINUS_1
    relay.free()


def test_returned_pages_are_gone(rig: SharedRig) -> None:
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    script.peek(RELAY)
    enclave = rig.with_relay(script, numbered(1))
    rig.outcome(enclave)
    assert rig.resumed(enclave).fault.address == RELAY


def test_run_again_with_what_is_bound(rig: SharedRig) -> None:
    sender, script = Script(), Script()
    send(sender, b"again", RELAY, PAGE)
    script.ocall(Ocall.RETURN_RELAY)
    value = script.peek(RELAY)
    enclave = rig.with_relay(script, bytes(8), b"again")
    rig.outcome(enclave)
    rig.outcome(rig.with_relay(sender, numbered(1)))
    assert rig.resumed(enclave, relay=BOUND)[value] == 1


def test_bad_new_pages_leave_it_waiting(rig: SharedRig) -> None:
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    value = script.peek(RELAY)
    enclave = rig.with_relay(script, numbered(1))
    rig.outcome(enclave)
    monitor = rig.machine.memory.base
    block = enclave._inner.block
    for pa, size in [(monitor, PAGE), (block, PAGE), (0, PAGE), (enclave._inner.page, PAGE), (MINUS_1, PAGE)]:
        for number in (size, size + 1):
            status = rig.call(HostCall.RESUME, enclave.eid, 2, Ocall.RETURN_RELAY, pa, number)
            assert status == Status.ERROR
    assert rig.call(HostCall.RESUME, enclave.eid, 0) == Status.ERROR
    assert rig.call(HostCall.RESUME, enclave.eid, 2, Ocall.MMAP, 0, 0) == Status.ERROR
    rig.check()
    assert rig.resumed(enclave, relay=numbered(1))[value] == 1


def test_resume_with_pages_that_nobody_waits_for(rig: SharedRig) -> None:
    script = Script()
    script.loop()
    enclave = rig.enclave(script)
    stopped_in_loop(enclave)
    with pytest.raises(EnclaveError, match="does not wait"):
        enclave.resume(relay=bytes(8))
    enclave.destroy()


def test_destroy_while_it_waits_for_pages(rig: SharedRig) -> None:
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    enclave = rig.with_relay(script, numbered(2))
    rig.outcome(enclave)
    enclave.destroy()
    rig.check()


def test_a_server_cannot_return_its_callers_pages(rig: SharedRig) -> None:
    server_script, caller = Script(), Script()
    refused = server_script.ocall(Ocall.RETURN_RELAY)
    no_split = split(server_script, RELAY, FOUR, RELAY + PAGE)
    server_script.give(req_vaddr=RELAY, req_size=FOUR)
    server = rig.server(server_script)
    result = caller.call(server.eid, req_vaddr=RELAY, req_size=FOUR)
    value = caller.peek(RELAY)
    outcome = rig.outcome(rig.with_relay(caller, numbered(4)))
    assert (outcome[result], outcome[value]) == (0, 1)
    assert (server.now[refused], server.now[no_split]) == (MINUS_1, MINUS_1)


# -- with calls ----------------------------------------------------------------------------------------------


def test_half_of_the_relay_area_goes_to_a_server_and_comes_back(rig: SharedRig) -> None:
    server_script, caller = Script(), Script()
    seen = server_script.peek(RELAY)
    server_script.poke(RELAY + 8, 5)
    server_script.give(req_vaddr=RELAY, req_size=PAGE)
    server = rig.server(server_script)
    split(caller, RELAY, FOUR, RELAY + PAGE)
    caller.call(server.eid, req_vaddr=RELAY, req_size=PAGE)
    back = caller.peek(STRUCT + 16)
    relay = relay_of(rig)
    outcome = rig.outcome(rig.with_relay(caller, relay))
    assert outcome[back] == RELAY
    assert server.now[seen] == 1
    assert memoryview(relay.read()).cast("Q")[1] == 5
    relay.free()


def test_a_server_sends_what_it_was_lent_to_a_name(rig: SharedRig) -> None:
    server_script, caller, receiver = Script(), Script(), Script()
    send(server_script, b"third", RELAY, PAGE)
    server_script.give(DATA + 0x400, req_vaddr=RELAY, req_size=PAGE)
    server = rig.server(server_script)
    result = caller.call(server.eid, req_vaddr=RELAY, req_size=PAGE)
    back = caller.peek(STRUCT + 16)
    outcome = rig.outcome(rig.with_relay(caller, numbered(1)))
    assert (outcome[result], outcome[back]) == (0, 0)
    value = receiver.peek(RELAY)
    assert rig.outcome(rig.with_relay(receiver, BOUND, b"third"))[value] == 1


def test_destroy_of_a_chain_whose_server_sent_the_pages_on(rig: SharedRig) -> None:
    server_script, caller = Script(), Script()
    send(server_script, b"third", RELAY, PAGE)
    server_script.peek(NOWHERE)
    server = rig.server(server_script)
    caller.call(server.eid, req_vaddr=RELAY, req_size=PAGE)
    relay = relay_of(rig, 1)
    assert rig.outcome(rig.with_relay(caller, relay)).result.status == "faulted"
    relay.free()
    assert BUSY  # the server is gone with the fault


# -- reclaim -------------------------------------------------------------------------------------------------


def bind(rig: SharedRig, name: bytes = b"lost") -> RelayMemory:
    script = Script()
    send(script, name, RELAY, FOUR)
    relay = relay_of(rig)
    rig.outcome(rig.with_relay(script, relay))
    return relay


def test_reclaim_gives_bound_pages_back_cleared(rig: SharedRig) -> None:
    relay = bind(rig)
    relay.reclaim()
    rig.check()
    assert relay.read() == bytes(FOUR)
    outcome = rig.outcome(rig.with_relay(Script(), BOUND, b"lost"))
    assert outcome.entry[14] == 0
    relay.free()


def test_reclaim_of_memory_that_came_in_place_of_relay_pages(rig: SharedRig) -> None:
    """Its record lies in its first page, which is the host's then: nothing of the monitor's stays there."""
    server_script, caller = Script(), Script()
    server_script.give(req_vaddr=server_script.mmap(PAGE), req_size=PAGE)
    server = rig.server(server_script)
    caller.call(server.eid, req_vaddr=RELAY, req_size=PAGE)
    sent = send(caller, b"lost", RELAY, PAGE)
    assert rig.outcome(rig.with_relay(caller, numbered(1)))[sent] == 0
    (region,) = rig.state.bound[b"lost"]
    block, size, free = region.block, region.block_pages * PAGE, rig.state.globals.free_regions
    assert region.has_page
    assert rig.machine.reclaim() == size
    assert rig.machine.memory.read(block, size) == bytes(size)
    assert rig.state.globals.free_regions == free
    rig.check()


@pytest.mark.parametrize("own", [0, 2])
def test_bound_pages_come_only_if_they_are_asked_for(rig: SharedRig, own: int) -> None:
    relay = bind(rig)
    pages = relay_of(rig, own) if own else None
    assert rig.outcome(rig.with_relay(Script(), pages, b"lost")).entry[14] == own * PAGE
    assert len(rig.state.bound[b"lost"]) == 1
    assert rig.outcome(rig.with_relay(Script(), BOUND, b"lost")).entry[14] == FOUR
    assert not rig.state.bound
    relay.free()
    if pages is not None:
        pages.free()


@pytest.mark.parametrize(
    "what",
    ["part", "monitor", "enclave", "unaligned", "unaligned before", "unaligned size", "nothing", "outside"],
)
def test_refused_reclaim(rig: SharedRig, what: str) -> None:
    relay = bind(rig)
    living = rig.enclave(Script())
    state = rig.state
    spans: dict[str, Callable[[], tuple[int, int]]] = {
        "part": lambda: (relay.pa, PAGE),
        "monitor": lambda: (rig.machine.memory.base, PAGE),
        "enclave": lambda: (living._inner.block, PAGE),
        "unaligned": lambda: (relay.pa + 8, FOUR),
        "unaligned before": lambda: (relay.pa - 8, FOUR + PAGE),
        "unaligned size": lambda: (relay.pa, FOUR + 8),
        "nothing": lambda: (relay.pa, 0),
        "outside": lambda: (0, PAGE),
    }
    assert rig.call(HostCall.RECLAIM, *spans[what]()) == Status.ERROR
    rig.check()
    assert len(state.bound[b"lost"]) == 1
    relay.free()


def test_pages_of_an_enclave_cannot_be_reclaimed(rig: SharedRig) -> None:
    script = Script()
    script.loop()
    relay = relay_of(rig)
    enclave = rig.with_relay(script, relay)
    stopped_in_loop(enclave)
    with pytest.raises(EnclaveError, match="living enclave"):
        relay.free()
    enclave.destroy()
    assert relay.read() == bytes(FOUR)  # cleared: it was destroyed
    relay.free()


def test_relay_init_gives_the_monitor_memory(rig: SharedRig) -> None:
    block = rig.machine.kernel.blocks.take(1)
    assert rig.call(HostCall.RELAY_INIT, block, PAGE) == Status.OK
    rig.check()


def test_reclaim_of_a_bound_block_of_mmap(rig: SharedRig) -> None:
    """Its record lies in the block itself: none is to be had there once the host has it."""
    server_script, sender = Script(), Script()
    block = server_script.mmap(PAGE)
    server_script.give(req_vaddr=block, req_size=PAGE)
    server = rig.server(server_script)
    result = sender.call(server.eid, req_vaddr=RELAY, req_size=PAGE)
    back = sender.peek(STRUCT + 16)
    sent = send(sender, b"lost", RELAY, PAGE)
    outcome = rig.outcome(rig.with_relay(sender, numbered(1)))
    assert [outcome[result], outcome[back], outcome[sent]] == [0, RELAY, 0]
    (region,) = rig.state.bound[b"lost"]
    pa, pages = region.whole
    assert region.has_page
    assert rig.call(HostCall.RECLAIM, pa, pages * PAGE) == Status.OK
    rig.machine.memory.write(pa, b"\xff" * PAGE)  # the host, as it likes
    relay = relay_of(rig)
    script = Script()
    done = split(script, RELAY, FOUR, RELAY + PAGE)
    assert rig.outcome(rig.with_relay(script, relay))[done] == 0
    assert rig.machine.memory.read(pa, PAGE) == b"\xff" * PAGE
    relay.free()
    rig.leak = pages
