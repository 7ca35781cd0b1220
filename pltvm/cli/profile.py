"""The command `pltvm profile`: runs what `pltvm run` runs, and counts what it executes."""

import json as json_format
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.around import AroundRun, given, run_it
from pltvm.cli.beside import ADDED
from pltvm.cli.kinds import SHOW
from pltvm.cli.options import Json, whole
from pltvm.cli.streams import print_error, print_json, say
from pltvm.errors import ArgumentError, PltvmError
from pltvm.machine import Machine

if TYPE_CHECKING:
    from pltvm.debug.profile.collector import Collector
    from pltvm.debug.profile.result import Profile

_BY: Final = ("function", "line", "enclave", "inlined")

app = typer.Typer(rich_markup_mode=None)


def _collector(machine: Machine) -> "Collector":
    from pltvm.debug.profile.collector import Collector

    return Collector(machine)


def _check(by: str, outputs: Sequence[str]) -> None:
    """Raise ArgumentError for unknown tables or formats."""
    if by not in _BY:
        raise ArgumentError(f"--by {by}: write one of {', '.join(_BY)}")
    for name in outputs:
        if not _is_speedscope(name) and not _is_callgrind(name):
            raise ArgumentError(f"-o {name}: the name must be X.speedscope.json or callgrind.out.X")


def _is_speedscope(name: str) -> bool:
    return name.endswith(".speedscope.json")


def _is_callgrind(name: str) -> bool:
    return Path(name).name.startswith("callgrind.out")


def _opened(outputs: Sequence[str]) -> list[tuple[str, IO[str]]]:
    """Open the files, as they could not be made behind the wall. Raises PltvmError."""
    files: list[tuple[str, IO[str]]] = []
    for name in outputs:
        try:
            file = open(name, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            files.append((name, file))
        except (OSError, ValueError) as error:
            raise PltvmError(f"{name}: cannot be written: {getattr(error, 'strerror', error)}") from None
    return files


def _show(
    profile: "Profile", name: str, by: str, limit: int, files: list[tuple[str, IO[str]]], as_json: bool
) -> None:
    """Write the files, and print the tables."""
    for path, file in files:
        try:
            with file:
                if _is_speedscope(path):
                    from pltvm.debug.profile.speedscope import speedscope

                    json_format.dump(speedscope(profile, name), file)
                else:
                    from pltvm.debug.profile.callgrind import callgrind

                    file.write(callgrind(profile, name))
        except OSError as error:
            raise PltvmError(f"{path}: cannot be written: {error.strerror}") from None
        say(f"wrote {path}")
    if as_json:
        print_json(profile.to_dict())
    else:
        from pltvm.debug.profile.text import show

        show(profile, by, limit, sys.stdout)


@app.command(cls=AroundRun)
def profile(
    ctx: typer.Context,
    by: Annotated[
        str, typer.Option(metavar="|".join(_BY), help="What the rows of the table are.")
    ] = "function",
    limit: Annotated[int, typer.Option(parser=whole(1), metavar="ROWS", help="Most rows of the table.")] = 20,
    output: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="FILE", help="Write X.speedscope.json or callgrind.out.X; repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Count the instructions of a run, by function, line or enclave.

    The counts are exact, and the same in each run. FILE and options are those of `pltvm run`. Everything
    after a host program belongs to it: options for pltvm go before it.
    """
    _check(by, output or [])
    shared = given(ctx)
    name = " ".join([shared["file"], *(shared["args"] or ())])
    files = _opened(output or [])
    found: list[Collector] = []

    def collect(machine: Machine) -> AbstractContextManager[None]:
        found.append(_collector(machine))
        return nullcontext()

    ctx.meta[ADDED] = [collect]
    if json:
        ctx.meta[SHOW] = print_error
    try:
        run_it(ctx)
    finally:
        profile = found[0].profile() if found else None
        if profile is not None and profile.instructions:  # otherwise the error message is enough
            _show(profile, name, by, limit, files, json)
