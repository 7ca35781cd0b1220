"""Running a Linux host program from start to end: what `pltvm run ./test-caller …` does."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pltvm.errors import AccessFault, ElfError, PltvmError
from pltvm.host.driver import Driver
from pltvm.host.elf_headers import name_of, read_source
from pltvm.host.interrupts import Watch
from pltvm.host.linux.device import EnclaveDevice
from pltvm.host.linux.enclave_file import PATH, EnclaveFile
from pltvm.host.linux.files import Output as Terminal
from pltvm.host.linux.process import Process, Source
from pltvm.host.linux.requests import FailedRequest
from pltvm.host.output import Output, of_caller, passed_on
from pltvm.host.report import FaultReport


@dataclass(frozen=True, slots=True)
class LinuxResult:
    """How a host program ended.

    `exit_code` is as a shell gives it; `end` says what ended it when that was not its own doing, else "";
    `output` is what it and its enclaves printed, `errors` what it wrote to stderr; `faults` the enclaves that
    were destroyed for a fault; `missing` how often it made which system call that is not offered (−1: all
    numbers behind the first 1024); `failed_requests` the first requests to the enclave device that failed,
    `failures` how many of each; `bugs` is how often serving it went wrong as it never should, which `end`
    then tells.
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

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            "exit_code": self.exit_code,
            "end": self.end,
            "output": self.output.decode("utf-8", "replace"),
            "errors": self.errors.decode("utf-8", "replace"),
            "faults": [fault.to_dict() for fault in self.faults],
            "missing_system_calls": self.missing,
            "timed_out": self.timed_out,
            "bugs": self.bugs,
            "failed_requests": self.failures,
        }


def run_program(
    driver: Driver,
    program: str | os.PathLike[str],
    arguments: Sequence[str] = (),
    *,
    root: str | os.PathLike[str] = ".",
    on_output: Callable[[bytes], None] | None = None,
    on_error: Callable[[bytes], None] | None = None,
    on_fault: Callable[[FaultReport], None] | None = None,
    source: Source = lambda _size: b"",
    timeout: float | None = None,
    real_time: bool = False,
    seed: int = 0,
) -> LinuxResult:
    """Run a static RISC-V Linux program with `arguments`.

    It sees files beneath `root` only. `on_output` and `on_error` get what it writes as it comes. `source` is
    its standard input: a function of the most bytes wanted, or a file descriptor, which alone does not hold
    up the end of the run. `timeout` is in seconds. Raises ElfError for a program that cannot run here,
    OutOfMemory; KeyboardInterrupt on Ctrl-C; and what the functions given raise.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise PltvmError(f"{folder}: is no folder that a program could be given (--root)")
    output, errors = Output(on_output), Output(on_error)
    faults: list[FaultReport] = []

    def fault(report: FaultReport) -> None:
        faults.append(report)
        if on_fault is not None:
            of_caller(on_fault)(report)

    names = [os.fsencode(os.fspath(program)), *(os.fsencode(one) for one in arguments)]
    try:
        process = Process(
            driver.kernel,
            read_source(os.fspath(program)),
            names,
            root=folder,
            output=output.write,
            source=source if isinstance(source, int) else of_caller(source),
            real_time=real_time,
            seed=seed,
        )
    except ElfError as error:
        raise ElfError(f"{name_of(os.fspath(program))}: {error}") from None
    device = EnclaveDevice(process, driver, fault)
    process.files.devices[PATH] = lambda: EnclaveFile(device)
    process.files.put(2, Terminal(errors.write))
    with passed_on(), Watch(driver.kernel.hart, timeout) as watch:
        driver.in_run = True
        try:
            code = process.run()
        except AccessFault as error:  # of the host kernel
            code, process.end_report = 1, str(error)
        finally:
            driver.in_run = False
    if watch.cancelled:
        raise KeyboardInterrupt
    timed_out = watch.timed_out and process.exit_code is None
    return LinuxResult(
        exit_code=code,
        end=process.end_report,
        output=output.text,
        faults=tuple(faults),
        missing=dict(process.missing),
        timed_out=timed_out,
        errors=errors.text,
        failed_requests=tuple(device.failures.kept),
        failures=dict(device.failures.counts),
        bugs=len(process.bugs),
    )
