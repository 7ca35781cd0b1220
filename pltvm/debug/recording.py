"""Records and replays runs: inputs from outside are recorded, or given again, and traps are compared.

    Recording    around a run: packs its inputs, its log of traps, and checksums of its output
    Replay       around the same run in another process: ends it at the first trap that differs

Both have the same interface for the command: `options` for a host program, `running` around the run.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pltvm.debug.packed import Case, Ending, Packed, checksum, pack
from pltvm.engine.trap import Cause
from pltvm.errors import PltvmError
from pltvm.host.plain_file import writing
from pltvm.host.text import one_line
from pltvm.machine import Machine
from pltvm.monitor.abi import Call, Ocall
from pltvm.monitor.log import HOST, Differs, Trap, TrapLog

if TYPE_CHECKING:
    from pltvm.debug.rooted import Finder


class Tape(Protocol):
    """The common interface of both for commands."""

    def options(self, machine: Machine) -> dict[str, Any]:
        """Return additional options of a host program."""

    def running(self, machine: Machine | None) -> AbstractContextManager[None]:
        """Context manager around the run and its messages."""

    def finish(self, status: int) -> str:
        """Handle the end of the run with this exit status; return a line for the user, or "". Raises
        PltvmError."""


class DiffersError(PltvmError):
    """A replay differs from the recording; the message says where."""


class Stopped(PltvmError):
    """A replay was stopped, or reached the place where the recorded run was: no difference up to there."""


class _Noted(io.BufferedIOBase):
    """Passes bytes on, and keeps their checksum."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.checksum = stream, checksum(b"")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.checksum = checksum(data, self.checksum)
        self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())


