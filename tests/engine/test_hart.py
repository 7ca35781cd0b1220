"""The CPU under real programs: traps, W^X, address spaces, floating point, stopping, and repeatable runs."""

import threading
import time

import pytest

from pltvm.engine import context as ctx
from pltvm.engine import sv39
from pltvm.engine.context import PC
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import FLIPS_BEFORE_GIVING_UP
from pltvm.engine.trap import Access, Cause
from tests import asm
from tests.asm import (
    A0,
    A1,
    A2,
    A3,
    RA,
    S0,
    SP,
    T0,
    T1,
    T2,
    ZERO,
    add,
    addi,
    beq,
    bne,
    c_addi,
    c_ebreak,
    c_nop,
    c_unimp,
    csrrs,
    ebreak,
    ecall,
    fadd_d,
    fence_i,
    fld,
    fmv_d_x,
    fmv_x_d,
    fsd,
    jal,
    jalr,
    ld,
    li,
    lw,
    nop,
    sd,
    sw,
    unimp,
)
from tests.engine.harness import BASE, CODE, DATA, NOWHERE, OUTSIDE, RW_X, RX_W, End, Machine

RETURN = jalr(ZERO, RA)
TOP = (1 << 64) - PAGE


def word(code: bytes) -> int:
    return int.from_bytes(code, "little")


def permissions(space, va: int) -> int:
    return space.table.entry(va) & (sv39.W | sv39.X)


def run(machine: Machine, code: bytes, flags: int = sv39.RX):
    """Run `code` in a fresh address space: its context, its space, how it ended."""
    space = machine.space(code, flags)
    context = space.context()
    return context, space, machine.run(context)


# -- running and its ends ----------------------------------------------------------------------------------


def test_a_new_hart_has_done_nothing():
    hart = Hart(Memory(BASE, PAGE))
    assert [hart.clock, hart.traps, hart.flushes, hart.refreshes] == [0] * 4


@pytest.mark.parametrize(
    "value", [0, -1, 2047, -2048, 0x7FFF_FFFF, -(1 << 31), 1 << 31, 0x1234_5678_9ABC_DEF0, 1 << 63]
)
def test_registers_reach_the_guest_and_come_back(machine, value):
    space = machine.space(add(A1, A0, ZERO) + li(A2, value) + ecall())
    context = space.context()
    context.set_register(A0, value)
    machine.run(context)
    assert context.register(A0) == context.register(A1) == context.register(A2) == value % (1 << 64)


def test_all_registers_are_saved_and_loaded(machine):
    """Each is one more after the program, and none is another's."""
    code = b"".join(addi(number, number, 1) for number in range(1, 32)) + ecall()
    context = machine.space(code).context()
    for number in range(1, 32):
        context.set_register(number, number << 40)
    assert machine.run(context) == End(Cause.ECALL_U, CODE + len(code))
    assert [context.register(number) for number in range(32)] == [0, *((n << 40) + 1 for n in range(1, 32))]


@pytest.mark.parametrize(
    ("instruction", "cause", "pc_moves"),
    [
        (ecall(), Cause.ECALL_U, 4),
        (ebreak(), Cause.BREAKPOINT, 0),
        (c_ebreak(), Cause.BREAKPOINT, 0),
        (asm.wfi(), Cause.WFI, 4),
        (unimp(), Cause.ILLEGAL, 0),
        (c_unimp(), Cause.ILLEGAL, 0),
        (b"\xff" * 4, Cause.ILLEGAL, 0),
        (asm.mret(), Cause.ILLEGAL, 0),
        (asm.sfence_vma(), Cause.ILLEGAL, 0),
        (csrrs(A0, asm.CSR_SATP), Cause.ILLEGAL, 0),
        (csrrs(A0, asm.CSR_MSTATUS), Cause.ILLEGAL, 0),
        (asm.csrrw(ZERO, asm.CSR_PMPADDR0, A0), Cause.ILLEGAL, 0),
        (asm.csrrw(A0, asm.CSR_CYCLE, A1), Cause.ILLEGAL, 0),
        (csrrs(A0, asm.CSR_TIME, A1), Cause.ILLEGAL, 0),
    ],
)
@pytest.mark.parametrize("before", [b"", c_nop(), nop() * 3], ids=["first", "halfway", "later"])
def test_every_odd_instruction_is_a_named_trap_with_exact_pc(machine, instruction, cause, pc_moves, before):
    context, _, end = run(machine, before + instruction + nop())
    assert end == End(cause, CODE + len(before) + pc_moves)
    assert context.regs[PC] == end.pc
    assert machine.hart.traps == 1


