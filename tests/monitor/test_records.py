"""Records in guest RAM: their layout, where new ones get room, and numbers that are used again."""

import ctypes
from itertools import pairwise
from pathlib import Path

import pytest

from pltvm.build.enclave import FLAGS, TARGET
from pltvm.engine.context import SLOTS
from pltvm.engine.memory import PAGE, PAGE_SHIFT, Memory
from pltvm.monitor.abi import MOST_SLOTS
from pltvm.monitor.enclave import SLOTS_WORD
from pltvm.monitor.records import (
    HEADER,
    NUMBERS,
    Attachment,
    EnclaveRecord,
    Globals,
    Lent,
    Record,
    Region,
    Segment,
    header,
    laid_out_as,
)
from pltvm.monitor.store import Records
from tests.monitor import headers

BASE = 0x8000_0000
LENT = BASE + (4 << 20)
KINDS = {
    "globals": Globals,
    "lent": Lent,
    "enclave": EnclaveRecord,
    "region": Region,
    "segment": Segment,
    "attachment": Attachment,
}


@pytest.fixture
def records() -> Records:
    return Records(Memory(BASE, 8 << 20))


@pytest.mark.parametrize("name", KINDS)
def test_annotations_are_the_fields_of_the_header(name: str) -> None:
    kind = KINDS[name]
    assert list(kind.__annotations__) == [field for field, *_ in kind._fields_]


@pytest.mark.parametrize("name", KINDS)
def test_fields_lie_where_the_header_has_them(name: str) -> None:
    kind = laid_out_as(name)(type(name, (Record,), {}))
    declared = header().typeof(f"struct {name}").fields
    for field, place in declared:
        found = getattr(kind, field)
        assert (found.offset, found.size) == (place.offset, header().sizeof(place.type)), field
    assert ctypes.sizeof(kind) == header().sizeof(f"struct {name}")
    assert kind._fields_ == KINDS[name]._fields_


@pytest.mark.parametrize("name", KINDS)
def test_annotations_are_the_types_of_the_fields(name: str) -> None:
    kind = KINDS[name]
    texts = {field for field, made in kind._fields_ if issubclass(made, ctypes.Array)}
    assert {field for field, made in kind.__annotations__.items() if made is bytes} == texts
    assert set(kind.__annotations__.values()) <= {int, bytes}


@pytest.mark.parametrize("target", ["riscv64", "x86_64"])
def test_the_compiler_lays_them_out_the_same(target: str, tmp_path: Path) -> None:
    """For native code that includes the header, on the CPU that runs it: what cffi reads is what it finds."""
    flags = {
        "riscv64": (*TARGET, *FLAGS, "-nostdlib", "-Wl,--entry=main"),
        "x86_64": ("-c", "-target", "x86_64-linux-musl"),
    }[target]
    found = headers.read([HEADER.name], {}, (*flags, "-isystem", str(HEADER.parent)), tmp_path)
    assert {name: found.enumerators[name] for name in NUMBERS} == NUMBERS
    assert found.structures.keys() >= {*KINDS, "registers"}
    for name, kind in KINDS.items():
        laid_out = [
            (field, getattr(kind, field).offset, getattr(kind, field).size) for field, *_ in kind._fields_
        ]
        assert [tuple(member) for member in found.structures[name]] == laid_out
        assert found.sizes[name] == ctypes.sizeof(kind)
    own, entry, slots = found.structures["registers"]
    assert (own.size, entry.offset, entry.size) == (8 * SLOTS,) * 3
    assert (slots.offset, slots.size) == (8 * SLOTS_WORD, 8 * MOST_SLOTS)
    assert found.sizes["registers"] <= PAGE


def test_each_kind_has_room_and_none_runs_into_the_next() -> None:
    sizes = {name: ctypes.sizeof(kind) for name, kind in KINDS.items()}
    places = [
        ("GLOBALS", sizes["globals"]),
        *(
            (name, 8 * NUMBERS[f"{name[:-1]}_LISTS"])
            for name in ("ENCLAVES", "SERVERS", "SEGMENTS", "BOUNDS")
        ),
        ("ASIDS", 2 * NUMBERS["LAST_ASID"]),
        *((f"{name}S", sizes[name.lower()] * NUMBERS[f"MOST_{name}S"]) for name in ("REGION", "ATTACHMENT")),
    ]
    spans = [(NUMBERS[f"{name}_AT"], NUMBERS[f"{name}_AT"] + size) for name, size in places]
    spans.append((NUMBERS["LENT_AT"], NUMBERS["LENT_AT"] + sizes["lent"] * NUMBERS["MOST_LENT"]))
    spans = [(0, PAGE), *sorted(spans), (NUMBERS["MONITOR_SIZE"],) * 2]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert sizes["enclave"] <= NUMBERS["RECORD_BYTES"]
    assert PAGE % NUMBERS["RECORD_BYTES"] == 0
    assert NUMBERS["REGISTERS"] == SLOTS


def test_a_record_is_at_its_address_and_ram_alone_holds_it(records: Records) -> None:
    region = records.view(Region, LENT)
    region.va, region.name = 0x1234, b"a name"
    assert region.at == LENT
    other = Records(records.memory).view(Region, LENT)
    assert (other.va, other.name) == (0x1234, b"a name")
    assert records.region(LENT) is region


