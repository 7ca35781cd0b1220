"""A tiny RISC-V encoder, so that tests can spell the few instructions they run without a compiler.

Each function returns the bytes of one instruction (`li`: of a sequence). Registers are numbers 0…31, with
the ABI names below; `f0`…`f31` are plain numbers too. Jumps and branches take a byte offset from their own
address. Programs are concatenated bytes: `li(A0, 5) + addi(A0, A0, 1) + ecall()`.
"""

ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7 = range(18)
S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, T3, T4, T5, T6 = range(18, 32)

CSR_FFLAGS, CSR_FRM, CSR_FCSR = 0x001, 0x002, 0x003
CSR_SATP, CSR_MSTATUS, CSR_PMPCFG0, CSR_PMPCFG2, CSR_PMPADDR0 = 0x180, 0x300, 0x3A0, 0x3A2, 0x3B0
CSR_CYCLE, CSR_TIME, CSR_INSTRET = 0xC00, 0xC01, 0xC02


def _word(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def _half(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _bits(value: int, high: int, low: int) -> int:
    return value >> low & (1 << high - low + 1) - 1


def _check_range(value: int, low: int, high: int, step: int = 1) -> None:
    if not low <= value <= high or value % step:
        raise ValueError(f"immediate {value} is not in {low}…{high} in steps of {step}")


def _r(opcode: int, funct3: int, funct7: int, rd: int, rs1: int, rs2: int) -> bytes:
    return _word(funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode)


def _i(opcode: int, funct3: int, rd: int, rs1: int, immediate: int) -> bytes:
    _check_range(immediate, -2048, 2047)
    return _word(_bits(immediate, 11, 0) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode)


def _s(opcode: int, funct3: int, rs2: int, rs1: int, offset: int) -> bytes:
    _check_range(offset, -2048, 2047)
    high, low = _bits(offset, 11, 5), _bits(offset, 4, 0)
    return _word(high << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | low << 7 | opcode)


def _b(funct3: int, rs1: int, rs2: int, offset: int) -> bytes:
    _check_range(offset, -4096, 4094, 2)
    high = _bits(offset, 12, 12) << 6 | _bits(offset, 10, 5)
    low = _bits(offset, 4, 1) << 1 | _bits(offset, 11, 11)
    return _word(high << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | low << 7 | 0x63)


# -- integer ---------------------------------------------------------------------------------------------


def lui(rd: int, upper: int) -> bytes:
    return _word(_bits(upper, 19, 0) << 12 | rd << 7 | 0x37)


def auipc(rd: int, upper: int) -> bytes:
    return _word(_bits(upper, 19, 0) << 12 | rd << 7 | 0x17)


def addi(rd: int, rs1: int, immediate: int) -> bytes:
    return _i(0x13, 0, rd, rs1, immediate)


def addiw(rd: int, rs1: int, immediate: int) -> bytes:
    return _i(0x1B, 0, rd, rs1, immediate)


def slli(rd: int, rs1: int, shift: int) -> bytes:
    return _i(0x13, 1, rd, rs1, shift)


def srli(rd: int, rs1: int, shift: int) -> bytes:
    return _i(0x13, 5, rd, rs1, shift)


def add(rd: int, rs1: int, rs2: int) -> bytes:
    return _r(0x33, 0, 0, rd, rs1, rs2)


def sub(rd: int, rs1: int, rs2: int) -> bytes:
    return _r(0x33, 0, 0x20, rd, rs1, rs2)


def or_(rd: int, rs1: int, rs2: int) -> bytes:
    return _r(0x33, 6, 0, rd, rs1, rs2)


def nop() -> bytes:
    return addi(ZERO, ZERO, 0)


def li(rd: int, value: int) -> bytes:
    """Load any 64-bit constant, given signed or unsigned, in as many instructions as it takes."""
    value = (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)
    if -2048 <= value <= 2047:
        return addi(rd, ZERO, value)
    low = (value & 0xFFF ^ 0x800) - 0x800
    upper = value - low >> 12
    if -(1 << 31) <= value < 1 << 31:
        return lui(rd, upper) + addiw(rd, rd, low)
    return li(rd, upper) + slli(rd, rd, 12) + addi(rd, rd, low)


# -- memory ----------------------------------------------------------------------------------------------


def lb(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x03, 0, rd, rs1, offset)


def lh(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x03, 1, rd, rs1, offset)


def lw(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x03, 2, rd, rs1, offset)


def ld(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x03, 3, rd, rs1, offset)


def sb(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x23, 0, rs2, rs1, offset)


def sh(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x23, 1, rs2, rs1, offset)


def sw(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x23, 2, rs2, rs1, offset)


def sd(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x23, 3, rs2, rs1, offset)


def amoadd_w(rd: int, rs2: int, rs1: int) -> bytes:
    return _r(0x2F, 2, 0, rd, rs1, rs2)


def amoadd_d(rd: int, rs2: int, rs1: int) -> bytes:
    return _r(0x2F, 3, 0, rd, rs1, rs2)


def lr_d(rd: int, rs1: int) -> bytes:
    return _r(0x2F, 3, 0b00010 << 2, rd, rs1, 0)


def sc_d(rd: int, rs2: int, rs1: int) -> bytes:
    return _r(0x2F, 3, 0b00011 << 2, rd, rs1, rs2)


def fence_i() -> bytes:
    return _word(0x0000_100F)


# -- floating point --------------------------------------------------------------------------------------


def flw(frd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x07, 2, frd, rs1, offset)


def fsw(frs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x27, 2, frs2, rs1, offset)


def fld(frd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x07, 3, frd, rs1, offset)


def fsd(frs2: int, rs1: int, offset: int = 0) -> bytes:
    return _s(0x27, 3, frs2, rs1, offset)


def fadd_d(frd: int, frs1: int, frs2: int) -> bytes:
    return _r(0x53, 7, 1, frd, frs1, frs2)


def fmv_d_x(frd: int, rs1: int) -> bytes:
    return _r(0x53, 0, 0x79, frd, rs1, 0)


def fmv_x_d(rd: int, frs1: int) -> bytes:
    return _r(0x53, 0, 0x71, rd, frs1, 0)


# -- control ---------------------------------------------------------------------------------------------


def jal(rd: int, offset: int) -> bytes:
    _check_range(offset, -(1 << 20), (1 << 20) - 2, 2)
    high = _bits(offset, 20, 20) << 19 | _bits(offset, 10, 1) << 9
    return _word((high | _bits(offset, 11, 11) << 8 | _bits(offset, 19, 12)) << 12 | rd << 7 | 0x6F)


def jalr(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _i(0x67, 0, rd, rs1, offset)


def beq(rs1: int, rs2: int, offset: int) -> bytes:
    return _b(0, rs1, rs2, offset)


def bne(rs1: int, rs2: int, offset: int) -> bytes:
    return _b(1, rs1, rs2, offset)


def ecall() -> bytes:
    return _word(0x0000_0073)


def ebreak() -> bytes:
    return _word(0x0010_0073)


def wfi() -> bytes:
    return _word(0x1050_0073)


def sret() -> bytes:
    return _word(0x1020_0073)


def mret() -> bytes:
    return _word(0x3020_0073)


def sfence_vma() -> bytes:
    return _word(0x1200_0073)


def csrrw(rd: int, csr: int, rs1: int) -> bytes:
    return _word(csr << 20 | rs1 << 15 | 1 << 12 | rd << 7 | 0x73)


def csrrs(rd: int, csr: int, rs1: int = ZERO) -> bytes:
    return _word(csr << 20 | rs1 << 15 | 2 << 12 | rd << 7 | 0x73)


def unimp() -> bytes:
    """The 4-byte illegal instruction (`csrrw zero, cycle, zero`)."""
    return csrrw(ZERO, CSR_CYCLE, ZERO)


# -- compressed: registers of c.lw and its kind are x8…x15 or f8…f15 ---------------------------------------


def c_nop() -> bytes:
    return _half(0x0001)


def c_ebreak() -> bytes:
    return _half(0x9002)


def c_unimp() -> bytes:
    return _half(0x0000)


def c_li(rd: int, immediate: int) -> bytes:
    _check_range(immediate, -32, 31)
    return _half(0b010 << 13 | _bits(immediate, 5, 5) << 12 | rd << 7 | _bits(immediate, 4, 0) << 2 | 0b01)


def c_addi(rd: int, immediate: int) -> bytes:
    _check_range(immediate, -32, 31)
    return _half(_bits(immediate, 5, 5) << 12 | rd << 7 | _bits(immediate, 4, 0) << 2 | 0b01)


def _c_word(funct3: int, data: int, base: int, offset: int) -> bytes:
    _check_range(offset, 0, 124, 4)
    middle, low = _bits(offset, 5, 3), _bits(offset, 2, 2) << 1 | _bits(offset, 6, 6)
    return _half(funct3 << 13 | middle << 10 | (base - 8) << 7 | low << 5 | (data - 8) << 2)


def _c_double(funct3: int, data: int, base: int, offset: int) -> bytes:
    _check_range(offset, 0, 248, 8)
    middle, low = _bits(offset, 5, 3), _bits(offset, 7, 6)
    return _half(funct3 << 13 | middle << 10 | (base - 8) << 7 | low << 5 | (data - 8) << 2)


def c_lw(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _c_word(0b010, rd, rs1, offset)


def c_sw(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _c_word(0b110, rs2, rs1, offset)


def c_ld(rd: int, rs1: int, offset: int = 0) -> bytes:
    return _c_double(0b011, rd, rs1, offset)


def c_sd(rs2: int, rs1: int, offset: int = 0) -> bytes:
    return _c_double(0b111, rs2, rs1, offset)


def c_fld(frd: int, rs1: int, offset: int = 0) -> bytes:
    return _c_double(0b001, frd, rs1, offset)


def c_fsd(frs2: int, rs1: int, offset: int = 0) -> bytes:
    return _c_double(0b101, frs2, rs1, offset)


def _c_load_sp(funct3: int, rd: int, offset: int, size: int) -> bytes:
    _check_range(offset, 0, 64 * size - size, size)
    if size == 4:
        low = _bits(offset, 4, 2) << 2 | _bits(offset, 7, 6)
    else:
        low = _bits(offset, 4, 3) << 3 | _bits(offset, 8, 6)
    return _half(funct3 << 13 | _bits(offset, 5, 5) << 12 | rd << 7 | low << 2 | 0b10)


def _c_store_sp(funct3: int, rs2: int, offset: int, size: int) -> bytes:
    _check_range(offset, 0, 64 * size - size, size)
    if size == 4:
        field = _bits(offset, 5, 2) << 2 | _bits(offset, 7, 6)
    else:
        field = _bits(offset, 5, 3) << 3 | _bits(offset, 8, 6)
    return _half(funct3 << 13 | field << 7 | rs2 << 2 | 0b10)


def c_lwsp(rd: int, offset: int = 0) -> bytes:
    return _c_load_sp(0b010, rd, offset, 4)


def c_ldsp(rd: int, offset: int = 0) -> bytes:
    return _c_load_sp(0b011, rd, offset, 8)


def c_fldsp(frd: int, offset: int = 0) -> bytes:
    return _c_load_sp(0b001, frd, offset, 8)


def c_swsp(rs2: int, offset: int = 0) -> bytes:
    return _c_store_sp(0b110, rs2, offset, 4)


def c_sdsp(rs2: int, offset: int = 0) -> bytes:
    return _c_store_sp(0b111, rs2, offset, 8)


def c_fsdsp(frs2: int, offset: int = 0) -> bytes:
    return _c_store_sp(0b101, frs2, offset, 8)
