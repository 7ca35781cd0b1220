"""The command line as a whole: the list of commands, and options before them."""

import atexit
import gc
from importlib import import_module
from shutil import get_terminal_size
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

# The commands in the order of --help, each with its file.
_FILES: Final = {
    "run": "run",
    "call": "call",
    "demo": "run",
    "replay": "replay",
    "debug": "debug",
    "profile": "profile",
    "view": "view",
    "info": "build",
    "build": "build",
    "examples": "build",
    "new": "new",
    "measure": "attest",
    "attest": "attest",
    "verify": "attest",
    "selftest": "selftest",
    "fuzz": "fuzz",
    "explore": "explore",
    "cov": "fuzz",
    "triage": "corpus",
    "cmin": "corpus",
    "tmin": "corpus",
    "showmap": "corpus",
}


_LEAST: Final = 20  # smallest number of columns for help


def _width() -> int:
    """Return the number of columns for help: those of the terminal, at most 78."""
    return max(min(get_terminal_size().columns - 2, 78), _LEAST)


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Formats help so that options leave room for their texts, on narrow terminals too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "width": _width()})

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width // 2 - 6), col_spacing)


class _Context(typer.Context):
    formatter_class = _Formatter


class _Commands(TyperGroup):
    """A group whose commands are imported when needed: one to run it, all of them for --help."""

    context_class = _Context

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: dict[str, Any] = dict.fromkeys(_FILES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _FILES and self.commands[cmd_name] is None:
            group = import_module(f"pltvm.cli.{_FILES[cmd_name]}").app
            made = typer.main.get_group(group).commands
            for command in made.values():
                command.context_class = _Context
            self.commands.update(made)
        return self.commands.get(cmd_name)


app = typer.Typer(
    cls=_Commands,
    help="Run Penglai-TVM RISC-V enclaves, unchanged, without hardware.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from pltvm import __version__, native

        print(f"pltvm {__version__}, {native.status}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """What stands before a command, which is imported by now."""
    if gc.isenabled():  # not begun by `main`
        return
    gc.freeze()
    gc.enable()
    # The interpreter collects garbage before it ends, which takes longer than a short run. (Other commands
    # import lief, which prints warnings about remaining objects.)
    if _FILES.get(ctx.invoked_subcommand or "") == "run":
        atexit.register(gc.freeze)
