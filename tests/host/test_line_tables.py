"""pltvm.host.line_tables: the rows that pyelftools finds too, and every way in which a table can be odd."""

import io
import posixpath
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pltvm.build import guest
from pltvm.host.symbols import Symbols
from tests.host import elf_bombs as bombs
from tests.host.elf_bombs import ABBREV, debug_elf

ELVES = sorted((guest.guest_dir() / "elf").glob("*.elf"))
_OPCODES = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])


def rows_by_pyelftools(data: bytes) -> set[tuple[int, int, str, int]]:
    """The rows of the files that clang makes: DWARF 4, directories in the table relative to the unit's."""
    dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info()
    found = set()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        folder = unit.get_top_DIE().attributes["DW_AT_comp_dir"].value
        directories, files = program["include_directory"], program["file_entry"]
        old = program["version"] < 5
        states = [entry.state for entry in program.get_entries() if entry.state is not None]
        start, dropped = True, False
        for now, after in pairwise(states):
            if start:
                dropped = now.address == 0
            start = now.end_sequence
            if now.end_sequence or dropped or not now.line or now.address >= after.address:
                continue
            file = files[now.file - old]
            place = [folder, *directories] if old else directories
            path = posixpath.normpath(posixpath.join(place[0], place[file["dir_index"]], file["name"]))
            found.add((now.address, after.address, path.decode(), now.line))
    return found


@pytest.mark.parametrize("path", ELVES, ids=lambda path: path.stem)
def test_real_enclaves_have_the_rows_that_pyelftools_finds(path: Path) -> None:
    assert {tuple(row) for row in Symbols(path).lines()} == rows_by_pyelftools(path.read_bytes())


def table(
    program: bytes, version: int = 4, base: int = 0xFB, opcodes: bytes = _OPCODES, span: int = 14
) -> bytes:
    """A line table up to DWARF 4 of "f.c" with this program; one more file is "d/g.c"."""
    header = (
        bytes([1]) + (b"\x01" if version >= 4 else b"") + bytes([1, base, span, len(opcodes) + 1]) + opcodes
    )
    header += b"d\0\0" + b"f.c\0\0\0\0" + b"g.c\0\1\0\0" + b"\0"
    unit = struct.pack("<HI", version, len(header)) + header + program
    return struct.pack("<I", len(unit)) + unit


def lines_of(program: bytes, **more: object) -> list[tuple[int, int, str, int]]:
    line = table(program, **more)  # type: ignore[arg-type]
    data = debug_elf(debug_info=bombs.units(1), debug_abbrev=ABBREV, debug_line=line)
    return [tuple(row) for row in Symbols(data).lines()]


SET = b"\0\x09\x02" + struct.pack("<Q", 0x1000)  # address = 0x1000
COPY, END = b"\x01", b"\0\x01\x01"


