"""What is wrong with a run, and what is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pltvm.explore.accesses import WRITE
from pltvm.explore.races import Race
from pltvm.explore.subject import Subject
from pltvm.host.api import FAULTED
from pltvm.host.report import FaultReport
from pltvm.host.schedule import NOBODY, Step, shown
from pltvm.host.together import DEADLOCK, LIMIT, Results

FAULT, HANG, VALUE, RACE = "fault", "hang", "value", "race"


@dataclass(frozen=True, slots=True)
class Failure:
    """That a run has failed. The same `signature`: the same is wrong. `total` instructions had run."""

    kind: str
    signature: tuple[object, ...]
    summary: str
    total: int
    fault: FaultReport | None = None
    race: Race | None = None


def failure_of(results: Results, names: Sequence[str], on_value: bool) -> Failure | None:
    """What is wrong with a run, the first that went wrong; with `on_value` also a result that is not 0."""
    faulted = [
        (end, name, one.fault)
        for end, name, one in zip(results.ends, names, results, strict=True)
        if one.status == FAULTED and one.fault is not None
    ]
    if faulted:
        end, name, fault = min(faulted, key=lambda one: one[0])
        return Failure(FAULT, (FAULT, fault.location, fault.fault.reason), fault.summary, end, fault)
    waits = tuple(one.place.location for one in results if one.place is not None)
    if results.end == DEADLOCK:
        summary = "each chain waits, and none gets any further"
        return Failure(DEADLOCK, (DEADLOCK, waits), summary, results.total)
    if results.end == LIMIT:
        summary = f"not all have come to their ends in {results.total:,} instructions"
        return Failure(HANG, (HANG,), summary, results.total)
    if on_value:
        for number, (name, one) in enumerate(zip(names, results, strict=True)):
            if one.retval:
                return Failure(VALUE, (VALUE, number), f"{name} returned {one.retval}", results.ends[number])
    return None


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


def explained(subject: Subject, failure: Failure, seed: int, number: int, results: Results) -> Finding:
    """A finding of a failing run: where each step of its schedule is, and all stacks. Runs it a few times."""
    steps, names = results.steps, subject.names
    changes = []
    for step, total in zip(steps, results.totals, strict=True):
        places = subject.places(steps, total)
        changes.append(Change(step, _where(names, places, step.chain), _where(names, places, step.to)))
    if failure.race is not None:
        stacks = told(subject, failure.race, steps)
    else:
        found = subject.places(steps, failure.total)
        stacks = [f"in {place.place}" for place in found if place is not None]
    return Finding(failure, seed, number, steps, tuple(changes), tuple(stacks))


def told(subject: Subject, race: Race, steps: Sequence[Step]) -> list[str]:
    """Both accesses of a race, with their stacks. Runs the schedule twice."""
    stacks = []
    for what, row in (("first", race.first), ("second", race.second)):
        verb = "writes" if row.kind & WRITE else "reads"
        place = subject.places(steps, row.total)[row.chain]
        stacks.append(f"the {what} {verb} {row.size} bytes in {_text(place, subject.names[row.chain])}")
    return stacks


def _text(place: FaultReport | None, name: str) -> str:
    return place.place if place is not None else name


def _where(names: Sequence[str], places: Sequence[FaultReport | None], chain: int) -> str:
    if chain == NOBODY:
        return "start"
    place = places[chain] if chain < len(places) else None
    return f"{names[chain]} at {place.location}" if place is not None else f"{names[chain]}, which begins"
