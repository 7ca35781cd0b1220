"""The commands. Thin: each turns its options into calls of the package and shows what comes back.

An enclave's own output goes to stdout as it appears; everything else goes to stderr, unless it is what was
asked for. Exit status 0 when the enclave ran to its end, else 1; 2 for a command line that makes no sense.
"""

import json as json_format
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from pltvm.errors import PltvmError
from pltvm.host.api import Enclave
from pltvm.host.elf import Kind, sniff
from pltvm.machine import DEFAULT_RAM, Machine
from pltvm.monitor.abi import DEFAULT_STACK, EnclaveType

app = typer.Typer(
    help="Run Penglai-TVM RISC-V enclaves, unchanged, without hardware.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str | int) -> int:
    """`512M`, `2G`, `64K` or plain bytes → bytes; a default is a number already."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d{1,18})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is no size: write 512M, 2G or a number of bytes")
    return int(match[1]) * _UNITS[match[2].upper()]


Size = Annotated[int, typer.Option(parser=parse_size, metavar="SIZE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print_output(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _file_or_text(value: str | None) -> bytes | None:
    """The contents of the file of that name, or the text itself where there is no such file."""
    if value is None:
        return None
    try:
        return Path(value).read_bytes() if os.path.isfile(value) else value.encode()
    except OSError as error:
        raise PltvmError(f"{value}: cannot be read: {error.strerror}") from None


def _run(enclave: Enclave, as_json: bool, limit: float | None) -> NoReturn:
    """Run an enclave, show how that ended, and leave with its exit status."""
    try:
        result = enclave.run(limit, None if as_json else _print_output)
    except KeyboardInterrupt:
        raise PltvmError(f"{enclave.name}: stopped by Ctrl-C") from None
    if as_json:
        print(json_format.dumps(result.to_dict(), indent=2))
    elif result.fault is not None:
        _say(str(result.fault))
    elif result.ok:
        _say(f"{enclave.name} returned {result.retval}")
    else:
        _say(f"pltvm: {enclave.name}: still running after {limit:g} s (--timeout), stopped")
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="The enclave's ELF.")],
    args: Annotated[list[str] | None, typer.Argument(help="Arguments of a host program.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME=ELF", help="A server enclave; may be repeated.")
    ] = None,
    shm: Annotated[str | None, typer.Option(metavar="FILE|TEXT", help="Memory shared with the host.")] = None,
    relay: Annotated[str | None, typer.Option(metavar="FILE|TEXT", help="Pages handed over.")] = None,
    name: Annotated[str, typer.Option(help="The enclave's own name.")] = "",
    ram: Size = DEFAULT_RAM,
    stack_size: Size = DEFAULT_STACK,
    timeout: Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop after.")] = None,
    json: Json = False,
) -> None:
    """Run an enclave, with the servers that it calls."""
    if sniff(file) is Kind.LINUX_PROGRAM:
        raise PltvmError(f"{file}: is a Linux program; only enclaves can be run so far")
    if args:
        raise PltvmError(f"{file}: is an enclave and takes no arguments ({args[0]!r}): see --shm, --relay")
    machine = Machine(ram)
    for option in server or []:
        server_name, separator, elf = option.partition("=")
        if not separator or not server_name or not elf:
            raise typer.BadParameter(f"{option!r}: write --server NAME=ELF")
        machine.create(elf, name=server_name, type=EnclaveType.SERVER)
    enclave = machine.create(
        file, name=name, stack_size=stack_size, shm=_file_or_text(shm), relay=_file_or_text(relay)
    )
    _run(enclave, json, timeout)


@app.command()
def demo(json: Json = False) -> None:
    """Run the example chain: a caller, and two servers of which one calls the other."""
    from pltvm import sdk

    elves = {name: example.elf for name, example in sdk.examples().items()}
    machine = Machine()
    machine.create(elves["server"], name="test-server", type=EnclaveType.SERVER)
    machine.create(elves["server1"], name="test-server1", type=EnclaveType.SERVER)
    shm, relay = ((number).to_bytes(4, "little") for number in (11111, 22222))
    caller = machine.create(elves["caller"], name="caller", shm=shm, relay=relay)
    _run(caller, json, None)


@app.command()
def info(
    elf: Annotated[str, typer.Argument(help="The enclave's ELF.")],
    stack_size: Size = DEFAULT_STACK,
    json: Json = False,
) -> None:
    """Show what an ELF is, what it maps, the memory it takes, and what may go wrong with it."""
    from pltvm.host.elf_info import describe

    about = describe(elf, stack_size)
    print(json_format.dumps(about.to_dict(), indent=2) if json else about)


@app.command()
def build(
    sources: Annotated[list[Path], typer.Argument(help="C or assembly files of one enclave.")],
    output: Annotated[Path | None, typer.Option("-o", help="Default: the first source's name, .elf.")] = None,
    opt: Annotated[str, typer.Option("-O", help="Optimization level: 0, 1, 2, 3, s, z.")] = "2",
) -> None:
    """Compile an enclave from C with the SDK and the compiler in the ziglang package."""
    from pltvm import sdk

    if opt not in ("0", "1", "2", "3", "s", "z"):
        raise typer.BadParameter(f"-O {opt}: write one of 0, 1, 2, 3, s, z")
    _say(f"built {sdk.build(sources, output or sources[0].with_suffix('.elf'), opt=f'-O{opt}')}")


@app.command()
def examples(
    copy: Annotated[Path | None, typer.Argument(help="Copy their sources into this folder.")] = None,
) -> None:
    """List the example enclaves that come with the package, or copy their sources."""
    from pltvm import sdk

    if copy is None:
        for name, example in sdk.examples().items():
            print(f"{name:12} {example.elf}")
        return
    for path in sdk.copy_examples(copy):
        _say(f"copied {path}")


def main() -> None:
    """The `pltvm` command: every error of ours is one line and exit status 1."""
    try:
        app()
    except PltvmError as error:
        _say(f"pltvm: {error}")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes stdout once more
        sys.exit(1)


if __name__ == "__main__":
    main()
