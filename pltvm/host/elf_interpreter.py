"""The interpreter that a dynamically linked program names, and where to get it."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from pltvm.host.elf_headers import Headers
from pltvm.host.text import one_line

_LONGEST: Final = 255  # bytes of a path
_MOST_ENTRIES: Final = 1024  # of the dynamic section
_MOST_LIBRARIES: Final = 64
_ENTRY: Final = Struct("<2Q")  # tag, value
_NEEDED, _NAMES = 1, 5  # DT_NEEDED, DT_STRTAB

_GLIBC: Final = "ld-linux-riscv64"
_MUSL: Final = "ld-musl-riscv64"


def interpreter_of(elf: Headers) -> bytes | None:
    """Return the path that PT_INTERP names, up to 255 bytes, or None."""
    for segment in elf.segments:
        if segment["p_type"] == "PT_INTERP":
            start = segment["p_offset"]
            return elf.data[start : start + min(segment["p_filesz"], _LONGEST)].partition(b"\0")[0]
    return None


def path_of(interpreter: bytes) -> str:
    """Return the path for messages."""
    return one_line(interpreter.decode("utf-8", "replace")) or '""'


def advice(interpreter: bytes) -> str:
    """Return advice on how to run a program that names this interpreter."""
    text = interpreter.decode("utf-8", "replace")
    if _GLIBC in text:
        return (
            "link it with -static, or name a riscv64 system with --root DIR; Debian's package "
            "libc6-riscv64-cross has one (--root /usr/riscv64-linux-gnu), so has libc6:riscv64"
        )
    if _MUSL in text:
        return (
            "link it with -static, or name a riscv64 system that has musl with --root DIR: "
            "Alpine's root file system, or Debian's package musl:riscv64"
        )
    return "link it with -static, or name a riscv64 system that has it with --root DIR"


def needed_libraries(elf: Headers) -> list[str]:
    """Return the names of the shared libraries that a file needs: at most 64, none if it is damaged."""
    needed: list[int] = []
    names = None
    for tag, value in _dynamic(elf):
        if tag == _NEEDED and len(needed) < _MOST_LIBRARIES:
            needed.append(value)
        elif tag == _NAMES:
            names = _offset(elf, value)
    if names is None:
        return []
    starts = (names + at for at in needed)
    found = (elf.data[start : start + _LONGEST].partition(b"\0")[0] for start in starts)
    return [path_of(name) for name in found if name]


def _dynamic(elf: Headers) -> Iterator[tuple[int, int]]:
    """Yield tag and value of each entry of PT_DYNAMIC, up to its end mark."""
    for segment in elf.segments:
        if segment["p_type"] == "PT_DYNAMIC":
            start = segment["p_offset"]
            data = elf.data[start : start + min(segment["p_filesz"], _MOST_ENTRIES * _ENTRY.size)]
            for tag, value in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
                if not tag:
                    return
                yield tag, value


def _offset(elf: Headers, address: int) -> int | None:
    """Return the file offset of the bytes for an address, or None."""
    for one in elf.segments:
        if one["p_type"] == "PT_LOAD" and 0 <= address - one["p_vaddr"] < one["p_filesz"]:
            return int(one["p_offset"] + address - one["p_vaddr"])
    return None
