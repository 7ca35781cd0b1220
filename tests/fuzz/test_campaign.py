"""Campaigns: the same again, also after a stop; seeds of all kinds; limits."""

from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz.campaign import Limits, read_seeds
from pltvm.fuzz.options import MOST_BYTES, Options
from pltvm.fuzz.results import Entry
from pltvm.fuzz.store import OutputFolder
from pltvm.fuzz.worker import Round
from tests.fuzz.campaigns import CLIMB, Several, campaign, content, described, entries, findings
from tests.fuzz.conftest import Build
from tests.fuzz_targets.test_targets import call

GENERATIONS = 6
FAULT = call(0, bytes((5, 1)) + bytes(7) + b"d")


@pytest.fixture
def climb(built: Build) -> Options:
    """The server with steps."""
    return Options(str(built(CLIMB, name="climb")))


def here(worker: object) -> Several:
    return Several(worker, 1)  # type: ignore[arg-type]


def two(worker: object) -> Several:
    return Several(worker, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", [here, two])
def test_a_stop_and_a_resume_change_nothing(pool: object, climb: Options, tmp_path: Path) -> None:
    whole, parts, again, other = (tmp_path / name for name in ("whole", "parts", "again", "other"))
    campaign(whole, climb, pool, GENERATIONS)  # type: ignore[arg-type]
    assert len(entries(whole)) > 5
    for part in (1, 2, 3):
        said = campaign(parts, climb, pool, part)  # type: ignore[arg-type]
        assert (f"goes on with {len(entries(parts))}" in said) or part < 3 or "goes on" in said
    assert content(parts) == content(whole)
    campaign(again, climb, pool, GENERATIONS)  # type: ignore[arg-type]
    assert content(again) == content(whole)
    campaign(other, climb, pool, GENERATIONS, seed=1)  # type: ignore[arg-type]
    assert content(other) != content(whole)


def test_counts_go_on(climb: Options, tmp_path: Path) -> None:
    campaign(tmp_path / "out", climb, here, 2)
    with OutputFolder(tmp_path / "out", options=described(tmp_path / "out")) as folder:
        first = folder.saved_counts()
    campaign(tmp_path / "out", climb, here, 2)
    with OutputFolder(tmp_path / "out", options=described(tmp_path / "out")) as folder:
        second = folder.saved_counts()
    assert (first.rounds, second.rounds) == (2, 4)
    assert second.executions > first.executions > 0
    assert second.edges >= first.edges > 0
    assert second.seconds >= first.seconds


def test_parents_are_in_the_queue(climb: Options, tmp_path: Path) -> None:
    campaign(tmp_path / "out", climb, two, 3)
    queue = entries(tmp_path / "out")
    assert queue[0].operation == "seed"
    assert all(-1 <= entry.parent < at for at, entry in enumerate(queue))
    assert any(entry.parent > 0 for entry in queue)


class Given:
    """Gives rounds that were made up."""

    def __init__(self, rounds: list[Round]) -> None:
        self.size, self._rounds = len(rounds), rounds

    def run(self, _jobs: object) -> list[Round]:
        """The rounds, whatever the jobs are."""
        return self._rounds

    def close(self) -> None:
        """Nothing is to be stopped."""


def test_parents_of_a_later_round(climb: Options, tmp_path: Path) -> None:
    """What an input was made from is counted in its own round, whatever rounds before it have added."""
    steps = [
        call(0, bytes(step * 37 & 255 ^ 5 for step in range(count)) + bytes((count * 37 & 255,)))
        for count in range(1, 5)
    ]
    first = Round((Entry(steps[0], 0, "havoc"), Entry(steps[1], 1, "havoc")), (), 1, 1)
    second = Round((Entry(steps[2], 0, "havoc"), Entry(steps[3], 1, "havoc")), (), 1, 1)
    campaign(tmp_path / "out", climb, lambda _worker: Given([first, second]), 1)
    queue = entries(tmp_path / "out")
    assert [entry.data for entry in queue] == [b"", *steps]
    assert [entry.parent for entry in queue] == [-1, 0, 1, 0, 3]


def test_seeds(climb: Options, tmp_path: Path) -> None:
    """Those that crash are findings, those that reach nothing are left out, one that is too long is cut."""
    long = call(0, bytes(20000))
    seeds = [("crash", FAULT), ("plain", call(0, b"\0")), ("same", call(0, b"\0")), ("long", long)]
    said = campaign(tmp_path / "out", climb, here, 0, seeds)
    (found,) = findings(tmp_path / "out")
    assert found[0] == "fault"
    assert found[3] == FAULT
    assert "found fault" in said
    assert [entry.data for entry in entries(tmp_path / "out")] == [call(0, b"\0")]
    assert "of 4 seeds" in said
    said = campaign(tmp_path / "out", climb, here, 0, seeds)
    assert "goes on with 1 inputs and 1 findings" in said
    assert "findings: fault 1" in said


def test_seeds_that_all_crash(climb: Options, tmp_path: Path) -> None:
    """The campaign starts from nothing then, and knows the finding, also when it goes on."""
    for _ in range(2):
        campaign(tmp_path / "out", climb, here, 2, [("crash", FAULT)])
        assert [one[3] for one in findings(tmp_path / "out")].count(FAULT) == 1
    assert entries(tmp_path / "out")


def test_limits(climb: Options, tmp_path: Path) -> None:
    generations: list[int] = []
    campaign(tmp_path / "a", climb, here, 50, before=generations.append, limits=Limits(executions=1500))
    assert 1 < len(generations) < 50
    with OutputFolder(tmp_path / "a", options=described(tmp_path / "a")) as folder:
        counts = folder.saved_counts()
        assert counts.executions >= 1500
        assert counts.executions - 1500 < counts.executions / (counts.rounds - 1)
    generations.clear()
    campaign(tmp_path / "b", climb, here, 1, [("crash", FAULT)], generations.append, Limits(findings=1))
    assert generations == []
    campaign(tmp_path / "c", climb, here, 500, before=generations.append, limits=Limits(seconds=0.3))
    assert 0 < len(generations) < 500


def test_limits_count_from_the_start_of_this_run(climb: Options, tmp_path: Path) -> None:
    generations: list[int] = []
    for _ in range(2):
        campaign(tmp_path / "a", climb, here, 50, before=generations.append, limits=Limits(executions=500))
        assert generations
        assert generations.pop() == len(generations)
        generations.clear()


def test_words_get_into_inputs(climb: Options, tmp_path: Path) -> None:
    campaign(tmp_path / "with", climb, here, 3, words=[b"\5\x28\x4f\x6a"])
    campaign(tmp_path / "without", climb, here, 3)
    assert content(tmp_path / "with") != content(tmp_path / "without")


def test_two_campaigns_in_one_folder(climb: Options, tmp_path: Path) -> None:
    with (
        OutputFolder(tmp_path, options=climb.to_dict()),
        pytest.raises(PltvmError, match="another campaign uses it"),
    ):
        campaign(tmp_path, climb, here, 0)


def test_another_seed_in_the_same_folder(climb: Options, tmp_path: Path) -> None:
    campaign(tmp_path, climb, here, 0)
    with pytest.raises(PltvmError, match="seed 0, not 1"):
        campaign(tmp_path, climb, here, 0, seed=1)


def test_read_seeds(tmp_path: Path) -> None:
    assert read_seeds(None) == []
    folder = tmp_path / "seeds"
    folder.mkdir()
    (folder / "inner").mkdir()
    (folder / ".hidden").write_bytes(b"hidden")
    with pytest.raises(PltvmError, match="no file in it"):
        read_seeds(folder)
    (folder / "b").write_bytes(b"two")
    (folder / "a").write_bytes(b"one")
    assert read_seeds(folder) == [("a", b"one"), ("b", b"two")]
    assert read_seeds(folder / "b") == [("b", b"two")]
    with pytest.raises(PltvmError, match=r"nothing.*cannot be read"):
        read_seeds(tmp_path / "nothing")
    (folder / "a").unlink()
    (folder / "a").symlink_to(tmp_path / "nowhere")
    assert read_seeds(folder) == [("b", b"two")]


def test_seeds_without_end(tmp_path: Path) -> None:
    """As much is read as an input can have, and one byte more, so that a cut is seen."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    ((_, data),) = read_seeds(tmp_path)
    assert len(data) == MOST_BYTES + 1
    with pytest.raises(PltvmError, match="not a plain file"):
        read_seeds(Path("/dev/zero"))
