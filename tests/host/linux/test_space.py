"""The memory of Linux processes: faults, forks, memory objects, and what they leave behind."""

import os
from collections.abc import Iterator
from errno import EACCES, EFAULT, EINVAL, ENOMEM
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.errors import OutOfMemory, SnapshotError
from pltvm.host.audit import audit
from pltvm.host.kernel import Kernel
from pltvm.host.linux.areas import NOT_IN_CHILD, WIPED_IN_CHILD
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.frames import Frames
from pltvm.host.linux.moving import FIXED, MAYMOVE, mremap
from pltvm.host.linux.objects import MOST_UNUSED, Objects
from pltvm.host.linux.space import (
    BEYOND_FILE,
    EXEC,
    PROTECTED,
    READ,
    UNMAPPED,
    WRITE,
    Space,
)
from tests.host.test_state import is_plain

A, B = 0x1000_0000, 0x2000_0000
RW = READ | WRITE


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """One whose blocks are all given back in the end."""
    kernel = Machine(64 << 20).kernel
    free, holders = kernel.blocks.free_pages, len(kernel.holders)
    yield kernel
    assert audit(kernel) == []
    assert kernel.blocks.free_pages == free
    assert len(kernel.holders) == holders


@pytest.fixture
def space(kernel: Kernel) -> Iterator[Space]:
    """An empty address space."""
    space = Space(kernel)
    yield space
    space.free()


def refused(number: int, call: object, *arguments: object) -> None:
    """The call fails with this error number."""
    with pytest.raises(LinuxError) as error:
        call(*arguments)  # type: ignore[operator]
    assert error.value.number == number


def mapped(space: Space, start: int, pages: int) -> int:
    """How many of the pages have an entry."""
    return sum(bool(space.table.raw_entry(start + at * PAGE)) for at in range(pages))


# -- faults ---------------------------------------------------------------------------------------------


def test_why_an_access_is_denied(space: Space) -> None:
    space.map(A, PAGE, READ)
    space.map(B, 2 * PAGE, READ, object=space.objects.anonymous(PAGE), copies=True)
    assert space.fault(A, READ) is None
    assert space.fault(A, WRITE) == PROTECTED == (11, 2)
    assert space.fault(A + PAGE, READ) == UNMAPPED == (11, 1)
    assert space.fault(B, READ) is None
    assert space.fault(B + PAGE, READ) == BEYOND_FILE == (7, 2)
    refused(EFAULT, space.read, B, PAGE + 1)


def test_faults_in_a_row_map_more_and_more(space: Space) -> None:
    space.map(A, 4096 * PAGE, RW)
    faults = at = 0
    while at < 2000:
        if not space.table.raw_entry(A + at * PAGE):
            assert space.fault(A + at * PAGE, WRITE) is None
            faults += 1
        at += 1
    assert faults < 20
    assert mapped(space, A, 4096) < 3000
    space.drop(A, 4096 * PAGE)
    assert mapped(space, A, 4096) == len(space.state.own) == 0


def test_faults_here_and_there_map_one_page_each(space: Space) -> None:
    space.map(A, 4096 * PAGE, RW)
    for at in range(0, 4096, 64):
        space.write(A + at * PAGE, b"x")
    assert mapped(space, A, 4096) == len(space.state.own) == 64


def test_a_window_ends_where_something_is(space: Space) -> None:
    space.map(A, 4 * PAGE, RW)
    space.map(A + 4 * PAGE, 4 * PAGE, READ)
    space.write(A + 2 * PAGE, b"there")
    space.write(A, bytes(2 * PAGE))
    assert space.read(A + 2 * PAGE, 5) == b"there"
    assert mapped(space, A, 8) == 3


def test_memory_runs_out_cleanly(kernel: Kernel) -> None:
    space = Space(kernel)
    space.map(A, 100 << 20, RW)
    with pytest.raises(OutOfMemory):
        space.write(A, bytes(100 << 20))
    assert audit(kernel) == []
    space.unmap(A, 100 << 20)
    space.map(A, 32 << 20, RW)
    space.write(A, bytes(32 << 20))
    space.free()


