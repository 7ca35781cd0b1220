"""The command `pltvm view`: makes a page of a trace, or of a program that it runs first."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from pltvm.cli.around import AroundRun, given, refuse_options, run_it
from pltvm.cli.streams import say
from pltvm.errors import PltvmError
from pltvm.host.plain_file import writing

_TRACE: Final = b'{"kind":"trace"'  # the start of a trace
_NOTHING: Final = 3  # lines of a trace without events: header, snapshot, end

app = typer.Typer(rich_markup_mode=None)


class ViewCommand(AroundRun):
    """The command `view`, with the options of `run` except --trace, as it makes the trace itself."""

    left_out = ("trace", "trace_format", "record", "json")


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
    --trace FILE.jsonl`), a recording (`pltvm run --record-run FILE`), or what `pltvm run` takes: the latter
    two are run first. The page is one file and needs no server.
    """
    from pltvm.build import guest
    from pltvm.debug.packed import is_recording

    file, confine = given(ctx)["file"], given(ctx)["confine"]
    folders = [*(source or ()), Path(file).absolute().parent, guest.guest_dir()]
    page = _Page(output, title or Path(file).name, folders)
    if _is_trace(file):
        refuse_options(ctx, "is for a program to run, and this is a trace of a run", ())
        page.write(Path(file))
        return
    again = is_recording(file)
    if again:
        refuse_options(ctx, "is for a program to run, and this is a recording of a run", ("confine",))
    with tempfile.TemporaryDirectory(prefix="pltvm-view-") as scratch:
        trace = Path(scratch) / "trace.jsonl"
        if again:
            status = _in_a_child(lambda: _replay(file, trace, confine))
        else:
            status = _in_a_child(lambda: run_it(ctx, trace=trace))
        if trace.exists() and trace.read_bytes().count(b"\n") > _NOTHING:
            page.write(trace)
    raise typer.Exit(status)


def _replay(file: str, trace: Path, confine: bool) -> None:
    from pltvm.cli.replay import again
    from pltvm.debug.trace.collect import TraceFile

    again(Path(file), confine, around=TraceFile(trace).of)


class _Page:
    """The page to be made, in a file that is checked to be writable before anything is run.

    Raises PltvmError. A new file appears only when the page is complete.
    """

    def __init__(self, path: Path, title: str, folders: list[Path]) -> None:
        self._path, self._title, self._folders = path, title, folders
        made = not path.exists()
        with writing(self._path):
            path.open("ab").close()
            if made:
                path.unlink()

    def write(self, trace: Path) -> None:
        """Make the page of this trace. Raises PltvmError."""
        from pltvm.debug.view import page_of_trace

        try:
            with trace.open(encoding="utf-8", errors="replace") as lines:
                page = page_of_trace(lines, self._title, self._folders)
            text = str(page).encode("utf-8", "backslashreplace")
        except PltvmError as error:
            raise PltvmError(f"{trace}: {error}") from None
        except OSError as error:
            raise PltvmError(f"{trace}: {error.strerror}") from None
        with writing(self._path):
            self._path.write_bytes(text)
        steps = len(page.data["steps"])
        more = ", and the run goes on" if page.data["cut"] else ""
        say(f"wrote {self._path}: {steps:,} step{'s' * (steps != 1)}{more}")


def _is_trace(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            return os.path.isfile(file) and opened.read(len(_TRACE)) == _TRACE
    except OSError:
        return False  # `run` reports the error


def _in_a_child(function: Any) -> int:
    """Run a command in a child process, which may confine itself, and return its exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_child(function)
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except KeyboardInterrupt:  # the child has got it too, and ends
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
    """Turn typer's exit into Python's."""
    try:
        function()
    except typer.Exit as error:
        raise SystemExit(error.exit_code) from None
    raise SystemExit(0)
