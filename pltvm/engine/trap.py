"""Why the hart stopped: RISC-V trap causes, and what an instruction that faulted wanted.

Unicorn reports a cause but neither `mtval` nor the exact instruction, so the faulting address is worked
out here from the instruction and the registers. That is the slow path: only faults need it.
"""

import functools
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from pltvm.engine.context import Context


class Cause(IntEnum):
    """`mcause` of the privileged architecture, and below zero what only the engine can report."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_S = 9
    ECALL_M = 11
    FETCH_PAGE = 12
    LOAD_PAGE = 13
    STORE_PAGE = 15
    WFI = -1
    OUTSIDE_RAM = -2
    INTERRUPT = -3
    TIMER = -4

    @property
    def text(self) -> str:
        """The cause in words."""
        return _TEXT[self]


_TEXT: Final = {
    Cause.FETCH_MISALIGNED: "jump to a misaligned address",
    Cause.FETCH_ACCESS: "instruction fetch refused by PMP",
    Cause.ILLEGAL: "illegal instruction",
    Cause.BREAKPOINT: "breakpoint",
    Cause.LOAD_MISALIGNED: "misaligned load",
    Cause.LOAD_ACCESS: "load refused by PMP",
    Cause.STORE_MISALIGNED: "misaligned store",
    Cause.STORE_ACCESS: "store refused by PMP",
    Cause.ECALL_U: "environment call from user mode",
    Cause.ECALL_S: "environment call from supervisor mode",
    Cause.ECALL_M: "environment call from machine mode",
    Cause.FETCH_PAGE: "jump to a page that is not mapped executable",
    Cause.LOAD_PAGE: "load from a page that is not mapped readable",
    Cause.STORE_PAGE: "store to a page that is not mapped writable",
    Cause.WFI: "wait for interrupt",
    Cause.OUTSIDE_RAM: "access outside guest RAM",
    Cause.INTERRUPT: "interrupted from outside",
    Cause.TIMER: "end of the time slice",
}

FETCHES: Final = frozenset({Cause.FETCH_MISALIGNED, Cause.FETCH_ACCESS, Cause.FETCH_PAGE})


@dataclass(frozen=True, slots=True)
class Access:
    """A memory operand: virtual address of its first byte, and its size in bytes."""

    address: int
    size: int


@functools.cache
def _disassembler() -> Any:
    import capstone  # only reports need it

    return capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC)


def disassemble(code: bytes, pc: int) -> str:
    """The instruction at the start of `code` as text, or its bytes when it is none."""
    for instruction in _disassembler().disasm(code[:4], pc, 1):
        return f"{instruction.mnemonic} {instruction.op_str}".strip()
    return ".byte " + " ".join(f"{byte:#04x}" for byte in code[:4]) if code else "(not readable)"


def instruction_length(code: bytes) -> int:
    """2 for a compressed instruction, else 4."""
    return 4 if code and code[0] & 3 == 3 else 2


# Sizes of loads and stores by funct3 (uncompressed) and of AMOs.
_SIZE_BY_FUNCT3: Final = (1, 2, 4, 8, 1, 2, 4, 8)
_OPCODE_LOAD, _OPCODE_LOAD_FP, _OPCODE_STORE, _OPCODE_STORE_FP, _OPCODE_AMO = 0x03, 0x07, 0x23, 0x27, 0x2F


def memory_access(code: bytes, context: Context) -> Access | None:
    """What the load, store or atomic at the start of `code` accesses with the registers of `context`.

    None when the instruction has no memory operand.
    """
    if len(code) < 2:
        return None
    if instruction_length(code) == 2:
        return _compressed_access(code, context)
    word = int.from_bytes(code[:4], "little")
    opcode, base = word & 0x7F, context.register(word >> 15 & 31)
    size = _SIZE_BY_FUNCT3[word >> 12 & 7]
    if opcode in (_OPCODE_LOAD, _OPCODE_LOAD_FP):
        offset = word >> 20
    elif opcode in (_OPCODE_STORE, _OPCODE_STORE_FP):
        offset = word >> 25 << 5 | word >> 7 & 31
    elif opcode == _OPCODE_AMO:
        return Access(base, size)
    else:
        return None
    return Access((base + (offset ^ 0x800) - 0x800) & 0xFFFF_FFFF_FFFF_FFFF, size)


# Compressed loads and stores. By quadrant and funct3: bytes; then where the bits of the offset are, as
# (lowest bit in the instruction, number of bits, lowest bit in the offset).
_Bits = tuple[tuple[int, int, int], ...]
_WORD: Final[_Bits] = ((10, 3, 3), (6, 1, 2), (5, 1, 6))
_DOUBLE: Final[_Bits] = ((10, 3, 3), (5, 2, 6))
_WORD_LOAD_SP: Final[_Bits] = ((12, 1, 5), (4, 3, 2), (2, 2, 6))
_DOUBLE_LOAD_SP: Final[_Bits] = ((12, 1, 5), (5, 2, 3), (2, 3, 6))
_WORD_STORE_SP: Final[_Bits] = ((9, 4, 2), (7, 2, 6))
_DOUBLE_STORE_SP: Final[_Bits] = ((10, 3, 3), (7, 3, 6))
_COMPRESSED: Final = {
    (0, 1): (8, _DOUBLE), (0, 2): (4, _WORD), (0, 3): (8, _DOUBLE),
    (0, 5): (8, _DOUBLE), (0, 6): (4, _WORD), (0, 7): (8, _DOUBLE),
    (2, 1): (8, _DOUBLE_LOAD_SP), (2, 2): (4, _WORD_LOAD_SP), (2, 3): (8, _DOUBLE_LOAD_SP),
    (2, 5): (8, _DOUBLE_STORE_SP), (2, 6): (4, _WORD_STORE_SP), (2, 7): (8, _DOUBLE_STORE_SP),
}  # fmt: skip
_SP: Final = 2
_INTEGER_LOADS_SP: Final = {(2, 2), (2, 3)}


def _compressed_access(code: bytes, context: Context) -> Access | None:
    """The operand of a compressed load or store. By hand: a program faults on its first ones right at its
    start, and the disassembler takes longer to load than all else."""
    half = int.from_bytes(code[:2], "little")
    form = (half & 3, half >> 13)
    known = _COMPRESSED.get(form)
    if known is None or (form in _INTEGER_LOADS_SP and not half >> 7 & 31):
        return None
    size, fields = known
    offset = sum((half >> at & (1 << bits) - 1) << to for at, bits, to in fields)
    base = _SP if form[0] == 2 else 8 + (half >> 7 & 7)
    return Access((context.register(base) + offset) & 0xFFFF_FFFF_FFFF_FFFF, size)
