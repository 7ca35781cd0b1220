"""The commands `pltvm run` and `pltvm demo`: enclaves with their servers, host programs, kernel programs."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pltvm.cli.beside import ADDED, Beside, tape_for
from pltvm.cli.covered import Cov
from pltvm.cli.debugger import Gdb, History, WithGdb, check_history
from pltvm.cli.options import (
    As,
    Callers,
    Confined,
    ExitCode,
    Json,
    KeyFile,
    Quantum,
    Races,
    Ram,
    Relay,
    Schedule,
    Servers,
    Shm,
    StackSize,
    build_wall,
    check_name,
    check_stack,
    file_in_bash,
    file_or_text,
    parse_kind,
    parse_servers,
    refuse_given,
)
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
from pltvm.host.elf_kind import Decision, Kind, decide
from pltvm.machine import DEFAULT_RAM, Machine
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType

SHOW: Final = "pltvm.show"  # in click's `meta`: what gets the output of guests, for a command that runs this
# Options that say something of one kind of program, by the others'.
_OF_HOSTS: Final = ("root", "real_time", "net", "verbose")
_OF_ENCLAVES: Final = ("server", "shm", "relay", "name", "stack_size")
_OF_TURNS: Final = ("callers", "quantum", "schedule", "races")
_NOT_RACED: Final = ("record_run", "gdb", "record", "cov", "trace", "disk")
_NOT_RECORDED: Final = ("keys", "real_time", "net", "record", "gdb")  # secrets, the world, other notes

app = typer.Typer(rich_markup_mode=None)


class RunCommand(WithGdb):
    """`run`, which looks at FILE before it decides whose the rest of the command line is.

    What follows a host program belongs to it. An enclave takes no arguments, so options for pltvm may come
    before and after it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = ctx.resilient_parsing  # then a shell completes the line: of either kind
        rest = super().parse_args(ctx, args)
        found = ctx.params
        if (
            found["args"]
            and not ctx.resilient_parsing
            and _decide(ctx, **found).kind in (Kind.ENCLAVE, Kind.SERVER, Kind.KERNEL)
        ):
            ctx.allow_interspersed_args = True
            ctx.params.clear()
            rest = super().parse_args(ctx, args)
        return rest


def _decide(ctx: Any, file: str, as_kind: str | None, supervisor: bool, **_: object) -> Decision:
    """What the file is: what the command line says, or else what it seems to be, looked at once."""
    if as_kind is None:
        if supervisor:
            return Decision(Kind.KERNEL)
        if _DECISION not in ctx.meta:
            ctx.meta[_DECISION] = decide(file)
        decision: Decision = ctx.meta[_DECISION]
        return decision
    if supervisor and as_kind != Kind.KERNEL.value:
        raise ArgumentError(
            f"--as {as_kind} contradicts --supervisor, which means --as kernel: give one of them"
        )
    return Decision(parse_kind(as_kind))


