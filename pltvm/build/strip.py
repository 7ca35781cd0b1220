"""Removes unused parts of a linked ELF; loaded bytes and their places do not change.

So an enclave's measurement does not change either. (Host programs load their headers, whose fields on
sections change.)

The compilers leave hundreds of local labels in the symbol table; zig's linker can remove neither these nor
debug information without the symbols. lief removes them, which leaves holes: then all sections that are not
loaded are moved up, after the loaded ones.

lief is imported only when something is built.
"""

from typing import Final

from lief import ELF

from pltvm.errors import BuildError

_SECTION_HEADER: Final = 64  # bytes


def strip(elf: bytes, *, debug: bool) -> bytes:
    """Return the ELF without local labels (local symbols without a type); with `debug` also without
    `.debug_*`."""
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
    """Return the ELF without holes between sections that are not loaded."""
    binary = _parsed(elf)
    behind = [one for one in binary.sections if one.offset and not one.has(ELF.Section.FLAGS.ALLOC)]
    loaded = [one for one in binary.segments if one.type == ELF.Segment.TYPE.LOAD]
    # The only segment for a section that is not loaded: it moves with the section.
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
