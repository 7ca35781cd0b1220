"""The sessions in docs/debugging.md, made by a real gdb."""

import re
from pathlib import Path

import pytest

from tests.debug.conftest import SOURCES
from tests.debug.debuggers import debug, needs_gdb
from tests.test_docs import Reader, blocks, commands, is_right

PAGE = Path(__file__).parents[2] / "docs" / "debugging.md"
DOCUMENT = PAGE.read_text()
SESSIONS = [text for language, _, text in blocks(PAGE) if language == "console" and "(gdb)" in text]


def _masked(text: str) -> str:
    """Without addresses and sizes, which another compiler may choose otherwise."""
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    text = re.sub(r'"(?:[^"\\]|\\.)*\\[0-7]{3}(?:[^"\\]|\\.)*"', '"…"', text)  # which the fuzzer has made up
    return re.sub(r"\+0x…|\b\d{9,}\b", "…", text)


def test_the_listing_is_the_program() -> None:
    listing = re.search(r"```c\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert listing is not None
    assert listing[1] in (SOURCES / "ledger.c").read_text()


@pytest.mark.long
@needs_gdb
def test_the_sessions(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Type what the page shows, in its order; gdb prints what each session shows."""
    for name in ("ledger", "ledger-client"):
        (tmp_path / f"{name}.c").write_text((SOURCES / f"{name}.c").read_text())
    reader, made = Reader(tmp_path, tmp_path_factory.mktemp("bin")), []
    for _, _, text in (block for block in blocks(PAGE) if block[0] == "console"):
        for command, output in commands(text.partition("(gdb)")[0]):
            if not command.startswith("$ pltvm debug"):
                line = re.sub(r"^[$>] ", "", command, flags=re.MULTILINE)
                assert is_right(command, output, reader.type(line)), command
            elif text in SESSIONS:
                made.append(text)
                _session(command.removeprefix("$ pltvm debug "), text[text.index("(gdb)") :], reader)
        if made == SESSIONS:
            return
    raise AssertionError(f"{len(made)} of {len(SESSIONS)} sessions")


def _session(run: str, shown: str, reader: Reader) -> None:
    typed = []
    for command in re.findall(r"(?m)^\(gdb\) (.*)$", shown):
        typed += [f"echo (gdb) {command}\\n", command]
    output = debug(run.split(), *typed, cwd=reader.folder)
    end = re.search("pltvm: killed by the debugger|Remote co", output)  # of gdb and the run, whoever is first
    assert end is not None
    assert _masked(output[output.index("(gdb)") : end.start()]).strip() == _masked(shown).strip()