@pytest.mark.parametrize("half", range(0, 0x20, 4))
def test_illegal_word_at_the_start_of_a_page_is_illegal(machine, half):
    """Unicorn reports a fetch fault of the page before, when that is not executable."""
    assert run(machine, half.to_bytes(2, "little") + nop())[2] == End(Cause.ILLEGAL, CODE)


@pytest.mark.parametrize(
    "target", [0, NOWHERE, DATA, BASE, OUTSIDE, 1 << 38, 1 << 45, 1 << 63, TOP, (1 << 64) - 4, (1 << 64) - 2]
)
def test_jump_to_where_no_code_is(machine, target):
    _, _, end = run(machine, li(T0, target) + jalr(ZERO, T0))
    assert end == End(Cause.FETCH_PAGE, target, Access(target, 2))


def test_jump_target_loses_its_lowest_bit(machine):
    code = li(T0, CODE + 1) + jalr(ZERO, T0, 12) + ebreak()
    assert len(code) == 16
    code = code[:12] + ecall() + code[12:]
    assert run(machine, code)[2].cause == Cause.ECALL_U


def test_program_in_the_last_page_runs_off_the_end_of_memory(machine):
    space = machine.space()
    space.map(TOP, sv39.RX, nop() * (PAGE // 4))
    assert machine.run(space.context(pc=(1 << 64) - 8)) == End(Cause.FETCH_PAGE, 0, Access(0, 2))


@pytest.mark.parametrize("outside", [OUTSIDE, BASE - PAGE, 0, 1 << 40])
@pytest.mark.parametrize("access", [ld(A0, T0), sd(A0, T0), asm.amoadd_d(A0, A1, T0)])
def test_data_entry_that_points_outside_ram(machine, outside, access):
    """Nobody may write such an entry; should one get in, that is a trap and not the end of the process."""
    code = li(T0, DATA)
    space = machine.space(code + access)
    space.point(DATA, outside, sv39.RW)
    assert machine.run(space.context()) == End(Cause.OUTSIDE_RAM, CODE + len(code))


def test_code_entry_that_points_outside_ram(machine):
    space = machine.space(nop())
    space.point(CODE, OUTSIDE, sv39.RX)
    assert machine.run(space.context()) == End(Cause.OUTSIDE_RAM, CODE)


def test_code_that_goes_on_in_a_page_outside_ram(machine):
    space = machine.space()
    space.map(DATA, sv39.RX, nop() * (PAGE // 4 - 1) + c_nop() + addi(A0, A0, 1)[:2])
    space.map(DATA + PAGE, sv39.RX)
    space.point(DATA + PAGE, OUTSIDE, sv39.RX)
    pc = DATA + PAGE - 4
    assert machine.run(space.context(pc=pc)) == End(Cause.OUTSIDE_RAM, pc)


def test_hart_goes_on_after_every_odd_end(machine):
    for code in (ebreak(), asm.wfi(), unimp(), li(T0, -2) + jalr(ZERO, T0)):
        run(machine, code)
        assert run(machine, ecall())[2].cause == Cause.ECALL_U


# -- faults: which address ---------------------------------------------------------------------------------


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
def test_straddling_store_flips_the_one_page_that_has_to(machine, flags):
    space = machine.space(li(T0, DATA + PAGE - 2) + li(A0, 0x1122_3344) + sw(A0, T0) + ecall())
    for va, flag in zip((DATA, DATA + PAGE), flags, strict=True):
        space.map(va, flag)
    assert machine.run(space.context()).cause == Cause.ECALL_U
    assert space.table.read(DATA + PAGE - 2, 4) == (0x1122_3344).to_bytes(4, "little")


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


# -- W and X never together --------------------------------------------------------------------------------


def test_program_writes_data_then_executes_it(machine):
    code = li(T0, DATA) + li(T1, word(addi(A0, A0, 7))) + sw(T1, T0) + li(T1, word(RETURN)) + sw(T1, T0, 4)
    space = machine.space(code + fence_i() + jalr(RA, T0) + ecall())
    space.map(DATA, RW_X)
    context = space.context()
    assert permissions(space, DATA) == sv39.W
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A0) == 7
    assert permissions(space, DATA) == sv39.X
    assert machine.hart.traps == 2  # one flip, one ecall
    assert machine.hart.flushes == 1


def test_self_modifying_code_runs_as_it_is_each_time(machine):
    """A loop writes `addi a0, a0, N` for N = 1…20 to another page and calls it: the sum comes out."""
    loop = sw(T1, T0) + fence_i() + jalr(RA, T0) + add(T1, T1, T2) + addi(A1, A1, -1)
    code = li(T0, DATA) + li(T1, word(addi(A0, A0, 1))) + li(T2, 1 << 20) + li(A1, 20)
    space = machine.space(code + loop + bne(A1, ZERO, -len(loop)) + ecall())
    space.map(DATA, RW_X, nop() + RETURN)
    context = space.context()
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A0) == sum(range(1, 21))
    assert permissions(space, DATA) == sv39.W | sv39.X
    assert machine.hart.traps == FLIPS_BEFORE_GIVING_UP + 2
    assert machine.hart.flushes == FLIPS_BEFORE_GIVING_UP + 1


def test_code_that_stores_to_its_own_page(machine):
    """Each store and each fetch after it flip the page, until it is left writable and executable."""
    loop = sd(A0, T0) + addi(A0, A0, 1)
    code = li(T0, CODE + 0x800) + li(A1, 100) + loop + bne(A0, A1, -len(loop)) + ecall()
    context, space, end = run(machine, code, RW_X)
    assert end == End(Cause.ECALL_U, CODE + len(code))
    assert context.register(A0) == 100
    assert space.table.read(CODE + 0x800, 8) == (99).to_bytes(8, "little")
    assert permissions(space, CODE) == sv39.W | sv39.X
    assert machine.hart.traps == FLIPS_BEFORE_GIVING_UP + 2
    assert machine.hart.flushes == FLIPS_BEFORE_GIVING_UP + 1


def test_code_that_replaces_the_instruction_behind_it(machine):
    """On a page left writable and executable as well: nothing stale runs."""
    for flags in (RW_X, RW_X | sv39.X):
        code = li(T1, word(addi(A0, A0, 5))) + li(T0, CODE)
        code += sw(T1, T0, len(code) + 8) + fence_i() + addi(A0, A0, 1) + ecall()
        context, _, end = run(machine, code, flags)
        assert end.cause == Cause.ECALL_U
        assert context.register(A0) == 5


def test_code_changed_through_another_address(machine):
    """The same page once as code and once as data: a store through one is seen by the other."""
    change = li(T0, DATA) + li(T1, word(addi(A0, A0, 100))) + sw(T1, T0) + fence_i() + jalr(RA, A1) + ecall()
    space = machine.space(li(A1, NOWHERE) + jalr(RA, A1) + change)
    space.table.map(NOWHERE, space.map(DATA, sv39.RW, addi(A0, A0, 1) + RETURN), 1, sv39.RX)
    context = space.context()
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A0) == 101


def test_atomics_and_compressed_stores_flip_as_well(machine):
    code = (
        li(T0, DATA) + li(S0, DATA + PAGE) + li(A1, 3) + asm.amoadd_d(A2, A1, T0) + asm.c_sd(A1, S0) + ecall()
    )
    space = machine.space(code)
    for va in (DATA, DATA + PAGE):
        space.map(va, RX_W)
    assert machine.run(space.context()).cause == Cause.ECALL_U
    assert space.table.read(DATA, 8) == space.table.read(DATA + PAGE, 8) == (3).to_bytes(8, "little")


# -- address spaces ----------------------------------------------------------------------------------------

READ_TWICE = li(T0, DATA) + ld(A0, T0) + ecall() + ld(A1, T0) + ecall()


def two_spaces(machine, first_asid: int, second_asid: int):
    """Two address spaces with the same program, whose data pages hold 1 and 2."""
    spaces = [machine.space(READ_TWICE, asid=asid) for asid in (first_asid, second_asid)]
    for number, space in enumerate(spaces, 1):
        space.map(DATA, sv39.RW, number.to_bytes(8, "little"))
    return [space.context() for space in spaces]


@pytest.mark.parametrize(("asids", "flushes"), [((1, 2), 0), ((1, 1), 3)], ids=["two ASIDs", "the same ASID"])
def test_switch_in_a_handler(machine, asids, flushes):
    """In turns, each reading its own page: nothing stale is seen, and nothing is flushed in vain."""
    first, second = two_spaces(machine, *asids)
    order = [second, first, second]

    def switch(_context):
        if order:
            machine.hart.current = order.pop(0)
        else:
            machine.hart.stop()

    machine.hart.handlers[Cause.ECALL_U] = switch
    machine.hart.current = first
    machine.hart.run()
    assert [first.register(A0), first.register(A1)] == [1, 1]
    assert [second.register(A0), second.register(A1)] == [2, 2]
    assert machine.hart.flushes == flushes
    assert machine.hart.traps == 4


def test_switch_between_runs_with_the_same_asid(machine):
    for number, context in enumerate(two_spaces(machine, 5, 5), 1):
        machine.run(context)
        assert context.register(A0) == number


def test_page_unmapped_in_a_handler_faults_at_the_next_access(machine):
    space = machine.space(READ_TWICE)
    hart = machine.hart

    def unmap(_context):
        space.table.unmap(DATA, 1)
        hart.translations_changed()

    hart.handlers[Cause.ECALL_U] = unmap
    assert machine.run(space.context()) == End(Cause.LOAD_PAGE, CODE + len(READ_TWICE) - 8, Access(DATA, 8))
    assert (hart.traps, hart.flushes) == (2, 1)


def test_page_mapped_in_a_fault_handler_is_there_when_the_instruction_runs_again(machine):
    space = machine.space(READ_TWICE)
    space.table.unmap(DATA, 1)
    hart = machine.hart

    def page_in(_context):
        space.map(DATA, sv39.RW, b"\x2a")
        hart.translations_changed()

    hart.handlers[Cause.LOAD_PAGE] = page_in
    context = space.context()
    assert machine.run(context) == End(Cause.ECALL_U, CODE + len(READ_TWICE) - 8)
    assert context.register(A0) == 0x2A
    assert (hart.traps, hart.flushes) == (2, 1)


def test_nothing_is_flushed_when_nothing_changed(machine):
    calls = 50
    loop = ecall() + addi(A0, A0, 1)
    space = machine.space(li(A1, calls) + loop + bne(A0, A1, -len(loop)) + ebreak())
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: None
    context = space.context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A0) == calls
    assert (machine.hart.traps, machine.hart.flushes) == (calls + 1, 0)


