"""Guest RAM: ranges are checked, the views are one memory, zeroed pages are zero."""

from pathlib import Path
from struct import Struct

import pytest

from pltvm.engine.memory import GIVE_BACK, PAGE, Memory, pages_for
from pltvm.errors import PhysicalAddressError
from tests.engine.harness import BASE, OUTSIDE, SIZE


@pytest.fixture
def memory() -> Memory:
    return Memory(BASE, SIZE)


@pytest.mark.parametrize(("size", "pages"), [(0, 0), (1, 1), (PAGE, 1), (PAGE + 1, 2)])
def test_pages_for(size, pages):
    assert pages_for(size) == pages


@pytest.mark.parametrize(("base", "size"), [(BASE, 0), (BASE, -PAGE), (BASE, PAGE + 1), (BASE + 8, PAGE)])
def test_ram_is_whole_pages(base, size):
    with pytest.raises(PhysicalAddressError, match="whole pages"):
        Memory(base, size)


def test_ram_knows_its_size(memory):
    assert (memory.base, memory.size, memory.end) == (BASE, SIZE, OUTSIDE)


def test_ram_that_cannot_be_reserved():
    with pytest.raises(PhysicalAddressError, match="cannot reserve"):
        Memory(BASE, 1 << 62)


@pytest.mark.parametrize(
    ("pa", "size", "inside"),
    [
        (BASE, SIZE, True),
        (BASE, SIZE + 1, False),
        (BASE - 1, 1, False),
        (OUTSIDE - 1, 1, True),
        (OUTSIDE, 1, False),
        (OUTSIDE, 0, True),
        (BASE, -1, False),
        (0, 1, False),
    ],
)
def test_contains(memory, pa, size, inside):
    assert memory.contains(pa, size) is inside


@pytest.mark.parametrize(("pa", "size"), [(BASE - 1, 2), (OUTSIDE - 1, 2), (OUTSIDE, 1), (0, 8)])
def test_ranges_outside_ram_are_refused_and_nothing_is_written(memory, pa, size):
    memory.write(BASE, b"\x11" * 8)
    memory.write(OUTSIDE - 8, b"\x22" * 8)
    for access in (
        lambda: memory.read(pa, size),
        lambda: memory.write(pa, b"x" * size),
        lambda: memory.zero(pa, size),
    ):
        with pytest.raises(PhysicalAddressError):
            access()
    assert memory.read(BASE, 8) == b"\x11" * 8
    assert memory.read(OUTSIDE - 8, 8) == b"\x22" * 8


def test_words_are_aligned_and_inside(memory):
    for pa in (BASE + 4, OUTSIDE, BASE - 8):
        with pytest.raises(PhysicalAddressError):
            memory.load(pa)
        with pytest.raises(PhysicalAddressError):
            memory.store(pa, 0)


def test_views_are_the_same_memory(memory):
    memory.store(BASE + 8, -2)
    assert memory.load(BASE + 8) == 0xFFFF_FFFF_FFFF_FFFE
    assert memory.words[1] == 0xFFFF_FFFF_FFFF_FFFE
    assert memory.halves[2] == 0xFFFF_FFFE
    memory.write(BASE + 8, bytes(range(8)))
    assert memory.load(BASE + 8) == 0x0706_0504_0302_0100
    assert memory.read(BASE + 7, 3) == bytes([0, 0, 1])


def test_a_read_is_a_copy(memory):
    before = memory.read(BASE, 4)
    memory.write(BASE, b"abcd")
    assert before == bytes(4)


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (8, 24),
        (PAGE, PAGE),
        (PAGE, GIVE_BACK),
        (PAGE, GIVE_BACK + 2 * PAGE),
        (PAGE + 8, GIVE_BACK),
        (PAGE + 8, GIVE_BACK + PAGE),
        (PAGE, GIVE_BACK + 8),
        (2 * PAGE, GIVE_BACK + 8),
        (PAGE, 0),
    ],
)
def test_zero_clears_exactly_the_range(memory, offset, size):
    memory.write(BASE, b"\xff" * (GIVE_BACK + 8 * PAGE))
    memory.zero(BASE + offset, size)
    assert memory.read(BASE + offset, size) == bytes(size)
    assert memory.read(BASE, offset) == b"\xff" * offset
    assert memory.read(BASE + offset + size, PAGE) == b"\xff" * PAGE