@pytest.mark.parametrize(
    ("program", "rows"),
    [
        (SET + COPY + b"\x02\x08" + END, [(0x1000, 0x1008, "f.c", 1)]),
        (SET + COPY + b"\x02\x88\x01" + END, [(0x1000, 0x1088, "f.c", 1)]),  # a number of two bytes
        (SET + b"\x03\x0a" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "f.c", 11)]),
        (SET + b"\x03\x80\x01\x03\x7f" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "f.c", 128)]),
        (SET + COPY + b"\x08" + END, [(0x1000, 0x1011, "f.c", 1)]),  # const_add_pc: (255 − 13) // 14
        (SET + COPY + b"\x09\x34\x12" + END, [(0x1000, 0x2234, "f.c", 1)]),
        (SET + b"\x04\x02" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "d/g.c", 1)]),
        (SET + b"\x04\x09" + COPY + b"\x02\x04" + END, []),  # there is no file 9
        (SET + b"\x05\x07\x06\x07\x0a\x0b\x0c\x01" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "f.c", 1)]),
        (SET + b"\0\x05\x04\1\2\3\4" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "f.c", 1)]),
        (SET + b"\0\x08\x03h.c\0\1\0\0\x04\x03" + COPY + b"\x02\x04" + END, [(0x1000, 0x1004, "d/h.c", 1)]),
        (SET + bytes([13 + 6 + 14 * 4]) + bytes([13 + 5 + 14 * 2]) + END, [(0x1004, 0x1006, "f.c", 2)]),
        (SET + COPY + b"\x02\x04" + END + SET + COPY + b"\x02\x02" + END,  # a new sequence begins with line 1
         [(0x1000, 0x1002, "f.c", 1), (0x1000, 0x1004, "f.c", 1)]),
        (b"\x02\0" + COPY + b"\x02\x04" + END, []),  # from address 0 on: dropped by the linker
        (SET + b"\x03\x7f" + COPY + b"\x02\x04" + END, []),  # line 0: no line
        (SET + COPY + SET + COPY + END, []),  # no bytes
        (SET + COPY + b"\x02\x04" + COPY + b"\0\0" + END, [(0x1000, 0x1004, "f.c", 1)]),  # damaged after that
        (SET + COPY + b"\x02\x04" + COPY + b"\x02\x80", [(0x1000, 0x1004, "f.c", 1)]),  # cut off
    ],
)  # fmt: skip
def test_programs(program: bytes, rows: list[tuple[int, int, str, int]]) -> None:
    assert lines_of(program) == rows
    assert lines_of(program, version=3) == rows


def test_a_line_table_whose_opcodes_are_not_the_usual_ones() -> None:
    program = SET + COPY + b"\x0d\x85\x01\x02" + b"\x02\x04" + END  # opcode 13 with two arguments, unknown
    assert lines_of(program, opcodes=_OPCODES + b"\x02") == [(0x1000, 0x1004, "f.c", 1)]
    assert lines_of(SET + COPY + b"\x02\x04" + END, span=0) == []


def test_damage_in_one_table_leaves_the_next() -> None:
    good = table(SET + COPY + b"\x02\x04" + END)
    bad = table(SET + COPY + b"\x02\x04" + END, version=9)
    body = struct.pack("<HIB", 4, 0, 8) + b"\x01"
    units = b"".join(
        struct.pack("<I", len(body) + 4) + body + struct.pack("<I", at) for at in (0, 0xFFFF, len(bad))
    )
    data = debug_elf(debug_info=units, debug_abbrev=ABBREV, debug_line=bad + good)
    assert [tuple(row) for row in Symbols(data).lines()] == [(0x1000, 0x1004, "f.c", 1)]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (0x01, bytes(8)), (0x03, b"\2\0ab"), (0x04, b"\1\0\0\0a"), (0x05, bytes(2)), (0x06, bytes(4)),
        (0x07, bytes(8)), (0x08, b"text\0"), (0x09, b"\3abc"), (0x0A, b"\1a"), (0x0B, b"x"),
        (0x0C, b"\1"), (0x0D, b"\xff\1"), (0x0E, bytes(4)), (0x0F, b"\x81\1"), (0x10, bytes(4)),
        (0x11, b"x"), (0x12, bytes(2)), (0x13, bytes(4)), (0x14, bytes(8)), (0x15, b"\1"),
        (0x16, b"\x0b\1"), (0x17, bytes(4)), (0x18, b"\2ab"), (0x19, b""), (0x1A, b"\1"),
        (0x1B, b"\1"), (0x1C, bytes(4)), (0x1D, bytes(4)), (0x1E, bytes(16)), (0x1F, bytes(4)),
        (0x20, bytes(8)), (0x22, b"\1"), (0x23, b"\1"), (0x24, bytes(8)), (0x25, b"x"),
        (0x26, bytes(2)), (0x27, bytes(3)), (0x28, bytes(4)), (0x29, b"x"), (0x2A, bytes(2)),
        (0x2B, bytes(3)), (0x2C, bytes(4)),
    ],
)  # fmt: skip
def test_every_form_before_what_is_wanted_is_gone_past(form: int, value: bytes) -> None:
    abbrev = bytes([1, 0x11, 0, 0x03, form, 0x10, 0x17, 0, 0, 0])
    body = struct.pack("<HIB", 4, 0, 8) + b"\x01" + value + bytes(4)
    data = debug_elf(
        debug_info=struct.pack("<I", len(body)) + body,
        debug_abbrev=abbrev,
        debug_line=table(SET + COPY + b"\x02\x04" + END),
    )
    assert [tuple(row) for row in Symbols(data).lines()] == [(0x1000, 0x1004, "f.c", 1)]


