"""The CPU under real programs: ends, address spaces, stopping, time slices, and repeatable runs."""

import threading
import time

import pytest

from pltvm.engine import sv39
from pltvm.engine.context import PC
from pltvm.engine.decode import Access
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.trap import Cause
from tests import asm
from tests.asm import (
    A0,
    A1,
    A2,
    A3,
    RA,
    T0,
    T1,
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
    fmv_d_x,
    fmv_x_d,
    jal,
    jalr,
    ld,
    li,
    nop,
    sd,
    unimp,
)
from tests.engine.harness import (
    ALL_MEMORY,
    BASE,
    CODE,
    DATA,
    NOWHERE,
    OUTSIDE,
    RETURN,
    RW_X,
    TOP,
    End,
    Machine,
    run,
)

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


def test_compressed_and_full_instructions_mix(machine):
    context, _, end = run(machine, asm.c_li(A0, -1) + addi(A0, A0, 5) + c_addi(A0, 3) + ecall())
    assert end == End(Cause.ECALL_U, CODE + 12)
    assert context.register(A0) == 7


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


# -- the same input gives the same run ---------------------------------------------------------------------


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


def test_setting_up_pmp_leaves_who_runs_next(machine):
    context = machine.space().context()
    machine.hart.current = context
    machine.set_pmp(ALL_MEMORY)
    assert machine.hart.current is context
