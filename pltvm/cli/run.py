"""The commands `pltvm run` and `pltvm demo`: the options, and what kind of file it is (then: `kinds`)."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pltvm.cli.covered import Cov
from pltvm.cli.debugger import Gdb, History, WithGdb, check_history
from pltvm.cli.kinds import Run
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
    check_name,
    check_stack,
    file_in_bash,
    parse_kind,
    parse_limit,
)
from pltvm.cli.running import Manner, run_enclave
from pltvm.errors import ArgumentError
from pltvm.host.elf_kind import Decision, Kind, decide
from pltvm.machine import DEFAULT_RAM, Machine
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType

app = typer.Typer(rich_markup_mode=None)


class RunCommand(WithGdb):
    """The command `run`, which reads FILE to decide to which program the rest of the command line belongs.

    Words after a host program belong to it. An enclave takes no arguments, so options for pltvm may come
    before and after it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # for shell completion, which has to work for both kinds
        ctx.allow_interspersed_args = ctx.resilient_parsing
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
    """Return the kind of the file: from the command line, or detected once."""
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


_DECISION: Final = "pltvm.decision"  # in click's `meta`


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
        float | None,
        typer.Option(parser=parse_limit, metavar="SECONDS", help="Stop it after this time."),
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
    given = locals()
    check_name(name)
    check_stack(stack_size)
    check_history(history, gdb)
    Run(**given).go(_decide(ctx, file, as_kind, supervisor))


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
