"""Folders, links, locks, times and paths of our own, asked for by guest code."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine
from pltvm.confine import landlock
from pltvm.host.linux.runner import resume_program, run_program
from tests.host.linux.conftest import Run
from tests.host.moment import Moment

TESTS = ("folders", "sorted", "links", "opened_again", "ways", "times", "locks", "memory", "mapped", "own")
REPORTED = "import sys; from pltvm.cli import main; sys.argv[0] = 'pltvm'; main()"


@pytest.mark.parametrize("name", TESTS)
def test_calls_answer_as_linux_does(run_linux: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "old").write_text("untouched")
    result = run_linux("linux_tree", name)
    assert (result.exit_code, result.output, result.end) == (0, b"", "")
    assert not result.missing


def test_a_folder_of_the_root_lies_beneath_our_own(run_linux: Run, tmp_path: Path) -> None:
    (tmp_path / "dev" / "sub").mkdir(parents=True)
    for name in ("dev/mine", "dev/null", "dev/sub/file"):
        (tmp_path / name).write_text("mine")
    result = run_linux("linux_tree", "beneath")
    assert (result.exit_code, result.output, result.end) == (0, b"", "")
    assert (tmp_path / "dev" / "null").read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "dev")) == ["null", "sub"]


def test_a_link_from_the_root_leads_there_for_all(run_linux: Run, tmp_path: Path) -> None:
    """What programs see as /file is beneath the root for those outside, too, and nowhere else."""
    result = run_linux("linux_tree", "links")
    assert result.exit_code == 0
    assert os.readlink(tmp_path / "absolute") == str(tmp_path / "file")


def test_times_that_a_program_set_get_to_the_disk_and_others_are_the_clocks(
    run_linux: Run, tmp_path: Path
) -> None:
    (tmp_path / "old").write_text("untouched")
    before = (tmp_path / "old").stat().st_mtime_ns
    assert run_linux("linux_tree", "times").exit_code == 0
    assert (tmp_path / "new").stat().st_mtime_ns == 7 * 10**9 + 8
    assert (tmp_path / "old").stat().st_mtime_ns == before


@pytest.mark.parametrize("at", [1, 3, 5])
def test_what_is_open_is_saved(build_linux: Callable[[str], Path], tmp_path: Path, at: int) -> None:
    """Half-read folders, texts, files in memory, locks, the current folder: as if nothing had been."""
    (tmp_path / "old").write_text("untouched")
    machine, lines, moments = Machine(256 << 20), list[bytes](), list[Moment]()

    def note(line: bytes) -> None:
        lines.append(line)
        if len(lines) == at and not moments:
            moments.append(Moment(machine))

    options: dict[str, Any] = {"root": tmp_path, "timeout": 60, "on_output": note}
    first = run_program(machine.driver, build_linux("linux_tree"), ["saved"], **options)
    assert (first.exit_code, first.end) == (0, "")
    straight = b"".join(lines)
    assert straight.startswith(b"ready\n2 3 4 \nversion\nmemory /d\n104700 ")
    assert straight.endswith(b"\nlocked: 1\n")
    rest = lines[at:]
    moments[0].restore()
    lines.clear()
    again = resume_program(machine.driver, **options)
    assert (again.exit_code, again.end, lines) == (0, "", rest)


@pytest.mark.skipif(landlock.abi() < 3, reason="needs Landlock, ABI 3")
def test_behind_the_wall(build_linux: Callable[[str], Path], tmp_path: Path) -> None:
    """Links and pipes are made; a mode gets to the disk where the file can be opened, but for set-uid."""
    program = build_linux("linux_tree")
    command = [sys.executable, "-c", REPORTED, "run", "--root", str(tmp_path), str(program), "wall"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "chmod on the disk" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "link"]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o711
    assert stat.S_IMODE((tmp_path / "fifo").stat().st_mode) == 0o600
