"""PMP as guests meet it: regions, privileges, priorities, and page-table walks."""

import pytest

from pltvm.engine import pmp, sv39
from pltvm.engine.context import S, U
from pltvm.engine.decode import Access
from pltvm.engine.memory import PAGE
from pltvm.engine.pmp import ALL, LAST, NO_ACCESS, READ_ONLY, Entry
from pltvm.engine.trap import Cause
from pltvm.errors import EngineError
from tests.asm import A0, T0, ebreak, ecall, jalr, ld, li, sd
from tests.engine.harness import ALL_MEMORY, BASE, CODE, DATA, End

POINT = li(T0, DATA)
LOAD, STORE = POINT + ld(A0, T0) + ecall(), POINT + sd(A0, T0) + ecall()
AT = CODE + len(POINT)
OK = End(Cause.ECALL_U, AT + 8)  # Unicorn reports this cause in supervisor mode as well


def run_with(machine, code, entries_for, priv=U):
    """Run `code` with the entries that `entries_for(pa of the page at DATA)` gives before ALL_MEMORY."""
    flags = 0 if priv == S else sv39.U
    space = machine.space(code, sv39.RX & ~sv39.U | flags)
    data = space.table.translate(DATA)
    space.point(DATA, data, sv39.RW & ~sv39.U | flags)
    machine.set_pmp({**ALL_MEMORY, **entries_for(data)})
    return machine.run(space.context(priv=priv))


@pytest.mark.parametrize("priv", [U, S])
@pytest.mark.parametrize(
    ("permissions", "code", "cause"),
    [
        (NO_ACCESS, LOAD, Cause.LOAD_ACCESS),
        (NO_ACCESS, STORE, Cause.STORE_ACCESS),
        (READ_ONLY, LOAD, None),
        (READ_ONLY, STORE, Cause.STORE_ACCESS),
        (ALL, STORE, None),
    ],
)
def test_region_is_enforced_whatever_the_page_table_says(machine, priv, permissions, code, cause):
    end = run_with(machine, code, lambda pa: {0: Entry(pa, PAGE, permissions)}, priv)
    if priv == S and cause is not None:  # the hart decodes user programs only
        assert (end.cause, end.pc) == (cause, AT)
    else:
        assert end == (OK if cause is None else End(cause, AT, Access(DATA, 8)))


def test_fetch_is_refused(machine):
    jump = POINT + jalr(0, T0)
    space = machine.space(jump)
    pa = space.map(DATA, sv39.RX, ecall())
    machine.set_pmp({**ALL_MEMORY, 0: Entry(pa, PAGE, READ_ONLY)})
    assert machine.run(space.context()) == End(Cause.FETCH_ACCESS, DATA, Access(DATA, 2))


def test_lower_entry_wins(machine):
    assert run_with(machine, LOAD, lambda pa: {1: Entry(pa, PAGE, NO_ACCESS), 0: Entry(pa, PAGE, ALL)}) == OK
    end = run_with(machine, LOAD, lambda pa: {0: Entry(pa, PAGE, NO_ACCESS), 1: Entry(pa, PAGE, ALL)})
    assert end.cause == Cause.LOAD_ACCESS


@pytest.mark.parametrize("number", range(LAST))
def test_every_entry_works(machine, number):
    end = run_with(machine, LOAD, lambda pa: {number: Entry(pa, PAGE, NO_ACCESS)})
    assert end.cause == Cause.LOAD_ACCESS


def test_last_entry_is_what_allows_the_rest(machine):
    space = machine.space(LOAD)
    machine.set_pmp({0: Entry(BASE, PAGE, NO_ACCESS)})
    assert machine.run(space.context()).cause == Cause.FETCH_ACCESS
    machine.set_pmp(ALL_MEMORY)
    assert machine.run(space.context()) == OK


def test_region_ends_where_it_says(machine):
    edge, size = BASE + 128 * PAGE, 4 * PAGE
    machine.set_pmp({**ALL_MEMORY, 0: Entry(edge, size, NO_ACCESS)})
    for pa, refused in ((edge - PAGE, False), (edge, True), (edge + size - PAGE, True), (edge + size, False)):
        space = machine.space(LOAD)
        space.point(DATA, pa, sv39.RW)
        assert (machine.run(space.context()).cause == Cause.LOAD_ACCESS) == refused, hex(pa)


def test_program_replaces_all_entries(machine):
    assert run_with(machine, LOAD, lambda pa: {3: Entry(pa, PAGE, NO_ACCESS)}).cause == Cause.LOAD_ACCESS
    assert run_with(machine, LOAD, lambda _: {}) == OK


def test_walk_is_checked_too(machine):
    """A table in a region without access translates nothing: a guest cannot use what it may not read."""
    space = machine.space(LOAD)
    *_, leaf_table = space.table.tables()
    assert leaf_table <= space.table.slot(DATA) < leaf_table + PAGE
    machine.set_pmp({**ALL_MEMORY, 0: Entry(leaf_table, PAGE, NO_ACCESS)})
    end = machine.run(space.context())
    assert (end.cause, end.pc) == (Cause.LOAD_ACCESS, AT)
    machine.set_pmp({**ALL_MEMORY, 0: Entry(leaf_table, PAGE, READ_ONLY)})
    assert machine.run(space.context()) == OK  # A and D are set already, so the walk writes nothing


def test_change_while_translations_are_cached(machine):
    space = machine.space(LOAD + LOAD)
    pa = space.table.translate(DATA)
    context = space.context()
    assert machine.run(context) == OK
    machine.set_pmp({**ALL_MEMORY, 0: Entry(pa, PAGE, NO_ACCESS)})
    assert machine.run(context).cause == Cause.LOAD_ACCESS


@pytest.mark.parametrize(
    ("base", "size"),
    [(BASE + PAGE, 2 * PAGE), (BASE, 3 * PAGE), (BASE, PAGE // 2), (BASE + 8, PAGE), (BASE, -PAGE)],
)
def test_region_must_be_naturally_aligned(machine, base, size):
    """Refused before anything is programmed."""
    with pytest.raises(EngineError, match="naturally aligned"):
        machine.set_pmp({0: Entry(base, size, NO_ACCESS)})
    assert machine.run(machine.space(LOAD).context()) == OK


def test_scratch_page_is_restored_and_its_code_forgotten(machine):
    program = bytes(range(1, 251)) * 16
    machine.memory.write(BASE, program)
    machine.set_pmp(ALL_MEMORY)
    assert machine.memory.read(BASE, len(program)) == program
    space = machine.space(ebreak())
    machine.memory.write(BASE, ecall())
    space.point(CODE, BASE, sv39.RX)
    assert machine.run(space.context()) == End(Cause.ECALL_U, CODE + 4)


def test_address_register():
    assert Entry(0x8000_0000, PAGE, ALL).address_register() == 0x8000_0000 >> 2 | 0x1FF
    assert Entry(0x8000_0000, 1 << 30, ALL).address_register() == 0x8000_0000 >> 2 | 0x7FF_FFFF
    assert Entry(0, 0, ALL).address_register() == (1 << 54) - 1
    assert pmp.ENTRIES == 8
