"""pltvm.host.elf: what is mapped, and one clear line for everything that cannot be."""

import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.build.guest import guest_dir, host_examples
from pltvm.errors import ElfError
from pltvm.host import elf as module
from pltvm.host import elf_headers
from pltvm.host.elf import EnclaveImage, Run, load_image
from pltvm.host.elf_details import unsupported_extensions
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Section, Segment
from tests.work import lines_of_python

TEXT = Segment(0x1000, CODE)
HOST_ELVES = [elf for example in host_examples().values() for elf in example.elfs.values()]
ELVES = sorted([*guest_dir().glob("elf/**/*.elf"), *HOST_ELVES])


def load(*segments: Segment, sections: list[Section] | None = (), **more) -> EnclaveImage:  # type: ignore[assignment]
    return load_image(bytes(Elf(list(segments), list(sections) if sections is not None else None, **more)))


def memory(image: EnclaveImage) -> dict[int, bytes]:
    """Page address → its 4096 bytes."""
    pages = {}
    for run in image.runs():
        content = run.data.ljust(run.npages * 4096, b"\0")
        assert len(content) == run.npages * 4096
        pages |= {run.vaddr + at: content[at : at + 4096] for at in range(0, len(content), 4096)}
    return pages


# ---- what is mapped (§1) ----


def test_pieces_are_in_loading_order():
    image = load_image(bytes(s.typical()))
    assert [(p.vaddr, p.memory_size, p.writable, p.what) for p in image.pieces] == [
        (0x4010, 0x3000, True, "section .bss"),
        (0x1000, 0x1100, False, "segment LOAD R-X"),
        (0x3000, 6, False, "segment LOAD R--"),
        (0x4000, 16, True, "segment LOAD RW-"),
    ]
    assert image.entry == 0x1000
    assert image.pages == 2 + 1 + 4
    assert image.warnings == ()


def test_runs_are_the_final_pages():
    image = load_image(bytes(s.typical()))
    assert [(r.vaddr, r.npages, len(r.data), r.writable) for r in image.runs()] == [
        (0x1000, 3, 0x2006, False),
        (0x4000, 1, 16, True),
        (0x5000, 3, 0, True),
    ]
    pages = memory(image)
    assert pages[0x1000].startswith(CODE)
    assert pages[0x3000] == b"rodata".ljust(4096, b"\0")
    assert pages[0x4000] == (b"data" * 4).ljust(4096, b"\0")  # data, then the start of .bss
    assert image.runs() is image.runs()


def test_big_bss_costs_nothing():
    image = load(TEXT, sections=[Section(".bss", addr=0x2000, size=256 << 20)])
    assert image.runs()[1] == Run(0x2000, 65536, (), True)
    assert image.pages == 65537


def test_nobits_without_address_or_size_is_not_mapped():
    image = load(TEXT, sections=[Section(".a", addr=0, size=100), Section(".b", addr=0x9000, size=0)])
    assert image.pages == 1


def test_zero_pages_are_runs_of_their_own():
    """So that a .bss costs nothing: the cut is at the page where the bytes end."""
    tail = {"flags": s.RW, "memory_size": 0x5000}
    for data in (CODE, CODE.ljust(4096, b"x"), CODE.ljust(4095, b"x")):
        image = load(Segment(0x1000, data, **tail), sections=None)
        assert [(r.vaddr, r.npages, len(r.data)) for r in image.runs()] == [
            (0x1000, 1, len(data)),
            (0x2000, 4, 0),
        ]
    for start in (0x2000, 0x2010):  # the first byte of .bss need not be the first of its page
        image = load(Segment(0x1000, bytes(4096), s.RW), sections=[Section(".bss", addr=start, size=0x2800)])
        assert [(r.vaddr, r.npages, len(r.data)) for r in image.runs()] == [(0x1000, 1, 4096), (0x2000, 3, 0)]
    image = load(Segment(0x1000, bytes(4097), s.RW), sections=[Section(".bss", addr=0x2001, size=0x1FFF)])
    assert [(r.vaddr, r.npages, len(r.data)) for r in image.runs()] == [(0x1000, 2, 4097), (0x3000, 1, 0)]
    image = load(Segment(0x1000, bytes(4097), **tail), sections=None)
    assert [(r.vaddr, r.npages, len(r.data)) for r in image.runs()] == [(0x1000, 2, 4097), (0x3000, 3, 0)]
    before = [Section(".bss", addr=0x2000, size=0x2000)]
    image = load(Segment(0x1000, CODE, s.RW), Segment(0x4000, b"x", s.RW), sections=before)
    assert [(r.vaddr, r.npages, bytes(r.data)) for r in image.runs()] == [
        (0x1000, 1, CODE),
        (0x2000, 2, b""),
        (0x4000, 1, b"x"),
    ]


