"""Runs a Linux host program from start to end: for `pltvm run ./test-caller …`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

from pltvm.errors import AccessFault, ElfError, PltvmError, SnapshotError
from pltvm.host.driver import Driver
from pltvm.host.elf_headers import name_of, read_source
from pltvm.host.interrupts import Watch
from pltvm.host.kernel import SavedProgram
from pltvm.host.linux import life
from pltvm.host.linux.calls import SYSTEM_CALLS
from pltvm.host.linux.device import EnclaveDevice, SavedDevice
from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.files.console import Rewindable
from pltvm.host.linux.fs.filesystem import FileSystem
from pltvm.host.linux.names import name_of_call
from pltvm.host.linux.process import Thread
from pltvm.host.linux.requests import PATH, FailedRequest
from pltvm.host.linux.start_stack import DEFAULT_ENVIRONMENT
from pltvm.host.linux.system import OTHERS, SavedSystem, Settings, System
from pltvm.host.linux.traps import Traps
from pltvm.host.output import Output, OutputState, of_caller, passed_on
from pltvm.host.report import FaultReport
from pltvm.host.schedule import policy_of, shown

# Standard input: a function that gets the largest number of bytes to return and may be a `Rewindable`, or a
# # file descriptor.
Source = Callable[[int], bytes] | int


@dataclass(frozen=True, slots=True)
class LinuxResult:
    """How a host program ended.

    `exit_code` is as in a shell. `end` says what ended it if it did not exit by itself, else "". `output` is
    what it and its enclaves printed, `errors` what it wrote to stderr. `faults` are those of its enclaves
    that were destroyed. `missing` counts its system calls that are not offered, by number (−1: all numbers
    after the first 1024); `refused` counts, by name, the unsupported options of other system calls.
    `failed_requests` are the first failed requests to the enclave device, `failures` their counts. `bugs`
    counts internal errors in serving it, which `end` then describes. `reports` are lines about its children
    that were killed. `schedule` repeats the turns of its threads, if a policy decided them.
    """

    exit_code: int
    end: str
    output: bytes
    faults: tuple[FaultReport, ...]
    missing: dict[int, int]
    timed_out: bool = False
    bugs: int = 0
    errors: bytes = b""
    failed_requests: tuple[FailedRequest, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    reports: tuple[str, ...] = ()
    schedule: str = ""

    def not_offered(self) -> list[str]:
        """The names of the system calls that it made and that are not, or not fully, offered."""
        names = [name_of_call(number) for number in sorted(self.missing) if number >= 0]
        return [*names, *(["others"] if OTHERS in self.missing else []), *sorted(self.refused)]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        return {
            "exit_code": self.exit_code,
            "end": self.end,
            "output": self.output.decode("utf-8", "replace"),
            "errors": self.errors.decode("utf-8", "replace"),
            "faults": [fault.to_dict() for fault in self.faults],
            "missing_system_calls": self.missing,
            "refused": self.refused,
            "timed_out": self.timed_out,
            "bugs": self.bugs,
            "failed_requests": self.failures,
            "reports": list(self.reports),
            "schedule": self.schedule,
        }


@dataclass(slots=True)
class SavedLinux:
    """The saved state of a program: its system and device, its output, faults of its enclaves."""

    system: SavedSystem
    device: SavedDevice
    output: OutputState
    errors: OutputState
    faults: list[FaultReport]

    def blocks(self) -> Iterable[int]:
        """The blocks that it has taken directly from the kernel."""
        return self.system.blocks()


class Options(TypedDict, total=False):
    """Options of a program's run.

    It sees only files beneath `root`. `on_output` and `on_error` get what it writes, when it is written;
    `on_fault` gets each fault. `source` is its standard input: a function that gets the largest number of
    bytes to return, or a file descriptor; only reads of a descriptor cannot delay the end of the run. With
    `real_time` or `net` its clock is that of the machine outside; with `net` its Internet sockets are real.
    `seed` determines its random numbers. `environment` replaces the short default one. `on_call` gets a line
    for each system call. `terminals` says whether input, output and errors are terminals outside. `files`
    gets the file system before any file is looked up in it, and `image` is the program itself, in place of
    its file. `schedule` and `quantum` decide the turns of its threads, as for `Machine.run_together`, with
    numbers of threads in place of chains. Errors raised by these functions reach the caller.
    """

    root: str | os.PathLike[str]
    on_output: Callable[[bytes], None] | None
    on_error: Callable[[bytes], None] | None
    on_fault: Callable[[FaultReport], None] | None
    source: Source
    real_time: bool
    net: bool
    seed: int
    environment: Mapping[str, str] | None
    on_call: Callable[[str], None] | None
    terminals: tuple[bool, bool, bool]
    files: Callable[[FileSystem], None] | None
    image: bytes | None
    schedule: str | int | None
    quantum: int | None


class LinuxProgram:
    """One program on the machine of `driver`: first `start` it or give `saved`, then `run` it, once."""

    def __init__(self, driver: Driver, options: Options, saved: SavedLinux | None = None) -> None:
        folder = Path(options.get("root", "."))
        if not folder.is_dir():
            raise PltvmError(f"{folder}: is not a folder, so it cannot be a program's root (--root)")
        if driver.kernel.state.waiting is not None and saved is None:
            raise PltvmError("a Linux program waits to be resumed: only one has the machine")
        source = options.get("source", lambda _size: b"")
        self._driver = driver
        given = options.get("environment")
        self._variables = (
            DEFAULT_ENVIRONMENT if given is None else [os.fsencode(f"{k}={v}") for k, v in given.items()]
        )
        self._on_fault = options.get("on_fault")
        self._output, self._errors = Output(options.get("on_output")), Output(options.get("on_error"))
        self._faults: list[FaultReport] = []
        settings: Settings = {
            "root": folder,
            "output": self._output.write,
            "errors": self._errors.write,
            "source": self._input(source),
            "real_time": options.get("real_time", False),
            "net": options.get("net", False),
            "seed": options.get("seed", 0),
            "terminals": options.get("terminals", (False, False, False)),
        }
        if isinstance(source, int):
            settings["descriptor"] = source
        self._system = System(driver.kernel, settings, saved.system if saved is not None else None)
        schedule, quantum = options.get("schedule"), options.get("quantum")
        if schedule is not None or quantum is not None:
            self._system.scheduler.share(policy_of(schedule, quantum))
        if files := options.get("files"):
            files(self._system.fs)
        trace = options.get("on_call")
        self._traps = Traps(self._system, of_caller(trace) if trace is not None else None)
        self._device = EnclaveDevice(self._system, driver, self._output.write, self._note_fault)
        self._device.late = self._output.late
        self._system.add_node(PATH, lambda ready, flags: EnclaveFile(self._device, ready, flags))
        if saved is not None:
            try:
                self.check(saved)
            except SnapshotError:
                self._system.objects.frames.let_go()
                raise
            self._load(saved)

    def _input(self, source: Source) -> Callable[[int], bytes]:
        if isinstance(source, int):
            return self._reader(source)
        return source if isinstance(source, Rewindable) else of_caller(source)

    def _reader(self, descriptor: int) -> Callable[[int], bytes]:
        """Return a function that reads a descriptor of this process without delaying the end of the run."""

        def read(size: int) -> bytes:
            self._system.hart.halt.wait(descriptor=descriptor)
            return os.read(descriptor, size)

        return read

    def start(self, data: bytes, arguments: Sequence[bytes]) -> None:
        """Load the program; as `life.start`."""
        life.start(self._system, data, arguments, self._variables)

    @property
    def system(self) -> System:
        """Its processes and everything that they share."""
        return self._system

    def _note_fault(self, report: FaultReport) -> None:
        self._faults.append(report)
        if self._on_fault is not None:
            of_caller(self._on_fault)(report)

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedLinux:
        """Return a copy of the state, with that of its parts; raises SnapshotError."""
        faults = list(self._faults)
        output, errors = self._output.save(), self._errors.save()
        return SavedLinux(self._system.save(), self._device.save(), output, errors, faults)

    def check(self, saved: SavedProgram | None) -> None:
        """Raises SnapshotError for a file that cannot be restored."""
        if isinstance(saved, SavedLinux):
            self._system.check(saved.system)

    def load(self, saved: SavedProgram | None) -> None:
        """Restore the state, after `check`; None: it was not running at the snapshot, so its run is over."""
        if isinstance(saved, SavedLinux):
            self._load(saved)
        else:
            self._system.forget()

    def _load(self, saved: SavedLinux) -> None:
        self._system.load(saved.system)
        self._device.load(saved.device)
        self._output.load(saved.output)
        self._errors.load(saved.errors)
        self._faults = list(saved.faults)

    def go_on(self) -> bool:
        """After `load` in a callback, let the thread that had the hart go on; False if the run is over."""
        return self._traps.go_on_from_here()

    def changed_since(self, saved: SavedProgram | None) -> bool:
        """Whether it has changed files of the host since, which cannot be undone."""
        return isinstance(saved, SavedLinux) and self._system.fs.changed_since(saved.system.disk)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Suppress its output, and reports about it, in this context."""
        on_fault, self._on_fault = self._on_fault, None
        try:
            with self._output.silent(), self._errors.silent(), self._traps.silent():
                yield
        finally:
            self._on_fault = on_fault

    # -- looked at from outside ----------------------------------------------------------------------------

    def who(self) -> tuple[int, str]:
        """Return the thread that has the hart, or that runs the enclave which has it."""
        thread = self._system.scheduler.current
        if thread is None:
            return 0, "host"
        return thread.tid, name_of(os.path.basename(os.fsdecode(thread.process.state.name)))

    def location(self, pc: int) -> str:
        """Return the source location of `pc` in that thread's program."""
        thread = self._system.scheduler.current
        return thread.location(pc) if thread is not None else f"{pc:#x}"

    def name_of_call(self, number: int) -> str:
        """Return the name of this system call."""
        call = SYSTEM_CALLS.get(number)
        return call.name if call is not None else name_of_call(number)

    # -- running -----------------------------------------------------------------------------------------

    @property
    def thread(self) -> Thread | None:
        """The thread that has the hart."""
        return self._system.scheduler.current

    def run(self, timeout: float | None) -> LinuxResult:
        """Run it to its end, or for `timeout` seconds, after which it is ended.

        Raises KeyboardInterrupt on Ctrl-C, and errors of the functions in its options.
        """
        driver, system, traps = self._driver, self._system, self._traps
        end = ""
        with passed_on(), Watch(driver.kernel.hart, timeout) as watch:
            driver.in_run, driver.kernel.program = True, self
            try:
                traps.run()
            except AccessFault as error:  # of the host kernel
                end = str(error)
            finally:
                driver.in_run, driver.kernel.program = False, None
        if watch.cancelled:
            raise KeyboardInterrupt
        state, status, turns = system.state, traps.status, system.scheduler.turns
        return LinuxResult(
            exit_code=1 if status is None or end or state.bugs else _exit_code(status),
            end=end or "".join(state.bugs[:1]) or (system.first.state.report if status is not None else ""),
            output=self._output.text,
            faults=tuple(self._faults),
            missing=dict(state.missing),
            timed_out=watch.timed_out and status is None,
            errors=self._errors.text,
            failed_requests=tuple(self._device.failures.kept),
            failures=dict(self._device.failures.counts),
            bugs=len(state.bugs),
            refused=dict(state.refused),
            reports=tuple(state.reports),
            schedule=shown(turns.state.steps) if turns is not None else "",
        )


