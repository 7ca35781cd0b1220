"""pltvm.host.unwind: rules that pyelftools finds too, and backtraces where prologues say nothing."""

import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from pltvm import Machine
from pltvm.host.debug_sections import find_section
from pltvm.host.elf_headers import read_headers
from pltvm.host.symbols import Symbols
from pltvm.host.unwind import S0, Unwinder

# Frames of variable size; it stands alone, so any compiler can link it.
SOURCE = """
__asm__(".globl _start\\n_start:\\n.cfi_startproc\\n.cfi_undefined ra\\ncall main\\n"
        "li a6, 0x100101\\nli a7, 99\\necall\\n.cfi_endproc\\n");
static volatile long sink;
__attribute__((noinline)) long inner(volatile long *p, long n, long *q)
{
    long room[n + 1];
    room[n] = n;
    q[0] = room[n];
    *p = q[0];
    return room[n >> 1];
}
__attribute__((noinline)) long middle(volatile long *p, long n)
{
    long q[40], sum = 0;
    for (int i = 0; i < 3; i++)
        sum += inner(p, n + i, q + i);
    sink = sum;
    return sum + q[2];
}
__attribute__((noinline)) long outer(volatile long *p, long n) { return middle(p, n) * 3 + middle(p, n + 1); }
long main(void) { return outer((volatile long *)0x123456780, 3) + sink; }
"""
FREE = ("-ffreestanding", "-nostdlib", "-static", "-O2", "-fno-stack-protector", "-mcmodel=medany")
GCC = "riscv64-linux-gnu-gcc"
ZIG = [
    sys.executable,
    "-m",
    "ziglang",
    "cc",
    "-target",
    "riscv64-freestanding-none",
    "-Wl,--image-base=0x1000",
]
gcc = pytest.mark.skipif(shutil.which(GCC) is None, reason=f"{GCC} is not installed")
NAMES = ["inner", "middle", "outer", "main", "_start"]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Compiles the program with these flags, by zig or by gcc."""
    monkeypatch.chdir(tmp_path)

    def build(*flags: str, by: str = "zig") -> bytes:
        Path("deep.c").write_text(SOURCE)
        base = "-Wl,-Ttext-segment=0x1000,--build-id=none"
        command = ZIG if by == "zig" else [GCC, "-march=rv64gc", "-mabi=lp64d", "-fno-pic", "-no-pie", base]
        subprocess.run([*command, *FREE, "deep.c", "-o", "deep", *flags], check=True)
        return Path("deep").read_bytes()

    return build


def frames_of(elf: bytes) -> list[str]:
    result = Machine(64 << 20).create(elf).run(timeout=60)
    assert result.fault is not None
    return [frame.partition("+")[0].partition(" ")[0] for frame in result.fault.stacks[0].frames]


def by_pyelftools(elf: bytes) -> list[tuple[int, int, int, int | None, int | None]]:
    """Address, register and offset of the CFA, and where ra and s0 are, of each row of each table."""
    dwarf = ELFFile(io.BytesIO(elf)).get_dwarf_info()
    entries = list(dwarf.EH_CFI_entries()) if dwarf.has_EH_CFI() else []
    entries += dwarf.CFI_entries() if dwarf.has_CFI() else []
    found = []
    for entry in entries:
        if not isinstance(entry, FDE):
            continue
        table = entry.get_decoded().table
        for row, after in zip(table, [*table[1:], None], strict=True):
            stored = [row[at].arg if at in row and row[at].type == "OFFSET" else None for at in (1, S0)]
            end = entry["initial_location"] + entry["address_range"]
            if row["pc"] < (after["pc"] if after is not None else end):
                found.append((row["pc"], row["cfa"].reg, row["cfa"].offset, *stored))
    return found


@pytest.mark.parametrize(
    "flags", [("-fasynchronous-unwind-tables",), ("-g", "-fno-asynchronous-unwind-tables")]
)
def test_the_rules_that_pyelftools_finds(flags: tuple[str, ...], built) -> None:
    elf = built(*flags)
    rows = by_pyelftools(elf)
    assert len(rows) > 10
    unwinder = Unwinder(read_headers(elf))
    for pc, register, offset, ra, s0 in rows:
        rules = unwinder.rules(pc)
        assert rules is not None
        assert (rules.register, rules.offset, rules.ra, rules.s0) == (register, offset, ra, s0), hex(pc)


@gcc
def test_registers_that_a_call_saves(built) -> None:
    """-msave-restore: no prologue says where they are."""
    with_tables = built("-msave-restore", "-fasynchronous-unwind-tables", "-lgcc", by="gcc")
    assert frames_of(with_tables) == NAMES
    without = built("-msave-restore", "-fno-asynchronous-unwind-tables", "-lgcc", by="gcc")
    assert frames_of(without)[:2] == NAMES[:2]
    subprocess.run(["riscv64-linux-gnu-strip", "deep"], check=True)
    built("-msave-restore", "-fasynchronous-unwind-tables", "-lgcc", by="gcc")
    subprocess.run(["riscv64-linux-gnu-strip", "deep"], check=True)
    stripped = Path("deep").read_bytes()
    frames = frames_of(stripped)
    assert len(frames) == len(NAMES)
    assert [Symbols(with_tables).locate(int(frame, 16)).symbol for frame in frames] == NAMES


@pytest.mark.parametrize("packed", ["zlib", "zstd"])
def test_compressed_sections_of_dwarf_5(packed: str, built) -> None:
    elf = built("-g", "-gdwarf-5", f"-gz={packed}", f"-Wl,--compress-debug-sections={packed}")
    assert any(one["sh_flags"] & 0x800 for one in read_headers(elf).sections)
    result = Machine(64 << 20).create(elf).run()
    assert result.fault is not None
    line = SOURCE[: SOURCE.index("*p = q[0]")].count("\n") + 1
    assert result.fault.location.endswith(f"(deep.c:{line})")
    assert frames_of(elf) == NAMES


def without_section_headers(elf: bytes) -> bytes:
    """What sstrip makes of it: the end of the file may go too, but need not."""
    return elf[:40] + bytes(8) + elf[48:58] + bytes(6) + elf[64:]


def test_no_section_headers(built) -> None:
    """The table of unwind tables is in a segment of its own, so frames are known all the same."""
    whole = built("-fasynchronous-unwind-tables", "-Wl,--eh-frame-hdr")
    elf = without_section_headers(whole)
    frames = frames_of(elf)
    assert [Symbols(whole).locate(int(frame, 16)).symbol for frame in frames] == NAMES
    note = "it has no section headers, so no names of functions and no source lines are known"
    assert Symbols(elf).note == note
    result = Machine(64 << 20).create(elf).run()
    assert f"  note: {note}" in str(result.fault)


@gcc
@pytest.mark.parametrize("version", ["4", "5"])
def test_split_debug_information_is_said(version: str, built) -> None:
    elf = built("-g", f"-gdwarf-{version}", "-gsplit-dwarf", by="gcc")
    assert ".dwo files (-gsplit-dwarf), which are not read" in Symbols(elf).note
    assert ".dwo" not in Symbols(built("-g", f"-gdwarf-{version}", by="gcc")).note
    result = Machine(64 << 20).create(elf).run()
    assert result.fault is not None
    assert "(deep.c:" in result.fault.location


def test_damage_raises_nothing(built) -> None:
    elf = built("-fasynchronous-unwind-tables")
    headers = read_headers(elf)
    rng = random.Random(7)
    places = range(0x1000, 0x3000, 2)
    section = find_section(headers, ".eh_frame")
    assert section is not None
    start, size = section["sh_offset"], section["sh_size"]
    for _ in range(300):
        data = bytearray(elf)
        for _ in range(rng.randrange(1, 8)):
            data[start + rng.randrange(size)] = rng.choice((0, 1, 0x0A, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        unwinder = Unwinder(read_headers(bytes(data)))
        for pc in rng.sample(places, 30):
            unwinder.rules(pc)
    for at in range(0, size, 3):
        unwinder = Unwinder(read_headers(elf[: start + at] + bytes(len(elf) - start - at)))
        assert unwinder.rules(0x1000) is None or at
