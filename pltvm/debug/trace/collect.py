"""Traces a machine: watches it, and has each event written when it happens.

    with tracing(machine, "run.jsonl"):
        enclave.run()

Written events are kept however the run ends, and memory use does not grow. The same run gives the same bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from pltvm.debug.trace.jsonl import JsonLines
from pltvm.debug.trace.perfetto import Perfetto
from pltvm.debug.trace.text import Text
from pltvm.errors import ArgumentError
from pltvm.host.plain_file import writing
from pltvm.machine import Machine
from pltvm.view.events import Event


class Writer(Protocol):
    """Writes a trace in one format."""

    def event(self, event: Event) -> None:
        """One more event."""

    def end(self, events: int) -> None:
        """End the trace after so many events."""


FORMATS: Final[dict[str, Callable[[IO[str], Machine], Writer]]] = {
    "text": Text,
    "jsonl": JsonLines,
    "perfetto": Perfetto,
}
EXTENSIONS: Final = {".txt": "text", ".jsonl": "jsonl", ".json": "perfetto"}


def format_of(path: Path, wanted: str | None = None) -> str:
    """Return the format of a trace: `wanted`, or by the file's name. Raises ArgumentError."""
    if wanted is None:
        found = EXTENSIONS.get(path.suffix.lower())
        if found is None:
            known = ", ".join(EXTENSIONS)
            raise ArgumentError(f"--trace {path}: its name ends with none of {known}: give --trace-format")
        return found
    if wanted not in FORMATS:
        raise ArgumentError(f"--trace-format {wanted}: write one of {', '.join(FORMATS)}")
    return wanted


class TraceFile:
    """A file for a trace in this format ("text", "jsonl", "perfetto"), by default that of its name.

    It is made, or emptied, here, as that would not be possible behind the wall. Raises ArgumentError, and
    PltvmError if it cannot be written.
    """

    def __init__(self, path: str | Path, wanted: str | None = None) -> None:
        self._path = Path(path)
        self._format = format_of(self._path, wanted)
        with writing(self._path):
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

    @contextmanager
    def of(self, machine: Machine) -> Iterator[None]:
        """Trace the events of `machine` in this context, and close the file.

        An error in writing ends the run with a PltvmError.
        """
        count = 0

        def event(one: Event) -> None:
            nonlocal count
            with writing(self._path):
                writer.event(one)
            count += 1

        try:
            with writing(self._path):
                writer = FORMATS[self._format](self._file, machine)
            with machine.watch(on_event=event):
                yield
        finally:
            with writing(self._path), self._file:
                writer.end(count)


def tracing(machine: Machine, path: str | Path, wanted: str | None = None) -> AbstractContextManager[None]:
    """Trace the events in this context to a new file; see TraceFile."""
    return TraceFile(path, wanted).of(machine)
