"""Calls between enclaves, made by guest code: what moves, what is refused, what stays (§5)."""

import pytest

from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, HostCall, Ocall, Status
from pltvm.monitor.chain import CALLING, RUNNABLE, WAITING
from tests.monitor.rig import (
    BUMP,
    BUSY,
    DATA,
    FILL,
    GET_FP,
    MINUS_1,
    NOWHERE,
    PEEK4,
    RAW,
    SET_FP,
    STRUCT,
    SUM,
    Rig,
    Script,
    Value,
    while_host_has_control,
)

STACK_PAGE = abi.STACK_TOP - 8 * PAGE
MAPPED = 7 * PAGE  # what a request for 4 pages maps
CONSTANT = 0x2000  # .rodata: mapped, not writable


def echo(**fields: Value) -> Script:
    """A server that returns at once."""
    script = Script()
    script.give(**fields)
    return script


# -- acquire -----------------------------------------------------------------------------------------------


def test_acquire_gives_the_eid_of_a_living_server(rig: Rig) -> None:
    rig.server(Script(), b"other")
    server = rig.server(Script(), b"server")
    rig.enclave(Script(), name=b"normal")
    caller = Script()
    known, unknown, normal = (caller.acquire(name) for name in (b"server", b"serve", b"normal"))
    empty = caller.acquire(b"")
    outcome = rig.run(caller)
    assert outcome[known] == server.eid
    assert outcome[unknown] == outcome[normal] == outcome[empty] == MINUS_1


def test_acquire_takes_sixteen_bytes_without_nul(rig: Rig) -> None:
    server = rig.server(Script(), b"0123456789abcdef")
    caller = Script()
    exact, longer = caller.acquire(b"0123456789abcdef"), caller.acquire(b"0123456789abcdefgh")
    shorter = caller.acquire(b"0123456789abcde")
    outcome = rig.run(caller)
    assert (outcome[exact], outcome[longer], outcome[shorter]) == (server.eid, server.eid, MINUS_1)


def test_acquire_by_a_name_on_two_pages_that_lie_apart_in_memory(rig: Rig) -> None:
    """What is behind the first page in RAM is not what is behind it for the enclave, nor its to read."""
    server = rig.server(Script(), b"0123456789abcdef")
    caller = Script()
    high, low = caller.mmap(PAGE), caller.mmap(PAGE)
    found = caller.acquire(b"0123456789abcdef", low + PAGE - 8)
    caller.poke(high, int.from_bytes(b"89abcdeX", "little"))
    other = caller.ecall(Call.ACQUIRE, low + PAGE - 8)
    outcome = rig.run(caller)
    assert outcome[low] + PAGE == outcome[high]
    assert (outcome[found], outcome[other]) == (server.eid, MINUS_1)


def test_acquire_at_the_end_of_a_page(rig: Rig) -> None:
    server = rig.server(Script(), b"server")
    caller = Script()
    page = caller.mmap(PAGE)
    fits = caller.acquire(b"server", page + PAGE - 8)
    caller.poke(page + PAGE - 8, int.from_bytes(b"serverxx", "little"))
    no_nul = caller.ecall(Call.ACQUIRE, page + PAGE - 8)
    unmapped = caller.ecall(Call.ACQUIRE, page + PAGE)
    null, high = caller.ecall(Call.ACQUIRE, 0), caller.ecall(Call.ACQUIRE, MINUS_1 - 7)
    non_canonical = caller.ecall(Call.ACQUIRE, 1 << 40)
    caller.mmap(PAGE, page + PAGE)  # not free: above the top of the area, so it goes below
    outcome = rig.run(caller)
    assert outcome[fits] == server.eid
    assert {outcome[ref] for ref in (no_nul, unmapped, null, high, non_canonical)} == {MINUS_1}


def test_acquire_across_two_pages(rig: Rig) -> None:
    server = rig.server(Script(), b"server-number-1")
    caller = Script()
    area = caller.mmap(2 * PAGE)
    across = caller.acquire(b"server-number-1", area + PAGE - 8)
    assert rig.run(caller)[across] == server.eid


def test_acquire_after_destroy(rig: Rig) -> None:
    old = rig.server(Script())
    old.enclave.destroy()
    caller = Script()
    handle = caller.acquire(b"server")
    assert rig.run(caller)[handle] == MINUS_1
    new = rig.server(Script())
    assert new.eid != old.eid
    assert rig.run(caller)[handle] == new.eid


