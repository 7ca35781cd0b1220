"""What a host program may have the host remember has a limit, and what it asks for takes bounded time."""

from collections.abc import Iterator
from errno import ENOMEM

import pytest

from pltvm import Machine
from pltvm.engine.memory import PAGE
from pltvm.errors import OutOfMemory
from pltvm.host.kernel import Kernel
from pltvm.host.linux import life
from pltvm.host.linux import space as space_module
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.fs import locks, nodes
from pltvm.host.linux.fs.nodes import NodeFile
from pltvm.host.linux.program import INTERPRETER_BASE, PIE_BASE
from pltvm.host.linux.scheduler import Scheduler
from pltvm.host.linux.space import MMAP_TOP, READ, USER_END, WRITE, Space
from pltvm.host.linux.start_stack import STACK_TOP
from pltvm.machine import DEFAULT_RAM
from tests.host.linux.conftest import Run

LIMIT = 64
START = 0x1000_0000


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Iterator[Space]:
    """An empty address space that may have only a few areas; all of it is given back."""
    monkeypatch.setattr(space_module, "MOST_AREAS", LIMIT)
    kernel = Machine(64 << 20).kernel
    free = kernel.blocks.free_pages
    space = Space(kernel)
    yield space
    space.free()
    assert kernel.blocks.free_pages == free


def test_areas_have_a_limit_however_they_are_made(space: Space) -> None:
    for number in range(LIMIT):
        space.map(START + 2 * number * PAGE, PAGE, READ)
    with pytest.raises(LinuxError) as refused:
        space.map(START + 2 * LIMIT * PAGE, PAGE, READ)
    assert refused.value.number == ENOMEM
    space.unmap(START, PAGE)
    space.map(MMAP_TOP - 100 * PAGE, 100 * PAGE, READ | WRITE)
    before = space.area(MMAP_TOP - PAGE)
    with pytest.raises(LinuxError):
        space.unmap(MMAP_TOP - 50 * PAGE, PAGE)  # would split it
    with pytest.raises(LinuxError):
        space.protect(MMAP_TOP - 50 * PAGE, PAGE, READ)
    assert space.area(MMAP_TOP - PAGE) == before
    space.unmap(MMAP_TOP - 50 * PAGE, 50 * PAGE)  # what makes none more goes on
    space.unmap(PAGE, USER_END - 2 * PAGE)
    assert not space.overlaps(0, USER_END)


def test_huge_ranges_cost_what_lies_in_them(space: Space) -> None:
    """67 million pages, one after the other, would take minutes."""
    space.map(PAGE, USER_END - 2 * PAGE, READ | WRITE)
    for at in (PAGE, START, USER_END - 2 * PAGE):
        space.write(at, b"x")
    for _ in range(20):
        space.protect(PAGE, USER_END - 2 * PAGE, READ)
        space.drop(PAGE, USER_END - 2 * PAGE)
        space.protect(PAGE, USER_END - 2 * PAGE, READ | WRITE)
        assert space.read(START, 1) == b"\0"
        space.write(START, b"x")
    space.unmap(PAGE, USER_END - 2 * PAGE)


def small(kernel: Kernel) -> Space:
    """A process with a page where programs have some."""
    space = Space(kernel)
    for at in (PIE_BASE, INTERPRETER_BASE, MMAP_TOP - PAGE, STACK_TOP - PAGE):
        space.map(at, PAGE, READ | WRITE)
        space.write(at, b"x")
    return space


def fork_often(spaces: list[Space]) -> None:
    """As often as there is room for children that write what they have."""
    for _ in range(2000):
        child = spaces[0].fork()
        spaces.append(child)
        for area in child.state.areas:
            child.write(area.start, b"y")


@pytest.mark.parametrize(("ram", "least"), [(DEFAULT_RAM, 200), (64 << 20, 20)])
def test_there_is_room_for_many_processes(ram: int, least: int) -> None:
    kernel = Machine(ram).kernel
    free = kernel.blocks.free_pages, [len(one) for one in kernel.tables.state.free]
    spaces = [small(kernel)]
    assert len(spaces[0].state.tables) <= 6
    with pytest.raises(OutOfMemory):
        fork_often(spaces)
    assert len(spaces) > least
    assert spaces[0].read(PIE_BASE, 1) == b"x"
    for space in spaces:
        space.free()
    assert (kernel.blocks.free_pages, [len(one) for one in kernel.tables.state.free]) == free


def test_threads_have_a_limit(run_linux: Run) -> None:
    result = run_linux("signals", "many")
    assert (result.exit_code, result.output, result.bugs) == (0, b"1023 threads\n", 0)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("zombies", "processes 63: errno 11"),
        ("locks", "locks 50: errno 37"),
        ("pipes", "pipes 1: errno 1"),
    ],
)
def test_what_programs_hoard_has_a_limit(
    run_linux: Run, monkeypatch: pytest.MonkeyPatch, what: str, line: str
) -> None:
    monkeypatch.setattr(life, "MOST_PROCESSES", 64)
    monkeypatch.setattr(locks, "MOST_LOCKS", 50)
    result = run_linux("hoards", what)
    assert (result.exit_code, result.end, result.output) == (0, "", f"{line}\n".encode())


def test_alarms_that_no_longer_count_are_forgotten(run_linux: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait takes every second number of the order, by which they once were counted."""
    most, set_alarm = 0, Scheduler.set_alarm

    def counted(scheduler: Scheduler, deadline: int, process: int, which: int) -> None:
        nonlocal most
        set_alarm(scheduler, deadline, process, which)
        most = max(most, len(scheduler.state.alarms))

    monkeypatch.setattr(Scheduler, "set_alarm", counted)
    assert run_linux("hoards", "alarms").exit_code == 0
    assert 1000 < most < 5000


def test_large_texts_of_proc_are_not_all_kept(run_linux: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[NodeFile] = []
    opened = nodes.Texts.opened

    def noted(texts: nodes.Texts, file: File) -> None:
        opened(texts, file)
        kept.extend([file] if isinstance(file, NodeFile) else [])

    monkeypatch.setattr(nodes, "MOST_TEXT", 1 << 20)
    monkeypatch.setattr(nodes.Texts, "opened", noted)
    result = run_linux("hoards", "texts")
    assert (result.exit_code, result.output) == (0, b"the same: 1\n")
    assert len(kept) == 31
    assert sum(len(one.content) for one in kept) < 1 << 20


def test_reports_on_processes_have_a_limit(run_linux: Run) -> None:
    result = run_linux("hoards", "crashes")
    assert len(result.reports) == 101
    assert result.reports[-1].startswith("more processes")