def test_page_moved_from_one_space_to_another(machine):
    """Entries, not bytes, move; the giver faults afterwards and the receiver sees the content."""
    giver, receiver = machine.space(READ_TWICE, asid=1), machine.space(READ_TWICE, asid=2)
    pa = giver.map(DATA, sv39.RW, b"\x07")
    receiver.table.unmap(DATA, 1)
    contexts = [giver.context(), receiver.context()]

    def move(context):
        if context is contexts[1]:
            machine.hart.current = contexts[0]
            return
        giver.table.unmap(DATA, 1)
        receiver.table.map(DATA, pa, 1, sv39.RW)
        machine.hart.translations_changed()
        machine.hart.current = contexts[1]

    machine.hart.handlers[Cause.ECALL_U] = move
    end = machine.run(contexts[0])
    assert contexts[1].register(A0) == 7
    assert (end.cause, end.access) == (Cause.LOAD_PAGE, Access(DATA, 8))
    assert machine.hart.current is contexts[0]


# -- floating point ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "load"),
    [
        (fsd(8, S0), fld(9, S0)),
        (asm.c_fsd(8, S0) + asm.c_fsd(8, S0), asm.c_fld(9, S0) + asm.c_fld(9, S0)),
        (asm.c_fsdsp(8) + asm.c_fsdsp(8), asm.c_fldsp(9) + asm.c_fldsp(9)),
    ],
)
def test_a_program_may_begin_with_any_floating_point_instruction(machine, store, load):
    """Also with the compressed ones, which Unicorn would skip while FS is off."""
    code = li(S0, DATA) + li(SP, DATA) + li(A0, 77) + fmv_d_x(8, A0) + store + load + fmv_x_d(A1, 9) + ecall()
    context, _, end = run(machine, code)
    assert end.cause == Cause.ECALL_U
    assert context.register(A1) == 77
    assert machine.hart.traps == 1