# -- call and return ---------------------------------------------------------------------------------------


def test_values_go_both_ways(rig: Rig) -> None:
    server_list = Script()
    argument = server_list.entry(10)
    server_list.give(resp_val=argument + 1)
    server = rig.server(server_list)
    caller = Script()
    status = caller.call(server.eid, req_arg=0xFEDC_BA98_7654_3210, resp_val=3, resp_vaddr=4, resp_size=5)
    reply = caller.results()
    outcome = rig.run(caller)
    assert outcome[status] == 0
    assert outcome.values(reply) == {
        "req_arg": 0xFEDC_BA98_7654_3210,
        "resp_val": 0xFEDC_BA98_7654_3211,
        "req_vaddr": 0,
        "req_size": 0,
        "resp_vaddr": 0,
        "resp_size": 0,
    }


def test_callers_registers_survive_a_call(rig: Rig) -> None:
    server = rig.server(echo(resp_val=9))
    caller = Script()
    caller.struct(STRUCT)
    status = caller.step(RAW, abi.ENCLAVE_CALL, Call.CALL, server.eid, STRUCT, 77)
    outcome = rig.run(caller)
    regs = outcome.regs
    assert outcome[status] == 0
    assert regs[2] == regs[0], "sp"
    assert regs[11:13] == [STRUCT, 77]
    assert regs[16:18] == [abi.ENCLAVE_CALL, Call.CALL]
    for number in [1, *range(3, 10), *range(13, 16), *range(18, 32)]:
        assert regs[number] == 0x0101010101010101 * (number + 1) % 2**64, f"x{number}"


def test_server_enters_afresh_on_every_call(rig: Rig) -> None:
    server = rig.server(echo())
    caller = Script()
    page = caller.mmap(4 * PAGE)
    caller.call(server.eid, req_arg=5, req_vaddr=page, req_size=2 * PAGE)
    rig.run(caller)
    entry = server.now.entry
    expected = [0] * 32
    expected[2] = abi.STACK_TOP
    expected[10:15] = [5, abi.MMAP_TOP - MAPPED, 2 * PAGE, abi.SHM_BASE, 10 * PAGE]
    assert entry == expected

    plain = Script()
    plain.call(server.eid, req_arg=6, req_size=PAGE)  # a size without an address is no request
    rig.run(plain)
    expected[10:13] = [6, 0, 0]
    assert server.now.entry == expected
    assert server.now.entries == 2


def test_server_memory_persists_between_calls(rig: Rig) -> None:
    server_list = Script()
    count = server_list.step(BUMP)
    server_list.give(resp_val=count)
    server = rig.server(server_list)
    caller = Script()
    replies = []
    for _ in range(5):
        caller.call(server.eid)
        replies.append(caller.peek(STRUCT + 8))
    outcome = rig.run(caller)
    assert [outcome[reply] for reply in replies] == [101, 102, 103, 104, 105]
    again = rig.run(caller)
    assert [again[reply] for reply in replies] == [106, 107, 108, 109, 110]


def test_floating_point_state_does_not_leak(rig: Rig) -> None:
    server_list = Script()
    seen = server_list.step(GET_FP)
    server_list.step(SET_FP, 0x5EC2E7)
    kept = server_list.step(GET_FP)
    server_list.give(resp_val=seen)
    server = rig.server(server_list)
    caller = Script()
    caller.step(SET_FP, 0xCA11E2)
    caller.call(server.eid)
    first = caller.peek(STRUCT + 8)
    own = caller.step(GET_FP)
    caller.yield_()
    caller.call(server.eid)
    second = caller.peek(STRUCT + 8)
    still = caller.step(GET_FP)
    outcome = rig.run(caller)
    assert outcome[first] == outcome[second] == 0
    assert outcome[own] == outcome[still] == 0xCA11E2 | 0x61
    assert server.now[kept] == 0x5EC2E7 | 0x61
    never = Script()
    clean = never.step(GET_FP)
    assert rig.run(never)[clean] == 0


