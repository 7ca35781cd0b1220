"""The commands `pltvm run` and `pltvm demo`: enclaves with their servers, host programs, kernel programs."""

import json as json_format
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand

from pltvm.cli.options import (
    As,
    Confined,
    Json,
    KeyFile,
    Shm,
    Size,
    build_wall,
    check_name,
    check_stack,
    file_or_text,
    parse_kind,
    parse_servers,
    refuse_given,
)
from pltvm.cli.streams import print_error, say
from pltvm.cli.streams import print_output as print_at_once
from pltvm.errors import ArgumentError, ElfError, PltvmError
from pltvm.host.api import RELAY_RETURNED, Enclave
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import Decision, Kind, decide
from pltvm.host.output import MayBeLate
from pltvm.host.report import FaultReport
from pltvm.host.services import SECTOR
from pltvm.host.shared import SharedMemory
from pltvm.host.text import one_line
from pltvm.machine import DEFAULT_RAM, Machine
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType

print_output = MayBeLate(print_at_once)

SUPERVISOR_RAM: Final = 64 << 20
# Options that say something of one kind of program, by the others'.
_OF_HOSTS: Final = ("root", "real_time", "net", "verbose")
_OF_ENCLAVES: Final = ("server", "shm", "relay", "name", "stack_size")

app = typer.Typer(rich_markup_mode=None)


