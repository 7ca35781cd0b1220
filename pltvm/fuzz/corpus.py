"""Finds the edges that inputs reach, and a minimal set of inputs for them: `pltvm showmap` and `pltvm cmin`.

A tuple is an edge, or a feature that counts as one, with AFL's class of its count: 1, 2, 3, 4–7, 8–15, 16–31,
32–127, more. A campaign distinguishes the same tuples.
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
    """Return what one execution reaches, also one with a problem.

    The target forgets the coverage seen before.
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
    """Return edges with one class each."""
    return {(edge, 1 << bit) for edge, classes in edges.items() for bit in range(8) if classes >> bit & 1}


def classes_of(edges: Edges) -> dict[int, int]:
    """Return edge → highest class, from 1 to 8, as in afl-showmap; without features."""
    return {edge: classes.bit_length() for edge, classes in sorted(edges.items()) if edge < FEATURES}


def as_text(edges: Edges) -> str:
    """Return the map in the format of afl-showmap: `EDGE:CLASS` per line."""
    return "".join(f"{edge:06}:{number}\n" for edge, number in classes_of(edges).items())


def fewest(inputs: Mapping[str, tuple[int, set[tuple[int, int]]]]) -> list[str]:
    """Return the names of inputs that reach all tuples, chosen as by afl-cmin.

    `inputs` are sizes and tuples by name. For each missing tuple, rare ones first, the smallest input that
    has it is taken. The result is not always minimal, but close to that.
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
    """Return the chosen inputs without those that others have made redundant, large ones first."""
    times = Counter(one for name in chosen for one in inputs[name][1])
    kept = set(chosen)
    for name in sorted(chosen, key=lambda name: (-inputs[name][0], name)):
        if all(times[one] > 1 for one in inputs[name][1]):
            kept.discard(name)
            times.subtract(inputs[name][1])
    return sorted(kept)
