"""The commands about ELFs: info, build, examples."""

import json as json_format
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pltvm.cli.options import As, Json, Size, check_stack, parse_kind, refuse_given
from pltvm.cli.streams import say
from pltvm.errors import ArgumentError, BuildError
from pltvm.host.text import one_line
from pltvm.monitor.abi import DEFAULT_STACK

app = typer.Typer(rich_markup_mode=None)


@app.command()
def info(
    ctx: typer.Context,
    elf: Annotated[str, typer.Argument(help="The ELF of an enclave, or of a host program.")],
    stack_size: Size = DEFAULT_STACK,
    as_kind: As = None,
    json: Json = False,
) -> None:
    """Show what an ELF is and why, what it maps, the memory it takes, and what may go wrong with it."""
    from pltvm.host.elf_info import describe
    from pltvm.host.program_info import ProgramInfo

    check_stack(stack_size)
    about = describe(elf, stack_size, parse_kind(as_kind) if as_kind is not None else None)
    if isinstance(about, ProgramInfo):
        refuse_given(ctx, "is for enclaves: Linux gives a host program its stack", "stack_size")
    print(json_format.dumps(about.to_dict(), indent=2) if json else about)


@app.command(context_settings={"ignore_unknown_options": True})
def build(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMPILER OPTIONS] FILES", help="As of a C compiler.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Find memory errors and undefined behaviour.")
    ] = False,
    sdk: Annotated[bool, typer.Option("--print-sdk", help="Print where the SDK is.")] = False,
) -> None:
    """Compile an enclave with the SDK and the compiler in the ziglang package, which is a driver as cc is.

    FILES are C, C++, assembly, objects and archives. Options are those of a C compiler, and mean the same:
    -o FILE (default: the first file's name, .elf), -O, -g, -I, -D, -U, -l, -L, -W…, -std=…, -f…, -c, -S, -E.
    What follows -- is passed on, too.
    """
    from pltvm.build import arguments, guest
    from pltvm.build.enclave import answer, drive

    if sdk:
        print(guest.guest_dir())
        return
    try:
        asked = arguments.parse(words or [])
    except BuildError as error:
        raise ArgumentError(str(error)) from None
    if asked.asks:
        raise typer.Exit(answer(asked))
    try:
        made = drive(asked, checked=check, symbols=_symbols)
    except BuildError as error:  # the compiler's lines are as many as they are
        say("\n".join(map(one_line, f"pltvm: {error}".splitlines())))
        raise typer.Exit(1) from None
    if not asked.mode:
        say(f"built {made}")


def _symbols(elf: bytes) -> Callable[[int], str]:
    """What is at the addresses of an ELF: functions, files and lines."""
    from pltvm.host.symbols import Symbols

    symbols = Symbols(elf)
    return lambda pc: str(symbols.locate(pc))


@app.command()
def examples(
    copy: Annotated[Path | None, typer.Argument(help="Copy their sources into this folder.")] = None,
) -> None:
    """List the example enclaves that come with the package, or copy their sources."""

    from pltvm.build import guest

    if copy is None:
        for name, example in guest.examples().items():
            print(f"{name:12} {example.summary}")
        print(f"\nTheir ELFs are in {guest.guest_dir() / 'elf'}; `pltvm examples DIR` copies their sources.")
        return
    for path in guest.copy_examples(copy):
        say(f"copied {path}")
