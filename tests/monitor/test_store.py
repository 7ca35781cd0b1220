"""Where the monitor's records lie: none outside RAM, and tables that do not meet."""

import ctypes
from itertools import pairwise
from typing import Any, get_type_hints

import pytest

from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import EngineError
from pltvm.monitor import records
from pltvm.monitor.records import (
    NUMBERS,
    Attachment,
    EnclaveRecord,
    Globals,
    Lent,
    Record,
    Region,
    Segment,
)
from pltvm.monitor.store import Records

BASE = 0x8000_0000
KINDS = [Globals, Lent, EnclaveRecord, Region, Segment, Attachment]


@pytest.mark.parametrize("kind", KINDS)
def test_the_annotations_say_what_the_header_says(kind: type[Record]) -> None:
    fields = {field[0]: bytes if issubclass(field[1], ctypes.Array) else int for field in kind._fields_}
    assert list(vars(kind)["__annotations__"]) == list(fields)
    hints = get_type_hints(kind)
    assert {name: hints[name] for name in fields} == fields


def test_the_tables_of_the_monitors_memory_do_not_meet() -> None:
    lists = [name.removesuffix("_LISTS") for name in NUMBERS if name.endswith("_LISTS")]
    assert len(lists) == 4
    spans = [
        (0, PAGE),  # scratch
        (NUMBERS["GLOBALS_AT"], ctypes.sizeof(Globals)),
        *((NUMBERS[f"{name}S_AT"], 8 * NUMBERS[f"{name}_LISTS"]) for name in lists),
        (NUMBERS["ASIDS_AT"], 2 * NUMBERS["LAST_ASID"]),
        (NUMBERS["LENT_AT"], NUMBERS["MOST_LENT"] * ctypes.sizeof(Lent)),
        (NUMBERS["REGIONS_AT"], NUMBERS["MOST_REGIONS"] * ctypes.sizeof(Region)),
        (NUMBERS["ATTACHMENTS_AT"], NUMBERS["MOST_ATTACHMENTS"] * ctypes.sizeof(Attachment)),
        (NUMBERS["MONITOR_SIZE"], 0),
    ]
    assert all(start + size <= after for (start, size), (after, _) in pairwise(sorted(spans)))
    assert ctypes.sizeof(EnclaveRecord) <= NUMBERS["RECORD_BYTES"]
    assert PAGE % NUMBERS["RECORD_BYTES"] == 0


@pytest.mark.parametrize("pa", [0, BASE - PAGE, BASE + (4 << 20) - 8, 1 << 63, -8])
def test_no_record_is_outside_ram(pa: int) -> None:
    memory = Memory(BASE, 4 << 20)
    found = Records(memory)
    before = bytes(memory.dirty)
    for kind in KINDS:
        with pytest.raises(EngineError, match="no record"):
            found.view(kind, pa)
    with pytest.raises(EngineError, match="no record"):
        found.region(pa)
    assert memory.dirty == before


def test_room_for_enclaves_in_blocks_of_all_sizes() -> None:
    memory = Memory(BASE, 4 << 20)
    found = Records(memory)
    blocks = [(BASE + (3 << 20), 1), (BASE + (2 << 20), 3), (BASE + (3 << 20) + PAGE, 2)]
    for pa, pages in blocks:
        found.add_lent(pa, pages)
    each = NUMBERS["RECORD_BYTES"]
    room = [at for pa, pages in blocks for at in range(pa, pa + pages * PAGE, each)]
    assert [found.new_enclave() for _ in room] == room
    assert found.globals.record_space == 0
    for at in (room[3], room[9]):
        found.free_enclave(at)
    assert found.globals.record_space == 2 * each
    assert [found.new_enclave(), found.new_enclave()] == [room[9], room[3]]
    assert found.globals.record_space == 0


@pytest.mark.parametrize("what", ["region", "attachment"])
def test_room_in_tables(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(records.NUMBERS, f"MOST_{what.upper()}S", 3)
    found: Any = Records(Memory(BASE, 4 << 20))

    def new() -> Any:
        return found.new_region(BASE, 1, hidden=0) if what == "region" else found.new_attachment()

    made = []
    while getattr(found, f"{what}s_left"):
        made.append(new())
    assert len({one.at for one in made}) == 3
    for one in made[:2]:
        getattr(found, f"free_{what}")(one)
        assert getattr(found, f"{what}s_left") > 0
    assert {new().at, new().at} == {one.at for one in made[:2]}
    assert not getattr(found, f"{what}s_left")
