"""The options for fuzz targets, the same for all commands that run inputs.

A command declares `target: Given` and gets the options by `@takes_target`. It runs TARGET.elf with these
options, or else the target of the campaign whose folder the inputs are in.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pltvm.cli.options import check_name, file_behind, one_of, parse_servers, parse_size, refuse_given, whole
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import NAMES, Decision, Kind, decide
from pltvm.host.text import one_line
from pltvm.monitor.abi import PAGE

if TYPE_CHECKING:
    from pltvm.fuzz.options import Options
    from pltvm.fuzz.worker import Worker


_KINDS: Final = ("server", "enclave")
_CHANNELS: Final = ("relay", "shm", "ocalls")
_ORACLES: Final = ("refusal", "stale")


@dataclass(frozen=True)
class Given:
    """The target and its options as parameters of a command."""

    elf: Annotated[
        Path | None,
        typer.Argument(metavar="[TARGET.elf]", help="ELF of the enclave to fuzz.", show_default=False),
    ] = None
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="|".join(_KINDS),
            help="What the target is; default: shown by its calls.",
            autocompletion=one_of(*_KINDS),
        ),
    ] = None
    name: Annotated[str, typer.Option(help="Name of the server; default: the file's name.")] = ""
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Server that the target calls; repeatable.",
            autocompletion=file_behind("="),
        ),
    ] = None
    calls: Annotated[
        int,
        typer.Option(parser=whole(), metavar="N", help="Make up to N calls of the server with each input."),
    ] = 1
    clients: Annotated[
        int, typer.Option(parser=whole(), metavar="N", help="Make the calls from N different callers.")
    ] = 1
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(_CHANNELS),
            help="How input gets into an enclave; repeatable.",
            autocompletion=one_of(*_CHANNELS),
        ),
    ] = None
    memory: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Size of the memory passed, or shared with the host; default: 4K.",
            show_default=False,
        ),
    ] = PAGE
    secret: Annotated[
        str, typer.Option(metavar="SYMBOL|HEX|derived-key", help="Report a leak of this secret.")
    ] = ""
    oracle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(_ORACLES),
            help="Also look for this; repeatable.",
            autocompletion=one_of(*_ORACLES),
        ),
    ] = None
    blocks: Annotated[
        int, typer.Option(parser=whole(), metavar="N", help="Report a hang after N blocks of code.")
    ] = 1_000_000
    ram: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="RAM of the guest machine; default: 64M.",
            show_default=False,
        ),
    ] = 64 << 20
    harness: Annotated[
        Path | None, typer.Option(metavar="FILE.py", help="Python class that says what an input does.")
    ] = None

    def options(self, ctx: typer.Context) -> "tuple[Options, str]":
        """Return the Options, and the evidence against --as; "" for none.

        Raises ArgumentError for invalid options.
        """
        from pltvm.fuzz.options import Options

        if self.elf is None:
            raise ArgumentError("name the ELF of an enclave or a server: pltvm fuzz TARGET.elf")
        check_name(self.name)
        decision = decide(self.elf)
        doubt = _doubt(decision, self.kind) if self.kind is not None else ""
        kind = _kind_of(self.elf, decision, self.kind)
        servers = tuple(
            (one, os.path.abspath(path)) for one, path in parse_servers(self.server or [], concurrent=False)
        )
        options = Options(
            elf=os.path.abspath(self.elf), kind=kind, name=self.name, servers=servers, calls=self.calls,
            clients=self.clients, channels=tuple(self.channel or ["relay"]), memory=self.memory,
            secret=self.secret, oracles=tuple(self.oracle or []), blocks=self.blocks, ram=self.ram,
            harness=os.path.abspath(self.harness) if self.harness else "",
        )  # fmt: skip
        _refuse_idle(ctx, kind)
        return options, doubt


# Options that need TARGET.elf. (A campaign's harness has to be named too, as it is a program.)
_OF_TARGETS: Final = tuple(one.name for one in fields(Given) if one.name not in ("elf", "harness"))


_BY_NAME: Final = inspect.Parameter.KEYWORD_ONLY


def takes_target(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with all parameters of `Given` instead of its parameter `target`."""
    signature = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for one in signature.parameters.values():
        if one.name == "target":
            parameters += [
                one.replace(name=field.name, default=field.default, annotation=field.type, kind=_BY_NAME)
                for field in fields(Given)
            ]
        else:
            parameters.append(one.replace(kind=_BY_NAME))

    @wraps(command)
    def run(**values: Any) -> None:
        target = Given(**{one.name: values.pop(one.name) for one in fields(Given)})
        command(**values, target=target)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


