"""What an instruction accesses, decoded from its bytes; what comes of it in a fault is in test_trap."""

import pytest

from pltvm.engine.context import Context
from pltvm.engine.decode import Access, disassemble, instruction_length, memory_access
from tests import asm
from tests.asm import A0, A1, S0, S1, SP, T0, ZERO

POINTER = 0x1234_5678_9ABC


@pytest.fixture
def context() -> Context:
    context = Context()
    for number in (S0, SP, T0):
        context.set_register(number, POINTER)
    return context


LOADS_AND_STORES = [
    (asm.lb(A0, T0, -1), -1, 1),
    (asm.lh(A0, T0, 2), 2, 2),
    (asm.lw(A0, T0, 2047), 2047, 4),
    (asm.ld(A0, T0, -2048), -2048, 8),
    (asm.sb(A0, T0, -1), -1, 1),
    (asm.sh(A0, T0, 31), 31, 2),
    (asm.sw(A0, T0, 32), 32, 4),
    (asm.sd(A0, T0, -2048), -2048, 8),
    (asm.flw(10, T0, 4), 4, 4),
    (asm.fsw(10, T0, -4), -4, 4),
    (asm.fld(10, T0, 8), 8, 8),
    (asm.fsd(10, T0, -8), -8, 8),
    (asm.amoadd_w(A0, A1, T0), 0, 4),
    (asm.amoadd_d(A0, A1, T0), 0, 8),
    (asm.lr_d(A0, T0), 0, 8),
    (asm.sc_d(A0, A1, T0), 0, 8),
    (asm.c_lw(S1, S0, 124), 124, 4),
    (asm.c_sw(S1, S0, 64), 64, 4),
    (asm.c_ld(S1, S0, 248), 248, 8),
    (asm.c_sd(S1, S0, 8), 8, 8),
    (asm.c_fld(9, S0, 192), 192, 8),
    (asm.c_fsd(9, S0, 56), 56, 8),
    (asm.c_lwsp(A0, 252), 252, 4),
    (asm.c_swsp(A0, 4), 4, 4),
    (asm.c_ldsp(A0, 504), 504, 8),
    (asm.c_sdsp(A0, 256), 256, 8),
    (asm.c_fldsp(10, 32), 32, 8),
    (asm.c_fsdsp(10, 448), 448, 8),
]


@pytest.mark.parametrize(
    ("code", "offset", "size"), LOADS_AND_STORES, ids=[disassemble(c, 0) for c, *_ in LOADS_AND_STORES]
)
def test_operand_of_every_kind_of_access(context, code, offset, size):
    assert memory_access(code, context) == Access(POINTER + offset, size)
    assert memory_access(code + b"\xff" * 8, context) == Access(POINTER + offset, size)


@pytest.mark.parametrize(
    ("pointer", "code", "address"),
    [
        (0, asm.ld(A0, T0, -8), (1 << 64) - 8),
        ((1 << 64) - 8, asm.sd(A0, T0, 16), 8),
        ((1 << 64) - 8, asm.c_ldsp(A0, 16), 8),
    ],
)
def test_addresses_wrap_around(pointer, code, address):
    context = Context()
    context.set_register(T0, pointer)
    context.set_register(SP, pointer)
    assert memory_access(code, context) == Access(address, 8)


def test_base_x0_is_zero(context):
    assert memory_access(asm.ld(A0, ZERO, 16), context) == Access(16, 8)


@pytest.mark.parametrize(
    "code",
    [b"", b"\x03", asm.add(A0, A0, A0), asm.ecall(), asm.jal(0, 4), asm.c_nop(), asm.c_unimp(), b"\xff" * 4],
)
def test_no_operand(context, code):
    assert memory_access(code, context) is None


def test_instruction_length():
    assert instruction_length(asm.c_nop()) == 2
    assert instruction_length(asm.nop()) == 4


def test_disassemble():
    assert disassemble(asm.ld(A0, SP, 8), 0) == "ld a0, 8(sp)"
    assert disassemble(asm.c_ebreak() + asm.nop(), 0) == "c.ebreak"
    assert disassemble(b"\xff" * 8, 0) == ".byte 0xff 0xff 0xff 0xff"
    assert disassemble(b"", 0) == "(not readable)"


def test_every_compressed_instruction_as_capstone_has_it() -> None:
    """All 2^16 halves: the same loads and stores, with the same operands. Capstone 5 has no Zcb, for which
    `test_bits` is: those places are empty there."""
    import capstone

    names = {"lw": 4, "sw": 4, "ld": 8, "sd": 8, "fld": 8, "fsd": 8}
    sizes = {f"c.{name}{stack}": size for name, size in names.items() for stack in ("", "sp")}
    engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC)
    engine.detail = True
    context = Context()
    for number in range(1, 32):
        context.set_register(number, number << 20)
    known = 0
    for half in range(1 << 16):
        if half & 3 == 3:
            continue
        code = half.to_bytes(2, "little")
        expected = None
        for instruction in engine.disasm(code, 0, 1):
            assert half & 0xE003 != 0x8000
            size = sizes.get(instruction.mnemonic)
            if size is not None:
                _, displacement, base = instruction.operands
                register = base.reg - capstone.riscv.RISCV_REG_X0
                expected = Access((register << 20) + displacement.imm, size)
                known += 1
        if half & 0xE003 != 0x8000:
            assert memory_access(code, context) == expected, f"{half:#06x}"
    assert known > 20_000
