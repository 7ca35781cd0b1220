"""Linux programs that are saved in the middle, and put back: in the same run, later, in another process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import Machine, PltvmError
from pltvm.build import guest
from pltvm.errors import SnapshotError
from pltvm.host import snapshot
from pltvm.host.audit import audit
from pltvm.host.linux.runner import LinuxResult, resume_program, run_program
from tests.host.moment import Moment
from tests.lives import Job, elsewhere

RAM = 64 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the program sees."""
    (tmp_path / "hello").write_bytes(guest.examples()["hello-world"].elf.read_bytes())
    (tmp_path / "input").write_bytes(b"first line, and more than that\n" * 20)
    return tmp_path


class Saver:
    """Runs the program, and does something at one line of its output. `lines` is all that was printed."""

    def __init__(self, program: Path, folder: Path, mode: str = "all") -> None:
        self.machine = Machine(RAM)
        self.program, self.folder, self.mode = program, folder, mode
        self.lines: list[bytes] = []
        self.acts: dict[int, Callable[[], None]] = {}
        self.options: dict[str, Any] = {"root": folder, "timeout": 60, "on_output": self._on_output}

    def _on_output(self, line: bytes) -> None:
        self.lines.append(line)
        act = self.acts.pop(len(self.lines), None)
        if act is not None:
            act()

    def run(self) -> LinuxResult:
        return run_program(self.machine.driver, self.program, [self.mode], **self.options)


def test_it_prints_what_the_other_tests_wait_for(build_linux: Callable[[str], Path], folder: Path) -> None:
    saver = Saver(build_linux("snapshots"), folder)
    result = saver.run()
    assert (result.exit_code, result.end, result.errors) == (7, "", b"to stderr\n")
    assert result.output.count(b"hello world\n") == 3
    assert b"counter 8, signals 8\n" in result.output
    assert len(saver.lines) == 8 + 4 + 6 + 1


@pytest.mark.parametrize("at", range(1, 19))
def test_put_back_in_the_same_run_and_after_it(
    build_linux: Callable[[str], Path], folder: Path, at: int
) -> None:
    saver, straight = (Saver(build_linux("snapshots"), folder) for _ in range(2))
    moments: list[Moment] = []
    back = min(at + 4, 19)
    saver.acts[at] = lambda: moments.append(Moment(saver.machine))
    saver.acts[back] = lambda: moments[0].restore()
    first = saver.run()
    assert first == straight.run()
    assert saver.lines == straight.lines[:back] + straight.lines[at:]
    end = snapshot.save(straight.machine.driver)
    assert snapshot.save(saver.machine.driver) == end
    for _ in range(2):
        moments[0].restore()
        assert audit(saver.machine.kernel) == []
        assert saver.machine.hart.current is saver.machine.kernel.context
        saver.lines.clear()
        assert saver.machine.resume_program(**saver.options) == first
        assert saver.lines == straight.lines[at:]
        assert snapshot.save(saver.machine.driver) == end


def test_a_run_ends_when_a_callback_goes_back_to_before_it(
    build_linux: Callable[[str], Path], folder: Path
) -> None:
    saver = Saver(build_linux("snapshots"), folder)
    moment = Moment(saver.machine)
    first, lines = saver.run(), list(saver.lines)
    moment.restore()
    for at in (3, 11, 15):
        saver.lines.clear()
        saver.acts[at] = moment.restore
        result = saver.run()
        assert result.end == "the machine was put back to before this program ran"
        assert saver.lines == lines[:at]
        assert audit(saver.machine.kernel) == []
        assert snapshot.save(saver.machine.driver) == moment.state
    assert saver.run() == first


@pytest.mark.broken
def test_a_new_host_takes_the_state_of_another(build_linux: Callable[[str], Path], folder: Path) -> None:
    saver, moments = Saver(build_linux("snapshots"), folder), list[Moment]()
    saver.acts[9] = lambda: moments.append(Moment(saver.machine))
    saver.run()
    state, other = moments[0].state, Machine(RAM).driver
    snapshot.load(other, state)
    waiting = other.kernel.state.waiting
    assert waiting is not None
    assert snapshot.save(other).kernel == state.kernel
    assert set(waiting.blocks()) <= {block for holder in other.kernel.holders for block in holder()}


@pytest.mark.parametrize("at", [9, 16])
def test_another_process_goes_on_the_same(build_linux: Callable[[str], Path], folder: Path, at: int) -> None:
    """From RAM, CPU and declared state alone: the same output, and the same RAM at the end."""
    saver, jobs = Saver(build_linux("snapshots"), folder), list[Job]()
    saver.acts[at] = lambda: jobs.append(Job(saver.machine.snapshot(), folder=folder))
    saver.run()
    saver.machine.restore(jobs[0].saved)
    end = jobs[0].do(saver.machine)
    assert elsewhere(jobs[0]) == end
    output, (exit_code, *_) = end.output
    assert exit_code == 7
    assert output.count(b"hello world\n") == 3


