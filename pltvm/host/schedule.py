"""Decides which chain or thread runs next: policies, and schedules as text.

    round robin   the next one in order, after a slice of so many instructions
    random        any one, after slices of random length, by a seed
    PCT           the one with the highest priority; at d − 1 points a priority drops ("probabilistic
                  concurrency testing", Burckhardt et al. 2010)
    Steps         as given by a text

A policy is asked at decision points: at the start, when a chain yields, waits or has ended, and when it has
reached the count of instructions that the policy asked for. Counts are of a chain's own instructions: they do
not depend on what ran in between, as long as the chain takes the same path.

    0@1500>1 1@320>0 start>2        chain 0 is preempted when 1,500 of its instructions have run, by chain 1 …

A text is a set of steps. Without a step, a chain goes on until it yields, waits, ends, or has run `PATIENCE`
instructions, and then the next one runs. So a step can be left out without changing the meaning of the
others.

**What PCT guarantees.** With n chains and k points at which priorities may change, a run finds a bug of depth
d (d events must come in one order; most bugs have 1 to 3) with a probability of at least 1 / (n · k^(d−1)).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from pltvm.errors import ArgumentError
from pltvm.host.plain import Part

QUANTUM: Final = 100_000  # instructions of a round-robin slice, by default
RANDOM_QUANTUM: Final = 10_000  # the same for random slices, on average
PATIENCE: Final = 1_000_000  # instructions that a chain may run at once without a step
NOBODY: Final = -1
MOST_STEPS: Final = 100_000
_MASK: Final = (1 << 64) - 1
_STEP: Final = re.compile(r"(?:(\d+)@(\d+)|start)>(\d+)")
_LARGEST: Final = 1 << 62


class Why(Enum):
    """The reason for a decision."""

    START = "start"
    SLICE = "slice"  # it has reached the policy's count
    YIELD = "yield"
    OVER = "over"  # it has ended, or waits


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """After `count` instructions of a chain, another one gets the hart; chain NOBODY means at the start."""

    chain: int
    count: int
    to: int

    def __str__(self) -> str:
        return f"start>{self.to}" if self.chain == NOBODY else f"{self.chain}@{self.count}>{self.to}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A decision point. `ready` are the chains that can run, in order, with the current one if it can."""

    why: Why
    current: int
    ready: Sequence[int]
    counts: Mapping[int, int]

    @property
    def next(self) -> int:
        """Return the next ready chain in order."""
        return next((one for one in self.ready if one > self.current), self.ready[0])

    @property
    def count(self) -> int:
        """The number of instructions of the current chain."""
        return self.counts.get(self.current, 0)


class Policy(Protocol):
    """Decides which chain runs. Its state is plain data, to be saved in snapshots."""

    state: Any

    def choose(self, moment: Moment) -> int:
        """Return one of the ready chains."""

    def until(self, chain: int, count: int) -> int:
        """Return the count of instructions at which to ask again, for a chain that goes on from `count`.

        It is asked anyway after PATIENCE instructions at once.
        """


class RoundRobin(Part[int]):
    """Round robin, with slices of `quantum` instructions."""

    def __init__(self, quantum: int = QUANTUM) -> None:
        self._quantum = quantum
        self.state = 0

    def choose(self, moment: Moment) -> int:
        """See Policy."""
        return moment.next

    def until(self, _chain: int, count: int) -> int:
        """See Policy."""
        return count + self._quantum


class Chance:
    """Random numbers that are the same on every machine, with one number as state (splitmix64)."""

    @staticmethod
    def seeded(seed: int) -> int:
        """Return the first state."""
        return seed & _MASK

    @staticmethod
    def draw(state: int, most: int) -> tuple[int, int]:
        """Return the next state, and a number below `most`."""
        state = (state + 0x9E37_79B9_7F4A_7C15) & _MASK
        word = ((state ^ state >> 30) * 0xBF58_476D_1CE4_E5B9) & _MASK
        word = ((word ^ word >> 27) * 0x94D0_49BB_1331_11EB) & _MASK
        return state, (word ^ word >> 31) % most


class Random(Part[int]):
    """Any ready chain, after slices of one to `2 · quantum` instructions, by `seed`."""

    def __init__(self, seed: int, quantum: int = RANDOM_QUANTUM) -> None:
        self._quantum = quantum
        self.state = Chance.seeded(seed)

    def _below(self, most: int) -> int:
        self.state, number = Chance.draw(self.state, most)
        return number

    def choose(self, moment: Moment) -> int:
        """See Policy."""
        return moment.ready[self._below(len(moment.ready))]

    def until(self, _chain: int, count: int) -> int:
        """See Policy."""
        return count + 1 + self._below(2 * self._quantum)