def test_illegal_floating_point_instruction_stays_illegal(machine):
    invalid = (word(fadd_d(0, 0, 0)) | 0x3E << 26).to_bytes(4, "little")
    assert run(machine, nop() + invalid)[2] == End(Cause.ILLEGAL, CODE + 4)


def test_arithmetic(machine):
    space = machine.space(li(T0, DATA) + fld(1, T0) + fadd_d(2, 1, 1) + fsd(2, T0, 8) + ecall())
    space.table.write(DATA, (0x3FF8_0000_0000_0000).to_bytes(8, "little"))  # 1.5
    machine.run(space.context())
    assert space.table.read(DATA + 8, 8) == (0x4008_0000_0000_0000).to_bytes(8, "little")  # 3.0


def test_contexts_do_not_see_each_others_floating_point(machine):
    """Two programs take turns; each writes all its registers, waits, and finds them as they were."""
    write = b"".join(addi(A1, A0, n) + fmv_d_x(n, A1) for n in range(32)) + asm.csrrw(ZERO, asm.CSR_FCSR, A2)
    read = b"".join(
        fmv_x_d(A1, n) + asm.sub(A1, A1, A0) + addi(A1, A1, -n) + asm.or_(A3, A3, A1) for n in range(32)
    )
    code = write + ecall() + read + csrrs(A2, asm.CSR_FCSR) + ebreak()
    contexts = [machine.space(code, asid=asid).context() for asid in (1, 2)]
    for number, context in enumerate(contexts, 1):
        context.set_register(A0, number << 32)
        context.set_register(A2, number)
    no_fp = machine.space(addi(A0, A0, 1) + ecall(), asid=3).context()
    order = [contexts[1], no_fp, contexts[0], contexts[1]]
    hart = machine.hart

    def next_one(_context):
        hart.current = order.pop(0)

    def done(_context):
        if order:
            next_one(_context)
        else:
            hart.stop()

    hart.handlers[Cause.ECALL_U], hart.handlers[Cause.BREAKPOINT] = next_one, done
    hart.current = contexts[0]
    hart.run()
    assert [context.register(A3) for context in contexts] == [0, 0]
    assert [context.register(A2) for context in contexts] == [1, 2]
    assert [list(context.regs[ctx.F0 : ctx.FCSR]) for context in contexts] == [
        [(n << 32) + i for i in range(32)] for n in (1, 2)
    ]
    assert not any(no_fp.regs[ctx.F0 :])
    assert no_fp.register(A0) == 1


