"""One call between enclaves, file by file: docs/design.md has the order, and this is the walk that it is of.

A file is entered when one of its functions is called from another file. Until control is back in the hart no
file may be entered, left for another one, and entered again. What only reads, writes or finds something is
understood where it stands, without going there: LEAVES.
"""

import re
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import pytest

import pltvm
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE
from pltvm.monitor import server
from tests.monitor.rig import Rig, Script

pytestmark = pytest.mark.python

PACKAGE: Final = Path(pltvm.__file__).parent
DESIGN: Final = PACKAGE.parent / "docs" / "design.md"
LEAVES: Final = {
    # RAM, page tables and records are looked at and changed all the way.
    *(
        "engine/memory.py",
        "engine/page_table.py",
        "engine/sv39.py",
        "engine/context.py",
        "monitor/records.py",
        "monitor/store.py",
        "monitor/abi.py",
    ),
    # Which enclave that is; and a flag: what the hart's last step is to do.
    *("State.running", "State.enclave", "Enclaves.get", "Hart.translations_changed"),
}
Walk = list[tuple[str, list[str]]]  # files in order, each with those of its functions that were called


class Walker:
    """A profiler that notes each trap in which `wanted` was called: the files that it went through."""

    def __init__(self, *wanted: object) -> None:
        self._wanted = {function.__code__ for function in wanted}  # type: ignore[attr-defined]
        self.walks: dict[CodeType, Walk] = {}  # of the last such trap
        self._trap: FrameType | None = None
        self._walk: Walk = []
        self._found: CodeType | None = None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is Hart._on_trap.__code__:
            self._trap, self._walk, self._found = frame, [(name_of(frame), ["_on_trap"])], None
        elif event == "call" and self._trap is not None:
            self._enter(frame)
        elif event == "return" and frame is self._trap:
            self._trap = None
            if self._found is not None:
                self.walks[self._found] = self._walk

    def _enter(self, frame: FrameType) -> None:
        caller, code = frame.f_back, frame.f_code
        assert caller is not None
        if code in self._wanted:
            self._found = code
        file, function = name_of(frame), code.co_qualname
        within = file == name_of(caller) and caller is not self._trap
        if within or not LEAVES.isdisjoint((file, function, name_of(caller))):
            return
        if self._walk[-1][0] != file:
            self._walk.append((file, []))
        functions, function = self._walk[-1][1], code.co_name
        if function not in functions:
            functions.append(function)


def name_of(frame: FrameType) -> str:
    file = Path(frame.f_code.co_filename)
    return str(file.relative_to(PACKAGE)) if file.is_relative_to(PACKAGE) else str(file)


@pytest.fixture
def walks(rig: Rig) -> list[Walk]:
    """Of a call that passes a page, and of the return that gives it back; the second of each: the first one
    makes page tables."""
    replies, caller = Script(), Script()
    for _ in range(2):
        replies.give(req_vaddr=replies.entry(11), req_size=replies.entry(12))
    callee, page = rig.server(replies, b"server"), caller.mmap(PAGE)
    statuses = [caller.call(callee.eid, req_vaddr=page, req_size=PAGE) for _ in range(2)]
    results = caller.results()
    wanted = server.call, server.server_return
    walker, before = Walker(*wanted), sys.getprofile()
    sys.setprofile(walker)
    try:
        outcome = rig.run(caller)
    finally:
        sys.setprofile(before)
    assert [outcome[status] for status in statuses] == [0, 0]
    assert outcome[results["req_vaddr"]] == outcome[page]
    return [walker.walks[function.__code__] for function in wanted]


def documented() -> list[Walk]:
    """The walks that the table in docs/design.md shows: of a call, and of a return."""
    section = DESIGN.read_text().split("\n## The life of a call\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    names = [[re.findall(r"`([^`]+)`", cell) for cell in row] for row in rows]
    return [[(file, functions) for (file,), *both in names for functions in (both[at],)] for at in (0, 1)]


def test_the_walk_is_the_one_that_the_design_describes(walks: list[Walk]) -> None:
    assert walks == documented()


def test_no_file_is_entered_twice(walks: list[Walk]) -> None:
    for walk in walks:
        files = [file for file, _ in walk]
        assert files[0] == files[-1] == "engine/hart.py"
        assert len(set(files)) == len(files) - 1
