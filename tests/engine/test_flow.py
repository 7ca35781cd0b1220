"""Jumps done without running them: what the disassembler says of the same bytes has to come out."""

import random
import re

import capstone

from pltvm.engine.context import PC, REGISTER_NAMES, X0, Context
from pltvm.engine.flow import jump

_DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC)
_AT = 0x10_0000
_SIGN = 1 << 63


def _any_jump(chooser: random.Random) -> bytes:
    if chooser.random() < 0.5:
        return (chooser.getrandbits(25) << 7 | chooser.choice([0x6F, 0x67, 0x63])).to_bytes(4, "little")
    if chooser.random() < 0.7:
        return (chooser.choice([5, 6, 7]) << 13 | chooser.getrandbits(11) << 2 | 1).to_bytes(2, "little")
    return (4 << 13 | chooser.getrandbits(1) << 12 | chooser.getrandbits(5) << 7 | 2).to_bytes(2, "little")


def _signed(value: int) -> int:
    return value - (1 << 64) if value & _SIGN else value


def _expected(name: str, text: str, values: dict[str, int], size: int) -> tuple[int, str | None]:
    """Where it leads, and the register that gets the address behind it; by its text."""
    parts = [part.strip() for part in text.split(",")] if text else []
    plain = name.removeprefix("c.")
    if plain == "j":
        return _AT + int(parts[0], 0), None
    if plain == "jal":
        return _AT + int(parts[-1], 0), "ra" if len(parts) == 1 else parts[0]
    if plain == "ret":
        return values["ra"], None
    if plain in ("jr", "jalr"):
        if len(parts) == 3:
            return values[parts[1]] + int(parts[2], 0), parts[0]
        found = re.fullmatch(r"(?:(-?\w+)\()?(\w+)\)?", text)
        assert found
        return values[found[2]] + int(found[1] or "0", 0), "ra" if plain == "jalr" else None
    first, second = values[parts[0]], 0
    if plain in ("beqz", "bnez", "bgez", "blez", "bltz", "bgtz"):
        plain = plain[:-1]
    else:
        second = values[parts[1]]
    taken = {
        "beq": first == second, "bne": first != second, "bltu": first < second, "bgeu": first >= second,
        "blt": _signed(first) < _signed(second), "bge": _signed(first) >= _signed(second),
        "ble": _signed(first) <= _signed(second), "bgt": _signed(first) > _signed(second),
    }[plain]  # fmt: skip
    return _AT + (int(parts[-1], 0) if taken else size), None


def test_jumps_and_branches() -> None:
    chooser, done = random.Random(1), 0
    for _ in range(20_000):
        code, context = _any_jump(chooser), Context(pc=_AT)
        for number in range(1, 32):
            context.regs[X0 + number] = chooser.choice([0, 1, 5, _SIGN, 2**64 - 1, chooser.getrandbits(64)])
        values = {name: context.register(number) for number, name in enumerate(REGISTER_NAMES)}
        found = next(_DISASSEMBLER.disasm(code + bytes(2), _AT, 1), None)
        if found is None or found.size != len(code):
            continue
        if found.mnemonic == "c.ebreak":
            assert not jump(code, context)
            continue
        target, link = _expected(found.mnemonic, found.op_str, values, len(code))
        assert jump(code, context), found
        assert context.regs[PC] == target % 2**64 & ~1, found
        wanted = {**values, **({link: _AT + len(code)} if link not in (None, "zero") else {})}
        assert {name: context.register(n) for n, name in enumerate(REGISTER_NAMES)} == wanted, found
        done += 1
    assert done > 10_000


def test_other_instructions_are_none() -> None:
    for code in ("73000000", "13000000", "0100", "0290", "82", ""):
        assert not jump(bytes.fromhex(code), Context(pc=_AT))
