"""What snapshots lean on: RAM's log of the pages that were written, and the D bits of page tables."""

from collections.abc import Callable
from struct import Struct

import pytest

from pltvm.engine import sv39
from pltvm.engine.memory import GIVE_BACK, PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.snapshot import Snapshots
from pltvm.engine.sv39 import RW, RX, D
from tests.asm import A0, A1, ecall, ld, sd
from tests.engine.harness import BASE, CODE, DATA, SIZE, Machine, Pool, Space

PAGES = SIZE // PAGE
AT = BASE + 40 * PAGE  # pages that nobody uses
NUMBER = 40
STORE = sd(A1, A0, 8) + ecall()


def logged(memory: Memory) -> set[int]:
    """The numbers of the pages in RAM's log."""
    return {number for number, mark in enumerate(memory.dirty) if mark}


def empty_log(memory: Memory) -> None:
    memory.dirty[:] = bytes(PAGES)


def storing(machine: Machine, va: int = DATA) -> Space:
    """A space whose program stores a1 at `va` + 8."""
    return machine.space(STORE)


def store(machine: Machine, space: Space, va: int, value: int) -> None:
    """Have guest code store a number."""
    context = space.context()
    context.set_register(A0, va)
    context.set_register(A1, value)
    machine.run(context)


# -- the log of RAM ------------------------------------------------------------------------------------------

