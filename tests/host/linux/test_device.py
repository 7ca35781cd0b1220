"""The enclave device, driven from C programs: every request, and hostile ones that end in an errno."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.build import guest
from tests.host.linux.conftest import Run


@pytest.fixture
def elves(tmp_path: Path, build_guest: Callable[[str], bytes]) -> Path:
    """The folder that programs run in, with enclaves `hello`, `spin`."""
    (tmp_path / "hello").write_bytes(guest.examples()["hello-world"].elf.read_bytes())
    (tmp_path / "spin").write_bytes(build_guest("spin"))
    return tmp_path


def test_every_request_from_guest_code(run_linux: Run, elves: Path) -> None:
    result = run_linux("device", "requests", "hello")
    assert (result.exit_code, result.output) == (0, b"hello world\nretval 0\n")


@pytest.mark.parametrize(
    ("name", "enclave"),
    [
        ("wild", "hello"),
        ("ids", "hello"),
        ("race-caller", "spin"),
        ("race-server", "spin"),
        ("race-stopped", "spin"),
        ("leave", "spin"),
    ],
)
def test_hostile_programs_get_an_error_and_leave_nothing(
    run_linux: Run, elves: Path, name: str, enclave: str
) -> None:
    result = run_linux("device", name, enclave)
    assert (result.exit_code, result.end, result.output) == (0, "", b"")


def test_relay_pages_are_gone_while_the_enclave_has_them(run_linux: Run, elves: Path) -> None:
    result = run_linux("device", "lost", "spin")
    assert result.exit_code == 128 + 11
    assert result.output == b"still here\n"
    assert "killed by SIGSEGV" in result.end


def test_threads_and_enclaves_run_the_same_way_each_time(run_linux: Run, elves: Path) -> None:
    first, second = (run_linux("device", "race-stopped", "spin") for _ in range(2))
    assert first == second


def test_processes_that_end_each_others_enclaves(
    run_linux: Run, build_linux: Callable[[str], Path], elves: Path
) -> None:
    """SIGKILL ends a process at once, also while it runs an enclave, and while that is stopped."""
    shutil.copy(build_linux("device_processes"), elves / "again")
    result = run_linux("device_processes", "hello", "spin")
    lines = result.output.decode().splitlines()
    assert (result.exit_code, result.end) == (0, "")
    assert [line for line in lines if line != "hello world"] == ENDINGS
    assert lines.count("hello world") == 12


ENDINGS = [
    "killed while its enclave runs: 0x9", "stop: 0", "killed while its enclave is stopped: 0x9",
    "destroy: -1 (errno 22)", "run it too: -1 (errno 14)", "stop: 0", "resume: 0", "destroy: 0",
    "child's run: 0", "destroyed by another process: 0", "exits: 0x500", "stop: 0", "exits: 0x500",
    "execs: 0x700", "stop: 0", "execs: 0x700", *["many: 0"] * 4, "attach: 0",
    "reads pages that an enclave has: 0xb", "write of them: -1 (errno 14)", "killed: 0x9",
    "destroy: -1 (errno 22)", "what is there then: 0", "detach: 0",
]  # fmt: skip
