"""A fault in words: who, where in the source, which instruction, what it touched and whose that is."""

from dataclasses import asdict
from typing import Any

from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.fault import Fault

_COLUMNS = 4


class FaultReport:
    """A fault with the symbols of the ELF that the enclave was made from; `str()` is for people."""

    def __init__(self, fault: Fault, label: str, symbols: Symbols | None) -> None:
        self.fault = fault
        self.label = label
        self.location = str(symbols.locate(fault.pc)) if symbols else f"{fault.pc:#x}"
        self.note = symbols.note if symbols else ""  # why the location says less than it might

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
