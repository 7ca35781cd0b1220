"""triage, cmin, tmin and showmap: on the folders of campaigns and on plain ones, with one line for errors."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import pltvm
from tests.fuzz.campaigns import CLIMB
from tests.fuzz.conftest import Build
from tests.fuzz.test_campaign import FAULT
from tests.fuzz.test_cli import QUICK, Command, command
from tests.fuzz_targets.test_targets import call

__all__ = ["command"]
FIXED = CLIMB.replace("*(volatile int *)8 = 1", "state++").replace("*(volatile int *)16 = 1", "state++")


@pytest.fixture(scope="module")
def climb(built: Build) -> Path:
    return built(CLIMB, name="climb")


@pytest.fixture(scope="module")
def out(climb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a campaign that has found something."""
    seed = tmp_path_factory.mktemp("seeds") / "seed"
    seed.write_bytes(FAULT)
    folder = tmp_path_factory.mktemp("out")
    assert pltvm("fuzz", str(climb), "-i", str(seed), "-o", str(folder), *QUICK).returncode == 3
    return folder


@pytest.fixture
def plain(out: Path, tmp_path: Path) -> Path:
    """Findings and inputs of other origin in a folder of no campaign: two show the same."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "crash-1").write_bytes(FAULT)
    (folder / "crash-2").write_bytes(FAULT + b"more")
    (folder / "fine").write_bytes(call(0, b"x"))
    (folder / ".hidden").write_bytes(FAULT)
    (folder / "README.txt").write_text("no input")
    os.symlink("/etc/passwd", folder / "link")
    return folder


def test_triage_of_a_campaign(command: Command, out: Path) -> None:
    done = command("triage", out)
    assert done.status == 3
    assert done.err == ""
    crashes = sorted(one.name for one in (out / "default" / "crashes").glob("id:*"))
    rows = [line for line in done.out.splitlines() if line.startswith(f"default{os.sep}crashes")]
    assert len(rows) == len(crashes)
    assert all(" the same " in row for row in rows)
    count = len(crashes) + len(list((out / "default" / "hangs").glob("id:*")))
    assert re.fullmatch(
        rf"{count} of {count} inputs show something: \d+ different findings?", done.out.splitlines()[-1]
    )
    assert command("triage", out) == done


def test_triage_of_any_files(command: Command, plain: Path, climb: Path) -> None:
    done = command("triage", plain, climb)
    assert done.status == 3
    head, rows = done.out.split("inputs\n", 1)[0], done.out.splitlines()
    assert re.search(r"^1 +2  fault  store to a page .* crash-1$", head, re.MULTILINE)
    assert rows[-1] == "2 of 3 inputs show something: 1 different finding"
    assert any(line.split()[:1] == ["fine"] and "nothing" in line for line in rows)
    assert "hidden" not in done.out
    assert "link" not in done.out


def test_triage_after_the_fix(command: Command, out: Path, built: Build) -> None:
    fixed = built(FIXED, name="climb")
    done = command("triage", out, fixed)
    assert done.status in (0, 3)
    row = next(line for line in done.out.splitlines() if "id:000000" in line and "default" in line)
    assert " nothing" in row


def test_cmin(command: Command, out: Path, climb: Path, tmp_path: Path) -> None:
    queue = out / "default" / "queue"
    done = command("cmin", "-i", out, "-o", tmp_path / "small")
    assert done.status == 0
    kept = sorted((tmp_path / "small").iterdir())
    total = len(list(queue.glob("id:*")))
    assert re.fullmatch(
        rf"kept {len(kept)} of {total} inputs, which reach all \d+ tuples, in \S+\n", done.out
    )
    assert 0 < len(kept) < total
    assert all(one.read_bytes() == (queue / one.name).read_bytes() for one in kept)
    for name, source in (("a", queue), ("b", tmp_path / "small")):
        assert command("showmap", climb, "-i", source, "-C", "-o", tmp_path / name).status == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    again = command("cmin", climb, "-i", tmp_path / "small", "-o", tmp_path / "smaller")
    assert again.out.startswith(f"kept {len(kept)} of {len(kept)} inputs")
    assert command("cmin", "-i", out, "-o", tmp_path / "small").status == 1  # it is not empty


def test_cmin_leaves_out_findings(command: Command, plain: Path, climb: Path, tmp_path: Path) -> None:
    done = command("cmin", climb, "-i", plain, "-o", tmp_path / "small")
    assert done.status == 0
    assert [one.name for one in (tmp_path / "small").iterdir()] == ["fine"]
    assert "2 inputs left out for showing a finding" in done.err


def test_tmin_keeps_the_finding(command: Command, climb: Path, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(FAULT + bytes(range(1, 200)))
    done = command("tmin", climb, "-i", tmp_path / "long", "-o", tmp_path / "short")
    assert done.status == 0
    short = (tmp_path / "short").read_bytes()
    assert len(short) <= len(FAULT)
    size = len(FAULT) + 199
    assert done.out == (
        f"{tmp_path / 'short'}: {len(short)} bytes of {size}, with the same store to a page that is not "
        f"mapped writable at main+{done.out.rpartition('main+')[2]}"
    )
    assert command("tmin", climb, "-i", tmp_path / "short", "-o", tmp_path / "again").status == 0
    assert (tmp_path / "again").read_bytes() == short


def test_tmin_keeps_the_edges(command: Command, climb: Path, tmp_path: Path) -> None:
    data = call(0, bytes((step * 37) % 8 ^ 5 for step in range(12)) + bytes([0]) + b"junk" * 300)
    (tmp_path / "long").write_bytes(data)
    done = command("tmin", climb, "-i", tmp_path / "long", "-o", tmp_path / "short")
    assert done.status == 0
    assert done.out.endswith("with the same edges\n")
    assert (tmp_path / "short").stat().st_size < 30
    maps = [command("showmap", climb, "-i", tmp_path / name).out for name in ("long", "short")]
    assert maps[0] == maps[1] != ""


def test_showmap(command: Command, out: Path, climb: Path, tmp_path: Path) -> None:
    queue = sorted((out / "default" / "queue").glob("id:*"))
    done = command("showmap", "-i", queue[0], "-o", "-")
    assert done.status == 0
    assert all(re.fullmatch(r"\d{6}:[1-8]", line) for line in done.out.splitlines())
    edges = [int(line[:6]) for line in done.out.splitlines()]
    assert edges == sorted(set(edges))
    assert done.err == f"{len(edges)} edges of 1 input\n"
    assert command("showmap", "-i", out, "-o", tmp_path / "maps").status == 0
    assert {one.name for one in (tmp_path / "maps").iterdir()} == {one.name for one in queue}
    assert (tmp_path / "maps" / queue[0].name).read_text() == done.out
    crash = next((out / "default" / "crashes").glob("id:*"))
    assert command("showmap", "-i", crash).status == 3


def test_the_same_without_the_core(out: Path, climb: Path, tmp_path: Path) -> None:
    """And behind the wall, where these commands run."""
    made = []
    for native in ("", "0"):
        folder = tmp_path / f"out{native}"
        said = []
        for words in (["showmap", "-i", out, "-C"], ["triage", out], ["cmin", "-i", out, "-o", folder]):
            environment = {**os.environ, **({"PLTVM_NATIVE": native} if native else {})}
            done = subprocess.run(
                [sys.executable, "-m", "pltvm", *words], capture_output=True, text=True, env=environment
            )
            said.append((done.returncode, done.stdout.replace(str(folder), "")))
        made.append((said, sorted(one.name for one in folder.iterdir())))
        assert [status for status, _ in said] == [0, 3, 0]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("status", "arguments", "words"),
    [
        (1, ["triage", "nowhere"], "nowhere: there are neither findings nor inputs in it"),
        (1, ["triage", "EMPTY"], "there are neither findings nor inputs in it"),
        (1, ["triage", "FILES"], "is in no campaign's folder"),
        (2, ["triage", "FILES", "--memory", "8K"], "--memory needs TARGET.elf"),
        (1, ["triage", "FILES", "nowhere.elf"], "nowhere.elf"),
        (1, ["cmin", "-i", "EMPTY", "-o", "x"], "there are no inputs in it"),
        (1, ["cmin", "CLIMB", "-i", "FILES", "-o", "FILES"], "holds something else"),
        (1, ["tmin", "CLIMB", "-i", "nowhere", "-o", "x"], "nowhere: cannot be read"),
        (1, ["tmin", "CLIMB", "-i", "FILES", "-o", "x"], "FILES"),
        (2, ["showmap", "CLIMB", "-i", "FILES"], "add -C for one map of all inputs"),
        (2, ["showmap", "CLIMB", "-i", "FILES/a", "-C"], "-C: it needs a folder"),
        (2, ["showmap", "CLIMB", "-i", "FILES/a", "--calls", "0"], "--calls 0"),
        (2, ["showmap", "CLIMB", "-i", "FILES/a", "--channel", "shm"], "--channel is for enclaves"),
        (1, ["showmap", "CLIMB", "-i", "FILES/a", "-o", "nowhere/x"], "nowhere/x: cannot be written"),
    ],
)
def test_one_line_for_what_is_wrong(
    status: int, arguments: list[str], words: str, command: Command, climb: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILES").mkdir()
    (tmp_path / "FILES" / "a").write_bytes(b"text")
    done = command(*(str(climb) if word == "CLIMB" else word for word in arguments))
    assert done.status == status, done
    assert words in done.err
    assert done.err.startswith("pltvm: ")
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_several_instances(command: Command, out: Path, tmp_path: Path) -> None:
    """A folder as several fuzzers share it: what is the same bug is one group."""
    for name in ("one", "two"):
        shutil.copytree(out / "default", tmp_path / "shared" / name)
    once, twice = command("triage", out), command("triage", tmp_path / "shared")
    assert twice.status == 3
    count = int(once.out.splitlines()[-1].split()[0])
    assert twice.out.splitlines()[-1].startswith(f"{2 * count} of {2 * count} inputs")
    assert once.out.splitlines()[-1].rpartition(": ")[2] == twice.out.splitlines()[-1].rpartition(": ")[2]
