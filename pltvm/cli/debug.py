"""The command `pltvm debug`: `pltvm run` with gdb or lldb around it."""

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from pltvm.cli.debugger import GDBS, HISTORY, LLDBS, SOCKET, STDIO, WAITS, command, found
from pltvm.cli.options import parse_size
from pltvm.errors import ArgumentError, PltvmError

app = typer.Typer(rich_markup_mode=None)

_RUN: Final = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,
}


@app.command(context_settings=_RUN)
def debug(
    ctx: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Serve one here; 0: any that is free."),
    ] = None,
    socket: Annotated[Path | None, typer.Option(metavar="PATH", help="Serve one at this socket.")] = None,
    stdio: Annotated[
        bool,
        typer.Option("--stdio", help="Serve one on a pipe, as in: target remote | pltvm debug --stdio FILE"),
    ] = False,
    lldb: Annotated[bool, typer.Option("--lldb", help="Start lldb, and not gdb.")] = False,
    history: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory to go back in time; 0: do not.",
            show_default="256M",
        ),
    ] = HISTORY,
    commands: Annotated[
        list[str] | None, typer.Option("--ex", metavar="COMMAND", help="For the debugger; may be repeated.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="It ends after these.")] = False,
) -> None:
    """Run what `pltvm run` runs, with its options, and look into it with gdb.

    Each enclave is a process of gdb, and so is the host program. Options of its own come first.
    """
    if not ctx.args:
        raise ArgumentError("debug: what is to run is missing: pltvm debug FILE …, as of pltvm run")
    served = [
        *([str(port)] if port is not None else []),
        *([f"{SOCKET}{socket}"] if socket is not None else []),
        *([STDIO] if stdio else []),
    ]
    back = [f"--history={history}"] if history else []
    if len(served) > 1:
        raise ArgumentError("debug: --port, --socket and --stdio are three ways: choose one")
    if served:
        if lldb or commands or batch:
            raise ArgumentError(
                "debug: a debugger that is served is not started: leave --lldb, --ex, --batch"
            )
        line = command(["run", f"--gdb={served[0]}", *back, *ctx.args])
        os.execv(line[0], line)
    if lldb:
        _lldb([*back, *ctx.args], commands or [], batch)
    else:
        _gdb([*back, *ctx.args], commands or [], batch)


def _gdb(arguments: list[str], commands: list[str], batch: bool) -> None:
    from pltvm.debug.gdb.files import script

    gdb = found(GDBS, "gdb")
    target = shlex.join(command(["run", f"--gdb={STDIO}", *arguments]))
    line = [gdb, "-q", *(["-batch"] if batch else []), "-x", os.fspath(script())]
    for one in (f"target remote | {target}", *commands):
        line += ["-ex", one]
    os.execv(gdb, line)


def _lldb(arguments: list[str], commands: list[str], batch: bool) -> None:
    lldb = found(LLDBS, "lldb")
    line = command(["run", "--gdb=0", *arguments])
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        waits = re.fullmatch(WAITS.format("(.*)", "(.*)"), said.rstrip("\n"))
        if waits is None:
            raise PltvmError((said + server.stderr.read()).strip().removeprefix("pltvm: "))
        threading.Thread(target=_pass_on, args=(server.stderr,), daemon=True).start()
        steps = [f"gdb-remote {waits[2]}", *commands]
        line = [lldb, *(["--batch"] if batch else []), *(part for one in steps for part in ("-o", one))]
        subprocess.run([*line, waits[1]])
        server.terminate()


def _pass_on(lines: IO[str]) -> None:
    """What the run says of itself."""
    for line in lines:
        print(line, end="", file=sys.stderr, flush=True)
