"""Reads the sections with symbols and lines, also compressed ones, with limits."""

import sys
import zlib
from typing import Any, Final

from pltvm.host.elf_headers import Headers

MAX_UNPACKED: Final = 64 << 20  # total bytes of a file's unpacked sections
LINES: Final = (".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_line_str")
FUNCTIONS: Final = (
    *(".debug_info", ".debug_abbrev", ".debug_str", ".debug_line_str", ".debug_str_offsets", ".debug_addr"),
    *(".debug_ranges", ".debug_rnglists"),
)
_NOBITS: Final = "SHT_NOBITS"
_SHF_COMPRESSED: Final = 0x800
_ZLIB, _ZSTD = 1, 2  # ch_type
_CHDR, _OLD_CHDR = 24, 12  # bytes of the header: Elf64_Chdr, or "ZLIB" and the size
_LONGEST_NAME: Final = 64
_WINDOW_LOG: Final = 26  # of zstd: 64 MiB; without it the decoder would take up to 2 GiB


class TooBig(Exception):
    """The sections are larger than the limit."""


class Damaged(Exception):
    """A compressed section is damaged."""


def section_data(elf: Headers, section: Any) -> memoryview:
    """Return the bytes of a section that are in the file, unchanged."""
    if section["sh_type"] == _NOBITS:
        return memoryview(b"")
    start = section["sh_offset"]
    return memoryview(elf.data)[start : start + section["sh_size"]]


def find_section(elf: Headers, name: str) -> Any | None:
    """Return the first section of this name, or None."""
    return next((section for section in elf.sections if _name(elf, section) == name), None)


def line_sections(elf: Headers, wanted: tuple[str, ...] = LINES) -> dict[str, memoryview]:
    """Return the wanted sections of the file, by name, unpacked. Raises TooBig, Damaged."""
    found: dict[str, memoryview] = {}
    room = MAX_UNPACKED
    for section in elf.sections:
        name = _name(elf, section)
        plain = ".debug_" + name.removeprefix(".zdebug_") if name.startswith(".zdebug_") else name
        if plain not in wanted or plain in found:
            continue
        data = section_data(elf, section)
        if section["sh_flags"] & _SHF_COMPRESSED:
            header = bytes(data[:_CHDR])
            kind, size = int.from_bytes(header[:4], "little"), int.from_bytes(header[8:16], "little")
            data, room = _unpacked(data[_CHDR:], kind, size, room), room - size
        elif plain != name and bytes(data[:4]) == b"ZLIB":
            size = int.from_bytes(data[4:_OLD_CHDR], "big")
            data, room = _unpacked(data[_OLD_CHDR:], _ZLIB, size, room), room - size
        found[plain] = data
    return found


def _name(elf: Headers, section: Any) -> str:
    """Return a section's name; "" if the table of names is missing or damaged."""
    index = elf.header["e_shstrndx"]
    if not isinstance(index, int) or index >= len(elf.sections):
        return ""
    start = section["sh_name"]
    text = section_data(elf, elf.sections[index])[start : start + _LONGEST_NAME]
    return bytes(text).partition(b"\0")[0].decode("latin-1")


def _unpacked(data: memoryview, kind: int, size: int, room: int) -> memoryview:
    """Return the `size` bytes of the section's header, or fewer if there are fewer; never more."""
    if size > room:
        raise TooBig(
            f"its debug information takes more than {MAX_UNPACKED >> 20} MiB when it is unpacked, "
            "so there are no source lines"
        )
    if not size:
        return memoryview(b"")
    if kind == _ZLIB:
        try:
            return memoryview(zlib.decompressobj().decompress(data, size))
        except zlib.error as error:
            raise Damaged(str(error)) from None
    if kind == _ZSTD:
        return _unpacked_zstd(data, size)
    raise Damaged(f"compression {kind} is not known")


def _unpacked_zstd(data: memoryview, size: int) -> memoryview:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
    try:
        return memoryview(zstd.ZstdDecompressor(options=options).decompress(data, size))
    except zstd.ZstdError as error:
        raise Damaged(str(error)) from None
