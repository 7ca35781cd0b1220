"""What is told of a failure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pltvm.explore.accesses import WRITE
from pltvm.explore.failures import Failure
from pltvm.explore.races import Race
from pltvm.explore.subject import Outcome, Place, Subject
from pltvm.host.schedule import NOBODY, Step, shown


@dataclass(frozen=True, slots=True)
class Change:
    """A step of the schedule, and where the chain is that loses the hart, and the one that gets it."""

    step: Step
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.step}   {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A failure with the shortest schedule that shows it. `stacks` are where each chain was, by name."""

    failure: Failure
    seed: int
    number: int  # of the schedule that found it
    steps: tuple[Step, ...]
    changes: tuple[Change, ...]
    stacks: tuple[str, ...] = field(default=())

    @property
    def schedule(self) -> str:
        """For --schedule."""
        return shown(self.steps)

    def lines(self) -> list[str]:
        """For people."""
        which = "the plain one" if self.number == 0 else f"number {self.number} of seed {self.seed}"
        found = [f"{self.failure.kind}: {self.failure.summary}", f"  schedule {which}, shortened:"]
        found += [f"    {change}" for change in self.changes] or ["    no preemption is needed"]
        for stack in self.stacks:
            found += [f"  {line}" for line in stack.splitlines()]
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        failure = self.failure
        return {
            "kind": failure.kind,
            "summary": failure.summary,
            "seed": self.seed,
            "number": self.number,
            "schedule": self.schedule,
            "changes": [str(change) for change in self.changes],
            "stacks": list(self.stacks),
            "fault": failure.fault.to_dict() if failure.fault is not None else None,
        }


def explained(subject: Subject, failure: Failure, seed: int, number: int, outcome: Outcome) -> Finding:
    """A finding of a failing run: where each step of its schedule is, and all stacks. Runs it a few times."""
    steps = tuple(outcome.steps)
    changes = []
    for step, total in zip(steps, outcome.totals, strict=True):
        places = subject.places(steps, total)
        before, after = (_where(subject, places, chain) for chain in (step.chain, step.to))
        changes.append(Change(step, before, after))
    if failure.race is not None:
        stacks = told(subject, failure.race, steps)
    else:
        stacks = [f"in {place.text}" for place in subject.places(steps, failure.total).values()]
    return Finding(failure, seed, number, steps, tuple(changes), tuple(stacks))


def told(subject: Subject, race: Race, steps: Sequence[Step]) -> list[str]:
    """Both accesses of a race, with their stacks. Runs the schedule twice."""
    stacks = []
    for what, row in (("first", race.first), ("second", race.second)):
        verb = "writes" if row.kind & WRITE else "reads"
        place = subject.places(steps, row.total).get(row.chain)
        text = place.text if place is not None else subject.name(row.chain)
        stacks.append(f"the {what} {verb} {row.size} bytes in {text}")
    return stacks


def _where(subject: Subject, places: Mapping[int, Place], chain: int) -> str:
    if chain == NOBODY:
        return "start"
    place, name = places.get(chain), subject.name(chain)
    return f"{name} at {place.location}" if place is not None else f"{name}, which begins"