class RunCommand(TyperCommand):
    """`run`, which looks at FILE before it decides whose the rest of the command line is.

    What follows a host program belongs to it. An enclave takes no arguments, so options for pltvm may come
    before and after it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        rest = super().parse_args(ctx, list(args))
        found = ctx.params
        if found["args"] and _decide(**found).kind in (Kind.ENCLAVE, Kind.SERVER, Kind.KERNEL):
            ctx.allow_interspersed_args = True
            ctx.params.clear()
            rest = super().parse_args(ctx, list(args))
        return rest


def _decide(file: str, as_kind: str | None, supervisor: bool, **_: object) -> Decision:
    """What the file is: what the command line says, or else what it seems to be."""
    if as_kind is None:
        return Decision(Kind.KERNEL) if supervisor else decide(file)
    if supervisor and as_kind != Kind.KERNEL.value:
        raise ArgumentError(f"--as {as_kind}: and --supervisor says that it is a kernel program")
    return Decision(parse_kind(as_kind))


_HOW_TO_GIVE: Final = " (--server NAME=ELF)"


@contextmanager
def _hinting(decision: Decision) -> Iterator[None]:
    """Errors about the file say what it was taken for, if that may have been wrong."""
    try:
        yield
    except ElfError as error:
        hint = decision.hint()
        raise ElfError(f"{error} (it {hint})" if hint else str(error)) from None


def _say_hint(file: str, decision: Decision) -> None:
    if hint := decision.hint():
        say(f"pltvm: {name_of(file)}: {hint}")


def _say_place(place: FaultReport | None) -> None:
    if place is not None:
        say(f"  in {place.place}")


def _say_what_is_lost(machine: Machine) -> None:
    if machine.driver.services.disk.is_lost:
        say("pltvm: sectors were written and are not kept: name a file for them (--disk)")


def _machine(ram: int, keys: Path | None, disk: Path | None) -> Machine:
    """A machine with the keys of a file, made if need be, or with the development keys."""
    if keys is None:
        return Machine(ram, disk=disk)
    from pltvm import keyfile

    return Machine(ram, disk=disk, keys=keyfile.load_or_create(keys))


def _recording(machine: Machine, folder: Path | None) -> AbstractContextManager[None]:
    """What is sent in the block goes to the folder, if there is one."""
    if folder is None:
        return nullcontext()
    from pltvm.fuzz.record import recording

    return recording(machine, folder, say)


def _run(
    machine: Machine, enclave: Enclave, as_json: bool, limit: float | None, decision: Decision
) -> NoReturn:
    """Run an enclave, show how that ended, and leave with its exit status."""
    try:
        result = enclave.run(limit, None if as_json else print_output)
    except KeyboardInterrupt:
        for note in machine.driver.unknown_names.take().values():
            say(one_line(f"pltvm: {enclave.name}: {note}{_HOW_TO_GIVE}"))
        say(one_line(f"pltvm: {enclave.name}: stopped by Ctrl-C"))
        _say_place(enclave.place)
        raise typer.Exit(1) from None
    if not as_json:
        for note in result.notes:
            say(one_line(f"pltvm: {enclave.name}: {note}{_HOW_TO_GIVE}"))
    if as_json:
        print(json_format.dumps(result.to_dict(), indent=2))
    elif result.fault is not None:
        say(str(result.fault))
        _say_hint(enclave.name, decision)
    elif result.ok:
        say(f"{enclave.name} returned {result.retval}")
    elif result.status == RELAY_RETURNED:
        say(f"pltvm: {enclave.name}: has returned its relay pages and waits for new ones: stopped")
    else:
        say(f"pltvm: {enclave.name}: still running after {limit:g} s (--timeout), stopped")
        _say_place(result.place)
    _say_what_is_lost(machine)
    raise typer.Exit(0 if result.ok else 1)


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="The ELF of an enclave, or of a host program.")],
    args: Annotated[list[str] | None, typer.Argument(help="Arguments of a host program.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME=ELF", help="A server enclave; may be repeated.")
    ] = None,
    shm: Shm = None,
    relay: Annotated[str | None, typer.Option(metavar="@FILE|TEXT", help="Pages handed over.")] = None,
    name: Annotated[str, typer.Option(help="The enclave's own name.")] = "",
    disk: Annotated[Path | None, typer.Option(metavar="FILE", help="For sectors, through --shm.")] = None,
    ram: Size = DEFAULT_RAM,
    stack_size: Size = DEFAULT_STACK,
    keys: KeyFile = None,
    timeout: Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop after.")] = None,
    as_kind: As = None,
    supervisor: Annotated[
        bool,
        typer.Option("--supervisor", help="Run it in S-mode, in the place of the host kernel: --as kernel."),
    ] = False,
    root: Annotated[str, typer.Option(metavar="DIR", help="The folder a host program may use.")] = ".",
    real_time: Annotated[bool, typer.Option("--real-time", help="Give it the real time.")] = False,
    net: Annotated[bool, typer.Option("--net", help="Give it the network, and the real time.")] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write what is sent, as inputs for pltvm fuzz.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", help="Show each system call of a host program.")] = False,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Run an enclave, with the servers that it calls; or a RISC-V Linux host program, with its arguments.

    What follows a host program belongs to it; options for pltvm go before it.
    """
    check_name(name)
    check_stack(stack_size)
    decision = _decide(file, as_kind, supervisor)
    if decision.kind is Kind.KERNEL:
        refuse_given(ctx, "is for enclaves and hosts, not for a kernel program", *_OF_ENCLAVES, *_OF_HOSTS)
        refuse_given(ctx, "does nothing for a kernel program", "disk", "keys")
        if args:
            raise ArgumentError(f"{file}: is a kernel program and takes no arguments ({args[0]!r})")
        _supervise(file, ram, record, timeout, confine, json, decision)
    if decision.kind is Kind.SERVER:
        load_image(file)  # or that is wrong with it
        raise ArgumentError(
            f"{file}: a server runs when an enclave calls it: pltvm run CALLER --server NAME={file}"
        )
    if decision.kind is Kind.LINUX_PROGRAM:
        import pltvm.host.linux.runner  # noqa: F401  # before the wall, or its modules are compiled each time

        why = f"is for enclaves; {name_of(file)} is a host program, which makes its enclaves and their memory"
        refuse_given(ctx, why, *_OF_ENCLAVES)
        machine = _machine(ram, keys, disk)
        build_wall(confine, [file], folder=record, file=disk, links=[root], network=net)
        with _recording(machine, record):
            _run_program(file, args or [], machine, timeout, root, real_time, net, verbose, json, decision)
    if args:
        with _hinting(decision):
            load_image(file)  # or there is no such file, and nothing more to say
        raise ArgumentError(f"{file}: is an enclave and takes no arguments ({args[0]!r}): see --shm, --relay")
    refuse_given(ctx, f"is for host programs; {name_of(file)} is an enclave", *_OF_HOSTS)
    content, handed = file_or_text("--shm", shm), file_or_text("--relay", relay)
    servers = parse_servers(server or [])
    machine = _machine(ram, keys, disk)
    build_wall(confine, [file, *(elf for _, elf in servers)], folder=record, file=disk)
    memory: SharedMemory | None = None
    if content is not None or disk is not None:  # sectors go through it
        memory = machine.shm(content or SECTOR)
        machine.use_for_persistency(memory)
    for server_name, elf in servers:
        shared = memory if disk is not None else None  # servers share it where sectors are meant
        machine.create(elf, name=server_name, type=EnclaveType.SERVER, shm=shared)
    with _hinting(decision):
        enclave = machine.create(file, name=name, stack_size=stack_size, shm=memory, relay=handed)
    with _recording(machine, record):
        _run(machine, enclave, json, timeout, decision)


