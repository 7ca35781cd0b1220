"""The registers as debuggers number them: x0 … x31, pc, f0 … f31, fflags, frm, fcsr, satp, mstatus, priv."""

from functools import cache
from typing import Final, NamedTuple

from pltvm.engine.context import F0, FCSR, MSTATUS, PC, PRIV, REGISTER_NAMES, SATP, X0, Context

_FLOATS: Final = (
    *(f"ft{i}" for i in range(8)), "fs0", "fs1", *(f"fa{i}" for i in range(8)),
    *(f"fs{i}" for i in range(2, 12)), *(f"ft{i}" for i in range(8, 12)),
)  # fmt: skip
_GENERIC: Final = {"pc": "pc", "sp": "sp", "fp": "fp", "ra": "ra"} | {
    f"a{i}": f"arg{i + 1}" for i in range(8)
}


class Register(NamedTuple):
    """One register: its name, size in bytes, slot in a context, and its bits there."""

    name: str
    size: int
    slot: int
    shift: int = 0
    mask: int = (1 << 64) - 1
    writable: bool = True
    kind: str = "int"


def _all() -> tuple[Register, ...]:
    names = ["fp" if name == "s0" else name for name in REGISTER_NAMES]
    return (
        Register("zero", 8, -1, writable=False),
        *(Register(name, 8, X0 + number) for number, name in enumerate(names) if number),
        Register("pc", 8, PC, kind="code_ptr"),
        *(Register(name, 8, F0 + number, kind="ieee_double") for number, name in enumerate(_FLOATS)),
        Register("fflags", 4, FCSR, 0, 0x1F),
        Register("frm", 4, FCSR, 5, 0x7),
        Register("fcsr", 4, FCSR, 0, 0xFF),
        Register("satp", 8, SATP, writable=False),
        Register("mstatus", 8, MSTATUS, writable=False),
        Register("priv", 8, PRIV, writable=False),
    )


REGISTERS: Final = _all()
PLAIN: Final = REGISTERS[:33]  # x0 … pc, which need no description
_FEATURES: Final = {
    "org.gnu.gdb.riscv.cpu": slice(0, 33),
    "org.gnu.gdb.riscv.fpu": slice(33, 68),
    "org.gnu.gdb.riscv.csr": slice(68, 70),
    "org.gnu.gdb.riscv.virtual": slice(70, 71),
}


def read(context: Context, register: Register) -> bytes:
    """Return its value, little-endian."""
    value = context.regs[register.slot] if register.slot >= 0 else 0
    return (value >> register.shift & register.mask).to_bytes(register.size, "little")


def write(context: Context, register: Register, data: bytes) -> bool:
    """Set it; return False if it cannot be set."""
    if not register.writable or len(data) < register.size:
        return False
    value = int.from_bytes(data[: register.size], "little") & register.mask
    field = register.mask << register.shift & (1 << 64) - 1
    context.regs[register.slot] = context.regs[register.slot] & ~field | value << register.shift
    return True


@cache
def description(osabi: str) -> bytes:
    """Return the target description, which lists the registers (`qXfer:features:read:target.xml`)."""
    lines = ['<?xml version="1.0"?>', '<!DOCTYPE target SYSTEM "gdb-target.dtd">', '<target version="1.0">']
    lines += ["<architecture>riscv:rv64</architecture>"] + ([f"<osabi>{osabi}</osabi>"] if osabi else [])
    number = 0
    for name, part in _FEATURES.items():
        lines.append(f'<feature name="{name}">')
        for one in REGISTERS[part]:
            generic = f' generic="{_GENERIC[one.name]}"' if one.name in _GENERIC else ""
            group = ' group="float"' if name.endswith("fpu") else ""
            debug = number if number < 32 else number - 1 if 33 <= number < 65 else None  # as in DWARF
            known = f' ehframe_regnum="{debug}" dwarf_regnum="{debug}"' if debug is not None else ""
            lines.append(
                f'<reg name="{one.name}" bitsize="{8 * one.size}" type="{one.kind}" '
                f'regnum="{number}"{group}{generic}{known}/>'
            )
            number += 1
        lines.append("</feature>")
    return "\n".join([*lines, "</target>", ""]).encode()
