"""Waiting for files, event files, sockets. What programs print is what they print on Linux.

`outputs/NAME.out` was made by the same program on a Linux 6.18; the last line is its exit code.
"""

from pathlib import Path

import pytest

from tests.host.linux.conftest import Run
from tests.waits_stress import Waits

OUTPUTS = Path(__file__).parent / "outputs"
NAMES = sorted(path.stem for path in OUTPUTS.glob("*.out"))


@pytest.mark.parametrize("name", NAMES)
def test_as_linux_does(run_linux: Run, name: str) -> None:
    result = run_linux(name)
    assert result.end == ""
    assert result.output.decode() + f"exit {result.exit_code}\n" == (OUTPUTS / f"{name}.out").read_text()
    assert not result.bugs


@pytest.mark.parametrize("name", NAMES)
def test_runs_repeat(run_linux: Run, name: str, tmp_path: Path) -> None:
    assert run_linux(name, root=_empty(tmp_path, "a")) == run_linux(name, root=_empty(tmp_path, "b"))


def _empty(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


@pytest.mark.parametrize("how", ["poll", "epoll", "eventfd", "periodic", "ignored"])
def test_who_waits_for_nothing_is_stuck(run_linux: Run, how: str) -> None:
    result = run_linux("waits_stuck", how)
    assert "deadlock: every thread waits for another one" in result.end
    assert result.exit_code == 1


def test_a_later_timer_is_waited_for(run_linux: Run) -> None:
    assert run_linux("waits_stuck", "later").end.startswith("killed by SIGUSR1")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_a_program_passes_goes_wrong_in_python(seed: int) -> None:
    stress = Waits(f"waits {seed}")
    while stress.done < 3000:
        stress.run(3000)
    stress.close()
    assert stress.wrong == []