def test_parts_of_blocks_are_used_again(space: Space, kernel: Kernel) -> None:
    space.map(A, 512 * PAGE, RW)
    space.write(A, b"\1" * (512 * PAGE))
    for at in range(0, 512, 2):
        space.unmap(A + at * PAGE, PAGE)
    assert audit(kernel) == []
    free = kernel.blocks.free_pages
    space.map(B, 100 * PAGE, RW)
    for at in range(99, -1, -1):
        assert space.read(B + at * PAGE, PAGE) == bytes(PAGE)
    assert kernel.blocks.free_pages >= free
    assert audit(kernel) == []


def test_copies_cross_pages(space: Space) -> None:
    space.map(A, 16 * PAGE, RW)
    data = bytes(range(256)) * 150
    for at in (0, 1, PAGE - 1, PAGE, 3 * PAGE - 7):
        space.write(A + at, data)
        assert space.read(A + at, len(data)) == data
    space.write(A + PAGE - 2, b"path\0more")
    assert space.string(A + PAGE - 2) == b"path"
    assert space.read(A, 0) == b""
    for wild in (-1, 1 << 39, 1 << 64, (1 << 64) - 1):
        refused(EFAULT, space.read, wild, 8)
        refused(EFAULT, space.write, wild, b"x")


# -- fork -----------------------------------------------------------------------------------------------


def test_fork_copies_on_write(space: Space, kernel: Kernel) -> None:
    space.map(A, 600 * PAGE, RW)
    space.write(A, b"before" * 400_000)
    free = kernel.blocks.free_pages
    child = space.fork()
    assert kernel.blocks.free_pages == free
    space.write(A, b"parent")
    child.write(A + PAGE, b"child")
    assert (space.read(A, 6), child.read(A, 6)) == (b"parent", b"before")
    assert child.read(A + PAGE, 5) == b"child"
    assert space.read(A + PAGE, 5) != b"child"
    assert audit(kernel) == []
    grandchild = child.fork()
    page = child.state.own[A + 5 * PAGE]
    child.free()
    assert grandchild.read(A + PAGE, 5) == b"child"
    grandchild.free()
    assert page not in kernel.blocks.state.free[0]
    space.write(A + 5 * PAGE, b"alone")
    assert space.state.own[A + 5 * PAGE] == page  # nobody else has it: no copy
    assert not space.frames.state.users or space.frames.state.users.keys().isdisjoint({page})


def test_entries_of_shared_pages_are_read_only(space: Space) -> None:
    space.map(A, 20 * PAGE, RW)
    space.map(B, PAGE, READ | WRITE | EXEC)
    space.write(A, bytes(20 * PAGE))
    space.write(B, b"code")
    child = space.fork()
    for one in (space, child):
        for page in [*range(A, A + 20 * PAGE, PAGE), B]:
            assert one.fault(page, READ) in (None, PROTECTED)
            assert not one.table.raw_entry(page) & sv39.W
    assert child.fault(B, EXEC) is None
    child.write(B, b"edoc")
    assert space.read(B, 4) == b"code"
    child.free()


def test_a_space_of_two_processes(kernel: Kernel) -> None:
    space = Space(kernel)
    space.map(A, PAGE, RW)
    other = space.share()
    other.write(A, b"vfork")
    other.free()
    assert space.read(A, 5) == b"vfork"
    space.free()


def test_state_goes_away_and_comes_back(kernel: Kernel) -> None:
    frames = Frames(kernel)
    objects = Objects(frames)
    space = Space(kernel, objects=objects)
    space.map(A, 10 * PAGE, RW, object=objects.anonymous(10 * PAGE))
    space.map(B, 10 * PAGE, RW)
    space.write(B, bytes(10 * PAGE))
    child = space.fork()
    child.write(A, b"shared")
    saved = frames.save(), objects.save(), space.save(), child.save()
    assert is_plain(saved)
    assert {*saved[0].blocks} == {*frames._held()}
    assert all(page in frames.state.blocks or frames.blocks.holding(page) for page in saved[2].own.values())
    child.free()
    space.free()
    frames.let_go()


