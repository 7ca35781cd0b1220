"""Who runs next, where several may: policies, and schedules as text.

    round robin   the next one in their order, after a slice of so many instructions
    random        anyone, after slices of any length, by a seed
    PCT           the one of the highest priority; at d − 1 points a priority drops ("probabilistic
                  concurrency testing", Burckhardt et al. 2010)
    Steps         as a text says

A policy is asked at decision points: at the start, when somebody yields, waits or has ended, and when one has
run up to the count of instructions that the policy asked for. Counts are those of a chain itself: the same
ones for whatever ran between, as long as the chain takes the same way.

    0@1500>1 1@320>0 start>2        chain 0 is preempted when 1,500 of its instructions have run, by chain 1 …

A text is a set of steps. Where it says nothing one runs on until it yields, waits, ends, or has had
`PATIENCE` instructions, and then the next one. So a step can be left out, and the others still say the same.

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

QUANTUM: Final = 100_000  # instructions of a slice of round robin, where nobody says it
RANDOM_QUANTUM: Final = 10_000  # likewise, in the middle, of random ones
PATIENCE: Final = 1_000_000  # that a chain may have in one go where a schedule says nothing
NOBODY: Final = -1
MOST_STEPS: Final = 100_000
_MASK: Final = (1 << 64) - 1
_STEP: Final = re.compile(r"(?:(\d+)@(\d+)|start)>(\d+)")
_LARGEST: Final = 1 << 62


class Why(Enum):
    """Why somebody is to be chosen."""

    START = "start"
    SLICE = "slice"  # it has run as far as the policy asked for
    YIELD = "yield"
    OVER = "over"  # it has ended, or waits


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """When so many instructions of a chain have run, another one has the hart; NOBODY: at the start."""

    chain: int
    count: int
    to: int

    def __str__(self) -> str:
        return f"start>{self.to}" if self.chain == NOBODY else f"{self.chain}@{self.count}>{self.to}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A decision point. `ready` are those that can run, in their order, the current one too if it can."""

    why: Why
    current: int
    ready: Sequence[int]
    counts: Mapping[int, int]

    @property
    def next(self) -> int:
        """The next one in their order."""
        return next((one for one in self.ready if one > self.current), self.ready[0])

    @property
    def count(self) -> int:
        """Of the current one."""
        return self.counts.get(self.current, 0)


class Policy(Protocol):
    """Decides who runs. Its state is plain data, so that it goes with a snapshot."""

    state: Any

    def choose(self, moment: Moment) -> int:
        """One of those that are ready."""

    def until(self, chain: int, count: int) -> int:
        """This one runs on, with so many instructions behind it; at which count of them to ask again.

        It is asked anyway when one has had PATIENCE instructions in one go.
        """


class RoundRobin(Part[int]):
    """In turns, after slices of `quantum` instructions."""

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
    """Random numbers that are the same everywhere, and whose state is one number (splitmix64)."""

    @staticmethod
    def seeded(seed: int) -> int:
        """The first state."""
        return seed & _MASK

    @staticmethod
    def draw(state: int, most: int) -> tuple[int, int]:
        """The next state, and a number below `most`."""
        state = (state + 0x9E37_79B9_7F4A_7C15) & _MASK
        word = ((state ^ state >> 30) * 0xBF58_476D_1CE4_E5B9) & _MASK
        word = ((word ^ word >> 27) * 0x94D0_49BB_1331_11EB) & _MASK
        return state, (word ^ word >> 31) % most


class Random(Part[int]):
    """Anyone that is ready, after slices of one to `2 · quantum` instructions, by `seed`."""

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
    """As `steps` say; else one runs on until it yields, waits, ends, or has had PATIENCE instructions."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._to = {(one.chain, one.count): one.to for one in steps}
        self._counts: dict[int, list[int]] = {}
        for chain, count in sorted(self._to, reverse=True):
            self._counts.setdefault(chain, []).append(count)
        self.state = 0

    def must_be_of(self, chains: int) -> None:
        """Raises ArgumentError if a step names another chain than these, which are numbered from 0."""
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
    """Priorities, the highest runs; where they change still; the lowest that there is."""

    chance: int
    priorities: dict[int, int] = field(default_factory=dict)
    changes: dict[int, list[int]] = field(default_factory=dict)  # by chain: counts, the next one last
    lowest: int = 0


class Pct(Part[PctState]):
    """Probabilistic concurrency testing: a bug of `depth` d, with d − 1 changes out of `points`.

    `points` are (chain, count) where something that matters to others may be about to happen. A chain that
    yields, or has had PATIENCE instructions in one go, waits for somebody: it gets the lowest priority.
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
        """Of one that comes for the first time: any place among the others."""
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
    """The steps of a text. Raises ArgumentError."""
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
    """Steps as a text."""
    return " ".join(map(str, steps))


def policy_of(schedule: "str | int | Sequence[Step] | None", quantum: int | None = None) -> Policy:
    """The policy that this is: a seed, a text of steps, steps; None: round robin.

    Raises ArgumentError for what makes no sense.
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
