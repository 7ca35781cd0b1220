"""A trace as JSON lines: one object per line, each with its `kind`.

    {"kind": "trace", "version": 2, "ram": …}     the header
    {"kind": "snapshot", …}                        the whole state: at the start, and after each restore
    {"kind": "call", "number": 17, …}              an event
    {"kind": "end", "events": 244}                 missing if the process was killed

`read` reads a trace, also of a run in progress.
"""

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

from pltvm.debug.trace.plain import Plain, of_event, snapshot
from pltvm.errors import PltvmError
from pltvm.host.text import one_line
from pltvm.machine import Machine
from pltvm.view.events import Event

VERSION: Final = 2


class JsonLines:
    """Writes a trace of `machine` to `file`."""

    def __init__(self, file: IO[str], machine: Machine) -> None:
        self._file, self._machine = file, machine
        memory = machine.memory
        self._write({"kind": "trace", "version": VERSION, "ram": [hex(memory.base), hex(memory.end)]})
        self._write(snapshot(machine))

    def _write(self, row: Plain) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")

    def event(self, event: Event) -> None:
        """One more event."""
        self._write(of_event(event))
        if event.kind == "restore":
            self._write(snapshot(self._machine))

    def end(self, events: int) -> None:
        """End the trace."""
        self._write({"kind": "end", "events": events})


def read(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a trace; an incomplete last line is left out.

    Raises PltvmError if it is no trace, or has another version.
    """
    torn = None
    for number, line in enumerate(lines, 1):
        if torn is not None:
            raise PltvmError(f"line {torn} of the trace is not JSON")
        try:
            row = json.loads(line)
            kind = row["kind"]
        except (ValueError, TypeError, KeyError, RecursionError):
            torn = number
            if number == 1:
                raise PltvmError("not a trace of pltvm: write one with --trace FILE.jsonl") from None
            continue
        if number == 1 and (kind, row.get("version")) != ("trace", VERSION):
            version = one_line(str(row.get("version")))
            raise PltvmError(f"not a trace of version {VERSION} ({one_line(str(kind))}, version {version})")
        yield row
