"""Loading a host program: what is refused, and in which words; the good ones are in the other files."""

import struct
from errno import ENOENT
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.errors import ElfError, PltvmError
from pltvm.host.linux import program as module
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import Image
from pltvm.host.linux.runner import run_program
from pltvm.host.linux.start_stack import DEFAULT_ENVIRONMENT
from tests.host import elf_bombs as bombs
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Segment

HOST = (guest.guest_dir() / "elf" / "host" / "musl" / "host").read_bytes()
TEXT = Segment(0x10000, CODE)
MIB = 1 << 20


def run(data: bytes, tmp_path: Path, *arguments: str) -> None:
    path = tmp_path / "program"
    path.write_bytes(data)
    machine = Machine(64 * MIB)
    free = machine.kernel.blocks.free_pages
    try:
        run_program(machine.driver, path, arguments, root=tmp_path, timeout=5)
    finally:
        assert machine.kernel.blocks.free_pages == free


def no_file(_path: bytes) -> Image:
    raise LinuxError(ENOENT)


def elf(*segments: Segment, entry: int = 0x10000, **more: object) -> bytes:
    return bytes(Elf(list(segments), None, entry=entry, **more))  # type: ignore[arg-type]


LOAD, STORE, JUMP = 0x0005_2583, 0x00B5_2023, 0x0005_00E7  # lw a1, (a0); sw a1, (a0); jalr a0


@pytest.mark.parametrize("flags", [0, 1, 4, 5, 6, 7])
@pytest.mark.parametrize(("access", "needed"), [(LOAD, 4), (STORE, 2), (JUMP, 1)])
def test_a_segment_may_be_used_as_its_flags_say(tmp_path: Path, flags: int, access: int, needed: int) -> None:
    code = struct.pack("<5I", 0x0002_0537, access, 0x0070_0513, 0x05D0_0893, 0x73)  # lui a0; …; exit(7)
    data = Segment(0x20000, struct.pack("<I", 0x0000_8067), flags)  # ret
    path = tmp_path / "program"
    path.write_bytes(elf(Segment(0x10000, code), data))
    result = run_program(Machine(64 * MIB).driver, path, (), root=tmp_path, timeout=5)
    assert (result.exit_code == 7) == bool(flags & needed)


