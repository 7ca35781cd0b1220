"""What the engine leans on in Unicorn, and what it works around: measured without the engine's hart.

When one of these fails after an update of Unicorn, the place in the engine that its docstring names has to
be looked at; where a flaw is gone, a workaround may go too.
"""

import ctypes

import pytest
import unicorn
from unicorn import riscv_const as reg
from unicorn import unicorn_const as uc_const

from pltvm.engine import sv39
from pltvm.engine.context import MSTATUS_FS, MSTATUS_TVM, M, S, U
from pltvm.engine.leaving import Leaving
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.trap import Cause
from tests import asm
from tests.asm import (
    A0,
    A1,
    S0,
    T0,
    T1,
    ZERO,
    addi,
    c_nop,
    csrrs,
    csrrw,
    ebreak,
    ecall,
    jalr,
    ld,
    li,
    nop,
    sd,
)
from tests.engine.bit_instructions import COMPRESSED, IMMEDIATE, REGISTERS, TRANSFERS, UNARY, assemble
from tests.engine.harness import BASE, CODE, DATA, NOWHERE, OUTSIDE, SIZE, Pool

MSTATUS = 2 << 32 | 2 << 34  # UXL and SXL: 64 bits
NEVER = (1 << 64) - 1
NAPOT = 3 << 3
EVERYTHING = (1 << 54) - 1
POINT = li(T0, DATA)
AT = CODE + len(POINT)


class Bare:
    """Unicorn with RAM and Sv39 tables, and a hook that notes (cause, pc) of a trap and stops."""

    def __init__(self) -> None:
        self.memory = Memory(BASE, SIZE)
        self.pool = Pool(self.memory)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        self.uc.ctl_set_tlb_mode(uc_const.UC_TLB_CPU)
        self.uc.mem_map_ptr(BASE, SIZE, uc_const.UC_PROT_ALL, self.memory.host_address)
        self.uc.hook_add(uc_const.UC_HOOK_INTR, self._on_trap)
        self.trap: tuple[int, int] | None = None
        self.asid = 100
        self.table = self.space()

    def _on_trap(self, uc, cause, _data) -> None:
        self.trap = cause, uc.reg_read(reg.UC_RISCV_REG_PC)
        uc.emu_stop()

    def space(self, code: bytes = b"", data: bytes = b"", flags: int = sv39.U) -> PageTable:
        """A table with `code` at CODE and `data` at DATA."""
        table = PageTable(self.memory, self.pool.take(), self.pool.take)
        for va, content, permissions in ((CODE, code, sv39.RX), (DATA, data, sv39.RW)):
            pa = self.pool.take()
            self.memory.write(pa, content)
            table.map(va, pa, 1, permissions & ~sv39.U | flags)
        return table

    def enter(self, table: PageTable | None, priv: int = U, mstatus: int = 0, asid: int = 1) -> None:
        self.uc.reg_write(reg.UC_RISCV_REG_PRIV, M)
        self.uc.reg_write(reg.UC_RISCV_REG_MSTATUS, MSTATUS | mstatus)
        if table is not None:
            self.uc.reg_write(reg.UC_RISCV_REG_SATP, sv39.satp_for(table.root, asid))
        self.uc.reg_write(reg.UC_RISCV_REG_PRIV, priv)

    def go(self, pc: int = CODE) -> tuple[int, int] | None:
        """Run from `pc` as entered; the trap, or None when Unicorn returned without one."""
        self.trap = None
        self.uc.emu_start(pc, NEVER)
        return self.trap

    def run(self, code: bytes, priv: int = U, mstatus: int = 0, data: bytes = b"") -> tuple[int, int] | None:
        """Run `code` in a fresh address space with an ASID of its own."""
        self.table = self.space(code, data, sv39.U if priv == U else 0)
        self.asid += 1
        self.enter(self.table, priv, mstatus, self.asid)
        return self.go()

    def machine_mode(self, code: bytes) -> None:
        """Run `code` and `wfi` in M-mode without translation; satp stays as it is."""
        pa = self.pool.take()
        self.memory.write(pa, code + asm.wfi())
        self.enter(None, M)
        assert self.go(pa) is None

    def flush(self) -> None:
        self.uc.ctl(uc_const.UC_CTL_TLB_FLUSH, uc_const.UC_CTL_IO_WRITE)

    def x(self, number: int) -> int:
        return self.uc.reg_read(reg.UC_RISCV_REG_X0 + number)

    @property
    def pc(self) -> int:
        return self.uc.reg_read(reg.UC_RISCV_REG_PC)


