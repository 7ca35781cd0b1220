"""A trace of a machine: watches it, and has each event written as it comes.

    with tracing(machine, "run.jsonl"):
        enclave.run()

What was written stays whatever ends the run, and memory does not grow with it. The same run gives the same
bytes.
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
    """What writes a trace in one format."""

    def event(self, event: Event) -> None:
        """One more event."""

    def end(self, events: int) -> None:
        """That was all, so many events."""


FORMATS: Final[dict[str, Callable[[IO[str], Machine], Writer]]] = {
    "text": Text,
    "jsonl": JsonLines,
    "perfetto": Perfetto,
}
EXTENSIONS: Final = {".txt": "text", ".jsonl": "jsonl", ".json": "perfetto"}


def format_of(path: Path, wanted: str | None = None) -> str:
    """The format of a trace: the one that is wanted, or what the file's name says. Raises ArgumentError."""
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
    """A file for a trace in this format ("text", "jsonl", "perfetto"), else what its name says.

    It is made, or emptied, here: behind a wall around the process it could not be. Raises ArgumentError, and
    PltvmError where it cannot be written.
    """

    def __init__(self, path: str | Path, wanted: str | None = None) -> None:
        self._path = Path(path)
        self._format = format_of(self._path, wanted)
        with writing(self._path):
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

    @contextmanager
    def of(self, machine: Machine) -> Iterator[None]:
        """Trace what happens on `machine` in the block, and close the file.

        What cannot be written any more ends the run with a PltvmError.
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
    """Trace what happens in the block to a new file; see TraceFile."""
    return TraceFile(path, wanted).of(machine)