def test_a_program_that_waits_keeps_others_out(build_linux: Callable[[str], Path], folder: Path) -> None:
    saver = Saver(build_linux("snapshots"), folder)
    with pytest.raises(SnapshotError, match="no Linux program was running"):
        resume_program(saver.machine.driver)
    moments: list[Moment] = []
    saver.acts[9] = lambda: moments.append(Moment(saver.machine))
    first = saver.run()
    moments[0].restore()
    with pytest.raises(PltvmError, match="waits to be resumed"):
        saver.run()
    assert saver.machine.create(guest.examples()["hello-world"].elf).run().ok
    moments[0].restore()
    assert resume_program(saver.machine.driver, **saver.options) == first


# -- what is refused -----------------------------------------------------------------------------------------


def refusal(act: Callable[[], object], into: list[str]) -> Callable[[], None]:
    """Does what has to be refused, and notes in which words."""

    def refused() -> None:
        with pytest.raises(SnapshotError) as error:
            act()
        into.append(str(error.value))

    return refused


def test_a_file_that_is_open_for_writing(build_linux: Callable[[str], Path], folder: Path) -> None:
    saver, said = Saver(build_linux("snapshots"), folder, "writes"), list[str]()
    saver.acts[1] = refusal(lambda: snapshot.save(saver.machine.driver), said)
    saver.acts[2] = lambda: said.append(
        (snapshot.save(saver.machine.driver).kernel.kernel.lent and "") or "fine"
    )
    assert saver.run().exit_code == 0
    assert said == [f"{folder}/out: the program has it open for writing: save when it is closed", "fine"]


def test_standard_input_that_was_read(build_linux: Callable[[str], Path], folder: Path) -> None:
    saver, said, states = Saver(build_linux("snapshots"), folder, "reads"), list[str](), list[Any]()
    driver = saver.machine.driver
    saver.options["source"] = lambda _size: b"xy"
    saver.acts[1] = lambda: states.append(snapshot.save(driver))
    saver.acts[2] = lambda: (
        [
            refusal(act, said)()
            for act in (lambda: snapshot.save(driver), lambda: snapshot.check(driver, states[0]))
        ]
        and None
    )
    assert saver.run().exit_code == 0
    assert said == ["standard input: some was read, which cannot be read again: save before that"] * 2


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_file_that_is_not_what_it_was(build_linux: Callable[[str], Path], folder: Path, how: str) -> None:
    saver, said = Saver(build_linux("snapshots"), folder, "keeps"), list[str]()
    moments: list[Moment] = []

    def spoil() -> None:
        if how == "changed":
            (folder / "input").write_bytes(b"other")
        else:
            (folder / "input").unlink()
        refusal(moments[0].restore, said)()
        if how == "removed":
            refusal(lambda: snapshot.save(saver.machine.driver), said)()

    saver.acts[1] = lambda: moments.append(Moment(saver.machine))
    saver.acts[2] = spoil
    result = saver.run()
    assert (result.exit_code, result.output) == (0, b"one\ntwo\n")
    moments[0].restore()
    holders = len(saver.machine.kernel.holders)
    refusal(lambda: resume_program(saver.machine.driver, **saver.options), said)()
    assert len(saver.machine.kernel.holders) == holders
    assert audit(saver.machine.kernel) == []
    if how == "changed":
        assert said == ["input: is not what it was when it was open: it has changed since"] * 2
    else:
        cannot = "input: cannot be opened again: No such file or directory"
        removed = f"{folder}/input (deleted): it was removed while it is open: save when it is closed"
        assert said == [cannot, removed, cannot]


@pytest.mark.parametrize("at", range(1, 8))
def test_files_in_memory_are_what_they_were(
    build_linux: Callable[[str], Path], tmp_path: Path, at: int
) -> None:
    """The same file for all who have it open, under the same number; room of those that are gone is free."""
    saver, straight = (Saver(build_linux("keeps_memory"), tmp_path) for _ in range(2))
    jobs: list[Job] = []
    moments: list[Moment] = []
    saver.acts[at] = lambda: (
        moments.append(Moment(saver.machine)),
        jobs.append(Job(saver.machine.snapshot(), folder=tmp_path)),
    )
    saver.acts[9] = lambda: moments[0].restore()
    first = saver.run()
    assert (first.exit_code, first.end, straight.run()) == (0, "", first)
    assert saver.lines == straight.lines[:9] + straight.lines[at:]
    assert snapshot.save(saver.machine.driver) == snapshot.save(straight.machine.driver)
    assert elsewhere(jobs[0]).output[0] == b"".join(straight.lines)