# -- memory objects -------------------------------------------------------------------------------------


def test_anonymous_memory_is_shared_across_fork(space: Space, kernel: Kernel) -> None:
    number = space.objects.anonymous(40 * PAGE)
    space.map(A, 40 * PAGE, RW, object=number)
    space.write(A, b"one")
    child = space.fork()
    child.write(A + 30 * PAGE, b"two")
    child.write(A, b"uno")
    assert (space.read(A, 3), space.read(A + 30 * PAGE, 3)) == (b"uno", b"two")
    space.drop(A, 40 * PAGE)
    assert space.read(A, 3) == b"uno"
    space.unmap(A, 40 * PAGE)
    assert child.read(A, 3) == b"uno"
    assert audit(kernel) == []
    child.free()
    assert not space.objects.state.objects


def test_a_file_is_one_object(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * (2 * PAGE + 10))
    objects = space.objects
    opened = os.open(path, os.O_RDWR | os.O_APPEND)
    number = objects.of_file(opened, writable=True)
    space.map(A, 5 * PAGE, RW, object=number)
    assert objects.of_file(opened, writable=False) == number
    space.map(B, PAGE, READ, object=number, offset=PAGE)
    os.close(opened)
    child = space.fork()
    child.write(A + PAGE, b"new")
    assert space.read(B, 4) == b"newa"
    assert space.fault(A + 3 * PAGE, READ) == BEYOND_FILE
    with pytest.raises(SnapshotError, match="mapped for shared writing"):
        objects.save()
    space.sync(A, A + 5 * PAGE)
    assert path.read_bytes()[PAGE : PAGE + 4] == b"newa"
    info = path.stat()
    key = info.st_dev, info.st_ino
    objects.wrote(key, PAGE + 3, b"er" + bytes(2 * PAGE))
    assert child.read(A + PAGE, 6) == b"newer\0"
    assert space.fault(A + 3 * PAGE, READ) is None
    objects.resized(key, PAGE + 4)
    assert child.read(A + PAGE, 6) == b"newe\0\0"
    space.write(A, b"end")
    space.unmap(A, PAGE)
    assert path.read_bytes()[:4] == b"enda"
    child.write(A, b"last")
    child.free()
    space.unmap(0, 1 << 38)
    assert path.read_bytes()[:5] == b"lasta"
    assert not objects.state.objects
    assert not objects.state.files
    assert not objects._files


