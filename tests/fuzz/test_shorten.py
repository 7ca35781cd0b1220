"""pltvm.fuzz.shorten: inputs get as short, and as plain, as what they are kept for allows."""

import random

import pytest

from pltvm.fuzz.shorten import cut, least, zero


@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, 64, 1000])
def test_what_is_not_needed_goes(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert least(data, lambda _: True) == b""
    assert least(data, lambda other: other == data) == data
    assert least(data, lambda other: len(other) == size) == bytes(size)


def test_what_is_needed_stays() -> None:
    data = bytes(range(200))
    assert least(data, lambda other: b"\x20" in other and b"\x90\x91" in other) == b"\x20\x90\x91"
    assert least(data, lambda other: other[3:4] == b"\x03") == b"\0\0\0\x03"


def test_no_byte_can_go_from_what_is_least() -> None:
    """Whatever it is kept for: here two sums."""
    rng = random.Random(3)

    def same(other: bytes) -> bool:
        return sum(other) % 7 == 3 and sum(other[::2]) % 5 == 2

    for _ in range(50):
        data = rng.randbytes(rng.randrange(1, 60))
        if same(data):
            found = least(data, same)
            assert same(found)
            assert len(found) <= len(data)
            for at in range(len(found)):
                assert not same(found[:at] + found[at + 1 :])
                assert not found[at] or not same(found[:at] + b"\0" + found[at + 1 :])


def test_tries_are_counted() -> None:
    asked = []

    def same(other: bytes) -> bool:
        asked.append(other)
        return False

    data = bytes(range(1, 255))
    assert cut(data, same, 10) == data
    assert len(asked) == 10
    assert zero(data, same, 7) == data
    assert len(asked) == 17
