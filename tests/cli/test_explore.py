"""pltvm explore: what it prints, its exit status, and the command that repeats a failure."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import ELVES, HOST, KERNEL, pltvm
from tests.schedule_targets import Built, targets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build_guest: Callable[[str], bytes]) -> Path:
    """With enclaves that wait for each other, that count, and the target two_calls."""
    folder = tmp_path_factory.mktemp("explore")
    Built(next(one for one in targets() if one.name == "two_calls"), False, folder)
    folder /= "buggy"
    (folder / "turns.elf").write_bytes(build_guest("turns"))
    for name, part, times in (("count", 1, 300), ("wait", 2, 1)):
        (folder / name).write_bytes(part.to_bytes(8, "little") + times.to_bytes(8, "little"))
    return folder


def test_a_failure_is_found_and_its_command_repeats_it(folder: Path) -> None:
    line = ["two_calls_client.elf", "--callers", "2", "--server", "target=two_calls.elf"]
    result = pltvm("explore", *line, "--fail-on-value", "--seed", "2", cwd=folder)
    assert result.returncode == 3
    said = result.stdout.splitlines()
    assert said[0].startswith("found in ")
    assert "value: two_calls_client.elf#" in said[1]
    words = shlex.split(said[-1].partition("repeat it: ")[2])
    assert words[:2] == ["pltvm", "run"]
    again = pltvm(*words[1:], cwd=folder)
    assert said[1].removeprefix("value: ") in again.stderr.splitlines()


def test_a_deadlock_with_all_stacks(folder: Path) -> None:
    result = pltvm("explore", "turns.elf", "turns.elf", "--shm", "@wait", "--pct", "2", cwd=folder)
    assert result.returncode == 3
    assert (
        "deadlock: turns.elf#0 yields in a circle, and nothing changes; turns.elf#1 yields" in result.stdout
    )
    for number in (0, 1):
        assert f"  in turns.elf#{number} " in result.stdout
    assert result.stdout.count("main+") == 2


def test_nothing_is_found(folder: Path) -> None:
    result = pltvm("explore", ELVES["hello-world"], "--callers", "2", "--schedules", "5", cwd=folder)
    assert (result.returncode, result.stdout) == (0, "nothing found in 5 schedules\n")


def test_a_plain_run_that_does_not_go_well_is_told(folder: Path) -> None:
    """It is no failure, and may be a server that is missing."""
    result = pltvm("explore", ELVES["caller"], "--callers", "2", "--schedules", "2", cwd=folder)
    assert (result.returncode, result.stdout) == (0, "nothing found in 2 schedules\n")
    assert "pltvm: acquire of 'test-server1' failed" in result.stderr
    assert "caller.elf#0 returned 1 (--fail-on-value counts" in result.stderr


def test_json_and_races(folder: Path) -> None:
    result = pltvm(
        "explore", "turns.elf", "--callers", "2", "--shm", "@count", "--races", "--json", cwd=folder
    )
    content = json.loads(result.stdout)
    assert (result.returncode, content["finding"]["kind"], len(content["finding"]["stacks"])) == (
        3,
        "race",
        2,
    )
    words = shlex.split(content["finding"]["repeat"])
    again = pltvm(*words[1:], cwd=folder)
    assert again.returncode == 3
    assert again.stderr.count("race: two chains touch") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["turns.elf"], "has one schedule only"),
        (["turns.elf", "--callers", "2", "--pct", "2", "--random"], "choose one"),
        (["turns.elf", "two_calls.elf"], "two_calls.elf: is a server, which runs when an enclave calls it"),
        (["turns.elf", HOST], "is a host program, which runs alone"),
        (["turns.elf", KERNEL], "is a kernel program, which runs alone"),
        (["turns.elf", "--callers", "2", "--pct", "0"], "'--pct': 0 is out of range: it must be 1 or more"),
        (["turns.elf", "--callers", "2", "--schedules", "few"], "'few' is not a whole number"),
        (["turns.elf", "--callers", "2", "--time", "nan"], "nan is no time"),
        (
            [HOST, "nosuch.elf"],
            "there is one schedule only; the program returned 1, after",
        ),
    ],
)
def test_what_makes_no_sense(folder: Path, words: list[str], said: str) -> None:
    result = pltvm("explore", *words, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_file_that_is_none(folder: Path) -> None:
    result = pltvm("explore", "turns.elf", "missing.elf", cwd=folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert "missing.elf" in result.stderr
