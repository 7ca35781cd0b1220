"""Signals of a host program are as on Linux, and cost what its own stack holds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.host.linux.system import MOST_MISSING, OTHERS
from tests.host.linux.conftest import Run

# A run may take so much more memory than one of another program before it.
ROOM = 6 << 20


@pytest.mark.parametrize("name", ["nested", "deferred", "blocked", "context", "interrupts"])
def test_it_works(run_linux: Run, name: str) -> None:
    result = run_linux("signals", name)
    assert (result.exit_code, result.end, result.output) == (0, "", b"")


@pytest.mark.parametrize("name", ["endless", "endless-other"])
def test_the_stack_bounds_handlers_in_handlers(run_linux: Run, name: str) -> None:
    result = run_linux("signals", name)
    assert result.exit_code == 128 + 11
    assert "no room on the stack for signal 10" in result.end or "address 0x" in result.end


def test_a_return_without_a_signal_ends_it(run_linux: Run) -> None:
    result = run_linux("signals", "returns")
    assert result.exit_code == 128 + 11
    assert "no signal frame to return from, address 0x1234000" in result.end


def test_unknown_calls_are_counted_one_by_one_up_to_a_limit(run_linux: Run) -> None:
    result = run_linux("signals", "unknown", "3000")
    assert (result.exit_code, len(result.missing)) == (0, MOST_MISSING + 1)
    assert result.missing[OTHERS] == 3000 - MOST_MISSING
    assert result.missing[1_000_000] == 1


@pytest.mark.parametrize(("name", "times"), [("leaves", 15_000), ("timers", 80_000), ("unknown", 200_000)])
def test_it_does_not_take_more_and_more_memory(
    build_linux: Callable[[str], Path], tmp_path: Path, name: str, times: int
) -> None:
    program = (
        "import resource, sys; from pltvm import Machine\n"
        "machine = Machine()\n"
        "run = lambda times: machine.run_program(sys.argv[1], sys.argv[2], times, root='.').exit_code\n"
        "assert run('50') == 0\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (size + {ROOM}, size + {ROOM}))\n"
        "assert run(sys.argv[3]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, build_linux("signals"), name, str(times)],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
