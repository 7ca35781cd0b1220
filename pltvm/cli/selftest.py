"""The command `pltvm selftest`: runs the attack programs and shows what stopped each."""

import json as json_format
import textwrap
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.options import Json, refuse_given

if TYPE_CHECKING:
    from pltvm.selftest import Outcome

app = typer.Typer(rich_markup_mode=None)
_WIDTH: Final = 100


def line(outcome: "Outcome", width: int) -> str:
    """One outcome as a row of the table, and what went wrong below it."""
    result = "stopped" if outcome.stopped else "NOT STOPPED"
    row = f"{outcome.name:{width}}  {result:11}  {outcome.attempts:5}  {outcome.mechanism}"
    return row if outcome.stopped else f"{row}\n{'':{width}}  {outcome.detail}"


@app.command()
def selftest(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Only these attacks; default: all.")] = None,
    verbose: Annotated[bool, typer.Option("-v", help="Also say what each attack tries.")] = False,
    json: Json = False,
) -> None:
    """Run the attack programs: kernels, enclaves, servers and callers that try to break the isolation."""
    from pltvm.selftest import attacks, check_names, run_all

    check_names(names or ())
    if json:
        refuse_given(ctx, "does nothing with --json", "verbose")
    width = max(len(attack.name) for attack in attacks())

    def show(outcome: "Outcome") -> None:
        print(line(outcome, width), flush=True)
        if verbose:
            print(textwrap.fill(outcome.tries, _WIDTH, initial_indent="    ", subsequent_indent="    "))

    if not json:
        print(f"{'attack':{width}}  {'result':11}  tries  stopped by")
    outcomes = run_all((lambda _outcome: None) if json else show, names or ())
    stopped = sum(outcome.stopped for outcome in outcomes)
    if json:
        print(json_format.dumps([outcome.to_dict() for outcome in outcomes], indent=2))
    else:
        attempts = sum(outcome.attempts for outcome in outcomes)
        print(f"\n{stopped} of {len(outcomes)} attacks stopped, {attempts} attempts in all")
    raise typer.Exit(0 if stopped == len(outcomes) else 1)
