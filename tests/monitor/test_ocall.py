"""Ocalls from guest code, and what the monitor makes of the host's answers, true and false (§4)."""

from collections.abc import Callable

import pytest

from pltvm.engine.memory import PAGE
from pltvm.host.enclave import DriverEnclave
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, Ocall
from tests.monitor.rig import DATA, FILL, MINUS_1, NOWHERE, REPEAT, STRUCT, SUM, Outcome, Rig, Script

TOP = abi.MMAP_TOP
HEAP = abi.HEAP_BASE

# -- write -------------------------------------------------------------------------------------------------


def test_write_prints_at_most_511_bytes_up_to_the_nul(rig: Rig) -> None:
    script = Script()
    script.step(FILL, abi.KBUFFER, int.from_bytes(b"abcdefgh", "little"), PAGE // 8)
    result = script.ocall(Ocall.WRITE)
    script.text(b"short", abi.KBUFFER)
    script.ocall(Ocall.WRITE)
    script.poke(abi.KBUFFER, 0)
    script.ocall(Ocall.WRITE)
    outcome = rig.run(script)
    assert outcome[result] == 0
    assert outcome.output == ("abcdefgh" * 64)[:511] + "\nshort\n"  # each message gets the newline it lacks


def test_sdk_splits_long_texts(rig: Rig) -> None:
    script = Script()
    script.step(FILL, DATA, int.from_bytes(b"01234567", "little"), 160)
    script.step(11, DATA)  # PRINT
    text = "01234567" * 160
    assert rig.run(script).output == "".join(text[at : at + 511] + "\n" for at in range(0, len(text), 511))


def test_unknown_ocalls_give_minus_1(rig: Rig) -> None:
    script = Script()
    results = [script.ocall(number) for number in (0, 12, 1000, MINUS_1)]
    outcome = rig.run(script)
    assert [outcome[result] for result in results] == [MINUS_1] * 4


# -- mmap --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "pages"),
    [(1, 1), (PAGE, 1), (PAGE + 1, 3), (3 * PAGE, 3), (4 * PAGE, 7), (7 * PAGE, 7), (8 * PAGE, 15)],
)
def test_mmap_maps_a_power_of_two_less_one(rig: Rig, size: int, pages: int) -> None:
    script = Script()
    area = script.mmap(size)
    script.step(FILL, area, 1, pages * PAGE // 8)
    second = script.mmap(PAGE)
    total = script.step(SUM, area, pages * PAGE // 8)
    script.peek(area - PAGE)
    script.peek(area + pages * PAGE)  # faults
    outcome = rig.run(script)
    assert outcome[area] == TOP - pages * PAGE
    assert outcome[second] == outcome[area] - PAGE
    assert outcome[total] == pages * PAGE // 8
    assert outcome.fault.address == outcome[area] + pages * PAGE


def test_mmap_at_addresses(rig: Rig) -> None:
    script = Script()
    given = script.mmap(PAGE, NOWHERE)
    taken = script.mmap(PAGE, NOWHERE)
    overlapping = script.mmap(4 * PAGE, NOWHERE - 5 * PAGE)
    beside = script.mmap(PAGE, NOWHERE + PAGE)
    top = script.mmap(PAGE)
    outside = [script.mmap(PAGE, at) for at in (TOP, TOP - PAGE, abi.SHM_BASE, 0x1000, 1 << 50, -PAGE)]
    last_given = script.mmap(PAGE, TOP - 2 * PAGE)
    lowest_after = script.mmap(4 * PAGE, TOP - 4 * PAGE)
    misaligned = script.mmap(PAGE, NOWHERE + 8 * PAGE + 8)
    outcome = rig.run(script)
    at = NOWHERE
    assert outcome[given] == at
    at -= PAGE
    assert outcome[taken] == at
    at -= MAPPED_4
    assert outcome[overlapping] == at
    assert outcome[beside] == NOWHERE + PAGE
    assert outcome[top] == TOP - PAGE
    for ref in outside:
        at -= PAGE
        assert outcome[ref] == at
    assert outcome[last_given] == TOP - 2 * PAGE
    assert outcome[lowest_after] == at - MAPPED_4
    assert outcome[misaligned] == 0


MAPPED_4 = 7 * PAGE


def test_mmap_in_the_relay_area_is_outside(rig: Rig) -> None:
    """The relay area is the host's to fill; what lies there would be left uncleared at exit."""
    script = Script()
    area = script.mmap(PAGE, abi.RELAY_BASE)
    script.poke(area, 0x5EC2E7)
    assert rig.run(script)[area] == TOP - PAGE


def test_mmap_gives_zeroed_pages_whatever_was_there(rig: Rig) -> None:
    dirty = Script()
    area = dirty.mmap(63 * PAGE)
    dirty.step(FILL, area, 0xDEAD, 63 * PAGE // 8)
    clean = dirty.munmap(area, PAGE)
    again = dirty.mmap(63 * PAGE)
    total = dirty.step(SUM, again, 63 * PAGE // 8)
    dirty.step(FILL, again, 0xDEAD, 63 * PAGE // 8)
    for _ in range(2):
        outcome = rig.run(dirty)
        assert (outcome[clean], outcome[total]) == (0, 0)


def test_mmap_failures_leave_the_enclave_running(rig: Rig) -> None:
    script = Script()
    none = script.mmap(0)
    huge = [script.mmap(size) for size in (1 << 40, 1 << 63, MINUS_1)]
    heap_huge = [script.sbrk(size) for size in (1 << 40, (1 << 63) - PAGE)]
    fine = script.mmap(PAGE)
    script.poke(fine, 1)
    outcome = rig.run(script)
    assert outcome[none] == 0
    assert [outcome[ref] for ref in huge] == [0] * 3
    assert [outcome[ref] for ref in heap_huge] == [MINUS_1] * 2
    assert outcome[fine] == TOP - PAGE


def test_a_heap_that_would_run_into_a_mapping_is_refused_before_the_host_is_asked(rig: Rig) -> None:
    """Else the host, which has no such block, would end the run."""
    script = Script()
    area = script.mmap(PAGE, abi.HEAP_BASE + 8 * PAGE)
    heap = [script.sbrk(size) for size in (1 << 30, 16 * PAGE)]
    still = script.sbrk(0)
    outcome = rig.run(script)
    assert outcome[area] == abi.HEAP_BASE + 8 * PAGE
    assert [outcome[ref] for ref in heap] == [MINUS_1] * 2
    assert outcome[still] == abi.HEAP_BASE


def test_a_mapping_that_has_no_place_is_refused_before_the_host_is_asked(rig: Rig) -> None:
    """Its wish is outside the area, and below the lowest mapping there are but 16 pages."""
    script = Script()
    area = script.mmap(PAGE, abi.HEAP_BASE + 16 * PAGE)
    none = script.mmap(1 << 30, TOP)
    fine = script.mmap(PAGE)
    outcome = rig.run(script)
    assert outcome[area] == abi.HEAP_BASE + 16 * PAGE
    assert outcome[none] == 0
    assert outcome[fine] == TOP - PAGE


def test_a_mapping_may_reach_down_to_the_heap(rig: Rig) -> None:
    script = Script()
    script.mmap(PAGE, abi.HEAP_BASE + 3 * PAGE)
    fits = script.mmap(3 * PAGE, TOP)
    assert rig.run(script)[fits] == abi.HEAP_BASE


def test_the_heap_may_reach_up_to_a_mapping(rig: Rig) -> None:
    script = Script()
    script.mmap(PAGE, abi.HEAP_BASE + 3 * PAGE)
    fits, more = script.sbrk(3 * PAGE), script.sbrk(PAGE)
    outcome = rig.run(script)
    assert (outcome[fits], outcome[more]) == (abi.HEAP_BASE + 3 * PAGE, MINUS_1)


@pytest.mark.parametrize("size", [1 << 30, 1 << 36, (256 << 20) - PAGE])
@pytest.mark.parametrize("what", ["mmap", "sbrk"])
def test_without_memory_for_it_the_run_fails(rig: Rig, what: str, size: int) -> None:
    """An answer of 0 would make the original library ask again without end (§4)."""
    script = Script()
    refused = script.mmap(size) if what == "mmap" else script.sbrk(size)
    script.poke(DATA, 1)
    enclave = rig.enclave(script)
    outcome = Outcome(enclave.run(timeout=20))
    assert not enclave.alive
    assert not outcome.done(refused)
    assert f"no memory for {what} of {size} bytes" in outcome.fault.reason
    assert "--ram" in outcome.fault.reason
    assert outcome.fault.instruction.startswith("ecall")
    rig.check()
    assert rig.run(Script()).result.ok


def test_without_memory_in_a_server_the_chain_ends(rig: Rig) -> None:
    server_list, caller = Script(), Script()
    server_list.mmap(1 << 30)
    server_list.give(resp_val=1)
    server = rig.server(server_list)
    area = caller.mmap(PAGE)
    caller.call(server.eid, req_vaddr=area, req_size=PAGE)
    enclave = rig.enclave(caller)
    outcome = Outcome(enclave.run(timeout=20))
    assert len(outcome.fault.chain) == 2
    assert not enclave.alive
    assert server.enclave.alive  # idle again, without what was passed to it
    rig.check()


def test_out_of_memory_and_back(rig: Rig) -> None:
    """Memory that is given back is there again; what does not fit any more ends the run."""
    script = Script()
    areas = [script.mmap(PAGE + (16 << 20)) for _ in range(6)]  # 32 MiB each, of less than 256
    small = script.sbrk(PAGE)
    script.munmap(areas[0], PAGE)
    again = script.mmap(PAGE + (16 << 20))
    more = [script.mmap(PAGE + (16 << 20)) for _ in range(3)]
    outcome = rig.run(script)
    assert all(outcome[area] for area in areas)
    assert outcome[small] == HEAP + PAGE
    assert outcome[again] == outcome[areas[0]]
    assert not outcome.done(more[-1])
    assert "--ram" in outcome.fault.reason
    assert rig.run(script).fault.reason == outcome.fault.reason


def test_300_mappings_all_come_back(rig: Rig) -> None:
    """More than fit one page of the table in which the monitor lists what ended."""
    script = Script()
    last = script.step(REPEAT, 300, Call.OCALL, Ocall.MMAP, 0, 1)
    # `REPEAT` passes three arguments: ocall number, address, size.
    heap = script.step(REPEAT, 300, Call.OCALL, Ocall.SBRK, PAGE)
    outcome = rig.run(script)
    assert outcome[last] == TOP - 300 * PAGE
    assert outcome[heap] == HEAP + 300 * PAGE
    assert rig.free_pages == rig.pages_at_start
    shrink = Script()
    shrink.step(REPEAT, 300, Call.OCALL, Ocall.SBRK, PAGE)
    left = shrink.sbrk(-299 * PAGE)
    assert rig.run(shrink)[left] == HEAP + PAGE


def test_far_apart_mappings_each_take_a_table_page(rig: Rig) -> None:
    """An enclave has a few hundred pages for tables. When they are used up, what fits the tables goes on."""
    script = Script()
    count = 95
    areas = [script.mmap(PAGE, NOWHERE + (index << 30)) for index in range(60)]
    areas += [script.mmap(PAGE, NOWHERE + (index << 21)) for index in range(1, count - 60)]
    outcome = rig.run(script)
    assert all(outcome[area] for area in areas)
    assert outcome.result.ok


def test_refused_block_goes_back_to_the_host(rig: Rig) -> None:
    """A mapping at the bottom of the area leaves no place below it: the host's block must not be lost."""
    script = Script()
    low = script.mmap(PAGE, HEAP)
    top = script.mmap(PAGE)
    nowhere = script.mmap(PAGE)
    heap = script.sbrk(PAGE)
    outcome = rig.run(script)
    assert outcome[low] == HEAP
    assert outcome[top] == TOP - PAGE
    assert outcome[nowhere] == 0
    assert outcome[heap] == MINUS_1


# -- munmap ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, PAGE, 6 * PAGE])
def test_munmap_of_a_part_acts_on_the_whole(rig: Rig, offset: int) -> None:
    script = Script()
    area = script.mmap(4 * PAGE)
    kept = script.mmap(PAGE)
    script.poke(kept, 5)
    result = script.munmap(area + offset, PAGE)
    twice = script.munmap(area + offset, PAGE)
    value = script.peek(kept)
    script.peek(area + 3 * PAGE)
    outcome = rig.run(script)
    assert (outcome[result], outcome[twice], outcome[value]) == (0, MINUS_1, 5)
    assert outcome.fault.address == outcome[area] + 3 * PAGE


def test_munmap_of_what_is_no_mapping(rig: Rig) -> None:
    script = Script()
    area = script.mmap(4 * PAGE)
    heap = script.sbrk(PAGE)
    bad = [
        script.munmap(at, size)
        for at, size in (
            (NOWHERE, PAGE),
            (area - PAGE, PAGE),
            (area - PAGE, 2 * PAGE),
            (area, 8 * PAGE),
            (area + 8, PAGE),
            (area, 0),
            (area, MINUS_1),
            (heap - PAGE, PAGE),
            (abi.STACK_TOP - PAGE, PAGE),
            (abi.RELAY_BASE, PAGE),
            (abi.SHM_BASE, PAGE),
            (abi.KBUFFER, PAGE),
            (0x1000, PAGE),
            (0, PAGE),
            (MINUS_1 - PAGE + 1, PAGE),
        )
    ]
    script.step(FILL, area, 1, MAPPED_4 // 8)
    outcome = rig.run(script, relay=b"x")
    assert [outcome[ref] for ref in bad] == [MINUS_1] * len(bad)
    assert outcome.result.ok
    assert outcome.result.relay is not None
    assert outcome.result.relay[:1] == b"x"


# -- sbrk --------------------------------------------------------------------------------------------------


def test_heap_grows_and_shrinks_by_blocks(rig: Rig) -> None:
    script = Script()
    empty = script.sbrk(0)
    one = script.sbrk(PAGE)
    seven = script.sbrk(4 * PAGE)
    script.step(FILL, HEAP, 9, 8 * PAGE // 8)
    still = script.sbrk(0)
    part = script.sbrk(-PAGE)
    fits = script.sbrk(-7 * PAGE)
    value = script.peek(HEAP)
    none = script.sbrk(-PAGE)
    again = script.sbrk(PAGE)
    fresh = script.peek(HEAP)
    outcome = rig.run(script)
    tops = [outcome[ref] - HEAP for ref in (empty, one, seven, still, part, fits, none, again)]
    assert [top // PAGE for top in tops] == [0, 1, 8, 8, 8, 1, 0, 1]
    assert (outcome[value], outcome[fresh]) == (9, 0)


def test_shrunk_heap_is_gone(rig: Rig) -> None:
    script = Script()
    script.sbrk(PAGE)
    script.poke(HEAP, 1)
    script.sbrk(-PAGE)
    script.peek(HEAP)
    fault = rig.run(script).fault
    assert (fault.address, fault.owner) == (HEAP, "nothing is mapped there")


def test_sbrk_refuses(rig: Rig) -> None:
    script = Script()
    top = script.sbrk(2 * PAGE)
    bad = [script.sbrk(size) for size in (1, 8, PAGE + 1, -1, -8, -PAGE - 1, (1 << 63) - PAGE)]
    still = script.sbrk(0)
    script.step(FILL, HEAP, 1, 3 * PAGE // 8)
    outcome = rig.run(script)
    assert [outcome[ref] for ref in bad] == [MINUS_1] * len(bad)
    assert outcome[top] == outcome[still] == HEAP + 3 * PAGE


@pytest.mark.parametrize("size", [-3 * PAGE, -6 * PAGE, -7 * PAGE, -(1 << 40), -(1 << 63)])
def test_sbrk_of_more_than_the_heap_has_empties_it(rig: Rig, size: int) -> None:
    script = Script()
    grown = [script.sbrk(2 * PAGE), script.sbrk(2 * PAGE)]
    shrunk = script.sbrk(size)
    again = script.sbrk(size if size < -3 * PAGE else 0)
    back = script.sbrk(PAGE)
    script.poke(back - PAGE, 1)
    outcome = rig.run(script)
    assert [outcome[one] for one in grown] == [HEAP + 3 * PAGE, HEAP + 6 * PAGE]
    assert outcome[shrunk] == (HEAP + 3 * PAGE if size == -3 * PAGE else HEAP)
    assert outcome[again] == outcome[shrunk]
    assert outcome[back] == outcome[shrunk] + PAGE


# -- lying hosts -------------------------------------------------------------------------------------------

Answer = tuple[int, int]
Liar = Callable[[Machine, int], Answer]


def _monitor(machine: Machine, _size: int) -> Answer:
    return machine.memory.base, 2 << 20


def _pt_area(machine: Machine, _size: int) -> Answer:
    return machine.kernel.pt_area, 2 * PAGE


def _own(machine: Machine, _size: int) -> Answer:
    enclave = next(iter(machine.monitor.state.enclaves.values()))
    return enclave.block, enclave.block_pages * PAGE


def _mailbox(machine: Machine, _size: int) -> Answer:
    page = next(iter(machine.driver.enclaves.values())).page & ~(2 * PAGE - 1)
    return page, 2 * PAGE


def _kbuffer(machine: Machine, _size: int) -> Answer:
    page = next(iter(machine.driver.enclaves.values())).kbuffer & ~(2 * PAGE - 1)
    return page, 2 * PAGE


def _free(offset: int, size: int) -> Liar:
    def lie(machine: Machine, _size: int) -> Answer:
        block = machine.kernel.blocks.take(8)
        machine.kernel.blocks.give(block)
        return block + offset, size

    return lie


LIES: dict[str, Liar] = {
    "nothing": lambda _machine, _size: (0, 0),
    "monitor": _monitor,
    "pt area": _pt_area,
    "own block": _own,
    "mailbox": _mailbox,
    "kbuffer": _kbuffer,
    "too small": _free(0, PAGE),
    "zero size": _free(0, 0),
    "not a power of two": _free(0, 3 * PAGE),
    "not naturally aligned": _free(PAGE, 2 * PAGE),
    "not page aligned": _free(8, 2 * PAGE),
    "size not in pages": _free(0, 2 * PAGE + 8),
    "below RAM": lambda _machine, _size: (0x1000_0000, 2 * PAGE),
    "behind RAM": lambda machine, _size: (machine.memory.end, 2 * PAGE),
    "across the end": lambda machine, _size: (machine.memory.end - 2 * PAGE, 1 << 40),
    "huge numbers": lambda _machine, _size: (1 << 63, 1 << 63),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("number", [Ocall.MMAP, Ocall.SBRK])
def test_lying_answers(rig: Rig, lie: str, number: Ocall) -> None:
    machine = rig.machine
    honest = machine.driver.serving[number]
    lies = 1

    def serve(enclave: DriverEnclave, size: int, more: int) -> Answer:
        nonlocal lies
        lies -= 1
        return LIES[lie](machine, size) if lies >= 0 else honest(enclave, size, more)

    machine.driver.serving[number] = serve
    script = Script()
    first = script.mmap(PAGE) if number is Ocall.MMAP else script.sbrk(PAGE)
    second = script.mmap(PAGE) if number is Ocall.MMAP else script.sbrk(PAGE)
    script.poke(second if number is Ocall.MMAP else second - PAGE, 1)
    outcome = rig.run(script)
    assert outcome[first] == (0 if number is Ocall.MMAP else MINUS_1)
    assert outcome[second] == (TOP - PAGE if number is Ocall.MMAP else HEAP + PAGE)
    assert outcome.result.ok


def test_lying_answer_in_a_server(rig: Rig) -> None:
    rig.machine.driver.serving[Ocall.MMAP] = lambda _e, _a, _b: _own(rig.machine, 0)
    server_list = Script()
    area = server_list.mmap(PAGE)
    server_list.give(resp_val=area + 1)
    server = rig.server(server_list)
    caller = Script()
    caller.call(server.eid)
    value = caller.peek(STRUCT + 8)
    assert rig.run(caller)[value] == 1


def test_a_larger_block_than_asked_for_is_taken(rig: Rig) -> None:
    machine = rig.machine

    def serve(enclave: DriverEnclave, _size: int, _more: int) -> Answer:
        return machine.driver.lend(enclave, 16 * PAGE), 16 * PAGE

    machine.driver.serving[Ocall.MMAP] = serve
    script = Script()
    area = script.mmap(PAGE)
    script.step(FILL, area, 1, 15 * PAGE // 8)
    assert rig.run(script)[area] == TOP - 15 * PAGE
