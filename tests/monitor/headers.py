"""What C headers of `guest/` say, as the compiler understands them: from the debug information it writes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from pltvm.build import zig


class Member(NamedTuple):
    """A field of a structure; those of nested structures stand in their place."""

    name: str
    offset: int
    size: int


class Header(NamedTuple):
    """Numbers and structures by their names."""

    enumerators: dict[str, int]
    structures: dict[str, list[Member]]
    sizes: dict[str, int]  # of structures
    values: dict[str, int]  # of the expressions that were asked for


def read(names: Sequence[str], values: Mapping[str, str], flags: Sequence[str], folder: Path) -> Header:
    """Compile these headers in a folder, and see what is in them, and what these named expressions are there.

    `flags` are for the compiler of ziglang, and say where the headers are.
    """
    source, output = folder / "headers.c", folder / "headers.elf"
    lines = [f"#include <{name}>" for name in names]
    lines += [f"const unsigned long long value_{name} = ({text});" for name, text in values.items()]
    source.write_text("\n".join([*lines, "int main(void) { return 0; }\n"]))
    unused = ("-g", "-fno-eliminate-unused-debug-types", "-fno-sanitize=all")
    command = zig.command("cc", *flags, *unused, str(source), "-o", str(output))
    zig.run(command, output, output, zig.cache_dir(folder))
    with output.open("rb") as file:
        elf = ELFFile(file)
        units = (unit.get_top_DIE() for unit in elf.get_dwarf_info().iter_CUs())
        (unit,) = (unit for unit in units if _name(unit).endswith(source.name))
        enumerators: dict[str, int] = {}
        structures, sizes = {}, {}
        for one in unit.iter_children():
            if one.tag == "DW_TAG_enumeration_type":
                children = {_name(child): _number(child, "const_value") for child in one.iter_children()}
                enumerators.update(children)
            elif one.tag == "DW_TAG_structure_type" and _name(one):
                structures[_name(one)] = list(_members(one, 0))
                sizes[_name(one)] = _number(one, "byte_size")
        return Header(enumerators, structures, sizes, dict(_values(elf)))


def _name(one: DIE) -> str:
    name = one.attributes.get("DW_AT_name")
    return name.value.decode() if name else ""


def _number(one: DIE, what: str) -> int:
    return int(one.attributes[f"DW_AT_{what}"].value)


def _members(structure: DIE, base: int) -> Iterator[Member]:
    for child in structure.iter_children():
        kind = _plain(child.get_DIE_from_attribute("DW_AT_type"))
        offset = base + _number(child, "data_member_location")
        if kind.tag == "DW_TAG_structure_type":
            yield from _members(kind, offset)
        else:
            yield Member(_name(child), offset, _size(kind))


def _plain(kind: DIE) -> DIE:
    while kind.tag in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
        kind = kind.get_DIE_from_attribute("DW_AT_type")
    return kind


def _size(kind: DIE) -> int:
    kind = _plain(kind)
    if kind.tag == "DW_TAG_pointer_type":
        return 8
    if kind.tag != "DW_TAG_array_type":
        return _number(kind, "byte_size")
    size = _size(kind.get_DIE_from_attribute("DW_AT_type"))
    for dimension in kind.iter_children():
        size *= _number(dimension, "count")
    return size


def _values(elf: ELFFile) -> Iterator[tuple[str, int]]:
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if match := re.fullmatch(r"value_(\w+)", symbol.name):
            section = elf.get_section(symbol["st_shndx"])
            at = symbol["st_value"] - section["sh_addr"]
            yield match[1], int.from_bytes(section.data()[at : at + 8], "little")
