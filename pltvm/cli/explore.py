"""The command `pltvm explore`: the same run under one schedule after another, until it fails."""

import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pltvm.cli.options import (
    Budget,
    Callers,
    Confined,
    Json,
    Ram,
    Relay,
    Servers,
    Shm,
    StackSize,
    build_wall,
    check_stack,
    file_in_bash,
    file_or_text,
    parse_servers,
    refuse_given,
    whole,
)
from pltvm.cli.running import machine_of
from pltvm.cli.several import FOUND, Several, must_be_enclave
from pltvm.cli.streams import print_json, say
from pltvm.cli.tables import clock
from pltvm.errors import ArgumentError
from pltvm.host.elf import load_image
from pltvm.host.elf_kind import Kind, decide
from pltvm.host.text import one_line
from pltvm.machine import DEFAULT_RAM
from pltvm.monitor.abi import DEFAULT_STACK

if TYPE_CHECKING:
    from pltvm.explore.campaign import Campaign
    from pltvm.explore.findings import Finding
    from pltvm.explore.subject import Subject

_OF_ENCLAVES: Final = ("server", "shm", "relay", "callers", "stack_size")
_LINE_EVERY: Final = 5.0  # seconds

app = typer.Typer(rich_markup_mode=None)


@app.command()
def explore(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="ELFs of enclaves, or a host program.", autocompletion=file_in_bash
        ),
    ],
    server: Servers = None,
    shm: Shm = None,
    relay: Relay = None,
    callers: Callers = None,
    ram: Ram = DEFAULT_RAM,
    stack_size: StackSize = DEFAULT_STACK,
    root: Annotated[str, typer.Option(metavar="DIR", help="Folder that a host program sees as /.")] = ".",
    schedules: Annotated[
        int,
        typer.Option(parser=whole(), metavar="N", help="Stop after N schedules.", show_default=False),
    ] = 0,
    seconds: Budget = 0,
    seed: Annotated[
        int,
        typer.Option(parser=whole(), metavar="N", help="Random seed: the same one, the same schedules."),
    ] = 0,
    pct: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="DEPTH",
            help="Only use PCT, for bugs of this depth.",
        ),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Only use time slices of random length.")] = False,
    races: Annotated[bool, typer.Option("--races", help="Count data races as failures.")] = False,
    fail_on_value: Annotated[
        bool, typer.Option("--fail-on-value", help="Count a returned value other than 0 as a failure.")
    ] = False,
    confine: Confined = True,
    json: Json = False,
) -> None:
    """Try many schedules until a run fails.

    It runs several enclaves at once, or a host program of several threads.

    A run fails by a fault, a deadlock or a hang, and by what else the options name. The shortest schedule for
    it is printed. The exit status is 3 if a run failed, and 0 if none did. Without --schedules and --time it
    goes on until Ctrl-C.
    """
    from pltvm.explore.campaign import Campaign, Limits, Options

    check_stack(stack_size)
    options = Options(seed, pct or 0, random, races, fail_on_value)
    subject: Subject
    is_host = decide(files[0]).kind is Kind.LINUX_PROGRAM
    if is_host:
        refuse_given(ctx, "is for enclaves: a host program makes its own", *_OF_ENCLAVES)
        subject, words = _host(files, root, ram, confine)
    else:
        refuse_given(ctx, "is for host programs", "root")
        subject, words = _enclaves(files, server or [], shm, relay, callers, ram, stack_size, confine)
        words = [*(["--races"] if races else []), *words]
    campaign = Campaign(subject, options, _Progress(json).tell)
    finding = None
    try:
        finding = campaign.run(Limits(schedules, seconds))
    except KeyboardInterrupt:
        say("pltvm: stopped by Ctrl-C")
    repeat = "" if finding is None else _repeat(campaign, finding, words, files[0], is_host)
    if finding is None and campaign.plain:
        say(one_line(f"pltvm: {campaign.plain} (--fail-on-value counts values other than 0 as failures)"))
    if json:
        print_json(_to_dict(campaign, finding, repeat))
    else:
        _show(campaign, finding, repeat)
    raise typer.Exit(0 if finding is None else FOUND)


