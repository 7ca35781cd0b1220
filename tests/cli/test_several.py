"""pltvm run with several enclaves: what is printed, exit statuses, and that it repeats."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, ELVES, HOST, pltvm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build_guest: Callable[[str], bytes]) -> Path:
    folder = tmp_path_factory.mktemp("several")
    for name in ("turns", "turns_server"):
        (folder / f"{name}.elf").write_bytes(build_guest(name))
    for name, part, times in (("count", 1, 300), ("wait", 2, 1), ("print", 6, 3)):
        (folder / name).write_bytes(part.to_bytes(8, "little") + times.to_bytes(8, "little"))
    return folder


def test_callers_of_one_kind(folder: Path) -> None:
    result = pltvm("run", "turns.elf", "--callers", "3", "--shm", "@print", cwd=folder)
    expected = "".join(f"{eid}: {i}\n" for eid in range(3) for i in range(3))
    assert (result.returncode, result.stdout) == (0, expected)
    assert result.stderr.splitlines() == [f"turns.elf#{number} returned 0" for number in range(3)]


def test_the_schedule_that_is_shown_repeats_the_run(folder: Path) -> None:
    line = ["run", "turns.elf", "turns.elf", "--shm", "@count", "--json"]
    first = json.loads(pltvm(*line, "--schedule", "3", "--quantum", "100", cwd=folder).stdout)
    assert any(chain["retval"] < 600 for chain in first["chains"])
    (folder / "steps").write_text(first["schedule"] + "\n")
    assert json.loads(pltvm(*line, "--schedule", "@steps", cwd=folder).stdout) == first


def test_a_deadlock_is_told_with_places(folder: Path) -> None:
    result = pltvm("run", "turns.elf", "--callers", "2", "--shm", "@wait", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("pltvm: deadlock: each chain waits, and none gets any further\n")
    assert result.stderr.count("called from") == 2
    assert "turns.elf#1" in result.stderr


def test_recordings_have_all_of_it(folder: Path) -> None:
    line = [
        "turns.elf",
        "--callers",
        "2",
        "turns.elf",
        "--shm",
        "@count",
        "--schedule",
        "5",
        "--quantum",
        "90",
    ]
    first = pltvm("run", *line, "--record-run", "recording", cwd=folder)
    assert first.returncode == 0
    again = pltvm("replay", "recording", cwd=folder)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr == "".join(first.stderr.splitlines(keepends=True)[:-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["turns.elf", "--callers", "0"], "--callers 0: it must be 1 to 1000"),
        (["turns.elf", "--quantum", "0"], "a slice has at least one instruction"),
        (["turns.elf", "--schedule", "0@5>1", "--quantum", "5"], "says itself"),
        (["turns.elf", "--schedule", "a"], "'a' is no step"),
        (["turns.elf", "--callers", "2", "--schedule", "0@5>2"], "there is no chain 2: they are"),
        (["turns.elf", "--callers", "2", "--name", "n"], "--name names one enclave"),
        (["turns.elf", "turns_server.elf"], "turns_server.elf: is a server, which runs when"),
        (["--callers", "2", HOST], "--callers is for enclaves"),
    ],
)
def test_what_makes_no_sense(folder: Path, words: list[str], said: str) -> None:
    result = pltvm("run", *words, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr


def test_ctrl_c_says_where_each_was(folder: Path, build_guest: Callable[[str], bytes]) -> None:
    (folder / "endless.elf").write_bytes(build_guest("spinning"))
    running = subprocess.Popen(
        [*COMMAND, "run", "endless.elf", "--callers", "2"], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    for _ in range(2):
        assert running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "endless.elf#0, endless.elf#1: stopped by Ctrl-C" in errors
    assert [f"  in endless.elf#{number} (eid {number}) at " in errors for number in (0, 1)] == [True, True]


def test_races_of_one_enclave_are_refused() -> None:
    result = pltvm("run", ELVES["hello-world"], "--races")
    assert (result.returncode, "name several, or add --callers N" in result.stderr) == (2, True)