@pytest.mark.parametrize("form", ["string", "strp", "line_strp"])
def test_the_directory_that_was_compiled_in(form: str) -> None:
    number = {"string": 0x08, "strp": 0x0E, "line_strp": 0x1F}[form]
    value = b"/src\0" if form == "string" else struct.pack("<I", 3)
    abbrev = bytes([1, 0x11, 0, 0x1B, number, 0x10, 0x17, 0, 0, 0])
    body = struct.pack("<HIB", 4, 0, 8) + b"\x01" + value + bytes(4)
    data = debug_elf(
        debug_info=struct.pack("<I", len(body)) + body,
        debug_abbrev=abbrev,
        debug_line=table(SET + b"\x04\x02" + COPY + b"\x02\x04" + END),
        debug_str=b"no\0/src\0",
        debug_line_str=b"no\0/src\0",
    )
    assert [row.name for row in Symbols(data).lines()] == ["/src/d/g.c"]


def test_the_format_with_wide_offsets() -> None:
    header = bytes([1, 1, 1, 0xFB, 14, 13]) + _OPCODES + b"\0" + b"f.c\0\0\0\0" + b"\0"
    line = struct.pack("<HQ", 4, len(header)) + header + SET + COPY + b"\x02\x04" + END
    line = b"\xff" * 4 + struct.pack("<Q", len(line)) + line
    body = struct.pack("<HQB", 4, 0, 8) + b"\x01" + bytes(8)
    data = debug_elf(
        debug_info=b"\xff" * 4 + struct.pack("<Q", len(body)) + body, debug_abbrev=ABBREV, debug_line=line
    )
    assert [tuple(row) for row in Symbols(data).lines()] == [(0x1000, 0x1004, "f.c", 1)]


def test_numbers_at_their_ends() -> None:
    padded = SET + COPY + b"\x02" + b"\x88" + b"\x80" * 14 + b"\0" + END  # 8, in as many bytes as are taken
    assert lines_of(padded) == [(0x1000, 0x1008, "f.c", 1)]
    longer = SET + COPY + b"\x02\x04" + COPY + b"\x02" + b"\x88" + b"\x80" * 15 + b"\0" + END
    assert lines_of(longer) == [(0x1000, 0x1004, "f.c", 1)]
    far = SET + b"\x03" + b"\xff" * 9 + b"\x01" + b"\x03\x09" + COPY + b"\x02\x04" + END  # line −1 + 9
    assert lines_of(far) == [(0x1000, 0x1004, "f.c", 9)]
    assert lines_of(SET + b"\x04\x03" + COPY + b"\x02\x04" + END) == []  # two files, and number 3


def test_the_base_of_lines_is_signed() -> None:
    program = SET + b"\x03\xc8\x01" + bytes([13 + 5]) + b"\x02\x04" + END  # 1 + 200 + base + 5
    assert lines_of(program, base=0x80) == [(0x1000, 0x1004, "f.c", 78)]
    assert lines_of(program, base=0x7F) == [(0x1000, 0x1004, "f.c", 333)]


@pytest.mark.parametrize(("version", "read"), [(1, False), (2, True), (3, True), (4, True), (6, False)])
def test_versions(version: int, read: bool) -> None:
    rows = [(0x1000, 0x1004, "f.c", 1)]
    program = SET + COPY + b"\x02\x04" + END
    assert lines_of(program, version=version) == (rows if read else [])
    unit = struct.pack("<HIB", version, 0, 8) + b"\x01" + bytes(4)
    data = debug_elf(
        debug_info=struct.pack("<I", len(unit)) + unit, debug_abbrev=ABBREV, debug_line=table(program)
    )
    assert [tuple(row) for row in Symbols(data).lines()] == (rows if read else [])


