"""What docs/linux.md lists is so, and what it shows of programs of glibc is so of those of musl."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.host.linux.calls import SYSTEM_CALLS
from tests.cli import command
from tests.host.linux.conftest import build_linux  # noqa: F401  # a fixture

DOCUMENT = (Path(__file__).parents[1] / "docs" / "linux.md").read_text()


def shown(command: str) -> list[str]:
    """The lines that the document shows below a command; … stands for any."""
    block = re.search(rf"^\$ {re.escape(command)}\n(.*?)^(?:\$ |```)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1].splitlines()


def run(folder: Path, *arguments: str) -> list[str]:
    """The lines that a command prints, of both streams."""
    return command.run(*arguments, cwd=folder, together=True).stdout.decode().splitlines()


def test_the_table_lists_the_system_calls_that_are_there() -> None:
    rows = re.search(r"\| about \| calls \|\n(.*?)\n\n", DOCUMENT, re.DOTALL)
    assert rows is not None
    listed = re.findall(r"`(\w+)`", rows[1])
    assert len(listed) == len(set(listed))
    assert set(listed) == {call.name for call in SYSTEM_CALLS.values()}


@pytest.mark.parametrize(("name", "options"), [("pipes", ["-v"]), ("asks", []), ("asks", ["-v"])])
def test_samples(
    build_linux: Callable[[str], Path],  # noqa: F811
    tmp_path: Path,
    name: str,
    options: list[str],
) -> None:
    shutil.copy(build_linux(f"docs_{name}"), tmp_path / name)
    printed = run(tmp_path, "run", *options, f"./{name}")
    expected = [line for line in shown(" ".join(["pltvm run", *options, f"./{name}"])) if line != "…"]
    assert expected
    assert [line for line in printed if line in expected] == expected, printed
