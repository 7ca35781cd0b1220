"""Which edges inputs reach, and the fewest inputs that reach all of them: `pltvm showmap` and `pltvm cmin`.

A tuple is an edge, or one of the features that count as one, with a class of how often it was taken, as AFL
has them: 1, 2, 3, 4–7, 8–15, 16–31, 32–127, more. So what is told apart here is what a campaign tells apart.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pltvm.fuzz.arena import FEATURES, MAP_SIZE
from pltvm.fuzz.execution import Execution
from pltvm.fuzz.harness import errors_of
from pltvm.fuzz.target import Target

_SET: Final = re.compile(rb"[^\0]")

# Edge → bits of the classes in which it was taken.
Edges = dict[int, int]


def reached(target: Target, data: bytes) -> tuple[Edges, Execution]:
    """What one execution reaches, also one in which something is wrong.

    What the target has seen before is forgotten.
    """
    seen = target.arena.seen
    seen[:] = bytes(MAP_SIZE)
    target.whole = True
    try:
        with errors_of(target.options.harness):
            execution = target.execute(data)
    finally:
        target.whole = False
    found = bytes(seen)
    return {match.start(): found[match.start()] for match in _SET.finditer(found)}, execution


def merge(one: Edges, other: Edges) -> None:
    """Add the edges of another input to these."""
    for edge, classes in other.items():
        one[edge] = one.get(edge, 0) | classes


def tuples(edges: Edges) -> set[tuple[int, int]]:
    """Edges with one class each."""
    return {(edge, 1 << bit) for edge, classes in edges.items() for bit in range(8) if classes >> bit & 1}


def classes_of(edges: Edges) -> dict[int, int]:
    """Edge → class from 1 to 8, the highest in which it was taken, as afl-showmap says it; no features."""
    return {edge: classes.bit_length() for edge, classes in sorted(edges.items()) if edge < FEATURES}


def as_text(edges: Edges) -> str:
    """The map as afl-showmap writes it: `EDGE:CLASS` a line."""
    return "".join(f"{edge:06}:{number}\n" for edge, number in classes_of(edges).items())


def fewest(inputs: Mapping[str, tuple[int, set[tuple[int, int]]]]) -> list[str]:
    """The names of inputs that reach all tuples, as afl-cmin chooses them.

    `inputs` are bytes and tuples by name. Rare tuples first: of each that is still missing the smallest input
    that has it. That is not always the fewest there could be, but close to that.
    """
    order = sorted(inputs, key=lambda name: (inputs[name][0], name))
    best: dict[tuple[int, int], str] = {}
    times: Counter[tuple[int, int]] = Counter()
    for name in order:
        for one in inputs[name][1]:
            best.setdefault(one, name)
            times[one] += 1
    covered: set[tuple[int, int]] = set()
    chosen: set[str] = set()
    for one in sorted(best, key=lambda one: (times[one], one)):
        if one not in covered:
            chosen.add(best[one])
            covered |= inputs[best[one]][1]
    return _needed(sorted(chosen), inputs)


def _needed(chosen: Sequence[str], inputs: Mapping[str, tuple[int, set[tuple[int, int]]]]) -> list[str]:
    """The chosen ones without those that others have made needless, large ones first."""
    times = Counter(one for name in chosen for one in inputs[name][1])
    kept = set(chosen)
    for name in sorted(chosen, key=lambda name: (-inputs[name][0], name)):
        if all(times[one] > 1 for one in inputs[name][1]):
            kept.discard(name)
            times.subtract(inputs[name][1])
    return sorted(kept)