def test_a_file_that_was_opened_for_reading(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")
    opened = os.open(path, os.O_RDONLY)
    number = space.objects.of_file(opened, writable=False)
    space.map(A, PAGE, READ, object=number, may_write=False)
    os.close(opened)
    assert space.read(A, 5) == b"text\0"
    refused(EACCES, space.protect, A, PAGE, RW)
    assert is_plain(space.objects.save())


def entries(space: Space, *addresses: int) -> list[int]:
    """R, W and X of the entries."""
    return [space.table.raw_entry(va) & (sv39.R | sv39.W | sv39.X) for va in addresses]


def test_an_object_is_never_written_and_run_at_once(space: Space, kernel: Kernel) -> None:
    number = space.objects.anonymous(4 * PAGE)
    space.map(A, 4 * PAGE, RW, object=number)
    space.map(B, 4 * PAGE, READ | EXEC, object=number)
    child = space.fork()
    space.write(A, b"code")
    assert child.fault(B, EXEC) is None
    assert entries(space, A) == [0], "in every space"
    assert entries(child, B) == [sv39.R | sv39.X]
    pa = sv39.pte_address(child.table.raw_entry(B))
    assert kernel.memory.is_executable(pa)
    assert space.fault(A, WRITE) is None
    assert entries(child, B) == [0]
    assert entries(space, A) == [sv39.R | sv39.W]
    assert not kernel.memory.is_executable(pa)
    assert child.fault(B, READ) is None
    assert entries(child, B) == [sv39.R]
    space.protect(A, PAGE, READ | WRITE | EXEC)
    assert space.fault(A, EXEC) is None
    assert entries(space, A) == [sv39.R | sv39.X]
    child.free()


def test_a_private_mapping_copies_what_is_written(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * PAGE + b"b" * PAGE + b"c")
    with path.open("r+b") as file:
        number = space.objects.of_file(file.fileno())
        space.map(A, 4 * PAGE, RW, object=number, copies=True)
        shared = space.objects.of_file(file.fileno(), writable=True)
        assert shared == number
        space.map(B, PAGE, RW, object=shared)
    assert space.read(A, 2) == b"aa"
    space.write(A, b"X")
    child = space.fork()
    child.write(A + 1, b"Y")
    assert (space.read(A, 3), child.read(A, 3), child.read(B, 3)) == (b"Xaa", b"XYa", b"aaa")
    space.write(B + 1, b"s")
    assert space.read(A, 3) == b"Xaa", "it was copied before"
    space.drop(A, PAGE)
    assert space.read(A, 3) == b"asa"
    assert space.fault(A + 3 * PAGE, READ) == BEYOND_FILE
    child.free()
    space.unmap(A, 4 * PAGE)
    space.unmap(B, PAGE)
    assert path.read_bytes()[:3] == b"asa"


def test_what_is_cut_off_is_gone_from_all_spaces(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * PAGE))
    with path.open("r+b") as file:
        number = space.objects.of_file(file.fileno(), writable=True)
    space.map(A, 3 * PAGE, RW, object=number)
    space.map(B, 3 * PAGE, RW, object=number, copies=True)
    for at in range(3):
        space.write(A + at * PAGE, b"shared")
        space.write(B + at * PAGE, b"mine")
    child = space.fork()
    assert child.read(A + 2 * PAGE, 6) == b"shared"
    os.truncate(path, 10)
    info = path.stat()
    space.objects.resized((info.st_dev, info.st_ino), 10)
    for one in (space, child):
        for va in (A + PAGE, A + 2 * PAGE, B + PAGE):
            assert one.fault(va, READ) == BEYOND_FILE
        assert one.read(A, 7) == b"shared\0"
        assert one.read(B, 4) == b"mine"
    child.free()


def test_what_was_written_goes_to_the_file_once(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000 * PAGE))
    with path.open("r+b") as file:
        number = space.objects.of_file(file.fileno(), writable=True)
    space.map(A, 1000 * PAGE, RW, object=number)
    space.write(A, b"x" * (1000 * PAGE))
    written: list[int] = []
    write = space.objects._write
    monkeypatch.setattr(space.objects, "_write", lambda *call: (written.append(call[2]), write(*call)))
    info = path.stat()
    key = info.st_dev, info.st_ino
    space.objects.sync_file(key)
    assert len(written) == 1000
    written.clear()
    space.objects.sync_file(key)
    assert written == []
    for text in (b"1", b"2"):
        space.write(A + 5 * PAGE, text)
        space.objects.sync_file(key)
        assert path.read_bytes()[5 * PAGE : 5 * PAGE + 2] == text + b"x"
    assert written == [5 * PAGE] * 2
    space.objects.sync_file(key)
    assert not space.objects.of(number).written
    assert entries(space, A + 5 * PAGE) == [0], "so that the next store is seen"
    space.write(A + 5 * PAGE, b"3")
    space.unmap(A, 1000 * PAGE)
    assert path.read_bytes()[5 * PAGE : 5 * PAGE + 1] == b"3"