@pytest.mark.parametrize("kind", [s.ET_EXEC, s.ET_DYN])
@pytest.mark.parametrize(
    "entry", [2**64 - 1, 2**64 - 0x2A_0000_0000, 1 << 63, 1 << 38, 0, 0xFFFF, 0x10000 + len(CODE)]
)
def test_an_entry_outside_of_what_is_loaded(tmp_path: Path, entry: int, kind: int) -> None:
    with pytest.raises(ElfError, match=rf"entry point {entry:#x} is outside every loaded segment$"):
        run(elf(TEXT, entry=entry, type=kind), tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (elf(), "has no segment to load"),
        (elf(Segment(0x10000, b"")), "has no segment to load"),
        (elf(TEXT, Segment(0x20000, CODE, memory_size=4)), "more bytes in the file than in memory"),
        (elf(TEXT, Segment(0x20000, CODE, offset=1 << 63)), "is truncated"),
        (elf(TEXT, Segment(0x20000, CODE, file_size=4096)), "is truncated"),
        (elf(TEXT, type=s.ET_CORE), "is not an executable"),
        (elf(TEXT, type=s.ET_REL), "is not an executable"),
        (
            elf(TEXT, Segment(0x10000, b"/lib/ld.so\0", type=s.PT_INTERP)),
            "needs /lib/ld.so, which its root lacks (No such file or directory): link it with -static, or",
        ),
        (elf(TEXT, Segment(0, b"d", type=s.PT_DYNAMIC), entry=0, type=s.ET_DYN), "is a shared library"),
        (elf(TEXT, Segment(0x8000, CODE)), "out of order or outside user memory"),
        (elf(TEXT, Segment(2**64 - 4096, CODE)), "out of order or outside user memory"),
        (elf(TEXT, Segment(0x20000, CODE, memory_size=2**64 - 1)), "out of order or outside user memory"),
        (elf(TEXT, Segment(0x30_0000_0000, CODE)), "out of order or outside user memory"),
        (elf(TEXT, machine=62), "is built for x86-64"),
        (HOST[:3000], "is truncated"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ElfError) as caught:
        run(data, tmp_path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'program'}: ")
    assert "\n" not in str(caught.value)


def test_headers_that_name_more_than_they_may(tmp_path: Path) -> None:
    size = 40 * MIB
    path = tmp_path / "big"
    bombs.shared_bytes(path, 1, size)
    segments = [Segment(0x1000_0000 + n * size, flags=s.R, offset=4096, file_size=size) for n in range(30)]
    head = elf(*segments, entry=0x1000_0000)
    with path.open("r+b") as file:
        file.write(head)
    machine = Machine(64 * MIB)
    with pytest.raises(ElfError, match=r"names 1200 MiB of its bytes; at most 1024 MiB are accepted"):
        run_program(machine.driver, path, root=tmp_path)


def test_a_huge_bss_costs_nothing(tmp_path: Path) -> None:
    """It is there when it is touched; this program never does."""
    run(elf(TEXT, Segment(0x20000, CODE, s.RW, memory_size=15 << 30)), tmp_path)


def test_more_arguments_than_a_stack_has_room_for(tmp_path: Path) -> None:
    with pytest.raises(PltvmError, match="arguments of the program have more than 2 MiB"):
        run(HOST, tmp_path, *["x" * 100_000] * 22)


def test_segments_on_one_page_get_what_both_need(tmp_path: Path) -> None:
    machine = Machine(64 * MIB)
    space = module.Space(machine.kernel)
    data = elf(Segment(0x10000, CODE), Segment(0x10800, b"data", s.RW, memory_size=0x2000))
    entry, stack = module.load_program(
        space, Image(data), [b"a", b"bc"], [b"X=1", b"Y="], bytes(range(16)), no_file
    )
    assert entry == 0x10000
    assert space.read(0x10000, len(CODE)) == CODE
    assert space.read(0x10800, 6) == b"data\0\0"
    assert space.area(0x10000).prot == module.READ | module.WRITE | module.EXEC
    assert space.area(0x11000).prot == module.READ | module.WRITE
    assert space.state.break_start == space.state.break_end == 0x13000
    count, first, second, end = struct.unpack("<4Q", space.read(stack, 32))
    assert (count, end, stack % 16) == (2, 0, 0)
    assert (space.string(first), space.string(second)) == (b"a", b"bc")
    vector = _vector(space, stack + 32)
    expected = {
        3: 0,
        4: 56,
        5: 2,
        6: 4096,
        7: 0,
        8: 0,
        9: 0x10000,
        11: 0,
        12: 0,
        13: 0,
        14: 0,
        17: 100,
        23: 0,
    }
    assert {key: vector[key] for key in expected} == expected
    variables = struct.unpack("<3Q", space.read(stack + 32, 24))
    assert [space.string(at) for at in variables[:2]] == [b"X=1", b"Y="]
    assert variables[2] == 0
    assert space.read(vector[25], 16) == bytes(range(16))
    assert space.string(vector[31]) == b"a"
    space.free()


def test_a_position_independent_program_is_moved_as_a_whole(tmp_path: Path) -> None:
    machine = Machine(64 * MIB)
    space = module.Space(machine.kernel)
    data = elf(Segment(0, bytes(64 + 56) + CODE, offset=0), entry=120, type=s.ET_DYN)
    entry, stack = module.load_program(space, Image(data), [b"a"], DEFAULT_ENVIRONMENT, bytes(16), no_file)
    assert entry == module.PIE_BASE + 120
    vector = _vector(space, stack + 24)
    assert (vector[9], vector[3]) == (entry, module.PIE_BASE + 64)  # AT_ENTRY, AT_PHDR
    space.free()


def _vector(space: "module.Space", at: int) -> dict[int, int]:
    """The auxiliary vector behind the environment that starts at `at`."""
    while int.from_bytes(space.read(at, 8), "little"):
        at += 8
    found = {}
    while True:
        at += 8
        key, value = struct.unpack("<2Q", space.read(at, 16))
        if not key:
            assert not value
            return found
        found[key] = value
        at += 8
