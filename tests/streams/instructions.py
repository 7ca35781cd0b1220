"""Random RISC-V instructions: uniform words, and encodings that exist with random operands.

Everything comes from the `random.Random` that is passed in, so the same seed gives the same bytes.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tests import asm

_LOAD, _LOAD_FP, _STORE, _STORE_FP, _AMO, _SYSTEM = 0x03, 0x07, 0x23, 0x27, 0x2F, 0x73
_IMMEDIATE, _IMMEDIATE_32, _REGISTERS, _REGISTERS_32 = 0x13, 0x1B, 0x33, 0x3B
_BRANCH, _JAL, _JALR, _LUI, _AUIPC, _FENCE, _FP = 0x63, 0x6F, 0x67, 0x37, 0x17, 0x0F, 0x53
_FUSED: Final = (0x43, 0x47, 0x4B, 0x4F)
_ODD: Final = (0x0B, 0x2B, 0x57, 0x5B, 0x6B, 0x77, 0x7B)  # custom, vector, reserved
_FUNCTIONS: Final = (0, 0, 0x20, 0x20, 1, 5, 0x10, 0x04, 0x30, 0x24, 0x34, 0x14, 7)  # then bit manipulation
_AMOS: Final = (0x02, 0x03, 0x01, 0x00, 0x04, 0x0C, 0x08, 0x10, 0x14, 0x18, 0x1C)
_FP_FUNCTIONS: Final = (
    *(0x00, 0x04, 0x08, 0x0C, 0x2C, 0x10, 0x14, 0x60, 0x70, 0x50, 0x68, 0x78),
    *(0x01, 0x05, 0x09, 0x0D, 0x2D, 0x11, 0x15, 0x61, 0x71, 0x51, 0x69, 0x79, 0x20, 0x21),
)
_PRIVILEGED: Final = (
    *(0x0000_0073, 0x0010_0073, 0x0020_0073, 0x1020_0073, 0x2020_0073, 0x3020_0073, 0x7B20_0073),
    *(0x1050_0073, 0x1040_0073, 0x1200_0073, 0x1600_0073, 0x2200_0073, 0x6200_0073, 0x0000_100F),
)  # ecall ebreak uret sret hret mret dret | wfi sfence.vm sfence.vma sinval hfence.bvma hfence.gvma fence.i
_FENCES: Final = frozenset((0x1200_0073, 0x1600_0073, 0x2200_0073, 0x6200_0073))  # which have operands
_CSRS: Final = (
    *(0x000, 0x001, 0x002, 0x003, 0x004, 0x005, 0x008, 0x040, 0x041, 0x042, 0x043, 0x044),
    *(0x100, 0x102, 0x103, 0x104, 0x105, 0x106, 0x140, 0x141, 0x142, 0x143, 0x144, 0x180),
    *(0x200, 0x240, 0x280, 0x300, 0x301, 0x302, 0x303, 0x304, 0x305, 0x306, 0x320, 0x340, 0x341, 0x342),
    *(0x343, 0x344, 0x3A0, 0x3A1, 0x3A2, 0x3B0, 0x3B7, 0x3BF, 0x600, 0x680, 0x7A0, 0x7B0, 0x7B1),
    *(0xB00, 0xB02, 0xC00, 0xC01, 0xC02, 0xC03, 0xC1F, 0xC80, 0xF11, 0xF12, 0xF13, 0xF14),
)
SUPERVISOR_CSRS: Final = (0x100, 0x104, 0x105, 0x106, 0x140, 0x141, 0x142, 0x143, 0x144, 0x180)
POINTERS: Final = (
    asm.SP,
    *range(8, 16),
)  # registers that programs fill with addresses; most are compressible


def _word(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def _base(rng: Random) -> int:
    return rng.choice(POINTERS) if rng.random() < 0.85 else rng.randrange(32)


def _offset(rng: Random) -> int:
    return rng.choice((0, 0, 8, 16, 1, 4, 0x7FF, 0x800, 0xFF8, rng.randrange(4096)))


def _load(rng: Random) -> bytes:
    opcode, funct3 = rng.choice(((_LOAD, rng.randrange(8)), (_LOAD_FP, rng.choice((2, 3, 3, 4)))))
    return _word(_offset(rng) << 20 | _base(rng) << 15 | funct3 << 12 | rng.randrange(32) << 7 | opcode)


def _store(rng: Random) -> bytes:
    opcode, funct3 = rng.choice(((_STORE, rng.randrange(5)), (_STORE_FP, rng.choice((2, 3, 3, 4)))))
    offset = _offset(rng)
    word = offset >> 5 << 25 | rng.randrange(32) << 20 | _base(rng) << 15 | funct3 << 12
    return _word(word | (offset & 31) << 7 | opcode)


def _atomic(rng: Random) -> bytes:
    function, funct3 = rng.choice(_AMOS), rng.choice((2, 3, 3, 0, 4))
    word = function << 27 | rng.randrange(4) << 25 | rng.randrange(32) << 20 | _base(rng) << 15
    return _word(word | funct3 << 12 | rng.randrange(32) << 7 | _AMO)


def _compute(rng: Random) -> bytes:
    opcode = rng.choice((_IMMEDIATE, _IMMEDIATE_32, _REGISTERS, _REGISTERS_32, _LUI, _AUIPC))
    word = rng.getrandbits(32) & ~0x7F | opcode
    if opcode in (_REGISTERS, _REGISTERS_32):
        word = word & 0x01FF_FFFF | rng.choice(_FUNCTIONS) << 25
    return _word(word)


def _floating(rng: Random) -> bytes:
    opcode = rng.choice((_FP, _FP, *_FUSED))
    word = rng.getrandbits(32) & ~0x7F | opcode
    if opcode == _FP:
        word = word & 0x01FF_FFFF | rng.choice(_FP_FUNCTIONS) << 25
        word = rng.choice((word, word & ~(0x1F << 20) | rng.randrange(4) << 20))
    return _word(rng.choice((word, word & ~(7 << 12) | 7 << 12)))


def csr(rng: Random, numbers: Sequence[int] = _CSRS) -> bytes:
    """An instruction on a CSR."""
    number = rng.choice(numbers) if rng.random() < 0.9 else rng.randrange(4096)
    source = rng.choice((0, rng.randrange(32), rng.choice(POINTERS)))
    return _word(number << 20 | source << 15 | rng.randrange(8) << 12 | rng.randrange(32) << 7 | _SYSTEM)


def _system(rng: Random) -> bytes:
    word = rng.choice(_PRIVILEGED)
    if word in _FENCES and rng.random() < 0.5:
        word |= rng.randrange(32) << 20 | rng.randrange(32) << 15
    return _word(word)


def _jump(rng: Random) -> bytes:
    """To somewhere near, into the middle of an instruction as well, or to where a register points."""
    distance = rng.choice(
        (2, 4, 6, 8, 12, -2, -4, -8, rng.randrange(-256, 256, 2), rng.randrange(-4096, 4096, 2))
    )
    kind = rng.randrange(4)
    if kind == 0:
        return asm.jal(rng.choice((0, 1, 5)), distance)
    if kind == 1:
        return asm.jalr(
            rng.choice((0, 1)), _base(rng), rng.choice((0, 0, 2, -2, 1, rng.randrange(-2048, 2048)))
        )
    branch = int.from_bytes(asm.beq(rng.randrange(32), rng.randrange(32), distance), "little")
    return _word(branch | rng.randrange(8) << 12)


def _compressed(rng: Random) -> bytes:
    half = rng.getrandbits(16)
    while half & 3 == 3:
        half = rng.getrandbits(16)
    return half.to_bytes(2, "little")


def _compressed_access(rng: Random) -> bytes:
    """A load or store of two bytes, floating-point ones and those of Zcb as well."""
    funct3, quadrant = rng.choice(((4, 0), *((funct3, n) for funct3 in (1, 2, 3, 5, 6, 7) for n in (0, 2))))
    if funct3 == 4:
        return (rng.getrandbits(10) << 2 | funct3 << 13).to_bytes(2, "little")
    return (rng.getrandbits(11) << 2 | funct3 << 13 | quadrant).to_bytes(2, "little")


def _uniform(rng: Random) -> bytes:
    return rng.randbytes(rng.choice((2, 4)))


def _opcode(rng: Random) -> bytes:
    """Any word of an opcode that means something to somebody."""
    known = (_LOAD, _STORE, _AMO, _SYSTEM, _BRANCH, _JAL, _JALR, _FENCE, _FP, *_FUSED, *_ODD)
    return _word(rng.getrandbits(32) & ~0x7F | rng.choice(known))


Kind = Callable[[Random], bytes]
KINDS: Final[dict[Kind, int]] = {
    _compute: 14, _load: 10, _store: 10, _atomic: 5, _floating: 8, csr: 3, _system: 1, _jump: 5,
    _compressed: 10, _compressed_access: 6, _uniform: 2, _opcode: 3,
}  # fmt: skip
QUIET: Final[dict[Kind, int]] = {
    _compute: 14, _load: 10, _store: 10, _atomic: 5, _floating: 8, _jump: 2, _compressed_access: 6
}  # fmt: skip
CALM: Final[dict[Kind, int]] = {_compute: 3, _floating: 1}  # nothing that traps, mostly
UNIFORM: Final[dict[Kind, int]] = {_uniform: 1}


def some(rng: Random, kinds: dict[Kind, int], count: int) -> list[bytes]:
    """`count` instructions of these kinds, by weight."""
    return [kind(rng) for kind in rng.choices(list(kinds), list(kinds.values()), k=count)]
