"""Solves comparisons: puts values into the input that the program has compared it with (as RedQueen does).

A pair has the operands of one compare. If one operand is in the input, as a number or a text, it is replaced
by the other. The place in the input that an operand comes from is unknown; `colorize` gives inputs with
random bytes, in which it is clear.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from pltvm.monitor import abi

MOST: Final = 400  # candidates per call
_PLACES: Final = 32  # largest number of places at which one pattern is replaced
# addresses of the stack, which are no tokens
_STACK: Final = range(abi.STACK_TOP - abi.DEFAULT_STACK, abi.STACK_TOP)
_BITS: Final = (1 << 64) - 1


class Pair(NamedTuple):
    """The two operands of one compare: numbers of `width` bytes, or byte strings with width 0.

    A string ends where the program stopped comparing, or before its NUL.
    """

    width: int
    left: int | bytes
    right: int | bytes
    signed: bool = False  # if set, the highest bit of `width` bytes is the sign, also for a non-negative int

    def number(self, value: int) -> int:
        """Return a number as in a 64-bit register."""
        sign = 1 << 8 * self.width - 1
        return (value + sign & 2 * sign - 1) - sign & _BITS if self.signed else value & _BITS


class _Edit(NamedTuple):
    """Replace data[at : at + old] by `new`. Edits are ordered: smaller ones are more promising and come
    first."""

    weight: int  # −significant bytes of the match
    length: int  # −bytes of the match
    rank: int  # order of equivalent edits
    nth: int  # place of several
    pair: int  # index
    at: int
    old: int
    new: bytes


def candidates(data: bytes, pairs: Iterable[Pair], limit: int = 1 << 16) -> Iterator[bytes]:
    """Yield inputs that may be equal, or just smaller or larger, at one of the compares; likely ones first.

    At most `MOST`, each once, none above `limit` bytes. Missing bytes of the input count as zeros.
    """
    edits: list[_Edit] = []
    for index, pair in enumerate(dict.fromkeys(pairs)):
        for old, new in ((pair.left, pair.right), (pair.right, pair.left)):
            if isinstance(old, bytes) and isinstance(new, bytes):
                edits += _text_edits(data, index, old, new)
            elif isinstance(old, int) and isinstance(new, int) and old != new:
                edits += _number_edits(data, index, pair.width, pair.number(old), pair.number(new))
    seen = {data}
    padded = data + bytes(8)
    for edit in sorted(edits):
        end = edit.at + edit.old
        result = padded[: edit.at] + edit.new + data[end:]
        if len(result) <= limit and result not in seen:
            seen.add(result)
            yield result
            if len(seen) > MOST:
                return


def _places(data: bytes, pattern: bytes, length: int) -> list[int]:
    """Return the places of a pattern in the first `length` bytes, aligned ones first, at most `_PLACES`."""
    found: list[int] = []
    at = data.find(pattern)
    while 0 <= at <= length and len(found) < 4 * _PLACES:
        found.append(at)
        at = data.find(pattern, at + 1)
    found.sort(key=lambda at: at % len(pattern) != 0)
    return found[:_PLACES]


def _encode(value: int, width: int) -> bytes | None:
    """Return a number in `width` bytes, little endian, if zero or sign extension gives it back; else None."""
    value &= _BITS
    if value >> 8 * width and (value + (1 << 8 * width - 1)) & _BITS >= 1 << 8 * width - 1:
        return None
    return (value & (1 << 8 * width) - 1).to_bytes(width, "little")


def _meaning(value: int) -> int:
    """Return the number of significant bytes, without leading zeros or sign."""
    value &= _BITS
    return min((value.bit_length() + 7) // 8, ((value ^ _BITS).bit_length() + 7) // 8)


def _number_edits(data: bytes, index: int, width: int, old: int, new: int) -> Iterator[_Edit]:
    """Yield replacements of a number: in each width that it fits in, both byte orders, and as decimal
    text."""
    padded = data + bytes(8)
    weight = -_meaning(old)
    # The operand may be the input's number minus a small constant: then both are off by the same.
    changes = [(0, 0), (0, 1), (0, -1)]
    if weight <= -2:
        changes += [(by, by) for by in (1, -1, 2, -2)]
    for rank, (off, change) in enumerate(changes):
        for size in (size for size in (8, 4, 2, 1) if size <= width):
            before, after = _encode(old + off, size), _encode(new + change, size)
            if before is None or after is None:
                continue
            for big in (False, True) if size > 1 else (False,):
                pattern, value = (before[::-1], after[::-1]) if big else (before, after)
                for nth, at in enumerate(_places(padded, pattern, len(data))):
                    yield _Edit(weight, -size, 2 * rank + big, nth, index, at, size, value)
        text = b"%d" % (old + off)
        if off == 0 and len(text) > 1 and text in data:
            for nth, at in enumerate(_places(data, text, len(data))):
                yield _Edit(weight, -len(text), 2 * rank, nth, index, at, len(text), b"%d" % (new + change))


def _text_edits(data: bytes, index: int, old: bytes, new: bytes) -> Iterator[_Edit]:
    """Yield replacements of the longest prefix of a string that is in the data by another string.

    The replacement has the length of the prefix, so that what follows stays in place, or overwrites what
    follows, then with a NUL after it. An empty string is a NUL, or the end of the data.
    """
    if old == new:
        return
    length = 0
    while length < min(len(old), 256) and old[: length + 1] in data:
        length += 1
    if length:
        places = _places(data, old[:length], len(data))
    elif not old.rstrip(b"\0"):
        places = [len(data), *_places(data, b"\0", len(data))]
    else:
        return
    plain = new.rstrip(b"\0")
    for nth, at in enumerate(places):
        ways = ((new, len(new)), (new, length), (plain, length), (plain + b"\0", len(plain) + 1))
        for rank, (text, covered) in enumerate((*ways, (plain + b"\0", length), (new, 0))):
            yield _Edit(-length, -length, rank, nth, index, at, covered, text)


def tokens_of(pairs: Iterable[Pair]) -> list[bytes]:
    """Return compared values that are useful in a dictionary, each once.

    Numbers above 255 that are neither small negative ones nor addresses in the stack, in 2, 4 or 8 bytes;
    strings from 2 bytes, without the NULs at their end.
    """
    tokens: dict[bytes, None] = {}
    for pair in pairs:
        for value in (pair.left, pair.right):
            if isinstance(value, bytes):
                text = value.rstrip(b"\0")
                if len(text) >= 2:
                    tokens[text] = None
            elif _meaning(value := pair.number(value)) >= 2 and value not in _STACK:
                encoded = next(filter(None, (_encode(value, width) for width in (2, 4, 8))))
                tokens[encoded] = None
    return list(tokens)


def colorize(data: bytes, same: Callable[[bytes], bool], seed: int, tries: int = 32) -> bytes:
    """Return the data with as many random bytes as possible; `same` says whether an input takes the same
    path.

    Ranges are tried from large to small: one that changes the path is halved. `same` is called at most
    `tries` times. The length stays the same.
    """
    rng = random.Random(seed)
    ranges = [(-len(data), 0)] if data else []  # −length and start
    for _ in range(tries):
        if not ranges:
            break
        length, start = heappop(ranges)
        end = start - length
        noise = bytes((byte + rng.randrange(1, 256)) % 256 for byte in data[start:end])
        changed = data[:start] + noise + data[end:]
        if same(changed):
            data = changed
        elif end - start > 1:
            middle = (start + end) // 2
            heappush(ranges, (start - middle, start))
            heappush(ranges, (middle - end, middle))
    return data