def test_bytes_end_where_permissions_change():
    data = bytes(range(256)) * 32
    image = load(Segment(0x1000, data), sections=[Section(".bss", addr=0x2800, size=0x1800)])
    assert [(r.vaddr, r.npages, r.writable) for r in image.runs()] == [
        (0x1000, 1, False),
        (0x2000, 1, True),
        (0x3000, 1, True),
    ]
    assert b"".join(memory(image)[at] for at in (0x1000, 0x2000, 0x3000)) == data + bytes(4096)


def test_what_is_just_within_its_limit():
    notes = [Segment(0x9000 + 16 * n, b"n", s.R, type=s.PT_NOTE) for n in range(elf_headers.MAX_PIECES)]
    assert len(load(TEXT, *notes[1:]).pieces) == elf_headers.MAX_PIECES
    bss = Section(".bss", addr=0x20000, size=16)
    with pytest.raises(ElfError, match="maps 65 segments and sections; at most 64"):
        load(TEXT, *notes[1:], sections=[bss])
    end = module.HEAP_BASE
    high = Segment(end - 4096, CODE, s.RW, memory_size=4096)
    assert load(TEXT, high, sections=None).pieces[-1].end == end
    with pytest.raises(ElfError, match="but the heap starts at"):
        load(TEXT, Segment(end - 4096, CODE, s.RW, memory_size=4097), sections=None)
    touching = load(Segment(0x1000, CODE.ljust(16, b"\0")), Segment(0x1010, b"data", s.RW))
    assert memory(touching)[0x1000].startswith(CODE.ljust(16, b"\0") + b"data")
    with pytest.raises(ElfError, match="segments at 0x1000 and 0x1010 overlap"):
        load(Segment(0x1000, CODE.ljust(17, b"\0")), Segment(0x1010, b"data", s.RW))


def test_bytes_that_headers_name_together(monkeypatch):
    monkeypatch.setattr(module, "MAX_NAMED", len(CODE) + 4)
    assert load(TEXT, Segment(0x3000, b"four", s.R)).pages == 2
    with pytest.raises(ElfError, match="names 0 MiB of its bytes"):
        load(TEXT, Segment(0x3000, b"fiver", s.R))


def test_a_fixed_address_may_have_a_dynamic_section():
    dynamic = Segment(0x3000, bytes(16), s.RW, type=s.PT_DYNAMIC)
    assert load(TEXT, dynamic).pages == 2
    with pytest.raises(ElfError, match="position independent"):
        load(TEXT, dynamic, type=s.ET_DYN)
    assert load(TEXT, type=s.ET_DYN).pages == 1


def test_unaligned_segment_goes_where_it_says_with_a_warning():
    image = load(Segment(0x1234, CODE), entry=0x1234)
    assert memory(image)[0x1000][0x234:].startswith(CODE)
    assert "at 0x1234 is not page aligned" in image.warnings[0]


def test_segments_on_one_page_both_survive():
    image = load(TEXT, Segment(0x1800, b"data", s.RW))
    page = memory(image)[0x1000]
    assert page.startswith(CODE)
    assert page[0x800:0x804] == b"data"
    assert image.runs()[0].writable
    assert image.pages == 1


def test_header_inside_a_load_takes_nothing_away():
    data = b"D" * 0x1800
    inside = Segment(0x2800, b"D" * 0x100, s.R, type=s.PT_GNU_RELRO)
    image = load(TEXT, Segment(0x2000, data, s.RW), inside)
    assert [(r.vaddr, r.writable) for r in image.runs()] == [(0x1000, False), (0x2000, True)]
    assert b"".join(memory(image)[at] for at in (0x2000, 0x3000)).startswith(data)
    assert "GNU_RELRO R-- at 0x2800 shares pages with a PT_LOAD" in image.warnings[0]