def test_a_file_that_nobody_maps_is_kept_until_it_changes(space: Space, tmp_path: Path) -> None:
    path, objects = tmp_path / "program", space.objects
    path.write_bytes(b"one" * 3000)

    def show() -> bytes:
        with path.open("rb") as file:
            number = objects.of_file(file.fileno())
        with objects.kept(number):
            objects.fill(number, 0, 9000)
            space.map(A, 3 * PAGE, READ | EXEC, object=number, copies=True)
        text = space.read(A, 3)
        pages.append(sv39.pte_address(space.table.raw_entry(A)))
        space.unmap(A, 3 * PAGE)
        assert space.memory.is_executable(pages[-1]), "what was translated holds for the next one"
        return text

    pages: list[int] = []
    assert (show(), show()) == (b"one", b"one")
    assert pages[0] == pages[1]
    path.write_bytes(b"two" * 3000)
    os.utime(path, ns=(1, 1))
    assert show() == b"two"
    assert len(objects.state.unused) == 1
    free = space.kernel.blocks.free_pages
    assert objects.drop_unused()
    assert space.kernel.blocks.free_pages > free
    assert not objects._files


def test_unused_files_are_few(space: Space, tmp_path: Path) -> None:
    for number in range(MOST_UNUSED + 5):
        path = tmp_path / str(number)
        path.write_bytes(b"x")
        with path.open("rb") as file, space.objects.kept(space.objects.of_file(file.fileno())):
            pass
    assert len(space.objects.state.unused) == len(space.objects._files) == MOST_UNUSED


def test_unused_files_make_room(kernel: Kernel, tmp_path: Path) -> None:
    space = Space(kernel)
    path = tmp_path / "file"
    path.write_bytes(b"x" * (200 * PAGE))
    with path.open("rb") as file:
        number = space.objects.of_file(file.fileno())
    with space.objects.kept(number):
        space.objects.fill(number, 0, 200 * PAGE)
    assert space.objects.state.unused
    space.map(A, 100 << 20, RW)
    with pytest.raises(OutOfMemory):
        space.write(A, bytes(100 << 20))
    assert not space.objects.state.unused
    space.free()


def test_what_a_child_has_of_an_area(space: Space) -> None:
    space.map(A, 4 * PAGE, RW)
    space.write(A, b"x" * (4 * PAGE))
    space.at_fork(A + PAGE, PAGE, NOT_IN_CHILD, WIPED_IN_CHILD)
    space.at_fork(A + 2 * PAGE, PAGE, WIPED_IN_CHILD, NOT_IN_CHILD)
    child = space.fork()
    assert child.fault(A + PAGE, READ) == UNMAPPED
    assert [child.read(A + at * PAGE, 1) for at in (0, 2, 3)] == [b"x", b"\0", b"x"]
    assert space.read(A + 2 * PAGE, 1) == b"x"
    child.free()


def test_what_is_near_in_ram_is_mapped_too(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(40 * PAGE))
    with path.open("rb") as file:
        number = space.objects.of_file(file.fileno())
    with space.objects.kept(number):
        space.objects.fill(number, 0, 40 * PAGE)
        space.map(A, 40 * PAGE, READ | EXEC, object=number, copies=True)
    assert space.fault(A + 20 * PAGE, READ) is None
    assert [bool(space.table.raw_entry(A + at * PAGE)) for at in range(40)] == [
        16 <= at < 32 for at in range(40)
    ]


# -- mremap ---------------------------------------------------------------------------------------------


def test_a_mapping_grows_where_it_is(space: Space) -> None:
    space.map(A, 4 * PAGE, RW)
    space.write(A, b"here")
    assert mremap(space, A, 4 * PAGE, 9 * PAGE, 0, 0) == A
    space.write(A + 8 * PAGE, b"there")
    assert mremap(space, A, 9 * PAGE, 2 * PAGE, 0, 0) == A
    assert not space.overlaps(A + 2 * PAGE, A + 9 * PAGE)
    space.map(A + 2 * PAGE, PAGE, READ)
    refused(ENOMEM, mremap, space, A, 2 * PAGE, 3 * PAGE, 0, 0)
    assert space.read(A, 4) == b"here"