class Steps(Part[int]):
    """Follows `steps`; otherwise a chain goes on until it yields, waits, ends, or has run PATIENCE
    instructions."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._to = {(one.chain, one.count): one.to for one in steps}
        self._counts: dict[int, list[int]] = {}
        for chain, count in sorted(self._to, reverse=True):
            self._counts.setdefault(chain, []).append(count)
        self.state = 0

    def must_be_of(self, chains: int) -> None:
        """Raise ArgumentError if a step names a chain outside 0 … `chains` − 1."""
        named = {chain for chain, _ in self._to} | set(self._to.values())
        for one in sorted(named):
            if one >= chains:
                raise ArgumentError(f"schedule: there is no chain {one}: they are numbered 0 to {chains - 1}")

    def choose(self, moment: Moment) -> int:
        """See Policy."""
        to = self._to.get((moment.current, moment.count))
        return moment.next if to is None or to not in moment.ready else to

    def until(self, chain: int, count: int) -> int:
        """See Policy."""
        return next((one for one in reversed(self._counts.get(chain, ())) if one > count), _LARGEST)


@dataclass(slots=True)
class PctState:
    """Priorities, of which the highest runs; the remaining change points; the lowest priority."""

    chance: int
    priorities: dict[int, int] = field(default_factory=dict)
    changes: dict[int, list[int]] = field(default_factory=dict)  # by chain: counts, the next one last
    lowest: int = 0


class Pct(Part[PctState]):
    """Probabilistic concurrency testing: a bug of `depth` d, with d − 1 changes out of `points`.

    `points` are (chain, count) just before something that may affect other chains. A chain that yields, or
    has run PATIENCE instructions at once, waits for another: it gets the lowest priority.
    """

    def __init__(self, seed: int, depth: int, points: Sequence[tuple[int, int]]) -> None:
        self.state = state = PctState(Chance.seeded(seed))
        for _ in range(min(depth - 1, len(points))):
            chain, count = points[self._below(len(points))]
            state.changes.setdefault(chain, []).append(count)
        for counts in state.changes.values():
            counts.sort(reverse=True)

    def _below(self, most: int) -> int:
        self.state.chance, number = Chance.draw(self.state.chance, most)
        return number

    def _priority(self, chain: int) -> int:
        """Give a new chain a random priority among the others."""
        state = self.state
        if chain not in state.priorities:
            place = self._below(len(state.priorities) + 1)
            order = sorted(state.priorities, key=lambda one: state.priorities[one])
            order.insert(place, chain)
            state.priorities = {one: state.lowest + rank for rank, one in enumerate(order)}
        return state.priorities[chain]

    def choose(self, moment: Moment) -> int:
        """See Policy."""
        state = self.state
        for one in moment.ready:
            self._priority(one)
        if moment.why in (Why.SLICE, Why.YIELD) and moment.current in state.priorities:
            changes = state.changes.get(moment.current, [])
            while changes and changes[-1] <= moment.count:
                changes.pop()
            state.lowest -= 1
            state.priorities[moment.current] = state.lowest
        return max(moment.ready, key=lambda one: state.priorities[one])

    def until(self, chain: int, count: int) -> int:
        """See Policy."""
        return next((one for one in reversed(self.state.changes.get(chain, ())) if one > count), _LARGEST)


# -- as text -------------------------------------------------------------------------------------------------


def parse(text: str) -> list[Step]:
    """Return the steps of a text. Raises ArgumentError."""
    steps = []
    for word in text.replace(",", " ").split():
        match = _STEP.fullmatch(word)
        if match is None or any(len(one or "") > 18 for one in match.groups()):
            raise ArgumentError(
                f"schedule: {word!r} is no step: CHAIN@INSTRUCTIONS>CHAIN, as in 0@1500>1, or start>CHAIN"
            )
        chain, count, to = match.groups()
        steps.append(Step(int(chain) if chain else NOBODY, int(count or 0), int(to)))
    if len(steps) > MOST_STEPS:
        raise ArgumentError(f"schedule: {len(steps)} steps are too many: at most {MOST_STEPS}")
    return steps


def shown(steps: Sequence[Step]) -> str:
    """Return steps as a text."""
    return " ".join(map(str, steps))


def policy_of(schedule: "str | int | Sequence[Step] | None", quantum: int | None = None) -> Policy:
    """Return the policy for a seed, a text of steps, or steps; None is round robin.

    Raises ArgumentError for an invalid schedule.
    """
    if quantum is not None and not 1 <= quantum < _LARGEST:
        raise ArgumentError(f"quantum is {quantum}: a slice has at least one instruction")
    if schedule is None:
        return RoundRobin(quantum or QUANTUM)
    if isinstance(schedule, str) and re.fullmatch(r"\d{1,20}", schedule.strip()):
        schedule = int(schedule)
    if isinstance(schedule, int):
        return Random(schedule, quantum or RANDOM_QUANTUM)
    if quantum is not None:
        raise ArgumentError("quantum: a schedule of steps says itself when somebody else has a turn")
    return Steps(parse(schedule) if isinstance(schedule, str) else schedule)
