"""Shell completion, in the shells themselves: commands, options, values, and files."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.screens import Terminal

ROOT = Path(__file__).parents[2]
SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell}"))
    for shell in ("bash", "zsh")
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with `pltvm` as a command, and some files in it."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "pltvm"
    lines = [f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    command.write_text("\n".join([*lines, "from pltvm.cli import main", "main()", ""]))
    command.chmod(0o755)
    (tmp_path / "only-one.elf").touch()
    (tmp_path / "some folder").mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "ZDOTDIR": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[Terminal]:
    """An interactive shell in which the completion was installed, as users do it."""
    name = request.param
    with Terminal([name, "-c", "pltvm --install-completion; :"], cwd=home, **environment(home)) as installing:
        installing.ended()
        assert f"{name} completion installed in" in installing.text().replace("\n", ""), installing.text()
    with Terminal([name, "-i"], columns=100, cwd=home, **environment(home)) as running:
        running.type("PS1='> '; echo re''ady\n")
        running.until(lambda: "ready\n>" in running.text())
        if name == "zsh":  # at the first TAB it only loads the completion, as typer writes it
            running.type("pltvm \t")
            running.until(lambda: b"\a" in running.raw)
            running.type("\x15")
        yield running


def completed(shell: Terminal, words: str, expected: str) -> None:
    """After a TAB the line is as expected."""
    shell.type(f"{words}\t")
    shell.until(lambda: expected.rstrip() in shell.text())
    shell.type("\x15")  # and the line is gone


def test_words(shell: Terminal) -> None:
    completed(shell, "pltvm exa", "> pltvm examples ")
    completed(shell, "pltvm measure --dig", "> pltvm measure --digest ")
    completed(shell, "pltvm measure --digest s", "> pltvm measure --digest sm3 ")
    completed(shell, "pltvm run --as ker", "> pltvm run --as kernel ")
    completed(shell, "pltvm fuzz x.elf --channel re", "> pltvm fuzz x.elf --channel relay ")
    completed(shell, "pltvm selftest s-wis", "> pltvm selftest s-wish ")


def test_files(shell: Terminal) -> None:
    completed(shell, "pltvm run on", "> pltvm run only-one.elf ")
    completed(shell, "pltvm build -o on", "> pltvm build -o only-one.elf ")
    completed(shell, "pltvm cov some", "> pltvm cov some\\ folder/")
    completed(shell, "pltvm run only-one.elf --server kv=on", "--server kv=only-one.elf")
    at = "" if shell.name == "bash" else "@"  # which means the same
    completed(shell, "pltvm run only-one.elf --shm @on", f"--shm {at}only-one.elf")
    completed(shell, "pltvm run --relay @on", f"--relay {at}only-one.elf")


def test_a_shell_is_told_nothing_else(home: Path) -> None:
    """Of what is wrong with the rest of the line, for instance."""
    for words in ("run missing.elf argument --s", "fuzz --calls x --s", "nothing --s"):
        done = subprocess.run(
            ["pltvm"], cwd=home, capture_output=True, text=True,
            env={**environment(home), "_PLTVM_COMPLETE": "complete_bash", "COMP_WORDS": f"pltvm {words}",
                 "COMP_CWORD": str(len(words.split()))},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), words
        assert "Error" not in done.stdout
