"""A trace as readable lines: time, context, event, and source location."""

from typing import IO, Final

from pltvm.host.text import one_line
from pltvm.machine import Machine
from pltvm.view.events import Event

_TITLES: Final = ("clock", "trap", "who", "what")
_WIDTHS: Final = (10, 6, 24)


class Text:
    """Writes a trace of `machine` to `file`."""

    def __init__(self, file: IO[str], machine: Machine) -> None:
        self._file = file
        self._line(*_TITLES)
        for enclave in machine.enclaves:
            self._line(str(machine.hart.clock), "0", "", f"there is {enclave.name} (eid {enclave.eid})")

    def _line(self, *cells: str) -> None:
        left = [cell.rjust(width) for cell, width in zip(cells[:2], _WIDTHS[:2], strict=True)]
        line = f"{'  '.join(left)}  {one_line(cells[2]).ljust(_WIDTHS[2])}  {one_line(cells[3])}"
        self._file.write(f"{line.rstrip()}\n")

    def event(self, event: Event) -> None:
        """One more event."""
        where = f"  at {event.where}" if event.pc and event.kind in _WITH_PLACE else ""
        if where and (callers := event.callers):
            where += f" ← {callers[0]}"
        what = f"{event.kind:<9}  {event.text}{where}"
        self._line(str(event.clock), str(event.traps), str(event.who), what)

    def end(self, events: int) -> None:
        """End the trace."""
        self._line("", "", "", f"{events} events")


_WITH_PLACE: Final = frozenset({"trap", "call", "return", "ocall"})  # other events are effects of these
