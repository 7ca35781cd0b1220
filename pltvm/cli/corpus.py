"""The commands about many inputs, under the names that AFL++ gives them: triage, cmin, tmin, showmap."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pltvm.cli import tables
from pltvm.cli.options import Confined, Json, build_wall
from pltvm.cli.streams import print_json, say
from pltvm.cli.targets import Given, Workers, files_of, takes_target
from pltvm.errors import ArgumentError, PltvmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pltvm.fuzz.corpus import Edges
    from pltvm.fuzz.triage import Group, Replayed

app = typer.Typer(rich_markup_mode=None)
FOUND: Final = 3  # exit status when there are findings
_STDOUT: Final = Path("-")
_In = Annotated[Path, typer.Option("-i", metavar="DIR|FILE", help="Folder of inputs, or one input.")]


def _confine(
    wanted: bool, workers: Workers, root: Path, files: list[Path], *written: Path, folder: Path | None = None
) -> None:
    """Confine this process to the files of the targets, the inputs beneath `root`, and its output."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PltvmError(f"{folder}: cannot be written: {error.strerror}") from None
    elves = sorted({name for file in files for name in files_of(workers.options_of(file))})
    build_wall(wanted, [*elves, root], written, folder=folder)


def _stopped(what: Path) -> PltvmError:
    return PltvmError(f"{what}: stopped by Ctrl-C")