def _exit_code(status: int) -> int:
    """Return the exit code as in a shell."""
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def run_program(
    driver: Driver,
    program: str | os.PathLike[str],
    arguments: Sequence[str] = (),
    *,
    timeout: float | None = None,
    **options: Unpack[Options],
) -> LinuxResult:
    """Run a RISC-V Linux program with `arguments`; see `Options`. Its interpreter, if any, is in the root.

    `timeout` is in seconds. Raises ElfError for a program that cannot run here, OutOfMemory,
    KeyboardInterrupt on Ctrl-C, and errors of the functions in its options.
    """
    names = [os.fsencode(os.fspath(program)), *(os.fsencode(one) for one in arguments)]
    running = LinuxProgram(driver, options)
    try:
        image = options.get("image")
        running.start(read_source(os.fspath(program)) if image is None else image, names)
    except ElfError as error:
        raise ElfError(f"{name_of(os.fspath(program))}: {error}") from None
    return running.run(timeout)


def resume_program(
    driver: Driver, *, timeout: float | None = None, **options: Unpack[Options]
) -> LinuxResult:
    """Go on with the program that was saved in a callback of its run; otherwise as `run_program`.

    Raises SnapshotError when there is none, or when a file that it had open has changed.
    """
    saved = driver.kernel.state.waiting
    if not isinstance(saved, SavedLinux):
        raise SnapshotError("no Linux program was running when the snapshot was taken")
    running = LinuxProgram(driver, options, saved)
    driver.kernel.state.waiting = None
    return running.run(timeout)
