"""The commands `pltvm fuzz` and `pltvm cov`: find bugs in enclaves, and see what a corpus reaches."""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli.findings import FOUND, replay_input
from pltvm.cli.options import Budget, Confined, Json, build_wall, refuse_given, whole
from pltvm.cli.streams import print_json, say
from pltvm.cli.tables import fit
from pltvm.cli.targets import Given, Workers, files_of, takes_target
from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.plain_file import write_plain
from pltvm.host.text import one_line

if TYPE_CHECKING:
    from pltvm.fuzz.options import Options

app = typer.Typer(rich_markup_mode=None)
# Options of campaigns, which a replay does not have.
_OF_CAMPAIGNS: Final = (
    *("seeds", "out", "dictionary", "seconds", "executions", "findings", "seed", "processes", "scheduler"),
)


@app.command()
@takes_target
def fuzz(
    ctx: typer.Context,
    target: Given,
    seeds: Annotated[
        Path | None, typer.Option("-i", metavar="DIR", help="Folder with inputs to start from.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", metavar="DIR", help="Output folder; an earlier campaign in it goes on."),
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option("-x", metavar="FILE", help="Dictionary in AFL's format.")
    ] = None,
    seconds: Budget = 0,
    executions: Annotated[
        int,
        typer.Option(
            "--execs", parser=whole(), metavar="N", help="Stop after N executions.", show_default=False
        ),
    ] = 0,
    findings: Annotated[
        int,
        typer.Option(parser=whole(), metavar="N", help="Stop after N findings.", show_default=False),
    ] = 0,
    seed: Annotated[
        int, typer.Option(parser=whole(), metavar="N", help="Random seed: the same one, the same campaign.")
    ] = 0,
    processes: Annotated[
        int, typer.Option("-j", parser=whole(), metavar="N", help="How many processes.")
    ] = 1,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Run on the cluster of this Dask scheduler.")
    ] = "",
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run one input and print the report on it.")
    ] = None,
    record_run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --replay: record the run for pltvm replay.")
    ] = None,
    confine: Confined = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one a line.")] = False,
) -> None:
    """Search for inputs that make an enclave fault, hang or leak.

    The exit status is 3 if something was found, and 0 if not.
    """
    if replay is not None:
        refuse_given(ctx, "is for campaigns and does nothing with --replay", *_OF_CAMPAIGNS)
        raise typer.Exit(replay_input(replay, Workers(ctx, target), confine, json, record_run))
    refuse_given(ctx, "records the run of --replay FILE, which is missing", "record_run")
    options, doubt = target.options(ctx)
    if doubt:
        say(one_line(f"pltvm: {doubt}"))
    limits = (seconds, executions, findings)
    raise typer.Exit(
        _campaign(options, seeds, out, dictionary, limits, seed, processes, scheduler, confine, json)
    )


def _build_wall(
    wanted: bool, options: "Options", out: Path, processes: int, scheduler: str
) -> list[str] | None:
    """Build the wall of a campaign; return what its processes may read, None without a wall."""
    if not wanted:
        return None
    files = files_of(options)
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
        raise ArgumentError("-j: with --scheduler the cluster decides how many processes run: leave it out")
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
            status.note(f"stopped by Ctrl-C; to go on, run the same command with -o {out}")
        finally:
            pool.close()
    if not json:
        count = len(campaign.findings)
        found = f"{count} finding{'s' * (count != 1)}, {len(worker.corpus)} inputs"
        print(fit(f"{found} in {folder.paths.root}"))
    return FOUND if campaign.findings else 0


@app.command()
@takes_target
def cov(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output of pltvm fuzz, or a folder of inputs.")
    ],
    target: Given,
    lcov: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the lines, for genhtml.")] = None,
    drcov: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the blocks, for Lighthouse.")
    ] = None,
    source: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder to find sources in; repeatable.")
    ] = None,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Show which code a set of inputs reaches."""
    from pltvm.coverage import drcov as blocks_of
    from pltvm.coverage import lcov as lines_of
    from pltvm.fuzz.cover import cover
    from pltvm.fuzz.paths import inputs_of, read_input

    workers = Workers(ctx, target)
    files = inputs_of(folder)
    if not files:
        raise PltvmError(f"{folder}: there are no inputs in it")
    options, contents = workers.options_of(files[0]), [read_input(folder, file) for file in files]
    written = [place for path in (lcov, drcov) if path for place in (path, path.resolve().parent)]
    build_wall(confine, files_of(options), written)
    modules = cover(options, contents, source or [])
    sources = lines_of.source_files(modules)
    if lcov is not None:
        write_plain(lcov, lines_of.text(sources).encode("utf-8", "surrogateescape"))
    if drcov is not None:
        write_plain(drcov, blocks_of.drcov(modules))
    for module in modules:
        if module.symbols.note:
            say(f"pltvm: {one_line(module.name)}: {module.symbols.note}")
    lines = dict(sorted((name, file.reached) for name, file in sources.items()))
    if json:
        blocks = [{"name": module.name, "blocks": len(module.blocks)} for module in modules]
        reached_of = [{"file": name, "reached": one, "lines": all_} for name, (one, all_) in lines.items()]
        print_json({"inputs": len(files), "modules": blocks, "sources": reached_of})
        return
    for module in modules:
        print(
            f"{one_line(Path(module.name).name)}: {len(module.blocks)} blocks reached by {len(files)} inputs"
        )
    for name, (reached, count) in lines.items():
        print(f"{reached:6} of {count} lines of {one_line(Path(name).name)}")
