"""Coverage files: lines counted right, read by lcov, and blocks where a drcov reader expects them."""

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.build import guest
from pltvm.coverage.drcov import drcov
from pltvm.coverage.lcov import Files, add, from_plain, lcov, source_files, text, to_plain
from pltvm.coverage.module import Module
from pltvm.host.elf import load_image
from pltvm.host.symbols import Symbols
from tests.host.test_symbols import debug_sections, line_table, sample

KV_SERVER = guest.examples()["kv-server"].elf
Blocks = dict[int, tuple[int, int]]


def small(blocks: Blocks, name: str = "small.elf") -> Module:
    """main is at 0x1010; its line 42 is 8 bytes long, and line 43 the 8 bytes after."""
    data = sample(*debug_sections(5, line_table(5, 0x1010)))
    return Module(name, Symbols(data), 0x1000, 0x1100, blocks)


def times(module: Module) -> dict[int, int]:
    """Line → times, of an lcov file with one record."""
    return {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)$", lcov([module]), re.M)}


def read_lcov(text: str) -> dict[str, tuple[dict[int, int], dict[str, tuple[int, int]]]]:
    """File → (line → times, function → (line, times)); checks the totals of each record on the way."""
    files = {}
    for record in text.split("end_of_record\n")[:-1]:
        assert record.startswith("TN:\nSF:")
        (name,) = re.findall(r"^SF:(.*)$", record, re.M)
        lines = {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)$", record, re.M)}
        starts = {function: int(line) for line, function in re.findall(r"^FN:(\d+),(.*)$", record, re.M)}
        counts = {function: int(count) for count, function in re.findall(r"^FNDA:(\d+),(.*)$", record, re.M)}
        assert starts.keys() == counts.keys()
        totals = {key: int(value) for key, value in re.findall(r"^(LF|LH|FNF|FNH):(\d+)$", record, re.M)}
        assert totals == {
            "LF": len(lines),
            "LH": sum(count > 0 for count in lines.values()),
            "FNF": len(counts),
            "FNH": sum(count > 0 for count in counts.values()),
        }
        assert name not in files
        files[name] = lines, {function: (starts[function], counts[function]) for function in starts}
    return files


# ---- lcov ----


def test_the_whole_text() -> None:
    assert lcov([small({0x1010: (4, 7)})]) == (
        "TN:\nSF:sub/caller.c\nFN:42,main\nFNDA:7,main\nFNF:1\nFNH:1\nDA:42,7\nDA:43,0\nLF:2\nLH:1\nend_of_record\n"
    )


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ({}, {42: 0, 43: 0}),
        ({0x1000: (16, 5)}, {42: 0, 43: 0}),  # ends where main starts
        ({0x1000: (17, 5)}, {42: 5, 43: 0}),
        ({0x1017: (1, 5)}, {42: 5, 43: 0}),  # its last byte
        ({0x1018: (2, 5)}, {42: 0, 43: 5}),
        ({0x1014: (8, 5)}, {42: 5, 43: 5}),
        ({0x1020: (8, 5)}, {42: 0, 43: 0}),
        ({0x1010: (4, 2), 0x1014: (4, 9)}, {42: 9, 43: 0}),  # two blocks of a line: not 11 times
        ({0x1010: (16, 2), 0x1014: (4, 9)}, {42: 11, 43: 2}),  # a jump into a block: these bytes ran 11 times
        ({0x1010: (8, 0)}, {42: 0, 43: 0}),
        ({0xFFF: (0x20, 5), 0x10F0: (0x20, 5), 0x1010: (0, 3)}, {42: 0, 43: 0}),  # not within the module
    ],
)
def test_lines_are_counted_by_their_instructions(blocks: Blocks, expected: dict[int, int]) -> None:
    assert times(small(blocks)) == expected


def test_elves_that_share_a_file_are_added_up() -> None:
    text = lcov([small({0x1010: (4, 7)}), small({0x1010: (16, 1)})])
    assert read_lcov(text) == {"sub/caller.c": ({42: 8, 43: 1}, {"main": (42, 8)})}


