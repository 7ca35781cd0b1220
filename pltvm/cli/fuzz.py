"""The commands `pltvm fuzz` and `pltvm cov`: find bugs in enclaves, and see what a corpus reaches."""

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.options import (
    Confined,
    build_wall,
    check_name,
    parse_servers,
    parse_size,
    refuse_given,
)
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.elf_headers import name_of
from pltvm.host.elf_kind import NAMES, Decision, Kind, decide
from pltvm.host.text import one_line
from pltvm.monitor.abi import PAGE

if TYPE_CHECKING:
    from pltvm.fuzz.options import Options

app = typer.Typer(rich_markup_mode=None)
Memory = Annotated[
    int,
    typer.Option(parser=parse_size, metavar="SIZE", help="Bytes that are passed, or shared with the host."),
]
FOUND: Final = 3  # exit status when there are findings
_Elf = Annotated[Path | None, typer.Argument(metavar="TARGET.elf", help="The enclave.", show_default=False)]


# Options of campaigns, of which a replay has none, and those of targets, which it takes from the folder.
_OF_CAMPAIGNS: Final = (
    *("seeds", "out", "dictionary", "seconds", "executions", "findings", "seed", "processes", "scheduler"),
    "json",
)
_OF_TARGETS: Final = (
    *("kind", "name", "server", "calls", "clients", "channel", "memory", "secret", "oracle", "blocks", "ram"),
)


def _kind_of(target: Path, decision: Decision, wanted: str | None) -> str:
    """`server` or `enclave`: what the command line says, or else what the file calls.

    Raises ArgumentError for what is neither, or shows neither: an enclave that is called as a server, or the
    other way round, gives findings that are none.
    """
    if decision.kind in (Kind.LINUX_PROGRAM, Kind.KERNEL) and (wanted is None or decision.sure):
        what = NAMES[decision.kind]
        instead = "; --as server or --as enclave says that it is one" if not decision.sure else ""
        raise ArgumentError(
            f"{name_of(target)}: is {what}, no enclave, as it {decision.reasons[0]}: pltvm fuzz is for "
            f"enclaves and servers{instead}"
        )
    if wanted is not None:
        return wanted
    if decision.kind is Kind.ENCLAVE and not decision.server and not decision.exits:
        raise ArgumentError(
            f"{name_of(target)}: shows not what it is: it neither returns as a server (call 95) nor ends "
            "as an enclave (call 99): --as server or --as enclave says so"
        )
    return "enclave" if decision.exits else "server"


def _refuse_idle(ctx: typer.Context, kind: str) -> None:
    """Options that do nothing for this kind of target."""
    if kind == "server":
        refuse_given(ctx, "is for enclaves that a host runs (--as enclave); callers feed a server", "channel")
    elif kind == "enclave":
        refuse_given(ctx, "is for servers (--as server)", "calls", "clients", "oracle")


def _doubt(decision: Decision, kind: str) -> str:
    """What speaks against what the command line says that the target is; "" for nothing."""
    if kind == "server" and decision.exits:
        return "--as server: it ends as an enclave does (call 99), and never returns as a server (call 95)"
    if kind == "enclave" and decision.server:
        return "--as enclave: it returns as a server does (call 95)"
    return ""


