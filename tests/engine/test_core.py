"""What Python and the native core share: laid out the same, and the same in use."""

import sys
import threading
from itertools import islice
from random import Random

import pytest

from pltvm import native
from pltvm.engine import context, core, sv39
from pltvm.engine.core import CoreHart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.trap import Cause
from pltvm.errors import PhysicalAddressError
from tests.native_headers import fields_in_python, fields_of, numbers, structs


def test_the_hart_is_laid_out_as_in_the_header() -> None:
    declared = structs("engine/native/hart.h", "typedef int answer_function(void *, uint32_t);")
    assert fields_of(declared, "hart") == fields_in_python(CoreHart)


def test_numbers_are_those_of_python() -> None:
    found = numbers("engine/native/hart.h")
    for name in ("ILLEGAL", "ECALL_U", "FETCH_PAGE", "LOAD_PAGE", "STORE_PAGE"):
        assert found.pop(name) == Cause[name]
    for name in ("SWITCHED", "WAITING", "SAVED"):
        assert found.pop(name) == getattr(core, name)
    assert {name: getattr(context, name) for name in found} == found


def test_bits_of_entries_are_those_of_python() -> None:
    found = numbers("engine/native/sv39.h")
    assert {name: getattr(sv39, name.removeprefix("PTE_")) for name in found if name != "PAGE"} == {
        name: value for name, value in found.items() if name != "PAGE"
    }
    assert found["PAGE"] == sv39.PAGE


@pytest.mark.skipif(native.core is None, reason=native.status)
@pytest.mark.parametrize("seed", range(20))
def test_entries_are_visited_in_the_same_order(seed: int) -> None:
    """Random tables, which may point anywhere: to each other, to pages, outside RAM."""
    dice, memory = Random(seed), Memory(0x8000_0000, 64 * PAGE)
    for _ in range(60 if seed % 2 else 200):
        target = memory.base + dice.randrange(64 + seed % 3) * PAGE
        flags = dice.choice((0, sv39.V, sv39.V, sv39.RW, sv39.RX, sv39.R))
        memory.store(memory.base + dice.randrange(8) * PAGE + 8 * dice.randrange(512), target >> 2 | flags)
    seen = []
    for visit in (sv39.visit, lambda *where: sv39._visit(*where, 0, 0)):
        try:
            seen.append([*islice(visit(memory, memory.base), 20_000)])
        except PhysicalAddressError:
            seen.append("outside RAM")
    assert seen[0] == seen[1]


@pytest.mark.skipif(native.core is None, reason=native.status)
def test_tables_that_are_each_others_are_left_to_python() -> None:
    """Their entries are more than anyone wants: who looks stops at the first table that is there twice."""
    memory = Memory(0x8000_0000, 8 * PAGE)
    for slot in range(512):
        memory.store(memory.base + 8 * slot, memory.base >> 2 | sv39.V)
    assert sv39._visited(memory, memory.base) is None
    assert len([*islice(sv39.visit(memory, memory.base), 1000)]) == 1000


@pytest.mark.skipif(native.core is None, reason=native.status)
def test_two_threads_visit() -> None:
    """Each gets the entries of its own tables."""
    interval = sys.getswitchinterval()
    memories = [Memory(0x8000_0000, 8 * PAGE) for _ in range(2)]
    for number, memory in enumerate(memories):
        for slot in range(20 + number):
            memory.store(memory.base + 8 * slot, (memory.base + PAGE) >> 2 | sv39.RW)
    right = [[*sv39.visit(memory, memory.base)] for memory in memories]
    wrong: list[int] = []

    def look(number: int) -> None:
        memory = memories[number]
        wrong.append(sum([*sv39.visit(memory, memory.base)] != right[number] for _ in range(1500)))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(2)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == [0, 0]
