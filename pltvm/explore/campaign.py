"""A campaign: one schedule after another, until something fails or the budget is over.

    plain run ─▶ points ─▶ policy 1, 2, 3 … ─▶ failure? ─▶ shorten ─▶ explain
                   ▲                │ now and then
                   ╰── the points of a run that went another way

The same seed tries the same schedules in the same order, however fast.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pltvm.errors import ArgumentError
from pltvm.explore.accesses import Accesses, Log
from pltvm.explore.failures import RACE, Failure
from pltvm.explore.findings import Finding, explained
from pltvm.explore.hosts import HostProgram
from pltvm.explore.races import Race, races_of
from pltvm.explore.shrink import shrink
from pltvm.explore.strategies import Mixed, PctStrategy, Points, RandomStrategy, Strategy, points_of
from pltvm.explore.subject import MOST, Outcome, Subject
from pltvm.host.schedule import Policy, Step, Steps

_MORE: Final = 20  # times as many may other runs have
_AT_LEAST: Final = 5_000_000
_LOOK_AGAIN: Final = 50  # runs until more points are looked for
MOST_DEPTH: Final = 16
_FEW: Final = 3  # steps, which one can follow
_NEARBY: Final = 200  # schedules that are tried for so few


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: after so many schedules, or seconds; 0 for never."""

    schedules: int = 0
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class Options:
    """`depth` of PCT, 0 for none; `random`: slices only; `on_value`: a result that is not 0 is a failure."""

    seed: int = 0
    depth: int = 0
    random: bool = False
    races: bool = False
    on_value: bool = False

    def __post_init__(self) -> None:
        if self.depth and self.random:
            raise ArgumentError("--pct and --random are two ways: choose one")
        if not 0 <= self.depth <= MOST_DEPTH:
            raise ArgumentError(f"--pct {self.depth}: a depth is 1 to {MOST_DEPTH}")


class Campaign:
    """Explores the schedules of a subject. `tell` is called after each run."""

    def __init__(self, subject: Subject, options: Options, tell: Callable[["Campaign"], None]) -> None:
        self.subject, self.options, self._tell = subject, options, tell
        self.points = Points()
        self.schedules = 0
        self.plain = ""  # how the plain run ended, if that was not well and is no failure here
        self._accesses = Accesses(subject.machine, isinstance(subject, HostProgram), options.races)
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def run(self, limits: Limits) -> Finding | None:
        """The first failure, or None when the budget is over. Raises KeyboardInterrupt."""
        if self.options.races:
            self._logged(Steps(()), log=False)  # tells pages apart
        finding = self._try(Steps(()), 0)
        if finding is not None:
            return finding
        if len(self.subject.chains) < 2:
            why = f"; {self.plain}" if self.plain else ""
            raise ArgumentError(f"explore: only one thread of it ran, so there is one schedule only{why}")
        self._look(Steps(()))
        strategy = self._strategy()
        while not self._over(limits):
            number = self.schedules
            finding = self._try(strategy.policy(number), number)
            if finding is not None:
                return finding
            if number % _LOOK_AGAIN == 0 and not self.options.races:
                self._look(strategy.policy(number))
        return None

    def _over(self, limits: Limits) -> bool:
        spent = bool(limits.schedules) and self.schedules >= limits.schedules
        return spent or (bool(limits.seconds) and self.seconds >= limits.seconds)

    def _strategy(self) -> Strategy:
        options = self.options
        if options.depth:
            return PctStrategy(options.seed, options.depth, self.points)
        if options.random:
            return RandomStrategy(options.seed)
        return Mixed(options.seed, self.subject, self.points)

    # -- one run -----------------------------------------------------------------------------------------

    def _try(self, policy: Policy, number: int) -> Finding | None:
        results, failure = self._judged(policy)
        if number == 0:
            self.plain = self.subject.doubt(results)
            self.subject.most = min(max(_MORE * results.total, _AT_LEAST), MOST)
        self.schedules += 1
        self._tell(self)
        if failure is None:
            return None
        return self._finding(results, failure, number)

    def _judged(self, policy: Policy) -> tuple[Outcome, Failure | None]:
        """One run, and what is wrong with it."""
        if not self.options.races:
            results = self.subject.run(policy)
            return results, self._failure(results)
        results, log = self._logged(policy)
        failure = self._failure(results)
        if failure is None:
            failure = self._race(self._races(log))
        return results, failure

    def _failure(self, results: Outcome) -> Failure | None:
        return self.subject.failure(results, self.options.on_value)

    def _logged(self, policy: Policy, log: bool = True) -> tuple[Outcome, Log]:
        accesses = self._accesses
        results = self.subject.run(policy, around=lambda turns: accesses.watching(turns, log))
        return results, accesses.log()

    def _look(self, policy: Policy) -> None:
        """Find the points of a run, twice: pages are told apart first."""
        results, _ = self._logged(policy, log=False)
        _, log = self._logged(Steps(results.steps))
        self.points.add(points_of(log))

    # -- races -------------------------------------------------------------------------------------------

    def _races(self, log: Log) -> list[Race]:
        return races_of(log.rows, max(self.subject.chains, default=0) + 1)

    @staticmethod
    def _race(races: Sequence[Race]) -> Failure | None:
        if not races:
            return None
        race = races[0]
        summary = f"two chains touch {race.second.size} bytes, one writes, and nothing orders them"
        return Failure(RACE, (RACE, race.signature), summary, race.second.total, race=race)

    # -- a failure ---------------------------------------------------------------------------------------

    def _simpler(self, failure: Failure, number: int) -> list[Step]:
        """Another schedule, of few steps, for the same kind of failure; none if there is none nearby."""
        mixed = Mixed(self.options.seed, self.subject, self.points)
        if not self.points.all:
            return []
        for chance in range(_NEARBY):
            results, other = self._judged(mixed.preemptions(chance + number * _NEARBY, _FEW))
            if other is None or other.kind != failure.kind:
                continue
            signature = other.signature

            def fails(steps: Sequence[Step], signature: object = signature) -> bool:
                _, again = self._judged(Steps(steps))
                return again is not None and again.signature == signature

            found = shrink(results.steps, fails)
            if len(found) <= _FEW:
                return found
        return []

    def _finding(self, results: Outcome, failure: Failure, number: int) -> Finding:
        """Shorten its schedule, and explain it."""

        def fails(steps: Sequence[Step]) -> bool:
            _, other = self._judged(Steps(steps))
            return other is not None and other.signature == failure.signature

        steps = shrink(results.steps, fails)
        if len(steps) > _FEW:
            steps = self._simpler(failure, number) or steps
        results, again = self._judged(Steps(steps))
        return explained(self.subject, again or failure, self.options.seed, number, results)
