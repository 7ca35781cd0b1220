"""pltvm.host.elf_kind: what a file is taken for, with files of real compilers and with single facts."""

import struct
import subprocess
import time
from pathlib import Path

import lief
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.build.strip import strip
from pltvm.host.elf_calls import find_calls
from pltvm.host.elf_headers import read_headers
from pltvm.host.elf_kind import Kind, decide, sniff
from tests import musl
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, LINUX_CODE, Elf, Section, Segment

GUEST = guest.guest_dir() / "elf"
GCC = "riscv64-linux-gnu-gcc"
BARE = """
static long call(long n, long a, long b, long c) {
    register long a7 asm("a7") = n, a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c;
    asm volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
void _start(void) { CALLS; call(93, 3, 0, 0); for (;;); }
"""
MAIN = '#include <stdio.h>\nint main(int n, char **v) { printf("%s\\n", v[0]); return 0; }\n'
ENCLAVE = (
    '#include "eapp.h"\nint EAPP_ENTRY main() { unsigned long *args; EAPP_RESERVE_REG; EAPP_RETURN(7); }\n'
)


def compiled(folder: Path, source: str, command: list[str]) -> bytes:
    (folder / "source.c").write_text(source)
    subprocess.run([*command, "source.c", "-o", "out"], cwd=folder, check=True, capture_output=True)
    return (folder / "out").read_bytes()


# ---- what there is ----


@pytest.mark.parametrize("path", sorted(GUEST.rglob("*")), ids=lambda path: path.name)
def test_everything_that_comes_with_the_package(path: Path) -> None:
    if path.is_dir() or path.name == "TOOLCHAIN":
        return
    expected = Kind.ENCLAVE if path.suffix == ".elf" else Kind.LINUX_PROGRAM
    if path.name.startswith("s-"):
        expected = Kind.KERNEL
    decision = decide(path)
    assert (decision.kind, decision.sure) == (expected, True)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["-static"],
        ["-static", "-s"],
        ["-static", "-Wl,-Ttext-segment=0"],
        ["-static", "-s", "-Wl,-Ttext-segment=0"],
        ["-static", "-s", "-Wl,-Ttext-segment=0x1000"],
        ["-no-pie"],
        ["-shared", "-fPIC"],
    ],
    ids=" ".join,
)
def test_programs_for_glibc(tmp_path: Path, flags: list[str]) -> None:
    decision = decide(compiled(tmp_path, MAIN, [GCC, *flags]))
    assert (decision.kind, decision.sure) == (Kind.LINUX_PROGRAM, True)


@pytest.mark.parametrize("flags", [["-static"], ["-static-pie"]], ids=" ".join)
@pytest.mark.parametrize("address", [None, 0, 0x1000, 0x10000, 0x4000_0000])
@pytest.mark.parametrize("calls", ["call(64, 1, 0, 0)", ""])
@pytest.mark.parametrize("stripped", [False, True])
def test_programs_without_a_library(
    tmp_path: Path, flags: list[str], address: int | None, calls: str, stripped: bool
) -> None:
    at = [] if address is None or "-static-pie" in flags else [f"-Wl,-Ttext-segment={address:#x}"]
    command = [GCC, "-O1", "-nostdlib", *flags, *at, *(["-s"] if stripped else [])]
    decision = decide(compiled(tmp_path, BARE.replace("CALLS", calls), command))
    if address == 0x1000 and not calls and "-static" in flags:
        return  # nothing but the number 93, which enclaves have too
    assert decision.kind is Kind.LINUX_PROGRAM
    assert decision.sure or address in (0, 0x1000)


@pytest.mark.parametrize(("linked", "stripped"), [("-static", False), ("-static", True), ("-dynamic", True)])
def test_programs_for_musl(tmp_path: Path, linked: str, stripped: bool) -> None:
    (tmp_path / "source.c").write_text(MAIN)
    program = musl.compile_one(tmp_path / "source.c", tmp_path / "source.o", "-O1")
    musl.link([program], tmp_path / "out", linked)
    if stripped:
        binary = lief.ELF.parse(tmp_path / "out")
        binary.strip()
        binary.write(str(tmp_path / "out"))
        assert not lief.ELF.parse(tmp_path / "out").symtab_symbols
    decision = decide(tmp_path / "out")
    assert (decision.kind, decision.sure) == (Kind.LINUX_PROGRAM, True)


