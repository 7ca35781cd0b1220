"""What a call gives is written by the monitor, past the D bits of the caller's pages: it goes back too."""

from pathlib import Path

import pytest

from pltvm.engine.memory import Memory
from pltvm.fuzz.options import Options
from tests.fuzz.conftest import GUEST, Build
from tests.fuzz.runs import Recorder
from tests.holes import Edit, make

INPUT = bytes(8) + b"input"
# By how the server was built: what has to tell RAM's log, and the same without that.
LOGS = {
    "": Edit(Memory.opened, "    self.dirty[page] = 1\n", ""),
    "ACROSS": Edit(Memory.write, "self.dirty[first], has_code = 1,", "has_code ="),
}


@pytest.fixture(params=LOGS)
def where(request: pytest.FixtureRequest) -> str:
    """Where the struct lies."""
    return str(request.param)


def recorder_of(built: Build, anything: Path, *defines: str) -> Recorder:
    elf = built(GUEST / "kept_struct.c", *(one for one in defines if one))
    return Recorder(Options(str(elf), "server", servers=(("other", str(anything)),)))


def problems(recorder: Recorder, times: int) -> list[str | None]:
    """The kind of problem that each of so many executions is, of the same input."""
    seen = [recorder.run(INPUT).problem for _ in range(times)]
    return [problem[0] if problem is not None else None for problem in seen]


def test_every_execution_finds_the_struct_as_it_was(where: str, built: Build, anything: Path) -> None:
    recorder = recorder_of(built, anything, where)
    assert problems(recorder, 4) == [None] * 4
    found: list[object] = []
    recorder.target.fuzz(INPUT, 50, lambda _data, _new, problem: found.append(problem) if problem else None)
    assert found == []
    assert problems(recorder, 2) == [None] * 2


@pytest.mark.broken
@pytest.mark.python
def test_it_does_not_where_the_log_misses_them(
    where: str, built: Build, anything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was once: a server without a bug, and the second execution is a fault."""
    recorder = recorder_of(built, anything, where)
    make(monkeypatch, LOGS[where])
    assert problems(recorder, 3) == [None, "fault", "fault"]


@pytest.mark.broken
@pytest.mark.python
def test_a_page_that_the_server_writes_hides_that(
    built: Build, anything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_of(built, anything, "TOUCHED")
    make(monkeypatch, LOGS[""])
    assert problems(recorder, 3) == [None] * 3
