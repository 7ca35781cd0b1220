"""Shortens and simplifies inputs that still do the same: fully for `pltvm tmin`, partly for a campaign."""

import math
from collections.abc import Callable

# Says whether an input still does the same.
Same = Callable[[bytes], bool]


def least(data: bytes, same: Same) -> bytes:
    """Return an input in which no byte can be removed or set to zero without changing what it does.

    It is not the shortest possible one, which would need trying all inputs.
    """
    while True:
        before = data
        data = zero(cut(data, same), same)
        if data == before:
            return data


def cut(data: bytes, same: Same, tries: float = math.inf) -> bytes:
    """Return the input without unneeded parts, large ones first; calls `same` at most `tries` times."""
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
    """Return the input with zeros where its values do not matter; calls `same` at most `tries` times."""
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
