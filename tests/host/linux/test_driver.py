"""The driver, ioctl by ioctl (§8): each row, by a program that sets no field that it need not."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import pltvm
from tests.host.linux.conftest import Run


@pytest.fixture
def elves(tmp_path: Path, build_guest: Callable[[str], bytes]) -> None:
    (tmp_path / "user").write_bytes(build_guest("relay_user"))


@pytest.mark.usefixtures("elves")
@pytest.mark.parametrize(
    "row",
    ["numbers", "create", "shm", "relay", "stale", "lives", "rerun", "rerun-instance", "offset", "many"],
)
def test_row(run_linux: Run, row: str) -> None:
    result = run_linux("driver", row, "user")
    assert (result.exit_code, result.end, result.output, result.errors) == (0, "", b"", b"")


@pytest.mark.usefixtures("elves")
def test_pages_that_were_given_away_are_a_signal_at_the_first_touch(run_linux: Run) -> None:
    result = run_linux("driver", "gone", "user")
    assert (result.exit_code, result.output) == (128 + 11, b"still here\n")
    assert result.end.startswith("killed by SIGSEGV at gone")


@pytest.mark.usefixtures("elves")
def test_an_enclave_that_asks_for_too_much_ends_with_a_report(run_linux: Run) -> None:
    result = run_linux("driver", "hungry", "user")
    assert (result.exit_code, result.output) == (0, b"")
    (fault,) = result.faults
    assert "hungry" in fault.summary
    assert f"no memory for mmap of {1 << 32} bytes" in fault.summary
    assert "--ram" in fault.summary
    run, destroy = result.failed_requests
    assert str(run).startswith("ioctl run {eid 0x1000, name 'hungry', ")
    assert str(run).endswith(f"gave Bad address: {fault.summary}")
    assert "gave Invalid argument: there is no enclave 0x1000" in str(destroy)
    assert result.failures == {"run": 1, "destroy": 1}


@pytest.mark.usefixtures("elves")
def test_the_kernel_ends_each_message_with_a_newline(run_linux: Run) -> None:
    result = run_linux("driver", "prints", "user")
    assert result.exit_code == 0
    assert result.output == b"half a line\na line\n"
    assert result.errors == b"to stderr\n"


@pytest.mark.usefixtures("elves")
def test_the_command_tells_of_requests_that_failed(
    build_linux: Callable[[str], Path], tmp_path: Path
) -> None:
    program = str(build_linux("driver"))
    result = pltvm("run", program, "hungry", "user", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr.endswith(
        "pltvm: requests to the enclave device that failed: destroy (1), run (1); -v tells more\n"
    )
    result = pltvm("run", "-v", program, "hungry", "user", cwd=tmp_path)
    run = r"^pltvm: ioctl run \{eid 0x1000, name 'hungry', .* gave Bad address"
    assert re.search(run, result.stderr, re.MULTILINE)
    assert "gave Invalid argument: there is no enclave 0x1000" in result.stderr
    result = pltvm("run", program, "prints", "user", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("half a line\na line\n", "to stderr\n")