def test_fresh_floating_point_registers_are_zero_after_another_program_used_them(machine):
    run(machine, li(A0, -1) + fmv_d_x(1, A0) + ecall())
    context, _, _ = run(machine, li(A0, -1) + fmv_x_d(A0, 1) + ecall())
    assert context.register(A0) == 0


def test_restarted_context_starts_with_fresh_floating_point(machine):
    space = machine.space(li(A0, -1) + fmv_d_x(1, A0) + ecall() + fmv_x_d(A1, 1) + ebreak())
    context = space.context()

    def restart(_context):
        pc = context.regs[PC]
        context.reset(ctx.U, space.satp, pc)

    machine.hart.handlers[Cause.ECALL_U] = restart
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A1) == 0


@pytest.mark.parametrize("how", ["trap", "stop", "error", "interrupt"])
def test_floating_point_survives(machine, how):
    hart = machine.hart
    context = machine.space(li(A0, 77) + fmv_d_x(9, A0) + ecall() + fmv_x_d(A1, 9) + ebreak()).context()

    def handle(_context):
        if how == "stop":
            hart.stop()
        elif how == "interrupt":
            hart.interrupt()
        elif how == "error":
            raise RuntimeError("from the handler")

    hart.handlers[Cause.ECALL_U] = handle
    hart.current = context
    if how == "error":
        with pytest.raises(RuntimeError):
            hart.run()
    elif how != "trap":
        hart.run()
    if how != "trap":
        run_other = machine.space(li(A0, -1) + fmv_d_x(9, A0) + ebreak(), asid=9).context()
        machine.run(run_other)
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A1) == 77


@pytest.mark.parametrize("where", [ctx.S, ctx.U], ids=["in S-mode", "in its user mode"])
def test_fcsr_stays_with_a_kernel_that_turned_floating_point_off(machine, where):
    """It can be neither read nor written then: another program's would be found when it is on again, and
    what is saved would be anything."""
    set_status, clear_status = 0x1002_A073, 0x1002_B073  # csrs, csrc sstatus, t0
    turned = {True: set_status.to_bytes(4, "little"), False: clear_status.to_bytes(4, "little")}
    fs = li(asm.T0, ctx.MSTATUS_FS)
    start = li(A0, 0x15) + asm.csrrw(ZERO, asm.CSR_FCSR, A0) + fs + turned[False]
    to_user = li(asm.T1, DATA) + asm.csrrw(ZERO, 0x141, asm.T1) + (0x1020_0073).to_bytes(4, "little")
    again = turned[True] + csrrs(A1, asm.CSR_FCSR) + ecall()
    start += (to_user if where == ctx.U else b"") + ecall()
    space = machine.space()
    space.map(CODE, sv39.RX & ~sv39.U, start + again)
    space.map(DATA, sv39.RX, ecall() * 2)
    kernel = space.context(priv=ctx.S)
    other = machine.space(li(A0, 0xC2) + asm.csrrw(ZERO, asm.CSR_FCSR, A0) + ecall(), asid=2).context()

    assert machine.run(kernel).cause == Cause.ECALL_U
    assert kernel.regs[ctx.PRIV] == where
    assert kernel.regs[ctx.FCSR] == 0x15
    machine.run(other)
    if where == ctx.U:
        assert machine.run(kernel).cause == Cause.ECALL_U
        kernel.regs[PC], kernel.regs[ctx.PRIV] = CODE + len(start), ctx.S
    assert machine.run(kernel).cause == Cause.ECALL_U
    assert (kernel.register(A1), kernel.regs[ctx.FCSR], other.regs[ctx.FCSR]) == (0x15, 0x15, 0xC2)


