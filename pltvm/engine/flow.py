"""Does jumps and branches for a context without running it: they change only pc and the link register.

A stepping debugger has to know the next pc; so it does jumps and branches itself.
"""

from pltvm.engine.context import PC, Context
from pltvm.engine.decode import instruction_length

_MASK = (1 << 64) - 1
_JAL, _JALR, _BRANCH = 0x6F, 0x67, 0x63


def jump(code: bytes, context: Context) -> bool:
    """Do the jump or branch at the start of `code`; return False, and change nothing, for others."""
    if len(code) < 2:
        return False
    pc, size = context.regs[PC], instruction_length(code)
    found = _short(int.from_bytes(code[:2], "little"), pc, context) if size == 2 else None
    if size == 4 and len(code) >= 4:
        found = _long(int.from_bytes(code[:4], "little"), pc, context)
    if found is None:
        return False
    target, link = found
    context.set_register(link, pc + size)
    context.regs[PC] = target & _MASK & ~1
    return True


def _signed(value: int, bits: int) -> int:
    return (value ^ 1 << bits - 1) - (1 << bits - 1)


def _long(word: int, pc: int, context: Context) -> tuple[int, int] | None:
    """Return the target, and the register that gets the return address."""
    opcode, function = word & 0x7F, word >> 12 & 7
    first, link = context.register(word >> 15 & 31), word >> 7 & 31
    if opcode == _JAL:
        offset = word >> 20 & 0x7FE | word >> 9 & 0x800 | word & 0xFF000 | word >> 11 & 0x100000
        return pc + _signed(offset, 21), link
    if opcode == _JALR and function == 0:
        return first + _signed(word >> 20, 12), link
    if opcode == _BRANCH and function not in (2, 3):
        offset = word >> 7 & 0x1E | word >> 20 & 0x7E0 | word << 4 & 0x800 | word >> 19 & 0x1000
        taken = _is_taken(function, first, context.register(word >> 20 & 31))
        return pc + (_signed(offset, 13) if taken else 4), 0
    return None


def _is_taken(function: int, first: int, second: int) -> bool:
    if function & 4 and not function & 2:  # blt, bge
        first, second = _signed(first, 64), _signed(second, 64)
    holds = first < second if function & 4 else first == second
    return holds != bool(function & 1)


def _short(half: int, pc: int, context: Context) -> tuple[int, int] | None:
    quadrant, function = half & 3, half >> 13
    if quadrant == 1 and function == 5:  # c.j
        offset = half >> 2 & 0xE | half >> 7 & 0x10 | half << 3 & 0x20 | half >> 1 & 0x40
        offset |= half << 1 & 0x80 | half >> 1 & 0x300 | half << 2 & 0x400 | half >> 1 & 0x800
        return pc + _signed(offset, 12), 0
    if quadrant == 1 and function in (6, 7):  # c.beqz, c.bnez
        offset = half >> 2 & 6 | half >> 7 & 0x18 | half << 3 & 0x20 | half << 1 & 0xC0 | half >> 4 & 0x100
        taken = (context.register(8 + (half >> 7 & 7)) == 0) == (function == 6)
        return pc + (_signed(offset, 9) if taken else 2), 0
    if quadrant == 2 and function == 4 and not half >> 2 & 31 and half >> 7 & 31:  # c.jr, c.jalr
        return context.register(half >> 7 & 31), half >> 12 & 1
    return None