def test_caller_and_enclave_id(rig: Rig) -> None:
    inner_list, outer_list, caller = Script(), Script(), Script()
    inner_caller, inner_id = inner_list.caller_id(), inner_list.enclave_id()
    inner_list.give()
    inner = rig.server(inner_list, b"inner")
    outer_caller = outer_list.caller_id()
    outer_list.call(inner.eid)
    after = outer_list.caller_id()
    outer_list.give()
    outer = rig.server(outer_list, b"outer")
    before, own = caller.caller_id(), caller.enclave_id()
    caller.call(outer.eid)
    afterwards = caller.caller_id()
    outcome = rig.run(caller)
    assert outcome[before] == outcome[afterwards] == MINUS_1
    assert inner.now[inner_caller] == outer.eid
    assert inner.now[inner_id] == inner.eid
    assert outer.now[outer_caller] == outer.now[after] == outcome[own]


def test_chain_of_64(rig: Rig) -> None:
    depth = 64
    servers = []
    for number in range(depth):
        script = Script()
        argument, page = script.entry(10), script.entry(11)
        script.poke(page + 8 * number, argument)
        if number:
            script.call(servers[-1].eid, req_arg=argument + 1, req_vaddr=page, req_size=PAGE)
            value, back = script.peek(STRUCT + 8), script.peek(STRUCT + 16)
            script.give(resp_val=value + 1, req_vaddr=back, req_size=PAGE)
        else:
            script.print(b"bottom\n")
            more = script.mmap(PAGE)
            script.munmap(more, PAGE)
            script.give(resp_val=1000, req_vaddr=page, req_size=PAGE)
        servers.append(rig.server(script, b"s%d" % number))
    caller = Script()
    page = caller.mmap(PAGE)
    caller.print(b"down\n")
    status = caller.call(servers[-1].eid, req_arg=1, req_vaddr=page, req_size=PAGE)
    reply, back = caller.peek(STRUCT + 8), caller.peek(STRUCT + 16)
    total = caller.step(SUM, page, depth)
    caller.print(b"up\n")
    outcome = rig.run(caller)
    assert outcome[status] == 0
    assert outcome[reply] == 1000 + depth - 1
    assert outcome[back] == outcome[page]
    assert outcome[total] == sum(range(1, depth + 1))
    assert outcome.output == "down\nbottom\nup\n"


# -- refused calls -----------------------------------------------------------------------------------------


def test_bad_handles(rig: Rig) -> None:
    dead = rig.server(Script(), b"dead")
    dead.enclave.destroy()
    normal = rig.enclave(Script())
    caller = Script()
    own = caller.enclave_id()
    handles: list[Value] = [own, dead.eid, normal.eid, 999, MINUS_1, 1 << 32, 1 << 63]
    results = [caller.call(handle) for handle in handles]
    outcome = rig.run(caller)
    assert [outcome[result] for result in results] == [MINUS_1] * len(handles)


def test_struct_pointers(rig: Rig) -> None:
    server = rig.server(echo(resp_val=21))
    caller = Script()
    area = caller.mmap(2 * PAGE)  # maps three
    across = caller.call(server.eid, at=area + PAGE - 16)
    reply = caller.results(area + PAGE - 16)
    misaligned = caller.call(server.eid, at=area + 3)
    odd_reply = caller.peek(area + 3 + 8)
    last = caller.call(server.eid, at=area + 3 * PAGE - 48)
    bad = [
        caller.ecall(Call.CALL, server.eid, address)
        for address in (0, NOWHERE, CONSTANT, 0x1000, MINUS_1 - 7, 1 << 39, area + 3 * PAGE)
    ]
    caller.poke(area + 3 * PAGE - 40, 0)
    into_nothing = caller.ecall(Call.CALL, server.eid, area + 3 * PAGE - 40)
    outcome = rig.run(caller)
    assert outcome[across] == outcome[misaligned] == outcome[last] == 0
    assert outcome.values(reply)["resp_val"] == outcome[odd_reply] == 21
    assert [outcome[ref] for ref in (*bad, into_nothing)] == [MINUS_1] * 8
    assert server.now.entries == 3


def test_a_struct_on_two_pages_that_lie_apart_in_memory(rig: Rig) -> None:
    server = rig.server(echo(resp_val=21))
    caller = Script()
    high, low = caller.mmap(PAGE), caller.mmap(PAGE)
    status = caller.call(server.eid, at=low + PAGE - 16, req_arg=7, resp_val=3, resp_vaddr=4, resp_size=5)
    reply = caller.results(low + PAGE - 16)
    rest = [caller.peek(high + 8 * n) for n in range(5)]
    outcome = rig.run(caller)
    assert outcome[low] + PAGE == outcome[high]
    assert outcome[status] == 0
    assert outcome.values(reply) == {
        "req_arg": 7, "resp_val": 21, "req_vaddr": 0, "req_size": 0, "resp_vaddr": 0, "resp_size": 0,
    }  # fmt: skip
    assert [outcome[ref] for ref in rest] == [0] * 5