@app.command()
def fuzz(
    ctx: typer.Context,
    target: _Elf = None,
    kind: Annotated[
        str | None, typer.Option("--as", metavar="server|enclave", help="What it is; default: what it calls.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the server; default: its file's.")] = "",
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="A server that it calls; may be repeated.")
    ] = None,
    calls: Annotated[int, typer.Option(metavar="N", help="An input is up to N calls of the server.")] = 1,
    clients: Annotated[int, typer.Option(metavar="N", help="From N callers.")] = 1,
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="relay|shm|ocalls", help="How input gets into an enclave; may be repeated."),
    ] = None,
    memory: Memory = PAGE,
    secret: Annotated[str, typer.Option(metavar="SYMBOL|HEX|derived-key", help="What nobody may see.")] = "",
    oracle: Annotated[
        list[str] | None, typer.Option(metavar="refusal|stale", help="Look for this too; may be repeated.")
    ] = None,
    blocks: Annotated[int, typer.Option(metavar="N", help="Blocks of code until it is a hang.")] = 1_000_000,
    ram: Annotated[
        int,
        typer.Option(parser=parse_size, metavar="SIZE", help="RAM of the machine: 64M are enough for most."),
    ] = 64 << 20,
    harness: Annotated[Path | None, typer.Option(metavar="FILE.py", help="Says what an input does.")] = None,
    seeds: Annotated[Path | None, typer.Option("-i", metavar="DIR", help="Inputs to start from.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="Output; goes on if it exists.")
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option("-x", metavar="FILE", help="Words, as AFL writes them.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--time", min=0, metavar="SECONDS", help="Stop after that.", show_default=False)
    ] = 0,
    executions: Annotated[
        int, typer.Option("--execs", min=0, metavar="N", help="Stop after so many.", show_default=False)
    ] = 0,
    findings: Annotated[
        int, typer.Option(min=0, metavar="N", help="Stop after so many findings.", show_default=False)
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same campaign.")] = 0,
    processes: Annotated[int, typer.Option("-j", metavar="N", help="Processes that share the corpus.")] = 1,
    scheduler: Annotated[str, typer.Option(metavar="ADDRESS", help="Dask scheduler of a cluster.")] = "",
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Run one input, show a report.")] = None,
    confine: Confined = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead.")] = False,
) -> None:
    """Fuzz an enclave: find inputs that make it fault, hang, or tell what it must not.

    Exit status 0 when nothing was found, 3 when something was.
    """
    from pltvm.fuzz.options import Options

    options, doubt = None, ""
    check_name(name)
    if replay is not None:
        refuse_given(ctx, "is for campaigns, and does nothing with --replay", *_OF_CAMPAIGNS)
    if target is not None:
        decision = decide(target)
        doubt = _doubt(decision, kind) if kind is not None else ""
        kind = _kind_of(target, decision, kind)
        servers = tuple((one, os.path.abspath(path)) for one, path in parse_servers(server or []))
        options = Options(
            elf=os.path.abspath(target), kind=kind, name=name, servers=servers, calls=calls,
            clients=clients, channels=tuple(channel or ["relay"]), memory=memory, secret=secret,
            oracles=tuple(oracle or []), blocks=blocks, ram=ram,
            harness=os.path.abspath(harness) if harness else "",
        )  # fmt: skip
        _refuse_idle(ctx, kind)
    if replay is not None:
        if target is None:
            refuse_given(ctx, "goes with TARGET.elf; without one a replay has its campaign's", *_OF_TARGETS)
        raise typer.Exit(_replay(replay, options, harness, confine))
    if options is None:
        raise ArgumentError("name the ELF of an enclave, or of a server: pltvm fuzz TARGET.elf")
    if doubt:
        print(one_line(f"pltvm: {doubt}"), file=sys.stderr)
    limits = (seconds, executions, findings)
    raise typer.Exit(
        _campaign(options, seeds, out, dictionary, limits, seed, processes, scheduler, confine, json)
    )


def _files_of(options: "Options") -> list[str]:
    """What a target is made of: behind a wall it can be read."""
    harness = [os.path.dirname(options.harness)] if options.harness else []
    return [options.elf, *(path for _, path in options.servers), *harness]


def _build_wall(
    wanted: bool, options: "Options", out: Path, processes: int, scheduler: str
) -> list[str] | None:
    """Build the wall of a campaign; what its processes may read, None when there is to be no wall."""
    if not wanted:
        return None
    files = _files_of(options)
    dask = [Path(place).expanduser() for place in ("/etc/dask", "~/.config/dask") if scheduler]
    build_wall(wanted, [*files, *dask], folder=out, network=bool(scheduler), spawn=processes != 1)
    if scheduler:
        print("pltvm: workers of the cluster are not confined (see docs/threat-model.md)", file=sys.stderr)
    return files


def _campaign(
    options: "Options",
    seeds: Path | None,
    out: Path | None,
    dictionary: Path | None,
    limits: tuple[float, int, int],
    seed: int,
    processes: int,
    scheduler: str,
    confine: bool,
    json: bool,
) -> int:
    from pltvm.fuzz import stopping
    from pltvm.fuzz.campaign import Campaign, Limits, read_seeds
    from pltvm.fuzz.dictionary import read_dictionary
    from pltvm.fuzz.pool import open_pool
    from pltvm.fuzz.status import Status
    from pltvm.fuzz.store import OutputFolder
    from pltvm.fuzz.worker import Worker

    start = read_seeds(seeds)
    words = read_dictionary(dictionary) if dictionary else []
    if scheduler and processes > 1:
        raise ArgumentError("-j is for this machine; with --scheduler the cluster decides")
    kept = out is not None
    out = out or Path(tempfile.mkdtemp(prefix="pltvm-fuzz-"))
    described = {**options.to_dict(), "seed": seed}
    wall = _build_wall(confine, options, out, processes, scheduler)
    with ExitStack() as held:
        worker = Worker(options)
        folder = held.enter_context(
            OutputFolder(out, options=described, command=sys.argv, target=(options.elf,))
        )
        status = held.enter_context(Status(as_json=json))
        pool = open_pool(processes, scheduler, worker, wall)
        if not kept:
            status.note(f"output in {out}")
        campaign = Campaign(worker, pool, folder, status, seed=seed, words=words)
        try:
            with stopping.noted():
                campaign.load(start)
                campaign.run(Limits(*limits))
        except KeyboardInterrupt:
            status.note(f"stopped by Ctrl-C; the same command with -o {out} goes on")
        finally:
            pool.close()
    if not json:
        count = len(campaign.findings)
        print(f"{count} finding{'s' * (count != 1)}, {len(worker.corpus)} inputs in {folder.paths.root}")
    return FOUND if campaign.findings else 0


def _options_of(file: Path, harness: Path | None) -> "Options":
    """The options of the campaign that a file belongs to. A harness is code: it runs only if it is named."""
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


def _replay(file: Path, options: "Options | None", harness: Path | None, confine: bool) -> int:
    """Show the report on one input."""
    from pltvm.fuzz.paths import read_input
    from pltvm.fuzz.worker import Worker

    data = read_input(file.parent, file)
    options = options or _options_of(file, harness)
    build_wall(confine, _files_of(options))
    try:
        finding = Worker(options).explain(data)
    except KeyboardInterrupt:
        raise PltvmError(f"{file}: stopped by Ctrl-C") from None
    if finding is None:
        print(f"{file.name}: runs to its end, and nothing is wrong")
        return 0
    print(finding.report, end="")
    return FOUND


@app.command()
def cov(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output of pltvm fuzz, or inputs of it.")],
    lcov: Annotated[Path | None, typer.Option(metavar="FILE", help="Write lines, for genhtml.")] = None,
    drcov: Annotated[Path | None, typer.Option(metavar="FILE", help="Write blocks, for Lighthouse.")] = None,
    source: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Where source files are; may be repeated.")
    ] = None,
    harness: Annotated[Path | None, typer.Option(metavar="FILE.py", help="That of the campaign.")] = None,
    confine: Confined = True,
) -> None:
    """Show which code the inputs of a campaign reach, and write it for other tools."""
    from pltvm.fuzz.cover import cover
    from pltvm.fuzz.covfile import lines_reached, write_drcov, write_lcov
    from pltvm.fuzz.paths import inputs_of, read_input

    files = inputs_of(folder)
    if not files:
        raise PltvmError(f"{folder}: there are no inputs of a campaign in it")
    options, contents = _options_of(files[0], harness), [read_input(folder, file) for file in files]
    written = [place for path in (lcov, drcov) if path for place in (path, path.resolve().parent)]
    build_wall(confine, _files_of(options), written)
    modules = cover(options, contents, source or [])
    if lcov is not None:
        write_lcov(lcov, modules)
    if drcov is not None:
        write_drcov(drcov, modules)
    for module in modules:
        if module.symbols.note:
            print(f"pltvm: {one_line(module.name)}: {module.symbols.note}", file=sys.stderr)
        print(
            f"{one_line(Path(module.name).name)}: {len(module.blocks)} blocks reached by {len(files)} inputs"
        )
    for name, (reached, lines) in lines_reached(modules).items():
        print(f"{reached:6} of {lines} lines of {one_line(Path(name).name)}")
