"""--pltvm-cov: lines of all machines and workers, once, and read by others."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testing.test_fixtures import write

Run = Callable[..., pytest.RunResult]
pytest_plugins = "pytester"

TESTS = """
@pytest.mark.parametrize("turn", range(4))
def test_runs(pltvm_machine, pltvm_build, turn):
    assert pltvm_machine.create(pltvm_build("covered.c")).run().ok

def test_call(pltvm_machine, pltvm_build):
    pltvm_machine.create(pltvm_build("callee.c"), name="callee", type="server").call(COUNT)
"""


def counts(text: str, name: str) -> dict[int, int]:
    """Line → times."""
    (record,) = [one for one in text.split("end_of_record\n") if f"/{name}\n" in one]
    return {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)$", record, re.M)}


def expected(project: Path) -> dict[int, int]:
    lines = (project / "covered.c").read_text().splitlines()
    found = ((number, re.search(r"/\* (\d) \*/", line)) for number, line in enumerate(lines, 1))
    return {number: 4 * int(times[1]) for number, times in found if times}


def test_lines_and_a_summary(project: Path, run: Run) -> None:
    write(project, TESTS)
    result = run("--pltvm-cov")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines([
        "*coverage of enclaves*", "*of *lines*%*callee.c", "*of *lines*%*covered.c", "*in all",
        "written to lcov.info",
    ])  # fmt: skip
    text = (project / "lcov.info").read_text()
    assert re.findall(r"^SF:(.*)$", text, re.M) == [str(project / "callee.c"), str(project / "covered.c")]
    found = counts(text, "covered.c")
    assert {line: found[line] for line in expected(project)} == expected(project)


@pytest.mark.parametrize("words", [["-n", "2"], ["-n", "3", "--dist", "loadfile"]])
def test_workers_are_added_up(project: Path, run_alone: Run, words: list[str]) -> None:
    pytest.importorskip("xdist")
    write(project, TESTS)
    (project / "out").mkdir()
    result = run_alone("--pltvm-cov=out", *words)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*coverage of enclaves*", "written to out/lcov.info"])
    found = counts((project / "out" / "lcov.info").read_text(), "covered.c")
    assert {line: found[line] for line in expected(project)} == expected(project)


def test_nothing_ran_and_nothing_can_be_written(project: Path, run: Run) -> None:
    write(project, "def test_it(): pass\n")
    result = run("--pltvm-cov=new/folder/x.info")
    result.stdout.fnmatch_lines(["no enclave ran*", "written to new/folder/x.info"])
    assert (project / "new" / "folder" / "x.info").read_bytes() == b""
    (project / "file").write_text("")
    result = run("--pltvm-cov=file/x.info")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*file/x.info: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_source_that_is_not_there_is_named(project: Path, run: Run) -> None:
    write(
        project,
        """
import shutil
def test_it(pltvm_machine, pltvm_build, tmp_path):
    (tmp_path / "gone.c").write_text('#include "eapp.h"\\nint EAPP_ENTRY main() { return 0; }\\n')
    assert pltvm_machine.create(pltvm_build(tmp_path / "gone.c")).run().ok
    (tmp_path / "gone.c").unlink()
""",
    )
    run("--pltvm-cov").stdout.fnmatch_lines(["there is no source of gone.c"])


def test_others_read_it(project: Path, run: Run) -> None:
    write(project, TESTS)
    run("--pltvm-cov")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    ran = 0
    if shutil.which("genhtml"):
        subprocess.run(["genhtml", "-q", "-o", "html", "lcov.info"], cwd=project, check=True)
        assert (project / "html" / "index.html").is_file()
        ran += 1
    if shutil.which("git") and shutil.which("diff-cover"):
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=project, check=True)
        (project / "covered.c").rename(project / "kept.c")
        subprocess.run([*git, "add", "callee.c"], cwd=project, check=True)
        subprocess.run([*git, "commit", "-qm", "x"], cwd=project, check=True)
        (project / "kept.c").rename(project / "covered.c")
        subprocess.run([*git, "add", "covered.c"], cwd=project, check=True)
        command = ["diff-cover", "lcov.info", "--compare-branch=main"]
        shown = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
        assert re.search(r"covered\.c \(\d+(\.\d+)?%\)", shown), shown
        ran += 1
    if not ran:
        pytest.skip("there is neither genhtml nor diff-cover")
