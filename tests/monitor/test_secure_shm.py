"""Memory shared between enclaves: §3 calls 84 and 83, §4 ocalls 9, 10 and 11."""

from collections.abc import Iterator

import pytest

from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, HostCall, Ocall, Status
from pltvm.monitor.pages import PRIVATE, SHARED
from tests.monitor.rig import (
    DATA,
    MINUS_1,
    NOWHERE,
    Ref,
    Script,
    Value,
    end_loop,
    stopped_in_loop,
    while_host_has_control,
)
from tests.monitor.shared_rig import SharedRig

TOP = abi.SECURE_SHM_TOP
KEY = 0xFEED_0000_0001
SIZE = 3 * PAGE


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf)
    yield rig
    for enclave in rig._made:
        if enclave.alive:
            enclave.destroy()
    rig.machine.reclaim()
    rig.finish()


def get(script: Script, key: int = KEY, size: int = SIZE, flags: int = 0) -> Ref:
    return script.ocall(Ocall.SHM_GET, key, size, flags)


def attach(script: Script, key: int = KEY) -> Ref:
    return script.ecall(Call.SHM_ATTACH, key)


def detach(script: Script, key: int = KEY) -> Ref:
    return script.ocall(Ocall.SHM_DETACH, key)


def destroy(script: Script, key: int = KEY) -> Ref:
    return script.ocall(Ocall.SHM_DESTROY, key)


def stat(script: Script, key: int = KEY, at: Value = DATA) -> Ref:
    return script.ecall(Call.SHM_STAT, key, at)


