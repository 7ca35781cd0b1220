"""What a command line that asks for little does not wait for; and what it says of the package itself."""

import subprocess
import sys

import pytest
import typer
from click.testing import CliRunner

from pltvm import __version__, native
from pltvm.cli.app import app
from tests.cli.command import pltvm

HEAVY = {"lief", "capstone", "elftools", "ziglang", "rich"}
COMMANDS = [
    "run", "call", "demo", "replay", "debug", "profile", "view", "info", "build", "examples", "new",
    "measure", "attest", "verify", "selftest", "fuzz", "explore", "cov", "triage", "cmin", "tmin", "showmap",
]  # fmt: skip
DEMO = """
import sys
from pltvm.cli import main
sys.argv = ["pltvm", "demo"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize(
    ("code", "left_out"),
    [
        ("import pltvm", {*HEAVY, "unicorn", "typer"}),
        ("import pltvm.cli", {*HEAVY, "unicorn", "typer"}),
        (
            "import pltvm.cli.app",
            {*HEAVY, "unicorn", *(f"pltvm.cli.{name}" for name in ("run", "fuzz", "attest"))},
        ),
        (
            DEMO,
            {
                *HEAVY,
                "hashlib",
                "socket",
                "gmalg",
                "pltvm.fuzz",
                "pltvm.debug",
                "pltvm.cli.fuzz",
                "pltvm.cli.attest",
            },
        ),
    ],
    ids=["package", "cli", "app", "demo"],
)
def test_leaves_out(code: str, left_out: set[str]) -> None:
    code += f"\nimport sys; print(*sorted({left_out} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == ""


def test_help_lists_every_command_with_its_first_sentence() -> None:
    result = pltvm("--help")
    lines = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert all(len(line.split()) > 3 for line in lines)
    assert not [line for line in lines if line.endswith("...")], "on 80 columns none is cut off"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_short_for_help(name: str) -> None:
    """Also in the place of what a command needs."""
    command, words = typer.main.get_command(app), [name] if name else []
    short, long = (CliRunner().invoke(command, [*words, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert "-h, --help" in short.output or name == "build"  # whose options are a compiler's


def test_module() -> None:
    """`python -m pltvm` is the command."""
    for words in (["--version"], ["-h"], ["nothing"]):
        command = [sys.executable, "-m", "pltvm", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        other = pltvm(*words)
        assert (done.returncode, done.stdout.replace("pltvm.cli", "pltvm")) == (
            other.returncode,
            other.stdout.replace("pltvm.cli", "pltvm"),
        )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_the_list_says(name: str) -> None:
    result = pltvm(name, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: python -m pltvm.cli {name} ")


def test_a_command_that_there_is_not() -> None:
    result = pltvm("rn")
    assert result.returncode == 2
    assert "No such command 'rn'. Did you mean 'run'" in result.stderr


def test_a_command_begins_with_garbage_collected() -> None:
    """It is put off for imports alone."""
    before = """
import gc
from pltvm.machine import Machine
real = Machine.__init__
def init(self, *arguments):
    print(gc.isenabled(), flush=True)
    real(self, *arguments)
Machine.__init__ = init
"""
    code = f"{before}{DEMO}print(gc.isenabled())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("True", "True")


def test_version_says_how_it_stands_with_the_core() -> None:
    result = pltvm("--version")
    assert (result.returncode, result.stdout) == (0, f"pltvm {__version__}, {native.status}\n")
