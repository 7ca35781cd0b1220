"""Python files that say what an input does."""

import textwrap
from pathlib import Path

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz import harness
from pltvm.fuzz.harness import load_harness
from pltvm.fuzz.options import Options
from pltvm.fuzz.worker import Worker
from tests.fuzz.conftest import Build
from tests.fuzz_targets.test_targets import call

SERVER = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};
    if (args[10] == 5)
        *(volatile int *)8 = 1;
    SERVER_RETURN(&ret);
}
"""


def example() -> str:
    """The harness that the documentation of the module shows."""
    text = harness.__doc__ or ""
    lines = [line for line in text.splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(lines))


def test_the_example_does_what_it_says(built: Build, tmp_path: Path) -> None:
    file = tmp_path / "harness.py"
    file.write_text(example())
    elf = str(built(SERVER, name="five"))
    with_harness, without = Worker(Options(elf, harness=str(file))), Worker(Options(elf))
    for argument in (5, 13, 5 + (1 << 63)):
        finding = with_harness.explain(call(argument, b""))
        assert finding is not None
        assert finding.kind == "fault"
        assert (without.explain(call(argument, b"")) is None) == (argument != 5)
    assert with_harness.explain(call(8, b"")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "defines no class Harness"),
        ("class Harness: pass", "defines no class Harness"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_none(text: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "harness.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PltvmError, match=words):
        load_harness(str(file))


def test_a_file_without_the_ending_of_python(tmp_path: Path) -> None:
    with pytest.raises(PltvmError, match="not a Python file"):
        load_harness(str(tmp_path / "harness.txt"))
