"""Operands of an instruction, from its bytes: what a load, store or atomic accesses, and its text.

Only traps need it, and those include the first stores of every program.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

from pltvm.engine.context import REGISTER_NAMES, Context


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
    """Return the instruction at the start of `code` as text, or its bytes if it is invalid."""
    for instruction in _disassembler().disasm(code[:4], pc, 1):
        return f"{instruction.mnemonic} {instruction.op_str}".strip()
    if text := _zcb_text(int.from_bytes(code[:2], "little")):
        return text
    return ".byte " + " ".join(f"{byte:#04x}" for byte in code[:4]) if code else "(not readable)"


def instruction_length(code: bytes) -> int:
    """Return 2 for a compressed instruction, else 4."""
    return 4 if code and code[0] & 3 == 3 else 2


# Sizes of loads and stores by funct3 (uncompressed) and of AMOs.
_SIZE_BY_FUNCT3: Final = (1, 2, 4, 8, 1, 2, 4, 8)
_OPCODE_LOAD, _OPCODE_LOAD_FP, _OPCODE_STORE, _OPCODE_STORE_FP, _OPCODE_AMO = 0x03, 0x07, 0x23, 0x27, 0x2F


def memory_access(code: bytes, context: Context) -> Access | None:
    """Return the memory operand of the load, store or atomic at the start of `code`, given the registers.

    None if the instruction has no memory operand.
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


# Compressed loads and stores, by quadrant and funct3: bytes; then the places of the offset's bits, as
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
# The same for Zcb, by bits 12…10 (quadrant 0, funct3 4).
_BYTE: Final[_Bits] = ((6, 1, 0), (5, 1, 1))
_HALF: Final[_Bits] = ((5, 1, 1),)
_ZCB: Final = {0: (1, _BYTE), 1: (2, _HALF), 2: (1, _BYTE), 3: (2, _HALF)}
_RESERVED_STORE: Final = 0x8C40  # c.sh with bit 6 set
_SP: Final = 2
_INTEGER_LOADS_SP: Final = {(2, 2), (2, 3)}


def _compressed_access(code: bytes, context: Context) -> Access | None:
    """Return the operand of a compressed load or store. Decoded by hand: every program faults on its first
    ones at its start, and loading the disassembler takes longer than the rest of the run."""
    half = int.from_bytes(code[:2], "little")
    form = (half & 3, half >> 13)
    known = _ZCB.get(half >> 10 & 7) if form == (0, 4) else _COMPRESSED.get(form)
    if known is None or half & 0xFC43 == _RESERVED_STORE:
        return None
    if form in _INTEGER_LOADS_SP and not half >> 7 & 31:
        return None
    size, fields = known
    base = _SP if form[0] == 2 else 8 + (half >> 7 & 7)
    return Access((context.register(base) + _offset(half, fields)) & 0xFFFF_FFFF_FFFF_FFFF, size)


def _offset(half: int, fields: _Bits) -> int:
    return sum((half >> at & (1 << bits) - 1) << to for at, bits, to in fields)


def _zcb_text(half: int) -> str:
    """Return a load or store of Zcb as text, as the disassembler does not know Zcb; "" for others."""
    if half & 0xF003 != 0x8000 or half & 0xFC43 == _RESERVED_STORE:
        return ""
    kind = half >> 10 & 3
    name = ("c.lbu", "c.lh" if half & 0x40 else "c.lhu", "c.sb", "c.sh")[kind]
    base, data = (REGISTER_NAMES[8 + (half >> at & 7)] for at in (7, 2))
    return f"{name} {data}, {_offset(half, _ZCB[kind][1])}({base})"
