"""Takes out of a linked ELF what nobody reads; what gets loaded stays where it is, byte for byte.

So an enclave's measurement stays too. (Host programs load their headers: what these say of sections changes.)

The compilers leave hundreds of local labels in the symbol table, and zig's linker can drop neither them nor,
without the symbols, debug information. lief takes them out. It leaves holes where they were: then all
sections that do not get loaded move up behind those that do.

Loads lief: for those who build, at the time they do.
"""

from typing import Final

from lief import ELF

from pltvm.errors import BuildError

_SECTION_HEADER: Final = 64  # bytes


def strip(elf: bytes, *, debug: bool) -> bytes:
    """The ELF without local labels: local symbols without a type. With `debug` also without `.debug_*`."""
    binary = _parsed(elf)
    local, untyped = ELF.Symbol.BINDING.LOCAL, ELF.Symbol.TYPE.NOTYPE
    labels = [
        one for one in binary.symtab_symbols if (one.binding, one.type) == (local, untyped) and one.name
    ]
    names = [str(one.name) for one in binary.sections]
    tables = [name for name in names if debug and name.startswith(".debug_")]
    if not labels and not tables:
        return elf
    for name in tables:
        binary.remove_section(name)
    for label in labels:
        binary.remove_symtab_symbol(label)
    return _close_up(_written(binary))


def _close_up(elf: bytes) -> bytes:
    """The ELF without holes between the sections that do not get loaded."""
    binary = _parsed(elf)
    behind = [one for one in binary.sections if one.offset and not one.has(ELF.Section.FLAGS.ALLOC)]
    loaded = [one for one in binary.segments if one.type == ELF.Segment.TYPE.LOAD]
    # The one segment for a section that does not get loaded: it moves along.
    attributes = [one for one in binary.segments if one.type == ELF.Segment.TYPE.RISCV_ATTRIBUTES]
    end = max(one.file_offset + one.physical_size for one in loaded)
    for section in sorted(behind, key=lambda one: one.offset):
        content = list(section.content)
        end += -end % max(section.alignment, 1)
        for segment in attributes:
            if segment.file_offset == section.offset:
                segment.file_offset = end
        section.offset = end
        section.content = content
        end += len(content)
    end += -end % 8
    binary.header.section_header_offset = end
    return _written(binary)[: end + len(binary.sections) * _SECTION_HEADER]


def _parsed(elf: bytes) -> ELF.Binary:
    binary = ELF.parse(elf)
    if binary is None:
        raise BuildError("the linker made no ELF")
    return binary


def _written(binary: ELF.Binary) -> bytes:
    builder = ELF.Builder(binary, ELF.Builder.config_t())
    builder.build()
    return bytes(builder.get_build())
