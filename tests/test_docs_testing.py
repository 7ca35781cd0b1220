"""What docs/testing.md shows is so: its example is run as it stands."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, Reader, blocks, commands, is_like

PAGE = ROOT / "docs" / "testing.md"
DOCUMENT = PAGE.read_text()


@pytest.fixture
def reader(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    """Types where the example's files are, with pytest as a command."""
    for language, name in (("c", "vault.c"), ("python", "test_vault.py")):
        (text,) = re.findall(rf"`{name}`:\n\n```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
        (tmp_path / name).write_text(text)
    programs = tmp_path_factory.mktemp("programs")
    (programs / "pytest").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m pytest -p no:cacheprovider "$@"\n'
    )
    (programs / "pytest").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Reader(tmp_path, tmp_path_factory.mktemp("bin"))


@pytest.mark.long
def test_commands_print_what_the_page_shows(reader: Reader) -> None:
    shown = []
    for language, _, text in blocks(PAGE):
        for command, output in commands(text) if language == "console" else []:
            printed = reader.type(command.removeprefix("$ "))
            assert is_like(printed, output, blurred=True), f"{command}\n{printed}"
            shown.append(command)
    assert len(shown) == 5


def test_the_tables_name_what_there_is(pytestconfig: pytest.Config) -> None:
    from pltvm.testing import fixtures

    named = set(re.findall(r"^\| `(pltvm_\w+)` \|", DOCUMENT, re.MULTILINE))
    assert named == {name for name in vars(fixtures) if name.startswith("pltvm_")}
