"""Commands that run what `pltvm run` runs, with its options, and add something around it."""

from typing import Any, Final

import typer

from pltvm.cli import run
from pltvm.cli.options import refuse_given
from pltvm.errors import ArgumentError

_SHARED: Final = "pltvm.around"  # in click's `meta`: the options and arguments of `run`


class AroundRun(run.RunCommand):
    """A command with the options and arguments of `run`, without those in `left_out`, and its own."""

    left_out: tuple[str, ...] = ()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.run: Any = typer.main.get_group(run.app).commands["run"]
        own = {one.name for one in self.params}
        self.shared = {one.name for one in self.run.params} - own - {*self.left_out}
        self.params = [*(one for one in self.run.params if one.name in self.shared), *self.params]

    def invoke(self, ctx: Any) -> None:
        """Call the function with its own options; those of `run` are in `ctx.meta`."""
        ctx.meta[_SHARED] = {name: value for name, value in ctx.params.items() if name in self.shared}
        ctx.params = {name: value for name, value in ctx.params.items() if name not in self.shared}
        super().invoke(ctx)


def given(ctx: Any) -> dict[str, Any]:
    """Return the options and arguments of `run`, by name: `file`, `args` and others."""
    shared: dict[str, Any] = ctx.meta[_SHARED]
    return shared


def run_it(ctx: Any, **others: Any) -> None:
    """Do `run`, with its given options and `others`, which the command has left out."""
    command: AroundRun = ctx.command
    missing = {one.name for one in command.run.params} - command.shared
    ctx.params = dict.fromkeys(missing) | {"json": False} | given(ctx) | others
    command.run.invoke(ctx)


def refuse_options(ctx: Any, why: str, but: tuple[str, ...]) -> None:
    """Raise ArgumentError if an option of `run` is given that is not in `but`, or anything behind FILE."""
    if behind := given(ctx)["args"]:
        raise ArgumentError(f"{behind[0]} {why}")
    names = [name for name in given(ctx) if name not in ("file", "args", *but)]
    ctx.params |= given(ctx)
    refuse_given(ctx, why, *names)
