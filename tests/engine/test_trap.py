"""The causes of traps, and of a fault which bytes of which address the program wanted."""

import pytest

from pltvm.engine import sv39
from pltvm.engine.context import Context, M
from pltvm.engine.decode import Access
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause, fetch, fetch_at
from tests import asm
from tests.asm import (
    A0,
    A1,
    S0,
    SP,
    T0,
    ZERO,
    addi,
    c_nop,
    ecall,
    jalr,
    ld,
    li,
    lw,
    nop,
    sd,
    sw,
)
from tests.engine.harness import CODE, DATA, NOWHERE, RW_X, RX_W, End, run, word


def test_every_cause_is_described_once():
    texts = [cause.text for cause in Cause]
    assert len(set(texts)) == len(texts) == len(Cause)


@pytest.mark.parametrize(
    ("access", "cause", "size"),
    [
        (asm.lb(A0, T0), Cause.LOAD_PAGE, 1),
        (ld(A0, T0), Cause.LOAD_PAGE, 8),
        (sw(A0, T0), Cause.STORE_PAGE, 4),
        (asm.c_sd(A0, S0), Cause.STORE_PAGE, 8),
        (asm.c_lwsp(A0), Cause.LOAD_PAGE, 4),
        (asm.lr_d(A0, T0), Cause.LOAD_PAGE, 8),
        (asm.amoadd_w(A0, A1, T0), Cause.LOAD_PAGE, 4),
    ],
)
@pytest.mark.parametrize("address", [0, NOWHERE, 1 << 38, 1 << 63, (1 << 64) - 8])
def test_access_to_nothing(machine, access, cause, size, address):
    space = machine.space(access + ecall())
    context = space.context()
    for number in (T0, S0, SP):
        context.set_register(number, address)
    assert machine.run(context) == End(cause, CODE, Access(address, size))


def test_instructions_are_fetched_as_far_as_they_are_executable(machine):
    space = machine.space(addi(A0, A0, 1))
    end = DATA + PAGE
    space.map(DATA, sv39.RX, bytes(PAGE - 2) + b"\x93\x05")
    space.map(NOWHERE, sv39.RX)  # its page does not follow in RAM
    space.map(end, sv39.RX, b"\x15\x00")
    context = space.context()
    assert fetch(context) == addi(A0, A0, 1)
    assert fetch_at(context, end - 2) == b"\x93\x05\x15\x00"
    space.table.unmap(end, 1)
    assert fetch_at(context, end - 2) == b"\x93\x05"
    assert fetch_at(context, end) == b""
    assert fetch(Context(M)) == b""


@pytest.mark.parametrize(
    ("access", "cause", "at_split"), [(ld, Cause.LOAD_PAGE, True), (sd, Cause.STORE_PAGE, False)]
)
def test_straddling_access_whose_first_page_is_read_only(machine, access, cause, at_split):
    space = machine.space(access(A0, T0) + ecall())
    space.map(DATA, sv39.READ_ONLY_DATA)
    context = space.context()
    context.set_register(T0, DATA + PAGE - 2)
    wanted = Access(DATA + PAGE, 6) if at_split else Access(DATA + PAGE - 2, 8)
    assert machine.run(context) == End(cause, CODE, wanted)


STRADDLING = [
    (lw(A0, T0), Cause.LOAD_PAGE, 4),
    (ld(A0, T0), Cause.LOAD_PAGE, 8),
    (asm.c_ld(A0, S0), Cause.LOAD_PAGE, 8),
    (asm.c_ldsp(A0), Cause.LOAD_PAGE, 8),
    (sw(A0, T0), Cause.STORE_PAGE, 4),
    (sd(A0, T0), Cause.STORE_PAGE, 8),
    (asm.c_sw(A0, S0), Cause.STORE_PAGE, 4),
    (asm.c_sdsp(A0), Cause.STORE_PAGE, 8),
]


@pytest.mark.parametrize(("access", "cause", "size"), STRADDLING)
@pytest.mark.parametrize("first_is_mapped", [True, False])
def test_straddling_access_faults_on_the_missing_part(machine, access, cause, size, first_is_mapped):
    space = machine.space(access + ecall())
    if not first_is_mapped:
        space.table.unmap(DATA, 1)
        space.map(DATA + PAGE, sv39.RW)
    context = space.context()
    address = DATA + PAGE - 2
    for number in (T0, S0, SP):
        context.set_register(number, address)
    wanted = Access(DATA + PAGE, size - 2) if first_is_mapped else Access(address, size)
    assert machine.run(context) == End(cause, CODE, wanted)


