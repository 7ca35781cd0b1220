"""Sequences of steps as data: run them, make random ones, shorten one that fails, print it as a test.

A step is `(name, x, y, z)`, the numbers from 0 to 255. They choose among what there is at that moment, so any
sequence can be run, and one from which steps were removed too; a step that does not apply is skipped.
"""

import hashlib
import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from typing import Final

from tests.model.enclave_steps import EnclaveSteps
from tests.model.entities import SERVERS, Result
from tests.model.pair import Divergence

Step = tuple[str, int, int, int]

HOST: Final = {
    "create": 12, "create_wrongly": 4, "run": 14, "run_shadow": 5, "resume": 60, "stop": 2, "destroy": 2,
    "reclaim": 3, "extend": 1, "set_pte": 4, "attest": 0.3, "unknown_call": 0.5, "can_go_on": 1,
}  # fmt: skip
FULL: Final = HOST | {"create": 1, "run_shadow": 1, "destroy": 7}
ENCLAVE: Final = {
    "mmap": 10, "munmap": 5, "sbrk": 5, "call": 16, "return": 1, "acquire": 3, "exit": 1.5, "split": 1,
    "send": 0.5, "return_relay": 0.5, "shm_get": 5, "shm_attach": 4, "shm_stat": 2, "shm_detach": 3,
    "shm_destroy": 2, "simple": 3, "who": 2,
    "yield": 2, "timer": 3, "fault": 0.7, "probe": 1, "derive": 0.5, "report": 0.5,
}  # fmt: skip
IN_SERVER: Final = ENCLAVE | {"return": 20, "call": 10, "exit": 0.5}
WITH_RELAY: Final = {"split": 9, "send": 7, "return_relay": 2}
STEPS: Final = (*HOST, *ENCLAVE)
FULL_AT: Final = 10  # living enclaves


