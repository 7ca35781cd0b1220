"""Reads the ELF in a program's memory: its size follows from its headers, not from the given size (§8)."""

from collections.abc import Callable
from errno import EFAULT, EPERM
from struct import Struct
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.elf_headers import MAX_FILE
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.requests import Refused
from pltvm.monitor.abi import MAX_ELF

_HEADER: Final = Struct("<16s8x8xQQ4x2xHHHH2x")  # identity; tables' offsets, their entries' sizes and counts
_SEGMENT: Final = Struct("<II4Q")  # type, flags, offset, address, physical address, bytes in the file
_SECTION: Final = Struct("<II4Q")  # name, type, flags, address, offset, bytes
_MEMORY_AT: Final = 40  # of the u64 in a program header: bytes in memory
_LOAD, _NOBITS = 1, 8
_ELF64: Final = b"\x7fELF\x02\x01"

Read = Callable[[int, int], bytes]


def read_elf(read: Read, address: int) -> bytes:
    """Return the ELF at `address`, read by `read(address, bytes)`, up to the end given by its headers.

    Raises Refused: with EPERM if it needs more memory than allowed, else with EFAULT.
    """
    head = read(address, 64)
    identity, segments_at, sections_at, segment_size, segments, section_size, sections = _HEADER.unpack_from(
        head
    )
    if not identity.startswith(_ELF64) or segment_size != 56 or (sections and section_size != 64):
        return head  # invalid: the loader reports the reason
    if max(segments_at, sections_at) > MAX_FILE:
        raise Refused(EFAULT, "the ELF's tables lie outside every file")
    end = max(64, segments_at + segments * segment_size)
    memory = 0
    table = read(address + segments_at, segments * segment_size)
    for at in range(0, len(table), segment_size):
        kind, _, offset, _, _, in_file = _SEGMENT.unpack_from(table, at)
        in_memory = int.from_bytes(table[at + _MEMORY_AT : at + _MEMORY_AT + 8], "little")
        if in_file or kind == _LOAD:
            memory += pages_for(max(in_memory, in_file)) * PAGE
            end = max(end, offset + in_file if in_file else 0)
    if memory > MAX_ELF:
        raise Refused(EPERM, f"the ELF asks for {memory >> 20} MiB: at most {MAX_ELF >> 20} are allowed")
    with_symbols = end
    if sections_at and sections:
        end = max(end, sections_at + sections * section_size)
        table = read(address + sections_at, sections * section_size)
        for at in range(0, len(table), section_size):
            _, kind, _, _, offset, size = _SECTION.unpack_from(table, at)
            if kind != _NOBITS:
                with_symbols = max(with_symbols, offset + size)
    if end > MAX_FILE:
        raise Refused(EFAULT, f"the ELF's headers name {end >> 20} MiB: at most {MAX_FILE >> 20} are allowed")
    if end < with_symbols <= MAX_FILE:
        try:
            return read(address, with_symbols)
        except LinuxError:
            pass  # only symbols come after it
    return read(address, end)
