"""Additions to a run: --record, --record-run, --cov, --trace and --gdb; and those of other commands.

Each is made before the process is confined, when files and sockets can still be made, and is active around
the run. Modules for unused ones are not imported.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from pltvm.cli.covered import covered, folders_of
from pltvm.cli.debugger import Door, attached, door
from pltvm.cli.streams import say
from pltvm.errors import ArgumentError, ElfError
from pltvm.host.elf_headers import name_of, read_source
from pltvm.host.plain_file import read_plain
from pltvm.host.text import one_line
from pltvm.machine import Machine

if TYPE_CHECKING:
    from pltvm.debug.recording import Tape

Around = Callable[[Machine], AbstractContextManager[Any]]

ADDED: Final = "pltvm.beside"  # in click's `meta`: additions of another command that runs `run`


@dataclass(slots=True)
class Beside:
    """All additions to one run. `added` are active from the creation of the machine, the others around the
    run.

    Raises ArgumentError, or PltvmError if something is not available.
    """

    file: str
    record: Path | None = None
    cov: Path | None = None
    tape: "Tape | None" = None
    kernel: bool = False
    debugger: Door | None = None
    history: int = 0  # size of the debugger's history in bytes
    added: list[Around] = field(default_factory=list)

    @classmethod
    def given(
        cls, ctx: typer.Context, file: str, trace: Path | None, trace_format: str | None, gdb: str | None,
        **others: Any,
    ) -> "Beside":  # fmt: skip
        """Return the additions of a command line: makes their files, and the debugger's socket."""
        added: list[Around] = list(ctx.meta.get(ADDED, ()))
        if trace is not None:
            from pltvm.debug.trace.collect import TraceFile

            added.append(TraceFile(trace, trace_format).of)
        elif trace_format is not None:
            raise ArgumentError("--trace-format: it is for --trace FILE, which is missing")
        return cls(file, debugger=door(gdb), added=added, **others)

    @property
    def folders(self) -> list[Path]:
        """Return the folders written to behind the wall, besides that of `record`."""
        return folders_of(self.cov)

    @contextmanager
    def making(self, machine: Machine) -> Iterator[None]:
        """Context manager around all use of a machine, including creation of enclaves."""
        with ExitStack() as stack:
            for around in self.added:
                stack.enter_context(around(machine))
            yield

    @contextmanager
    def running(self, machine: Machine) -> Iterator[None]:
        """Context manager around the run."""
        with ExitStack() as stack:
            if self.record is not None:
                from pltvm.fuzz.record import recording

                stack.enter_context(recording(machine, self.record, say))
            stack.enter_context(covered(machine, self.cov))
            stack.enter_context(attached(machine, self.debugger, self.file, self.kernel, self.history))
            stack.enter_context(taped(machine, self.tape))
            yield


@contextmanager
def taped(machine: Machine | None, tape: "Tape | None") -> Iterator[None]:
    """Context manager around a run that may be recorded or replayed."""
    if tape is None:
        yield
        return
    try:
        with tape.running(machine):
            yield
    except typer.Exit as end:
        if line := tape.finish(end.exit_code):
            say(one_line(line))
        raise


def tape_for(
    path: Path | None,
    kind: str,
    file: str,
    options: dict[str, Any],
    servers: Sequence[tuple[str, str]] = (),
    disk: Path | None = None,
    arguments: Sequence[str] = (),
    **given: bytes | None,
) -> "Tape | None":
    """Return a Recording to a file, if one is named; all files that it needs are read here."""
    if path is None:
        return None
    from pltvm.debug.packed import Case
    from pltvm.debug.recording import Recording

    elves, others = [], arguments if kind == "enclave" else ()
    for one in (file, *(elf for _, elf in servers), *others):
        try:
            elves.append(read_source(one))
        except ElfError as error:
            raise ElfError(f"{name_of(one)}: {error}") from None
    if disk is not None:
        given["disk"] = read_plain(disk) if disk.exists() else b""
    contents = {name: content for name, content in given.items() if content is not None}
    return Recording(path, Case(kind, file, elves, list(servers), list(arguments), options, contents))
