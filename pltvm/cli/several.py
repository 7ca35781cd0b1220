"""Runs several enclaves at once, for commands: their options, and showing the results.

pltvm run A.elf B.elf             two chains
pltvm run A.elf --callers 3       three of the same
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from pltvm.cli.options import file_or_text
from pltvm.cli.running import HOW_TO_GIVE, Manner, create_servers, hinting, say_what_is_lost
from pltvm.cli.streams import print_json, say
from pltvm.cli.tables import say_report
from pltvm.errors import ArgumentError
from pltvm.host.api import FAULTED
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.elf_kind import Decision, Kind, decide
from pltvm.host.schedule import policy_of
from pltvm.host.text import one_line
from pltvm.machine import Machine
from pltvm.view.enclave import Enclave

if TYPE_CHECKING:
    from pltvm.host.together import Results

MOST_CALLERS: Final = 1000
FOUND: Final = 3  # exit status for races, as of `pltvm fuzz` for findings
_RACE: Final = "race: two chains touch the same bytes, one writes, and nothing orders them"
_SHOWN: Final = 2000  # characters of a schedule


@dataclass(slots=True)
class Several:
    """Enclaves to run at once, and their schedule; `elves` are those after the first, by name.

    Raises ArgumentError for invalid options.
    """

    callers: int | None = None
    quantum: int | None = None
    schedule: str | None = None
    elves: list[tuple[str, Source]] = field(default_factory=list)
    races: bool = False

    def __post_init__(self) -> None:
        if self.callers is not None and not 1 <= self.callers <= MOST_CALLERS:
            raise ArgumentError(f"--callers {self.callers}: it must be 1 to {MOST_CALLERS}")
        policy_of(self.schedule, self.quantum)
        if self.wanted:  # before the wall, as compiled modules cannot be written behind it
            import pltvm.host.together
        if self.races:
            import pltvm.explore.look  # noqa: F401

    @property
    def wanted(self) -> bool:
        """Whether several enclaves were requested."""
        return (
            bool(self.elves)
            or self.races
            or any(one is not None for one in (self.callers, self.quantum, self.schedule))
        )

    def create(
        self,
        machine: Machine,
        elf: Source,
        file: str,
        decision: Decision,
        servers: Sequence[tuple[str, Source]],
        content: bytes | None,
        handed: bytes | None,
        has_disk: bool,
        stack_size: int,
    ) -> list[Enclave]:
        """Create the servers and all callers. Each caller gets its own pages of `handed`."""
        memory = create_servers(machine, servers, content, has_disk)
        first = [(file, elf)] * (self.callers or 1)
        made = []
        for number, (name, source) in enumerate([*first, *self.elves]):
            with hinting(decision):
                own = f"caller{number}" if handed is not None else ""  # relay pages are bound to names
                enclave = machine.create(source, name=own, stack_size=stack_size, shm=memory, relay=handed)
            enclave.inner.label = one_line(f"{name_of(name)}#{number}")
            made.append(enclave)
        return made

    def run(self, machine: Machine, enclaves: Sequence[Enclave], manner: Manner) -> NoReturn:
        """Run them, show how that ended, and exit with a status: 0 if all ran to their ends."""
        races: list[list[str]] = []
        try:
            if self.races:
                from pltvm.explore.look import races_in

                results, races = races_in(
                    machine, enclaves, lambda: policy_of(self.schedule, self.quantum), manner.limit,
                    manner.output,
                )  # fmt: skip
            else:
                results = machine.run_together(
                    enclaves, schedule=self.schedule, quantum=self.quantum, timeout=manner.limit,
                    on_output=manner.output,
                )  # fmt: skip
        except KeyboardInterrupt:
            manner.stopped(", ".join(one.name for one in enclaves), *(one.place for one in enclaves))
        if manner.as_json:
            print_json(to_dict(enclaves, results) | {"races": races})
        else:
            show(enclaves, results, manner)
            for race in races:
                say(_RACE)
                for line in "\n".join(race).splitlines():
                    say(one_line(f"  {line}"))
        say_what_is_lost(machine)
        if races:
            raise typer.Exit(FOUND)
        if manner.exit_code and len(results) == 1 and results[0].retval is not None:
            raise typer.Exit(results[0].retval & 0xFF)
        raise typer.Exit(0 if all(one.ok for one in results) else 1)


def schedule_text(option: str | None) -> str | None:
    """Return the schedule of --schedule, which may be in a file."""
    if option is None or not option.startswith("@"):
        return option
    return (file_or_text("--schedule", option) or b"").decode("ascii", "replace").strip()


def must_be_enclave(file: str) -> None:
    """Raise ArgumentError unless the file is an enclave."""
    decision = decide(file)
    if decision.kind is Kind.ENCLAVE and not (decision.server and not decision.exits):
        return
    if decision.kind is not Kind.LINUX_PROGRAM:
        load_image(file)  # raises for what is no enclave at all
    what = {
        Kind.LINUX_PROGRAM: "is a host program, which runs alone",
        Kind.KERNEL: "is a kernel program, which runs alone",
    }.get(decision.kind, "is a server, which runs when an enclave calls it: --server NAME=ELF")
    raise ArgumentError(f"{file}: {what}; enclaves that a host starts can run at once")


def show(enclaves: Sequence[Enclave], results: "Results", manner: Manner) -> None:
    """Show how a run has ended, chain by chain."""
    for enclave, result in zip(enclaves, results, strict=True):
        for note in result.notes:
            say(one_line(f"pltvm: {enclave.name}: {note}{HOW_TO_GIVE}"))
        if result.fault is not None:
            say_report(result.fault)
        elif result.ok:
            say(f"{enclave.name} returned {result.retval}")
        elif result.status == FAULTED or result.place is None:
            say(f"{enclave.name} {result.status}")
    if results.end == "deadlock":
        say("pltvm: deadlock: each chain waits, and none gets any further")
    elif results.end == "time limit":
        manner.too_late(", ".join(one.name for one in enclaves))
    for stuck, result in zip(results.stuck, results, strict=True):
        if stuck:
            say(one_line(f"  {stuck}"))
        if result.place is not None:
            say(f"  in {result.place.place}")
    if not all(one.ok for one in results) and results.steps:
        text = results.schedule
        if len(text) <= _SHOWN:
            say(f"pltvm: it repeats by --schedule {text!r}")


def to_dict(enclaves: Sequence[Enclave], results: "Results") -> dict[str, Any]:
    """Return everything as plain data, for JSON."""
    return {
        "end": results.end,
        "schedule": results.schedule,
        "output": results.output,
        "chains": [
            {"name": enclave.name, "instructions": count, **result.to_dict()}
            for enclave, count, result in zip(enclaves, results.counts, results, strict=True)
        ],
    }
