"""Threads of a host program that each run an enclave: a policy decides whose turn it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine
from pltvm.build.host import build_host
from pltvm.errors import ArgumentError
from pltvm.host.linux.runner import LinuxResult, run_program

SOURCE = Path(__file__).parents[2] / "guest" / "turns_host.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_host([SOURCE], tmp_path_factory.mktemp("turns") / "turns-host", "musl")


@pytest.fixture
def run(program: Path, build_guest: Callable[[str], bytes], tmp_path: Path) -> Callable[..., LinuxResult]:
    (tmp_path / "enclave").write_bytes(build_guest("turns_enclave"))

    def go(native: bool = True, **options: Any) -> LinuxResult:
        machine = Machine(256 << 20, native=native)
        return run_program(machine.driver, program, ["enclave"], root=tmp_path, timeout=60, **options)

    return go


@pytest.mark.parametrize("options", [{"quantum": 150}, {"schedule": 1, "quantum": 300}, {"schedule": "2"}])
def test_ten_runs_and_the_schedule_that_one_gives(
    run: Callable[..., LinuxResult], options: dict[str, Any]
) -> None:
    first = run(**options)
    assert (first.exit_code, first.end) == (0, "")
    assert all(run(**options) == first for _ in range(9))
    assert first.schedule
    assert run(schedule=first.schedule) == first
    assert run(native=False, **options) == first


def test_threads_and_enclaves_are_preempted_anywhere(run: Callable[..., LinuxResult]) -> None:
    """Updates are lost, in the program and in its enclaves; without a policy slices are long, and none is."""
    plain, sliced = run(), run(quantum=150)
    assert b"number 900\n" in plain.output
    assert plain.schedule == ""
    assert b"number 900\n" not in sliced.output
    values = [int(line.split()[1]) for line in sliced.output.splitlines()[:3]]
    assert max(values) < 900


def test_what_is_no_policy(run: Callable[..., LinuxResult]) -> None:
    with pytest.raises(ArgumentError, match="is no step"):
        run(schedule="1@2")
