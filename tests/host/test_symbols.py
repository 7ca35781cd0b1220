"""pltvm.host.symbols: names and lines for program counters, from whatever a file has."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.host import symbols as module
from pltvm.host.symbols import Location, Symbols
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Section, Segment

FUNC, OBJECT, NOTYPE = 2, 1, 0
SYMBOLS = [
    ("_start", 0x1000, 0, NOTYPE, 1),
    ("$x", 0x1000, 0, NOTYPE, 1),
    ("main", 0x1010, 0x20, FUNC, 1),
    ("loop", 0x1018, 0, NOTYPE, 1),
    ("buffer", 0x2000, 0x40, OBJECT, 2),
    ("_end", 0x2040, 0, NOTYPE, 2),
    ("constant", 0x1020, 0, NOTYPE, 0xFFF1),
]


def uleb(value: int) -> bytes:
    assert value < 128
    return bytes([value])


def line_table(version: int, address: int, *, directories: bytes | None = None) -> bytes:
    """A line table for "caller.c": line 42 from `address`, line 43 from 8 on, ends at 16 bytes."""
    opcodes = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
    rest = (
        bytes([1, 1, 1, 0xFB, 14, 13]) + opcodes
    )  # min. length, max. ops, is_stmt, line base, range, opcodes
    if version >= 5:
        path = bytes([1, 1, 8])  # one column: a path, as a string
        rest += (path + uleb(1) + b"/src\0") if directories is None else directories
        rest += path + uleb(1) + b"sub/caller.c\0"
    else:
        rest += b"\0" + b"sub/caller.c\0" + bytes(3) + b"\0"
    program = b"\0\x09\x02" + struct.pack("<Q", address)
    program += (b"\x04\0" if version >= 5 else b"") + b"\x03\x29\x01"  # file 0 or 1, line += 41, copy
    program += b"\x02\x08\x03\x01\x01" + b"\x02\x08" + b"\0\x01\x01"
    header = struct.pack("<H", version) + (b"\x08\0" if version >= 5 else b"")
    body = header + struct.pack("<I", len(rest)) + rest + program
    return struct.pack("<I", len(body)) + body


def debug_sections(version: int, *tables: bytes) -> list[Section]:
    """.debug_line with the tables, and .debug_info with one compile unit for each."""
    abbrev = bytes([1, 0x11, 0, 0x10, 0x17, 0, 0, 0])  # DW_TAG_compile_unit: DW_AT_stmt_list, sec_offset
    info, lines = b"", b""
    for table in tables:
        head = b"\x01\x08" + bytes(4) if version >= 5 else bytes(4) + b"\x08"
        unit = struct.pack("<H", version) + head + b"\x01" + struct.pack("<I", len(lines))
        info += struct.pack("<I", len(unit)) + unit
        lines += table
    return [
        Section(name, s.SHT_PROGBITS, data=data, flags=0)
        for name, data in ((".debug_info", info), (".debug_abbrev", abbrev), (".debug_line", lines))
    ]


def sample(*debug: Section) -> bytes:
    sections = [
        Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(0x100)),
        Section(".bss", s.SHT_NOBITS, 0x2000, 0x100),
        *s.symbol_table(SYMBOLS, 3),
        *debug,
    ]
    return bytes(Elf([Segment(0x1000, CODE + bytes(0x100))], sections))


def at(data: bytes, pc: int) -> str:
    return str(Symbols(data).locate(pc))


@pytest.mark.parametrize(
    ("pc", "text"),
    [
        (0x1000, "_start"),
        (0x1004, "_start+0x4"),
        (0x1010, "main"),
        (0x101C, "main+0xc"),  # not loop+4: a function goes before a label in it
        (0x1038, "loop+0x20"),
        (0x2004, "buffer+0x4"),
        (0x2080, "_end+0x40"),
        (0x2100, "0x2100"),  # past the section: a label does not reach there
        (0x37_FFFF_FF00, "0x37ffffff00"),
        (0, "0x0"),
        (2**64 - 1, "0xffffffffffffffff"),
    ],
)
def test_symbols(pc, text):
    assert at(sample(), pc) == text


@pytest.mark.parametrize("version", [4, 5])
def test_lines(version):
    data = sample(*debug_sections(version, line_table(version, 0x1010)))
    assert at(data, 0x1010) == "main (caller.c:42)"
    assert at(data, 0x101C) == "main+0xc (caller.c:43)"
    assert at(data, 0x1020) == "main+0x10"
    assert at(data, 0x100C) == "_start+0xc"
    assert Symbols(data).locate(0x1014) == Location(0x1014, "main", 4, "sub/caller.c", 42)


def test_which_symbols_count():
    odd = [
        ("undefined", 0x1040, 8, FUNC, 0),
        ("absolute", 0x1040, 8, FUNC, 0xFFF1),
        ("last section", 0x1048, 8, FUNC, 5),
        ("no such section", 0x1050, 8, FUNC, 6),
        ("", 0x1058, 8, FUNC, 1),
        (".Llocal", 0x1060, 8, NOTYPE, 1),
        ("empty", 0x1100, 0, NOTYPE, 1),  # at the end of its section
        ("file", 0x1068, 8, 4, 1),
        ("one byte", 0x1070, 1, OBJECT, 1),
    ]
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(0x100))
    tables = s.symbol_table(odd, 3)
    found = Symbols(bytes(Elf(sections=[text, Section(".bss", addr=0x2000, size=8), *tables])))
    assert found.functions() == [(0x1048, 0x1050, "last section", 0)]
    assert found._file.tables.others == [(0x1070, 0x1071, "one byte", 0)]
    assert found.locate(0x1040) == Location(0x1040)
    assert found.locate(0x1070) == Location(0x1070, "one byte", 0)


def test_find():
    found = Symbols(sample())
    assert found.find("main") == (0x1010, 0x20)
    assert found.find("buffer") == (0x2000, 0x40)
    assert found.find("_start") == (0x1000, 0x100)  # a label reaches to the end of its section
    assert found.find("mai") is found.find("constant") is found.find("") is None


@pytest.mark.parametrize("link", [4, 5, 99, 2**32 - 1])
def test_a_table_without_names_has_no_symbols(link):
    table, names = s.symbol_table(SYMBOLS, 2)
    table.link = link  # 4: the names of sections, in which none of these begins where it should
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(0x100))
    found = Symbols(bytes(Elf(sections=[text, table, names])))
    assert found.find("main") is None
    assert found.note == ""


def test_long_names_are_cut_and_all_of_them_counted(monkeypatch):
    long = "n" * 5000
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(0x100))
    data = bytes(
        Elf(sections=[text, *s.symbol_table([(long, 0x1000, 8, FUNC, 1), ("f", 0x1008, 8, FUNC, 1)], 2)])
    )
    assert [len(one.name) for one in Symbols(data).functions()] == [4096, 1]
    monkeypatch.setattr(module, "MAX_NAMES", 4097)
    assert len(Symbols(data + b"1").functions()) == 2
    monkeypatch.setattr(module, "MAX_NAMES", 4096)
    found = Symbols(data + b"2")
    assert len(found.functions()) == 1
    assert found.note == "the names of its symbols have more than 0 MiB"


def test_files_that_are_kept_are_counted(monkeypatch):
    monkeypatch.setattr(module, "KEPT_FILES", 3)
    monkeypatch.setattr(module, "_shared", type(module._shared)())
    held = [Symbols(sample() + bytes([number])) for number in range(5)]
    assert [one.locate(0x1010).symbol for one in held] == [None, None, "main", "main", "main"]
    monkeypatch.setattr(module, "_shared", type(module._shared)())
    monkeypatch.setattr(module, "KEPT", 2 * len(sample()) + 2)
    held = [Symbols(sample() + bytes([number])) for number in range(3)]
    assert [one.locate(0x1010).symbol for one in held] == [None, "main", "main"]
    del held
    assert Symbols(sample() + b"4").locate(0x1010).symbol == "main"


def test_what_is_shown_of_a_name_is_one_line():
    table = s.symbol_table([("a\nb\x1b[2J", 0x1000, 8, FUNC, 1)], 2)
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(0x100))
    data = bytes(Elf(sections=[text, *table]))
    assert at(data, 0x1004) == "a\ufffdb\ufffd[2J+0x4"
    assert Symbols(data).find("a\nb\x1b[2J") == (0x1000, 8)


def test_line_without_symbol():
    elf = Elf(sections=debug_sections(5, line_table(5, 0x1010)))
    assert at(bytes(elf), 0x1010) == "0x1010 (caller.c:42)"


def test_dropped_functions_are_ignored():
    data = sample(*debug_sections(5, line_table(5, 0), line_table(5, 0x1010)))
    assert Symbols(data).locate(0x8).file is None
    assert at(data, 0x1010) == "main (caller.c:42)"


def test_endless_line_table_is_skipped():
    endless = b"\0" + b"\xff" * 8 + b"\x7f"  # no columns, 2**63 rows
    data = sample(*debug_sections(5, line_table(5, 0x1010, directories=endless), line_table(5, 0x1010)))
    assert at(data, 0x1010) == "main (caller.c:42)"


@pytest.mark.parametrize(
    "source", [b"", b"text", "/nonexistent", "/", bytes(Elf(machine=62)), bytes(Elf(sections=None))]
)
def test_no_symbols(source):
    assert str(Symbols(source).locate(0x1000)) == "0x1000"


def test_nothing_is_read_before_it_is_needed(tmp_path):
    path = tmp_path / "late.elf"
    symbols = Symbols(path)
    path.write_bytes(sample())
    assert symbols.locate(0x1010).symbol == "main"


@settings(max_examples=150, deadline=1000)
@given(st.data())
def test_damage_never_raises(data):
    version = data.draw(st.sampled_from([4, 5]))
    content = bytearray(sample(*debug_sections(version, line_table(version, 0x1010))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0x180, len(content) - 1))] = data.draw(st.integers(0, 255))
    str(Symbols(bytes(content)).locate(0x1014))
