"""Slow, observed executions: finds compared values, and the code that runs.

It uses a separate target, as code that was translated with a hook on every instruction stays slow. Values
come from instructions that compilers use to compare (branches, subtractions, set-less-than, exclusive or),
and from the arguments of `memcmp`, `strcmp` and similar functions, which are found by their symbols.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.context import A0, A1, A2, X0
from pltvm.engine.trap import fetch_at
from pltvm.fuzz.compare import Pair
from pltvm.fuzz.target import Target, Watch
from pltvm.monitor.abi import PAGE

MOST_PAIRS: Final = 4_000  # pairs of one execution
MOST_AT_ONE_PLACE: Final = 24
_LONGEST_STRING: Final = 64
_STRING_FUNCTIONS: Final = {
    "memcmp": True, "bcmp": True, "strncmp": True, "strncasecmp": True, "strnstr": True,
    "strcmp": False, "strcasecmp": False, "strstr": False, "strcoll": False,
}  # fmt: skip  # whether a2 is a number of bytes
_MASK: Final = (1 << 64) - 1

# Returns the two compared values, given the registers; None: no compare.
Compare = Callable[[memoryview], tuple[int, int]]


class Tracer:
    """Observes executions; `open_with` makes a separate target for it."""

    def __init__(self, open_with: Callable[[Watch], Target]) -> None:
        self.target = target = open_with(self.on_code)
        self._compares: dict[int, Compare | None] = {}
        self._strings: dict[int, bool] = {}
        symbols = target.created.inner.symbols
        for name, counted in _STRING_FUNCTIONS.items():
            place = symbols.find(name) if symbols else None
            if place is not None:
                self._strings[place[0]] = counted
        self._pairs: list[Pair] = []
        self._counts: dict[int, int] = {}

    def pairs(self, data: bytes) -> list[Pair]:
        """Return the values that an execution of `data` compares."""
        self._pairs, self._counts = [], {}
        self.target.execute(data, keep=False)
        return list(dict.fromkeys(self._pairs))

    def on_code(self, target: Target, pc: int, _size: int) -> None:
        """Observe an instruction that is about to run."""
        if target.hart.current is not target.enclave.context or len(self._pairs) >= MOST_PAIRS:
            return
        if pc not in self._compares:
            self._compares[pc] = compare_of(fetch_at(target.enclave.context, pc))
        compare = self._compares[pc]
        counted = self._strings.get(pc)
        if compare is None and counted is None:
            return
        count = self._counts[pc] = self._counts.get(pc, 0) + 1
        if count > MOST_AT_ONE_PLACE:
            return
        target.hart.read_registers()
        regs = target.hart.current.regs
        if counted is not None:
            self._note_strings(regs, counted)
        elif compare is not None:
            left, right = compare(regs)
            if left != right:
                self._pairs.append(Pair(8, left, right))

    def _note_strings(self, regs: memoryview, counted: bool) -> None:
        size = min(regs[A2], _LONGEST_STRING) if counted else _LONGEST_STRING
        left, right = (self._string(regs[register], size, counted) for register in (A0, A1))
        if left != right:
            self._pairs.append(Pair(0, left, right))

    def _string(self, va: int, size: int, counted: bool) -> bytes:
        table = self.target.enclave.space.table
        text = table.read(va, size) or table.read(va, min(size, PAGE - va % PAGE)) or b""
        return text if counted else text.split(b"\0")[0]


def compare_of(code: bytes) -> Compare | None:
    """Return the compare of an instruction: of two registers, or of one and a constant."""
    if len(code) < 2:
        return None
    half = int.from_bytes(code[:2], "little")
    if half & 3 != 3:
        return _compressed(half)
    word = int.from_bytes(code[:4], "little")
    opcode, funct3 = word & 0x7F, word >> 12 & 7
    first, second = word >> 15 & 31, word >> 20 & 31
    if opcode == 0x63:  # branches
        return _registers(first, second)
    if opcode in (0x33, 0x3B):
        subtracts, orders = funct3 == 0 and word >> 30 & 1, funct3 in (2, 3, 4) and not word >> 25
        return _registers(first, second) if subtracts or orders else None
    if opcode in (0x13, 0x1B) and first:
        constant = (word >> 20 ^ 0x800) - 0x800
        if funct3 == 0 and constant < 0:  # addi x, y, −c: compares y with c
            return _constant(first, -constant)
        if opcode == 0x13 and funct3 in (2, 3, 4):
            return _constant(first, constant)
    return None


def _compressed(half: int) -> Compare | None:
    quarter, funct3 = half & 3, half >> 13
    if quarter != 1:
        return None
    if funct3 in (0, 1):  # c.addi, c.addiw
        constant = ((half >> 7 & 0x20 | half >> 2 & 0x1F) ^ 0x20) - 0x20
        return _constant(half >> 7 & 31, -constant) if constant < 0 and half >> 7 & 31 else None
    if funct3 in (6, 7):  # c.beqz, c.bnez
        return _registers(8 + (half >> 7 & 7), 0)
    if funct3 == 4 and half >> 10 & 3 == 3 and half >> 5 & 3 in (0, 1):  # c.sub, c.xor, c.subw
        return _registers(8 + (half >> 7 & 7), 8 + (half >> 2 & 7))
    return None


def _registers(first: int, second: int) -> Compare:
    def values(regs: memoryview) -> tuple[int, int]:
        return regs[X0 + first] if first else 0, regs[X0 + second] if second else 0

    return values


def _constant(register: int, constant: int) -> Compare:
    def values(regs: memoryview) -> tuple[int, int]:
        return regs[X0 + register], constant & _MASK

    return values