@app.command()
@takes_target
def triage(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output of pltvm fuzz, or a folder of inputs.")
    ],
    target: Given,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Replay all findings of a folder, and group them by bug.

    The exit status is 3 if one still shows something, and 0 if none does.
    """
    from pltvm.fuzz.paths import findings_of
    from pltvm.fuzz.triage import groups_of, replay_all

    workers = Workers(ctx, target)
    files = findings_of(folder)
    if not files:
        raise PltvmError(f"{folder}: there are neither findings nor inputs in it")
    _confine(confine, workers, folder, files)
    try:
        with tables.Counting("replayed", quiet=json) as progress:
            replayed = list(replay_all(folder, workers.of, progress))
    except KeyboardInterrupt:
        raise _stopped(folder) from None
    groups = groups_of(replayed)
    if json:
        found, grouped = ([one.to_dict() for one in rows] for rows in (replayed, groups))
        print_json({"findings": found, "groups": grouped})
    else:
        _show_groups(folder, groups)
        _show_replayed(folder, replayed, groups)
    raise typer.Exit(FOUND if groups else 0)


def _show_groups(folder: Path, groups: "list[Group]") -> None:
    if groups:
        tables.show(
            "what they show",
            ("#>", "inputs>", "kind", "what", "shortest"),
            [
                (
                    str(at),
                    str(len(group.inputs)),
                    group.finding.kind,
                    group.finding.summary,
                    str(group.inputs[0].file.relative_to(folder)),
                )
                for at, group in enumerate(groups, 1)
            ],
        )


def _show_replayed(folder: Path, replayed: "list[Replayed]", groups: "list[Group]") -> None:
    """Print the inputs, each with the number of its group, and the number of remaining ones."""
    number = {one.file: str(at) for at, group in enumerate(groups, 1) for one in group.inputs}
    tables.show(
        "inputs",
        ("file", "bytes>", "reported", "now", "#>"),
        [
            (
                str(one.file.relative_to(folder)),
                str(one.size),
                one.then or "-",
                one.outcome if one.now is None or one.then else one.now.kind,
                number.get(one.file, ""),
            )
            for one in replayed
        ],
    )
    showing = sum(one.now is not None for one in replayed)
    print(f"{showing} of {len(replayed)} inputs show something: {_count(len(groups), 'different finding')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@app.command()
@takes_target
def cmin(
    ctx: typer.Context,
    target: Given,
    inputs: _In,
    out: Annotated[Path, typer.Option("-o", metavar="DIR", help="New folder for the inputs that are kept.")],
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Keep the fewest inputs that reach the same code.

    Of these, the shortest. Inputs that show a finding are left out: see pltvm triage.
    """
    from pltvm.fuzz.corpus import fewest, reached, tuples
    from pltvm.fuzz.paths import inputs_of, read_input
    from pltvm.host.plain_file import write_plain

    workers = Workers(ctx, target)
    files = inputs_of(inputs)
    if not files:
        raise PltvmError(f"{inputs}: there are no inputs in it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PltvmError(f"{out}: holds something else; name a new or empty folder")
    _confine(confine, workers, inputs, files, folder=out)
    contents: dict[str, bytes] = {}
    maps: dict[str, tuple[int, set[tuple[int, int]]]] = {}
    found = 0
    try:
        with tables.Counting("run", quiet=json) as progress:
            for done, file in enumerate(files):
                progress(done, len(files))
                data = read_input(inputs, file)
                edges, execution = reached(workers.of(file).target, data)
                if execution.problem is not None:
                    found += 1
                    continue
                name = file.name if file.name not in contents else f"{file.parent.parent.name},{file.name}"
                contents[name] = data
                maps[name] = len(data), tuples(edges)
    except KeyboardInterrupt:
        raise _stopped(inputs) from None
    if not contents:
        raise PltvmError(f"{inputs}: all of its inputs show a finding: see pltvm triage")
    kept = fewest(maps)
    for name in kept:
        write_plain(out / name, contents[name])
    total = len(set().union(*(reaches for _, reaches in maps.values())))
    if json:
        about = {"inputs": len(files), "findings": found, "tuples": total}
        print_json({**about, "kept": [str(out / name) for name in kept]})
        return
    if found:
        say(f"pltvm: {_count(found, 'input')} left out for showing a finding: see pltvm triage")
    print(f"kept {len(kept)} of {len(files)} inputs, which reach all {total} tuples, in {out}")


@app.command()
@takes_target
def tmin(
    ctx: typer.Context,
    target: Given,
    file: Annotated[Path, typer.Option("-i", metavar="FILE", help="Input to shorten.")],
    out: Annotated[Path, typer.Option("-o", metavar="FILE", help="Write the shorter input to FILE.")],
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Shorten an input without changing what it shows.

    An input with a finding keeps the finding; any other one reaches the same edges as often. Bytes that do
    not matter are removed or set to zero. Ctrl-C keeps the shortest input so far.
    """
    from pltvm.fuzz.paths import read_input
    from pltvm.fuzz.shorten import least
    from pltvm.host.plain_file import write_plain

    workers = Workers(ctx, target)
    data = read_input(file.parent, file)
    _confine(confine, workers, file.parent, [file], out, out.resolve().parent)
    worker = workers.of(file)
    finding = worker.explain(data)
    path = worker.target.execute(data, keep=False).path
    shows = None if finding is None else worker.shows(finding)
    best, tries, stopped = data, 0, False

    def same(other: bytes) -> bool:
        nonlocal best, tries
        tries += 1
        progress(tries, more=f"{len(best)} bytes")
        execution = worker.target.execute(other, keep=False)
        if shows is None:
            same = execution.problem is None and execution.path == path
        else:
            same = execution.problem is not None and shows(other)
        best = other if same else best
        return same

    try:
        with tables.Counting("tried", quiet=json) as progress:
            best = least(data, same)
    except KeyboardInterrupt:
        stopped = True
    write_plain(out, best)
    what = "edges" if finding is None else finding.summary
    if json:
        about = None if finding is None else finding.to_dict()
        print_json(
            {"file": str(out), "before": len(data), "bytes": len(best), "stopped": stopped, "finding": about}
        )
        return
    if stopped:
        say("pltvm: stopped by Ctrl-C; what was found so far is kept")
    print(f"{out}: {len(best)} bytes of {len(data)}, with the same {what}")


@app.command()
@takes_target
def showmap(
    ctx: typer.Context,
    target: Given,
    inputs: _In,
    out: Annotated[
        Path,
        typer.Option(
            "-o", metavar="FILE|DIR|-", help="Where the map goes; for a folder, a map for each input."
        ),
    ] = _STDOUT,
    union: Annotated[bool, typer.Option("-C", help="For a folder: one map of all inputs together.")] = False,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Print the edges that inputs reach, in afl-showmap's format.

    That is EDGE:CLASS, one a line. The exit status is 3 if an input shows a finding.
    """
    from pltvm.fuzz.corpus import as_text, classes_of, merge
    from pltvm.fuzz.paths import inputs_of
    from pltvm.host.plain_file import write_plain

    workers = Workers(ctx, target)
    many = inputs.is_dir()
    if union and not many:
        raise ArgumentError("-C: it needs a folder of inputs (-i DIR)")
    if many and not union and not json and out == _STDOUT:
        raise ArgumentError("-i DIR: add -C for one map of all inputs, or -o DIR for a map of each")
    if json and out != _STDOUT:
        raise ArgumentError("--json: it prints to stdout: leave out -o")
    files = inputs_of(inputs) if many else [inputs]
    if not files:
        raise PltvmError(f"{inputs}: there are no inputs in it")
    root = inputs if many else inputs.parent
    each = many and not union and out != _STDOUT
    written = () if out == _STDOUT or each else (out, out.resolve().parent)
    _confine(confine, workers, root, files, *written, folder=out if each else None)
    all_edges: Edges = {}
    maps = []

    def take(file: Path, edges: "Edges", kind: str | None) -> None:
        merge(all_edges, edges)
        if each:
            write_plain(out / file.name, as_text(edges).encode())
        maps.append({"file": str(file), "kind": kind, "edges": classes_of(edges) if json else []})

    _reach(workers, inputs, root, files, take, quiet=json)
    found = sum(one["kind"] is not None for one in maps)
    if json:
        print_json({"maps": maps, "all": classes_of(all_edges)})
        raise typer.Exit(FOUND if found else 0)
    if out == _STDOUT:
        print(as_text(all_edges), end="")
    elif not each:
        write_plain(out, as_text(all_edges).encode())
    shown = len(classes_of(all_edges))
    finding = f", {_count(found, 'finding')}" if found else ""
    say(f"{_count(shown, 'edge')} of {_count(len(files), 'input')}{finding}")
    raise typer.Exit(FOUND if found else 0)


def _reach(
    workers: Workers,
    inputs: Path,
    root: Path,
    files: list[Path],
    take: "Callable[[Path, Edges, str | None], None]",
    quiet: bool,
) -> None:
    """Run each input; `take` gets it, the edges that it reaches, and the kind of its finding."""
    from pltvm.fuzz.corpus import reached
    from pltvm.fuzz.paths import read_input

    try:
        with tables.Counting("run", quiet=quiet) as progress:
            for done, file in enumerate(files):
                progress(done, len(files))
                edges, execution = reached(workers.of(file).target, read_input(root, file))
                take(file, edges, execution.problem.kind if execution.problem is not None else None)
    except KeyboardInterrupt:
        raise _stopped(inputs) from None
