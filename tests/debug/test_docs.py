"""The sessions in docs/debugging.md, made by a real gdb."""

import re
from pathlib import Path

import pytest

from tests.debug.conftest import SOURCES
from tests.debug.debuggers import debug, needs_gdb

DOCUMENT = (Path(__file__).parents[2] / "docs" / "debugging.md").read_text()
SESSIONS = [block for block in re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL) if "(gdb)" in block]


def _masked(text: str) -> str:
    """Without addresses and sizes, which another compiler may choose otherwise."""
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    return re.sub(r"\+0x…|\b\d{9,}\b", "…", text)


def test_the_listing_is_the_program() -> None:
    listing = re.search(r"```c\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert listing is not None
    assert listing[1] in (SOURCES / "ledger.c").read_text()


@needs_gdb
@pytest.mark.parametrize("session", SESSIONS)
def test_a_session(session: str, tmp_path: Path) -> None:
    from pltvm.build.enclave import build_enclave

    for name in ("ledger", "ledger-client"):
        (tmp_path / f"{name}.c").write_text((SOURCES / f"{name}.c").read_text())
        build_enclave([tmp_path / f"{name}.c"], tmp_path / f"{name}.elf", opt="-O0", flags=["-g"])
    run = re.search(r"\$ pltvm debug (.*)\n", session)
    assert run is not None
    shown = session[session.index("(gdb)") :]
    commands = []
    for command in re.findall(r"(?m)^\(gdb\) (.*)$", shown):
        commands += [f"echo (gdb) {command}\\n", command]
    output = debug(run[1].split(), *commands, cwd=tmp_path)
    end = output.find("pltvm: killed by the debugger")
    assert _masked(output[output.index("(gdb)") : end]).strip() == _masked(shown).strip()
