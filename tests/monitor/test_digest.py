"""The digests: §9's check value, the definition followed word by word, any cut of the stream."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.errors import PltvmError
from pltvm.monitor.digest import Digest, PenglaiDigest, _in_core, compress, digest
from pltvm.native import core
from tests import independent_measure


def test_check_value() -> None:
    expected = "37bc43d11cab393d7899ef6224f568ec18a8fd851d165c500c3754020f466a04"
    assert digest(Digest.PENGLAI, [b"abc"]).hex() == expected
    assert independent_measure.digest(b"abc").hex() == expected


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 4095, 4096, 4097, 8192 + 56])
def test_lengths_around_blocks_and_batches(size: int) -> None:
    data = bytes(index * 151 % 256 for index in range(size))
    assert digest(Digest.PENGLAI, [data]) == independent_measure.digest(data)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6), st.binary(max_size=1))
def test_any_cut_gives_the_definition(chunks: list[bytes], filler: bytes) -> None:
    chunks = [*chunks, filler * 100]
    assert digest(Digest.PENGLAI, chunks) == independent_measure.digest(b"".join(chunks))


def test_a_digest_can_go_on() -> None:
    stream = PenglaiDigest()
    stream.update(b"a" * 5000)
    first = stream.digest()
    assert first == stream.digest() == digest(Digest.PENGLAI, [b"a" * 5000])
    stream.update(b"b")
    assert stream.digest() == digest(Digest.PENGLAI, [b"a" * 5000 + b"b"])


@pytest.mark.skipif("sm3" not in hashlib.algorithms_available, reason="this OpenSSL has no SM3")
def test_standard_sm3() -> None:
    expected = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"  # GB/T 32905-2016 A.1
    assert digest(Digest.SM3, [b"a", b"bc"]).hex() == expected


def test_missing_sm3_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ValueError

    monkeypatch.setattr(hashlib, "new", missing)
    with pytest.raises(PltvmError, match="no SM3"):
        digest(Digest.SM3, [])


# -- the same in C -------------------------------------------------------------------------------------------

needs_core = pytest.mark.skipif(core is None, reason="there is no native core")


@needs_core
@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=8, max_size=8), st.integers(0, 40), st.randoms())
def test_the_core_does_what_the_definition_says(state: list[int], blocks: int, random: Random) -> None:
    data = random.randbytes(64 * blocks)
    assert _in_core(tuple(state), data) == compress(tuple(state), data)


@needs_core
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.randoms())
def test_the_core_gives_the_same_digest_of_any_length(size: int, random: Random) -> None:
    data = random.randbytes(size)
    assert digest(Digest.PENGLAI, [data]) == independent_measure.digest(data)


def test_two_threads_may_measure_at_once() -> None:
    data = [Random(seed).randbytes(20_000) for seed in range(4)]
    alone = [digest(Digest.PENGLAI, [one]) for one in data]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: digest(Digest.PENGLAI, [one]), data)) == alone
