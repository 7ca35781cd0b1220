"""pltvm.fuzz.corpus and the commands on it: maps as AFL's, and the fewest inputs that reach all."""

import random
from pathlib import Path

import pytest

from pltvm.fuzz.arena import FEATURES
from pltvm.fuzz.corpus import as_text, classes_of, fewest, merge, reached, tuples
from pltvm.fuzz.options import Options
from pltvm.fuzz.worker import Worker
from tests.fuzz.campaigns import CLIMB
from tests.fuzz.conftest import Build
from tests.fuzz.test_campaign import FAULT
from tests.fuzz_targets.test_targets import call


@pytest.fixture(scope="module")
def worker(built: Build) -> Worker:
    return Worker(Options(str(built(CLIMB, name="climb"))))


def climb(steps: int) -> bytes:
    """An input that gets so many steps up."""
    return call(0, bytes((step * 37) % 8 ^ 5 for step in range(steps)) + b"\0\0")


def test_the_same_input_reaches_the_same(worker: Worker) -> None:
    first, execution = reached(worker.target, climb(6))
    assert execution.problem is None
    assert first
    other, _ = reached(worker.target, climb(9))
    again, _ = reached(worker.target, climb(6))
    assert first == again != other
    worker.target.execute(climb(20))  # what was seen before does not count
    assert reached(worker.target, climb(6))[0] == first


def test_what_goes_wrong_has_a_map_too(worker: Worker) -> None:
    edges, execution = reached(worker.target, FAULT)
    assert execution.problem is not None
    assert len(edges) > 3
    assert worker.accept(FAULT) == 0  # it is no part of a corpus all the same


def test_a_campaign_takes_for_new_what_has_tuples_that_are_new(worker: Worker) -> None:
    seen: set[tuple[int, int]] = set()
    worker.use(())
    for steps in (0, 3, 4, 3, 9, 20, 4, 21, 40):
        found = tuples(reached(worker.target, climb(steps))[0])
        assert bool(worker.accept(climb(steps))) == bool(found - seen), steps
        seen |= found


def test_the_text_is_that_of_afl() -> None:
    edges = {7: 1, 0x1234: 0b1000_0001, FEATURES + 3: 1, 9: 4}
    assert as_text(edges) == "000007:1\n000009:3\n004660:8\n"
    assert classes_of(edges) == {7: 1, 9: 3, 0x1234: 8}
    merge(edges, {7: 2, 5: 1})
    assert as_text(edges) == "000005:1\n000007:2\n000009:3\n004660:8\n"


def test_the_fewest() -> None:
    inputs = {
        "all": (100, {(1, 1), (2, 1), (3, 1)}),
        "one": (10, {(1, 1)}),
        "two": (10, {(2, 1)}),
        "small": (20, {(1, 1), (2, 1)}),
        "rare": (30, {(3, 1), (4, 1)}),
        "nothing": (0, set()),
    }
    assert fewest(inputs) == ["one", "rare", "two"]
    assert fewest({"only": (5, {(1, 1)}), "large": (9, {(1, 1)})}) == ["only"]
    assert fewest({}) == []


def test_nothing_is_lost_and_nothing_is_needless() -> None:
    rng = random.Random(5)
    for _ in range(100):
        inputs = {
            f"{number}": (rng.randrange(100), {(rng.randrange(30), 1) for _ in range(rng.randrange(8))})
            for number in range(rng.randrange(1, 40))
        }
        kept = fewest(inputs)
        everything = set().union(*(reaches for _, reaches in inputs.values()))
        assert set().union(*(inputs[name][1] for name in kept)) == everything
        for left_out in kept:
            rest = set().union(*(inputs[name][1] for name in kept if name != left_out))
            assert rest != everything


def test_a_small_corpus_reaches_what_the_large_one_does(worker: Worker, tmp_path: Path) -> None:
    data = {f"{steps}": climb(steps) for steps in range(0, 64, 3)}
    maps = {name: (len(one), tuples(reached(worker.target, one)[0])) for name, one in data.items()}
    kept = fewest(maps)
    assert 0 < len(kept) < len(data)
    worker.use(tuple(data.values()))
    edges = worker.edges
    worker.use(tuple(data[name] for name in kept))
    assert worker.edges == edges
