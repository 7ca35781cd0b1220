"""The commands about ELFs: info, build, examples."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

import typer

from pltvm.cli.options import As, Json, StackSize, check_stack, own_options, parse_kind, refuse_given
from pltvm.cli.streams import print_json, say
from pltvm.cli.tables import fit, is_narrow
from pltvm.errors import ArgumentError, BuildError
from pltvm.host.text import one_line
from pltvm.monitor.abi import DEFAULT_STACK

app = typer.Typer(rich_markup_mode=None)
_PRINTS: Final = ("-E", "-M", "-MM", "-fsyntax-only")  # options that make no file


@app.command()
def info(
    ctx: typer.Context,
    elf: Annotated[str, typer.Argument(help="ELF of an enclave, or a host program.")],
    stack_size: StackSize = DEFAULT_STACK,
    as_kind: As = None,
    json: Json = False,
) -> None:
    """Show what an ELF is, what it maps, and what may go wrong.

    Also why it is taken for that, and how much memory it needs.
    """
    from pltvm.host.elf_info import describe
    from pltvm.host.program_info import ProgramInfo

    check_stack(stack_size)
    about = describe(elf, stack_size, parse_kind(as_kind) if as_kind is not None else None)
    if isinstance(about, ProgramInfo):
        refuse_given(ctx, "is for enclaves: Linux gives a host program its stack", "stack_size")
    if json:
        print_json(about.to_dict())
    else:
        print(fit(about.text(narrow=is_narrow())))


# No -h for the parser, which would also find it in -larchive.
@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
def build(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMPILER OPTIONS] FILES", help="As for a C compiler.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make the enclave detect memory errors and undefined behaviour.")
    ] = False,
    sdk: Annotated[bool, typer.Option("--print-sdk", help="Print the folder of the SDK.")] = False,
    json: Json = False,
) -> None:
    """Compile an enclave; the options are those of cc.

    FILES are C, C++, assembly, objects and archives. Options of a C compiler mean the same here: -o FILE
    (default: the first file's name with .elf), -O, -g, -I, -D, -U, -l, -L, -W…, -std=…, -f…, -c, -S, -E.
    Everything after -- goes to the compiler as it is. The compiler is clang of the package ziglang.
    """
    from pltvm.build import arguments, guest
    from pltvm.build.enclave import answer, drive
    from pltvm.host.symbols import places_of

    if "-h" in (words or ()):
        print(ctx.get_help())
        return
    if sdk:
        if json:
            print_json({"sdk": str(guest.guest_dir())})
        else:
            print(guest.guest_dir())
        return
    try:
        asked = arguments.parse(words or [])
    except BuildError as error:
        raise ArgumentError(f"{error}{_meant(ctx, words or [])}") from None
    if json and (asked.asks or asked.mode in _PRINTS):
        raise ArgumentError("--json: the compiler prints text here and makes no file: leave it out")
    if asked.asks:
        raise typer.Exit(answer(asked))
    try:
        made = drive(asked, checked=check, symbols=places_of)
    except BuildError as error:  # the compiler's messages can have many lines
        say("\n".join(map(one_line, f"pltvm: {error}{_meant(ctx, asked.flags, str(error))}".splitlines())))
        raise typer.Exit(1) from None
    if json:
        print_json({"made": [str(path) for path in made], "checked": check})
    elif not asked.mode:
        say(f"built {made[0]}")


def _meant(ctx: typer.Context, words: Sequence[str], named: str | None = None) -> str:
    """Return a question about a word that is nearly an option of this command, and is in `named` if given."""
    own = [*own_options(ctx), "--help"]
    for word in words:
        if word.startswith("-") and word not in own and (named is None or word in named):
            for near in get_close_matches(word, own, 1, 0.75):
                return f"; did you mean {near} ({word})?"
    return ""


@app.command()
def examples(
    copy: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Copy the sources into this folder.")
    ] = None,
    built: Annotated[
        bool, typer.Option("--built", help="Also copy the ELFs of enclaves and host programs.")
    ] = False,
    json: Json = False,
) -> None:
    """List the example enclaves, or copy them into a folder."""

    from pltvm.build import guest

    if copy is not None:
        copied = guest.copy_examples(copy, built=built)
        if json:
            print_json({"copied": [str(path) for path in copied]})
        else:
            say("\n".join(f"copied {path}" for path in copied))
        return
    if built:
        raise ArgumentError("--built needs a folder to copy into: pltvm examples --built DIR")
    if json:
        print_json(
            {
                "examples": [
                    {"name": name, "summary": one.summary, "source": str(one.source), "elf": str(one.elf)}
                    for name, one in guest.examples().items()
                ]
            }
        )
        return
    for name, example in guest.examples().items():
        print(fit(f"{name:12}  {example.summary}"))
    print(
        fit("\n`pltvm examples DIR` copies the sources, those of host programs too; --built also the ELFs.")
    )