def resident() -> int:
    """Pages of host memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_zeroed_ranges_cost_no_host_memory():
    pages = 4096
    memory = Memory(BASE, pages * PAGE)
    memory.write(BASE, b"\xff" * (pages * PAGE))
    before = resident()
    memory.zero(BASE, pages * PAGE)
    assert before - resident() > pages * 3 // 4


# -- pages that hold code ----------------------------------------------------------------------------------

CODE = BASE + 4 * PAGE
CHANGES = {
    "write": lambda memory, at: memory.write(at, b"12345678"),
    "store": lambda memory, at: memory.store(at, 1),
    "pack": lambda memory, at: memory.pack(at, Struct("<Q"), 1),
    "zero": lambda memory, at: memory.zero(at, 8),
    "zero of many pages": lambda memory, at: memory.zero(at & -PAGE, GIVE_BACK),
    "copy": lambda memory, at: memory.copy(BASE, at, 8),
    "across": lambda memory, at: memory.write((at & -PAGE) - 4, b"12345678"),
    "all around": lambda memory, at: memory.write((at & -PAGE) - 8, bytes(2 * PAGE)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("offset", [0, 8, PAGE - 8])
def test_whoever_changes_an_executable_page_has_its_code_forgotten(memory, change, offset):
    told = []
    memory.on_code_changed = lambda pa, size: told.append(range(pa, pa + size))
    CHANGES[change](memory, CODE + offset)
    assert not told
    memory.executable(CODE)
    assert memory.is_executable(CODE + PAGE - 1)
    assert not memory.is_executable(CODE + PAGE)
    CHANGES[change](memory, CODE + offset)
    assert len(told) == 1
    changed = CODE + offset if change in ("write", "store", "pack", "zero", "copy") else CODE
    assert changed in told[0]
    memory.not_executable(CODE)
    assert len(told) == 2
    assert set(told[1]) >= {CODE, CODE + PAGE - 1}
    CHANGES[change](memory, CODE + offset)
    memory.not_executable(CODE)
    assert len(told) == 2


def test_changes_beside_executable_pages_forget_nothing(memory):
    told = []
    memory.on_code_changed = lambda pa, size: told.append((pa, size))
    memory.executable(CODE, 2)
    memory.write(CODE - 8, bytes(8))
    memory.write(CODE + 2 * PAGE, bytes(PAGE))
    memory.write(CODE, b"")
    memory.zero(CODE + 2 * PAGE, GIVE_BACK)
    assert not told
    memory.store(CODE + PAGE, 1)
    assert told == [(CODE + PAGE, 8)]


def test_only_changes_of_the_page_itself_forget_its_code(memory):
    """At both ends of RAM, and with code on the page behind."""
    told = []
    memory.on_code_changed = lambda pa, size: told.append((pa, size))
    for page in (BASE, OUTSIDE - PAGE):
        memory.executable(page)
        assert memory.is_executable(page + PAGE - 1)
        for change in CHANGES.keys() - {"across", "all around", "copy", "zero of many pages"}:
            CHANGES[change](memory, page)
            assert told == [(page, 8)], change
            told.clear()
        memory.not_executable(page)
        assert told == [(page, PAGE)]
        told.clear()
    memory.executable(CODE, 2)
    memory.zero(CODE - PAGE, PAGE)
    memory.not_executable(CODE - PAGE)
    memory.not_executable(CODE + 2 * PAGE)
    assert not told
    memory.zero(CODE, 1)
    memory.write(CODE + PAGE, b"x")
    assert told == [(CODE, 1), (CODE + PAGE, 1)]
    told.clear()
    memory.not_executable(CODE)
    assert told == [(CODE, PAGE)]
    assert memory.is_executable(CODE + PAGE)


@pytest.mark.parametrize(("pa", "pages"), [(OUTSIDE, 1), (OUTSIDE - PAGE, 2), (BASE - PAGE, 1)])
def test_code_is_in_ram(memory, pa, pages):
    for mark in (memory.executable, memory.not_executable):
        with pytest.raises(PhysicalAddressError):
            mark(pa, pages)


def test_a_copy_takes_what_is_there(memory):
    memory.write(BASE, bytes(range(256)))
    memory.copy(BASE + 3, CODE - 7, 200)
    assert memory.read(CODE - 7, 200) == bytes(range(3, 203))
    with pytest.raises(PhysicalAddressError):
        memory.copy(memory.end - 8, BASE, 16)
    with pytest.raises(PhysicalAddressError):
        memory.copy(BASE, memory.end - 8, 16)


def test_what_is_executable_can_be_what_it_was(memory):
    told = []
    memory.on_code_changed = lambda pa, size: told.append((pa, size))
    memory.executable(CODE)
    before = memory.executable_pages()
    memory.not_executable(CODE)
    memory.executable(CODE + PAGE)
    del told[:]
    memory.restore_executable(before)
    assert [memory.is_executable(CODE + at) for at in (0, PAGE)] == [True, False]
    assert told == []