def test_a_mapping_moves_with_its_pages(space: Space, kernel: Kernel) -> None:
    space.map(A, 600 * PAGE, RW)
    space.map(A + 600 * PAGE, PAGE, READ)
    space.write(A, bytes(range(200)) * 3 * PAGE)
    pages = list(space.state.own.values())
    to = mremap(space, A, 600 * PAGE, 700 * PAGE, MAYMOVE, 0)
    assert to != A
    assert not space.overlaps(A, A + 600 * PAGE)
    assert list(space.state.own.values()) == pages
    assert space.read(to, 600 * PAGE) == bytes(range(200)) * 3 * PAGE
    assert space.read(to + 699 * PAGE, PAGE) == bytes(PAGE)
    assert mremap(space, to, 700 * PAGE, PAGE, MAYMOVE | FIXED, B) == B
    assert space.read(B, 3) == bytes(range(3))
    assert len(space.state.own) == 1


def test_an_object_moves(space: Space) -> None:
    number = space.objects.anonymous(4 * PAGE)
    space.map(A, 4 * PAGE, RW, object=number)
    space.write(A + PAGE, b"kept")
    assert mremap(space, A, 4 * PAGE, 4 * PAGE, MAYMOVE | FIXED, B) == B
    assert space.read(B + PAGE, 4) == b"kept"
    assert mremap(space, B, 4 * PAGE, 5 * PAGE, 0, 0) == B
    assert space.fault(B + 4 * PAGE, READ) == BEYOND_FILE
    space.unmap(B, 5 * PAGE)
    assert not space.objects.state.objects


def test_what_mremap_refuses(space: Space) -> None:
    space.map(A, 4 * PAGE, RW)
    for flags in (4, 8, FIXED, 1 << 40, MAYMOVE | 4):
        refused(EINVAL, mremap, space, A, PAGE, 2 * PAGE, flags, 0)
    refused(EINVAL, mremap, space, A + 1, PAGE, PAGE, 0, 0)
    refused(EINVAL, mremap, space, A, PAGE, 0, 0, 0)
    refused(EINVAL, mremap, space, A, 2 * PAGE, 2 * PAGE, MAYMOVE | FIXED, A + PAGE)
    refused(EINVAL, mremap, space, A, PAGE, PAGE, MAYMOVE | FIXED, (1 << 38) - 1)
    refused(EFAULT, mremap, space, A + 4 * PAGE, PAGE, 2 * PAGE, MAYMOVE, 0)
    refused(EFAULT, mremap, space, A, 5 * PAGE, 6 * PAGE, MAYMOVE, 0)
    refused(ENOMEM, mremap, space, A, 4 * PAGE, 1 << 60, MAYMOVE, 0)


# -- /proc/PID/maps -------------------------------------------------------------------------------------


def test_what_maps_shows(space: Space) -> None:
    space.map(A, PAGE, READ | EXEC, name="/bin/program")
    space.map(A + PAGE, PAGE, RW, name="[heap]")
    space.map(A + 2 * PAGE, PAGE, RW, name="[heap]")
    space.map(B, PAGE, RW, object=space.objects.anonymous(PAGE))
    assert [line.split() for line in space.maps().splitlines()] == [
        ["10000000-10001000", "r-xp", "00000000", "00:00", "0", "/bin/program"],
        ["10001000-10003000", "rw-p", "00000000", "00:00", "0", "[heap]"],
        ["20000000-20001000", "rw-s", "00000000", "00:00", "0"],
    ]


def test_whoever_writes_on_gets_more_copies_at_a_time(space: Space, kernel: Kernel) -> None:
    space.map(A, 1000 * PAGE, RW)
    space.write(A, b"x" * (1000 * PAGE))
    child = space.fork()
    faults = 0
    for at in range(1000):
        if not child.table.raw_entry(A + at * PAGE) & sv39.W:
            assert child.fault(A + at * PAGE, WRITE) is None
            faults += 1
    assert faults < 40
    child.write(A, bytes(1000 * PAGE))
    assert space.read(A, 1000 * PAGE) == b"x" * (1000 * PAGE)
    assert audit(kernel) == []
    child.free()
    assert not space.frames.state.users