WRITES: dict[str, tuple[Callable[[Memory], object], set[int]]] = {
    "write": (lambda ram: ram.write(AT + 8, b"x"), {40}),
    "write of whole pages": (lambda ram: ram.write(AT, bytes(2 * PAGE)), {40, 41}),
    "write across a page's end": (lambda ram: ram.write(AT + PAGE - 1, b"xy"), {40, 41}),
    "write up to a page's end": (lambda ram: ram.write(AT + PAGE - 2, b"xy"), {40}),
    "write of nothing": (lambda ram: ram.write(AT, b""), set()),
    "pack": (lambda ram: ram.pack(AT + PAGE - 16, Struct("<QQ"), 1, 2), {40}),
    "store": (lambda ram: ram.store(AT + PAGE - 8, 1), {40}),
    "zero": (lambda ram: ram.zero(AT + 100, 1), {40}),
    "zero across a page's end": (lambda ram: ram.zero(AT + PAGE - 1, 2), {40, 41}),
    "zero of much": (lambda ram: ram.zero(AT, GIVE_BACK), set(range(40, 40 + GIVE_BACK // PAGE))),
    "zero of much, unaligned": (lambda ram: ram.zero(AT + 8, GIVE_BACK), set(range(40, 57))),
    "copy": (lambda ram: ram.copy(AT, AT + 8 * PAGE - 8, 16), {47, 48}),
    "touch": (lambda ram: ram.touch(AT + 8), {40}),
    "touch of pages": (lambda ram: ram.touch(AT, 3), {40, 41, 42}),
    "read": (lambda ram: ram.read(AT, PAGE), set()),
    "load": (lambda ram: ram.load(AT), set()),
    "executable": (lambda ram: (ram.executable(AT), ram.not_executable(AT)), set()),
}


@pytest.mark.parametrize("how", WRITES)
def test_what_is_written_is_logged_and_nothing_else(how: str) -> None:
    memory = Memory(BASE, SIZE)
    assert logged(memory) == set()
    act, pages = WRITES[how]
    act(memory)
    assert logged(memory) == pages
    assert len(memory.dirty) == PAGES


@pytest.mark.parametrize("at", [BASE - 8, BASE + SIZE - 8])
def test_what_is_refused_is_not_logged(at: int) -> None:
    memory = Memory(BASE, SIZE)
    for act in (lambda: memory.write(at, bytes(16)), lambda: memory.zero(at, 16)):
        with pytest.raises(Exception, match="not in guest RAM"):
            act()
    assert logged(memory) == set()


# -- page tables ---------------------------------------------------------------------------------------------


class Tables:
    """Two address spaces, whose tables are made."""

    def __init__(self) -> None:
        self.memory = Memory(BASE, SIZE)
        pool = Pool(self.memory)
        self.one, self.other = (PageTable(self.memory, pool.take(), pool.take) for _ in range(2))
        for table in (self.one, self.other):
            table.map(CODE, AT, 1, RX & ~D)
        empty_log(self.memory)

    def page_of(self, table: PageTable, va: int) -> int:
        """The number of the page in which the entry for `va` is."""
        return (table.slot(va) - BASE) // PAGE


@pytest.mark.parametrize("pages", [1, 3])
def test_entries_that_change_are_logged(pages: int) -> None:
    """In a table that is known, one entry or several; also when they go to another table."""
    tables = Tables()
    memory, va = tables.memory, CODE + 8 * PAGE
    here, there = (tables.page_of(table, va) for table in (tables.one, tables.other))
    acts: list[tuple[Callable[[], object], set[int]]] = [
        (lambda: tables.one.map(va, AT + PAGE, pages, RW), {here}),
        (lambda: tables.one.move(va, pages, tables.other, va), {here, there}),
        (lambda: tables.other.unmap(va, pages), {there}),
        (lambda: tables.one.put(va, sv39.contiguous_entries(memory, AT, pages, RW)), {here}),
        (lambda: tables.one.is_free(va, pages), set()),
    ]
    for act, changed in acts:
        act()
        assert logged(memory) == changed
        empty_log(memory)


def test_tables_that_are_made_are_logged() -> None:
    tables = Tables()
    tables.one.map(1 << 35, AT, 1, RW)
    root, *_ = tables.one.tables()
    assert logged(tables.memory) >= {(root - BASE) // PAGE, tables.page_of(tables.one, 1 << 35)}


def test_pages_that_were_written_are_told_and_their_d_bits_cleared() -> None:
    tables = Tables()
    memory, va = tables.memory, CODE + 8 * PAGE
    tables.one.map(va, AT + PAGE, 3, RW & ~D)
    memory.store(tables.one.slot(va + PAGE), memory.load(tables.one.slot(va + PAGE)) | D)
    empty_log(memory)
    tables.one.note_written()
    leaf = tables.page_of(tables.one, va)
    assert logged(memory) == {leaf, NUMBER + 2}
    assert not any(tables.one.entry(va + at * PAGE) & D for at in range(3))
    empty_log(memory)
    tables.one.note_written()
    assert logged(memory) == {leaf}  # in which the JIT may have set A bits


@pytest.mark.parametrize("pages", [1, 2])
def test_a_mapping_that_moves_takes_its_d_bit_along_and_one_that_goes_loses_it(pages: int) -> None:
    tables = Tables()
    va, pa = CODE + 8 * PAGE, AT + 5 * PAGE
    tables.one.map(va, pa, pages, RW)
    tables.one.move(va, pages, tables.other, va + 4 * PAGE)
    empty_log(tables.memory)
    tables.one.note_written()
    assert NUMBER + 5 not in logged(tables.memory)
    tables.other.note_written()
    assert logged(tables.memory) >= {NUMBER + 5 + at for at in range(pages)}
    tables.other.map(va, pa, pages, RW)
    tables.other.unmap(va, pages)
    empty_log(tables.memory)
    tables.other.note_written()
    assert NUMBER + 5 not in logged(tables.memory)  # so who unmaps has to `touch` the pages


def test_tables_made_after_the_first_look_are_looked_at() -> None:
    tables = Tables()
    tables.one.note_written()
    tables.one.map(1 << 35, AT + 3 * PAGE, 1, RW)
    empty_log(tables.memory)
    tables.one.note_written()
    assert NUMBER + 3 in logged(tables.memory)


def test_tables_are_looked_for_again_where_pages_that_lead_to_them_have_changed() -> None:
    tables = Tables()
    table, memory = tables.one, tables.memory
    root, middle, leaf = ((page - BASE) // PAGE for page in table.tables())
    for changed, kept in (({leaf, NUMBER}, True), ({middle}, False), ({root, leaf}, False)):
        table.note_written()
        table.slot(CODE)
        table.look_again(changed)
        assert bool(table._leaf_tables) is kept
    table.note_written()
    table.map(1 << 35, AT, 1, RW)
    table.look_again(set())  # made since: what there was is not known
    assert not table._leaf_tables
    assert memory.load(table.slot(1 << 35))


# -- guest code ----------------------------------------------------------------------------------------------


def test_stores_of_guest_code_are_in_the_log_once_tables_are_asked(machine: Machine) -> None:
    space, memory = storing(machine), machine.memory
    page = (space.table.translate(DATA) - BASE) // PAGE  # type: ignore[operator]
    space.table.note_written()
    snapshots = Snapshots(machine.hart)
    for value in (1, 2, 3):  # each time anew: D bits are clear again, and so is the TLB
        snapshots.save()
        store(machine, space, DATA, value)
        assert page not in logged(memory)
        space.table.note_written()
        assert page in logged(memory)


def test_a_load_is_no_store(machine: Machine) -> None:
    space = machine.space(ld(A1, A0, 8) + ecall())
    page = (space.table.translate(DATA) - BASE) // PAGE  # type: ignore[operator]
    space.table.note_written()
    Snapshots(machine.hart).save()
    store(machine, space, DATA, 5)
    space.table.note_written()
    assert page not in logged(machine.memory)
