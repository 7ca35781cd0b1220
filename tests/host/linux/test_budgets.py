"""What a host program may have the host remember has a limit, and what it asks for takes bounded time."""

from collections.abc import Iterator

import pytest

from pltvm import Machine
from pltvm.engine.memory import PAGE
from pltvm.host.linux import space as space_module
from pltvm.host.linux.errno import ENOMEM, LinuxError
from pltvm.host.linux.space import MMAP_TOP, READ, USER_END, WRITE, Space
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


def test_threads_have_a_limit(run_linux: Run) -> None:
    result = run_linux("signals", "many")
    assert (result.exit_code, result.output, result.bugs) == (0, b"1023 threads\n", 0)
