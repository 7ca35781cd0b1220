"""Small files that name much: what they cost is bounded, shown by limits on the memory of a process."""

import zlib

import pytest

from pltvm.errors import ElfError
from pltvm.host import debug_sections
from pltvm.host import symbols as symbols_module
from pltvm.host.elf import load_image
from pltvm.host.line_tables import MAX_ROWS
from pltvm.host.symbols import Symbols
from tests.host import elf_bombs as bombs
from tests.host import elf_samples as s
from tests.host.elf_bombs import ABBREV, compressed, debug_elf, line_table, old_zlib, units
from tests.host.elf_samples import Elf, Section, Segment
from tests.host.limited import run_within

zstd = pytest.importorskip("backports.zstd")
MIB = 1 << 20
LOAD = "from pltvm.host.elf import load_image, ElfError"
READ = "from pltvm.host import symbols"
SHOW = """
found = symbols.Symbols(sys.argv[1])
print(found.locate(0x1001), len(found.lines()), found.note, sep="|")
"""


def test_many_headers_over_the_same_bytes_are_refused(tmp_path):
    bombs.shared_bytes(tmp_path / "bomb", 61, 32 * MIB)
    said = run_within(
        80 * MIB,
        LOAD,
        "try: load_image(sys.argv[1])\nexcept ElfError as error: print(error)",
        str(tmp_path / "bomb"),
    )
    assert said == f"{tmp_path / 'bomb'}: names 1952 MiB of its bytes; at most 1024 MiB are accepted\n"


def test_pieces_and_runs_are_views_of_the_file(tmp_path):
    bombs.shared_bytes(tmp_path / "big", 20, 32 * MIB)
    body = """
image = load_image(sys.argv[1])
print(len(image.pieces), sum(len(data) for run in image.runs() for _, data in run.parts) >> 20)
"""
    assert run_within(80 * MIB, LOAD, body, str(tmp_path / "big")) == "20 640\n"


def test_a_huge_bss_costs_nothing():
    sections = [Section(".bss", addr=0x2000, size=511 * MIB)]
    image = load_image(bytes(Elf([Segment(0x1000, s.CODE)], sections)))
    assert image.pages == 1 + 511 * 256
    assert sum(len(data) for run in image.runs() for _, data in run.parts) == len(s.CODE)


def test_a_million_rows_of_a_byte_each(tmp_path):
    path = tmp_path / "rows"
    data = debug_elf(debug_info=units(1), debug_abbrev=ABBREV, debug_line=line_table(1_000_000))
    path.write_bytes(data)
    where, rows, note = run_within(256 * MIB, READ, SHOW, str(path)).strip().split("|")
    assert (where, int(rows)) == ("0x1001 (f.c:2)", MAX_ROWS)
    assert note == f"its line tables have more than {MAX_ROWS:,} rows"


def test_a_line_table_that_many_units_share_is_read_once():
    data = debug_elf(debug_info=units(5000), debug_abbrev=ABBREV, debug_line=line_table(100))
    found = Symbols(data)
    assert len(found.lines()) == 99
    assert found.note == ""


@pytest.mark.parametrize(
    "table",
    [
        line_table(1, files=b"f\0\0\0\0" * 2_000_000),  # files without end
        line_table(1, directories=b"d\0" * 4_000_000),
        line_table(1, files=b"", directories=b"d" * 10_000_000),  # a name without end
        line_table(0, files=b"f\0" + b"\x80" * 10_000_000),  # a number without end
    ],
    ids=["files", "directories", "name", "number"],
)
def test_headers_of_line_tables(tmp_path, table):
    (tmp_path / "x").write_bytes(debug_elf(debug_info=units(40), debug_abbrev=ABBREV, debug_line=table))
    said = run_within(256 * MIB, READ, SHOW, str(tmp_path / "x"))
    assert said.startswith("0x1001|0|")


