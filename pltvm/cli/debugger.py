"""Listens for a debugger, and connects it with a run, for commands."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from pltvm.cli.options import parse_size
from pltvm.cli.streams import say
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_headers import name_of
from pltvm.host.text import one_line

if TYPE_CHECKING:
    from pltvm.debug.gdb.link import Link
    from pltvm.debug.history import Partner
    from pltvm.machine import Machine

STDIO: Final = "-"
HISTORY: Final = 256 << 20  # bytes, by default
SOCKET: Final = "unix:"
NUMBERS: Final = "fd:{},{}"  # descriptors of a listening socket, and of a pipe for a byte once it is used
WAITS: Final = "pltvm: {} waits for a debugger: target remote {}"
GDBS: Final = ("gdb-multiarch", "riscv64-linux-gnu-gdb", "riscv64-unknown-elf-gdb", "riscv64-elf-gdb", "gdb")
LLDBS: Final = ("lldb", *(f"lldb-{version}" for version in range(21, 13, -1)))


Gdb = Annotated[
    str | None, typer.Option(metavar="[PORT]", help="Wait for gdb or lldb on this port, or any free one.")
]
History = Annotated[
    int, typer.Option(parser=parse_size, metavar="SIZE", help="With --gdb: memory for going back in time.")
]


def check_history(history: int, gdb: str | None) -> None:
    """Raise ArgumentError for --history without a debugger."""
    if history and gdb is None:
        raise ArgumentError("--history: only debuggers use it: add --gdb, or run pltvm debug")


class WithGdb(TyperCommand):
    """A command whose `--gdb` may be given without a port: then any free one is used."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_port(args, ctx.allow_interspersed_args))

    def _with_port(self, args: list[str], all_of_them: bool) -> list[str]:
        """Return the arguments, with a port for a `--gdb` without one; unless `all_of_them`, only up to the
        first word that is no option."""
        values = {name for one in self.params for name in one.opts if not getattr(one, "is_flag", False)}
        given, rest = [], list(args)
        while rest:
            first = rest.pop(0)
            if first == "--gdb" and not (rest and _is_door(rest[0])):
                first = "--gdb=0"
            given.append(first)
            if first in values and rest:
                given.append(rest.pop(0))
            elif not all_of_them and not first.startswith("-"):
                break
        return given + rest


def _is_door(text: str) -> bool:
    return text.isdecimal() or text == STDIO or text.startswith(SOCKET)


class Door:
    """The connection for a debugger: a port of this machine (`0`: any), `unix:PATH`, or `-`, standard input;
    for `pltvm debug`, NUMBERS.

    It is made before the process is confined. Raises ArgumentError, and PltvmError if it cannot be made.
    """

    def __init__(self, text: str) -> None:
        from pltvm.debug.gdb.link import Link, Listener

        self._listener: Listener | None = None
        given = re.fullmatch(NUMBERS.format(r"(\d+)", r"(\d+)"), text, re.ASCII)
        self._pipe = int(given[2]) if given else None
        self.kills = text == STDIO or text.startswith(SOCKET) or given is not None
        if text == STDIO:
            self._link = Link(os.dup(0), os.dup(1))
            os.dup2(2, 1)  # output of guests must not mix with packets
            sink = os.open(os.devnull, os.O_RDONLY)
            os.dup2(sink, 0)
            os.close(sink)
        elif text.startswith(SOCKET):
            self._listener = Listener(path=Path(text.removeprefix(SOCKET)))
        elif given:
            self._listener = Listener(number=int(given[1]))
        elif text.isdecimal() and int(text) < 1 << 16:
            self._listener = Listener(int(text))
        else:
            raise ArgumentError(f"--gdb {text}: is not a port: write a number from 0 to 65535")

    def client(self, file: str) -> "Link":
        """Wait for the debugger."""
        if self._listener is None:
            self._link.begin()  # starts a thread, which has to be behind the wall too
            return self._link
        if self._pipe is not None:
            os.write(self._pipe, b".")
            os.close(self._pipe)
        else:
            say(WAITS.format(one_line(file), self._listener.address))
        try:
            return self._listener.client()
        except KeyboardInterrupt:
            raise PltvmError("stopped by Ctrl-C: no debugger came") from None

    def close(self) -> None:
        """Stop waiting."""
        if self._listener is not None:
            self._listener.close()


def door(text: str | None) -> Door | None:
    """Return the connection for a debugger, if one is wanted."""
    return Door(text) if text is not None else None


@contextmanager
def attached(
    machine: "Machine",
    door: Door | None,
    file: str,
    kernel: bool = False,
    history: int = 0,
    partner: "Partner | None" = None,
) -> Iterator[None]:
    """Let a debugger look at the run of `file` in this context; it gets the exit status.

    `kernel`: it is a kernel program. `history`: size of the history in bytes, 0 for none; `partner` goes back
    with the machine.
    """
    if door is None:
        yield
        return
    from pltvm.debug.gdb.session import Session
    from pltvm.debug.stops import Killed
    from pltvm.debug.viewing import Views

    views = Views(machine)
    views.kernel_program = (name_of(file), file) if kernel else None
    session = Session(views, door.client(file), say, kills=door.kills, history=history, partner=partner)
    session.begin()
    status = 1
    try:
        yield
    except Killed:
        raise PltvmError("killed by the debugger") from None
    except typer.Exit as end:
        status = end.exit_code
        raise
    finally:
        session.ended(status)
        door.close()


def found(names: tuple[str, ...], wanted: str) -> str:
    """Return the first of these programs that is installed. Raises PltvmError."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise PltvmError(
        f"found no {wanted} that knows RISC-V: install one (Debian: apt install {names[0]}), "
        "or connect one from elsewhere (--port)"
    )


def command(arguments: list[str]) -> list[str]:
    """Return the command line of this program with other arguments."""
    return [sys.executable, "-m", "pltvm.cli", *arguments]
