"""Describes a fault: enclave, source line, instruction, the accessed address and its owner."""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Final

from pltvm.host import backtrace, causes
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.fault import Activation, Fault

_COLUMNS: Final = 4
_NOT_PLAIN: Final = ("activations", "near", "code", "stack_low")  # fields that the report has in words

latest: Final[deque["FaultReport"]] = deque(maxlen=8)  # for test runners, which show them when a test fails


@dataclass(frozen=True, slots=True)
class Stack:
    """The frames of one enclave of the chain, innermost first, as text; `more` if there are further
    frames."""

    who: str
    frames: tuple[str, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class FaultReport:
    """A fault, with its place in the ELF of the enclave; `str()` gives the report as text.

    `notes` are possible causes, `stacks` are the call stacks of each enclave in the chain. The same class
    describes the place where a time limit or Ctrl-C found an enclave without a fault: see `place`.
    """

    fault: Fault
    label: str
    location: str
    note: str = ""  # why the location is incomplete
    notes: tuple[str, ...] = ()
    stacks: tuple[Stack, ...] = field(default=())

    @classmethod
    def of(
        cls, fault: Fault, label: str, symbols: Symbols | None, symbols_of: "SymbolsOf | None" = None
    ) -> "FaultReport":
        """Return the report of a fault; `symbols` are of its enclave, `symbols_of` finds those of others in
        its chain."""
        location = f"{fault.pc:#x}" if symbols is None else str(symbols.locate(fault.pc))
        found = []
        for one in fault.activations:
            known = (label, symbols) if one.eid == fault.eid else symbols_of(one.eid) if symbols_of else None
            found.append(_stack_of(one, *(known or (one.name, None))))
        report = cls(
            fault,
            label,
            location,
            symbols.note if symbols is not None else "",
            tuple(causes.notes(fault, symbols)),
            tuple(found),
        )
        latest.append(report)
        return report

    def __repr__(self) -> str:
        return f"<FaultReport: {self.summary}>"

    def _repr_html_(self) -> str:
        """Return the whole text for notebooks."""
        from html import escape  # no run needs it

        return f"<pre>{escape(str(self))}</pre>"

    @property
    def place(self) -> str:
        """Return where the enclave is, with its call stack, without the fault: several lines."""
        return "\n".join(map(one_line, [f"{self._who} at {self.location}", *self._backtrace()]))

    def _backtrace(self) -> list[str]:
        """Return a line for each frame; none if the first line of the report says everything."""
        lines = []
        for number, stack in enumerate(self.stacks):
            if number == 0 and (inlined := stack.frames[0].partition(" [")[2]):
                lines.append(f"  inlined here: {inlined.removesuffix(']')}")
            if number == 0 and len(stack.frames) > 1:
                lines.append("  called from")
            elif number:
                lines.append(f"  called by {stack.who}")
            lines += [f"    {text}" for text in stack.frames[0 if number else 1 :]]
            if stack.more:
                lines.append("    …")
        return lines

    @property
    def summary(self) -> str:
        """Return enclave, fault and place in one line."""
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
            lines.append(f"  touched {fault.size} bytes at {fault.address:#x}: {causes.touched(fault)}")
        elif causes.overflows(fault):
            lines.append(f"  {causes.OVERFLOW}")
        lines += [f"  {text}" for text in self.notes]
        lines += self._backtrace()
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
        plain = asdict(self.fault)
        for name in _NOT_PLAIN:
            del plain[name]
        more = {"location": self.location, "note": self.note, "notes": list(self.notes)}
        return {**plain, **more, "backtrace": [asdict(stack) for stack in self.stacks]}


# Gives the label and the symbols of a living enclave by its number.
SymbolsOf = Callable[[int], tuple[str, Symbols | None] | None]


def _inlined(pc: int, symbols: Symbols) -> str:
    """Return the functions inlined at `pc`, each with the line that calls it."""
    found = symbols.inlined(pc)
    return f" [{', '.join(f'{name} from line {line}' for name, line in found)}]" if found else ""


def _stack_of(one: Activation, label: str, symbols: Symbols | None) -> Stack:
    """The frames of an enclave as text."""
    walked, more = backtrace.walk(one, symbols)
    texts = []
    for frame, same in groupby(walked):
        where = (
            f"{frame.pc:#x}"
            if symbols is None
            else str(symbols.locate(frame.pc)) + _inlined(frame.pc, symbols)
        )
        where = f"{where} (perhaps: an address on the stack)" if frame.guess else where
        times = len(list(same))
        texts.append(f"{where}, {times} times" if times > 1 else where)
    return Stack(f"{label or 'enclave'} (eid {one.eid})", tuple(texts), more)