def test_get_maps_zeroed_memory_at_the_top(rig: SharedRig) -> None:
    script = Script()
    address = get(script)
    words = script.step(5, address, SIZE // 8)  # SUM
    script.poke(address + SIZE - 8, 7)
    value = script.peek(TOP - 8)
    answer = stat(script)
    users, size = script.peek(DATA), script.peek(DATA + 8)
    outcome = rig.outcome(rig.enclave(script))
    assert outcome[address] == TOP - SIZE
    assert (outcome[words], outcome[value]) == (0, 7)
    assert (outcome[answer], outcome[users], outcome[size]) == (0, 1, SIZE)


def test_exactly_the_size_asked_for_is_mapped(rig: SharedRig) -> None:
    script = Script()
    get(script)
    script.peek(TOP - SIZE - 8)
    assert rig.outcome(rig.enclave(script)).fault.address == TOP - SIZE - 8


def test_two_enclaves_see_the_same_pages(rig: SharedRig) -> None:
    first, second = Script(), Script()
    get(first, KEY + 1, PAGE)
    address = get(first)
    first.poke(address, 42)
    first.yield_()
    there = attach(second)
    value = second.peek(there)
    second.poke(there + 8, 43)
    outcome = rig.outcome(rig.enclave(first))
    assert outcome[address] == TOP - PAGE - SIZE
    seen = rig.outcome(rig.enclave(second))
    assert (seen[there], seen[value]) == (TOP - SIZE, 42)
    third = Script()
    value = third.peek(get(third, size=0) + 8)
    assert rig.outcome(rig.enclave(third))[value] == 43  # it outlives its users


def test_a_server_and_its_caller_share(rig: SharedRig) -> None:
    server_script, caller = Script(), Script()
    there = attach(server_script)
    server_script.poke(there, 5)
    answer = stat(server_script)
    users = server_script.peek(DATA)
    server_script.give()
    server = rig.server(server_script)
    here = get(caller)
    caller.call(server.eid)
    value = caller.peek(here)
    outcome = rig.outcome(rig.enclave(caller))
    assert outcome[value] == 5
    assert (server.now[answer], server.now[users]) == (0, 2)


def test_attach_twice_is_one_mapping(rig: SharedRig) -> None:
    script = Script()
    results = [get(script), attach(script), get(script), get(script, size=0)]
    stat(script)
    users = script.peek(DATA)
    outcome = rig.outcome(rig.enclave(script))
    assert [outcome[result] for result in results] == [TOP - SIZE] * 4
    assert outcome[users] == 1


def test_detach_and_attach_again(rig: SharedRig) -> None:
    script = Script()
    address = get(script)
    script.poke(address, 9)
    gone = detach(script)
    again = detach(script)
    stat(script)
    users = script.peek(DATA)
    back = attach(script)
    value = script.peek(back)
    outcome = rig.outcome(rig.enclave(script))
    assert (outcome[gone], outcome[again], outcome[users]) == (0, MINUS_1, 0)
    assert (outcome[back], outcome[value]) == (TOP - SIZE, 9)


def test_detached_memory_is_gone(rig: SharedRig) -> None:
    script = Script()
    address = get(script)
    detach(script)
    script.peek(address)
    fault = rig.outcome(rig.enclave(script)).fault
    assert (fault.address, fault.owner) == (TOP - SIZE, "nothing is mapped there")


def test_destroy_without_users_frees_at_once(rig: SharedRig) -> None:
    script = Script()
    get(script)
    detach(script)
    free = rig.free_pages
    done = destroy(script)
    no_more = [attach(script), stat(script), destroy(script)]
    enclave = rig.enclave(script)
    with while_host_has_control(rig.machine, lambda _status: rig.check()):
        outcome = rig.outcome(enclave)
    assert outcome[done] == 0
    assert [outcome[result] for result in no_more] == [0, MINUS_1, MINUS_1]
    assert rig.free_pages == free
    assert rig.machine.reclaim() == 0


def test_destroy_with_users_waits_for_the_last(rig: SharedRig) -> None:
    script = Script()
    address = get(script)
    script.poke(address, 1)
    done = destroy(script)
    still = script.peek(address)
    fresh = get(script)
    other = script.peek(fresh)
    old = detach(script)  # the older one
    new = detach(script)
    free = rig.free_pages
    outcome = rig.outcome(rig.enclave(script))
    assert (outcome[done], outcome[still], outcome[other]) == (0, 1, 0)
    assert (outcome[fresh], outcome[old], outcome[new]) == (TOP - 2 * SIZE, 0, 0)
    assert rig.free_pages == free - 4  # the newer one lives on
    assert rig.machine.reclaim() == 4 * PAGE


@pytest.mark.parametrize("ending", ["exit", "fault", "destroy"])
def test_the_end_of_the_last_user_frees_what_was_destroyed(rig: SharedRig, ending: str) -> None:
    script = Script()
    get(script)
    destroy(script)
    if ending == "fault":
        script.peek(NOWHERE)
    if ending == "destroy":
        script.loop()
    free = rig.free_pages
    enclave = rig.enclave(script)
    if ending == "destroy":
        stopped_in_loop(enclave)
        rig.check()
        enclave.destroy()
    else:
        enclave.run(timeout=20)
    rig.check()
    assert rig.free_pages == free


def test_a_user_of_a_destroyed_one_keeps_it(rig: SharedRig) -> None:
    user, owner = Script(), Script()
    address = get(user)
    user.poke(address, 3)
    user.loop()
    value = user.peek(address)
    attach(owner)
    done = destroy(owner)
    enclave = rig.enclave(user)
    stopped_in_loop(enclave)
    assert rig.outcome(rig.enclave(owner))[done] == 0
    end_loop(enclave)
    assert rig.resumed(enclave)[value] == 3
    assert rig.machine.reclaim() == 0


def test_a_stranger_cannot_destroy(rig: SharedRig) -> None:
    owner, stranger = Script(), Script()
    get(owner)
    refused = destroy(stranger)
    found = attach(stranger)
    rig.outcome(rig.enclave(owner))
    outcome = rig.outcome(rig.enclave(stranger))
    assert (outcome[refused], outcome[found]) == (MINUS_1, TOP - SIZE)


@pytest.mark.parametrize(
    ("size", "flags"), [(0, 0), (1, 0), (PAGE + 1, 0), (1 << 40, 0), (MINUS_1 - PAGE + 1, 0), (1 << 63, 0)]
)
def test_refused_get(rig: SharedRig, size: int, flags: int) -> None:
    script = Script()
    refused = get(script, size=size, flags=flags)
    assert rig.outcome(rig.enclave(script))[refused] == MINUS_1
    assert rig.machine.reclaim() == 0


def test_get_of_one_that_exists(rig: SharedRig) -> None:
    script = Script()
    get(script)
    smaller = get(script, size=PAGE)
    larger = get(script, size=SIZE + PAGE)
    exclusive = get(script, flags=abi.SHM_EXCLUSIVE)
    outcome = rig.outcome(rig.enclave(script))
    assert (outcome[smaller], outcome[larger], outcome[exclusive]) == (TOP - SIZE, MINUS_1, MINUS_1)


def test_unknown_key(rig: SharedRig) -> None:
    script = Script()
    results = [attach(script), stat(script), detach(script), destroy(script)]
    outcome = rig.outcome(rig.enclave(script))
    assert [outcome[result] for result in results] == [0, MINUS_1, MINUS_1, MINUS_1]


def test_stat_across_pages_and_with_bad_pointers(rig: SharedRig) -> None:
    script = Script()
    get(script)
    script.poke(DATA + PAGE + 8, MINUS_1)
    good = stat(script, at=DATA + PAGE - 8)
    values = [script.peek(DATA + PAGE + offset) for offset in (-8, 0, 8)]
    script.poke(DATA + 2 * PAGE - 8, 77)
    bad = [stat(script, at=at) for at in (NOWHERE, 0, MINUS_1, DATA + 2 * PAGE - 8, 0x1000)]
    untouched = script.peek(DATA + 2 * PAGE - 8)
    outcome = rig.outcome(rig.enclave(script))
    assert outcome[good] == 0
    assert [outcome[value] for value in values] == [1, SIZE, MINUS_1]
    assert {outcome[result] for result in bad} == {MINUS_1}
    assert outcome[untouched] == 77


def test_no_memory_in_the_host(rig: SharedRig) -> None:
    script = Script()
    refused = get(script, size=1 << 30)
    assert rig.outcome(rig.enclave(script))[refused] == MINUS_1


def test_a_hostile_host_offers_pages_that_are_not_its_own(rig: SharedRig) -> None:
    victim = rig.enclave(Script())
    driver = rig.machine.driver
    blocks = [
        (victim._inner.block, 4 * PAGE),
        (rig.machine.memory.base, 4 * PAGE),
        (victim._inner.kbuffer, PAGE),
        (0, 0),
        (0, 4 * PAGE),
    ]
    honest = driver.serving[Ocall.SHM_GET]
    for offer in blocks:
        driver.serving[Ocall.SHM_GET] = lambda _enclave, _size, _arg, offer=offer: offer
        script = Script()
        refused = get(script)
        assert rig.outcome(rig.enclave(script))[refused] == MINUS_1
    driver.serving[Ocall.SHM_GET] = honest


def test_the_pages_have_an_owner_of_their_own(rig: SharedRig) -> None:
    script = Script()
    get(script)
    rig.outcome(rig.enclave(script))
    (segment,) = rig.state.segments.values()
    owners = rig.state.owners
    first = (segment.block - rig.machine.memory.base) // PAGE
    assert set(owners.entries[first : first + 4].tolist()) == {PRIVATE | SHARED}
    assert rig.state.read_host(segment.block, 8) is None


def test_reclaim_only_without_users(rig: SharedRig) -> None:
    script = Script()
    get(script)
    script.loop()
    enclave = rig.enclave(script)
    stopped_in_loop(enclave)
    (segment,) = rig.state.segments.values()
    assert rig.call(HostCall.RECLAIM, segment.block, 4 * PAGE) == Status.ERROR
    assert rig.machine.reclaim() == 0
    enclave.destroy()
    assert rig.machine.reclaim() == 4 * PAGE
    rig.check()


def test_it_cannot_be_passed_to_a_server(rig: SharedRig) -> None:
    caller = Script()
    server = rig.server(Script())
    address = get(caller)
    refused = caller.call(server.eid, req_vaddr=address, req_size=PAGE)
    munmap = caller.munmap(address, PAGE)
    outcome = rig.outcome(rig.enclave(caller))
    assert (outcome[refused], outcome[munmap]) == (MINUS_1, MINUS_1)