@pytest.fixture
def bare() -> Bare:
    return Bare()


def byte(value: int) -> bytes:
    return value.to_bytes(8, "little")


# -- translation: why `Hart` flushes when and where it does --------------------------------------------------


@pytest.mark.parametrize(("asid", "seen"), [(1, 1), (2, 2)], ids=["the same ASID", "another ASID"])
def test_satp_write_flushes_only_when_the_asid_changes(bare, asid, seen):
    """`Hart._load` flushes exactly when the ASID stays."""
    first, second = (bare.space(POINT + ld(A0, T0) + ecall(), byte(n)) for n in (1, 2))
    bare.enter(first, asid=1)
    bare.go()
    assert bare.x(A0) == 1
    bare.enter(second, asid=asid)
    bare.go()
    assert bare.x(A0) == seen
    bare.flush()
    bare.go()
    assert bare.x(A0) == 2


def test_entry_changes_flush_nothing(bare):
    """`Hart.translations_changed` has to be called."""
    assert bare.run(POINT + ld(A0, T0) + ecall(), data=byte(5)) == (Cause.ECALL_U, AT + 8)
    bare.table.unmap(DATA, 1)
    assert bare.go() == (Cause.ECALL_U, AT + 8)
    bare.flush()
    assert bare.go() == (Cause.LOAD_PAGE, AT + 4)


def test_walker_sets_accessed_and_dirty(bare):
    """What a dirty-page snapshot relies on: D is set by the first store, not by a load."""
    table = bare.space(POINT + ld(A0, T0) + ecall() + sd(A0, T0) + ecall())
    slot = table.slot(DATA)
    bare.memory.store(slot, bare.memory.load(slot) & ~(sv39.A | sv39.D))
    bare.enter(table)
    bare.go()
    assert bare.memory.load(slot) & (sv39.A | sv39.D) == sv39.A
    bare.go(AT + 8)
    assert bare.memory.load(slot) & (sv39.A | sv39.D) == sv39.A | sv39.D


@pytest.mark.parametrize("access", [ld(A0, T0), sd(A0, T0)])
def test_entry_outside_ram_is_an_error_and_not_a_trap(bare, access):
    """`PageTable.map` refuses such entries, and `pmp.program` has the walk refuse what they point to. pc is
    exact, that of a store because the JIT looks behind each whether it is to stop, which `Leaving` ends."""
    table = bare.space(POINT + access)
    bare.memory.store(table.slot(DATA), sv39.make_pte(OUTSIDE, sv39.RW))
    bare.enter(table)
    with pytest.raises(unicorn.UcError):
        bare.go()
    assert bare.pc == AT


def test_tvm_traps_satp_and_sfence_in_supervisor_mode(bare):
    for code in (csrrw(ZERO, asm.CSR_SATP, ZERO), csrrs(A0, asm.CSR_SATP), asm.sfence_vma()):
        assert bare.run(code + ecall(), S, MSTATUS_TVM) == (Cause.ILLEGAL, CODE + 4)
    assert bare.run(csrrs(A0, asm.CSR_SATP) + asm.sfence_vma() + ecall(), S) == (Cause.ECALL_U, CODE + 12)


def test_aborting_satp_is_not_reachable_from_user_mode(bare):
    assert bare.run(csrrw(ZERO, asm.CSR_SATP, T0)) == (Cause.ILLEGAL, CODE + 4)


# -- traps: what `quirks.settle` puts right ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "cause"),
    [
        (ecall(), Cause.ECALL_U),
        (ld(A0, ZERO), Cause.LOAD_PAGE),
        (sd(A0, ZERO), Cause.STORE_PAGE),
        (asm.c_ld(S0, S0), Cause.LOAD_PAGE),
        (asm.c_sd(S0, S0), Cause.STORE_PAGE),
        (asm.unimp(), Cause.ILLEGAL),
        (asm.c_unimp(), Cause.ILLEGAL),
    ],
)
@pytest.mark.parametrize("before", [c_nop(), nop() * 2])
def test_pc_is_4_behind_the_trapping_one_whatever_its_length(bare, instruction, cause, before):
    assert bare.run(before + instruction) == (cause, CODE + len(before) + 4)


