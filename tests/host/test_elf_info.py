"""pltvm.host.elf_info: the description for people and for programs."""

import hashlib
import json

import pytest

from pltvm.build import guest
from pltvm.errors import ElfError
from pltvm.host.elf_info import block_pages, describe
from pltvm.host.elf_kind import Kind
from pltvm.host.elf_table import human
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Segment


def test_text(tmp_path):
    path = tmp_path / "server.elf"
    path.write_bytes(bytes(s.typical()))
    assert str(describe(path)) == "\n".join(
        [
            f"{path}: Penglai enclave, RISC-V RV64, statically linked",
            "  because  it makes enclave calls: 0x100101 for a6, at 0x1000",
            "           it is linked at 0x1000, as the SDK does",
            "           (pltvm run --as host|enclave|server|kernel takes it for something else)",
            f"  sha256   {hashlib.sha256(path.read_bytes()).hexdigest()}",
            f"  size     {human(path.stat().st_size)}",
            "  entry    0x1000  _start",
            "  memory   512 pages, 2 MiB  (7 ELF + 16 stack + 256 spare pages)",
            "",
            "       address           end  in memory  in file  mapped  what",
            "  0x37ffff0000  0x3800000000     64 KiB        -  RW-     stack",
            "        0x4010        0x7010     12 KiB        -  RWX     section .bss",
            "        0x1000        0x2100    4.2 KiB  4.2 KiB  R-X     segment LOAD R-X",
            "        0x3000        0x3006        6 B      6 B  R-X     segment LOAD R--",
            "        0x4000        0x4010       16 B     16 B  RWX     segment LOAD RW-",
        ]
    )


def test_json():
    info = json.loads(json.dumps(describe(bytes(s.typical())).to_dict()))
    assert info["entry"] == 0x1000
    assert info["entry_symbol"] == "_start"
    assert info["block_pages"] == 512
    assert info["mappings"][1] == {
        "vaddr": 0x4010, "size": 0x3000, "file_size": 0, "permissions": "RWX", "what": "section .bss",
    }  # fmt: skip


def test_warnings_are_shown():
    info = describe(bytes(Elf([Segment(0x1234, CODE)], entry=0x1234)))
    assert "\n  warning: segment LOAD R-X at 0x1234 is not page aligned" in str(info)


def test_permissions_are_the_final_ones():
    info = describe(bytes(Elf([Segment(0x1000, CODE), Segment(0x1800, b"d", s.RW)])), stack_size=0)
    assert [row.permissions for row in info.mappings] == ["RWX", "RWX"]


def test_pages_side_by_side_keep_their_own_permissions():
    code, page = Segment(0x1000, CODE.ljust(0x1000, b"\0")), bytes(0x1000)
    info = describe(bytes(Elf([code, Segment(0x2000, page, s.RW), Segment(0x3000, page)])), stack_size=0)
    assert [row.permissions for row in info.mappings] == ["R-X", "RWX", "R-X"]


def test_what_somebody_says_needs_no_reason():
    text = str(describe(bytes(Elf([Segment(0x10000, s.LINUX_CODE)], entry=0x10000)), kind=Kind.ENCLAVE))
    assert text.startswith("ELF image: Penglai enclave, RISC-V RV64, statically linked\n  sha256")


def test_a_server_and_a_kernel_program_are_called_that():
    elves = guest.guest_dir() / "elf"
    assert ": Penglai server enclave, " in str(describe(elves / "server.elf"))
    assert ": kernel program for S-mode, " in str(describe(elves / "attacks" / "s-wish.elf"))


@pytest.mark.parametrize(
    ("elf_pages", "stack_pages", "block"),
    [(1, 16, 512), (240, 16, 512), (241, 16, 1024), (0, 0, 256), (131072, 16384, 262144)],
)
def test_block_is_the_power_of_two_that_holds_all(elf_pages, stack_pages, block):
    assert block_pages(elf_pages, stack_pages) == block


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1 MiB"),
        ((1 << 20) - 1, "1024 KiB"),
        (2 << 20, "2 MiB"),
        (1 << 30, "1 GiB"),
        (3 << 40, "3072 GiB"),
    ],
)
def test_human(size, text):
    assert human(size) == text


@pytest.mark.parametrize("size", [-1, (64 << 20) + 1])
def test_impossible_stack(size):
    with pytest.raises(ElfError, match="stack of"):
        describe(bytes(Elf()), size)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(ElfError, match=r"nope\.elf: no such file"):
        describe(tmp_path / "nope.elf")