def test_bytes_of_a_load_win_over_other_headers():
    image = load(TEXT, Segment(0x1000, b"note", s.R, type=s.PT_NOTE))
    assert memory(image)[0x1000].startswith(CODE)


def test_tbss_does_not_make_text_writable():
    tbss = Section(".tbss", addr=0x1008, size=64, flags=s.SHF_ALLOC | s.SHF_TLS)
    assert not load(TEXT, sections=[tbss]).runs()[0].writable


def test_attributes_header_is_mapped_at_its_address_with_a_warning():
    image = load(TEXT, Segment(0, s.attributes("rv64i2p1"), s.R, type=s.PT_RISCV_ATTRIBUTES))
    assert image.runs()[0].vaddr == 0
    assert image.pages == 2
    assert "segment RISCV_ATTRIBUTES R-- at 0x0 is mapped" in image.warnings[0]


def test_unknown_header_with_bytes_is_mapped():
    image = load(TEXT, Segment(0x8000, b"x", s.R, type=0x60000123))
    assert image.pieces[-1].what == "segment type 0x60000123 R--"
    assert memory(image)[0x8000][0] == ord("x")


def test_without_section_headers_the_tail_is_mapped():
    image = load(TEXT, Segment(0x2000, b"data", s.RW, memory_size=0x3000), sections=None)
    assert image.pages == 4
    assert memory(image)[0x4000] == bytes(4096)
    assert "no section headers" in image.warnings[0]


def test_with_section_headers_only_nobits_is_mapped():
    image = load(TEXT, Segment(0x2000, b"data", s.RW, memory_size=0x3000))
    assert image.pages == 2
    assert "2 pages before 0x5000 belong to no NOBITS section" in image.warnings[0]


# ---- what is refused ----

