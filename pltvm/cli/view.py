"""The command `pltvm view`: a page that shows a run, of a trace or of a program that it runs first."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from pltvm.cli import run
from pltvm.cli.streams import say
from pltvm.errors import PltvmError

_SHARED: Final = "pltvm.view"  # in what the context keeps
_TRACE: Final = b'{"kind":"trace"'  # how a trace begins
_NOTHING: Final = 3  # lines of a trace in which nothing happens: what it is, the start, the end
_REFUSED: Final = {"trace", "trace_format", "record", "json"}  # of run's options

app = typer.Typer(rich_markup_mode=None)


class ViewCommand(run.RunCommand):
    """`view`: the options and arguments of `run`, which it runs unless FILE is a trace, and its own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.run: Any = typer.main.get_group(run.app).commands["run"]
        own = {one.name for one in self.params} | _REFUSED
        self.params = [*(one for one in self.run.params if one.name not in own), *self.params]

    def invoke(self, ctx: Any) -> None:
        """Call the function below with its own options; those of `run` wait in `ctx.meta`."""
        shared = {one.name for one in self.run.params}
        ctx.meta[_SHARED] = {name: value for name, value in ctx.params.items() if name in shared}
        ctx.params = {name: value for name, value in ctx.params.items() if name not in shared}
        super().invoke(ctx)


@app.command(cls=ViewCommand)
def view(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("-o", metavar="FILE.html", help="Page to make.")],
    source: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder to find sources in, with all below it; repeatable."),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "",
) -> None:
    """Make an HTML page that shows a run step by step.

    It shows who ran, who owned each page of RAM, the page tables, and what moved. FILE is a trace (`pltvm run
    --trace FILE.jsonl`), or what `pltvm run` takes: then it is run first. The page is one file and needs no
    server.
    """
    shared = ctx.meta[_SHARED]
    file = shared["file"]
    from pltvm.build import guest

    folders = [*(source or ()), Path(file).absolute().parent, guest.guest_dir()]
    name = title or Path(file).name
    if _is_trace(file):
        _write(Path(file), output, name, folders)
        return
    with tempfile.TemporaryDirectory(prefix="pltvm-view-") as scratch:
        trace = Path(scratch) / "trace.jsonl"
        ctx.params = shared | dict.fromkeys(_REFUSED) | {"trace": trace, "json": False}
        command: Any = ctx.command
        status = _in_a_child(lambda: command.run.invoke(ctx))
        if trace.exists() and trace.read_bytes().count(b"\n") > _NOTHING:
            _write(trace, output, name, folders)
    raise typer.Exit(status)


def _is_trace(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            return os.path.isfile(file) and opened.read(len(_TRACE)) == _TRACE
    except OSError:
        return False  # `run` says what is wrong with it


def _in_a_child(function: Any) -> int:
    """The exit status of a command in a process of its own, which may wall itself in: this one goes on."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_child(function)
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except KeyboardInterrupt:  # which the child has got too, and ends by
            continue


def _be_child(function: Any) -> NoReturn:
    from pltvm.cli import streams

    status = 1
    try:
        streams.run(lambda: _exiting(function))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _exiting(function: Any) -> NoReturn:
    """typer's way to leave as Python's."""
    try:
        function()
    except typer.Exit as error:
        raise SystemExit(error.exit_code) from None
    raise SystemExit(0)


def _write(trace: Path, output: Path, title: str, folders: list[Path]) -> None:
    """Make the page of a trace. Raises PltvmError."""
    from pltvm.debug.view import page_of_trace

    try:
        with trace.open(encoding="utf-8", errors="replace") as lines:
            page = page_of_trace(lines, title, folders)
        text = str(page).encode("utf-8", "backslashreplace")
    except PltvmError as error:
        raise PltvmError(f"{trace}: {error}") from None
    except OSError as error:
        raise PltvmError(f"{trace}: {error.strerror}") from None
    try:
        output.write_bytes(text)
    except OSError as error:
        raise PltvmError(f"{output}: cannot be written: {error.strerror}") from None
    steps = len(page.data["steps"])
    more = ", and the run goes on" if page.data["cut"] else ""
    say(f"wrote {output}: {steps:,} step{'s' * (steps != 1)}{more}")