@pytest.mark.parametrize(("access", "cause", "size"), STRADDLING)
def test_straddling_access_with_both_pages(machine, access, cause, size):
    """A store that spans two pages which are writable and executable flips both."""
    space = machine.space(access + ecall())
    data = bytes(range(1, 17))
    pages = [space.map(va, RX_W) for va in (DATA, DATA + PAGE)]
    machine.memory.write(pages[0] + PAGE - 8, data[:8])
    machine.memory.write(pages[1], data[8:])
    context = space.context()
    address = DATA + PAGE - 2
    for number in (T0, S0, SP):
        context.set_register(number, address)
    context.set_register(A0, 0xA8A7_A6A5_A4A3_A2A1)
    assert machine.run(context).cause == Cause.ECALL_U
    if cause == Cause.LOAD_PAGE:
        assert context.register(A0) == word(data[6 : 6 + size])
    else:
        stored = (0xA8A7_A6A5_A4A3_A2A1).to_bytes(8, "little")[:size]
        assert space.table.read(address, size) == stored
        assert space.table.read(DATA + PAGE - 8, 6) == data[:6]


@pytest.mark.parametrize("flags", [(RX_W, sv39.RW), (sv39.RW, RX_W)])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_straddling_store_flips_the_one_page_that_has_to(machine, flags, before):
    space = machine.space(li(T0, DATA + PAGE - before) + li(A0, 0x1122_3344) + sw(A0, T0) + ecall())
    for va, flag in zip((DATA, DATA + PAGE), flags, strict=True):
        space.map(va, flag)
    assert machine.run(space.context()).cause == Cause.ECALL_U
    assert space.table.read(DATA + PAGE - before, 4) == (0x1122_3344).to_bytes(4, "little")


@pytest.mark.parametrize("access", [asm.amoadd_d(A0, A1, T0), asm.lr_d(A0, T0)])
def test_misaligned_atomic(machine, access):
    code = li(T0, DATA + PAGE - 4)
    assert run(machine, code + access)[2] == End(
        Cause.LOAD_MISALIGNED, CODE + len(code), Access(DATA + PAGE - 4, 8)
    )


@pytest.mark.parametrize(
    ("flags", "access", "cause"),
    [
        (sv39.RX, sd(A0, T0), Cause.STORE_PAGE),
        (sv39.READ_ONLY_DATA, sd(A0, T0), Cause.STORE_PAGE),
        (sv39.READ_ONLY_DATA, asm.amoadd_d(A0, A1, T0), Cause.STORE_PAGE),
        (sv39.RW & ~sv39.U, ld(A0, T0), Cause.LOAD_PAGE),
        (sv39.RW & ~sv39.U, sd(A0, T0), Cause.STORE_PAGE),
    ],
)
def test_page_refuses_what_its_flags_do_not_allow(machine, flags, access, cause):
    code = li(T0, DATA)
    space = machine.space(code + access)
    space.map(DATA, flags)
    before = space.table.entry(DATA)
    assert machine.run(space.context()) == End(cause, CODE + len(code), Access(DATA, 8))
    assert space.table.entry(DATA) == before


@pytest.mark.parametrize("flags", [sv39.RW, sv39.READ_ONLY_DATA, sv39.RX & ~sv39.U])
def test_page_that_is_not_executable_refuses_fetches(machine, flags):
    space = machine.space(li(T0, DATA + 2) + jalr(ZERO, T0))
    space.map(DATA, flags, nop() + ecall())
    assert machine.run(space.context()) == End(Cause.FETCH_PAGE, DATA + 2, Access(DATA + 2, 2))


def straddling_program(machine, second: int | None, before: int):
    """An instruction across a page end with `before` instructions of the same block ahead of it."""
    halves = addi(A0, A0, 1)
    space = machine.space(c_nop() * (PAGE // 2 - 1) + halves[:2])
    if second is not None:
        space.map(CODE + PAGE, second, halves[2:] + ecall())
    return space, space.context(pc=CODE + PAGE - 2 - 2 * before)


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("second", [None, sv39.RW])
def test_instruction_that_straddles_into_a_page_that_is_not_executable(machine, second, before):
    """Unicorn puts pc on the start of the block, none of which has run; the address is exact."""
    _, context = straddling_program(machine, second, before)
    pc = CODE + PAGE - 2 - 2 * before
    assert machine.run(context) == End(Cause.FETCH_PAGE, pc, Access(CODE + PAGE, 2))
    assert context.register(A0) == 0


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("second", [sv39.RX, RW_X])
def test_instruction_that_straddles_two_executable_pages(machine, second, before):
    _, context = straddling_program(machine, second, before)
    assert machine.run(context) == End(Cause.ECALL_U, CODE + PAGE + 6)
    assert context.register(A0) == 1


def test_straddling_instruction_goes_on_once_its_page_is_there(machine):
    space, context = straddling_program(machine, None, 3)

    def page_in(_context):
        space.map(CODE + PAGE, sv39.RX, addi(A0, A0, 1)[2:] + ecall())
        machine.hart.translations_changed()

    machine.hart.handlers[Cause.FETCH_PAGE] = page_in
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A0) == 1