def test_a_real_elf() -> None:
    symbols = Symbols(KV_SERVER)
    function = next(symbol for symbol in symbols.functions() if symbol.name == "strcmp")
    ran = {row.line for row in symbols.lines() if function.start <= row.start < function.end}
    module = Module.of(KV_SERVER, {function.start: (function.end - function.start, 3)})
    files = read_lcov(lcov([module]))

    assert files.keys() >= {"kv-server.c", "lib/string.c", "lib/malloc.c", "lib/start.S"}
    lines, functions = files["lib/string.c"]
    assert {line for line, count in lines.items() if count} == ran
    assert set(lines.values()) == {0, 3}
    source = (guest.guest_dir() / "lib" / "string.c").read_text().splitlines()
    line, count = functions["strcmp"]
    assert count == 3
    assert source[line - 2 : line] == ["int strcmp(const char *a, const char *b)", "{"]
    assert files["kv-server.c"][1]["main"][1] == 0
    assert not any(any(lines.values()) for name, (lines, _) in files.items() if name != "lib/string.c")


def test_sources_are_found_in_folders() -> None:
    folder = guest.guest_dir()
    module = Module.of(KV_SERVER, {}, sources=[folder, folder / "examples"])
    files = read_lcov(lcov([module]))
    assert str(folder / "lib" / "string.c") in files
    assert str(folder / "examples" / "kv-server.c") in files
    assert all(Path(name).is_file() for name in files)


def test_no_line_tables() -> None:
    assert lcov([Module("x", Symbols(b""), 0, 100, {0: (4, 1)})]) == ""
    assert lcov([]) == ""


def test_what_was_reached_by_others_is_added() -> None:
    files = source_files([small({0x1010: (4, 7)})])
    add(files, from_plain(json.loads(json.dumps(to_plain(source_files([small({0x1010: (16, 1)})]))))))
    assert text(files) == lcov([small({0x1010: (4, 7)}), small({0x1010: (16, 1)})])
    assert files["sub/caller.c"].reached == (2, 2)
    nothing: Files = {}
    add(nothing, files)
    assert text(nothing) == text(files)
    assert nothing["sub/caller.c"] is not files["sub/caller.c"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_elf_never_raises(data: st.DataObject) -> None:
    content = bytearray(sample(*debug_sections(5, line_table(5, 0x1010))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0x180, len(content) - 1))] = data.draw(st.integers(0, 255))
    module = Module("x", Symbols(bytes(content)), 0x1000, 0x1100, {0x1010: (4, 7)})
    assert lcov([module]).count("end_of_record\n") == len(read_lcov(lcov([module])))


