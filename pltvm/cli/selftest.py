"""The command `pltvm selftest`: runs the attack programs and shows what stopped each."""

import sys
import textwrap
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.options import Json, refuse_given
from pltvm.cli.streams import print_json
from pltvm.cli.tables import fit

if TYPE_CHECKING:
    from pltvm.selftest import Outcome

app = typer.Typer(rich_markup_mode=None)
_WIDTH: Final = 100


def line(outcome: "Outcome", width: int) -> str:
    """Return one outcome as a row of the table, with the problem below it."""
    result = "stopped" if outcome.stopped else "NOT STOPPED"
    row = f"{outcome.name:{width}}  {result:11}  {outcome.attempts:5}  {outcome.mechanism}"
    return row if outcome.stopped else f"{row}\n{'':{width}}  {outcome.detail}"


def _offer(incomplete: str) -> list[str]:
    """Return the attacks for shell completion."""
    from pltvm.selftest import attacks

    return [attack.name for attack in attacks() if attack.name.startswith(incomplete)]


@app.command()
def selftest(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Attacks to run; default: all.", autocompletion=_offer),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", help="Also print what each attack tries.")] = False,
    json: Json = False,
) -> None:
    """Run attack programs, and show what stops each.

    They are kernels, enclaves, servers and callers that try to break the isolation.
    """
    from pltvm.selftest import attacks, check_names, run_all

    check_names(names or ())
    if json:
        refuse_given(ctx, "does nothing with --json", "verbose")
    width = max(len(attack.name) for attack in attacks())

    def show(outcome: "Outcome") -> None:
        print(fit(line(outcome, width)), flush=True)
        if verbose:
            room = min(_WIDTH, get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH
            print(textwrap.fill(outcome.tries, room, initial_indent="    ", subsequent_indent="    "))

    if not json:
        print(fit(f"{'attack':{width}}  {'result':11}  tries  stopped by"))
    outcomes = run_all((lambda _outcome: None) if json else show, names or ())
    stopped = sum(outcome.stopped for outcome in outcomes)
    if json:
        print_json({"stopped": stopped, "attacks": [outcome.to_dict() for outcome in outcomes]})
    else:
        attempts = sum(outcome.attempts for outcome in outcomes)
        print(fit(f"\n{stopped} of {len(outcomes)} attacks stopped, {attempts} attempts in all"))
    raise typer.Exit(0 if stopped == len(outcomes) else 1)
