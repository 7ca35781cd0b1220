"""The commands about ELFs: info, build, examples."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from pltvm.cli.options import As, Json, Size, check_stack, parse_kind, refuse_given
from pltvm.cli.streams import say
from pltvm.errors import ArgumentError
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


@app.command()
def build(
    sources: Annotated[list[Path], typer.Argument(help="C or assembly files of one enclave.")],
    output: Annotated[Path | None, typer.Option("-o", help="Default: the first source's name, .elf.")] = None,
    opt: Annotated[str, typer.Option("-O", help="Optimization level: 0, 1, 2, 3, s, z.")] = "2",
) -> None:
    """Compile an enclave from C with the SDK and the compiler in the ziglang package."""
    from pltvm.build.enclave import build_enclave

    if opt not in ("0", "1", "2", "3", "s", "z"):
        raise ArgumentError(f"-O {opt}: write one of 0, 1, 2, 3, s, z")
    say(f"built {build_enclave(sources, output or sources[0].with_suffix('.elf'), opt=f'-O{opt}')}")


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