def test_who_runs_and_who_waits(rig: Rig) -> None:
    server_list = Script()
    server_list.print(b"in the call")
    server_list.give()
    server = rig.server(server_list)
    caller = Script()
    caller.call(server.eid)
    caller.print(b"after it")
    states = []

    def look(_status: int) -> None:
        states.append({e.eid == server.eid: e.state for e in rig.machine.monitor.state.enclaves.values()})

    with while_host_has_control(rig.machine, look):
        rig.run(caller)
    assert states[0] == {True: WAITING, False: CALLING}
    assert states[1] == {True: RUNNABLE, False: WAITING}


def test_ranges_that_cannot_be_passed(rig: Rig) -> None:
    server = rig.server(echo())
    caller = Script()
    area = caller.mmap(4 * PAGE)
    other = caller.mmap(PAGE)  # directly below: two mappings in a row are not one range
    heap = caller.sbrk(PAGE)
    caller.step(FILL, area, 3, 8)
    ranges: list[tuple[Value, Value]] = [
        (area + 8, PAGE),
        (area, 0),
        (area, PAGE + 1),
        (area, 8),
        (area, 8 * PAGE),
        (area + PAGE, 7 * PAGE),
        (area - PAGE, PAGE * 2),
        (other, 8 * PAGE),
        (area, MINUS_1 - PAGE + 1),
        (area, 1 << 63),
        (NOWHERE, PAGE),
        (0x1000, PAGE),
        (STACK_PAGE, PAGE),
        (heap - PAGE, PAGE),
        (abi.HEAP_BASE, PAGE),
        (abi.KBUFFER, PAGE),
        (abi.SHM_BASE, PAGE),
        (DATA, PAGE),
        (abi.RELAY_BASE, PAGE),
        (MINUS_1 - PAGE + 1, PAGE),
    ]
    results = [caller.call(server.eid, req_vaddr=at, req_size=size) for at, size in ranges]
    kept = caller.step(SUM, area, 8)
    outcome = rig.run(caller)
    assert [outcome[result] for result in results] == [MINUS_1] * len(ranges)
    assert outcome[kept] == 24
    assert server.now.entries == 0


def test_struct_right_behind_the_passed_mapping(rig: Rig) -> None:
    server = rig.server(echo(resp_val=21))
    caller = Script()
    high, low = caller.mmap(PAGE), caller.mmap(PAGE)
    status = caller.call(server.eid, at=high, req_vaddr=low, req_size=PAGE)
    reply = caller.results(high)
    outcome = rig.run(caller)
    assert outcome[low] + PAGE == outcome[high]
    assert outcome[status] == 0
    assert outcome.values(reply)["resp_val"] == 21


def test_struct_inside_the_passed_mapping_is_refused(rig: Rig) -> None:
    """The results could not be written any more. The mapping moves as a whole, so all of it counts."""
    server = rig.server(echo())
    caller = Script()
    area = caller.mmap(4 * PAGE)
    inside = caller.call(server.eid, at=area, req_vaddr=area, req_size=PAGE)
    behind = caller.call(server.eid, at=area + 6 * PAGE, req_vaddr=area, req_size=PAGE)
    rest = caller.step(SUM, area, 1)
    outcome = rig.run(caller)
    assert outcome[inside] == outcome[behind] == MINUS_1
    assert outcome[rest] == 0


def test_busy(rig: Rig) -> None:
    """A server cannot call itself nor anybody who waits for it."""
    first, second = rig.server(Script(), b"first"), rig.server(Script(), b"second")
    second_list = Script()
    up, itself = second_list.call(first.eid), second_list.call(second.eid)
    bad_pointer = second_list.ecall(Call.CALL, first.eid, 0)
    own_caller = second_list.caller_id()
    to_top = second_list.call(own_caller - first.eid + second.eid + 1)
    second_list.give()
    second.load(second_list)
    first_list = Script()
    down = first_list.call(second.eid)
    first_list.give()
    first.load(first_list)
    caller = Script()
    own = caller.enclave_id()
    status = caller.call(first.eid)
    outcome = rig.run(caller)
    assert outcome[status] == first.now[down] == 0
    assert second.now[up] == second.now[itself] == BUSY
    assert second.now[bad_pointer] in (BUSY, MINUS_1)
    assert outcome[own] == second.eid + 1
    assert second.now[to_top] == MINUS_1, "the top caller is no server"