def _supervise(
    file: str,
    ram: int,
    record: Path | None,
    limit: float | None,
    confine: bool,
    as_json: bool,
    decision: Decision,
) -> NoReturn:
    """Run a kernel program in S-mode, and leave with its exit status."""
    ram = SUPERVISOR_RAM if ram == DEFAULT_RAM else ram  # all of it gets mapped, page by page
    machine = Machine(ram)
    build_wall(confine, [file], folder=record)
    with _recording(machine, record), _hinting(decision):
        try:
            result = machine.supervise(file, on_output=None if as_json else print_output, timeout=limit)
        except KeyboardInterrupt:
            raise PltvmError(f"{file}: stopped by Ctrl-C") from None
    if as_json:
        print(json_format.dumps(result.to_dict(), indent=2))
    elif result.timed_out:
        say(f"pltvm: {file}: still running after {limit:g} s (--timeout), stopped")
        say(one_line(f"  in {result.where}"))
    elif result.code is None:
        say(one_line(f"pltvm: {name_of(file)}: stopped: {result.end}"))
        _say_hint(file, decision)
    else:
        say(f"{name_of(file)} ended with {result.code}")
    raise typer.Exit(0 if result.code == 0 else 1)


def _run_program(
    file: str,
    args: list[str],
    machine: Machine,
    limit: float | None,
    root: str,
    real_time: bool,
    net: bool,
    verbose: bool,
    as_json: bool,
    decision: Decision,
) -> NoReturn:
    """Run a Linux host program, and leave with its exit status."""
    from pltvm.host.linux.runner import run_program

    try:
        with _hinting(decision):
            result = run_program(
                machine.driver,
                file,
                args,
                root=root,
                on_output=None if as_json else print_output,
                on_error=None if as_json else print_error,
                on_fault=None if as_json else lambda fault: say(str(fault)),
                source=0,
                timeout=limit,
                real_time=real_time,
                net=net,
                on_call=say if verbose else None,
                terminals=(os.isatty(0), os.isatty(1), os.isatty(2)),
            )
    except KeyboardInterrupt:
        raise PltvmError(f"{file}: stopped by Ctrl-C") from None
    if as_json:
        print(json_format.dumps(result.to_dict(), indent=2))
    if result.timed_out:
        say(f"pltvm: {name_of(file)}: still running after {limit:g} s (--timeout), stopped")
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
    _say_what_is_lost(machine)
    raise typer.Exit(result.exit_code)


@app.command()
def demo(json: Json = False) -> None:
    """Run the example chain: a caller, and two servers of which one calls the other."""
    from pltvm.build import guest

    elves = {name: example.elf for name, example in guest.examples().items()}
    machine = Machine()
    machine.create(elves["server"], name="test-server", type=EnclaveType.SERVER)
    machine.create(elves["server1"], name="test-server1", type=EnclaveType.SERVER)
    shm, relay = ((number).to_bytes(4, "little") for number in (11111, 22222))
    caller = machine.create(elves["caller"], name="caller", shm=shm, relay=relay)
    _run(machine, caller, json, None, Decision(Kind.ENCLAVE))