@pytest.mark.parametrize(("target", "pc"), [(NOWHERE, NOWHERE + 4), ((1 << 64) - 2, 2)])
def test_pc_is_4_behind_the_target_of_a_jump_that_faults(bare, target, pc):
    assert bare.run(li(T0, target) + jalr(ZERO, T0)) == (Cause.FETCH_PAGE, pc)


@pytest.mark.parametrize("before", [0, 3])
def test_fetch_fault_of_the_end_of_an_instruction_has_pc_on_its_block(bare, before):
    """`quirks.settle` and `faulting_access` look at the next page too: the block has not run at all."""
    table = bare.space(c_nop() * (PAGE // 2 - 1) + nop()[:2])
    bare.enter(table)
    start = CODE + PAGE - 2 - 2 * before
    assert bare.go(start) == (Cause.FETCH_PAGE, start + 4)


@pytest.mark.parametrize("half", [0, 4, 0x1C])
def test_illegal_addi4spn_at_the_start_of_a_page_is_a_fetch_fault_of_the_page_before(bare, half):
    """`quirks.settle` makes it an illegal instruction."""
    code = half.to_bytes(2, "little")
    assert bare.run(code) == (Cause.FETCH_PAGE, CODE + 4)
    bare.table.map(CODE - PAGE, bare.pool.take(), 1, sv39.RX)
    bare.flush()
    assert bare.go() == (Cause.ILLEGAL, CODE + 4)


@pytest.mark.parametrize("priv", [U, S, M])
def test_ecall_is_cause_8_from_every_privilege(bare, priv):
    """So ECALL_S and ECALL_M never come; the hart has to know who ran."""
    if priv == M:
        bare.memory.write(BASE, ecall())
        bare.enter(None, M)
        assert bare.go(BASE) == (Cause.ECALL_U, BASE + 4)
    else:
        assert bare.run(ecall(), priv) == (Cause.ECALL_U, CODE + 4)


def test_trap_csrs_stay_zero(bare):
    """`faulting_access` decodes the instruction, as mtval is not there."""
    assert bare.run(li(T0, NOWHERE) + ld(A0, T0)) == (Cause.LOAD_PAGE, CODE + len(li(T0, NOWHERE)) + 4)
    bare.uc.reg_write(reg.UC_RISCV_REG_PRIV, M)
    for number in (reg.UC_RISCV_REG_MEPC, reg.UC_RISCV_REG_MCAUSE, reg.UC_RISCV_REG_MTVAL):
        assert bare.uc.reg_read(number) == 0


@pytest.mark.parametrize("instruction", [ebreak(), asm.c_ebreak()])
def test_ebreak_is_an_error_with_exact_pc(bare, instruction):
    with pytest.raises(unicorn.UcError):
        bare.run(nop() + instruction + nop())
    assert bare.trap is None
    assert bare.pc == CODE + 4


@pytest.mark.parametrize("priv", [S, M])
def test_wfi_ends_the_run_with_pc_behind_it(bare, priv):
    """`pmp.program` ends with one."""
    if priv == M:
        bare.machine_mode(nop())
        assert bare.pc == bare.pool.next - PAGE + 8
    else:
        assert bare.run(nop() + asm.wfi() + nop(), priv) is None
        assert bare.pc == CODE + 8


def test_wfi_is_illegal_in_user_mode(bare):
    assert bare.run(nop() + asm.wfi()) == (Cause.ILLEGAL, CODE + 8)


def test_misaligned_data_is_fine_but_not_for_atomics(bare):
    assert bare.run(POINT + ld(A0, T0, 1) + sd(A0, T0, 3) + ecall())[0] == Cause.ECALL_U
    assert bare.run(POINT + addi(T0, T0, 1) + asm.amoadd_d(A0, A1, T0))[0] == Cause.LOAD_MISALIGNED


def test_atomic_loads_before_it_stores(bare):
    """Cause 13, not 15, where nothing is mapped; 15 on a page that can be read."""
    assert bare.run(li(T0, NOWHERE) + asm.amoadd_d(A0, A1, T0))[0] == Cause.LOAD_PAGE
    assert bare.run(li(T0, CODE) + asm.amoadd_d(A0, A1, T0))[0] == Cause.STORE_PAGE


# -- registers -----------------------------------------------------------------------------------------------


def test_atomic_that_is_to_stop_has_stored_and_is_run_again(bare):
    """`Leaving` has the JIT look for such requests between blocks only."""
    table = bare.space(POINT + li(T1, 1) + asm.amoadd_d(A0, T1, T0) + ecall())
    bare.uc.hook_add(uc_const.UC_HOOK_MEM_WRITE, lambda uc, *_: uc.emu_stop())
    bare.enter(table)
    assert bare.go() is None
    assert bare.uc.reg_read(reg.UC_RISCV_REG_PC) == AT + 4
    assert bare.memory.load(table.translate(DATA)) == 1


def test_store_outside_ram_is_noticed_at_the_end_of_the_block_when_there_are_no_such_looks(bare):
    """`pmp.program` has the walk refuse it, at the store."""
    Leaving(ctypes.c_void_p(bare.uc._uch.value), bare.memory.end - 2).between_blocks(only=True)
    table = bare.space(POINT + sd(A0, T0) + addi(A1, A1, 1) + asm.beq(ZERO, ZERO, 4) + ecall())
    bare.memory.store(table.slot(DATA), sv39.make_pte(OUTSIDE, sv39.RW))
    bare.enter(table)
    with pytest.raises(unicorn.UcError):
        bare.go()
    assert (bare.pc, bare.x(A1)) == (AT + 12, 1)


@pytest.mark.parametrize("written", [False, True])
def test_write_of_the_privilege_clears_the_reservation(bare, written):
    """`Hart.run` loads nothing when it has left the JIT only to flush."""
    bare.enter(bare.space(POINT + asm.lr_d(A0, T0) + ebreak() + asm.sc_d(A0, ZERO, T0) + ecall()))
    with pytest.raises(unicorn.UcError):
        bare.go()
    bare.flush()
    if written:
        bare.uc.reg_write(reg.UC_RISCV_REG_PRIV, U)
    bare.go(AT + 8)
    assert bare.x(A0) == written


def test_csr_writes_need_machine_mode(bare):
    """The context layout writes PRIV = 3 first."""
    bare.enter(bare.table, U, asid=1)
    bare.uc.reg_write(reg.UC_RISCV_REG_SATP, sv39.satp_for(bare.table.root, 7))
    bare.uc.reg_write(reg.UC_RISCV_REG_PRIV, M)
    assert bare.uc.reg_read(reg.UC_RISCV_REG_SATP) == sv39.satp_for(bare.table.root, 1)
    bare.uc.reg_write(reg.UC_RISCV_REG_SATP, sv39.satp_for(bare.table.root, 7))
    assert bare.uc.reg_read(reg.UC_RISCV_REG_SATP) == sv39.satp_for(bare.table.root, 7)


def test_floating_point_is_illegal_until_fs_is_set(bare):
    """Contexts have it set from the start."""
    for code in (asm.fmv_d_x(0, ZERO), asm.fadd_d(0, 0, 0), POINT + asm.fld(0, T0), csrrs(A0, asm.CSR_FCSR)):
        assert bare.run(code)[0] == Cause.ILLEGAL
        assert bare.run(code + ecall(), mstatus=MSTATUS_FS)[0] == Cause.ECALL_U


@pytest.mark.parametrize(
    "instruction",
    [
        asm.c_fsd(8, S0),
        asm.c_fld(8, S0),
        asm.c_fsdsp(8, 0),
        asm.c_fldsp(8, 0),
        (0x9C41).to_bytes(2, "little"),
    ],
    ids=["c.fsd", "c.fld", "c.fsdsp", "c.fldsp", "reserved"],
)
def test_compressed_instruction_that_is_illegal_may_be_skipped_silently(bare, instruction):
    """With FS off, c.fld and c.fsd do nothing at all, as do reserved encodings: no trap turns FP on."""
    code = li(S0, NOWHERE) + li(asm.SP, NOWHERE) + instruction
    assert bare.run(code + ecall()) == (Cause.ECALL_U, CODE + len(code) + 4)


def test_cycle_and_instret_trap_once_their_operations_are_removed(bare):
    """`mcounteren` does not stop user mode from reading the host's clock there; `unicorn_library` does.

    Were the counters as Unicorn has them, this would be an ECALL_U with two different host times in a0, a1.
    """
    bare.machine_mode(csrrw(ZERO, 0x306, ZERO) + csrrw(ZERO, 0x106, ZERO) + csrrs(A0, 0x306))
    assert bare.x(A0) == 0
    for csr in (asm.CSR_CYCLE, asm.CSR_INSTRET, asm.CSR_TIME):
        assert bare.run(csrrs(A0, csr) + csrrs(A1, csr) + ecall()) == (Cause.ILLEGAL, CODE + 4)


# -- instructions that it lacks: `emulate` and `skipped` -----------------------------------------------------

LACKED = [
    *(f"{name} a0, a1, a2" for name in REGISTERS),
    *(f"{name} a0, a1" for name in UNARY),
    *(f"{name} a0, a1, 3" for name in IMMEDIATE),
    *("cbo.zero (a0)", "cbo.clean (a0)", "cbo.inval (a0)", "cbo.flush (a0)"),
]
SKIPPED = [
    *(f"{name} a0" for name in COMPRESSED),
    *(f"{name} a0, 0(a1)" for name in TRANSFERS),
    "c.mul a0, a1",
]


@pytest.fixture(scope="module")
def encoded() -> dict[str, bytes]:
    """What LLVM makes of these lines."""
    lines = [
        *LACKED,
        *SKIPPED,
        *HINTS,
        *{line for line, *_ in SINGLES},
        *{line for line, *_ in NANS_AS_SPECIFIED + NANS_OTHERWISE},
    ]
    return dict(zip(lines, assemble(lines), strict=True))


@pytest.mark.parametrize("line", LACKED)
def test_unicorn_lacks(bare, encoded, line):
    """Wherever it stands it is illegal, and no fault of the page behind it is made up."""
    code = encoded[line]
    assert bare.run(nop() + code + ecall()) == (Cause.ILLEGAL, CODE + 8)
    bare.memory.write(bare.table.translate(CODE + PAGE - 4), code)
    assert bare.go(CODE + PAGE - 4) == (Cause.ILLEGAL, CODE + PAGE)
    bare.table.map(CODE + PAGE, bare.pool.take(), 1, sv39.RX)
    bare.memory.write(bare.table.translate(CODE + PAGE - 2), code[:2])
    bare.memory.write(bare.table.translate(CODE + PAGE), code[2:])
    bare.flush()
    assert bare.go(CODE + PAGE - 2) == (Cause.ILLEGAL, CODE + PAGE + 2)


@pytest.mark.parametrize("line", SKIPPED)
def test_unicorn_runs_zcb_as_if_it_were_nothing(bare, encoded, line):
    """No trap comes of them by itself."""
    set_up = li(A0, 0x1234) + li(A1, DATA)
    code = set_up + encoded[line] + ecall()
    assert bare.run(code, data=byte(5)) == (Cause.ECALL_U, CODE + len(code))
    assert (bare.x(A0), bare.memory.load(bare.table.translate(DATA))) == (0x1234, 5)


HINTS = ["pause", "prefetch.i 0(a1)", "prefetch.r 32(a1)", "prefetch.w 64(a1)"]


@pytest.mark.parametrize("line", HINTS)
def test_hints_do_nothing_wherever_they_point(bare, encoded, line):
    assert bare.run(li(A1, NOWHERE) + encoded[line] + ecall())[0] == Cause.ECALL_U


def test_block_is_told_once_it_is_translated_but_the_first_ones_after_the_engine_began(bare):
    """`Skipped.begin` runs some before any guest. A trap ends no block in this sense, a jump does."""
    told = []
    bare.uc.hook_add(uc_const.UC_HOOK_EDGE_GENERATED, lambda _uc, block, *_: told.append(block.pc))
    first, second = bare.space(ecall()), bare.space(ecall() + asm.jal(ZERO, 4) + ecall())
    bare.enter(first, asid=1)
    bare.go()
    bare.enter(second, asid=2)
    bare.go()
    bare.go(CODE + 4)
    assert told == [CODE + 8]
    for asid in range(3, 6):
        bare.run(nop() + ecall())
        assert told[1:] == [CODE] * (asid - 2)
        bare.go()
        assert told[1:] == [CODE] * (asid - 2), "not again"


def test_block_that_is_removed_as_it_is_told_is_translated_anew(bare):
    """`Skipped.look_at`: writing pc there leaves the block before its first instruction."""
    bare.machine_mode(asm.jal(ZERO, 4))
    told, watched = [], []

    def replace(uc, block, *_) -> None:
        told.append(block.pc)
        if len(told) == 1:
            pa = bare.table.translate(CODE)
            bare.memory.bytes[pa - BASE : pa - BASE + 4] = addi(A0, A0, 2)
            uc.reg_write(reg.UC_RISCV_REG_PRIV, M)
            uc.ctl_remove_cache(pa, pa + 2)
            uc.reg_write(reg.UC_RISCV_REG_PRIV, U)
            uc.reg_write(reg.UC_RISCV_REG_PC, CODE)

    bare.uc.hook_add(uc_const.UC_HOOK_EDGE_GENERATED, replace)
    bare.uc.hook_add(uc_const.UC_HOOK_BLOCK, lambda _uc, pc, *_: watched.append(pc))
    assert bare.run(addi(A0, ZERO, 1) + ecall()) == (Cause.ECALL_U, CODE + 8)
    assert (bare.x(A0), told, watched) == (2, [CODE, CODE], [CODE])


# -- floating point: what is different is in `docs/design.md` ------------------------------------------------

BOXED = 0xFFFF_FFFF_0000_0000
ONE, TWO, NAN, SIGNALLING = 0x3F80_0000, 0x4000_0000, 0x7FC0_0000, 0x7F80_0001
ONE_D, NAN_D, SIGNALLING_D, INFINITY_D = 0x3FF << 52, 0x7FF8 << 48, 0x7FF << 52 | 1, 0x7FF << 52
INVALID = 0x10

SINGLES = [  # an instruction of boxed ones, in f1 to f3, and its result
    ("fadd.s f0, f1, f2", TWO),
    ("fsub.s f0, f1, f2", 0),
    ("fmul.s f0, f1, f2", ONE),
    ("fdiv.s f0, f1, f2", ONE),
    ("fsqrt.s f0, f1", ONE),
    ("fmin.s f0, f1, f2", ONE),
    ("fmax.s f0, f1, f2", ONE),
    ("fmadd.s f0, f1, f2, f3", TWO),
    ("fcvt.s.w f0, a0", ONE),
    ("fcvt.s.l f0, a0", ONE),
    ("fsgnjn.s f0, f1, f2", ONE | 1 << 31),
]

# An instruction, f1, f2, f3, and result and flags: as specified, which is as Unicorn has them …
NANS_AS_SPECIFIED = [
    ("fmin.s f0, f1, f2", BOXED | NAN, BOXED | ONE, 0, ONE, 0),
    ("fmin.s f0, f1, f2", BOXED | 1 << 31, BOXED, 0, 1 << 31, 0),
    ("fmax.d f0, f1, f2", NAN_D, ONE_D, 0, ONE_D, 0),
    ("fmin.d f0, f1, f2", SIGNALLING_D, SIGNALLING_D, 0, NAN_D, INVALID),
    ("fadd.d f0, f1, f2", SIGNALLING_D, ONE_D, 0, NAN_D, INVALID),
    ("fadd.d f0, f1, f2", NAN_D | 7, ONE_D, 0, NAN_D, 0),
]
# … and where it has others, which follow.
NANS_OTHERWISE = [
    ("fmin.s f0, f1, f2", BOXED | SIGNALLING, BOXED | ONE, 0, ONE, INVALID, NAN, INVALID),
    ("fmin.s f0, f1, f2", BOXED | ONE, BOXED | SIGNALLING, 0, ONE, INVALID, NAN, INVALID),
    ("fmax.s f0, f1, f2", BOXED | SIGNALLING, BOXED | ONE, 0, ONE, INVALID, NAN, INVALID),
    ("fmin.d f0, f1, f2", SIGNALLING_D, ONE_D, 0, ONE_D, INVALID, NAN_D, INVALID),
    ("fmax.d f0, f1, f2", ONE_D, SIGNALLING_D, 0, ONE_D, INVALID, NAN_D, INVALID),
    ("fmadd.d f0, f1, f2, f3", INFINITY_D, 0, NAN_D, NAN_D, INVALID, NAN_D, 0),
]


def floating(bare, code: bytes, *values: int) -> tuple[int, int]:
    """f0 and fcsr behind an instruction with these in f1, f2 and f3."""
    for number, value in enumerate(values, 1):
        bare.uc.reg_write(reg.UC_RISCV_REG_F0 + number, value)
    assert bare.run(code + ecall(), mstatus=MSTATUS_FS)[0] == Cause.ECALL_U
    return bare.uc.reg_read(reg.UC_RISCV_REG_F0), bare.uc.reg_read(reg.UC_RISCV_REG_FCSR)


@pytest.mark.parametrize(("line", "result"), SINGLES)
def test_single_results_are_not_boxed(bare, encoded, line, result):
    """The upper half should be all ones. Who loads one gets it boxed; `fsgnj.s` keeps what there was."""
    got, _ = floating(bare, li(A0, 1) + encoded[line], *[BOXED | ONE] * 3)
    assert got == result
    assert floating(bare, POINT + asm.flw(0, T0))[0] == BOXED


def test_move_from_an_integer_register_keeps_its_upper_half(bare):
    fmv_w_x = (0xF000_0053 | A0 << 15).to_bytes(4, "little")
    assert floating(bare, li(A0, 0x1234_5678_3F80_0000) + fmv_w_x)[0] == 0x1234_5678_3F80_0000


def test_single_operands_need_not_be_boxed(bare, encoded):
    """They should be taken for the canonical NaN. So what is not boxed does no harm."""
    assert floating(bare, encoded["fadd.s f0, f1, f2"], ONE, 7 << 32 | ONE)[0] == TWO


@pytest.mark.parametrize(("line", "a", "b", "c", "result", "flags"), NANS_AS_SPECIFIED)
def test_nans_as_specified(bare, encoded, line, a, b, c, result, flags):
    got, raised = floating(bare, encoded[line], a, b, c)
    assert (got & (0xFFFF_FFFF if ".s" in line else NEVER), raised) == (result, flags)


@pytest.mark.parametrize(("line", "a", "b", "c", "result", "flags", "other", "other_flags"), NANS_OTHERWISE)
def test_nans_otherwise(bare, encoded, line, a, b, c, result, flags, other, other_flags):
    """Minimum and maximum take a signalling NaN for the result, and ∞ · 0 + NaN raises nothing."""
    got, raised = floating(bare, encoded[line], a, b, c)
    got &= 0xFFFF_FFFF if ".s" in line else NEVER
    assert (got, raised) == (other, other_flags) != (result, flags)


# -- code ----------------------------------------------------------------------------------------------------


def test_code_changed_by_python_runs_as_the_old_code(bare):
    """`quirks.remove_code`: the addresses it takes are those of the current privilege, so it is M."""
    bare.run(addi(A0, ZERO, 1) + ecall())
    pa = bare.table.translate(CODE)
    bare.memory.write(pa, addi(A0, ZERO, 2))
    bare.go()
    assert bare.x(A0) == 1
    bare.uc.ctl_remove_cache(pa, pa + PAGE)  # in U-mode this is a virtual address, where nothing is
    bare.go()
    assert bare.x(A0) == 1
    bare.uc.reg_write(reg.UC_RISCV_REG_PRIV, M)
    bare.uc.ctl_remove_cache(pa, pa + PAGE)
    bare.uc.reg_write(reg.UC_RISCV_REG_PRIV, U)
    bare.go()
    assert bare.x(A0) == 2


def test_code_changed_by_the_guest_runs_as_the_new_code(bare):
    """Even without fence.i, through another mapping, when the TLB gets that after the code was translated."""
    change = li(T1, int.from_bytes(addi(A0, ZERO, 2), "little")) + POINT + asm.sw(T1, T0)
    table = bare.space(addi(A0, ZERO, 1) + ecall() + change + li(T0, CODE) + jalr(ZERO, T0))
    table.map(DATA, table.translate(CODE), 1, sv39.RW)
    bare.enter(table)
    bare.go()
    assert bare.x(A0) == 1
    bare.go(CODE + 8)
    assert bare.x(A0) == 2


def test_only_the_first_store_through_another_mapping_is_noticed(bare):
    """Until the next flush; so `Space.protect` lets no Linux program execute what it can map twice."""
    table = bare.space(addi(A0, ZERO, 1) + ecall() + POINT + asm.sw(T1, T0) + ecall())
    table.map(DATA, table.translate(CODE), 1, sv39.RW)
    bare.enter(table)
    for value, seen in ((2, 2), (3, 2), (4, 2)):
        bare.uc.reg_write(reg.UC_RISCV_REG_X0 + T1, int.from_bytes(addi(A0, ZERO, value), "little"))
        bare.go(CODE + 8)
        bare.go()
        assert bare.x(A0) == seen
    bare.flush()
    bare.go(CODE + 8)
    bare.go()
    assert bare.x(A0) == 4


@pytest.mark.parametrize("flushed", [False, True])
def test_stores_by_another_mapping_are_not_seen_from_one_before_the_translation_to_a_flush(bare, flushed):
    """`Hart.watch_aliases` flushes whenever a block is translated."""
    there = CODE + PAGE
    parts = [
        li(T1, int.from_bytes(addi(A0, ZERO, n), "little"))
        + POINT
        + asm.sw(T1, T0)
        + li(T0, there)
        + jalr(asm.RA, T0)
        + ecall()
        for n in (1, 2)
    ]
    table = bare.space(b"".join(parts))
    pa = bare.pool.take()
    bare.memory.write(pa + 4, jalr(ZERO, asm.RA))
    table.map(there, pa, 1, sv39.RX)
    bare.memory.store(table.slot(DATA), sv39.make_pte(pa, sv39.RW))
    bare.enter(table)
    bare.go()
    assert bare.x(A0) == 1
    if flushed:
        bare.flush()
    bare.go(CODE + len(parts[0]))
    assert bare.x(A0) == (2 if flushed else 1)


# -- PMP -----------------------------------------------------------------------------------------------------


def pmp(config: int, *addresses: int) -> bytes:
    code = b"".join(
        li(T0, address) + csrrw(ZERO, asm.CSR_PMPADDR0 + n, T0) for n, address in enumerate(addresses)
    )
    return code + li(T0, config) + csrrw(ZERO, asm.CSR_PMPCFG0, T0)


def napot(pa: int, size: int = PAGE) -> int:
    return pa >> 2 | (size >> 3) - 1


def test_no_entry_at_all_allows_everything_and_one_entry_nothing_else(bare):
    """`pmp.LAST` is for the rest."""
    assert bare.run(ecall()) == (Cause.ECALL_U, CODE + 4)
    bare.machine_mode(pmp(NAPOT | 7, napot(BASE)))
    bare.flush()
    assert bare.run(ecall())[0] in (Cause.FETCH_ACCESS, Cause.LOAD_ACCESS)


def test_pmp_applies_to_the_walk(bare):
    table = bare.space(ecall())
    bare.enter(table)
    assert bare.go()[0] == Cause.ECALL_U
    bare.machine_mode(pmp(NAPOT | (NAPOT | 7) << 8, napot(table.root), EVERYTHING))
    bare.enter(table)
    bare.flush()
    assert bare.go() == (Cause.FETCH_ACCESS, CODE + 4)


def test_pmp_change_flushes_nothing(bare):
    """`pmp.program` marks the TLB stale."""
    table = bare.space(POINT + ld(A0, T0) + ecall())
    bare.enter(table)
    bare.go()
    bare.machine_mode(pmp(NAPOT | (NAPOT | 7) << 8, napot(table.translate(DATA)), EVERYTHING))
    bare.enter(table)
    assert bare.go()[0] == Cause.ECALL_U
    bare.flush()
    assert bare.go() == (Cause.LOAD_ACCESS, AT + 4)


def test_pmpcfg2_does_not_configure_entry_8(bare):
    """`pmp.ENTRIES` is 8. Entry 0 takes one page away, and entry 8 should give the rest, but does not."""
    table = bare.space(ecall())
    code = pmp(NAPOT, napot(bare.pool.take())) + li(T0, EVERYTHING) + csrrw(ZERO, asm.CSR_PMPADDR0 + 8, T0)
    bare.machine_mode(code + li(T0, NAPOT | 7) + csrrw(ZERO, asm.CSR_PMPCFG2, T0))
    bare.enter(table)
    bare.flush()
    assert bare.go()[0] != Cause.ECALL_U
    bare.machine_mode(pmp(NAPOT | (NAPOT | 7) << 8, napot(bare.pool.take()), EVERYTHING))
    bare.enter(table)
    bare.flush()
    assert bare.go()[0] == Cause.ECALL_U
