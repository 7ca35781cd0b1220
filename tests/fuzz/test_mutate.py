"""Mutations: never out of bounds, the same from the same seed, and all kinds of them happen."""

from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.errors import PltvmError
from pltvm.fuzz import layout, loop, mutate, turn
from pltvm.fuzz.arena import Arena
from pltvm.fuzz.dictionary import Dictionary, read_dictionary
from pltvm.fuzz.havoc import seed_state
from pltvm.fuzz.layout import Message
from pltvm.fuzz.mutate import HEAD

CANARY = 0xA5
MESSAGES = [Message(argument, bytes([64 + argument]) * 20, argument % 3) for argument in range(1, 5)]
CALLS = layout.join_calls(MESSAGES)

MESSAGE_LISTS = st.lists(
    st.builds(Message, st.integers(0, 2**64 - 1), st.binary(max_size=30), st.integers(0, 255)), max_size=5
)
INPUTS = st.binary(max_size=100) | MESSAGE_LISTS.map(layout.join_calls)


class Mutator:
    """The loop's mutations of an input that goes nowhere, with canaries after the limit."""

    def __init__(
        self,
        seed: int = 1,
        limit: int = 256,
        header: int = 0,
        calls: bool = False,
        corpus: tuple[bytes, ...] = (),
        tokens: tuple[bytes, ...] = (),
        advance: Callable[[Arena], None] = loop.advance,
    ) -> None:
        self.arena = arena = Arena()
        arena.seed(seed_state(seed))
        arena.state.limit, arena.state.header, arena.state.calls = limit, header, calls
        arena.set_corpus(list(corpus))
        arena.set_tokens(list(tokens))
        self.limit, self.advance = limit, advance

    def taken(self) -> bytes:
        assert 0 <= self.arena.state.size <= self.limit
        assert set(self.arena.buffer[self.limit : self.limit + 64]) == {CANARY}
        return self.arena.input()

    def __call__(self, data: bytes) -> bytes:
        self.arena.buffer[: self.limit + 64] = bytes((CANARY,)) * (self.limit + 64)
        self.arena.set_parent(data[: self.limit])
        self.advance(self.arena)
        return self.taken()

    def messages(self, data: bytes) -> bytes:
        """Structure-aware changes only."""
        arena, state = self.arena, self.arena.state
        arena.buffer[: self.limit + 64] = bytes((CANARY,)) * (self.limit + 64)
        arena.set_input(data)
        stock = turn.stock_of(arena)
        state.size = mutate.tidy(arena.buffer, len(data), self.limit)
        for _ in range(3):
            state.size = mutate.change_messages(arena.rng, arena.buffer, state.size, self.limit, stock)
        return self.taken()


def whole(data: bytes) -> bool:
    """Whether the input is messages that end where it ends."""
    messages = layout.split_calls(data, most=1 << 16, clients=256)
    return sum(HEAD + len(message.memory) for message in messages) == len(data)


@given(
    data=INPUTS,
    limit=st.integers(0, 200),
    header=st.sampled_from([0, 8, 16]),
    calls=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
    corpus=st.lists(INPUTS, max_size=3),
    tokens=st.lists(st.binary(max_size=9), max_size=3),
)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_bounds_hold_and_seeds_decide(
    data: bytes, limit: int, header: int, calls: bool, seed: int, corpus: list[bytes], tokens: list[bytes]
) -> None:
    """With and without the native core, which both come to the same place in their random numbers."""
    one, two = (
        Mutator(seed, limit, header, calls, tuple(corpus), tuple(tokens), advance)
        for advance in (loop.advance, turn.advance)
    )
    for _ in range(10):
        result = one(data)
        assert result == two(data)
        data = result
    assert one.arena.rng == two.arena.rng


