"""A fault in words: who, where in the source, which instruction, what it touched and whose that is."""

from dataclasses import asdict, dataclass
from typing import Any

from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.fault import Fault

_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class FaultReport:
    """A fault with where it is in the ELF that the enclave was made from; `str()` is for people."""

    fault: Fault
    label: str
    location: str
    note: str = ""  # why the location says less than it might

    @classmethod
    def of(cls, fault: Fault, label: str, symbols: Symbols | None) -> "FaultReport":
        """The report of a fault in the code that `symbols` describe."""
        if symbols is None:
            return cls(fault, label, f"{fault.pc:#x}")
        return cls(fault, label, str(symbols.locate(fault.pc)), symbols.note)

    @property
    def summary(self) -> str:
        """One line: who, what and where."""
        return one_line(f"{self._who} at {self.location}: {self.fault.reason}")

    @property
    def _who(self) -> str:
        return f"{self.label or 'enclave'} (eid {self.fault.eid})"

    def __str__(self) -> str:
        fault = self.fault
        lines = [f"fault: {self.summary}", f"  pc {fault.pc:#x}   {fault.instruction}"]
        if self.note:
            lines.append(f"  note: {self.note}")
        if fault.address is not None:
            lines.append(f"  touched {fault.size} bytes at {fault.address:#x}: {fault.owner}")
        if len(fault.chain) > 1:
            lines.append("  call chain " + " → ".join(fault.chain))
        if len(fault.destroyed) > 1:
            lines.append(f"  destroyed with it: eid {', '.join(map(str, fault.destroyed[1:]))}")
        registers = [f"{name:>4} {value:016x}" for name, value in fault.registers.items() if name != "zero"]
        for at in range(0, len(registers), _COLUMNS):
            lines.append("  " + "  ".join(registers[at : at + _COLUMNS]).rstrip())
        return "\n".join(map(one_line, lines))

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {**asdict(self.fault), "location": self.location, "note": self.note}
