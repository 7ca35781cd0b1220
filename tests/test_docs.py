"""The documents say what is so: tests and files that they name exist, and what they show is what one gets.

`python -m tests.test_docs PAGE…` writes what the commands of a page print now into it.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import pltvm
from tests.cli.command import run

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


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


def test_the_python_api_lists_what_the_package_gives() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for name, home in pltvm._HOMES.items():
        assert f"::: {home}.{name}\n" in page or f"::: {home}\n" in page or f"`{name}`" in page, name


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


# -- every command that a page shows is typed ----------------------------------------------------------------

# What others type, and where: it takes long, or is about this folder and not about one that a reader makes.
CHECKS = ("ruff check .", "ruff format --check .", "mypy", "lint-imports")
ELSEWHERE = {
    **dict.fromkeys(
        (
            "$ pltvm build -g -O0 ledger.c",
            "$ pltvm build -g -O0 ledger-client.c",
            "$ pltvm debug ledger-client.elf --server ledger=ledger.elf",
            "$ pltvm fuzz kv-server.elf --as server --calls 2 --findings 1 --execs 20000 -o out",
            "$ pltvm fuzz --replay out/default/crashes/id:000000* --record-run bug.pltvm",
            "$ pltvm debug bug.pltvm",
        ),
        ("tests/debug/test_docs.py", "_session(command.removeprefix("),
    ),
    "$ .venv/bin/pytest -n auto tests/monitor": ("Makefile", "$(BIN)/pytest -n auto"),
    f"$ {' && '.join(f'.venv/bin/{one}' for one in CHECKS)}": (
        "Makefile",
        "".join(f"\t$(BIN)/{one}\n" for one in CHECKS),
    ),
    "$ .venv/bin/python -m pltvm.build core": ("Makefile", "$(BIN)/python -m pltvm.build core"),
    "$ PLTVM_TARGET=linux-aarch64 pip wheel --no-deps --wheel-dir dist .": (
        "Makefile",
        "PLTVM_TARGET=$$target $(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .",
    ),
    "$ python bench/run.py --json docs/plots/results.json --plot docs/plots --docs docs/benchmarks.md": (
        "tests/test_bench.py",
        '"--plot", ',
    ),
}
OF_CAMPAIGNS = ("pltvm triage", "pltvm cmin", "pltvm tmin", "pltvm showmap", "head -2 small.map")
# How long a campaign or a test takes, and how far it comes in a time, is another matter each time.
BLURRED = ("pltvm fuzz", "pltvm cov", *OF_CAMPAIGNS, "make -s -C tally test")
INSTEAD = {"make run": "pltvm demo"}  # which is what the Makefile does when it has installed
BLOCK = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ .*(?:\n> .*)*\n", re.MULTILINE)


def blocks(document: Path) -> list[tuple[str, str, str]]:
    """The blocks of code of a page: language, the name of the file that it is, text."""
    return [match.groups("") for match in BLOCK.finditer(document.read_text())]


def commands(block: str) -> list[tuple[str, str]]:
    """The commands in a block, as they stand there, each with the output that it shows."""
    starts = [match.span() for match in COMMAND.finditer(block)]
    ends = [*(start for start, _ in starts[1:]), len(block)]
    return [(block[at:until].rstrip("\n"), block[until:end]) for (at, until), end in zip(starts, ends)]  # noqa: B905


FOR_A_SHELL = re.compile(r"[\n\\|&;<>()$`*?\[\]{}~#=]")


class Reader:
    """Types into one shell after the other, in a folder of its own, what a page shows, as it stands there."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._here = folder, programs / "here"
        words = {"pltvm": "-m pltvm.cli", "python": "", "python3": ""}
        for name, option in words.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {option} "$@"\n')
            (programs / name).chmod(0o755)
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
            **{"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"},
        }

    def has(self, command: str) -> bool:
        """Whether there is the program that a command begins with."""
        return command == "cd" or shutil.which(command, path=self._environment["PATH"]) is not None

    def type(self, line: str) -> str:
        """What it prints. Where it leaves the shell is where the next one begins.

        A command of ours that no shell has to read is run without one, see `tests.cli.forked`.
        """
        if line.startswith("pltvm ") and not FOR_A_SHELL.search(line):
            words = shlex.split(line)[1:]
            return run(*words, cwd=self.folder, environment=self._environment, together=True).stdout.decode()
        done = subprocess.run(
            ["sh", "-c", f"{line}\npwd > {self._here}"], cwd=self.folder, text=True, check=False,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.folder = Path(self._here.read_text().strip())
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path, tmp_path_factory.mktemp("bin"))


NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{16}\b|\d[\d,:.]*")
SPACES = re.compile(r" {2,}")  # between the columns of a table
DUMP = re.compile(r"^  [0-9a-f]{4}  .*")


def is_like(printed: str, shown: str, blurred: bool) -> bool:
    """Whether it printed what is shown: a line … is any lines. Numbers and widths may differ if `blurred`."""

    def plain(line: str) -> str:
        return SPACES.sub("  ", NUMBER.sub("#", DUMP.sub("#", line))) if blurred else line

    lines = [plain(line) for line in shown.splitlines()]
    patterns = [r"(.*\n)*" if line.strip() == "…" else re.escape(line) + "\n" for line in lines]
    real = "".join(plain(line) + "\n" for line in printed.splitlines())
    return re.fullmatch("".join(patterns), real) is not None


ALONE = ("testing",)  # tests/test_docs_testing.py types it, with pytest inside of pytest
TYPED = [
    page
    for page in DOCUMENTS
    if page.stem not in ALONE and any(language == "console" for language, _, _ in blocks(page))
]


def typed(page: Path, reader: Reader) -> Iterator[tuple[str, str, str]]:
    """From the top of a page on: files are saved where their names stand above them, commands are typed.

    Gives each command with the output that is shown and the one that there is. A block is left out where this
    machine lacks a program that it begins a command with.
    """
    for language, name, text in blocks(page):
        if name:
            (reader.folder / name).write_text(text)
        shown = [one for one in commands(text) if one[0] not in ELSEWHERE] if language == "console" else []
        if not all(reader.has(command.split()[1]) for command, _ in shown):
            continue
        for command, output in shown:
            line = re.sub(r"^[$>] ", "", command, flags=re.MULTILINE)
            yield command, output, reader.type(INSTEAD.get(line, line))


def is_right(command: str, output: str, printed: str) -> bool:
    return is_like(printed, output, blurred=command.removeprefix("$ ").startswith(BLURRED))


@pytest.mark.long
@pytest.mark.parametrize("page", TYPED, ids=lambda path: path.stem)
def test_a_reader_gets_what_a_page_shows(page: Path, reader: Reader) -> None:
    done = list(typed(page, reader))
    wrong = [
        f"{command}\n{printed}" for command, output, printed in done if not is_right(command, output, printed)
    ]
    assert not wrong, "\n".join(wrong)
    if not done:
        pytest.skip("nothing that this machine has the programs for")


def write(page: Path) -> None:
    """Put into a page what its commands print now, but where it leaves lines out."""
    text = page.read_text()
    with TemporaryDirectory() as folder, TemporaryDirectory() as programs:
        for command, output, printed in typed(page, Reader(Path(folder), Path(programs))):
            if is_right(command, output, printed):
                continue
            if "…\n" in output or text.count(f"{command}\n{output}") != 1:
                print(f"{page.name}: by hand:\n{command}\n{printed}")
            else:
                text = text.replace(f"{command}\n{output}", f"{command}\n{printed}")
    page.write_text(text)


def test_what_is_typed_elsewhere_is() -> None:
    shown = {command for page in TYPED for _, _, text in blocks(page) for command, _ in commands(text)}
    for command, (file, words) in ELSEWHERE.items():
        assert command in shown
        assert words in (ROOT / file).read_text(), command


def test_what_contributors_are_to_run_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"(?<![\w/])(?:tests|bench|docs|pltvm|guest)/[\w./-]*\w", text)
    assert len(paths) > 40
    missing = [path for path in paths if path not in MADE and not any(ROOT.glob(f"{path}*"))]
    modules = re.findall(r"python -m ((?:tests|pltvm)[\w.]*)", text)
    assert len(modules) > 10
    missing += [name for name in modules if importlib.util.find_spec(name) is None]
    assert missing == []


MADE = ("pltvm/_core.so", "pltvm/monitor/_records.py")


if __name__ == "__main__":
    for path in sys.argv[1:]:
        write(Path(path).resolve())
