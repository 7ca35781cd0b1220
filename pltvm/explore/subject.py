"""What is explored: something that is run from a snapshot, as often as one likes, by any policy.

Enclaves       those of a Python program, together
HostProgram    a Linux program of several threads, in `hosts`
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pltvm.explore.failures import DEADLOCK, FAULT, VALUE, Failure, hang
from pltvm.host import together
from pltvm.host.api import FAULTED, OnOutput
from pltvm.host.chains import Recipe
from pltvm.host.report import FaultReport
from pltvm.host.schedule import Policy, Step, Steps
from pltvm.host.together import Results, Together
from pltvm.host.turns import Turns
from pltvm.machine import Machine
from pltvm.view.enclave import Enclave

MOST: Final = 1_000_000_000  # instructions
Around = Callable[[Turns], AbstractContextManager[object]]


def nothing(_turns: Turns) -> AbstractContextManager[object]:
    """Nothing is around a run."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain is: in a line, and with how it got there."""

    location: str
    text: str

    @classmethod
    def of(cls, report: FaultReport) -> "Place":
        """By the monitor's report."""
        return cls(report.location, report.place)


class Outcome(Protocol):
    """How a run went: the steps of its schedule, and all instructions, at each of them and at the end."""

    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def totals(self) -> Sequence[int]: ...
    @property
    def total(self) -> int: ...


class Subject(Protocol):
    """What is explored. After `most` instructions a run is over; `chains` are those of the last run."""

    machine: Machine
    most: int

    @property
    def chains(self) -> Sequence[int]: ...

    def name(self, chain: int) -> str:
        """Of a chain, for people."""

    def run(self, policy: Policy, most: int | None = None, around: Around = nothing) -> Any:
        """One run, by this policy: its outcome. `around` is entered around it, with its turns."""

    def failure(self, outcome: Any, on_value: bool) -> Failure | None:
        """What is wrong with a run, what came first; with `on_value` also a result that is not 0."""

    def doubt(self, outcome: Any) -> str:
        """How a run without a failure has ended, if that was not well."""

    def places(self, steps: Sequence[Step], total: int) -> dict[int, Place]:
        """Where each chain is that runs when so many instructions have run by this schedule."""


class Enclaves:
    """Enclaves that have not run: `run` puts the machine back to where it is now, and runs them together."""

    def __init__(self, machine: Machine, enclaves: Sequence[Enclave], most: int = MOST) -> None:
        self.machine, self.enclaves, self.most = machine, list(enclaves), most
        self._before = machine.snapshot()

    @property
    def chains(self) -> Sequence[int]:
        """See Subject."""
        return range(len(self.enclaves))

    def name(self, chain: int) -> str:
        """See Subject."""
        return self.enclaves[chain].name if chain < len(self.enclaves) else f"chain {chain}"

    def run(
        self,
        policy: Policy,
        most: int | None = None,
        around: Around = nothing,
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> Results:
        """See Subject."""
        self.machine.restore(self._before)
        inner = [one.startable() for one in self.enclaves]
        recipe = Recipe(most=most or self.most)
        running = Together(self.machine.driver, inner, recipe, on_output, policy)
        with around(running.turns):
            return running.run(timeout)

    def failure(self, outcome: Results, on_value: bool) -> Failure | None:
        """See Subject."""
        faulted = [
            (end, one.fault)
            for end, one in zip(outcome.ends, outcome, strict=True)
            if one.status == FAULTED and one.fault is not None
        ]
        if faulted:
            end, fault = min(faulted, key=lambda one: one[0])
            return Failure(FAULT, (FAULT, fault.location, fault.fault.reason), fault.summary, end, fault)
        if outcome.end == together.DEADLOCK:
            waits = tuple(one.place.location for one in outcome if one.place is not None)
            summary = "; ".join(filter(None, outcome.stuck))
            return Failure(DEADLOCK, (DEADLOCK, waits), summary, outcome.total)
        if outcome.end == together.LIMIT:
            return hang(outcome.total)
        for number, one in enumerate(outcome if on_value else ()):
            if one.retval:
                summary = f"{self.name(number)} returned {one.retval}"
                return Failure(VALUE, (VALUE, number), summary, outcome.ends[number])
        return None

    def doubt(self, outcome: Results) -> str:
        """See Subject."""
        values = [
            f"{self.name(number)} returned {one.retval}" for number, one in enumerate(outcome) if one.retval
        ]
        return "; ".join(dict.fromkeys([*(note for one in outcome for note in one.notes), *values[:1]]))

    def places(self, steps: Sequence[Step], total: int) -> dict[int, Place]:
        """See Subject."""
        if total <= 0:
            return {}
        self.run(Steps(steps), most=total)
        found = {number: one.place for number, one in enumerate(self.enclaves)}
        return {number: Place.of(one) for number, one in found.items() if one is not None}
