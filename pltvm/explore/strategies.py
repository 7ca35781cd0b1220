"""Which schedule is tried next: a policy for each number of a run, by a seed.

random   slices of any length
PCT      as schedule.Pct says, over all points alike, with its guarantee
mixed    preemptions at a few points, PCT, and slices, in turns: points in code that runs seldom are
         taken as often as those in loops
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pltvm.explore.accesses import CALL, Log
from pltvm.explore.subject import Subject
from pltvm.host.schedule import NOBODY, Chance, Pct, Policy, Random, Step, Steps

_QUANTA: Final = (50, 500, 5000)
_MOST_PREEMPTIONS: Final = 4
_MOST_POINTS: Final = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Before an instruction of a chain that touches what others touch, or calls; `place` is its code."""

    chain: int
    count: int
    place: tuple[int, int]


def points_of(log: Log) -> list[Point]:
    """The points of a run."""
    shared = log.shared
    found = {
        Point(row.chain, row.done, row.place)
        for row in log.rows
        if row.kind & CALL or (row.pa and row.pa >> 3 in shared)
    }
    return sorted(found)[:_MOST_POINTS]


class Points:
    """The points that are known, of all runs that were looked at."""

    def __init__(self) -> None:
        self.all: list[Point] = []
        self._by_place: list[list[Point]] = []

    def add(self, points: Sequence[Point]) -> int:
        """These too; how many of them are new."""
        before = len(self.all)
        self.all = sorted({*self.all, *points})[:_MOST_POINTS]
        places: dict[tuple[int, tuple[int, int]], list[Point]] = {}
        for one in self.all:
            places.setdefault((one.chain, one.place), []).append(one)
        self._by_place = list(places.values())
        return len(self.all) - before

    def draw(self, chance: int) -> tuple[int, Point]:
        """One at random, each place alike; with the next state of `schedule.Chance`."""
        chance, place = Chance.draw(chance, len(self._by_place))
        chance, number = Chance.draw(chance, len(self._by_place[place]))
        return chance, self._by_place[place][number]


class Strategy(Protocol):
    """Gives policies."""

    def policy(self, number: int) -> Policy:
        """That of this run."""


def _seed(seed: int, number: int) -> int:
    return Chance.draw(seed * 0x1_0000_0001 + number, 1 << 63)[1]


class RandomStrategy:
    """Slices of any length, short ones and long ones."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def policy(self, number: int) -> Policy:
        """See Strategy."""
        return Random(_seed(self._seed, number), _QUANTA[number % len(_QUANTA)])


class PctStrategy:
    """PCT for bugs of one depth."""

    def __init__(self, seed: int, depth: int, points: Points) -> None:
        self._seed, self._depth, self._points = seed, depth, points

    def policy(self, number: int) -> Policy:
        """See Strategy."""
        points = [(one.chain, one.count) for one in self._points.all]
        return Pct(_seed(self._seed, number), self._depth, points)


class Mixed:
    """Preemptions at a few points in four runs of eight, PCT in three, slices in one."""

    def __init__(self, seed: int, subject: Subject, points: Points) -> None:
        self._seed, self._subject, self._points = seed, subject, points
        self._random = RandomStrategy(seed)

    def policy(self, number: int) -> Policy:
        """See Strategy."""
        if not self._points.all or number % 8 == 7:
            return self._random.policy(number // 8)
        chance = _seed(self._seed, number)
        if number % 2:
            return Pct(chance, 2 + number // 2 % 3, self._chosen(chance, 8))
        return self.preemptions(chance, _MOST_PREEMPTIONS)

    def preemptions(self, chance: int, most: int) -> Policy:
        """Up to so many, at any points."""
        chance, count = Chance.draw(chance, most)
        steps = []
        chains = self._subject.chains
        chance, first = Chance.draw(chance, len(chains))
        if first:
            steps.append(Step(NOBODY, 0, chains[first]))
        for chain, at in self._chosen(chance, count + 1):
            others = [one for one in chains if one != chain] or [chain]
            chance, to = Chance.draw(chance + 1, len(others))
            steps.append(Step(chain, at, others[to]))
        return Steps(steps)

    def _chosen(self, chance: int, count: int) -> list[tuple[int, int]]:
        found = []
        for _ in range(count):
            chance, point = self._points.draw(chance)
            found.append((point.chain, point.count))
        return found
