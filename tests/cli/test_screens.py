"""What commands look like on narrow terminals, in colour and without."""

import re
import shutil
from itertools import takewhile
from pathlib import Path

import pytest

from pltvm.build.enclave import build_enclave
from pltvm.cli.app import _FILES
from tests.cli.command import ELVES
from tests.cli.screens import Terminal
from tests.cli.test_json import BUGGY

ROOT = Path(__file__).parents[2]
COLUMNS = [60, 38]
FAULTS = '#include "eapp.h"\nint EAPP_ENTRY main(void) { *(volatile int *)0x123456780 = 1; return 0; }\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with a bug, an input that shows it, and one that does not."""
    made = tmp_path_factory.mktemp("screens")
    (made / "buggy.c").write_text(BUGGY)
    build_enclave([made / "buggy.c"], made / "buggy.elf")
    (made / "faults.c").write_text(FAULTS)
    build_enclave([made / "faults.c"], made / "faults.elf")
    (made / "inputs").mkdir()
    (made / "inputs" / "shows").write_bytes(bytes(8) + b"a\x09")
    (made / "inputs" / "fine").write_bytes(bytes(8) + b"a\x07")
    return made


def shown(folder: Path, columns: int, *words: str, **environment: str) -> Terminal:
    """The terminal after a command; nothing of ours is in the middle of a word at the end of a line."""
    command = ["pltvm", *words]
    with Terminal(command, columns=columns, cwd=folder, PYTHONPATH=str(ROOT), **environment) as terminal:
        terminal.ended()
    return terminal


def fits(terminal: Terminal) -> bool:
    """Whether no line of what was written is longer than the terminal is wide."""
    written = re.sub(r"\x1b\[[\d;]*m", "", terminal.raw.decode())  # without colours
    return all(len(line) <= terminal.screen.columns for line in written.splitlines())


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", ["", *_FILES])
def test_help(name: str, columns: int, folder: Path) -> None:
    terminal = shown(folder, columns, *([name] if name else []), "-h")
    assert terminal.status == 0
    assert fits(terminal)
    lines = terminal.text().splitlines()
    assert lines[0].startswith("Usage: ")
    texts = [line for line in lines if line.startswith(" " * 14) and line.strip()]
    assert all(len(line.strip()) > 1 for line in texts), "no column of single letters"


@pytest.mark.parametrize("columns", COLUMNS)
def test_tables(columns: int, folder: Path) -> None:
    for words in (
        ["examples"],
        ["info", "buggy.elf"],
        ["info", ELVES["caller"]],
        ["selftest", "s-wish", "-v"],
    ):
        terminal = shown(folder, columns, *words)
        assert terminal.status == 0
        assert fits(terminal), terminal.text()
    examples = list(takewhile(str.strip, shown(folder, columns, "examples").text().splitlines()))
    assert examples
    assert all(line.startswith(" " * 14) or line[13:14] == " " for line in examples)
    triage = shown(folder, columns, "triage", "inputs", "buggy.elf")
    assert triage.status == 3
    assert "kind     fault" in triage.text()
    assert "file     shows" in triage.text()
    assert "1 of 2 inputs show something" in triage.text().replace("\n", " ")


@pytest.mark.parametrize(("columns", "registers"), [(38, 1), (60, 2), (100, 4)])
def test_a_fault(columns: int, registers: int, folder: Path, tmp_path: Path) -> None:
    """Words are whole, and a line has as many registers as it has room for."""
    terminal = shown(folder, columns, "run", "faults.elf")
    assert terminal.status == 1
    assert fits(terminal), terminal.text()
    text = terminal.text()
    said = " ".join(text.split())
    assert "store to a page that is not mapped writable" in said
    assert "nothing is mapped there" in said
    (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["ra"]]
    assert line[::2] == ["ra", "sp", "gp", "tp"][:registers]
    replayed = shown(folder, columns, "fuzz", "buggy.elf", "--replay", "inputs/shows")
    assert replayed.status == 3
    assert fits(replayed), replayed.text()


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_profile(columns: int, folder: Path) -> None:
    """Each row is a paragraph."""
    shutil.copy(ELVES["hello-world"], folder / "hello.elf")
    terminal = shown(folder, columns, "profile", "hello.elf")
    assert terminal.status == 0
    assert fits(terminal), terminal.text()
    said = " ".join(terminal.text().split())
    assert re.search(r" main [\d,]+ own, [\d.]+ %, [\d,]+ with calls, 1 call, enclave hello", said)
    assert "1 exit, 1 ocall write" in said


def test_tables_with_room(folder: Path) -> None:
    wide = shown(folder, 140, "triage", "inputs", "buggy.elf")
    assert any(line.split()[:3] == ["#", "inputs", "kind"] for line in wide.text().splitlines())
    assert "reported" in wide.text()


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize(
    "environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colour", "none", "dumb"]
)
def test_the_fuzzer(environment: dict[str, str], columns: int, folder: Path, tmp_path: Path) -> None:
    words = ["fuzz", "buggy.elf", "-i", "inputs", "-o", str(tmp_path / "out"), "--execs", "300"]
    terminal = shown(folder, columns, *words, **environment)
    assert terminal.status == 3
    assert terminal.coloured == (not environment)
    text = terminal.text()
    if environment.get("TERM") == "dumb":
        assert b"\x1b" not in terminal.raw
        assert "300 executions" in text.replace("\n", "")
        return
    cells = [line.strip("│ ").split() for line in text.splitlines() if line.startswith("│")]
    said = {" ".join(cell) for cell in cells}
    if columns < 60:
        assert "executions 300" in said, text
        assert any(one.startswith("edges ") and one.endswith("of map)") for one in said), text
    assert any(cell[:2] == ["fault", "1"] for cell in cells), text
    assert text.count("╭") == text.count("╰") == 1
    assert max(len(line) for line in text.splitlines()) <= columns


def test_progress_on_a_terminal(folder: Path) -> None:
    """A bar, which is gone at the end; nothing with TERM=dumb, as it takes no time."""
    bar = shown(folder, 80, "triage", "inputs", "buggy.elf")
    assert b"replayed" in bar.raw
    assert "replayed" not in bar.text()
    assert b"replayed" not in shown(folder, 80, "triage", "inputs", "buggy.elf", TERM="dumb").raw
