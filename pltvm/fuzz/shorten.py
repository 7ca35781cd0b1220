"""Shorter and plainer inputs that do the same: all the way for `pltvm tmin`, in part for a campaign."""

import math
from collections.abc import Callable

# Whether an input still does what it is kept for.
Same = Callable[[bytes], bool]


def least(data: bytes, same: Same) -> bytes:
    """An input of which no byte can be left out, or be zero instead, so that it still does the same.

    Not the shortest that there is: that would take to try all of them.
    """
    while True:
        before = data
        data = zero(cut(data, same), same)
        if data == before:
            return data


def cut(data: bytes, same: Same, tries: float = math.inf) -> bytes:
    """The input without parts that it does not need, large ones first; asks at most so many times."""
    size = max(len(data) // 2, min(len(data), 1))
    while size and tries > 0:
        at = len(data) - size
        while at >= 0 and tries > 0:
            shorter = data[:at] + data[at + size :]
            tries -= 1
            if same(shorter):
                data = shorter
            at -= size
        size //= 2
    return data


def zero(data: bytes, same: Same, tries: float = math.inf) -> bytes:
    """The input with zeros where its values do not matter; asks at most so many times."""
    size = max(len(data) // 2, min(len(data), 1))
    while size and tries > 0:
        for at in range(0, len(data), size):
            zeroed = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
            if zeroed != data and tries > 0:
                tries -= 1
                if same(zeroed):
                    data = zeroed
        size //= 2
    return data
