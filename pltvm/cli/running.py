"""The common part of commands that run something: make a machine and its enclaves, run them, show the result.

`run_enclave`, `run_host` and `run_kernel` always exit with a status (typer.Exit).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from pltvm.cli.options import kind_of_server
from pltvm.cli.streams import print_error, print_json, say
from pltvm.cli.streams import print_output as print_at_once
from pltvm.cli.tables import say_report
from pltvm.errors import ElfError, PltvmError
from pltvm.host.api import FAULTED, INTERRUPTED, RELAY_RETURNED, WAITING, Enclave
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.elf_kind import Decision
from pltvm.host.output import MayBeLate
from pltvm.host.report import FaultReport
from pltvm.host.services import SECTOR
from pltvm.host.shared import SharedMemory
from pltvm.host.text import one_line
from pltvm.machine import DEFAULT_RAM, Machine

print_output = MayBeLate(print_at_once)

SUPERVISOR_RAM: Final = 64 << 20
# Exit statuses with --exit-code, if the program gave no value: those of a shell for a program that crashed
# (SIGSEGV) or was stopped by Ctrl-C (SIGINT), and that of timeout(1).
_CRASHED, _TOO_LATE, _CTRL_C = 139, 124, 130
_STATUSES: Final = {FAULTED: _CRASHED, INTERRUPTED: _TOO_LATE}
HOW_TO_GIVE: Final = " (--server NAME=ELF)"


@dataclass(frozen=True, slots=True)
class Manner:
    """Options for running and showing.

    Time limit in seconds, JSON instead of text, the value as exit status; `show` gets output of guests.
    """

    limit: float | None = None
    as_json: bool = False
    exit_code: bool = False
    show: Callable[[bytes], None] = print_output

    @property
    def output(self) -> Callable[[bytes], None] | None:
        """Return the function for output of guests; None if it is in the JSON."""
        return None if self.as_json else self.show

    def stopped(self, name: str, *places: FaultReport | None) -> NoReturn:
        """Report that Ctrl-C ended the run of `name` at these places, and exit."""
        say(one_line(f"pltvm: {name}: stopped by Ctrl-C"))
        for place in places:
            _say_place(place)
        raise typer.Exit(_CTRL_C if self.exit_code else 1) from None

    def too_late(self, name: str) -> None:
        """Report that the time limit ended the run of `name`."""
        say(f"pltvm: {name}: still running after {self.limit:g} s (--timeout), stopped")


def machine_of(ram: int, keys: Path | None, disk: Path | None) -> Machine:
    """Make a machine with the keys of a file, which is made if necessary, or with the development keys."""
    if keys is None:
        return Machine(ram, disk=disk)
    from pltvm import keyfile

    return Machine(ram, disk=disk, keys=keyfile.load_or_create(keys))


def kernel_machine(ram: int) -> Machine:
    """Make a machine for a kernel program."""
    return Machine(SUPERVISOR_RAM if ram == DEFAULT_RAM else ram)  # all of RAM is mapped, page by page


@contextmanager
def hinting(decision: Decision) -> Iterator[None]:
    """Add the detected kind to errors about the file in this context, if it may be wrong."""
    try:
        yield
    except ElfError as error:
        hint = decision.hint()
        raise ElfError(f"{error} (it {hint})" if hint else str(error)) from None


def create_all(
    machine: Machine,
    elf: Source,
    decision: Decision,
    servers: Sequence[tuple[str, Source]],
    content: bytes | None,
    handed: bytes | None,
    has_disk: bool,
    name: str,
    stack_size: int,
) -> Enclave:
    """Create the servers that an enclave calls, by name, and then the enclave."""
    memory = create_servers(machine, servers, content, has_disk)
    with hinting(decision):
        return machine.create(elf, name=name, stack_size=stack_size, shm=memory, relay=handed)


def create_servers(
    machine: Machine, servers: Sequence[tuple[str, Source]], content: bytes | None, has_disk: bool
) -> SharedMemory | None:
    """Create the servers, by name; return the memory that their callers share with the host."""
    memory: SharedMemory | None = None
    if content is not None or has_disk:  # sectors are passed in it
        memory = machine.shm(content or SECTOR)
        machine.use_for_persistency(memory)
    for server_name, server in servers:
        shared = memory if has_disk else None  # servers share it only for sectors
        machine.create(server, shm=shared, **kind_of_server(server_name))
    return memory


def run_enclave(machine: Machine, enclave: Enclave, manner: Manner, decision: Decision) -> NoReturn:
    """Run an enclave, show how that ended, and exit with a status."""
    try:
        result = enclave.run(manner.limit, manner.output)
    except KeyboardInterrupt:
        for note in machine.driver.unknown_names.take().values():
            say(one_line(f"pltvm: {enclave.name}: {note}{HOW_TO_GIVE}"))
        manner.stopped(enclave.name, enclave.place)
    if manner.as_json:
        print_json(result.to_dict())
    else:
        for note in result.notes:
            say(one_line(f"pltvm: {enclave.name}: {note}{HOW_TO_GIVE}"))
        if result.fault is not None:
            say_report(result.fault)
            _say_hint(enclave.name, decision)
        elif result.ok:
            say(f"{enclave.name} returned {result.retval}")
        elif result.status == WAITING:
            say(f"pltvm: {enclave.name}: waits for a server that is busy: stopped")
        elif result.status == RELAY_RETURNED:
            say(f"pltvm: {enclave.name}: has returned its relay pages and waits for new ones: stopped")
        else:
            manner.too_late(enclave.name)
            _say_place(result.place)
    say_what_is_lost(machine)
    if manner.exit_code and result.retval is not None:
        raise typer.Exit(result.retval & 0xFF)
    if manner.exit_code and result.status in _STATUSES:
        raise typer.Exit(_STATUSES[result.status])
    raise typer.Exit(0 if result.ok else 1)


def run_kernel(file: str, elf: Source, machine: Machine, manner: Manner, decision: Decision) -> NoReturn:
    """Run a kernel program in S-mode, and exit with a status."""
    with hinting(decision):
        try:
            result = machine.supervise(elf, on_output=manner.output, timeout=manner.limit)
        except KeyboardInterrupt:
            manner.stopped(file)
    if manner.as_json:
        print_json(result.to_dict())
    elif result.timed_out:
        manner.too_late(file)
        say(one_line(f"  in {result.where}"))
    elif result.code is None:
        say(one_line(f"pltvm: {name_of(file)}: stopped: {result.end}"))
        _say_hint(file, decision)
    else:
        say(f"{name_of(file)} ended with {result.code}")
    if manner.exit_code:
        missing = _TOO_LATE if result.timed_out else _CRASHED
        raise typer.Exit(missing if result.code is None else result.code & 0xFF)
    raise typer.Exit(0 if result.code == 0 else 1)


def run_host(
    file: str,
    arguments: list[str],
    machine: Machine,
    manner: Manner,
    decision: Decision,
    *,
    root: str,
    verbose: bool,
    **options: Any,
) -> NoReturn:
    """Run a Linux host program, and exit with its status; options as for `run_program`."""
    from pltvm.host.linux.runner import run_program

    given: dict[str, Any] = {"source": 0, "terminals": (os.isatty(0), os.isatty(1), os.isatty(2))} | options
    try:
        with hinting(decision):
            result = run_program(
                machine.driver,
                file,
                arguments,
                root=root,
                on_output=manner.output,
                on_error=None if manner.as_json else print_error,
                on_fault=None if manner.as_json else say_report,
                timeout=manner.limit,
                on_call=say if verbose else None,
                **given,
            )
    except KeyboardInterrupt:
        raise PltvmError(f"{file}: stopped by Ctrl-C") from None
    if manner.as_json:
        print_json(result.to_dict())
    if result.timed_out:
        manner.too_late(name_of(file))
    elif result.end:
        say(one_line(f"pltvm: {name_of(file)}: {result.end}"))
        _say_hint(file, decision)
    for note in machine.driver.unknown_names.take().values():
        say(one_line(f"pltvm: {name_of(file)}: {note}"))
    for report in result.reports:
        say(one_line(f"pltvm: {report}"))
    if refused := result.not_offered():
        say(f"pltvm: {name_of(file)}: not offered: {', '.join(refused)}")
    if verbose:
        for request in result.failed_requests:
            say(f"pltvm: {request}")
    elif result.failures:
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(result.failures.items()))
        say(f"pltvm: requests to the enclave device that failed: {counts}; -v tells more")
    say_what_is_lost(machine)
    raise typer.Exit(result.exit_code)


def _say_hint(file: str, decision: Decision) -> None:
    if hint := decision.hint():
        say(f"pltvm: {name_of(file)}: {hint}")


def _say_place(place: FaultReport | None) -> None:
    if place is not None:
        say(f"  in {place.place}")


def say_what_is_lost(machine: Machine) -> None:
    """Print a note if written sectors are lost."""
    if machine.driver.services.disk.is_lost:
        say("pltvm: sectors were written and are not kept: name a file for them (--disk)")
