"""The command `pltvm debug`: `pltvm run` with gdb or lldb around it."""

import os
import re
import signal
import socket as socket_module
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, Final, NoReturn

import typer

from pltvm.cli.debugger import GDBS, HISTORY, LLDBS, NUMBERS, SOCKET, STDIO, WAITS, command, found
from pltvm.cli.options import own_options, parse_size, whole
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_kind import Kind, decide

app = typer.Typer(rich_markup_mode=None)

_PATIENCE: Final = 60  # seconds that gdb waits for the run
_RUN: Final = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,
}


@app.command(context_settings=_RUN, options_metavar="[OPTIONS] [OPTIONS OF RUN] FILE [ARGS]...")
def debug(
    ctx: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 65535), metavar="PORT", help="Wait for a debugger on this port; 0: any free one."
        ),
    ] = None,
    socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Wait for a debugger on this Unix socket.")
    ] = None,
    stdio: Annotated[
        bool,
        typer.Option("--stdio", help="Talk to gdb on a pipe: target remote | pltvm debug --stdio FILE"),
    ] = False,
    lldb: Annotated[bool, typer.Option("--lldb", help="Start lldb instead of gdb.")] = False,
    history: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory for going back in time; 0: never; default: 256M.",
            show_default=False,
        ),
    ] = HISTORY,
    commands: Annotated[
        list[str] | None,
        typer.Option("--ex", metavar="COMMAND", help="Have the debugger run this command; repeatable."),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="End after the commands of --ex.")] = False,
) -> None:
    """Debug enclaves, host programs and recordings with gdb or lldb.

    FILE and what follows are those of `pltvm run`, with its options; the options below come before them. In
    gdb each enclave is a process, and so is the host program.
    """
    if not ctx.args:
        raise ArgumentError("debug: name what to run, as for pltvm run: pltvm debug [OPTIONS] FILE")
    served = [
        *([str(port)] if port is not None else []),
        *([f"{SOCKET}{socket}"] if socket is not None else []),
        *([STDIO] if stdio else []),
    ]
    again = _is_recording(ctx.args)
    _check_places(ctx, again)
    back = [f"--history={history}"] if history or again else []
    run = ["replay" if again else "run", *back, *ctx.args]
    if len(served) > 1:
        raise ArgumentError("debug: give only one of --port, --socket and --stdio")
    if served:
        if lldb or commands or batch:
            raise ArgumentError(
                "debug: --lldb, --ex and --batch are for a debugger that pltvm starts: leave them out"
            )
        line = command([run[0], f"--gdb={served[0]}", *run[1:]])
        os.execv(line[0], line)
    if lldb:
        _lldb(run, commands or [], batch)
    else:
        _gdb(run, commands or [], batch)


def _is_recording(arguments: list[str]) -> bool:
    """Whether FILE is a recording; words before FILE are options or their values."""
    from pltvm.debug.packed import is_recording

    return is_recording(next((one for one in arguments if not one.startswith("-")), ""))


def _check_places(ctx: typer.Context, is_recording: bool) -> None:
    """Raise ArgumentError for an option of this command behind FILE, unless it is a host program's."""
    own = own_options(ctx)
    behind = next((one for one in ctx.args if one.partition("=")[0] in own), None)
    file = next((one for one in ctx.args if os.path.isfile(one)), None)
    if behind is None or (file and not is_recording and decide(file).kind is Kind.LINUX_PROGRAM):
        return
    raise ArgumentError(f"debug: {behind} is an option of debug: give it before FILE and the options of run")


def _gdb(run: list[str], commands: list[str], batch: bool) -> NoReturn:
    """Start gdb, and the run as a separate process, which gdb neither starts nor ends: it may outlive gdb."""
    from pltvm.debug.gdb.files import script

    gdb = found(GDBS, "gdb")
    with tempfile.TemporaryDirectory(prefix="pltvm-debug-") as folder:
        path = os.path.join(folder, "gdb")
        with socket_module.socket(socket_module.AF_UNIX) as door:
            door.bind(path)
            door.listen()
            server = _served(run, door.fileno())
        line = [gdb, "-q", *(["-batch"] if batch else []), "-x", os.fspath(script())]
        for one in (f"set remotetimeout {_PATIENCE}", f"target remote {path}", *commands):
            line += ["-ex", one]
        client = subprocess.Popen(line)
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = client.wait()
        with suppress(OSError), socket_module.socket(socket_module.AF_UNIX) as nobody:
            nobody.connect(path)  # if gdb never connected, connect instead, so that the run ends
        server.wait()
    raise typer.Exit(status if status >= 0 else 128 - status)


def _served(run: list[str], door: int) -> subprocess.Popen[bytes]:
    """Start the run, and return when it waits at `door`, a listening socket; typer.Exit if it never does."""
    waits, tells = os.pipe()
    with open(waits, "rb", buffering=0) as told:
        server = subprocess.Popen(  # Ctrl-C is for gdb
            command([run[0], f"--gdb={NUMBERS.format(door, tells)}", *run[1:]]),
            stdin=subprocess.DEVNULL, pass_fds=[door, tells], start_new_session=True,
        )  # fmt: skip
        os.close(tells)
        try:
            if told.read(1):
                return server
        except KeyboardInterrupt:
            server.terminate()
            raise
    raise typer.Exit(server.wait())


def _lldb(run: list[str], commands: list[str], batch: bool) -> None:
    lldb = found(LLDBS, "lldb")
    line = command([run[0], "--gdb=0", *run[1:]])
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said, waits = "", None
        for one in server.stderr:
            waits = re.fullmatch(WAITS.format("(.*)", "(.*)"), one.rstrip("\n"))
            if waits is not None:
                break
            said += one
        if waits is None:
            raise PltvmError(said.strip().removeprefix("pltvm: "))
        print(said, end="", file=sys.stderr, flush=True)
        threading.Thread(target=_pass_on, args=(server.stderr,), daemon=True).start()
        steps = [f"gdb-remote {waits[2]}", *commands]
        line = [lldb, *(["--batch"] if batch else []), *(part for one in steps for part in ("-o", one))]
        subprocess.run([*line, waits[1]])
        server.terminate()


def _pass_on(lines: IO[str]) -> None:
    """Pass the run's messages on."""
    for line in lines:
        print(line, end="", file=sys.stderr, flush=True)