def test_declarations_without_end(tmp_path):
    abbrev = bytes([2, 0x11, 0]) + bytes([1, 1]) * 10_000_000
    (tmp_path / "x").write_bytes(
        debug_elf(debug_info=units(9), debug_abbrev=abbrev, debug_line=line_table(9))
    )
    assert run_within(128 * MIB, READ, SHOW, str(tmp_path / "x")).startswith("0x1001|0|")


@pytest.mark.parametrize("name", ["debug_info", "zdebug_info"])
def test_compressed_zeros_are_not_unpacked(tmp_path, name):
    packed = bombs.zeros(256)
    told = {
        "debug_info": compressed(1, packed, 256 * MIB),
        "zdebug_info": b"ZLIB" + (256 * MIB).to_bytes(8, "big") + packed,
    }
    (tmp_path / "x").write_bytes(debug_elf(**{name: told[name]}))
    said = run_within(96 * MIB, READ, SHOW, str(tmp_path / "x"))
    assert "takes more than 64 MiB when it is unpacked, so there are no source lines" in said
    claims = {
        "debug_info": compressed(1, packed, 1000),
        "zdebug_info": b"ZLIB" + (1000).to_bytes(8, "big") + packed,
    }
    (tmp_path / "y").write_bytes(debug_elf(**{name: claims[name]}))
    run_within(96 * MIB, READ, SHOW, str(tmp_path / "y"))


def test_all_compressed_sections_together_have_one_budget():
    third = compressed(1, zlib.compress(bytes(30 * MIB)), 30 * MIB)
    found = Symbols(debug_elf(debug_info=third, debug_abbrev=third, debug_line=third))
    assert "takes more than 64 MiB" in found.note


PLAIN = {"debug_info": units(1), "debug_abbrev": ABBREV, "debug_line": line_table(20)}


@pytest.mark.parametrize(
    "packed",
    [
        {name: compressed(1, zlib.compress(data), len(data)) for name, data in PLAIN.items()},
        {name: compressed(2, zstd.compress(data), len(data)) for name, data in PLAIN.items()},
        {f"z{name}": old_zlib(data) for name, data in PLAIN.items()},
    ],
    ids=["zlib", "zstd", "zdebug"],
)
def test_compressed_sections_are_read(packed):
    found = Symbols(debug_elf(**packed))
    assert found.lines() == Symbols(debug_elf(**PLAIN)).lines() != []
    assert (str(found.locate(0x1001)), found.note) == ("0x1001 (f.c:2)", "")


def test_which_sections_are_unpacked(monkeypatch):
    lines = Symbols(debug_elf(**PLAIN)).lines()
    bomb = compressed(1, b"", 1 << 40)
    assert Symbols(debug_elf(debug_loc=bomb, **PLAIN)).lines() == lines  # nobody needs that one
    not_packed = {f"z{name}": data for name, data in PLAIN.items()}  # by name only: taken as it is
    assert Symbols(debug_elf(**not_packed)).lines() == lines
    twice = debug_elf(**PLAIN, zdebug_line=b"a second one of the name")
    assert Symbols(twice).lines() == lines
    total = sum(map(len, PLAIN.values()))
    packed = {name: compressed(1, zlib.compress(data), len(data)) for name, data in PLAIN.items()}
    monkeypatch.setattr(debug_sections, "MAX_UNPACKED", total)
    assert Symbols(debug_elf(**packed) + b"1").lines() == lines
    monkeypatch.setattr(debug_sections, "MAX_UNPACKED", total - 1)
    assert Symbols(debug_elf(**packed) + b"2").lines() == []


@pytest.mark.parametrize("index", [0, 4, 5, 0xFFF1, 0xFFFF])
def test_names_of_sections_that_are_nowhere(index):
    data = bytearray(debug_elf(**PLAIN))
    data[62:64] = index.to_bytes(2, "little")
    assert bool(Symbols(bytes(data)).lines()) == (index == 4)


@pytest.mark.parametrize(
    ("section", "word"),
    [
        (compressed(1, b"no zlib at all", 100), "unpacked"),
        (compressed(2, b"no zstd at all", 100), "unpacked"),
        (compressed(77, b"who knows", 100), "compression 77 is not known"),
    ],
)
def test_what_cannot_be_unpacked_is_said(section, word):
    found = Symbols(debug_elf(**{**PLAIN, "debug_info": section}))
    assert found.lines() == []
    assert word in found.note
    assert "\n" not in found.note


