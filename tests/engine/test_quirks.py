"""What comes of Unicorn's quirks: W and X in turns, floating point, counters, odd traps, changed code."""

import pytest

from pltvm.engine import context as ctx
from pltvm.engine import sv39
from pltvm.engine.context import PC
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import FLIPS_BEFORE_GIVING_UP
from pltvm.engine.trap import Cause
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
    bne,
    csrrs,
    ebreak,
    ecall,
    fadd_d,
    fence_i,
    fld,
    fmv_d_x,
    fmv_x_d,
    fsd,
    jalr,
    li,
    nop,
    sd,
    sw,
    unimp,
)
from tests.engine.harness import CODE, DATA, NOWHERE, RETURN, RW_X, RX_W, End, run, word


def permissions(space, va: int) -> int:
    return space.table.entry(va) & (sv39.W | sv39.X)


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


def test_a_store_up_to_the_end_of_a_page_flips_that_one_alone(machine):
    space = machine.space(li(T0, DATA + PAGE - 8) + sd(A0, T0) + ecall())
    for va in (DATA, DATA + PAGE):
        space.map(va, RX_W)
    assert machine.run(space.context()).cause == Cause.ECALL_U
    assert [permissions(space, va) for va in (DATA, DATA + PAGE)] == [sv39.W, sv39.X]
    assert machine.hart.flips == 1


def test_code_up_to_the_end_of_a_page_flips_that_one_alone(machine):
    space = machine.space()
    space.map(DATA, RW_X, bytes(PAGE - 4) + ecall())
    space.map(DATA + PAGE, RW_X)
    assert machine.run(space.context(pc=DATA + PAGE - 4)).cause == Cause.ECALL_U
    assert [permissions(space, va) for va in (DATA, DATA + PAGE)] == [sv39.X, sv39.W]
    assert machine.hart.flips == 1


def test_atomics_and_compressed_stores_flip_as_well(machine):
    code = (
        li(T0, DATA) + li(S0, DATA + PAGE) + li(A1, 3) + asm.amoadd_d(A2, A1, T0) + asm.c_sd(A1, S0) + ecall()
    )
    space = machine.space(code)
    for va in (DATA, DATA + PAGE):
        space.map(va, RX_W)
    assert machine.run(space.context()).cause == Cause.ECALL_U
    assert space.table.read(DATA, 8) == space.table.read(DATA + PAGE, 8) == (3).to_bytes(8, "little")


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


# -- counters and odd traps --------------------------------------------------------------------------------


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


@pytest.mark.parametrize("half", range(0, 0x20, 4))
@pytest.mark.parametrize("page", [DATA, DATA + PAGE])
def test_illegal_word_at_the_start_of_a_page_is_illegal(machine, half, page):
    """Unicorn reports a fetch fault of the page before, when that is not executable."""
    space = machine.space()
    space.map(page, sv39.RX, half.to_bytes(2, "little") + nop())
    assert machine.run(space.context(pc=page)) == End(Cause.ILLEGAL, page)


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
