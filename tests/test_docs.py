"""The documents say what is so: the tests they name exist, and the links in them lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pltvm import sdk

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(document: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", document.read_text())
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


# -- every command shown is run ------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text()
BAD = """\
#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;

    *(volatile int *)0x123456780 = args[11];
    EAPP_RETURN(0);
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the README's commands find in the current folder."""
    examples = {name: example.elf.read_bytes() for name, example in sdk.examples().items()}
    for name in ("caller", "server", "server1"):
        (tmp_path / name).write_bytes(examples[name])
        (tmp_path / f"{name}.elf").write_bytes(examples[name])
    host = sdk.guest_dir() / "elf" / "host" / "glibc" / "test-caller"
    (tmp_path / "test-caller").write_bytes(host.read_bytes())
    (program,) = re.findall(r"```c\n(.*?)```", README, re.DOTALL)
    (tmp_path / "hello.c").write_text(program)
    (tmp_path / "bad.c").write_text(BAD)
    sdk.build([tmp_path / "bad.c"], tmp_path / "bad.elf")
    return tmp_path


def test_commands_print_what_the_readme_shows(folder: Path) -> None:
    shown = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            command = "pltvm demo" if command == "make run" else command
            words = command.split()
            assert words[0] == "pltvm", command
            result = subprocess.run(
                [sys.executable, "-m", "pltvm.cli", *words[1:]], cwd=folder, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            beginning = output.partition("    …")[0]
            if "…" in output:
                assert result.stdout.startswith(beginning), command
            elif output:
                assert sorted(result.stdout.splitlines()) == sorted(output.splitlines()), command
            shown.append(command)
    assert len(shown) >= 6


def test_python_that_the_readme_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert "value" in capsys.readouterr().out