class Heard:
    """Checksums of what this process writes to standard output and error in `hearing`."""

    def __init__(self) -> None:
        self.stdout = self.stderr = ""

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Note output in this context."""
        before = sys.stdout, sys.stderr
        noted = []
        for stream in before:
            stream.flush()
            noted.append(_Noted(stream.buffer))
        sys.stdout, sys.stderr = map(_text, noted, before)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            sys.stdout, sys.stderr = before
            self.stdout, self.stderr = (one.checksum for one in noted)


def _text(noted: Any, like: TextIO) -> TextIO:
    return io.TextIOWrapper(noted, encoding=like.encoding, errors=like.errors, write_through=True)


class Recording:
    """Records a run, `case`, to a file, which is made now, as it could not be made behind the wall.

    Raises PltvmError for a file that cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], case: Case) -> None:
        self._path, self._case = Path(path), case
        self._finder = _finder() if case.kind == "host" else None
        self._heard = Heard()
        self._log: TrapLog | None = None
        with writing(self._path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def options(self, machine: Machine) -> dict[str, Any]:
        """Return options of the host program that record its input and the files that it finds."""
        assert self._finder is not None
        terminals = os.isatty(0), os.isatty(1), os.isatty(2)
        self._case.options["terminals"] = list(terminals)
        return {"source": self._reader(machine), "terminals": terminals, "files": self._finder.watch}

    def _reader(self, machine: Machine) -> Callable[[int], bytes]:
        def read(size: int) -> bytes:
            machine.hart.halt.wait(descriptor=0)
            part = os.read(0, size)
            self._case.stdin.append(part)
            return part

        return read

    @contextmanager
    def running(self, machine: Machine | None) -> Iterator[None]:
        """Record in this context; without a machine only the messages."""
        if machine is not None:
            self._log = TrapLog(machine.monitor.state)
        with self._heard.hearing():
            yield

    def finish(self, status: int) -> str:
        """Write the file after the run has ended with this exit status; return a line about it."""
        log, case = self._log, self._case
        if self._finder is not None:
            if self._finder.problem:
                raise PltvmError(f"{self._path}: not recorded: {self._finder.problem}")
            case.tree, case.contents = self._finder.table(), self._finder.contents
        traps = (0, 0, 0, False, b"") if log is None else log.all()
        ending = Ending(status, self._heard.stdout, self._heard.stderr, *traps)
        data = pack(case, ending)
        with writing(self._path):
            os.ftruncate(self._file, 0)
            with open(self._file, "wb") as file:
                file.write(data)
        return f"recorded {f'{log.count} traps' if log is not None else 'it'} in {self._path}"


class _Input:
    """The recorded input, read by read; it can be restored to an earlier read."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts, self.position = parts, 0

    def __call__(self, size: int) -> bytes:
        part = self._parts[self.position][:size] if self.position < len(self._parts) else b""
        self.position += 1
        return part


def _finder() -> "Finder":
    from pltvm.debug.rooted import Finder  # it imports much of Linux

    return Finder()


def _made_again(case: Case, root: Path) -> "Callable[..., None]":
    from pltvm.debug.rooted import make_again

    return make_again(case.tree, case.contents, root)


class Replay:
    """Replays a recording. `root` is an empty folder for the files of a host program.

    Without `compares` nothing is compared: a debugger may change the state, and go back.
    """

    def __init__(self, packed: Packed, root: Path | None = None, compares: bool = True) -> None:
        self._packed, self._heard, self._compares = packed, Heard(), compares
        self._log: TrapLog | None = None
        self._machine: Machine | None = None
        case = packed.case
        self._tell = _made_again(case, root) if root is not None else None

    def options(self, _machine: Machine) -> dict[str, Any]:
        """Return options of the host program with the recorded input and files."""
        terminals = tuple(bool(one) for one in self._packed.case.options["terminals"])
        return {
            "source": _Input(self._packed.case.stdin),
            "terminals": terminals,
            "files": self._tell,
            "image": self._packed.case.elves[0],
        }

    @contextmanager
    def running(self, machine: Machine | None) -> Iterator[None]:
        """Replay in this context. Raises DiffersError, Stopped."""
        ending, self._machine = self._packed.ending, machine
        if not self._compares:
            yield
            return
        if machine is not None:
            self._log = TrapLog(machine.monitor.state, (ending.rows, ending.mask, ending.traps))
        try:
            with self._heard.hearing():
                yield
        except Differs as found:
            raise self._said(found) from None

    def _said(self, found: Differs) -> PltvmError:
        ending, now, expected, name = self._packed.ending, found.now, found.expected, self._packed.name
        if ending.stopped and now.number == ending.traps:
            return Stopped(f"{name}: the recorded run was stopped here; up to here all is the same")
        which = f"trap {now.number}" if not ending.mask else f"a trap from {found.since + 1} to {now.number}"
        was = self._words(expected) if expected is not None else f"there were {ending.count} traps"
        is_now = self._words(now)
        if was == is_now:
            is_now = "the same call, with other registers, at another time, or with another text"
        return DiffersError(f"{name}: differs first at {which}: recorded: {was}; now: {is_now}")

    def _words(self, trap: Trap) -> str:
        """Describe a trap, with its place."""
        assert self._machine is not None
        driver = self._machine.driver
        enclave = driver.table.of_eid(trap.who) if trap.who != HOST else None
        if enclave is not None:
            who = enclave.label
            pc = trap.pc - 4 if trap.cause == Cause.ECALL_U else trap.pc
            where = str(enclave.symbols.locate(pc)) if enclave.symbols is not None else f"{pc:#x}"
        else:
            who, where = "the host program" if trap.who == HOST else f"enclave {trap.who}", f"{trap.pc:#x}"
        return one_line(f"{_what(trap)} of {who} at {where}")

    def finish(self, status: int) -> str:
        """Compare the end of the run, with this exit status. Raises DiffersError."""
        if not self._compares:
            return ""
        ending, log, name = self._packed.ending, self._log, self._packed.name
        if log is not None and log.stopped:
            so_far = f"{log.count} of {ending.count} traps"
            raise Stopped(f"{name}: stopped after {so_far}; up to here all is the same")
        if log is not None and (log.count, log.sum) != (ending.count, ending.sum):
            if log.count == ending.count or ending.mask:
                at = f"one of its last {ending.mask + 1} traps"
                raise DiffersError(f"{name}: differs in {at}: it ended after {log.count} of {ending.count}")
            raise DiffersError(f"{name}: differs first at trap {log.count}: the run has ended before it")
        for what, was, now in (
            ("standard output", ending.stdout, self._heard.stdout),
            ("standard error", ending.stderr, self._heard.stderr),
            ("exit status", ending.status, status),
        ):
            if was != now:
                raise DiffersError(
                    f"{name}: {'all traps are the same, and ' if log else ''}{what} is not the same"
                )
        return ""


def _what(trap: Trap) -> str:
    cause = trap.cause - 0x1_0000 if trap.cause & 0x8000 else trap.cause
    if cause != Cause.ECALL_U:
        return Cause(cause).text
    if trap.who == HOST:
        from pltvm.host.linux.names import name_of_call

        return f"system call {name_of_call(trap.a7)}"
    with suppress(ValueError):
        if trap.a7 == Call.OCALL:
            return f"ocall {Ocall(trap.a0).name.lower()}"
        return f"call {Call(trap.a7).name.lower()}"
    return f"call {trap.a7:#x}"