def dwarf5(
    directories: bytes, files: bytes, file: int = 1, version: int = 5, kind: bytes = b"\x01"
) -> list[str]:
    """The names in the rows of a table of DWARF 5; `kind` is the unit's, with what follows it."""
    header = bytes([1, 1, 1, 0xFB, 14, 13]) + _OPCODES + directories + files
    program = SET + bytes([4, file]) + COPY + b"\x02\x04" + END
    line = struct.pack("<HBBI", version, 8, 0, len(header)) + header + program
    line = struct.pack("<I", len(line)) + line
    unit = struct.pack("<H", version) + kind[:1] + b"\x08" + bytes(4) + kind[1:] + b"\x01" + bytes(4)
    data = debug_elf(
        debug_info=struct.pack("<I", len(unit)) + unit,
        debug_abbrev=ABBREV,
        debug_line=line,
        debug_str=b"-\0/str\0g.c\0",
        debug_line_str=b"--\0/line\0h.c\0",
    )
    return [row.name for row in Symbols(data).lines()]


MD5 = bytes(range(16))
PLAIN_DIRECTORIES = b"\1\1\x08\2/src\0sub\0"


@pytest.mark.parametrize(
    ("directories", "files", "name"),
    [
        (PLAIN_DIRECTORIES, b"\2\1\x08\2\x0b\2a.c\0\0b.c\0\1", "/src/sub/b.c"),  # directory: data1
        (PLAIN_DIRECTORIES, b"\2\1\x08\2\x05\2a.c\0\0\0b.c\0\1\0", "/src/sub/b.c"),  # data2
        (PLAIN_DIRECTORIES, b"\2\1\x08\2\x0f\2a.c\0\0b.c\0\x81\0", "/src/sub/b.c"),  # udata
        (PLAIN_DIRECTORIES, b"\2\1\x08\2\x0f\2a.c\0\0b.c\0\x02", "b.c"),  # there is no directory 2
        (PLAIN_DIRECTORIES, b"\2\2\x0b\1\x08\2\0a.c\0\1b.c\0", "/src/sub/b.c"),  # the other way round
        (PLAIN_DIRECTORIES, b"\3\1\x08\2\x0b\5\x1e\2a.c\0\0" + MD5 + b"b.c\0\1" + MD5, "/src/sub/b.c"),
        (PLAIN_DIRECTORIES, b"\3\1\x08\2\x0b\3\x0f\2a.c\0\0\7b.c\0\1\x87\1", "/src/sub/b.c"),  # and its time
        (b"\1\1\x0e\1\2\0\0\0", b"\2\1\x0e\2\x0b\2\7\0\0\0\0\7\0\0\0\0", "/str/g.c"),
        (b"\1\1\x1f\1\3\0\0\0", b"\2\1\x1f\2\x0b\2\x09\0\0\0\0\x09\0\0\0\0", "/line/h.c"),
        (b"\0\0", b"\2\1\x08\2\x0b\2a.c\0\0b.c\0\0", "b.c"),  # no directories at all
    ],
)  # fmt: skip
def test_lists_of_dwarf_5(directories: bytes, files: bytes, name: str) -> None:
    assert dwarf5(directories, files) == [name]


def test_units_of_dwarf_5() -> None:
    files = b"\2\1\x08\2\x0b\2a.c\0\0b.c\0\1"
    assert dwarf5(PLAIN_DIRECTORIES, files, file=0) == ["/src/a.c"]
    assert dwarf5(PLAIN_DIRECTORIES, files, file=2) == []
    assert dwarf5(PLAIN_DIRECTORIES, files, version=6) == []
    for kind in (4, 5):  # skeleton and split units have an id of eight bytes
        assert dwarf5(PLAIN_DIRECTORIES, files, kind=bytes([kind]) + bytes(8)) == ["/src/sub/b.c"]
