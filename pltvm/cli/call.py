"""The command `pltvm call`: one call of a server, or several in a row, without a client in C."""

import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from pltvm.cli.covered import Cov, covered, folders_of
from pltvm.cli.debugger import Gdb, History, WithGdb, attached, check_history, door
from pltvm.cli.options import (
    Confined,
    Json,
    Ram,
    StackSize,
    build_wall,
    check_name,
    check_stack,
    file_or_text,
    kind_of_server,
    parse_limit,
    parse_servers,
    refuse_host_program,
    whole,
)
from pltvm.cli.running import Manner
from pltvm.cli.streams import print_json, print_output, say
from pltvm.cli.tables import say_report
from pltvm.errors import ArgumentError, CallError, PltvmError
from pltvm.host.api import Enclave
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import decide
from pltvm.host.services import SECTOR
from pltvm.host.text import hexdump, one_line
from pltvm.machine import DEFAULT_RAM, Machine
from pltvm.monitor.abi import DEFAULT_STACK, MOST_SLOTS, NAME_SIZE, EnclaveType

if TYPE_CHECKING:
    from pltvm.host.proxy import Answer

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def group() -> None:
    """A group of one command."""


def _number(text: str | int) -> int:
    """`5`, `0x1f`, `-1`; a default is a number already."""
    try:
        number = int(text, 0) if isinstance(text, str) else text
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number: write 5, 0x1f or -1") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise typer.BadParameter(f"{text} has more than 64 bits")
    return number


@app.command(cls=WithGdb)
def call(
    file: Annotated[str, typer.Argument(metavar="SERVER.elf", help="ELF of a server enclave.")],
    arg: Annotated[int, typer.Option(parser=_number, metavar="N", help="Argument of the call, 64 bits.")] = 0,
    data: Annotated[
        str | None, typer.Option(metavar="@FILE|TEXT", help="Content of the memory passed to the server.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ELF", help="Another server that this one calls; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the server; default: the file's name.")] = "",
    concurrent: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, MOST_SLOTS), metavar="SLOTS", help=f"Make it concurrent: 1 to {MOST_SLOTS} slots."
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(parser=whole(1), metavar="N", help="Make the call N times.")] = 1,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="Write the memory that comes back to FILE.")
    ] = None,
    disk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the sectors that servers read and write.")
    ] = None,
    ram: Ram = DEFAULT_RAM,
    stack_size: StackSize = DEFAULT_STACK,
    timeout: Annotated[
        float | None, typer.Option(parser=parse_limit, metavar="SECONDS", help="Stop a call after this time.")
    ] = None,
    cov: Cov = None,
    gdb: Gdb = None,
    history: History = 0,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Call a server enclave, and print what it returns.

    That is a value and, if the server gives some back, memory.
    """
    check_name(name)
    check_stack(stack_size)
    check_history(history, gdb)
    refuse_host_program(file)
    _say_doubt(file)
    content = file_or_text("--data", data) or b""
    servers = parse_servers(server or [])
    own = name or os.fsencode(Path(file).stem)[:NAME_SIZE].decode(errors="ignore") or "server"
    for one, elf in servers:
        if kind_of_server(one)["name"] == own:
            raise ArgumentError(
                f"--server {own}={elf}: {file} has this name too: give it another one with --name"
            )
    machine, written, debugger = Machine(ram, disk=disk), None if output is None else _open(output), door(gdb)
    build_wall(confine, [file, *(elf for _, elf in servers)], folders_of(cov), file=disk)
    kind = {"type": EnclaveType.CONCURRENT if concurrent else EnclaveType.SERVER, "slots": concurrent}
    options = {"name": own, "stack_size": stack_size, **kind}
    target = _created(machine, file, options, servers, has_disk=disk is not None)
    show = None if json else print_output
    with attached(machine, debugger, file, history=history):
        with covered(machine, cov):
            answers, failure = _called(
                file, repeat, lambda: target.call(arg, content, timeout, on_output=show)
            )
        if written is not None:
            with written:
                written.write(answers[-1].data if answers else b"")
        if json:
            print_json(_described(answers, failure))
        else:
            _show(file, answers, shows_data=output is None)
            if failure is not None:
                _say_failure(file, failure)
        raise typer.Exit(0 if failure is None else 1)


def _created(
    machine: Machine, file: str, options: dict[str, Any], servers: list[tuple[str, str]], has_disk: bool
) -> Enclave:
    """The server that is called, and before that those which it calls; they share memory for sectors."""
    memory = machine.shm(SECTOR) if has_disk else None
    if memory is not None:
        machine.use_for_persistency(memory)
    for one, elf in servers:
        machine.create(elf, shm=memory, **kind_of_server(one))
    return machine.create(file, shm=memory, **options)


def _called(file: str, times: int, make: "Callable[[], Answer]") -> "tuple[list[Answer], CallError | None]":
    """The answers to so many calls, up to one that fails; and how that did."""
    answers: list[Answer] = []
    try:
        for _ in range(times):
            answers.append(make())
    except CallError as error:
        return answers, error
    except KeyboardInterrupt as stop:
        Manner().stopped(name_of(file), *stop.args)
    return answers, None


def _say_doubt(file: str) -> None:
    decision = decide(file)
    if decision.exits and not decision.server:
        say(
            f"pltvm: {name_of(file)}: is probably no server: it ends as an enclave does (call 99), and never "
            "returns as a server does (call 95)"
        )


def _open(path: Path) -> BinaryIO:
    """A file for what comes back: before the wall, behind which it could not be made."""
    try:
        return path.open("wb")
    except OSError as error:
        raise PltvmError(f"{path}: cannot be written: {error.strerror}") from None


def _described(answers: "list[Answer]", failure: CallError | None) -> dict[str, Any]:
    """What there is to say, as plain data."""
    calls = [
        {"value": one.value, "data": one.data.hex(), "output": one.output, "notes": list(one.notes)}
        for one in answers
    ]
    status = "returned" if failure is None else failure.status
    error = None if failure is None else {"message": str(failure), "output": failure.output}
    report = failure.report.to_dict() if failure is not None and failure.report is not None else None
    return {"status": status, "calls": calls, "error": error, "report": report}


def _show(file: str, answers: "list[Answer]", shows_data: bool) -> None:
    """The answers, neighbours that are alike as one."""
    for (value, data, notes), same in groupby(answers, lambda one: (one.value, one.data, one.notes)):
        times = len(list(same))
        for note in notes:
            say(one_line(f"pltvm: {name_of(file)}: {note} (--server NAME=ELF)"))
        signed = f" ({value - (1 << 64)})" if value >> 63 else ""
        print(f"{name_of(file)} returned {value}{signed}{f', {times} times' if times > 1 else ''}")
        if shows_data and data:
            print("\n".join(_in_words(data)))


def _in_words(data: bytes) -> list[str]:
    """What came back: a text as such, without the zeros behind it; else in hexadecimal."""
    content = data.rstrip(b"\0")
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        lines = ["\0"]
    if content and all(line.replace("\t", "").isprintable() for line in lines):
        return lines[:-1] if not lines[-1] else lines
    return hexdump(data, folded=True)


def _say_failure(file: str, failure: CallError) -> None:
    for note in failure.notes:
        say(one_line(f"pltvm: {name_of(file)}: {note} (--server NAME=ELF)"))
    if failure.status == "faulted" and failure.report is not None:
        say_report(failure.report)
    else:
        say(one_line(f"pltvm: {failure}"))
