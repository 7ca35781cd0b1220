"""Bit manipulation as the specification words it, on strings of bits, and its encodings as LLVM has them."""

import subprocess
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

from elftools.elf.elffile import ELFFile

from pltvm.build import zig

_CPU = "generic_rv64+m+a+f+d+c+zba+zbb+zbs+zicond+zcb+zicbom+zicbop+zicboz+zihintpause"
MASK = (1 << 64) - 1


def assemble(lines: Iterable[str]) -> list[bytes]:
    """The bytes of each line of assembly, compressed only if it says so, by the assembler of `ziglang`."""
    lines = list(lines)
    plain = ".option push\n.option norvc\n{}\n.option pop\n"
    parts = [
        f"at{n}:\n" + ("{}\n" if line[:2] == "c." else plain).format(line) for n, line in enumerate(lines)
    ]
    source = "".join(parts) + f"at{len(lines)}:\n"
    with tempfile.TemporaryDirectory() as folder:
        file, made = Path(folder) / "code.s", Path(folder) / "code.o"
        file.write_text(source)
        target = ["-target", "riscv64-freestanding-none", f"-mcpu={_CPU}"]
        subprocess.run(zig.command("cc", *target, "-c", str(file), "-o", str(made)), check=True, cwd=folder)
        with made.open("rb") as stream:
            elf = ELFFile(stream)
            text = elf.get_section_by_name(".text").data()
            symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
    places = [symbols[f"at{n}"] for n in range(len(lines) + 1)]
    return [text[start:end] for start, end in pairwise(places)]


def bits(value: int, width: int = 64) -> str:
    """The lowest bits of a number, the highest of them first."""
    return format(value % (1 << width), f"0{width}b")


def extended(text: str, by: str = "") -> int:
    """64 bits from fewer: with zeros by "0", else by the first one of them."""
    return int(text.rjust(64, by or text[0]), 2)


def _signed(value: int) -> int:
    return int.from_bytes(value.to_bytes(8, "big"), "big", signed=True)


def _zero_word(value: int) -> int:
    return extended(bits(value, 32), "0")


def _turn_left(text: str, by: int) -> str:
    return text[by:] + text[:by]


def _turn_right(text: str, by: int) -> str:
    return _turn_left(text, len(text) - by)


def _each(a: int, b: int, result: Callable[[str, str], bool]) -> int:
    return int("".join("01"[result(x, y)] for x, y in zip(bits(a), bits(b), strict=True)), 2)


def _with_bit(a: int, number: int, to: Callable[[str], str]) -> int:
    text = bits(a)
    place = 63 - number % 64
    return int(text[:place] + to(text[place]) + text[place + 1 :], 2)


def _run(text: str, of: str) -> int:
    return len(text) - len(text.lstrip(of))


def _other(bit: str) -> str:
    return "1" if bit == "0" else "0"


REGISTERS: dict[str, Callable[[int, int], int]] = {
    "add.uw": lambda a, b: (_zero_word(a) + b) & MASK,
    "sh1add": lambda a, b: (a * 2 + b) & MASK,
    "sh2add": lambda a, b: (a * 4 + b) & MASK,
    "sh3add": lambda a, b: (a * 8 + b) & MASK,
    "sh1add.uw": lambda a, b: (_zero_word(a) * 2 + b) & MASK,
    "sh2add.uw": lambda a, b: (_zero_word(a) * 4 + b) & MASK,
    "sh3add.uw": lambda a, b: (_zero_word(a) * 8 + b) & MASK,
    "andn": lambda a, b: _each(a, b, lambda x, y: x == "1" and y == "0"),
    "orn": lambda a, b: _each(a, b, lambda x, y: x == "1" or y == "0"),
    "xnor": lambda a, b: _each(a, b, lambda x, y: x == y),
    "max": lambda a, b: a if _signed(a) > _signed(b) else b,
    "maxu": lambda a, b: a if a > b else b,
    "min": lambda a, b: b if _signed(a) > _signed(b) else a,
    "minu": lambda a, b: b if a > b else a,
    "rol": lambda a, b: int(_turn_left(bits(a), b % 64), 2),
    "ror": lambda a, b: int(_turn_right(bits(a), b % 64), 2),
    "rolw": lambda a, b: extended(_turn_left(bits(a, 32), b % 32)),
    "rorw": lambda a, b: extended(_turn_right(bits(a, 32), b % 32)),
    "bclr": lambda a, b: _with_bit(a, b, lambda _bit: "0"),
    "bext": lambda a, b: int(bits(a)[63 - b % 64]),
    "binv": lambda a, b: _with_bit(a, b, _other),
    "bset": lambda a, b: _with_bit(a, b, lambda _bit: "1"),
    "czero.eqz": lambda a, b: 0 if b == 0 else a,
    "czero.nez": lambda a, b: 0 if b != 0 else a,
}

UNARY: dict[str, Callable[[int], int]] = {
    "clz": lambda a: _run(bits(a), "0"),
    "clzw": lambda a: _run(bits(a, 32), "0"),
    "ctz": lambda a: _run(bits(a)[::-1], "0"),
    "ctzw": lambda a: _run(bits(a, 32)[::-1], "0"),
    "cpop": lambda a: bits(a).count("1"),
    "cpopw": lambda a: bits(a, 32).count("1"),
    "sext.b": lambda a: extended(bits(a, 8)),
    "sext.h": lambda a: extended(bits(a, 16)),
    "zext.h": lambda a: extended(bits(a, 16), "0"),
    "orc.b": lambda a: int("".join("ff" if a.to_bytes(8, "big")[n] else "00" for n in range(8)), 16),
    "rev8": lambda a: int.from_bytes(a.to_bytes(8, "big")[::-1], "big"),
}

# With how many bits the immediate has.
IMMEDIATE: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "slli.uw": (6, lambda a, n: (_zero_word(a) * 2**n) & MASK),
    "rori": (6, REGISTERS["ror"]),
    "roriw": (5, REGISTERS["rorw"]),
    "bclri": (6, REGISTERS["bclr"]),
    "bexti": (6, REGISTERS["bext"]),
    "binvi": (6, REGISTERS["binv"]),
    "bseti": (6, REGISTERS["bset"]),
}

# Of the register that takes the result.
COMPRESSED: dict[str, Callable[[int], int]] = {
    "c.zext.b": lambda a: extended(bits(a, 8), "0"),
    "c.sext.b": UNARY["sext.b"],
    "c.zext.h": UNARY["zext.h"],
    "c.sext.h": UNARY["sext.h"],
    "c.zext.w": _zero_word,
    "c.not": lambda a: int("".join(map(_other, bits(a))), 2),
}

# Offsets, bytes, whether it extends by the sign, whether it stores.
TRANSFERS: dict[str, tuple[range, int, bool, bool]] = {
    "c.lbu": (range(4), 1, False, False),
    "c.lhu": (range(0, 4, 2), 2, False, False),
    "c.lh": (range(0, 4, 2), 2, True, False),
    "c.sb": (range(4), 1, False, True),
    "c.sh": (range(0, 4, 2), 2, False, True),
}