@given(data=INPUTS, limit=st.integers(0, 200), seed=st.integers(0, 999), corpus=st.lists(INPUTS, max_size=3))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_messages_stay_whole(data: bytes, limit: int, seed: int, corpus: list[bytes]) -> None:
    mutator = Mutator(seed, limit, calls=True, corpus=tuple(corpus))
    data = data[:limit]
    for _ in range(10):
        data = mutator.messages(data)
        assert whole(data)


def test_seeds() -> None:
    assert seed_state(0)[0] == 0xE220A8397B1DCDAF  # the published first output of splitmix64
    assert len({tuple(seed_state(seed)) for seed in range(100)}) == 100
    rng = memoryview(array("Q", seed_state(5)))
    counts = Counter(mutate.below(rng, 10) for _ in range(10_000))
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 850


@pytest.mark.parametrize("header", [0, 8, 16])
def test_growing_from_nothing(header: int) -> None:
    sizes = [len(Mutator(seed, limit=1024, header=header)(b"")) for seed in range(1000)]
    assert sum(size > header for size in sizes) > 700
    assert sum(size > header + 16 for size in sizes) > 200
    assert max(sizes) > 400


def test_growing_messages_from_nothing() -> None:
    results = [Mutator(seed, limit=1024, calls=True)(b"") for seed in range(1000)]
    counts = Counter(len(layout.split_calls(result, 99, 4)) for result in results)
    assert counts[0] < 100
    assert sum(counts[count] for count in range(2, 99)) > 200
    assert sum(whole(result) for result in results) > 900


def test_every_kind_of_change_of_bytes() -> None:
    """A marked input, 20,000 mutants: how many of them show what each operation does."""
    data = bytes(range(0x80, 0xC0)) + b"n=1234;"
    token, other = b"<TOKEN!>", b"\1\2\3\4\5\6" * 12
    mutator = Mutator(limit=200, corpus=(data, other), tokens=(token, b"\xfe\xed"))
    seen: Counter[str] = Counter()
    for _ in range(20_000):
        result = mutator(data)
        same_size = len(result) == len(data)
        differ = [at for at, (a, b) in enumerate(zip(result, data, strict=False)) if a != b]
        once = same_size and len(differ) == 1
        at = differ[0] if differ else 0
        seen["grown"] += len(result) > len(data)
        seen["shrunk"] += len(result) < len(data)
        seen["one bit"] += once and (result[at] ^ data[at]).bit_count() == 1
        seen["token written"] += same_size and token in result
        seen["token inserted"] += not same_size and token in result
        seen["from another input"] += other[:5] in result
        seen["start here, end there"] += result[:20] == data[:20] and result.endswith(other[-20:])
        seen["block twice"] += result.count(data[10:16]) > 1
        seen["block of zeros"] += bytes(6) in result
        seen["a 64-bit value"] += (1 << 63).to_bytes(8, "little") in result
        seen["a big endian value"] += (1 << 32).to_bytes(8, "big") in result
        seen["digit"] += once and at >= 66 and result[66:70].isdigit()
        seen["digits"] += b"n=9999;" in result
        seen["minus"] += b"n=-234;" in result
        seen["length"] += same_size and result[:4] == (len(data) - 4).to_bytes(4, "little")
        seen["words swapped"] += (
            data[8:16] in result and result.find(data[8:16]) % 8 == 0 and data[8:16] != (result[8:16])
        )
        seen["same"] += result == data
    assert seen.pop("same") < 1000
    assert min(seen.values()) >= 5, seen
    for name in ("grown", "shrunk", "token inserted", "from another input", "block twice"):
        assert seen[name] > 300, seen


