"""The fewest steps of a schedule that still fail: delta debugging (ddmin, Zeller and Hildebrandt 2002)."""

from collections.abc import Callable, Sequence
from typing import Final

from pltvm.host.schedule import Step

MOST_TRIES: Final = 400


def shrink(
    steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], tries: int = MOST_TRIES
) -> list[Step]:
    """Steps of which none can be left out, unless it takes more than so many tries; `fails` runs some."""
    left, parts = list(steps), 2
    while left and tries > 0:
        size = max(len(left) // parts, 1)
        chunks = [left[at : at + size] for at in range(0, len(left), size)]
        smaller: list[Step] | None = None
        for at in range(len(chunks)):
            rest = [one for number, chunk in enumerate(chunks) if number != at for one in chunk]
            tries -= 1
            if fails(rest):
                smaller = rest
                break
            if tries <= 0:
                return left
        if smaller is not None:
            left, parts = smaller, max(parts - 1, 2)
        elif size == 1:
            return left
        else:
            parts = min(2 * parts, len(left))
    return left
