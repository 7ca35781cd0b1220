"""Planted bugs are found from an empty input, and twins give no report, in a bounded number of rounds.

`python -m tests.fuzz_targets` does the same by the clock, with several seeds.
"""

from pathlib import Path

import pytest

from tests.fuzz_targets import build, targets
from tests.fuzz_targets.__main__ import Hunt

NAMES = [target.name for target in targets()]
MOST_ROUNDS = 40  # of a full size; what takes longest takes an eighth of them
# With these they take half as long, or less, as with most others.
SEEDS = {
    "badge": 3, "bank": 11, "logger": 2, "notes": 48, "sessions": 7, "settings": 8, "thumbnail": 5,
    "tokens": 7,
}  # fmt: skip
TWIN_WORK = 30_000_000


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_bug_is_found(name: str, folder: Path) -> None:
    target = next(target for target in targets() if target.name == name)
    hunt = Hunt(build(target, False, folder), seed=SEEDS.get(name, 1))
    while not hunt.found and hunt.rounds < MOST_ROUNDS:
        hunt.round()
    assert hunt.found, f"not in {hunt.executions} executions"
    finding = next(finding for finding in hunt.findings if finding.kind in target.finds)
    assert hunt.worker.explain(finding.data) == finding  # a replay says the same


@pytest.mark.parametrize("name", NAMES)
def test_twin_gives_no_report(name: str, folder: Path) -> None:
    target = next(target for target in targets() if target.name == name)
    hunt = Hunt(build(target, True, folder), seed=1, work=TWIN_WORK)
    hunt.round()
    hunt.round()
    assert [finding.report for finding in hunt.findings] == []
    assert hunt.executions > 1_000
