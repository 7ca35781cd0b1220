"""What a command line that asks for little does not wait for."""

import subprocess
import sys

import pytest

HEAVY = {"lief", "capstone", "elftools", "ziglang", "rich"}


@pytest.mark.parametrize(
    ("module", "left_out"), [("pltvm", {*HEAVY, "unicorn", "typer"}), ("pltvm.cli", HEAVY)]
)
def test_importing_leaves_out(module: str, left_out: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({left_out} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
