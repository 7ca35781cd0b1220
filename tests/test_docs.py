"""The documents say what is so: the tests they name exist, and the links in them lead somewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pltvm.build import guest
from pltvm.build.enclave import build_enclave

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
FUZZING = (ROOT / "docs" / "fuzzing.md").read_text()
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
    examples = {name: example.elf.read_bytes() for name, example in guest.examples().items()}
    for name in ("caller", "server", "server1"):
        (tmp_path / name).write_bytes(examples[name])
        (tmp_path / f"{name}.elf").write_bytes(examples[name])
    host = guest.guest_dir() / "elf" / "host" / "glibc" / "test-caller"
    (tmp_path / "test-caller").write_bytes(host.read_bytes())
    (program,) = re.findall(r"```c\n(.*?)```", README, re.DOTALL)
    (tmp_path / "hello.c").write_text(program)
    (tmp_path / "bad.c").write_text(BAD)
    build_enclave([tmp_path / "bad.c"], tmp_path / "bad.elf")
    return tmp_path


Shell = Callable[[str], str]


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Shell:
    """Runs a command line in the folder, with `pltvm` as a command, and gives what it prints."""
    programs = tmp_path_factory.mktemp("bin")
    command = programs / "pltvm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pltvm.cli "$@"\n')
    command.chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"}

    def run(line: str) -> str:
        return subprocess.run(
            ["sh", "-c", line], cwd=folder, text=True, check=False, env={**os.environ, **path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout  # fmt: skip

    return run


def shown_commands(document: str) -> Iterator[tuple[str, str]]:
    """The commands of a document, each with the output that it shows."""
    for block in re.findall(r"```console\n(.*?)```", document, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{16}\b|\d[\d,:]*")
DUMP = re.compile(r"^  [0-9a-f]{4}  .*")


def is_like(printed: str, shown: str) -> bool:
    """Whether the output is the shown one: numbers may differ, and a line … stands for any lines."""
    lines = [NUMBER.sub("#", DUMP.sub("#", line)) for line in shown.splitlines()]
    patterns = [r"(.*\n)*" if line.strip() == "…" else re.escape(line) + "\n" for line in lines]
    real = "".join(NUMBER.sub("#", DUMP.sub("#", line)) + "\n" for line in printed.splitlines())
    return re.fullmatch("".join(patterns), real) is not None


def test_commands_print_what_the_readme_shows(shell: Shell) -> None:
    shown = []
    for command, output in shown_commands(README):
        printed = shell("pltvm demo" if command == "make run" else command)
        if "…" in output:
            assert is_like(printed, output), printed
        elif output:
            assert sorted(printed.splitlines()) == sorted(output.splitlines()), command
        shown.append(command)
    assert len(shown) >= 8


def test_commands_print_what_the_tutorial_on_fuzzing_shows(shell: Shell, folder: Path) -> None:
    (harness,) = re.findall(r"```python\n(.*?)```", FUZZING, re.DOTALL)
    (folder / "puts.py").write_text(harness)
    shown = []
    for command, output in shown_commands(FUZZING):
        printed = shell(command)
        assert is_like(printed, output), f"{command}\n{printed}"
        shown.append(command)
    assert len(shown) >= 12


def test_python_that_the_readme_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert "value" in capsys.readouterr().out