def _repeat(campaign: "Campaign", finding: "Finding", words: list[str], file: str, is_host: bool) -> str:
    """Return the command that shows the failure again; `words` say the same run without a schedule."""
    options = campaign.options
    if options.races and is_host:  # which `run` does not look for: the same seed tries the same schedules
        depth = ["--pct", str(options.depth)] if options.depth else []
        strategy = ["--seed", str(options.seed), *depth, *(["--random"] if options.random else [])]
        limit = ["--schedules", str(campaign.schedules)]
        return f"pltvm explore {shlex.join(['--races', *strategy, *limit, *words])}"
    split = words.index(file)
    return f"pltvm run {shlex.join([*words[:split], '--schedule', finding.schedule, *words[split:]])}"


def _host(files: list[str], root: str, ram: int, confine: bool) -> "tuple[Subject, list[str]]":
    """A host program with its arguments, and what says so to `pltvm run`."""
    from pltvm.explore.hosts import HostProgram

    machine = machine_of(ram, None, None)
    build_wall(confine, [files[0]], links=[root])
    options = [*(["--root", root] if root != "." else []), *_ram(ram)]
    return HostProgram(machine, files[0], files[1:], root), [*options, *files]


def _ram(ram: int) -> list[str]:
    return ["--ram", str(ram)] if ram != DEFAULT_RAM else []


def _enclaves(
    files: list[str], server: list[str], shm: str | None, relay: str | None, callers: int | None, ram: int,
    stack_size: int, confine: bool,
) -> "tuple[Subject, list[str]]":  # fmt: skip
    """Enclaves and their servers, and what says so to `pltvm run`."""
    from pltvm.explore.subject import Enclaves

    for one in files:
        if not os.path.isfile(one):
            load_image(one)  # which says so
        must_be_enclave(one)
    content, handed = file_or_text("--shm", shm), file_or_text("--relay", relay)
    servers = parse_servers(server)
    several = Several(callers, elves=[(one, one) for one in files[1:]])
    if (callers or 1) + len(files) < 3:
        raise ArgumentError(
            "explore: one enclave alone has one schedule only: name several, or add --callers N"
        )
    machine = machine_of(ram, None, None)
    build_wall(confine, [*files, *(elf for _, elf in servers)])
    enclaves = several.create(
        machine, files[0], files[0], decide(files[0]), servers, content, handed, False, stack_size
    )
    options = [
        *(word for pair in server for word in ("--server", pair)),
        *(["--shm", shm] if shm is not None else []), *(["--relay", relay] if relay is not None else []),
        *(["--callers", str(callers)] if callers is not None else []), *_ram(ram),
        *(["--stack-size", str(stack_size)] if stack_size != DEFAULT_STACK else []),
    ]  # fmt: skip
    return Enclaves(machine, enclaves), [*options, *files]


def _to_dict(campaign: "Campaign", finding: "Finding | None", repeat: str) -> dict[str, Any]:
    return {
        "schedules": campaign.schedules,
        "points": len(campaign.points.all),
        "finding": {**finding.to_dict(), "repeat": repeat} if finding is not None else None,
    }


def _show(campaign: "Campaign", finding: "Finding | None", repeat: str) -> None:
    count = f"{campaign.schedules:,} schedule{'s' * (campaign.schedules != 1)}"
    if finding is None:
        print(f"nothing found in {count}")
        return
    print(f"found in {count}")
    for line in finding.lines():
        print(one_line(line))
    print(f"  repeat it: {one_line(repeat)}")


class _Progress:
    """A line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._due = float("inf") if quiet else _LINE_EVERY

    def tell(self, campaign: "Campaign") -> None:
        now = campaign.seconds
        if now < self._due:
            return
        self._due = now + _LINE_EVERY
        speed = campaign.schedules / now if now else 0
        points = len(campaign.points.all)
        say(f"{clock(now)}  {campaign.schedules:,} schedules, {speed:,.0f}/s, points {points:,}")
