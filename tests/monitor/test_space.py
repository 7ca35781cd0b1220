"""Where mappings go: the address space against a model that knows only a dict of pages (§4, §5)."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import R, W
from pltvm.monitor.abi import HEAP_BASE, MMAP_TOP, RELAY_BASE, SHM_BASE
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.records import EnclaveRecord, Region
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.store import Records

BASE = 0x8000_0000
TABLES = BASE + (2 << 20)  # behind what is the monitor's
BLOCKS = TABLES + 64 * PAGE
RAM_PAGES = 2048
BITMAP = BASE + (RAM_PAGES - 2) * PAGE
RECORDS = BITMAP - PAGE

sizes = st.sampled_from([1, 3, 7, 15])
# Addresses around the ends of the area, so that mappings meet each other and the heap.
addresses = st.one_of(
    st.integers(MMAP_TOP // PAGE - 40, MMAP_TOP // PAGE + 4),
    st.integers(HEAP_BASE // PAGE - 4, HEAP_BASE // PAGE + 40),
    st.sampled_from([0, 1, RELAY_BASE // PAGE - 1, SHM_BASE // PAGE]),
).map(lambda page: page * PAGE)


def space_in(memory: Memory, root: int, free: int, end: int, number: int = 0) -> AddressSpace:
    """An empty address space whose record is the `number`-th in the last pages of RAM."""
    records = Records(memory)
    record = records.view(EnclaveRecord, RECORDS + 512 * number)
    record.root, record.free, record.free_end, record.heap_top = root, free, end, HEAP_BASE
    return AddressSpace(records, PageOwners(memory, BITMAP), record, lambda: None)


def new_space(memory: Memory | None = None) -> tuple[AddressSpace, Callable[[int], Region]]:
    memory = memory or Memory(BASE, RAM_PAGES * PAGE)
    space = space_in(memory, TABLES, TABLES + PAGE, BLOCKS)
    following = BLOCKS

    def new_mapping(pages: int) -> Region:
        nonlocal following
        block, following = following, following + (pages + 1) * PAGE
        return space.records.new_region(block, pages + 1, hidden=1)

    return space, new_mapping


class Placement(RuleBasedStateMachine):
    """The model: start → pages of each mapping, and the number of heap pages."""

    def __init__(self) -> None:
        super().__init__()
        self.space, self.new_mapping = new_space()
        self.model: dict[int, Region] = {}
        self.heap: list[Region] = []

    # -- the model -----------------------------------------------------------------------------------

    @property
    def heap_top(self) -> int:
        return HEAP_BASE + sum(mapping.pages for mapping in self.heap) * PAGE

    @property
    def lowest(self) -> int:
        return min(self.model, default=MMAP_TOP)

    def is_free(self, va: int, pages: int) -> bool:
        end = va + pages * PAGE
        if va < self.heap_top or end > MMAP_TOP:
            return False
        return all(end <= start or start + one.pages * PAGE <= va for start, one in self.model.items())

    def below(self, pages: int) -> int | None:
        va = self.lowest - pages * PAGE
        return va if va >= self.heap_top else None

    # -- rules ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model) < 30)
    @rule(va=addresses, pages=sizes)
    def place_for(self, va: int, pages: int) -> None:
        expected = va if self.is_free(va, pages) else self.below(pages)
        assert self.space.place_for(va, pages) == expected
        self._insert(expected, pages)

    @precondition(lambda self: len(self.model) < 30)
    @rule(pages=sizes)
    def place_below(self, pages: int) -> None:
        expected = self.below(pages)
        assert self.space.place_below(pages) == expected
        self._insert(expected, pages)

    def _insert(self, va: int | None, pages: int) -> None:
        if va is not None:
            mapping = self.new_mapping(pages)
            self.space.insert(mapping, va)
            self.model[va] = mapping

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        va = data.draw(st.sampled_from(sorted(self.model)))
        self.space.remove(self.model.pop(va))

    @precondition(lambda self: len(self.heap) < 10)
    @rule(pages=sizes)
    def grow(self, pages: int) -> None:
        if self.heap_top + pages * PAGE <= self.lowest:
            mapping = self.new_mapping(pages)
            self.space.make_tables(self.heap_top, pages)
            self.space.grow_heap(mapping)
            self.heap.append(mapping)

    @precondition(lambda self: self.heap)
    @rule()
    def shrink(self) -> None:
        assert self.space.shrink_heap().at == self.heap.pop().at

    @rule(va=addresses, pages=st.integers(1, 9))
    def find(self, va: int, pages: int) -> None:
        end = va + pages * PAGE
        expected = [m for start, m in self.model.items() if start <= va and end <= start + m.pages * PAGE]
        found = self.space.find(va, pages * PAGE)
        assert [found and found.at] == ([one.at for one in expected] or [None])

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def tables_say_the_same(self) -> None:
        """Exactly the model's pages are mapped, each to the right page of its block."""
        expected = {}
        for mapping in (*self.model.values(), *self.heap):
            for index in range(mapping.pages):
                expected[mapping.va + index * PAGE] = mapping.block + (1 + index) * PAGE
        mapped = {leaf.va: leaf.pte >> 10 << 12 for leaf in self.space.table.leaves()}
        assert mapped == expected
        assert self.space.record.heap_top == self.heap_top
        assert len(self.space.all_regions()) == len(self.model) + len(self.heap)
        for va in list(expected)[:3]:
            assert self.space.table.translate(va, R | W) == expected[va]


