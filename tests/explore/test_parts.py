"""Shortening, strategies, and what a campaign does with them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pltvm import native
from pltvm.errors import ArgumentError
from pltvm.explore.campaign import Campaign, Limits, Options
from pltvm.explore.shrink import shrink
from pltvm.explore.strategies import Mixed, PctStrategy, Point, Points, RandomStrategy
from pltvm.explore.subject import Subject
from pltvm.host.schedule import Pct, Random, Step, Steps
from tests.schedule_targets import Built, targets

TARGETS = {target.name: target for target in targets()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("targets")


@pytest.mark.parametrize("needed", [(), (3,), (0, 7), (2, 3, 19), tuple(range(20))])
def test_what_is_not_needed_is_left_out(needed: tuple[int, ...]) -> None:
    steps = [Step(0, count, 1) for count in range(20)]
    tried = []

    def fails(some: Any) -> bool:
        tried.append(len(some))
        return {one.count for one in some} >= set(needed)

    assert [one.count for one in shrink(steps, fails)] == list(needed)
    assert len(shrink(steps, lambda _some: False, tries=3)) == 20


def test_a_place_in_a_loop_is_one_place() -> None:
    points = Points()
    assert points.add([Point(0, count, (1, 100)) for count in range(500)] + [Point(0, 7000, (1, 200))]) == 501
    assert points.add([Point(0, 3, (1, 100))]) == 0
    chance, seldom = 1, 0
    for _ in range(200):
        chance, one = points.draw(chance)
        seldom += one.count == 7000
    assert 60 < seldom < 140


def test_strategies_repeat_and_vary() -> None:
    points, three = Points(), cast(Subject, SimpleNamespace(chains=range(3)))
    points.add([Point(chain, count, (chain, count % 7)) for chain in range(3) for count in range(100)])
    for strategy in (Mixed(1, three, points), PctStrategy(1, 3, points), RandomStrategy(1)):
        kinds = [type(strategy.policy(number)) for number in range(16)]
        assert (
            set(kinds)
            == {Mixed: {Steps, Pct, Random}, PctStrategy: {Pct}, RandomStrategy: {Random}}[type(strategy)]
        )
        assert repr(strategy.policy(5).state) == repr(strategy.policy(5).state)
    depths = [sum(map(len, PctStrategy(1, 3, points).policy(n).state.changes.values())) for n in range(9)]
    assert depths == [2] * 9


@pytest.mark.parametrize("options", [{}, {"depth": 2}, {"random": True}])
def test_the_same_seed_finds_the_same(folder: Path, options: dict[str, Any]) -> None:
    built = Built(TARGETS["lost_update"], False, folder)
    runs = [built.explore(Limits(schedules=400), seed=3, **options) for _ in range(2)]
    (first, finding), (second, other) = runs
    assert finding is not None
    assert (first.schedules, finding.lines()) == (second.schedules, other and other.lines())
    assert len(finding.steps) <= 3


@pytest.mark.skipif(native.core is None, reason=native.status)
@pytest.mark.parametrize("options", [{}, {"races": True}])
def test_the_core_finds_what_python_finds(folder: Path, options: dict[str, Any]) -> None:
    built, told = Built(TARGETS["double_checked"], False, folder), []
    for core in (True, False):
        subject = built.subject(native=core)
        campaign = Campaign(subject, Options(seed=4, on_value=True, **options), lambda _campaign: None)
        finding = campaign.run(Limits(schedules=100))
        assert finding is not None
        told.append((campaign.schedules, campaign.points.all, finding.lines()))
    assert told[0] == told[1]


def test_a_race_is_told_with_both_places(folder: Path) -> None:
    campaign, finding = Built(TARGETS["lost_update"], False, folder).explore(Limits(schedules=5), races=True)
    assert finding is not None
    assert (finding.failure.kind, campaign.schedules, finding.steps) == ("race", 1, ())
    first, second = finding.stacks
    assert first.startswith("the first writes 4 bytes in target")
    assert second.startswith("the second reads 4 bytes in target")
    assert "lost_update.c" in first
    assert "called by client#0" in first
    assert "called by client#1" in second
    _, finding = Built(TARGETS["lost_update"], True, folder).explore(Limits(schedules=5), races=True)
    assert finding is None  # who reads the number has met the others


def test_options_that_make_no_sense() -> None:
    for options in ({"depth": 3, "random": True}, {"depth": 17}, {"depth": -1}):
        with pytest.raises(ArgumentError):
            Options(**options)


def test_a_campaign_ends_after_its_time_and_its_schedules(folder: Path) -> None:
    built = Built(TARGETS["double_checked"], True, folder)
    told: list[int] = []
    campaign = Campaign(built.subject(), Options(), lambda one: told.append(one.schedules))
    assert campaign.run(Limits(schedules=20)) is None
    assert told == list(range(1, 21))
    assert built.explore(Limits(seconds=0.2))[1] is None
