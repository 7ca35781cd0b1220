"""pltvm.host.elf_details: names of the parts of an ELF, of damaged ones too, and its arch string."""

from types import SimpleNamespace
from typing import Any

import pytest

from pltvm.host.elf_details import arch_string, section_name, segment_name, unsupported_extensions


def headers(data: bytes, *sections: dict[str, Any], names: Any = 0) -> Any:
    """What the functions look at; `names` is the number of the section that holds names."""
    return SimpleNamespace(data=data, sections=sections, header={"e_shstrndx": names})


@pytest.mark.parametrize(
    ("kind", "flags", "name"),
    [
        ("PT_LOAD", 0, "segment LOAD ---"),
        ("PT_LOAD", 1, "segment LOAD --X"),
        ("PT_LOAD", 2, "segment LOAD -W-"),
        ("PT_LOAD", 4, "segment LOAD R--"),
        ("PT_RISCV_ATTRIBUTES", 7, "segment RISCV_ATTRIBUTES RWX"),
        (0x6FFF_FF01, 0xFFF8, "segment type 0x6fffff01 ---"),
    ],
)
def test_segments(kind: str | int, flags: int, name: str) -> None:
    assert segment_name({"p_type": kind, "p_flags": flags}) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b".bss\0.data\0", ".bss"),
        (b"a" * 64 + b"\0", "a" * 64),
        (b"a" * 65 + b"\0", "a" * 64),
        (b"no end", "no end"),
        (b"\xffbss\0", "\ufffdbss"),
        (b"\0", "NOBITS"),
        (b"", "NOBITS"),
        (b"two\nlines\0", "NOBITS"),
    ],
)
def test_names_of_sections(raw: bytes, name: str) -> None:
    elf = headers(b"front" + b"skip" + raw, {"sh_offset": 5})
    assert section_name(elf, {"sh_name": 4}) == name


@pytest.mark.parametrize("names", [1, 77, "SHN_XINDEX"])
def test_without_a_section_of_names(names: Any) -> None:
    assert section_name(headers(b".bss\0", {"sh_offset": 0}, names=names), {"sh_name": 0}) == "NOBITS"


def attributes(offset: int, size: int, kind: str = "SHT_RISCV_ATTRIBUTES") -> dict[str, Any]:
    return {"sh_type": kind, "sh_offset": offset, "sh_size": size}


def test_the_arch_string_is_found_by_its_shape() -> None:
    data = b"rv64a\0" + b"A\x33\0riscv\0\1" + b"rv64i2p1_m2p0\0" + b"rv64c\0"
    whole = attributes(6, len(data) - 6)
    assert arch_string(headers(data, attributes(0, 6, "SHT_PROGBITS"), whole)) == "rv64i2p1_m2p0"
    assert arch_string(headers(data, attributes(0, 4), whole)) == "rv64i2p1_m2p0", "the first has none"
    assert arch_string(headers(data, attributes(6, 12))) == ""
    assert arch_string(headers(data)) == ""
    assert arch_string(headers(b"rv64imac", attributes(0, 8))) == "", "it does not end"


@pytest.mark.parametrize(("before", "found"), [(4096 - 9, "rv64imac"), (4096 - 8, "")])
def test_only_the_begin_of_a_damaged_section_is_looked_at(before: int, found: str) -> None:
    data = bytes(before) + b"rv64imac\0"
    assert arch_string(headers(data, attributes(0, 1 << 40))) == found


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("", []),
        ("rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicsr2p0_zifencei2p0_zmmul1p0", []),
        ("rv64imafdcv", ["v"]),
        ("rv64i2p1_xvendor1p0_v1p0_b1p0_k1p0", ["xvendor", "v", "k"]),
        ("rv64i2p1_b1p0_zba1p0_zicsr2p0_q2p2", ["q"]),
        ("rv64i2p1__zbc", ["zbc"]),
    ],
)
def test_extensions_that_the_hart_lacks(arch: str, expected: list[str]) -> None:
    assert unsupported_extensions(arch) == expected