class _Choice:
    """A weighted choice by one number below 2^16."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._names = list(weights)
        total = sum(weights.values())
        self._limits = [limit * 65536 / total for limit in accumulate(weights.values())]

    def __getitem__(self, number: int) -> str:
        return self._names[bisect(self._limits, number)]


_HOST, _FULL = _Choice(HOST), _Choice(FULL)
# By whether it has relay regions.
_ENCLAVE = (_Choice(ENCLAVE), _Choice(ENCLAVE | WITH_RELAY))
_IN_SERVER = (_Choice(IN_SERVER), _Choice(IN_SERVER | WITH_RELAY))


class Walk:
    """Runs steps one by one, from a fresh machine; every `check_every` steps there is a deep check.

    `counts` says how often each outcome came, `trace` is a hash of all steps and results.
    """

    def __init__(self, check_every: int = 1, through_core: bool = False, compares: bool = True) -> None:
        """`compares`: after each step the monitor with the model. Of two walks side by side one is enough."""
        self.compares = compares
        self.pair = EnclaveSteps()
        self.pair.through_core = through_core
        self.check_every = check_every
        self.done = 0
        self.counts: Counter[str] = Counter()
        self._trace = hashlib.sha256()

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def step(self, step: Step) -> Result | None:
        """One step in both, and the comparison. Divergence is raised for exceptions of the monitor too."""
        name, *numbers = step
        pair = self.pair
        result = None
        try:
            if (name in ENCLAVE) == (pair.model.running is not None):
                result = getattr(pair, "do_" + name)(*numbers)
                if self.compares:
                    pair.shallow()
            self.done += 1
        except Divergence:
            raise
        except Exception as error:
            raise Divergence(f"{type(error).__name__}: {error}") from error
        if self.done % self.check_every == 0:
            self.deep()
        seen = outcome(name, result)
        self.counts[seen] += 1
        self._trace.update(repr((step, result)).encode())
        return result

    def deep(self) -> None:
        """The check of everything."""
        try:
            self.pair.deep()
        except Divergence:
            raise
        except Exception as error:
            raise Divergence(f"{type(error).__name__}: {error}") from error

    def choose(self, random_bits: int) -> Step:
        """The next step of a random walk, from 40 random bits."""
        model = self.pair.model
        if model.running is None:
            table = _FULL if len(model.enclaves) >= FULL_AT else _HOST
        else:
            tables = _IN_SERVER if model.running.kind in SERVERS else _ENCLAVE
            table = tables[bool(model.running.relays)]
        x, y, z = (random_bits >> shift & 255 for shift in (0, 8, 16))
        return table[random_bits >> 24], x, y, z


def outcome(name: str, result: Result | None) -> str:
    """What a step came to, for counts."""
    if result is None:
        return f"{name}: skipped"
    if result.status is not None:
        return f"{name}: to the host, {('ok', 'timer', 'ocall', 'yield', 'wait', 'error')[result.status]}"
    if result.entered is not None:
        return f"{name}: entered"
    return f"{name}: {result.value if result.value is None or -4 < result.value <= 0 else 'a number'}"


def random_steps(walk: Walk, seed: int | str, count: int) -> Iterator[Step]:
    """Steps that fit the state that `walk` is in, which the caller has to run."""
    bits = random.Random(seed).getrandbits
    for _ in range(count):
        yield walk.choose(bits(40))


def fails(steps: Sequence[Step], check_every: int = 1) -> str | None:
    """Run steps from a new start; how they diverge. There is a deep check at the end, too."""
    walk = Walk(check_every)
    try:
        for step in steps:
            walk.step(step)
        walk.deep()
    except Divergence as divergence:
        return str(divergence)
    return None


def shorten(steps: Sequence[Step], check_every: int = 1) -> list[Step]:
    """A short sequence that diverges too: remove ever smaller parts, then make numbers smaller.

    `check_every` is how the sequence was found. Deep checks cost much more than steps: only what is short
    already is checked deeply after each step.
    """
    best = list(steps)
    size = len(best) // 2
    while size:
        best = _without_parts(best, size, check_every)
        size //= 2
    before: list[Step] = []
    while best != before:
        before = best
        best = _with_smaller_numbers(_without_parts(best, 1, check_every=1))
    return best


def _without_parts(steps: list[Step], size: int, check_every: int) -> list[Step]:
    """The steps without those parts of `size` that the divergence does not need."""
    best, at = steps, 0
    while at < len(best):
        shorter = best[:at] + best[at + size :]
        if fails(shorter, check_every) is not None:
            best = shorter
        else:
            at += size
    return best


def _with_smaller_numbers(steps: list[Step]) -> list[Step]:
    best = list(steps)
    for index, place, smaller in product(range(len(steps)), (1, 2, 3), (0, 16, 128)):
        step = best[index]
        if smaller < step[place]:  # type: ignore[operator]
            changed: Step = (*step[:place], smaller, *step[place + 1 :])  # type: ignore[assignment]
            if fails([*best[:index], changed, *best[index + 1 :]]) is not None:
                best[index] = changed
    return best


def as_test(steps: Sequence[Step]) -> str:
    """The sequence as a file for pytest, each step with what it does."""
    walk, lines = Walk(), []
    for step in steps:
        try:
            result = walk.step(step)
            lines.append(f"        {step!r},  # {_told(result)}")
        except Divergence as divergence:
            lines.append(f"        {step!r},  # {' '.join(str(divergence).split())}")
            break
    return "\n".join(
        [
            "from tests.model.steps import fails",
            "",
            "",
            "def test_shortest_divergence() -> None:",
            "    steps = [",
            *lines,
            "    ]",
            "    assert fails(steps) is None",
        ]
    )


def _told(result: Result | None) -> str:
    if result is None:
        return "does not apply"
    fields = {name: value for name, value in result._asdict().items() if value not in (None, ())}
    return ", ".join(f"{name} {_number(value)}" for name, value in fields.items())


def _number(value: object) -> str:
    if isinstance(value, int):
        return f"{value:#x}" if value > 9 else str(value)
    return "(" + ", ".join(_number(one) for one in value) + ")" if isinstance(value, tuple) else str(value)
