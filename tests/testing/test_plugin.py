"""What a failed test shows of its enclaves; and what the plugin costs where there are none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testing.conftest import ROOT
from tests.testing.test_fixtures import write

Run = Callable[..., pytest.RunResult]
pytest_plugins = "pytester"


def test_output_and_reports_of_the_test_that_failed(project: Path, run: Run) -> None:
    write(
        project,
        """
@pytest.fixture
def server(pltvm_machine, pltvm_build):
    return pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")

def test_good(server):
    assert server.call(SAY, b"nothing wrong").value == 0

def test_wrong(server, pltvm_machine, pltvm_build):
    server.call(SAY, b"first")
    server.call(SAY, b"second")
    pltvm_machine.create(EXAMPLE).run()
    assert False, "as I said"

def test_quiet():
    assert False, "quiet"

def test_report_in_passing(server):
    try:
        server.call(FAULT)
    except CallError:
        pass
    assert False, "later"

def test_report_as_the_error(server):
    server.call(FAULT)
""".replace("EXAMPLE", repr(str(ROOT / "guest" / "elf" / "hello-world.elf"))),
    )
    result = run()
    result.assert_outcomes(passed=1, failed=4)
    # The summary at the end says the error again, in full where CI is set.
    failures, _, _ = result.stdout.str().partition("short test summary info")
    good, wrong, quiet, passing, error = failures.split("____ test_")
    assert "nothing wrong" not in good + wrong
    assert "servers, called from Python:\nsaid first\nsaid second\nhello-world.elf:\nhello world" in wrong
    assert "Captured" not in quiet
    assert "Captured fault reports call" in passing
    assert "_start+0x" in passing
    assert error.count("touched 4 bytes at 0x123456780") == 1  # as the error's own note
    assert "Captured fault reports" not in error


def test_a_failure_in_a_fixture_shows_them_too(project: Path, run: Run) -> None:
    write(
        project,
        """
@pytest.fixture
def server(pltvm_machine, pltvm_build):
    server = pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")
    server.call(SAY, b"in setup")
    server.call(FAULT)

def test_it(server):
    pass
""",
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Captured enclave output setup*", "*:", "said in setup"])


def test_much_output_is_cut(project: Path, run: Run) -> None:
    write(
        project,
        """
def test_it(pltvm_machine, pltvm_build):
    server = pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")
    for at in range(400):
        server.call(SAY, b"%03d" % at + b"x" * 400)
    assert False
""",
    )
    text = run().stdout.str()
    assert "said 399xx" in text
    assert "said 000xx" not in text
    assert text.count("said ") < 200


def test_with_workers(project: Path, run_alone: Run) -> None:
    pytest.importorskip("xdist")
    write(
        project,
        """
@pytest.mark.parametrize("turn", range(4))
def test_it(pltvm_machine, pltvm_build, turn):
    server = pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server")
    server.call(SAY, b"turn %d" % turn)
    assert server.call(COUNT).value == 3 - (turn != 2)
""",
    )
    result = run_alone("-n", "2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*Captured enclave output call*", "*:", "said turn 2"])


def test_no_machine_is_loaded_for_other_tests(project: Path, load: list[str]) -> None:
    (project / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    heavy = {'unicorn', 'pltvm.machine', 'pltvm.host', 'pltvm.build'}\n"
        "    assert not heavy & set(sys.modules)\n"
        "    assert 'pltvm.testing.plugin' in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", *load, "test_it.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