def test_too_many_symbols_are_said(monkeypatch):
    monkeypatch.setattr(symbols_module, "MAX_SYMBOLS", 3)
    table = s.symbol_table([(f"f{n}", 0x1000 + n, 1, 2, 1) for n in range(3)], 2)
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(16))
    found = Symbols(bytes(Elf(sections=[text, *table])))
    assert found.functions() == []
    assert found.note == "it has 4 symbols, of which at most 3 would be read"
    monkeypatch.setattr(symbols_module, "MAX_SYMBOLS", 4)
    assert len(Symbols(bytes(Elf(sections=[text, *table])) + b"x").functions()) == 3


def test_symbols_that_share_a_long_name(tmp_path):
    table, names = s.symbol_table([], 2)
    table.data = b"".join(
        (1).to_bytes(4, "little")
        + bytes([2, 0, 1, 0])
        + (0x1000 + n).to_bytes(8, "little")
        + bytes([1])
        + bytes(7)
        for n in range(20_000)
    )
    names.data = b"\0" + b"n" * (10 * MIB) + b"\0"
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(16))
    (tmp_path / "x").write_bytes(bytes(Elf(sections=[text, table, names])))
    said = run_within(96 * MIB, READ, SHOW, str(tmp_path / "x"))
    assert "the names of its symbols have more than 16 MiB" in said


# ---- what is kept ----


def test_thousands_of_different_images_and_symbols_do_not_grow():
    body = """
import gc
base = open(sys.argv[1], "rb").read()
def one(number):
    data = base + number.to_bytes(8, "little") + bytes(120_000)
    image = load_image(data)
    image.runs()
    return Symbols(data)
for number in range(2_000):
    found = one(number)
print(str(found.locate(0x1000)))
"""
    imports = LOAD + "\nfrom pltvm.host.symbols import Symbols\nimport pltvm.host.debug_sections"
    from pltvm.build import guest

    assert run_within(32 * MIB, imports, body, str(guest.examples()["caller"].elf)).startswith("_start")


def test_symbols_of_enclaves_in_use_have_one_budget(monkeypatch):
    table = s.symbol_table([("f", 0x1000, 8, 2, 1)], 2)
    text = Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(16))
    base = bytes(Elf(sections=[text, *table])).ljust(8000, b"\0")
    monkeypatch.setattr(symbols_module, "KEPT", 80_000)
    monkeypatch.setattr(symbols_module, "_shared", type(symbols_module._shared)())
    held = [Symbols(base + bytes([number])) for number in range(20)]
    again = Symbols(base + bytes([19]))
    assert [one.locate(0x1002).symbol for one in held] == [None] * 11 + ["f"] * 9
    assert held[0].note == "its symbols are not kept: more than 0 MiB, or 1024, ELFs were in use"
    assert held[11].note == held[19].note == ""
    assert again._file is held[19]._file  # the same content is there once


def test_what_was_read_is_kept_of_a_few_files_only(monkeypatch):
    table = s.symbol_table([("f", 0x1000, 8, 2, 1)], 2)
    base = bytes(Elf(sections=[Section(".text", s.SHT_PROGBITS, 0x1000, data=bytes(16)), *table]))
    held = [Symbols(base + bytes([number])) for number in range(10)]
    assert [one.locate(0x1002).symbol for one in held] == ["f"] * 10
    assert sum(one._file._tables is not None for one in held) == symbols_module.MOST_READ
    assert [one.locate(0x1002).symbol for one in held] == ["f"] * 10  # read again


def test_a_file_that_is_too_big_to_name_is_refused():
    big = Segment(0x1000, s.CODE, memory_size=600 * MIB)
    with pytest.raises(ElfError, match=r"needs 600 MiB of memory; an enclave ELF may have 512 MiB"):
        load_image(bytes(Elf([big], None)))
