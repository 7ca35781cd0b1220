"""Names of an ELF's parts, and the extensions that it was built for."""

import re
from typing import Any

from pltvm.host.elf_headers import Headers

PF_X, PF_W, PF_R = 1, 2, 4


def segment_name(segment: Any) -> str:
    """Return a program header in words: "segment LOAD R-X"."""
    kind, flags = segment["p_type"], segment["p_flags"]
    name = kind.removeprefix("PT_") if isinstance(kind, str) else f"type {kind:#x}"
    letters = (letter if flags & bit else "-" for letter, bit in (("R", PF_R), ("W", PF_W), ("X", PF_X)))
    return f"segment {name} {''.join(letters)}"


def section_name(elf: Headers, section: Any) -> str:
    """Return a section's name, or "NOBITS" if the table of names is missing or damaged."""
    index = elf.header["e_shstrndx"]
    if isinstance(index, int) and index < len(elf.sections):
        start = elf.sections[index]["sh_offset"] + section["sh_name"]
        name = elf.data[start : start + 64].split(b"\0")[0].decode("ascii", "replace")
        if name and name.isprintable():
            return name
    return "NOBITS"


# rv64gc, the extensions of `engine/bits.py`, and names that add no instructions: subsets, hints, counters,
# profile markers. RVA22 also has half precision and two cache extensions, RVA23 also V and others: not here.
SUPPORTED = re.compile(
    "[eimafdcgb]|zba|zbb|zbs|zicond|zcb|zicbop|zkt|zicsr|zifencei|zmmul|zaamo|zalrsc|zca|zcd|zicntr|zihpm|zihintpause|zihintntl"
    "|ziccif|ziccrse|ziccamoa|zicclsm|za64rs|za128rs|zic64b"
)


def arch_string(elf: Headers) -> str:
    """Return the arch string ("rv64i2p1_m2p0…") in .riscv.attributes, or "".

    It is found by a pattern: pyelftools' reader of attributes does not terminate on some damaged sections.
    """
    for section in elf.sections:
        if section["sh_type"] == "SHT_RISCV_ATTRIBUTES":
            start, size = section["sh_offset"], min(section["sh_size"], 4096)
            if found := re.search(rb"rv64[a-z0-9_]+(?=\0)", elf.data[start : start + size]):
                return found[0].decode()
    return ""


def unsupported_extensions(arch: str) -> list[str]:
    """Return the extensions in an arch string that pltvm's hart does not implement, in the string's order."""
    names: list[str] = []
    for token in arch.removeprefix("rv64").split("_"):
        if re.fullmatch(r"(?:[a-rt-wy](?:\d+p\d+)?)+", token):  # single letters: "i2p1", "imafdc"
            names += re.findall(r"([a-z])(?:\d+p\d+)?", token)
        elif token:
            names.append(re.sub(r"\d+p\d+$", "", token))
    return [name for name in names if not SUPPORTED.fullmatch(name)]