# -- the same input gives the same run ---------------------------------------------------------------------


@pytest.mark.parametrize("csr", [asm.CSR_TIME, asm.CSR_CYCLE, asm.CSR_INSTRET])
def test_counter_is_an_increasing_clock(machine, csr):
    context, _, end = run(machine, csrrs(A0, csr) + nop() * 5 + csrrs(A1, csr) + csrrs(ZERO, csr) + ecall())
    assert end == End(Cause.ECALL_U, CODE + 36)
    assert 0 < context.register(A0) < context.register(A1) == 2 * context.register(A0)
    assert machine.hart.clock == 3 * context.register(A0)
    assert context.register(ZERO) == 0


def test_counters_share_one_clock(machine):
    code = csrrs(A0, asm.CSR_TIME) + csrrs(A1, asm.CSR_CYCLE) + csrrs(A2, asm.CSR_INSTRET) + ecall()
    context, _, _ = run(machine, code)
    ticks = context.register(A0)
    assert [context.register(A1), context.register(A2)] == [2 * ticks, 3 * ticks]


@pytest.mark.parametrize("csr", [0xC20, 0xC81, 0xB00, 0xF14])
def test_other_counters_are_illegal(machine, csr):
    assert run(machine, csrrs(A0, csr) + ecall())[2] == End(Cause.ILLEGAL, CODE)


def traced_run() -> list[tuple[int, dict[str, int]]]:
    """A program that stores, calls, flips, reads clocks and computes; all registers at each of its traps."""
    machine = Machine()
    body = csrrs(A2, asm.CSR_TIME) + sd(A2, T0) + ecall() + fmv_d_x(1, A2) + fadd_d(1, 1, 1) + fmv_x_d(A3, 1)
    body += jalr(RA, T1) + addi(A0, A0, 1)
    code = li(T0, DATA) + li(T1, DATA + 0x800) + li(A1, 12) + body + bne(A0, A1, -len(body)) + ebreak()
    space = machine.space(code)
    space.map(DATA, RW_X, bytes(0x800) + RETURN)
    trace = []

    def record(context):
        trace.append((machine.hart.traps, context.named_registers()))

    machine.hart.handlers[Cause.ECALL_U] = record
    context = space.context()
    assert machine.run(context).cause == Cause.BREAKPOINT
    record(context)
    return trace


def test_two_runs_are_the_same():
    first = traced_run()
    assert len(first) == 13
    assert traced_run() == first


# -- stopping ----------------------------------------------------------------------------------------------


def test_stop_and_run_again_goes_on_exactly(machine):
    calls = 5
    loop = addi(A0, A0, 3) + ecall() + add(A1, A1, A0)
    space = machine.space(li(A2, 3 * calls) + loop + bne(A0, A2, -len(loop)) + ebreak())
    context = space.context()
    for number in range(1, calls + 1):
        assert machine.run(context).cause == Cause.ECALL_U
        assert context.register(A0) == 3 * number
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A1) == 3 * sum(range(1, calls + 1))


def test_handler_changes_what_the_program_sees(machine):
    def answer(context):
        context.set_register(A0, context.register(A0) * 2)
        context.regs[PC] += 4

    machine.hart.handlers[Cause.ECALL_U] = answer
    context, _, end = run(machine, li(A0, 21) + ecall() + ebreak() + add(A1, A0, ZERO) + ebreak())
    assert end == End(Cause.BREAKPOINT, CODE + 16)
    assert context.register(A1) == 42


def test_handler_changes_are_kept_across_a_stop(machine):
    def answer(context):
        context.set_register(A0, 42)
        machine.hart.stop()

    machine.hart.handlers[Cause.ECALL_U] = answer
    context = machine.space(ecall() + add(A1, A0, ZERO) + ebreak()).context()
    machine.hart.current = context
    machine.hart.run()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A1) == 42


@pytest.mark.parametrize(
    "code", [ecall(), ebreak(), unimp(), ld(A0, ZERO)], ids=["ecall", "ebreak", "illegal", "fault"]
)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_handler_exception_comes_out_of_run_and_the_hart_survives(machine, code, error):
    def fail(_context):
        raise error("from the handler")

    handlers = dict(machine.hart.handlers)
    machine.hart.handlers.update(dict.fromkeys(handlers, fail))
    context = machine.space(li(A0, 9) + code).context()
    machine.hart.current = context
    with pytest.raises(error, match="from the handler"):
        machine.hart.run()
    assert context.register(A0) == 9
    machine.hart.handlers.update(handlers)
    assert run(machine, ecall())[2].cause == Cause.ECALL_U


