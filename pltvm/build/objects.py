"""Properties of object files and ELFs that affect linking."""

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_AR: Final = b"!<arch>\n"
_AR_HEADER: Final = 60
_TLS: Final = 7  # PT_TLS
_PROGRAM_HEADER: Final = 56
_COUNT_AT: Final = 0x38  # of e_phnum
# A conversion of printf or scanf for a floating-point number.
_FLOAT: Final = re.compile(rb"%[-+ #0']*(?:\d+|\*)?(?:\.(?:\d+|\*)?)?[lL]?[aAeEfFgG]")
_AT_START: Final = frozenset((".init_array", ".fini_array", ".tdata"))


def print_floats(files: Sequence[Path]) -> bool:
    """Whether any of these objects and archives contains a format for floating-point numbers."""
    return any(_FLOAT.search(text) for file in files for one in _members(file) for text in _data(one))


def has_startup(elf: bytes) -> bool:
    """Whether something has to run before the entry function: constructors, or setup of thread variables."""
    from lief import ELF

    binary = ELF.parse(elf)
    return binary is not None and any(str(one.name) in _AT_START and one.size for one in binary.sections)


def without_tls_header(elf: bytes) -> bytes:
    """Return the ELF without PT_TLS, the last program header, which the original loader would map."""
    start, count = struct.unpack_from("<Q", elf, 0x20)[0], struct.unpack_from("<H", elf, _COUNT_AT)[0]
    last = start + (count - 1) * _PROGRAM_HEADER
    if struct.unpack_from("<I", elf, last)[0] != _TLS:
        return elf
    changed = bytearray(elf)
    changed[last : last + _PROGRAM_HEADER] = bytes(_PROGRAM_HEADER)
    struct.pack_into("<H", changed, _COUNT_AT, count - 1)
    return bytes(changed)


def _members(file: Path) -> Iterator[bytes]:
    """Yield the objects in an archive, or the file itself."""
    content = file.read_bytes()
    if not content.startswith(_AR):
        yield content
        return
    at = len(_AR)
    while at + _AR_HEADER <= len(content):
        size = int(content[at + 48 : at + 58].decode("ascii", "replace").strip() or 0)
        yield content[at + _AR_HEADER : at + _AR_HEADER + size]
        at += _AR_HEADER + size + size % 2


def _data(content: bytes) -> Iterator[bytes]:
    """Yield the loaded data sections of an object."""
    if not content.startswith(b"\x7fELF\x02\x01") or len(content) < 64:
        return
    table, size, count = *struct.unpack_from("<Q", content, 0x28), *struct.unpack_from("<HH", content, 0x3A)
    for at in range(table, table + size * count, size):
        if at + 64 > len(content):
            return
        kind, flags, _, offset, length = struct.unpack_from("<IQQQQ", content, at + 4)
        if flags & 2 and not flags & 4 and kind == 1:  # SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS
            yield content[offset : offset + length]