@pytest.mark.skipif(shutil.which("lcov") is None, reason="lcov is not installed (apt install lcov)")
def test_lcov_reads_it(tmp_path: Path) -> None:
    folder = guest.guest_dir()
    entry = load_image(KV_SERVER).entry
    module = Module.of(KV_SERVER, {entry: (88, 2)}, sources=[folder, folder / "examples"])
    (tmp_path / "cov.info").write_text(lcov([module]))
    files = read_lcov((tmp_path / "cov.info").read_text())
    found = sum(len(lines) for lines, _ in files.values())
    hit = sum(sum(count > 0 for count in lines.values()) for lines, _ in files.values())
    command = ["lcov", "--summary", str(tmp_path / "cov.info")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    output = result.stdout + result.stderr
    assert re.search(rf"lines\.+: [\d.]+% \({hit} of {found} lines\)", output)
    assert "WARNING" not in output.upper().replace("DEPRECATED", "")


# ---- what the line tables say, for all of it ----


def test_paths_of_the_sdk() -> None:
    rows = Symbols(KV_SERVER).lines()
    names = {row.name for row in rows}
    assert names >= {"kv-server.c", "lib/start.S", "include/ecall.h"}
    assert rows == sorted(rows)
    assert all(row.start < row.end and row.line > 0 for row in rows)


@pytest.mark.parametrize(
    ("folder", "index", "path"),
    [(b"sub", 1, "/src/sub/a.c"), (b"/lib", 1, "/lib/a.c"), (b"sub", 0, "/src/a.c"), (b"sub", 9, "a.c")],
)
def test_directories_of_dwarf_5(folder: bytes, index: int, path: str) -> None:
    directories = bytes([1, 1, 8, 2]) + b"/src\0" + folder + b"\0"
    files = bytes([2, 1, 8, 2, 0x0F, 1]) + b"a.c\0" + bytes([index])
    table = line_table(5, 0x1010, directories=directories)
    (size,) = struct.unpack_from("<I", table, 8)
    old = bytes([1, 1, 8, 1]) + b"sub/caller.c\0"
    body = table[4:8] + struct.pack("<I", size + len(files) - len(old)) + table[12:].replace(old, files)
    data = sample(*debug_sections(5, struct.pack("<I", len(body)) + body))
    assert [(row.name, row.line) for row in Symbols(data).lines()] == [(path, 42), (path, 43)]


def test_functions_are_not_labels() -> None:
    assert [(symbol.name, symbol.start) for symbol in Symbols(sample()).functions()] == [("main", 0x1010)]
    assert Symbols(b"text").functions() == Symbols(b"text").lines() == []


# ---- drcov ----


def read_drcov(data: bytes) -> tuple[list[dict[str, str]], list[tuple[int, int, int]]]:
    """Modules by column, and blocks (start, size, module), the way that Lighthouse reads version 2."""
    lines = iter(data.split(b"BB Table: ")[0].decode().splitlines())
    assert next(lines) == "DRCOV VERSION: 2"
    assert next(lines).startswith("DRCOV FLAVOR: ")
    table = re.fullmatch(r"Module Table: version 2, count (\d+)", next(lines))
    columns = re.fullmatch(r"Columns: (.*)", next(lines))
    assert table is not None
    assert columns is not None
    names = columns[1].split(", ")
    modules = [dict(zip(names, line.strip().split(", "), strict=True)) for line in lines]
    assert len(modules) == int(table[1])
    count, _, rest = data.split(b"BB Table: ", 1)[1].partition(b" bbs\n")
    assert len(rest) == 8 * int(count)
    return modules, list(struct.iter_unpack("<IHH", rest))


def test_modules_and_blocks() -> None:
    image = load_image(KV_SERVER)
    first = Module.of(KV_SERVER, {0x1058: (4, 1), 0x1000: (88, 2), 0x2: (4, 1)})
    modules, blocks = read_drcov(drcov([first, small({0x1020: (6, 1), 0x1000: (2, 0)}, name="a, b\n.elf")]))
    assert [int(module["id"]) for module in modules] == [0, 1]
    assert [int(module["base"], 16) for module in modules] == [0x1000, 0x1000]
    assert int(modules[0]["entry"], 16) == image.entry
    assert int(modules[0]["end"], 16) == max(piece.end for piece in image.pieces)
    assert [module["path"] for module in modules] == [str(KV_SERVER), "a_b_.elf"]
    assert blocks == [(0, 88, 0), (0x58, 4, 0), (0x20, 6, 1)]


def test_a_block_too_long_for_the_format_is_split() -> None:
    module = Module("x", Symbols(b""), 0x1000, 0x1000 + 200_000, {0x1002: (131_080, 1)})
    _, blocks = read_drcov(drcov([module]))
    assert blocks == [(2, 65535, 0), (65537, 65535, 0), (131072, 10, 0)]


def test_what_has_no_number_in_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="4 GiB"):
        drcov([Module("x", Symbols(b""), 0, (1 << 32) + 1, {})])


def test_nothing_ran() -> None:
    assert read_drcov(drcov([])) == ([], [])
