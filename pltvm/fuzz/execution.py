"""The result of one execution: how new its coverage is, and its problem."""

from collections.abc import Callable
from dataclasses import dataclass

from pltvm.engine.trap import Cause
from pltvm.monitor.fault import Fault


@dataclass(frozen=True)
class Problem:
    """A problem in one execution. `key` is cheap, and usually the same for the same bug."""

    kind: str
    key: tuple[object, ...]
    words: str
    fault: Fault | None = None
    stack: tuple[int, ...] = ()  # program counters, innermost first
    cause: Cause | None = None  # of its trap


@dataclass(frozen=True)
class Execution:
    """One execution. `new`: 2 for new edges, 1 for new counts of known edges, 0 for nothing new; and its
    path's hash."""

    new: int
    path: int
    problem: Problem | None
    blocks: int


# Gets executions with new coverage or a problem: the input, `new` as in `Execution`, the problem.
Interesting = Callable[[bytes, int, Problem | None], None]