REFUSED = {
    "empty": (b"", "is empty"),
    "text": (b"#!/bin/sh\n", "is a script for /bin/sh, not an ELF"),
    "bytes": (bytes(100), "is not an ELF file"),
    "archive": (b"!<arch>\n" + bytes(100), "is an archive of objects, not linked"),
    "short": (bytes(Elf())[:40], "truncated"),
    "class": (bytes(Elf())[:4] + b"\x07" + bytes(Elf())[5:], "corrupt"),
    "rv32": (bytes(Elf())[:4] + b"\x01" + bytes(Elf())[5:], "32-bit"),
    "big-endian": (
        bytes(Elf())[:5] + b"\x02" + bytes(Elf())[6:18] + b"\0\xf3" + bytes(Elf())[20:],
        "big-endian",
    ),
    "x86-64": (bytes(Elf(machine=62)), "built for x86-64, not for riscv64"),
    "unknown machine": (bytes(Elf(machine=9999)), "machine number 9999"),
    "object": (bytes(Elf(type=s.ET_REL)), "not linked"),
    "core": (bytes(Elf(type=s.ET_CORE)), "core dump"),
    "no type": (bytes(Elf(type=0)), "not an executable"),
    "interpreter": (
        bytes(Elf([TEXT, Segment(0x2000, b"/lib/ld", type=s.PT_INTERP)])),
        "link it with -static",
    ),
    "pie": (bytes(Elf([TEXT, Segment(0x2000, b"d", type=s.PT_DYNAMIC)], type=s.ET_DYN)), "-static -no-pie"),
    "entry 0": (bytes(Elf(entry=0)), "no entry point"),
    "entry outside": (bytes(Elf(entry=0x5000)), "entry point 0x5000 is outside"),
    "entry in bss": (
        bytes(Elf(sections=[Section(".bss", addr=0x2000, size=64)], entry=0x2000)),
        "entry point 0x2000 is outside",
    ),
    "entry just before": (
        bytes(Elf([TEXT, Segment(0x2001, CODE)], entry=0x2000)),
        "entry point 0x2000 is outside",
    ),
    "entry odd": (bytes(Elf(entry=0x1001)), "0x1001 is odd"),
    "no segments": (bytes(Elf([])), "no loadable segment with bytes in it\n"),
    "header only": (bytes(Elf([], None))[:64], "no loadable segment with bytes in it\n"),
    "no bytes": (bytes(Elf([Segment(0x1000, memory_size=99)])), "debug-only"),
    "overlap": (bytes(Elf([TEXT, Segment(0x1008, CODE)])), "segments at 0x1000 and 0x1008 overlap"),
    "huge": (bytes(Elf(sections=[Section(".bss", addr=0x2000, size=512 << 20)])), "needs 512 MiB"),
    "in the heap": (bytes(Elf([TEXT, Segment(0x10_0000_0000, CODE)])), "the heap starts at 0x1000000000"),
    "overflow": (bytes(Elf([TEXT, Segment(2**64 - 4, CODE)])), "the heap starts"),
    "memory overflow": (bytes(Elf([TEXT, Segment(0x9000, CODE, memory_size=2**64 - 1)])), "the heap starts"),
    "bss in the heap": (bytes(Elf(sections=[Section(".bss", addr=2**63, size=1)])), "section .bss ends at"),
    "segment past the end": (bytes(Elf([Segment(0x1000, CODE, file_size=99999)])), "beyond the end"),
    "offset past the end": (bytes(Elf([Segment(0x1000, CODE, offset=2**63)])), "beyond the end"),
    "more file than memory": (bytes(Elf([Segment(0x1000, CODE, memory_size=4)])), "more bytes in the file"),
    "phentsize": (bytes(Elf(header={"phentsize": 32})), "32 bytes each, not 56"),
    "phentsize 0": (bytes(Elf(header={"phentsize": 0})), "0 bytes each"),
    "phnum": (bytes(Elf(header={"phnum": 60000})), "60000 program headers"),
    "phoff": (bytes(Elf(header={"phoff": 2**64 - 1})), "program headers end beyond"),
    "headers cut off": (bytes(Elf(header={"phoff": len(bytes(Elf())) - 55})), "program headers end beyond"),
    "shentsize": (bytes(Elf(header={"shentsize": 1})), "section headers are 1 bytes each"),
    "shnum": (bytes(Elf(header={"shnum": 65000})), "65000 section headers"),
    "shoff": (bytes(Elf(header={"shoff": 2**40})), "section headers end beyond"),
    "many pieces": (
        bytes(Elf(sections=[Section(f".b{n}", addr=0x2000 + n, size=1) for n in range(70)])),
        "maps 71 segments and sections",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_line_that_names_file_and_cause(name, tmp_path):
    data, cause = REFUSED[name]
    path = tmp_path / "bad.elf"
    path.write_bytes(data)
    with pytest.raises(ElfError) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert cause in message + "\n"
    assert "\n" not in message
    with pytest.raises(ElfError, match=r"^ELF image: "):
        load_image(data)


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("nope.elf", "no such file"),
        (".", "directory"),
        ("a\0b", "cannot be read"),
        ("/dev/zero", "regular file"),
    ],
)
def test_paths_that_cannot_be_read(path, cause, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ElfError, match=cause) as caught:
        load_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("Calc.elf", "Calc.elf: no such file; there is calc.elf"),
        ("deep/clac.elf", "deep/clac.elf: no such file; there is deep/calc.elf"),
        ("other.elf", "other.elf: no such file; pltvm build other.c makes it"),
        ("other.c", "other.c: is source code: pltvm build makes an ELF of it, and pltvm run runs that"),
        ("calc.elf/x", "calc.elf/x: no such file"),
        ("quite-another", "quite-another: no such file"),
    ],
)
def test_a_path_that_is_nearly_right(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("calc.elf", "deep/calc.elf", "other.c"):
        (tmp_path / name).write_text("int main;")
    with pytest.raises(ElfError) as caught:
        load_image(path)
    assert str(caught.value) == says


def test_unreadable_file(tmp_path):
    path = tmp_path / "loop.elf"
    path.symlink_to(path)
    with pytest.raises(ElfError, match=r"loop.elf: cannot be read: Too many levels of symbolic links"):
        load_image(path)


def test_far_too_big_file_is_not_read(tmp_path):
    path = tmp_path / "sparse.elf"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ElfError, match="1048576 MiB"):
        load_image(path)