Placement.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPlacement = Placement.TestCase


def test_relay_region_goes_where_it_was_or_into_the_mmap_area() -> None:
    space, new_mapping = new_space()
    assert space.is_free(RELAY_BASE, 3)
    assert not space.is_free(RELAY_BASE, (SHM_BASE - RELAY_BASE) // PAGE + 1)
    region = new_mapping(3)
    space.insert(region, RELAY_BASE)
    assert not space.is_free(RELAY_BASE, 1)
    assert space.find(RELAY_BASE, 3 * PAGE) is region
    for va, size in ((RELAY_BASE, 4 * PAGE), (RELAY_BASE - PAGE, PAGE), (RELAY_BASE + 3 * PAGE, PAGE)):
        assert space.find(va, size) is None
    assert space.place_for(RELAY_BASE, 3) == MMAP_TOP - 3 * PAGE
    space.remove(region)
    assert space.is_free(RELAY_BASE, 3)


def test_no_place_when_no_page_is_left_for_tables() -> None:
    memory = Memory(BASE, RAM_PAGES * PAGE)
    space = space_in(memory, TABLES, TABLES + PAGE, TABLES + 3 * PAGE)
    assert space.place_for(MMAP_TOP - PAGE, 1) == MMAP_TOP - PAGE
    assert not space.make_tables(MMAP_TOP - (4 << 20), 1)
    assert space.place_for(MMAP_TOP - (4 << 20), 1) == space.place_below(1) == MMAP_TOP - PAGE


def test_a_wish_leaves_the_pages_that_are_reserved() -> None:
    memory = Memory(BASE, RAM_PAGES * PAGE)
    space = space_in(memory, TABLES, TABLES + PAGE, TABLES + 5 * PAGE)
    wanted = MMAP_TOP - (4 << 20)  # a middle table and a leaf table, of four pages; then one more leaf table
    assert space.place_for(MMAP_TOP - PAGE, 1, reserve=2) == MMAP_TOP - PAGE
    assert space.place_for(wanted, 1, reserve=2) == MMAP_TOP - PAGE
    assert space.place_for(wanted, 1, reserve=1) == wanted
    assert space.record.free == TABLES + 4 * PAGE


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize(("old", "new"), [
    (MMAP_TOP - 8 * PAGE, MMAP_TOP - 16 * PAGE),
    (MMAP_TOP - 8 * PAGE, RELAY_BASE),
    (RELAY_BASE, MMAP_TOP - 8 * PAGE),
    (RELAY_BASE, RELAY_BASE),
])  # fmt: skip
@pytest.mark.parametrize("others", [False, True])
def test_what_moves_is_in_one_space_only(old: int, new: int, pages: int, others: bool) -> None:
    """Between two enclaves: nothing of it stays mapped, and the neighbours stay where they are."""
    memory = Memory(BASE, RAM_PAGES * PAGE)
    caller, new_mapping = new_space(memory)
    server = space_in(memory, TABLES + 32 * PAGE, TABLES + 33 * PAGE, BLOCKS, 1)
    moving = new_mapping(pages)
    assert caller.place_for(old, pages) == old
    caller.insert(moving, old)
    stay = []
    for space in (caller, server) if others else ():
        for va in (MMAP_TOP - 2 * PAGE, MMAP_TOP - 32 * PAGE):
            mapping = new_mapping(1)
            assert space.place_for(va, 1) == va
            space.insert(mapping, va)
            stay.append((space, mapping))
    assert server.place_for(new, pages) == new
    caller.move_to(server, moving, new)
    assert moving.va == new
    assert server.has(moving)
    assert not caller.has(moving)
    assert caller.find(old, PAGE) is None
    found = server.find(new, pages * PAGE)
    assert found is not None
    assert found.at == moving.at
    for space in (caller, server):
        expected = {mapping.va: mapping.block + PAGE for where, mapping in stay if where is space}
        if space is server:
            expected.update({new + n * PAGE: moving.block + (1 + n) * PAGE for n in range(pages)})
        assert {leaf.va: leaf.pte >> 10 << 12 for leaf in space.table.leaves()} == expected
        assert space.lowest == min((va for va in expected if va < RELAY_BASE), default=MMAP_TOP)
        for mapping in space.all_regions():
            assert space.find(mapping.va, PAGE) is mapping


def test_tables_are_made_all_or_not_at_all() -> None:
    memory = Memory(BASE, RAM_PAGES * PAGE)
    space = space_in(memory, TABLES, TABLES + PAGE, TABLES + 4 * PAGE)
    assert not space.make_tables(MMAP_TOP - (8 << 20), 2048)
    assert not space.make_tables(MMAP_TOP - PAGE, 1, reserve=2)
    assert space.record.free == TABLES + PAGE
    assert space.make_tables(MMAP_TOP - PAGE, 1, reserve=1)
    assert space.record.free == TABLES + 3 * PAGE


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_remove_by_identity_and_address(order: tuple[int, ...]) -> None:
    space, new_mapping = new_space()
    mappings = [new_mapping(1) for _ in range(3)]
    for mapping in mappings:
        place = space.place_below(1)
        assert place is not None
        space.insert(mapping, place)
    for index in order:
        assert space.has(mappings[index])
        space.remove(mappings[index])
        assert not space.has(mappings[index])
    assert space.all_regions() == []
    assert list(space.table.leaves()) == []


def test_a_place_below_many_regions_is_found_without_a_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(BASE, RAM_PAGES * PAGE)
    space = space_in(memory, TABLES, TABLES + PAGE, BLOCKS)
    for number in range(100):
        place = space.place_for(MMAP_TOP - PAGE, 1)
        assert place == MMAP_TOP - (number + 1) * PAGE
        space.insert(space.records.new_region(BLOCKS + 2 * number * PAGE, 2, hidden=1), place)
    looked: list[int] = []
    region = Records.region

    def counted(self: Records, pa: int) -> Region:
        looked.append(pa)
        return region(self, pa)

    monkeypatch.setattr(Records, "region", counted)
    assert space.place_for(MMAP_TOP - PAGE, 1) == MMAP_TOP - 101 * PAGE
    assert len(looked) <= 2
