"""Planted concurrency bugs are found in a few hundred schedules, and the fixed twins give no report.

`python -m tests.schedule_targets` does the same by the clock, with several seeds.
"""

from pathlib import Path

import pytest

from pltvm.explore.campaign import Limits
from pltvm.host.schedule import Steps, parse
from tests.schedule_targets import Built, targets

TARGETS = {target.name: target for target in targets()}
MOST = 500  # schedules
TWIN = 40


def test_there_are_eight() -> None:
    assert len(TARGETS) >= 8


@pytest.mark.parametrize("name", TARGETS)
def test_bug_is_found_and_its_schedule_repeats_it(name: str, folder: Path) -> None:
    target = TARGETS[name]
    built = Built(target, False, folder)
    campaign, finding = built.explore(Limits(schedules=MOST), seed=7)
    assert finding is not None, f"not in {campaign.schedules} schedules"
    assert finding.failure.kind == target.finds
    assert 1 <= len(finding.steps) <= 6
    subject = built.subject()  # another machine
    subject.most = campaign.subject.most
    for _ in range(2):
        results = subject.run(Steps(parse(finding.schedule)))
        again = subject.failure(results, "--fail-on-value" in target.options)
        assert again is not None
        assert again.signature == finding.failure.signature
        assert results.steps == finding.steps


@pytest.mark.parametrize("name", TARGETS)
def test_twin_gives_no_report(name: str, folder: Path) -> None:
    _, finding = Built(TARGETS[name], True, folder).explore(Limits(schedules=TWIN), seed=7)
    assert finding is None, finding.lines()
