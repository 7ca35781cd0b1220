"""Page tables as data: what map, unmap, walks and checks do, against a dict of pages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES
from pltvm.errors import OutOfMemory, PhysicalAddressError
from tests.engine.harness import BASE, OUTSIDE, SIZE, Pool

LEAF_TABLE = ENTRIES * PAGE  # what one last-level table maps
MIDDLE_TABLE = ENTRIES * LEAF_TABLE
RAM = BASE + 64 * PAGE  # pages to map, behind those the pool gives out
HIGH = 0xFFFF_FFC0_0000_0000  # the lowest canonical address of the upper half


class Tables:
    def __init__(self) -> None:
        self.memory = Memory(BASE, SIZE)
        self.pool = Pool(self.memory)
        self.table = self.new()

    def new(self) -> PageTable:
        return PageTable(self.memory, self.pool.take(), self.pool.take)


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def table(tables) -> PageTable:
    return tables.table


def mapped(table: PageTable) -> dict[int, int]:
    return {leaf.va: sv39.pte_address(leaf.pte) for leaf in table.leaves()}


# -- numbers -----------------------------------------------------------------------------------------------


def test_entry_layout():
    assert sv39.make_pte(0x8020_3000, sv39.RW) == 0x8020_3000 >> 12 << 10 | 0b1101_0111
    assert sv39.pte_address(0x2008_0CD7) == 0x8020_3000
    assert sv39.pte_address(0xFFC0_0000_2008_0CD7) == 0x8020_3000  # reserved bits are not address bits
    assert sv39.satp_for(0x8020_3000, 0x1234) == 0x8123_4000_0008_0203


@pytest.mark.parametrize(
    ("va", "valid"),
    [
        (0, True),
        ((1 << 38) - 1, True),
        (1 << 38, False),
        (HIGH - 1, False),
        (HIGH, True),
        ((1 << 64) - 1, True),
        (1 << 64, False),
        (1 << 63, False),
    ],
)
def test_canonical(va, valid):
    assert sv39.canonical(va) is valid


# -- runs across tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "va", [0, LEAF_TABLE - 3 * PAGE, MIDDLE_TABLE - 3 * PAGE, HIGH, (1 << 38) - 8 * PAGE]
)
@pytest.mark.parametrize("pages", [1, 2, 8])
def test_run_is_mapped_and_unmapped_as_a_whole(table, va, pages):
    table.map(va, RAM, pages, sv39.RW)
    assert mapped(table) == {va + i * PAGE: RAM + i * PAGE for i in range(pages)}
    assert table.translate(va + pages * PAGE - 1, sv39.W) == RAM + pages * PAGE - 1
    assert table.translate(va + pages * PAGE, sv39.W) is None
    table.unmap(va, pages)
    assert mapped(table) == {}
    assert table.is_free(va, pages)


def test_last_page_of_the_address_space(table):
    table.map((1 << 64) - PAGE, RAM, 1, sv39.RW)
    assert table.translate((1 << 64) - 1) == RAM + PAGE - 1
    assert [leaf.va for leaf in table.leaves()] == [(1 << 64) - PAGE]
    assert table.spans((1 << 64) - 1, 2, sv39.R) is None


def test_mapping_again_replaces(table):
    table.map(0, RAM, 4, sv39.RW)
    table.map(PAGE, RAM + 16 * PAGE, 2, sv39.RX)
    assert [table.translate(va) for va in range(0, 4 * PAGE, PAGE)] == [
        RAM,
        RAM + 16 * PAGE,
        RAM + 17 * PAGE,
        RAM + 3 * PAGE,
    ]
    assert table.translate(PAGE, sv39.W) is None


def test_unmapping_leaves_the_neighbours(table):
    table.map(LEAF_TABLE - 4 * PAGE, RAM, 8, sv39.RW)
    table.unmap(LEAF_TABLE - 2 * PAGE, 4)
    assert sorted(mapped(table)) == [LEAF_TABLE + n * PAGE for n in (-4, -3, 2, 3)]


def test_unmapping_what_was_never_mapped_makes_no_table(table):
    table.unmap(0, 3 * ENTRIES)
    table.unmap(1 << 38, 4)
    assert list(table.tables()) == [table.root]


def test_entries_move_between_address_spaces(tables):
    """What a relay page does: entries built once are put into one table, then into another."""
    first, second = tables.table, tables.new()
    va = LEAF_TABLE - 2 * PAGE
    entries = sv39.contiguous_entries(tables.memory, RAM, 5, sv39.RW)
    first.put(va, entries)
    second.put(va, entries)
    first.unmap(va, 5)
    assert mapped(first) == {}
    assert mapped(second) == {va + i * PAGE: RAM + i * PAGE for i in range(5)}


def test_is_free(table):
    table.map(LEAF_TABLE, RAM, 1, sv39.RW)
    assert table.is_free(0, ENTRIES)
    assert not table.is_free(0, ENTRIES + 1)
    assert not table.is_free(LEAF_TABLE, 1)
    assert table.is_free(LEAF_TABLE + PAGE, 2 * ENTRIES)
    assert table.is_free(LEAF_TABLE, 0)


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pa", "pages"),
    [(OUTSIDE, 1), (OUTSIDE - PAGE, 2), (BASE - PAGE, 1), (BASE - PAGE, 2), (0, 1), (1 << 50, 3)],
)
def test_entry_outside_ram_is_refused_and_nothing_changes(tables, pa, pages):
    table = tables.table
    table.map(LEAF_TABLE - PAGE, RAM, 2, sv39.RW)
    before = bytes(tables.memory.bytes)
    for va in (LEAF_TABLE - PAGE, MIDDLE_TABLE):
        with pytest.raises(PhysicalAddressError):
            table.map(va, pa, pages, sv39.RW)
    assert bytes(tables.memory.bytes) == before


@pytest.mark.parametrize("va", [1 << 38, HIGH - PAGE, 1 << 63, 1 << 64])
@pytest.mark.parametrize("pages", [1, 2])
def test_address_that_is_not_canonical(tables, va, pages):
    """Such an address must not alias the one that shares its low 39 bits, or hit any other memory."""
    table = tables.table
    table.map(va & sv39.VA_MASK & ~(1 << 38), RAM, 1, sv39.RW)
    before = bytes(tables.memory.bytes)
    assert table.slot(va) == table.entry(va) == 0
    assert table.translate(va) is None
    assert table.is_free(va, pages)
    assert not table.flip(va, sv39.W)
    table.unmap(va, pages)
    with pytest.raises(PhysicalAddressError):
        table.map(va, RAM, pages, sv39.RW)
    assert bytes(tables.memory.bytes) == before


def test_huge_page_is_no_table(tables):
    table, memory = tables.table, tables.memory
    memory.store(table.root, sv39.make_pte(0x8000_0000, sv39.RW))
    before = bytes(memory.bytes)
    assert table.slot(PAGE) == table.entry(PAGE) == 0
    assert table.translate(PAGE) is None
    with pytest.raises(PhysicalAddressError):
        table.map(PAGE, RAM, 1, sv39.RW)
    table.unmap(PAGE, 2)
    assert bytes(memory.bytes) == before
    assert [(leaf.va, leaf.slot) for leaf in table.leaves()] == [(0, table.root)]
    for flags in (sv39.R, sv39.X, sv39.R | sv39.W):
        memory.store(table.root, sv39.make_pte(0x8000_0000, sv39.V | flags))
        assert list(table.tables()) == [table.root]
        assert [leaf.va for leaf in table.leaves()] == [0]


@pytest.mark.parametrize("outside", [BASE - PAGE, OUTSIDE, 1 << 50])
@pytest.mark.parametrize("level", [0, 1])
def test_table_outside_ram_is_an_error_of_its_own(tables, outside, level):
    table, memory = tables.table, tables.memory
    table.make_tables(0, 1)
    *_, middle, _leaf = table.tables()
    memory.store((table.root, middle)[level], sv39.make_pte(outside, sv39.V))
    fresh = PageTable(memory, table.root, tables.pool.take)
    for look in (fresh.entry, fresh.slot, fresh.translate, lambda va: fresh.map(va, RAM, 1, sv39.RW)):
        with pytest.raises(PhysicalAddressError):
            look(0)
    with pytest.raises(PhysicalAddressError):
        list(fresh.leaves())


def test_running_out_of_pages_for_tables(tables):
    def take_page() -> int:
        raise OutOfMemory("none left")

    table = PageTable(tables.memory, tables.pool.take(), take_page)
    with pytest.raises(OutOfMemory):
        table.map(0, RAM, 1, sv39.RW)
    assert table.is_free(0, 1)


def test_tables_made_ahead_suffice(tables):
    left = [tables.pool.take() for _ in range(3)]
    table = PageTable(tables.memory, tables.pool.take(), left.pop)
    table.make_tables(LEAF_TABLE - PAGE, 2)
    assert not left
    table.map(LEAF_TABLE - PAGE, RAM, 2, sv39.RW)
    assert len(mapped(table)) == 2


RUNS = [
    *((0, pages) for pages in (1, ENTRIES, ENTRIES + 1, 3 * ENTRIES)),
    *((LEAF_TABLE - PAGE, pages) for pages in (1, 2, ENTRIES + 2)),
    *((MIDDLE_TABLE - PAGE, pages) for pages in (1, 2)),
    (HIGH, 1),
    (2 * MIDDLE_TABLE - LEAF_TABLE - PAGE, ENTRIES + 2),
]


@pytest.mark.parametrize("there", [None, 0, 2 * LEAF_TABLE, MIDDLE_TABLE - PAGE, MIDDLE_TABLE])
@pytest.mark.parametrize(("va", "pages"), RUNS)
def test_missing_tables_are_those_that_are_made(tables, va, pages, there):
    if there is not None:
        tables.table.make_tables(there, 1)
    for table in (tables.table, PageTable(tables.memory, tables.table.root, tables.pool.take)):
        missing, before = table.missing_tables(va, pages), tables.pool.next
        table.make_tables(va, pages)
        assert missing == (tables.pool.next - before) // PAGE
        assert table.missing_tables(va, pages) == 0
        assert len(list(table.tables())) == (tables.pool.next - table.root) // PAGE
        end = va + pages * PAGE
        assert table.covers(va, end) == (pages <= ENTRIES)


def test_a_table_between_two_that_are_there_is_missing(table):
    for at in (0, 2 * LEAF_TABLE):
        table.make_tables(at, 1)
    assert table.missing_tables(LEAF_TABLE - PAGE, ENTRIES + 2) == 1
    assert table.missing_tables(LEAF_TABLE - PAGE, 1) == 0


def test_covers_needs_the_tables_of_both_ends(table):
    table.make_tables(LEAF_TABLE, 1)
    assert table.covers(LEAF_TABLE, 2 * LEAF_TABLE)
    assert not table.covers(LEAF_TABLE - 1, LEAF_TABLE + 1)
    assert not table.covers(2 * LEAF_TABLE - 1, 2 * LEAF_TABLE + 1)
    table.make_tables(2 * LEAF_TABLE, 1)
    assert table.covers(2 * LEAF_TABLE - 1, 2 * LEAF_TABLE + 1)
    assert table.covers(LEAF_TABLE + PAGE, 2 * LEAF_TABLE + PAGE)
    assert not table.covers(LEAF_TABLE, 2 * LEAF_TABLE + 1)


def test_there_is_no_entry_where_there_is_no_table(tables):
    """Whatever lies at the start and the end of RAM."""
    table, memory = tables.table, tables.memory
    for at in (*range(ENTRIES), *range(SIZE // 8 - ENTRIES, SIZE // 8)):
        memory.words[at] = sv39.make_pte(RAM, sv39.RW)
    table.map(0, RAM, 1, sv39.RW)
    for page in range(ENTRIES):
        va = MIDDLE_TABLE + page * PAGE
        assert table.entry(va) == table.slot(va) == 0
        assert table.translate(va) is None


# -- looking -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (sv39.READ_ONLY_DATA, sv39.R),
        (sv39.RW, sv39.R | sv39.W),
        (sv39.RX, sv39.R | sv39.X),
        (sv39.RWX, sv39.R | sv39.W | sv39.X),
        (sv39.RW & ~sv39.U, 0),
        (sv39.RW & ~sv39.V, 0),
    ],
)
def test_translate_asks_for_all_flags_of_user_mode(table, flags, allowed):
    table.map(PAGE, RAM, 1, flags)
    for wanted in range(2, 16, 2):
        assert (table.translate(PAGE + 5, wanted) is not None) == (wanted & allowed == wanted)
    assert table.translate(PAGE + 5, 0) == (RAM + 5 if allowed else None)


def test_leaves_come_in_order_with_the_slot_of_each(tables):
    table, memory = tables.table, tables.memory
    wanted = [0, PAGE, LEAF_TABLE, MIDDLE_TABLE + 7 * PAGE, HIGH, (1 << 64) - PAGE]
    for number, va in enumerate(reversed(wanted)):
        table.map(va, RAM + number * PAGE, 1, sv39.RX)
    leaves = list(table.leaves())
    assert [leaf.va for leaf in leaves] == wanted
    for leaf in leaves:
        assert leaf.slot == table.slot(leaf.va)
        assert memory.load(leaf.slot) == leaf.pte == table.entry(leaf.va)


def test_tables_are_the_root_and_all_below_it(tables):
    table = tables.table
    first = tables.pool.next
    table.map(LEAF_TABLE - PAGE, RAM, 2, sv39.RW)
    table.map(HIGH, RAM, 1, sv39.RW)
    pages = [first + n * PAGE for n in range(5)]  # middle, two leaf tables; middle, leaf table
    assert list(table.tables()) == [table.root, *pages]


def test_spans_cut_at_page_ends(table):
    table.map(0, RAM, 1, sv39.RW)
    table.map(PAGE, RAM + 8 * PAGE, 1, sv39.READ_ONLY_DATA)
    assert table.spans(PAGE - 3, 8, sv39.R) == [(RAM + PAGE - 3, 3), (RAM + 8 * PAGE, 5)]
    assert table.spans(PAGE - 3, 3, sv39.W) == [(RAM + PAGE - 3, 3)]
    assert table.spans(PAGE - 3, 8, sv39.W) is None
    assert table.spans(PAGE, PAGE + 1, sv39.R) is None
    assert table.spans(2 * PAGE, 8, sv39.R) is table.read(2 * PAGE, 8) is None
    assert not table.write(2 * PAGE, b"x")


def test_read_and_write_as_user_mode_may(tables):
    table, memory = tables.table, tables.memory
    table.map(0, RAM, 1, sv39.RW)
    table.map(PAGE, RAM + 8 * PAGE, 1, sv39.RW)
    table.map(2 * PAGE, RAM + 9 * PAGE, 1, sv39.READ_ONLY_DATA)
    assert table.write(PAGE - 2, b"abcd")
    assert table.read(PAGE - 2, 4) == b"abcd"
    assert memory.read(RAM + 8 * PAGE, 2) == b"cd"
    table.map(3 * PAGE, RAM + 20 * PAGE, 3, sv39.RW)
    data = bytes(range(251)) * 48
    assert table.write(3 * PAGE + 5, data)
    assert table.read(3 * PAGE + 5, len(data)) == memory.read(RAM + 20 * PAGE + 5, len(data)) == data
    table.unmap(3 * PAGE, 3)
    assert not table.write(2 * PAGE - 1, b"xy")
    assert table.read(2 * PAGE - 1, 2) == bytes(2)
    assert table.read(3 * PAGE - 1, 2) is None


# -- W^X ---------------------------------------------------------------------------------------------------


@pytest.fixture
def both(tables) -> PageTable:
    """A table whose first two pages of RAM may be written and executed in turns."""
    return PageTable(
        tables.memory, tables.table.root, tables.pool.take, wants_both=lambda pa: pa in (RAM, RAM + PAGE)
    )


def test_flip_turns_a_page_from_writable_to_executable_and_back(both):
    both.map(0, RAM, 1, sv39.RW)
    for want, other in ((sv39.X, sv39.W), (sv39.W, sv39.X)):
        assert both.flip(0, want)
        assert both.entry(0) & (sv39.W | sv39.X) == want
        assert not both.flip(0, want)
        assert both.entry(0) & (sv39.W | sv39.X | other) == want
    assert both.translate(0, sv39.R) == RAM


@pytest.mark.parametrize("rsw", [0, 1 << 8, 1 << 9, 3 << 8])
@pytest.mark.parametrize("flags", [sv39.RW, sv39.RX, sv39.READ_ONLY_DATA])
def test_flip_gives_nothing_the_owner_did_not_allow(both, flags, rsw):
    """No bit of an entry says what a page may become: tables are filled by others too."""
    frame = RAM + 2 * PAGE
    both.map(0, frame, 1, flags | rsw)
    before = both.entry(0)
    for want in (sv39.W, sv39.X):
        assert not both.flip(0, want)
    for wanted in (sv39.W, sv39.X):
        assert (both.translate(0, wanted) is not None) == bool(flags & wanted)
    assert both.writable(before) == bool(flags & sv39.W)
    assert not both.flip(PAGE, sv39.W)
    assert not both.flip(MIDDLE_TABLE, sv39.W)
    assert both.entry(0) == before


def test_flipping_ends_with_both(both):
    both.map(0, RAM, 2, sv39.RW)
    for number in range(sv39.FLIPS_BEFORE_GIVING_UP):
        assert both.flip(0, (sv39.X, sv39.W)[number % 2])
        assert both.entry(0) & (sv39.W | sv39.X) != sv39.W | sv39.X
    assert both.flip(0, (sv39.X, sv39.W)[sv39.FLIPS_BEFORE_GIVING_UP % 2])
    assert both.entry(0) & (sv39.W | sv39.X) == sv39.W | sv39.X
    assert not both.flip(0, sv39.W)
    assert both.entry(PAGE) & (sv39.W | sv39.X) == sv39.W  # counted page by page


@pytest.mark.parametrize("flags", [sv39.RW, sv39.RX])
def test_translate_sees_what_a_page_may_become(both, flags):
    both.map(0, RAM, 1, flags)
    assert both.writable(both.entry(0))
    for wanted in range(2, 16, 2):
        assert both.translate(5, wanted) == RAM + 5
    both.map(0, RAM, 1, flags & ~sv39.U)
    assert both.translate(5, sv39.W | sv39.X) is None


# -- any sequence ------------------------------------------------------------------------------------------

REGIONS = (0, LEAF_TABLE - 8 * PAGE, MIDDLE_TABLE - 8 * PAGE, HIGH, (1 << 64) - 24 * PAGE)
steps = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(REGIONS),
        st.integers(0, 15),
        st.integers(1, 9),
        st.integers(0, 100),
        st.sampled_from((sv39.RW, sv39.RX, sv39.READ_ONLY_DATA, sv39.RWX)),
    ),
    max_size=20,
)


@given(steps)
@settings(max_examples=60, deadline=None, database=None)
def test_any_sequence_of_map_and_unmap_equals_a_dict(sequence):
    tables = Tables()
    table, memory = tables.table, tables.memory
    model: dict[int, int] = {}
    for is_map, region, first, pages, frame, flags in sequence:
        va = region + first * PAGE
        run = range(va, va + pages * PAGE, PAGE)
        if is_map:
            pa = RAM + frame * PAGE
            table.map(va, pa, pages, flags)
            model.update((at, sv39.make_pte(pa + at - va, flags)) for at in run)
        else:
            table.unmap(va, pages)
            for at in run:
                model.pop(at, None)
        assert table.is_free(va, pages) == (not any(at in model for at in run))
    assert [(leaf.va, leaf.pte) for leaf in table.leaves()] == sorted(model.items())
    # A second reader, which has cached nothing, sees the same.
    fresh = PageTable(memory, table.root, tables.pool.take)
    for region in REGIONS:
        for at in range(region, region + 24 * PAGE, PAGE):
            assert table.entry(at) == fresh.entry(at) == model.get(at, 0)