def test_name_with_a_newline_stays_one_line(tmp_path):
    with pytest.raises(ElfError) as caught:
        load_image(tmp_path / "a\nb")
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_damaged_files_raise_only_elf_errors(data):
    sample = bytearray(bytes(s.typical()))
    for _ in range(data.draw(st.integers(0, 6))):
        # half of the flips in the headers, where they matter most
        last = data.draw(st.sampled_from([64 + 4 * 56 - 1, len(sample) - 1]))
        sample[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(sample)), st.integers(0, len(sample))))
    damaged = bytes(sample[:cut])
    try:
        image = load_image(damaged)
    except ElfError:
        return
    runs = image.runs()
    assert sum(run.npages for run in runs) == image.pages <= (512 << 20) // 4096
    assert sum(len(run.data) for run in runs) <= 64 * (len(damaged) + 4096)
    assert all(low.vaddr + low.npages * 4096 <= high.vaddr for low, high in pairwise(runs))


# ---- extensions, kinds, cost ----


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("", []),
        ("rv64gc", []),
        ("rv64imafdc_zicsr_zifencei", []),
        ("rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicsr2p0_zmmul1p0_zca1p0", []),
        ("rv64i2p1_m2p0_b1p0_zba1p0_zbb1p0_zbs1p0_zicond1p0_zcb1p0_zicbop1p0_zihintpause2p0_zkt1p0", []),
        ("rv64i2p1_m2p0_v1p0_zba1p0_zbc1p0_zfhmin1p0_zvl128b1p0", ["v", "zbc", "zfhmin", "zvl128b"]),
        ("rv64i2p1_zicbom1p0_zicboz1p0_zcmp1p0_zbkb1p0", ["zicbom", "zicboz", "zcmp", "zbkb"]),
        ("rv64imv_xtheadba1p0", ["v", "xtheadba"]),
        ("rv64i2p1m2p0v1p0", ["v"]),
    ],
)
def test_unsupported_extensions(arch, expected):
    assert unsupported_extensions(arch) == expected


def test_extension_warning_names_them():
    for arch, names in (("rv64i2p1_v1p0", "v"), ("rv64i2p1_v1p0_zba1p0_zbc1p0", "v, zbc")):
        data = s.attributes(arch)
        image = load(
            TEXT, sections=[Section(".riscv.attributes", s.SHT_RISCV_ATTRIBUTES, data=data, flags=0)]
        )
        assert image.warnings == (
            f"built for {names}, which pltvm lacks: it runs until the first such instruction",
        )


def test_same_content_is_parsed_once(tmp_path):
    for name in ("a.elf", "b.elf"):
        (tmp_path / name).write_bytes(bytes(s.typical()))
    assert load_image(tmp_path / "a.elf") is load_image(str(tmp_path / "b.elf"))


def test_large_content_is_parsed_each_time(monkeypatch):
    data = bytes(s.typical())
    monkeypatch.setattr(module, "CACHEABLE", len(data) - 1)
    first, second = load_image(data), load_image(data)
    assert first is not second
    assert (first.entry, first.pieces) == (second.entry, second.pieces) == (0x1000, second.pieces)


def test_parsing_is_fast():
    sample = bytes(s.typical())
    module._cached_parse.cache_clear()
    assert lines_of_python(lambda: load_image(sample)) < 900


@pytest.mark.parametrize("path", ELVES, ids=lambda path: path.stem)
def test_headers_are_those_that_pyelftools_reads(path):
    headers = elf_headers.read_headers(path.read_bytes())
    with path.open("rb") as file:
        elf = ELFFile(file)
        theirs = {name: elf[name] for name in headers.header}
        assert headers.header == {**theirs, "e_machine": 243, "e_version": 1}  # which have names there
        assert headers.segments == [dict(segment.header) for segment in elf.iter_segments()]
        theirs = [dict(section.header) for section in elf.iter_sections()]
    known = set(elf_headers._SECTION.types.values())
    for ours, their in zip(headers.sections, theirs, strict=True):
        assert ours["sh_type"] == their["sh_type"] or their["sh_type"] not in known
        assert {**ours, "sh_type": 0} == {**their, "sh_type": 0}


def test_import_leaves_lief_out():
    code = "import sys, pltvm.host.elf; sys.exit('lief' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_sample_builder_agrees_with_struct_sizes():
    assert struct.calcsize("<IIQQQQQQ") == 56
    assert load_image(bytes(Elf())).pages == 1
