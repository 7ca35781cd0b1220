"""How inputs are split: any bytes are an input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltvm.fuzz import layout
from pltvm.fuzz.layout import Message, Race

MESSAGES = st.lists(
    st.builds(Message, st.integers(0, 2**64 - 1), st.binary(max_size=40), st.integers(0, 2)), max_size=6
)


@given(MESSAGES)
def test_messages_come_back(messages: list[Message]) -> None:
    assert layout.split_calls(layout.join_calls(messages), most=6, clients=3) == messages


@given(st.binary(max_size=200), st.integers(1, 5), st.integers(1, 3))
def test_any_bytes_are_calls(data: bytes, most: int, clients: int) -> None:
    messages = layout.split_calls(data, most, clients)
    assert len(messages) <= most
    assert all(message.client < clients for message in messages)
    assert sum(len(message.memory) for message in messages) <= len(data)
    assert bool(messages) == bool(data)


def test_a_call() -> None:
    assert layout.split_call(b"") == (0, b"", 0)
    assert layout.split_call(b"\1\2") == (0x201, b"", 0)
    assert layout.split_call(bytes(8) + b"abc") == (0, b"abc", 0)


def test_a_race() -> None:
    data = (5).to_bytes(4, "little") + (8).to_bytes(4, "little") + (77).to_bytes(8, "little") + b"rest"
    assert layout.split_race(data) == (Race(5, 8, 77), b"rest")
    assert layout.split_race(b"\5") == (Race(5, 0, 0), b"")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"\2\0abcd", {"relay": b"ab", "ocalls": b"cd"}),
        (b"\xff\0ab", {"relay": b"ab", "ocalls": b""}),
        (b"", {"relay": b"", "ocalls": b""}),
    ],
)
def test_channels(data: bytes, parts: dict[str, bytes]) -> None:
    assert layout.split_channels(data, ("relay", "ocalls")) == parts
