"""Programs that wait for each other, saved at any moment: they go on to the same end, here and elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm.host import snapshot
from pltvm.host.audit import audit
from tests.host.linux.test_snapshots import Saver
from tests.host.moment import Moment
from tests.lives import Job, elsewhere

LINES = 41
Build = Callable[[str], Path]


@pytest.mark.parametrize("at", range(1, LINES, 3))
def test_put_back_in_the_same_run_and_after_it(build_linux: Build, tmp_path: Path, at: int) -> None:
    program, folders = build_linux("waits_saved"), [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    saver, straight = (Saver(program, folder) for folder in folders)
    moments: list[Moment] = []
    back = min(at + 11, LINES)
    saver.acts[at] = lambda: moments.append(Moment(saver.machine))
    saver.acts[back] = lambda: moments[0].restore()
    first = saver.run()
    assert (first.exit_code, first.end, first.bugs) == (5, "", 0)
    assert first == straight.run()
    assert len(straight.lines) == LINES
    assert saver.lines == straight.lines[:back] + straight.lines[at:]
    end = snapshot.save(straight.machine.driver)
    assert snapshot.save(saver.machine.driver) == end
    moments[0].restore()
    assert audit(saver.machine.kernel) == []
    saver.lines.clear()
    assert saver.machine.resume_program(**saver.options) == first
    assert saver.lines == straight.lines[at:]
    assert snapshot.save(saver.machine.driver) == end


@pytest.mark.parametrize("at", [9, 12, 19])
def test_another_process_goes_on_the_same(build_linux: Build, tmp_path: Path, at: int) -> None:
    saver, jobs = Saver(build_linux("waits_saved"), tmp_path), list[Job]()
    saver.acts[at] = lambda: jobs.append(Job(saver.machine.snapshot(), folder=tmp_path))
    saver.run()
    saver.machine.restore(jobs[0].saved)
    end = jobs[0].do(saver.machine)
    assert elsewhere(jobs[0]) == end
    output, (exit_code, *_) = end.output
    assert exit_code == 5
    assert b"taken now: not taken\n" in output