def test_a_stripped_program_for_musl_linked_low() -> None:
    """Without a header that tells, and nothing but its code left."""
    data = (GUEST / "host" / "musl" / "host").read_bytes()
    elf = read_headers(data)
    segments = [
        Segment(
            one["p_vaddr"] - 0x100_0000 + 0x1000,
            data[one["p_offset"] : one["p_offset"] + one["p_filesz"]],
            one["p_flags"],
            one["p_memsz"],
        )
        for one in elf.segments
        if one["p_type"] == "PT_LOAD"
    ]
    decision = decide(bytes(Elf(segments, None, entry=elf.header["e_entry"] - 0xFF_F000)))
    assert decision.kind is Kind.LINUX_PROGRAM
    assert "it is linked at 0x1000" not in decision.reasons


@pytest.mark.parametrize("address", [0x1000, 0x10000, 0x40_0000])
@pytest.mark.parametrize("stripped", [False, True])
def test_enclaves_linked_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: int, stripped: bool
) -> None:
    (tmp_path / "e.c").write_text(ENCLAVE)
    data = build_enclave([tmp_path / "e.c"], tmp_path / "e.elf").read_bytes()
    if stripped:
        data = strip(data, debug=True)
    elf, moved = read_headers(data), bytearray(data)
    for number in range(len(elf.segments)):
        at = elf.header["e_phoff"] + 56 * number + 16
        moved[at : at + 8] = (elf.segments[number]["p_vaddr"] + address - 0x1000).to_bytes(8, "little")
    decision = decide(bytes(moved))
    assert (decision.kind, decision.sure, decision.server) == (Kind.ENCLAVE, True, False)


# ---- single facts ----


NOTE = struct.pack("<3I", 4, 16, 1) + b"GNU\0" + struct.pack("<4I", 0, 4, 15, 0)
GO = struct.pack("<3I", 3, 4, 4) + b"Go\0\0" + b"id.."
TEXT = Segment(0x1000, CODE)
MUSL = (GUEST / "host" / "musl" / "host").read_bytes()
QUIET = Segment(0x1000, bytes.fromhex("13000000" * 4))


@pytest.mark.parametrize(
    ("segments", "kind", "reason"),
    [
        ([TEXT], Kind.ENCLAVE, "makes enclave calls: 0x100101 for a6, at 0x1000"),
        ([QUIET], Kind.ENCLAVE, "is linked at 0x1000, as the SDK does"),
        ([Segment(0x10000, CODE)], Kind.ENCLAVE, "makes enclave calls: 0x100101 for a6, at 0x10000"),
        ([Segment(0x10000, QUIET.data)], Kind.LINUX_PROGRAM, "is linked at 0x10000, as Linux programs are"),
        ([Segment(0, LINUX_CODE)], Kind.LINUX_PROGRAM, "makes Linux's calls: write (64)"),
        ([Segment(0x8000_0000, QUIET.data)], Kind.KERNEL, "is linked at 0x80000000, where RAM is"),
        (
            [Segment(0x8000_0000, bytes.fromhex("731005187390521073002010"))],  # csrw satp …; sret
            Kind.KERNEL,
            "has instructions of S-mode, at 0x80000000",
        ),
        (
            [TEXT, Segment(0x2000, b"/l\n", type=s.PT_INTERP)],
            Kind.LINUX_PROGRAM,
            "names an interpreter, /l� (PT_INTERP)",
        ),
        (
            [TEXT, Segment(0x2000, NOTE, type=s.PT_NOTE)],
            Kind.LINUX_PROGRAM,
            "has a note that it is for GNU/Linux 4.15.0 (ABI-tag)",
        ),
        (
            [QUIET, Segment(0x2000, GO, type=s.PT_NOTE)],
            Kind.LINUX_PROGRAM,
            "has a note of the Go toolchain",
        ),
        (
            [QUIET, Segment(0x2000, bytes(16), type=s.PT_DYNAMIC)],
            Kind.LINUX_PROGRAM,
            "is to be linked or relocated at its start (PT_DYNAMIC)",
        ),
    ],
)
def test_what_decides(segments: list[Segment], kind: Kind, reason: str) -> None:
    decision = decide(bytes(Elf(segments, None, entry=segments[0].vaddr)))
    assert decision.kind is kind
    assert reason in decision.reasons


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (bytes(Elf(type=s.ET_REL)), "is not an executable (ET_REL)"),
        (bytes(Elf(machine=62)), "is built for x86-64, not for riscv64"),
        (bytes(Elf([])), "has no segment to load"),
        (b"#!/bin/sh -e\n", "is a script for /bin/sh, not an ELF file"),
        (b"#!\n", "is a script for an interpreter that it does not name"),
    ],
)
def test_what_is_nothing_says_why(data: bytes, reason: str) -> None:
    decision = decide(data)
    assert decision.kind is Kind.OTHER
    assert decision.reasons[0].startswith(reason)
    assert decision.hint() == ""


