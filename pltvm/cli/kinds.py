"""Runs each kind of file for `pltvm run`: a kernel program, a host program, one enclave or several.

Each refuses options without an effect, prepares additions to the run, confines the process, and runs. All
raise typer.Exit with the exit status, and ArgumentError for invalid options.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from pltvm.cli.beside import ADDED, Beside, tape_for
from pltvm.cli.options import build_wall, file_or_text, is_given, parse_servers, refuse_given
from pltvm.cli.running import (
    Manner,
    create_all,
    hinting,
    kernel_machine,
    machine_of,
    print_output,
    run_enclave,
    run_host,
    run_kernel,
)
from pltvm.cli.several import Several, must_be_enclave, schedule_text
from pltvm.errors import ArgumentError
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import Decision, Kind

# in click's `meta`: the function for output of guests, set by a command that runs this
SHOW: Final = "pltvm.show"
# Options that are valid for only one kind of program.
_OF_HOSTS: Final = ("root", "real_time", "net", "verbose")
_OF_ENCLAVES: Final = ("server", "shm", "relay", "name", "stack_size")
_OF_TURNS: Final = ("callers", "quantum", "schedule", "races")
_NOT_RACED: Final = ("record_run", "gdb", "record", "cov", "trace", "disk")
# secrets, the outside world, other recordings
_NOT_RECORDED: Final = ("keys", "real_time", "net", "record", "gdb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The parsed command line: the fields have the names of the options of `pltvm run`."""

    ctx: typer.Context
    file: str
    args: list[str] | None
    server: list[str] | None
    shm: str | None
    relay: str | None
    name: str
    disk: Path | None
    ram: int
    stack_size: int
    keys: Path | None
    timeout: float | None
    as_kind: str | None
    supervisor: bool
    root: str
    real_time: bool
    net: bool
    record: Path | None
    cov: Path | None
    trace: Path | None
    trace_format: str | None
    record_run: Path | None
    gdb: str | None
    history: int
    callers: int | None
    quantum: int | None
    schedule: str | None
    races: bool
    verbose: bool
    exit_code: bool
    confine: bool
    json: bool

    def go(self, decision: Decision) -> NoReturn:
        """Run the file as its kind."""
        if self.record_run is not None:
            self._refuse("does not go with --record-run: see docs/recordings.md", *_NOT_RECORDED)
        if decision.kind is Kind.KERNEL:
            self._kernel(decision)
        if decision.kind is Kind.SERVER:
            load_image(self.file)  # raises where the file itself is bad
            raise ArgumentError(
                f"{self.file}: a server runs when an enclave calls it: "
                f"pltvm run CALLER --server NAME={self.file}"
            )
        if decision.kind is Kind.LINUX_PROGRAM:
            self._host(decision)
        self._enclaves(decision)

    def _kernel(self, decision: Decision) -> NoReturn:
        file = self.file
        self._refuse("is for enclaves and hosts, not for a kernel program", *_OF_ENCLAVES, *_OF_HOSTS)
        self._refuse("does nothing for a kernel program", "disk", "keys", "cov", *_OF_TURNS)
        if ADDED in self.ctx.meta:
            why = "this command is for enclaves and host programs"
            raise ArgumentError(f"{file}: is a kernel program; {why}")
        if self.args:
            raise ArgumentError(f"{file}: is a kernel program and takes no arguments ({self.args[0]!r})")
        tape = tape_for(self.record_run, "kernel", file, self._options)
        machine, beside = kernel_machine(self.ram), self._beside(tape, kernel=True)
        build_wall(self.confine, [file], folder=self.record)
        with beside.making(machine), beside.running(machine):
            run_kernel(file, file, machine, self._manner, decision)

    def _host(self, decision: Decision) -> NoReturn:
        import pltvm.host.linux.runner  # noqa: F401  # before the wall, or its modules are compiled each time

        file, args = self.file, self.args or []
        why = f"is for enclaves; {name_of(file)} is a host program, which makes its enclaves and their memory"
        self._refuse(why, *_OF_ENCLAVES)
        self._refuse("is for enclaves: a host program runs as many as it likes", "callers")
        self._refuse("is for enclaves: for a host program there is pltvm explore --races", "races")
        shared = Several(quantum=self.quantum, schedule=schedule_text(self.schedule))
        self._refuse("is for others: the status of a host program is always its own", "exit_code")
        turns = {"schedule": shared.schedule, "quantum": self.quantum}
        options = self._options | {"verbose": self.verbose} | turns
        tape = tape_for(self.record_run, "host", file, options, arguments=args, disk=self.disk)
        machine, beside = machine_of(self.ram, self.keys, self.disk), self._beside(tape)
        build_wall(
            self.confine, [file], beside.folders,
            folder=self.record, file=self.disk, links=[self.root], network=self.net,
        )  # fmt: skip
        with beside.making(machine), beside.running(machine):
            given: dict[str, Any] = {"real_time": self.real_time, "net": self.net} | turns
            given |= tape.options(machine) if tape is not None else {}
            run_host(
                file, args, machine, self._manner, decision, root=self.root, verbose=self.verbose, **given
            )

    def _enclaves(self, decision: Decision) -> NoReturn:
        file, others, has_disk = self.file, self._others(decision), self.disk is not None
        text = schedule_text(self.schedule)
        several = Several(self.callers, self.quantum, text, [(one, one) for one in others], self.races)
        if any(is_given(self.ctx, name) for name in _OF_HOSTS):
            self._must_be_sound(decision)
            self._refuse(f"is for host programs; {name_of(file)} is an enclave", *_OF_HOSTS)
        shm, relay = file_or_text("--shm", self.shm), file_or_text("--relay", self.relay)
        servers = parse_servers(self.server or [])
        options = self._options | {"name": self.name, "stack_size": self.stack_size}
        if self.races and not others and (self.callers or 1) == 1:
            raise ArgumentError(
                "--races compares enclaves that run at once: name several, or add --callers N"
            )
        if several.wanted:
            self._refuse("names one enclave, and here are several", "name")
            self._refuse("looks at a run twice: leave out --races", *(_NOT_RACED if self.races else ()))
            options |= {"callers": self.callers, "quantum": self.quantum, "schedule": several.schedule}
        tape = tape_for(
            self.record_run, "enclave", file, options, servers, self.disk, others, shm=shm, relay=relay
        )
        machine, beside = machine_of(self.ram, self.keys, self.disk), self._beside(tape)
        files = [file, *(elf for _, elf in servers), *others]
        build_wall(self.confine, files, beside.folders, folder=self.record, file=self.disk)
        given = (servers, shm, relay, has_disk)
        with beside.making(machine):
            if several.wanted:
                enclaves = several.create(machine, file, file, decision, *given, self.stack_size)
                with beside.running(machine):
                    several.run(machine, enclaves, self._manner)
            enclave = create_all(machine, file, decision, *given, self.name, self.stack_size)
            with beside.running(machine):
                run_enclave(machine, enclave, self._manner, decision)

    def _others(self, decision: Decision) -> list[str]:
        """Return further enclaves, which are in the place of a host program's arguments."""
        others = self.args or []
        no_file = next((one for one in others if not os.path.isfile(one)), None)
        if no_file is not None:
            self._must_be_sound(decision)
            if no_file.endswith(".elf"):
                why = f"it would run beside {self.file}, as an enclave takes no arguments"
                raise ArgumentError(f"{no_file}: no such file ({why})")
            raise ArgumentError(
                f"{self.file}: is an enclave and takes no arguments ({no_file!r}): see --shm, --relay"
            )
        for one in others:
            must_be_enclave(one)
        return others

    def _must_be_sound(self, decision: Decision) -> None:
        """Raise ElfError if the file itself is bad, which matters more than what does not suit it."""
        with hinting(decision):
            load_image(self.file)

    def _refuse(self, why: str, *names: str) -> None:
        refuse_given(self.ctx, why, *names)

    def _beside(self, tape: Any, kernel: bool = False) -> Beside:
        return Beside.given(
            self.ctx, self.file, self.trace, self.trace_format, self.gdb,
            record=self.record, cov=self.cov, history=self.history, tape=tape, kernel=kernel,
        )  # fmt: skip

    @property
    def _manner(self) -> Manner:
        return Manner(self.timeout, self.json, self.exit_code, self.ctx.meta.get(SHOW, print_output))

    @property
    def _options(self) -> dict[str, Any]:
        """Return the options that a recording stores for every kind of run."""
        return {
            "ram": self.ram, "timeout": self.timeout, "json": self.json, "exit_code": self.exit_code,
            "as": self.as_kind,
        }  # fmt: skip