class Workers:
    """The worker for each input, by the options of the command line, or of its campaign."""

    def __init__(self, ctx: typer.Context, given: Given) -> None:
        self._given = given
        self._options: Options | None = None
        self._campaigns: dict[Path, Options] = {}  # by the folder of an input; read before the wall
        self._workers: dict[Options, Worker] = {}
        if given.elf is None:
            why = "needs TARGET.elf; without one, the options are those of the inputs' campaign"
            refuse_given(ctx, why, *_OF_TARGETS)
        else:
            self._options, doubt = given.options(ctx)
            if doubt:
                print(one_line(f"pltvm: {doubt}"), file=typer.get_text_stream("stderr"))

    def options_of(self, file: Path) -> "Options":
        """Return the options for an input."""
        if self._options is not None:
            return self._options
        if file.parent not in self._campaigns:
            self._campaigns[file.parent] = campaign_options(file, self._given.harness)
        return self._campaigns[file.parent]

    def of(self, file: Path) -> "Worker":
        """Return the worker for an input, the same for all inputs with the same options."""
        from pltvm.fuzz.worker import Worker

        options = self.options_of(file)
        if options not in self._workers:
            self._workers[options] = Worker(options)
        return self._workers[options]


def files_of(options: "Options") -> list[str]:
    """Return the files of a target, which have to be readable behind the wall."""
    harness = [os.path.dirname(options.harness)] if options.harness else []
    return [options.elf, *(path for _, path in options.servers), *harness]


def campaign_options(file: Path, harness: Path | None) -> "Options":
    """Return the options of a file's campaign. A harness is code, so it runs only if it is named."""
    from pltvm.fuzz.options import Options
    from pltvm.fuzz.store import find_campaign

    described, _ = find_campaign(file)
    described.pop("seed", None)
    options = Options.from_dict(described)
    if harness is not None and not options.harness:
        raise ArgumentError(f"--harness {harness}: {file} belongs to a campaign without one")
    if options.harness and options.harness != (os.path.abspath(harness) if harness else ""):
        raise PltvmError(f"{file}: belongs to a campaign with a harness: add --harness {options.harness}")
    return options


def _kind_of(target: Path, decision: Decision, wanted: str | None) -> str:
    """Return `server` or `enclave`: from the command line, or else by the calls in the file.

    Raises ArgumentError if it is neither, or unclear: an enclave that is called as a server, or vice versa,
    gives false findings.
    """
    if decision.kind in (Kind.LINUX_PROGRAM, Kind.KERNEL) and (wanted is None or decision.sure):
        what = NAMES[decision.kind]
        instead = ": if it is one, add --as server or --as enclave" if not decision.sure else ""
        raise ArgumentError(
            f"{name_of(target)}: is {what}, not an enclave: it {decision.reasons[0]}; pltvm fuzz is for "
            f"enclaves and servers{instead}"
        )
    if wanted is not None:
        return wanted
    if decision.kind is Kind.ENCLAVE and not decision.server and not decision.exits:
        raise ArgumentError(
            f"{name_of(target)}: does not show what it is: it neither returns as a server does (call 95) nor "
            "ends as an enclave does (call 99); add --as server or --as enclave"
        )
    return "enclave" if decision.exits else "server"


def _refuse_idle(ctx: typer.Context, kind: str) -> None:
    """Refuse options without an effect for this kind of target."""
    if kind == "server":
        refuse_given(ctx, "is for enclaves that a host runs (--as enclave); callers feed a server", "channel")
    elif kind == "enclave":
        refuse_given(ctx, "is for servers (--as server)", "calls", "clients", "oracle")


def _doubt(decision: Decision, kind: str) -> str:
    """Return the evidence against the kind given on the command line; "" for none."""
    if kind == "server" and decision.exits:
        return (
            "--as server: it ends as an enclave does (call 99), and never returns as a server does (call 95)"
        )
    if kind == "enclave" and decision.server:
        return "--as enclave: it returns as a server does (call 95)"
    return ""
