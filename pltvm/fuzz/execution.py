"""What one execution gives to who asked for it: how new it was, and what was wrong."""

from collections.abc import Callable
from dataclasses import dataclass

from pltvm.engine.trap import Cause
from pltvm.monitor.fault import Fault


@dataclass(frozen=True)
class Problem:
    """Something wrong in one execution. `key` is quickly made, and mostly the same for the same bug."""

    kind: str
    key: tuple[object, ...]
    words: str
    fault: Fault | None = None
    stack: tuple[int, ...] = ()  # program counters, innermost first
    cause: Cause | None = None  # of the trap that it is


@dataclass(frozen=True)
class Execution:
    """One execution: 2 new edges, 1 known ones more or less often, 0 nothing new; the path's hash."""

    new: int
    path: int
    problem: Problem | None
    blocks: int


# Gets what is new or wrong: the input, what is new as in `Execution`, the problem.
Interesting = Callable[[bytes, int, Problem | None], None]