# Two registers that are equal, or differ by one between the additions; it never ends by itself.
COUNT = addi(A0, A0, 1) + addi(A1, A1, 1) + jal(ZERO, -8)


@pytest.mark.parametrize("code", [COUNT, jal(ZERO, 0), beq(ZERO, ZERO, 0)], ids=["count", "jump", "branch"])
def test_interrupt_from_another_thread_ends_an_endless_loop(machine, code):
    context = machine.space(code).context()
    ended = threading.Event()

    def interrupt():
        while not ended.is_set():
            machine.hart.interrupt()
            time.sleep(0.001)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        for _ in range(5):
            end = machine.run(context)
            assert end.cause == Cause.INTERRUPT
            assert CODE <= end.pc < CODE + len(code)
            done = 1 if end.pc == CODE + 4 else 0
            assert context.register(A0) == context.register(A1) + done
    finally:
        ended.set()
        thread.join()


def test_interrupt_while_a_handler_runs_comes_right_behind_it(machine):
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: machine.hart.interrupt()
    context, _, end = run(machine, ecall() + addi(A0, A0, 1) + ebreak())
    assert end == End(Cause.INTERRUPT, CODE + 4)
    assert context.register(A0) == 0
    assert machine.run(context) == End(Cause.BREAKPOINT, CODE + 8)
    assert context.register(A0) == 1


def test_interrupt_while_nothing_runs_is_forgotten(machine):
    machine.hart.interrupt()
    assert run(machine, ecall())[2].cause == Cause.ECALL_U


def test_interrupt_handler_may_let_the_program_go_on(machine):
    machine.hart.handlers[Cause.ECALL_U] = lambda _context: machine.hart.interrupt()
    machine.hart.handlers[Cause.INTERRUPT] = lambda context: context.set_register(A0, 5)
    context, _, end = run(machine, ecall() + addi(A0, A0, 1) + ebreak())
    assert end.cause == Cause.BREAKPOINT
    assert context.register(A0) == 6


# -- time slices -------------------------------------------------------------------------------------------


def test_slice_ends_after_exactly_so_many_instructions(machine):
    code = addi(A0, A0, 1) * 100 + jal(ZERO, -400)
    context = machine.space(code).context()
    machine.hart.set_time_slice(1010)
    for number in range(1, 4):
        done = 1010 * number
        assert machine.run(context) == End(Cause.TIMER, CODE + done % 101 * 4)
        assert context.register(A0) == done - done // 101
        assert machine.hart.clock == done


@pytest.mark.parametrize("pc", [0, TOP])
def test_slice_ends_anywhere_in_memory(machine, pc):
    space = machine.space()
    space.map(pc, sv39.RX, jal(ZERO, 0))
    machine.hart.set_time_slice(100)
    assert machine.run(space.context(pc=pc)) == End(Cause.TIMER, pc)


def test_slice_that_ends_behind_a_wfi_which_did_not_run(machine):
    machine.hart.set_time_slice(100)
    space = machine.space(asm.wfi() + jal(ZERO, 0))
    assert machine.run(space.context(pc=CODE + 4)) == End(Cause.TIMER, CODE + 4)
    assert machine.run(space.context()) == End(Cause.WFI, CODE + 4)


@pytest.mark.parametrize(("code", "cause"), [(ebreak(), Cause.BREAKPOINT), (unimp(), Cause.ILLEGAL)])
def test_other_ends_keep_their_names_within_a_slice(machine, code, cause):
    machine.hart.set_time_slice(100)
    assert run(machine, nop() + code)[2] == End(cause, CODE + 4)


def test_a_loop_of_breakpoints_does_not_escape_its_slice(machine):
    """Each one leaves the JIT, which would then count from the start: 256 make a slice."""
    machine.hart.handlers[Cause.BREAKPOINT] = lambda context: context.step(4)
    machine.hart.set_time_slice(1000)
    context = machine.space(addi(A0, A0, 1) + ebreak() + jal(ZERO, -8)).context()
    assert machine.run(context) == End(Cause.TIMER, CODE + 8)
    assert (context.register(A0), machine.hart.clock) == (256, 1000)
    assert machine.run(context) == End(Cause.TIMER, CODE + 8)
    assert context.register(A0) == 512


def test_breakpoints_without_a_slice_are_no_end_of_one(machine):
    machine.hart.handlers[Cause.BREAKPOINT] = lambda context: context.step(4)
    loop = addi(A0, A0, 1) + ebreak()
    context = machine.space(li(A1, 600) + loop + bne(A0, A1, -len(loop)) + ecall()).context()
    assert machine.run(context).cause == Cause.ECALL_U
    assert (context.register(A0), machine.hart.clock) == (600, 0)