def test_asking_for_a_record_marks_its_page_as_written(records: Records) -> None:
    dirty = records.memory.dirty
    for ask in (records.region, lambda pa: records.view(Segment, pa)):
        dirty[:] = bytes(len(dirty))
        ask(LENT + PAGE + 64)
        page = (LENT + PAGE - BASE) >> PAGE_SHIFT
        assert records.memory.written() == [page]


def test_asking_for_the_head_of_a_list_marks_its_page(records: Records) -> None:
    dirty, enclaves = records.memory.dirty, records.enclaves
    for number in range(2 * enclaves.count):
        dirty[:] = bytes(len(dirty))
        head = enclaves.of_number(number)
        assert NUMBERS["ENCLAVES_AT"] <= 8 * head < NUMBERS["ENCLAVES_AT"] + 8 * enclaves.count
        assert head == enclaves.of_number(number + enclaves.count)
        assert records.memory.written() == [8 * head >> PAGE_SHIFT]
    for name in (b"a", b"b", b"server"):
        dirty[:] = bytes(len(dirty))
        head = records.bound.of_name(name)
        assert NUMBERS["BOUNDS_AT"] <= 8 * head < NUMBERS["BOUNDS_AT"] + 8 * records.bound.count
        assert records.memory.written() == [8 * head >> PAGE_SHIFT]


def test_enclave_records_fill_what_was_lent_and_are_used_again(records: Records) -> None:
    size = NUMBERS["RECORD_BYTES"]
    records.add_lent(LENT, 1)
    records.add_lent(LENT + 4 * PAGE, 2)
    assert records.lent() == [(LENT, 1), (LENT + 4 * PAGE, 2)]
    once, made = records.globals, []
    while once.record_space >= size:
        made.append(records.new_enclave())
    pages = (LENT, LENT + 4 * PAGE, LENT + 5 * PAGE)
    assert made == [page + at for page in pages for at in range(0, PAGE, size)]
    for at in (made[3], made[5]):
        records.view(EnclaveRecord, at).eid = 9
        records.free_enclave(at)
    assert once.record_space == 2 * size
    assert [records.new_enclave(), records.new_enclave()] == [made[5], made[3]]
    assert records.view(EnclaveRecord, made[5]).eid == 0


def test_so_many_blocks_can_be_lent(records: Records) -> None:
    for index in range(NUMBERS["MOST_LENT"]):
        assert records.has_room_for_lent()
        records.add_lent(LENT + index * PAGE, 1)
    assert not records.has_room_for_lent()


def test_a_region_with_a_page_of_its_own_starts_behind_it(records: Records) -> None:
    left = records.regions_left
    region = records.new_region(LENT, 8, hidden=1)
    assert (region.at, region.pa, region.pages, region.has_page) == (LENT, LENT + PAGE, 7, True)
    assert records.regions_left == left
    region.va = PAGE
    assert region.end == 8 * PAGE


def test_regions_in_the_table_are_used_again(records: Records) -> None:
    left = records.regions_left
    assert left == NUMBERS["MOST_REGIONS"]
    first, second = (records.new_region(LENT + at, 1, hidden=0) for at in (0, PAGE))
    assert (first.pa, first.pages, first.has_page) == (LENT, 1, False)
    assert first.at == BASE + NUMBERS["REGIONS_AT"]
    assert second.at - first.at == ctypes.sizeof(Region)
    assert records.regions_left == left - 2
    second.va, second.name = PAGE, b"old"
    records.free_region(second)
    again = records.new_region(LENT, 2, hidden=0)
    assert (again.at, again.va, again.name, again.origin_eid) == (second.at, 0, b"", -1)


def test_attachments_are_used_again(records: Records) -> None:
    left = records.attachments_left
    assert left == NUMBERS["MOST_ATTACHMENTS"]
    first, second = records.new_attachment(), records.new_attachment()
    assert second.at - first.at == ctypes.sizeof(Attachment)
    assert records.attachments_left == left - 2
    records.free_attachment(first)
    records.free_attachment(second)
    assert [records.new_attachment().at, records.new_attachment().at] == [second.at, first.at]
    assert records.new_attachment().at == second.at + ctypes.sizeof(Attachment)


def test_address_space_numbers_start_at_1_and_the_last_freed_comes_first(records: Records) -> None:
    for expected in (1, 2, 3):
        assert records.next_asid() == records.next_asid() == expected
        records.use_asid(expected)
    records.free_asid(2)
    records.free_asid(1)
    for expected in (1, 2, 4):
        assert records.next_asid() == expected
        records.use_asid(expected)


def test_address_space_numbers_end(records: Records) -> None:
    records.globals.asids = NUMBERS["LAST_ASID"]
    assert records.next_asid() is None
    records.free_asid(7)
    assert records.next_asid() == 7


def test_lists_by_name(records: Records) -> None:
    made: list[EnclaveRecord] = []
    head = records.servers.of_name(b"server")
    for at in range(5):
        one = records.view(EnclaveRecord, LENT + at * NUMBERS["RECORD_BYTES"])
        one.next_of_name, records.memory.words[head] = records.memory.words[head], one.at
        made.append(one)
    living = made[::-1]
    for gone in (made[1], made[4], made[0], made[2], made[3]):
        records.unlink(head, gone, "next_of_name")
        living.remove(gone)
        links = [records.memory.words[head], *(one.next_of_name for one in living)]
        assert links == [*(one.at for one in living), 0]