_DECISION: Final = "pltvm.decision"  # in what the context keeps


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(help="ELF of an enclave, or a host program.", autocompletion=file_in_bash)
    ],
    args: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments for the host program.", autocompletion=file_in_bash),
    ] = None,
    server: Servers = None,
    shm: Shm = None,
    relay: Relay = None,
    name: Annotated[str, typer.Option(help="Name of the enclave.")] = "",
    disk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the sectors that enclaves read and write.")
    ] = None,
    ram: Ram = DEFAULT_RAM,
    stack_size: StackSize = DEFAULT_STACK,
    keys: KeyFile = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop the run after this time.")
    ] = None,
    as_kind: As = None,
    supervisor: Annotated[
        bool,
        typer.Option("--supervisor", help="Run FILE in S-mode, in place of the host kernel: --as kernel."),
    ] = False,
    root: Annotated[str, typer.Option(metavar="DIR", help="Folder that a host program sees as /.")] = ".",
    real_time: Annotated[
        bool, typer.Option("--real-time", help="Give a host program the real time.")
    ] = False,
    net: Annotated[
        bool, typer.Option("--net", help="Give a host program the network and the real time.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save what enclaves are sent, as inputs for pltvm fuzz."),
    ] = None,
    cov: Cov = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a trace: FILE.txt, FILE.jsonl, or FILE.json for Perfetto."),
    ] = None,
    trace_format: Annotated[
        str | None,
        typer.Option(
            metavar="text|jsonl|perfetto", help="Format of the trace; default: what FILE ends with."
        ),
    ] = None,
    record_run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record the whole run for pltvm replay.")
    ] = None,
    gdb: Gdb = None,
    history: History = 0,
    callers: Callers = None,
    quantum: Quantum = None,
    schedule: Schedule = None,
    races: Races = False,
    verbose: Annotated[bool, typer.Option("-v", help="Print each system call of a host program.")] = False,
    exit_code: ExitCode = False,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Run an enclave, or a RISC-V Linux host program.

    Several enclaves run at once. Name the servers that they call with --server. Everything after a host
    program belongs to it: options for pltvm go before it.
    """
    check_name(name)
    check_stack(stack_size)
    check_history(history, gdb)
    decision = _decide(ctx, file, as_kind, supervisor)
    if record_run is not None:
        refuse_given(ctx, "does not go with --record-run: see docs/recordings.md", *_NOT_RECORDED)
    manner = Manner(timeout, json, exit_code, ctx.meta.get(SHOW, print_output))
    options = {"ram": ram, "timeout": timeout, "json": json, "exit_code": exit_code, "as": as_kind}
    looking: dict[str, Any] = {"trace": trace, "trace_format": trace_format, "gdb": gdb}
    looking |= {"record": record, "cov": cov, "history": history}
    if decision.kind is Kind.KERNEL:
        refuse_given(ctx, "is for enclaves and hosts, not for a kernel program", *_OF_ENCLAVES, *_OF_HOSTS)
        refuse_given(ctx, "does nothing for a kernel program", "disk", "keys", "cov", *_OF_TURNS)
        if ADDED in ctx.meta:
            why = "this command is for enclaves and host programs"
            raise ArgumentError(f"{file}: is a kernel program; {why}")
        if args:
            raise ArgumentError(f"{file}: is a kernel program and takes no arguments ({args[0]!r})")
        tape = tape_for(record_run, "kernel", file, options)
        machine, beside = kernel_machine(ram), Beside.given(ctx, file, tape=tape, kernel=True, **looking)
        build_wall(confine, [file], folder=record)
        with beside.making(machine), beside.running(machine):
            run_kernel(file, file, machine, manner, decision)
    if decision.kind is Kind.SERVER:
        load_image(file)  # or that is wrong with it
        raise ArgumentError(
            f"{file}: a server runs when an enclave calls it: pltvm run CALLER --server NAME={file}"
        )
    if decision.kind is Kind.LINUX_PROGRAM:
        import pltvm.host.linux.runner  # noqa: F401  # before the wall, or its modules are compiled each time

        why = f"is for enclaves; {name_of(file)} is a host program, which makes its enclaves and their memory"
        refuse_given(ctx, why, *_OF_ENCLAVES)
        refuse_given(ctx, "is for enclaves: a host program runs as many as it likes", "callers", "races")
        shared = Several(quantum=quantum, schedule=schedule_text(schedule))
        refuse_given(ctx, "is for others: the status of a host program is always its own", "exit_code")
        options |= {"verbose": verbose, "schedule": shared.schedule, "quantum": quantum}
        tape = tape_for(record_run, "host", file, options, arguments=args or [], disk=disk)
        machine, beside = machine_of(ram, keys, disk), Beside.given(ctx, file, tape=tape, **looking)
        build_wall(confine, [file], beside.folders, folder=record, file=disk, links=[root], network=net)
        with beside.making(machine), beside.running(machine):
            given: dict[str, Any] = {"real_time": real_time, "net": net}
            given |= {"schedule": shared.schedule, "quantum": quantum}
            given |= tape.options(machine) if tape is not None else {}
            run_host(file, args or [], machine, manner, decision, root=root, verbose=verbose, **given)
    others = args or []
    if others and not all(map(os.path.isfile, others)):
        with hinting(decision):
            load_image(file)  # or there is no such file, and nothing more to say
        first = next(one for one in others if not os.path.isfile(one))
        raise ArgumentError(f"{file}: is an enclave and takes no arguments ({first!r}): see --shm, --relay")
    for one in others:
        must_be_enclave(one)
    several = Several(callers, quantum, schedule_text(schedule), [(one, one) for one in others], races)
    refuse_given(ctx, f"is for host programs; {name_of(file)} is an enclave", *_OF_HOSTS)
    content, handed = file_or_text("--shm", shm), file_or_text("--relay", relay)
    servers = parse_servers(server or [])
    options |= {"name": name, "stack_size": stack_size}
    if several.wanted:
        refuse_given(ctx, "names one enclave, and here are several", "name")
        refuse_given(ctx, "looks at a run twice: leave out --races", *(_NOT_RACED if races else ()))
        options |= {"callers": callers, "quantum": quantum, "schedule": several.schedule}
    tape = tape_for(record_run, "enclave", file, options, servers, disk, others, shm=content, relay=handed)
    machine, beside = machine_of(ram, keys, disk), Beside.given(ctx, file, tape=tape, **looking)
    files = [file, *(elf for _, elf in servers), *others]
    build_wall(confine, files, beside.folders, folder=record, file=disk)
    with beside.making(machine):
        if several.wanted:
            enclaves = several.create(
                machine, file, file, decision, servers, content, handed, disk is not None, stack_size
            )
            with beside.running(machine):
                several.run(machine, enclaves, manner)
        enclave = create_all(
            machine, file, decision, servers, content, handed, disk is not None, name, stack_size
        )
        with beside.running(machine):
            run_enclave(machine, enclave, manner, decision)


@app.command()
def demo(exit_code: ExitCode = False, json: Json = False) -> None:
    """Run an example: a caller and two servers.

    The caller calls one server, and that one calls the other.
    """
    from pltvm.build import guest

    elves = {name: example.elf for name, example in guest.examples().items()}
    machine = Machine()
    machine.create(elves["server"], name="test-server", type=EnclaveType.SERVER)
    machine.create(elves["server1"], name="test-server1", type=EnclaveType.SERVER)
    shm, relay = ((number).to_bytes(4, "little") for number in (11111, 22222))
    caller = machine.create(elves["caller"], name="caller", shm=shm, relay=relay)
    run_enclave(machine, caller, Manner(None, json, exit_code), Decision(Kind.ENCLAVE))
