"""Input-to-state replacement: a compare that failed is passed by one of the candidates."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.fuzz.compare import MOST, Pair, candidates, colorize, tokens_of

DATA = bytes(random.Random(7).randbytes(64))
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(-3, 300)
PAIRS = st.lists(
    st.builds(Pair, st.sampled_from([1, 2, 4, 8]), NUMBERS, NUMBERS, st.booleans())
    | st.builds(Pair, st.just(0), st.binary(max_size=20), st.binary(max_size=20)),
    max_size=8,
)


def little(value: int, width: int) -> bytes:
    return (value % (1 << 8 * width)).to_bytes(width, "little")


def put(at: int, new: bytes) -> bytes:
    return DATA[:at] + new + DATA[at + len(new) :]


@pytest.mark.parametrize("at", range(61))
def test_a_magic_number_at_any_place(at: int) -> None:
    seen = int.from_bytes(DATA[at : at + 4], "little")
    first = next(candidates(DATA, [Pair(4, seen, 0xDEADBEEF)], 64))
    assert first == put(at, little(0xDEADBEEF, 4))
    assert first == next(candidates(DATA, [Pair(4, 0xDEADBEEF, seen)], 64))  # whichever side it is on


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_64_bit_constant(order: str) -> None:
    wanted = 0x1122334455667788
    seen = int.from_bytes(DATA[24:32], order)  # type: ignore[arg-type]
    assert next(candidates(DATA, [Pair(8, seen, wanted)], 64)) == put(24, wanted.to_bytes(8, order))  # type: ignore[arg-type]


def test_a_number_that_a_register_holds_with_its_sign() -> None:
    """lw gives 0xffffffff_deadbeef; lbu a byte in 8."""
    data = DATA[:20] + little(0xC0FFEE00, 4) + DATA[24:]
    found = candidates(data, [Pair(8, 0xFFFF_FFFF_C0FF_EE00, 0xFFFF_FFFF_DEAD_BEEF)], 64)
    assert put(20, little(0xDEADBEEF, 4)) in found
    assert put(5, b"Q") in candidates(DATA, [Pair(8, DATA[5], ord("Q"))], 64)
    assert put(4, little(-3, 2)) in candidates(
        DATA, [Pair(4, int.from_bytes(DATA[4:6], "little", signed=True), 0xFFFF_FFFD, True)], 64
    )


def test_an_empty_input_is_zeros() -> None:
    assert little(0xDEADBEEF, 4) in candidates(b"", [Pair(4, 0, 0xDEADBEEF)], 64)
    assert b"AB\x34\x12"[2:] in candidates(b"A", [Pair(2, ord("A"), 0x1234)], 64)


def test_neighbours_for_orders_and_constants_that_were_taken_off() -> None:
    seen = int.from_bytes(DATA[8:12], "little")
    found = list(candidates(DATA, [Pair(4, seen, 100_000)], 64))
    assert found[0] == put(8, little(100_000, 4))
    assert {put(8, little(100_000 + by, 4)) for by in (1, -1)} <= set(found)
    assert put(8, little(100_001, 4)) in candidates(DATA, [Pair(4, seen - 1, 100_000)], 64)


def test_decimal_text() -> None:
    assert b"size=65536;" in candidates(b"size=1234;", [Pair(4, 1234, 65536)], 64)


def test_a_keyword() -> None:
    data = b"cmd: helXX=1"
    found = list(candidates(data, [Pair(0, b"helXX=1", b"hello")], 64))
    assert found[0] == b"cmd: hello=1"
    assert b"cmd: hello" in found
    assert b"cmd: hello\0" in found
    assert b"cmd: hellohelXX=1" in found
    longer = list(candidates(b"k=v;rest", [Pair(0, b"v;rest", b"value")], 64))
    assert b"k=value" in longer
    assert b"k=valuev;rest" in longer
    only_first = list(candidates(b"k=v;rest", [Pair(0, b"vX", b"value")], 64))
    assert b"k=value;rest" in only_first
    assert b"k=value\0;rest" in only_first


def test_a_keyword_for_an_empty_string() -> None:
    assert b"open" in candidates(b"", [Pair(0, b"", b"open\0")], 64)
    assert b"open\0" in candidates(b"", [Pair(0, b"", b"open")], 64)
    assert b"1234open" in candidates(b"1234", [Pair(0, b"\0\0\0\0", b"open")], 64)


def test_longer_matches_come_first() -> None:
    data = bytes([7, 0, 9]) + little(0xCAFEBABE, 4)
    pairs = [Pair(4, 7, 8), Pair(4, 0xCAFEBABE, 0x12345678)]
    assert next(candidates(data, pairs, 64)) == data[:3] + little(0x12345678, 4)


def test_what_does_not_occur_gives_nothing() -> None:
    assert not list(candidates(b"abcdef", [Pair(4, 0x11111111, 0x22222222), Pair(0, b"XY", b"ZW")], 64))


@given(st.binary(max_size=80), PAIRS, st.integers(0, 90))
@settings(deadline=None, derandomize=True)
def test_candidates_are_bounded_and_the_same_every_time(data: bytes, pairs: list[Pair], limit: int) -> None:
    found = list(candidates(data, pairs, limit))
    assert len(found) == len(set(found)) <= MOST
    assert data not in found
    assert all(len(candidate) <= limit for candidate in found)
    assert found == list(candidates(data, pairs, limit))


def test_many_matches_are_cut() -> None:
    pairs = [Pair(8, 0, value << 40) for value in range(1, 60)]
    assert len(list(candidates(bytes(500), pairs, 600))) == MOST


def test_tokens() -> None:
    pairs = [
        Pair(4, 0xDEADBEEF, 255),
        Pair(8, 0xFFFF_FFFF_DEAD_BEEF, -1),
        Pair(8, 0x37_FFFF_F000, 0x1122334455667788),
        Pair(2, 256, 0xFFF0, True),
        Pair(0, b"hello\0", b"h"),
        Pair(0, b"hello", b""),
    ]
    assert tokens_of(pairs) == [
        little(0xDEADBEEF, 4),
        little(0x1122334455667788, 8),
        little(256, 2),
        b"hello",
    ]


def test_colorize() -> None:
    """All but the bytes that matter become random."""
    data = b"....MAGIC......#" * 2

    def same(candidate: bytes) -> bool:
        return candidate[4:9] == b"MAGIC" and candidate[31] == ord("#")

    colored = colorize(data, same, seed=3, tries=64)
    assert colored == colorize(data, same, seed=3, tries=64)
    assert colored != colorize(data, same, seed=4, tries=64)
    assert same(colored)
    assert sum(a == b for a, b in zip(data, colored, strict=True)) == 6


def test_colorize_asks_seldom() -> None:
    asked: list[bytes] = []

    def same(candidate: bytes) -> bool:
        asked.append(candidate)
        return False

    assert colorize(bytes(100), same, seed=1) == bytes(100)
    assert len(asked) == 32
    assert colorize(b"", same, seed=1) == b""
