"""Turns on the hart, counted in instructions: how many each has had, and when the next decision is due.

    begin ─▶ choose ─▶ run ─▶ (alarm of the counter) ─▶ choose: another one? ─▶ Cause.TIMER ─▶ choose …

Whoever shares the hart among several (`together`, the scheduler of Linux programs) has one of these. Chains
are numbers here. What was decided otherwise than where nobody decides is noted, so that the run can be
repeated: `steps`, of any policy, are a schedule by themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pltvm.engine.counting import NEVER
from pltvm.engine.hart import Hart
from pltvm.engine.position import Counter
from pltvm.host.plain import copied
from pltvm.host.schedule import MOST_STEPS, NOBODY, PATIENCE, Moment, Policy, Step, Why

UNLIMITED: Final = 0


@dataclass(slots=True)
class TurnsState:
    """Who has the hart, how many instructions each has had, and what was decided."""

    current: int = NOBODY
    counts: dict[int, int] = field(default_factory=dict)
    until: int = 0  # count of the current one at which the policy is asked
    since: int = 0  # count of the current one when it was chosen
    total: int = 0
    steps: list[Step] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)  # of all instructions, at each of the steps
    more: bool = False  # there were more steps than are kept
    chosen: int = NOBODY  # at an alarm: who has the hart next


@dataclass(slots=True)
class SavedTurns:
    """With the state of the policy."""

    turns: TurnsState
    policy: Any


class Turns:
    """Shares `hart` by `policy`. After `most` instructions in all nobody is chosen any more; 0: no limit.

    `ready` says who can run, in their order. With `always` a chain traps also where it stays on after its
    slice, every PATIENCE instructions: for who has more to do then.
    """

    def __init__(
        self,
        hart: Hart,
        policy: Policy,
        ready: Callable[[], Sequence[int]],
        most: int = UNLIMITED,
        always: bool = False,
    ) -> None:
        self.policy = policy
        self.state = TurnsState()
        self._hart, self._ready, self._most, self._always = hart, ready, most, always
        self._counter = Counter.of(hart)
        # Told whenever somebody gets the hart: who, with how many instructions behind it, and all had so far.
        self.on_run: Callable[[int, int, int], None] = lambda _chain, _count, _total: None
        self._base = 0  # the position at which the counts are right

    def save(self) -> SavedTurns:
        """A copy of the state, up to now."""
        self.account()
        return SavedTurns(copied(self.state), copied(self.policy.state))

    def load(self, saved: SavedTurns) -> None:
        """Put the state back."""
        self.state, self.policy.state = copied(saved.turns), copied(saved.policy)
        self._rebase()

    def _rebase(self) -> None:
        self._base = self._counter.now
        self._set_alarm()

    # -- turns -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """From now on the alarms of the hart are these."""
        self._counter.on_alarm, self._counter.on_put_back = self._alarm, self._rebase
        self._rebase()

    def end(self) -> None:
        """No more."""
        self.account()
        self._counter.alarm_at(NEVER)
        self._counter.on_alarm = self._counter.on_put_back = lambda: None

    def account(self) -> None:
        """Count what has run since: in a handler, or outside of guest code."""
        state, now = self.state, self._counter.now
        if state.current != NOBODY:
            state.counts[state.current] = state.counts.get(state.current, 0) + now - self._base
            state.total += now - self._base
        self._base = now

    @property
    def due(self) -> bool:
        """Whether the trap of a timer is one of an alarm, and nobody else's."""
        return self.state.chosen != NOBODY or self.spent

    @property
    def counter(self) -> Counter:
        """What counts."""
        return self._counter

    @property
    def in_one_go(self) -> int:
        """Instructions that the current one has had since it was chosen, when they were counted last."""
        state = self.state
        return state.counts.get(state.current, 0) - state.since

    @property
    def spent(self) -> bool:
        """Whether as many instructions have run as may run."""
        return bool(self._most) and self.state.total >= self._most

    def choose(self, why: Why) -> int:
        """Who has the hart next; NOBODY when none can. It has it from now on: `run`."""
        state = self.state
        self.account()
        chosen, state.chosen = state.chosen, NOBODY
        if why is Why.SLICE and chosen != NOBODY:
            return chosen
        return self._decide(why)

    def _decide(self, why: Why) -> int:
        state, ready = self.state, self._ready()
        if not ready or self.spent:
            return NOBODY
        moment = Moment(why, state.current, ready, state.counts)
        to = self.policy.choose(moment) if len(ready) > 1 else ready[0]
        patient = why is Why.SLICE and moment.count < state.since + PATIENCE
        if to != (state.current if patient else moment.next):
            self._note(Step(state.current, moment.count, to))
        return to

    def _note(self, step: Step) -> None:
        if len(self.state.steps) < MOST_STEPS:
            self.state.steps.append(step)
            self.state.totals.append(self.state.total)
        else:
            self.state.more = True

    def run(self, chain: int) -> None:
        """This one has the hart now."""
        state = self.state
        self.account()
        state.current = chain
        state.since = state.counts.setdefault(chain, 0)
        self.on_run(chain, state.since, state.total)
        self._ask_again()

    def _ask_again(self) -> None:
        state = self.state
        count = state.counts[state.current]
        asked = max(self.policy.until(state.current, count), count + 1)
        state.until = min(asked, state.since + PATIENCE)
        self._set_alarm()

    def _set_alarm(self) -> None:
        state = self.state
        if state.current == NOBODY:
            self._counter.alarm_at(NEVER)
            return
        left = state.until - state.counts[state.current]
        if self._most:
            left = min(left, max(self._most - state.total, 1))
        self._counter.alarm_at(self._base + left)

    def _alarm(self) -> None:
        """Outside of guest code: the current one has run as far as was asked for."""
        state = self.state
        self.account()
        if not self.spent:
            to = self._decide(Why.SLICE) if state.counts[state.current] >= state.until else state.current
            if to == state.current and not (self._always and self.in_one_go >= PATIENCE):
                if state.counts[to] >= state.since + PATIENCE:
                    state.since = state.counts[to]
                self._ask_again()
                return
            state.chosen = to
        self._counter.alarm_at(NEVER)
        self._hart.end_slice()