@pytest.mark.parametrize("also_stop", [False, True])
def test_slice_set_in_a_handler_begins_there(machine, also_stop):
    def begin(_context):
        machine.hart.set_time_slice(10)
        if also_stop:
            machine.hart.stop()

    machine.hart.handlers[Cause.ECALL_U] = begin
    context = machine.space(nop() * 50 + ecall() + addi(A0, A0, 1) + jal(ZERO, -4)).context()
    machine.hart.current = context
    machine.hart.run()
    if also_stop:
        machine.hart.run()
    assert machine.ends[-1].cause == Cause.TIMER
    assert context.register(A0) == 5
    assert machine.hart.clock == 10


# -- code replaced from outside ----------------------------------------------------------------------------


@pytest.mark.parametrize("slice_", [0, 10_000], ids=["free", "in slices"])
@pytest.mark.parametrize("by", ["a jump", "a trap"])
def test_code_stored_through_another_mapping_is_the_new_code_each_time(machine, by, slice_):
    """The store before the first translation too, after which Unicorn would see no other until a flush: of
    the switch to another address space, or of the clock's."""
    hart, kernel = machine.hart, ~sv39.U
    first, step = int.from_bytes(addi(A0, A0, 1), "little"), 1 << 20  # of the immediate
    space, write = machine.space(), DATA + PAGE
    back = csrrs(asm.T0, 0x141) + addi(asm.T0, asm.T0, 4) + asm.csrrw(ZERO, 0x141, asm.T0) + asm.sret()
    pa = space.map(DATA, sv39.RX & kernel, addi(A0, A0, 0) + (back if by == "a trap" else jalr(ZERO, asm.RA)))
    space.map(write, sv39.RW & kernel)
    space.point(write, pa, sv39.RW & kernel)
    go = unimp() if by == "a trap" else jalr(asm.RA, asm.S3)
    loop = asm.sw(T1, T2, 0) + asm.add(T1, T1, asm.S2) + asm.fence_i() + go + addi(A1, A1, -1)
    start = (
        li(asm.S3, DATA) + asm.csrrw(ZERO, 0x105, asm.S3) + li(T1, first) + li(T2, write) + li(asm.S2, step)
    )
    code = start + li(A1, 20) + loop + asm.bne(A1, ZERO, -len(loop)) + ecall()
    space.map(CODE, sv39.RX & kernel, code)
    hart.handlers[Cause.ILLEGAL] = lambda context: hart.deliver(context, Cause.ILLEGAL, 0)
    hart.set_time_slice(slice_)
    hart.watch_aliases()
    context = space.context(priv=ctx.S)
    assert machine.run(context).cause == Cause.ECALL_U
    assert context.register(A0) == sum(range(1, 21))


@pytest.mark.parametrize("inside_a_handler", [True, False])
@pytest.mark.parametrize("offset", [0, 0x7FC, PAGE - 8])
def test_code_replaced_by_python_runs_as_the_new_code(machine, inside_a_handler, offset):
    space = machine.space()
    pa = space.table.translate(CODE) + offset
    routine = addi(A0, A0, 1) + RETURN
    machine.memory.write(pa, routine)
    space.map(DATA, sv39.RX, li(T0, CODE + offset) + jalr(RA, T0) + ecall() + jalr(RA, T0) + ebreak())

    def replace(_context):
        machine.memory.write(pa, addi(A0, A0, 100))
        if not inside_a_handler:
            machine.hart.stop()

    machine.hart.handlers[Cause.ECALL_U] = replace
    context = space.context(pc=DATA)
    machine.hart.current = context
    machine.hart.run()
    if not inside_a_handler:
        assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A0) == 101


def test_page_given_to_another_program_runs_its_code(machine):
    """What happens when an enclave is gone and the next one gets its pages, at the same addresses."""
    space = machine.space(addi(A0, A0, 1) + ecall())
    first = space.context()
    machine.run(first)
    pa = space.table.translate(CODE)
    machine.memory.zero(pa, PAGE)
    machine.memory.write(pa, addi(A0, A0, 2) + ecall())
    second = space.context()
    machine.run(second)
    assert (first.register(A0), second.register(A0)) == (1, 2)


def test_compressed_and_full_instructions_mix(machine):
    context, _, end = run(machine, asm.c_li(A0, -1) + addi(A0, A0, 5) + c_addi(A0, 3) + ecall())
    assert end == End(Cause.ECALL_U, CODE + 12)
    assert context.register(A0) == 7