def test_exit_and_return_where_they_do_not_belong(rig: Rig) -> None:
    server_list = Script()
    left = server_list.exit(3)
    bad = [server_list.ecall(Call.RETURN, at) for at in (0, NOWHERE, MINUS_1 - 7)]
    read_only = server_list.ecall(Call.ENCLAVE_ID)
    server_list.give(resp_val=left)
    server = rig.server(server_list)
    caller = Script()
    status = caller.call(server.eid)
    value = caller.peek(STRUCT + 8)
    returned = caller.ecall(Call.RETURN, STRUCT)
    outcome = rig.run(caller)
    assert outcome[status] == 0
    assert outcome[value] == outcome[returned] == MINUS_1
    assert [server.now[ref] for ref in bad] == [MINUS_1] * 3
    assert server.now[read_only] == server.eid


def test_server_returns_with_a_struct_that_it_can_only_read(rig: Rig) -> None:
    """Any 48 readable bytes will do as results."""
    server_list = Script()
    server_list.ecall(Call.RETURN, CONSTANT)
    server = rig.server(server_list)
    caller = Script()
    status = caller.call(server.eid)
    assert rig.run(caller)[status] == 0


# -- memory that moves -------------------------------------------------------------------------------------


def test_whole_mapping_moves_and_comes_back(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    first, last = server_list.peek(at), server_list.peek(at + 5 * PAGE)
    below = server_list.peek(at - PAGE)
    server_list.poke(at, 0xBEEF)
    server_list.give(req_vaddr=at, req_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(4 * PAGE)
    caller.poke(area, 10)
    caller.poke(area + PAGE, 11)
    caller.poke(area + 6 * PAGE, 16)
    status = caller.call(server.eid, req_vaddr=area + PAGE, req_size=PAGE)
    reply = caller.results()
    values = [caller.peek(area + offset) for offset in (0, PAGE, 6 * PAGE)]
    outcome = rig.run(caller)
    assert outcome[status] == 0
    assert server.now[at] == abi.MMAP_TOP - MAPPED + PAGE, "the passed page, in the mapping at its old place"
    assert (server.now[first], server.now[last], server.now[below]) == (11, 16, 10)
    assert outcome.values(reply)["req_vaddr"] == outcome[area] + PAGE
    assert outcome.values(reply)["req_size"] == PAGE
    assert [outcome[value] for value in values] == [10, 0xBEEF, 16]


def test_server_keeps_the_request(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    server_list.give()
    later = server_list.peek(at)
    server_list.give(resp_val=later)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE)
    caller.poke(area, 0xC0FFEE)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    reply = caller.results()
    twice = caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    unmap = caller.munmap(area, PAGE)
    caller.call(server.eid)
    value = caller.peek(STRUCT + 8)
    again = caller.mmap(PAGE)
    fresh = caller.peek(again)
    outcome = rig.run(caller)
    assert outcome.values(reply)["req_vaddr"] == 0
    assert outcome[twice] == outcome[unmap] == MINUS_1
    assert outcome[value] == 0xC0FFEE
    assert outcome[again] == outcome[area]
    assert outcome[fresh] == 0


def test_address_given_away_faults_until_it_is_back(rig: Rig) -> None:
    server = rig.server(echo())
    caller = Script()
    area = caller.mmap(PAGE)
    caller.peek(area)
    caller.poke(area, 1)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    caller.peek(area)
    fault = rig.run(caller).fault
    assert fault.address == abi.MMAP_TOP - PAGE
    assert fault.owner.startswith("the page was passed to ")
    assert fault.owner.endswith(f"(eid {server.eid}) and has not come back")


@pytest.mark.parametrize("size", [PAGE, 2 * PAGE])
def test_returned_size_must_be_as_large_as_the_request(rig: Rig, size: int) -> None:
    server_list = Script()
    at = server_list.entry(11)
    server_list.give(req_vaddr=at, req_size=size)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(4 * PAGE)
    caller.call(server.eid, req_vaddr=area, req_size=2 * PAGE)
    reply = caller.results()
    outcome = rig.run(caller)
    assert outcome.values(reply)["req_vaddr"] == (outcome[area] if size == 2 * PAGE else 0)


def test_bad_return_ranges_give_zeros_and_the_call_still_succeeds(rig: Rig) -> None:
    server_list, caller = Script(), Script()
    at = server_list.entry(11)
    own = server_list.mmap(PAGE)
    heap = server_list.sbrk(PAGE)
    bad: list[tuple[Value, Value]] = [
        (at + 8, PAGE),
        (at, 0),
        (at, PAGE + 8),
        (at, 8 * PAGE),
        (NOWHERE, PAGE),
        (heap - PAGE, PAGE),
        (STACK_PAGE, PAGE),
        (abi.KBUFFER, PAGE),
        (abi.SHM_BASE, PAGE),
        (0x1000, PAGE),
        (MINUS_1 - PAGE + 1, PAGE),
        (at, MINUS_1 - PAGE + 1),
    ]
    for address, size in bad:
        server_list.give(req_vaddr=address, req_size=size, resp_vaddr=address, resp_size=size)
    server_list.give(resp_vaddr=own, resp_size=PAGE, resp_val=1)
    server = rig.server(server_list)
    area = caller.mmap(4 * PAGE)
    status = [caller.call(server.eid, req_vaddr=area, req_size=PAGE)]
    replies = [caller.results()]
    for _ in bad[1:]:
        status.append(caller.call(server.eid))
        replies.append({name: caller.peek(STRUCT + 8 * i) for i, name in ((2, "req"), (4, "a"), (5, "b"))})
    last = caller.call(server.eid)
    response = caller.peek(STRUCT + 32)
    outcome = rig.run(caller)
    assert {outcome[ref] for ref in (*status, last)} == {0}
    assert outcome.values(replies[0])["req_vaddr"] == outcome.values(replies[0])["resp_vaddr"] == 0
    assert outcome.values(replies[0])["resp_size"] == 0
    assert all(set(outcome.values(reply).values()) == {0} for reply in replies[1:])
    assert outcome[response] == abi.MMAP_TOP - PAGE, "at the top of the area, as the caller has none left"


def test_response_goes_below_the_lowest_mapping(rig: Rig) -> None:
    server_list = Script()
    own = server_list.mmap(4 * PAGE)
    server_list.poke(own + PAGE, 0xD0)
    server_list.give(resp_vaddr=own + PAGE, resp_size=2 * PAGE)
    server = rig.server(server_list)
    caller = Script()
    low = caller.mmap(PAGE, NOWHERE)
    caller.call(server.eid)
    reply = caller.results()
    value = caller.peek(caller.peek(STRUCT + 32))
    gone = caller.call(server.eid)
    outcome = rig.run(caller)
    assert outcome[low] == NOWHERE
    assert outcome.values(reply)["resp_vaddr"] == NOWHERE - MAPPED + PAGE
    assert outcome.values(reply)["resp_size"] == 2 * PAGE
    assert outcome[value] == 0xD0
    assert outcome[gone] == 0, "the server made a new one"


def test_request_and_response_swap(rig: Rig) -> None:
    """The server gives another mapping back as the request: it takes the request's old address."""
    server_list = Script()
    at = server_list.entry(11)
    own = server_list.mmap(2 * PAGE)
    server_list.poke(own, 0x0E)
    server_list.give(req_vaddr=own, req_size=2 * PAGE, resp_vaddr=at, resp_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE)
    caller.poke(area, 0xAA)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    request, response = caller.peek(STRUCT + 16), caller.peek(STRUCT + 32)
    values = caller.peek(request), caller.peek(response)
    outcome = rig.run(caller)
    assert outcome[area] == abi.MMAP_TOP - PAGE
    # Three pages do not fit where one was, at the top: the area is empty, so they end at its top.
    assert outcome[request] == abi.MMAP_TOP - 3 * PAGE
    assert outcome[response] == abi.MMAP_TOP - 4 * PAGE
    assert [outcome[value] for value in values] == [0x0E, 0xAA]


def test_other_mapping_takes_the_old_address_where_it_fits(rig: Rig) -> None:
    server_list = Script()
    own = server_list.mmap(PAGE)
    server_list.poke(own, 0x0E)
    server_list.give(req_vaddr=own, req_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE, NOWHERE)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    request = caller.peek(STRUCT + 16)
    value = caller.peek(area)
    outcome = rig.run(caller)
    assert outcome[request] == NOWHERE
    assert outcome[value] == 0x0E


def test_old_address_too_small_goes_below_the_lowest(rig: Rig) -> None:
    server_list = Script()
    own = server_list.mmap(4 * PAGE)
    server_list.give(req_vaddr=own + PAGE, req_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE, NOWHERE)
    caller.mmap(PAGE, NOWHERE + 2 * PAGE)  # seven pages at NOWHERE would overlap
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    request = caller.peek(STRUCT + 16)
    assert rig.run(caller)[request] == NOWHERE + 2 * PAGE - MAPPED + PAGE


def test_same_mapping_twice_is_given_once(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    server_list.give(req_vaddr=at, req_size=PAGE, resp_vaddr=at, resp_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    reply = caller.results()
    caller.poke(area, 1)
    outcome = rig.run(caller)
    values = outcome.values(reply)
    assert (values["req_vaddr"], values["resp_vaddr"], values["resp_size"]) == (outcome[area], 0, 0)


def test_taken_address_in_the_callee(rig: Rig) -> None:
    server_list = Script()
    own = server_list.mmap(4 * PAGE)
    server_list.poke(own, 0x0E)
    server_list.give()
    at = server_list.entry(11)
    seen, mine = server_list.peek(at), server_list.peek(own)
    server_list.give(req_vaddr=at, req_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(4 * PAGE)
    caller.poke(area, 0xAA)
    caller.call(server.eid)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    request = caller.peek(STRUCT + 16)
    outcome = rig.run(caller)
    assert server.now[at] == abi.MMAP_TOP - 2 * MAPPED
    assert (server.now[seen], server.now[mine]) == (0xAA, 0x0E)
    assert outcome[request] == outcome[area]


def test_server_unmaps_the_request(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    done = server_list.munmap(at, PAGE)
    server_list.give(req_vaddr=at, req_size=PAGE)
    server = rig.server(server_list)
    caller = Script()
    area = caller.mmap(PAGE)
    status = caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    request = caller.peek(STRUCT + 16)
    outcome = rig.run(caller)
    assert server.now[done] == outcome[status] == outcome[request] == 0


def test_relay_area_can_be_passed(rig: Rig) -> None:
    server_list = Script()
    at = server_list.entry(11)
    text = server_list.step(PEEK4, at)
    server_list.poke(at, 0x21)
    server_list.give(req_vaddr=at, req_size=2 * PAGE)
    server = rig.server(server_list)
    caller = Script()
    wrong = [
        caller.call(server.eid, req_vaddr=abi.RELAY_BASE + offset, req_size=size)
        for offset, size in ((PAGE, PAGE), (0, 3 * PAGE), (-PAGE, 2 * PAGE), (0, 4096 + 1))
    ]
    status = caller.call(server.eid, req_vaddr=abi.RELAY_BASE, req_size=2 * PAGE)
    request = caller.peek(STRUCT + 16)
    outcome = rig.run(caller, relay=b"relay" + bytes(PAGE))
    assert [outcome[ref] for ref in wrong] == [MINUS_1] * 4
    assert outcome[status] == 0
    assert server.now[at] == outcome[request] == abi.RELAY_BASE
    assert server.now[text] == int.from_bytes(b"rela", "little")
    assert outcome.result.relay is not None
    assert outcome.result.relay[:9] == b"!" + bytes(7) + b"\0"


def test_relay_pages_that_a_server_keeps_come_back_with_it(rig: Rig) -> None:
    server = rig.server(echo())
    caller = Script()
    caller.call(server.eid, req_vaddr=abi.RELAY_BASE, req_size=PAGE)
    outcome = rig.run(caller, relay=b"secret")
    assert outcome.result.relay is None
    server.enclave.destroy()
    rig.check()
    assert rig.free_pages == rig.pages_at_start


# -- a server and the host ---------------------------------------------------------------------------------


def test_ocalls_deep_in_a_chain_print_in_order(rig: Rig) -> None:
    inner = Script()
    inner.print(b"3")
    page = inner.mmap(PAGE)
    inner.poke(page, 5)
    heap = inner.sbrk(PAGE)
    inner.yield_()
    inner.print(b"4")
    inner.give(resp_val=page)
    inner_server = rig.server(inner, b"inner")
    outer = Script()
    outer.print(b"2")
    outer.call(inner_server.eid)
    outer.print(b"5")
    outer.give()
    outer_server = rig.server(outer, b"outer")
    caller = Script()
    caller.print(b"1")
    caller.call(outer_server.eid)
    caller.print(b"6")
    for _ in range(2):
        outcome = rig.run(caller)
        assert outcome.output == "".join(f"{step}\n" for step in range(1, 7))
    assert inner_server.now[heap] == abi.HEAP_BASE + 2 * PAGE, "the heap of the second run, on top"


def test_kbuffer_is_the_top_callers_only_during_a_call(rig: Rig) -> None:
    """Text that a server left in the kbuffer of one caller is not seen by the next one."""
    server_list = Script()
    before = server_list.peek(abi.KBUFFER)
    server_list.poke(abi.KBUFFER, 0x41)
    server_list.ocall(Ocall.WRITE)
    server_list.give(resp_val=before)
    server = rig.server(server_list)
    for _ in range(2):
        caller = Script()
        own_before = caller.peek(abi.KBUFFER)
        caller.poke(abi.KBUFFER, 0x42)
        caller.call(server.eid)
        own_after, seen = caller.peek(abi.KBUFFER), caller.peek(STRUCT + 8)
        outcome = rig.run(caller)
        assert (outcome[own_before], outcome[own_after], outcome[seen]) == (0, 0x41, 0x42)
        assert outcome.output == "A\n"
        assert rig.state.server(b"server").space.table.entry(abi.KBUFFER) == 0


def test_exit_between_calls_leaves_servers_idle(rig: Rig) -> None:
    server = rig.server(echo(resp_val=1))
    for value in range(3):
        caller = Script()
        status = caller.call(server.eid)
        caller.exit(value)
        outcome = rig.run(caller)
        assert (outcome[status], outcome.result.retval) == (0, value)
    call = rig.machine.monitor.call
    for attempt in (
        call(HostCall.RUN, server.eid, server.pages.pa),
        call(HostCall.STOP, server.eid),
        call(HostCall.RESUME, server.eid, 0),
        call(HostCall.RESUME, server.eid, 1),
        call(HostCall.RESUME, server.eid, 2, Ocall.WRITE),
    ):
        assert attempt == Status.ERROR


def test_names_in_all_kinds_of_memory(rig: Rig) -> None:
    caller = Script()
    area = caller.mmap(PAGE)
    caller.munmap(area, PAGE)
    gone = caller.ecall(Call.ACQUIRE, area)
    kbuffer = caller.acquire(b"server", abi.KBUFFER)
    stack = caller.acquire(b"server", STACK_PAGE)
    server = rig.server(Script())
    outcome = rig.run(caller)
    assert outcome[gone] == MINUS_1
    assert outcome[kbuffer] == outcome[stack] == server.eid


def test_what_was_kept_by_another_server_is_no_request_any_more(rig: Rig) -> None:
    """Its block comes back to the server in between as a block of its own, which stays its own."""
    keeper_script, between, top, other = (Script() for _ in range(4))
    page = abi.MMAP_TOP - PAGE
    keeper_script.give()  # and keeps what it was passed
    gone = keeper_script.munmap(page, PAGE)
    keeper_script.give()
    keeper = rig.server(keeper_script, b"keeper")
    kept = between.call(keeper.eid, DATA + 0x400, req_vaddr=page, req_size=PAGE)
    between.print(b"1")
    own = between.mmap(PAGE)
    between.poke(own, 9)
    between.print(b"2")
    between.give()
    server = rig.server(between, b"between")
    here = top.mmap(PAGE)
    top.call(server.eid, req_vaddr=here, req_size=PAGE)
    enclave = rig.enclave(top)
    assert enclave.run(timeout=20, on_output=lambda _text: enclave.stop()).status == "stopped"
    (before,) = rig.state.enclaves[keeper.eid].space.mmaps.values()
    block = before.block
    other.call(keeper.eid)
    assert rig.run(other).result.ok
    assert (keeper.now[gone], server.now[kept]) == (0, 0)
    assert enclave.resume(timeout=20, on_output=lambda _text: enclave.stop()).status == "stopped"
    (after,) = rig.state.enclaves[server.eid].space.mmaps.values()
    assert after.block == block
    rig.check()
    enclave.destroy()
    rig.check()
    again, caller = Script(), Script()
    value = again.peek(page)
    again.give()
    server.load(again)
    caller.call(server.eid)
    assert rig.run(caller).result.ok
    assert server.now[value] == 9