def test_a_missing_file(tmp_path: Path) -> None:
    assert sniff(tmp_path / "nope") is Kind.OTHER


@pytest.mark.parametrize(
    ("name", "kind"),
    [("eapp_mmap", Kind.ENCLAVE), ("__libc_start_main", Kind.LINUX_PROGRAM), ("sv_exit", Kind.KERNEL)],
)
def test_names_decide(name: str, kind: Kind) -> None:
    """Wherever it is linked."""
    for address in (0x1000, 0x10000, 0x8000_0000):
        symbols = s.symbol_table([(name, address, 4, 2, 1)], 2)
        sections = [Section(".text", s.SHT_PROGBITS, address), *symbols]
        decision = decide(bytes(Elf([Segment(address, QUIET.data)], sections, entry=address)))
        assert (decision.kind, decision.sure) == (kind, True)


def test_what_speaks_against_it_is_kept_and_the_hint_names_the_other_kind() -> None:
    decision = decide(bytes(Elf([Segment(0x2000, QUIET.data)], None, entry=0x2000)))
    assert not decision.sure
    assert decision.hint() == (
        "was taken for an enclave, as it is linked at 0x2000, below where Linux programs are; "
        "--as host runs it as a host program"
    )
    other = decide(bytes(Elf([Segment(0x10000, QUIET.data)], None, entry=0x10000)))
    assert other.hint().endswith("; --as enclave runs it as an enclave")


def test_servers_are_known_by_how_they_return() -> None:
    for name, server in (("server", True), ("kv-server", True), ("caller", False), ("hello-world", False)):
        assert decide(GUEST / f"{name}.elf").server is server


# ---- the code ----


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("93080004 73000000", 64),  # li a7, 64
        ("a148 73000000", 8),  # c.li a7, 8
        ("fd58 73000000", -1),  # c.li a7, -1
        ("93080004 13050000 93050000 73000000", 64),
        ("93080004 9308d005 73000000", 93),
        ("93080004" + "13000000" * 8 + "73000000", None),
        ("13050004 73000000", None),
        ("73000000", None),
    ],
)
def test_the_number_of_a_call(code: str, number: int | None) -> None:
    text = bytes.fromhex(code)
    found = find_calls(read_headers(bytes(Elf([Segment(0x1000, text)], None))))
    assert found.first == 0x1000 + len(text) - 4
    assert list(found.numbers) == ([] if number is None else [number])


@pytest.mark.parametrize("code", ["1300000000730000 00000000", "730000", ""])
def test_what_is_no_call(code: str) -> None:
    assert find_calls(read_headers(bytes(Elf([Segment(0x1000, bytes.fromhex(code))], None)))).first is None


@pytest.mark.parametrize(
    "code", [b"\x73\0\0\0", b"\x37\x00\x10\x00", b"\x73\x10\0\0", b"\x73\x10\x50\x10\x01", b"\xb7\x08\x10\0"]
)
def test_much_code_takes_bounded_time(code: bytes) -> None:
    data = bytes(Elf([Segment(0x1000, code * (3 << 20))], None))
    start = time.process_time()
    decide(data)
    assert time.process_time() - start < 3


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_any_bytes_are_decided(data: st.DataObject) -> None:
    sample = bytearray(
        data.draw(st.sampled_from([bytes(s.typical()), (GUEST / "host/musl/host").read_bytes()]))
    )
    for _ in range(data.draw(st.integers(0, 8))):
        sample[data.draw(st.integers(0, 700))] = data.draw(st.integers(0, 255))
    decision = decide(bytes(sample[: data.draw(st.integers(0, len(sample)))]))
    assert decision.reasons
    assert all(line.isprintable() for line in (*decision.reasons, *decision.against, decision.hint()))
