"""The command that begins a project."""

from pathlib import Path
from typing import Annotated

import typer

from pltvm.cli.streams import say

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def group() -> None:
    """A group of one command."""


@app.command()
def new(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Its folder, and what its server is called.")],
) -> None:
    """Begin a project: a server enclave, a client, a host program, tests and a CI file."""
    from pltvm.build.project import create

    for path in create(name):
        say(f"made {path}")
    say(f"now: make -C {name} test")