@pytest.mark.parametrize(("header", "fields"), [(8, [(0, 8)]), (16, [(0, 4), (4, 4), (8, 8)])])
def test_header_fields_change_alone_and_as_numbers(header: int, fields: list[tuple[int, int]]) -> None:
    data = bytes([0, 200, 0, 0] * (header // 4)) + b"memory of a call"
    mutator = Mutator(header=header)
    changed, small, near = 0, Counter[int](), Counter[int]()
    for _ in range(20_000):
        result = mutator(data)
        changed += result[:header] != data[:header]
        for at, width in fields:
            if result[:at] + data[at : at + width] + result[at + width : header] == data[:header]:
                value = int.from_bytes(result[at : at + width], "little")
                small[at] += value <= 16
                old = int.from_bytes(data[at : at + width], "little")
                near[at] += 0 < abs(value - old) <= 32
    assert changed > 5000
    for at, _ in fields:
        assert small[at] > 100
        assert near[at] > 100


def test_every_kind_of_change_of_messages() -> None:
    foreign = [Message(77, b"foreign memory", 1), Message(78, b"the last", 2)]
    mutator = Mutator(limit=400, calls=True, corpus=(CALLS, layout.join_calls(foreign)))
    seen: Counter[str] = Counter()
    for _ in range(20_000):
        result = mutator(CALLS)
        seen["whole"] += whole(result)
        now = layout.split_calls(result, most=99, clients=256)
        seen["one less"] += len(now) == 3 and all(message in MESSAGES for message in now)
        seen["twice"] += len(now) == 5 and len(set(now)) == 4 and set(now) == set(MESSAGES)
        seen["swapped"] += now != MESSAGES and sorted(now) == MESSAGES
        seen["foreign"] += foreign[0] in now and all(message in now for message in MESSAGES)
        seen["spliced"] += now[:1] == MESSAGES[:1] and now[-2:] == foreign
        if len(now) == 4:
            pairs = [pair for pair in zip(now, MESSAGES, strict=True) if pair[0] != pair[1]]
            if len(pairs) == 1:
                ((new, old),) = pairs
                seen["argument"] += new._replace(argument=old.argument) == old
                seen["client"] += new._replace(client=old.client) == old
                seen["cut"] += len(new.memory) < 20 and old.memory.startswith(new.memory)
                seen["extended"] += len(new.memory) > 20 and new.memory.startswith(old.memory)
                seen["memory"] += len(new.memory) == 20 and new._replace(memory=old.memory) == old
        seen["new"] += len(now) == 5 and all(message in now for message in MESSAGES) and len(set(now)) == 5
    assert seen.pop("whole") > 18_000
    assert min(seen.values()) > 50, seen


def test_stacks_are_small() -> None:
    """Half of all mutants of a long input differ in a few places only."""
    data = bytes(1000)
    mutator = Mutator(limit=1000)
    small = sum(sum(mutator(data)) < 600 for _ in range(1000))
    assert small > 300


def test_dictionary() -> None:
    dictionary = Dictionary([b"one", b"", b"two", b"one", bytes(65)])
    assert list(dictionary) == [b"one", b"two"]
    assert not dictionary.add(b"two")
    assert dictionary.add(b"\0")
    assert list(dictionary) == [b"one", b"two", b"\0"]
    assert list(Dictionary()) == []
    for number in range(1000):
        dictionary.add(number.to_bytes(4, "big"))
    assert len(dictionary) == Dictionary.MOST


def test_dictionary_file(tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    path.write_text('# words\n\n  get="GET "\nmagic@2 = "\\xDE\\xad\\\\x\\"#"\n"bare"\n')
    assert read_dictionary(path) == [b"GET ", b'\xde\xad\\x"#', b"bare"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name=value", 'expected name="value"'),
        ('name="value', 'expected name="value"'),
        ('"\\x4"', "a wrong escape"),
        ('"a\\n"', "a wrong escape"),
        ('"a"b"', "a wrong escape"),
        ('""', "1 to 64 bytes, not 0"),
        (f'"{"a" * 65}"', "1 to 64 bytes, not 65"),
    ],
)
def test_a_wrong_dictionary_file(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "words.dict"
    path.write_text(f'"good"\n{line}\n')
    with pytest.raises(PltvmError, match=message) as error:
        read_dictionary(path)
    assert str(error.value).startswith(f"{path}:2: ")


def test_a_dictionary_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PltvmError, match=r"cannot be read: No such file"):
        read_dictionary(tmp_path / "none")
