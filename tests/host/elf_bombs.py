"""ELF files of a few KiB that once cost gigabytes, or minutes, to look at."""

import struct
import zlib
from functools import cache
from pathlib import Path

from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Section, Segment

ABBREV = bytes([1, 0x11, 0, 0x10, 0x17, 0, 0, 0])  # DW_TAG_compile_unit: DW_AT_stmt_list, sec_offset
_OPCODES = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
_ROW = 13 + 6 + 14  # a special opcode: address and line + 1
SHF_COMPRESSED = 0x800


def shared_bytes(path: Path, headers: int, size: int) -> None:
    """Write a sparse file of which every header names the same `size` bytes."""
    text = Segment(0x1000, CODE, offset=4096, file_size=size)
    notes = [
        Segment(0x1000, flags=s.R, type=s.PT_NOTE, offset=4096, file_size=size) for _ in range(headers - 1)
    ]
    content = bytes(Elf([text, *notes], None))
    with path.open("wb") as file:
        file.write(content[: 64 + 56 * headers])
        file.seek(4096)
        file.write(CODE)
        file.truncate(4096 + size)


def debug_elf(**sections: bytes | tuple[bytes, int]) -> bytes:
    """An enclave with sections .debug_NAME; a tuple is content and flags."""
    made = []
    for name, given in sections.items():
        data, flags = given if isinstance(given, tuple) else (given, 0)
        made.append(Section(f".{name}", s.SHT_PROGBITS, data=data, flags=flags))
    return bytes(Elf([Segment(0x1000, CODE + bytes(0x100))], made))


def units(count: int) -> bytes:
    """.debug_info with so many units that all name the line table at 0."""
    body = struct.pack("<HIB", 4, 0, 8) + b"\x01" + struct.pack("<I", 0)
    return (struct.pack("<I", len(body)) + body) * count


def line_table(rows: int, directories: bytes = b"", files: bytes = b"f.c\0\0\0\0") -> bytes:
    """A line table of DWARF 4 with so many rows from 0x1000 on, a byte each."""
    header = bytes([1, 1, 1, 0xFB, 14, 13]) + _OPCODES + directories + b"\0" + files + b"\0"
    program = b"\0\x09\x02" + struct.pack("<Q", 0x1000) + bytes([_ROW]) * rows + b"\0\x01\x01"
    unit = struct.pack("<HI", 4, len(header)) + header + program
    return struct.pack("<I", len(unit)) + unit


def old_zlib(data: bytes, size: int | None = None) -> bytes:
    """The content of a .zdebug section; `size` is what it claims to hold."""
    return b"ZLIB" + struct.pack(">Q", len(data) if size is None else size) + zlib.compress(data)


def compressed(kind: int, packed: bytes, size: int) -> tuple[bytes, int]:
    """A section with an Elf64_Chdr, for `debug_elf`."""
    return struct.pack("<IIQQ", kind, 0, size, 1) + packed, SHF_COMPRESSED


@cache
def zeros(mib: int) -> bytes:
    """So many MiB of zeros, compressed by zlib."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mib)) + packer.flush()
