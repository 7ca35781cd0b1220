"""The command that begins a project."""

from pathlib import Path
from typing import Annotated

import typer

from pltvm.cli.options import Json
from pltvm.cli.streams import print_json, say

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def group() -> None:
    """A group of one command."""


@app.command()
def new(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Folder to make, and name of the server.")],
    json: Json = False,
) -> None:
    """Make a project: server, client, tests and more.

    Also a host program in Python, a Makefile, a CMakeLists.txt and a CI file.
    """
    from pltvm.build.project import create

    made = create(name)
    if json:
        print_json({"made": [str(path) for path in made]})
        return
    for path in made:
        say(f"made {path}")
    say(f"now: make -C {name} test (needs pytest: pip install pytest)")
