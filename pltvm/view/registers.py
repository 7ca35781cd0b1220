"""The registers of an enclave by name, to read and write.

    enclave.registers.a0            enclave.registers["a0"]            enclave.registers.pc += 4

The names are `zero`, `ra`, `sp` … `t6` or x0 … x31, `pc`, `f0` … `f31` or their ABI names (`fa0`), and
`fcsr`. Floating-point registers are given as their 64 bits. In a hook the enclave goes on with these values.
"""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final

from pltvm.engine.context import F0, FCSR, PC, REGISTER_NAMES, X0
from pltvm.errors import ArgumentError
from pltvm.host import arguments
from pltvm.view.shown import as_html, as_text

_FLOAT_NAMES: Final = (
    *(f"ft{n}" for n in range(8)), "fs0", "fs1", *(f"fa{n}" for n in range(8)),
    *(f"fs{n}" for n in range(2, 12)), *(f"ft{n}" for n in range(8, 12)),
)  # fmt: skip
_NAMES: Final = (*REGISTER_NAMES, "pc", *(f"f{n}" for n in range(32)), "fcsr")
_SLOTS: Final[dict[str, int]] = {
    **{name: X0 + number for number, name in enumerate(REGISTER_NAMES)},
    **{f"x{number}": X0 + number for number in range(32)},
    "fp": X0 + 8,
    "pc": PC,
    **{f"f{number}": F0 + number for number in range(32)},
    **{name: F0 + number for number, name in enumerate(_FLOAT_NAMES)},
    "fcsr": FCSR,
}
_COLUMNS: Final = 4


class Registers(MutableMapping[str, int]):
    """The registers of one enclave; `find` gives their place, and reports that they may be written."""

    _find: Callable[[], memoryview]

    def __init__(self, find: Callable[[], memoryview]) -> None:
        object.__setattr__(self, "_find", find)

    def __getitem__(self, name: str) -> int:
        slot = _slot(name)
        return 0 if slot == X0 else int(self._find()[slot])

    def __setitem__(self, name: str, value: int) -> None:
        slot, value = _slot(name), arguments.number(name, value)
        if not -(1 << 63) <= value < 1 << 64:
            raise ArgumentError(f"{name} = {value:#x}: a register has 64 bits")
        if slot == X0:
            raise ArgumentError("zero is always 0")
        self._find()[slot] = value & (1 << 64) - 1

    def __delitem__(self, name: str) -> None:
        raise TypeError("registers stay")

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def __getattr__(self, name: str) -> int:
        if name in _SLOTS:
            return self[name]
        raise AttributeError(f"there is no register {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _SLOTS:
            raise AttributeError(f"there is no register {name!r}")
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_NAMES]

    def _rows(self) -> list[list[str]]:
        cells = [text for name in (*REGISTER_NAMES, "pc") for text in (name, f"{self[name]:#018x}")]
        cells += [""] * (-len(cells) % (2 * _COLUMNS))
        return [cells[at : at + 2 * _COLUMNS] for at in range(0, len(cells), 2 * _COLUMNS)]

    def __repr__(self) -> str:
        rows = self._rows()
        return as_text(rows[0], rows[1:])

    def _repr_html_(self) -> str:
        return as_html(("",) * 2 * _COLUMNS, self._rows())


def _slot(name: str) -> int:
    slot = _SLOTS.get(name)
    if slot is None:
        raise KeyError(f"there is no register {name!r}")
    return slot
