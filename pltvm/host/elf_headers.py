"""Reads the bytes and headers of an ELF file; `elf` and `linux/program` interpret them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from itertools import islice
from struct import Struct
from typing import Any, Final, NamedTuple

from pltvm.errors import ElfError
from pltvm.host.text import shown
from pltvm.monitor.abi import MAX_ELF

MAX_FILE: Final = MAX_ELF + (64 << 20)  # bytes: all the memory an ELF can fill, and some debug information
MAX_PIECES: Final = 64  # a real enclave has about five; limits the work for a hostile file
MAX_SECTIONS: Final = 4096
_LONGEST_LINE: Final = 255  # bytes of a script's first line, as for Linux
_EM_RISCV: Final = 243
_MAGIC: Final = b"\x7fELF"
_NEAR, _MOST_NAMES = 0.8, 10_000  # how alike two names are to be, from 0 to 1; of so many in a folder
_MACHINES: Final = {
    3: "x86", 8: "MIPS", 21: "PowerPC", 40: "Arm", 62: "x86-64", 183: "AArch64", 258: "LoongArch"
}  # fmt: skip

Source = str | os.PathLike[str] | bytes


class NamedElf(bytes):
    """The bytes of an ELF, with the file name to use in messages."""

    name: str

    def __new__(cls, data: bytes, name: str) -> NamedElf:
        made = super().__new__(cls, data)
        made.name = name
        return made


def name_of(source: Source) -> str:
    """Return the name of a source for messages, always printable on one line."""
    if isinstance(source, NamedElf):
        return shown(source.name)
    return "ELF image" if isinstance(source, bytes) else shown(os.fspath(source))


def read_source(source: Source) -> bytes:
    """Return the bytes of a source. Raises ElfError (without the file's name) if it cannot be read."""
    if isinstance(source, bytes):
        return source
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # no wait at a FIFO
        with open(descriptor, "rb", buffering=0) as file:
            about = os.fstat(descriptor)
            if stat.S_ISDIR(about.st_mode):
                raise ElfError("is a directory; name an ELF file")
            if not stat.S_ISREG(about.st_mode):  # a device or pipe may never end
                raise ElfError("is not a regular file")
            if about.st_size > MAX_FILE:
                size = about.st_size >> 20
                raise ElfError(f"is {size} MiB, far more than an enclave's {MAX_ELF >> 20} MiB of memory")
            data = file.read(about.st_size)  # not data appended meanwhile
    except IsADirectoryError:
        raise ElfError("is a directory; name an ELF file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ElfError(f"no such file{instead(os.fspath(source))}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ElfError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data.startswith(_MAGIC) and os.path.splitext(source)[1] in _sources():
        raise ElfError("is source code: pltvm build makes an ELF of it, and pltvm run runs that")
    return data


def _sources() -> frozenset[str]:
    """Return the suffixes of what `pltvm build` compiles."""
    from pltvm.build.arguments import SOURCES  # no run needs it

    return SOURCES


def instead(path: str) -> str:
    """Return what the writer of a path that names no file may have meant, for the end of a message."""
    from difflib import get_close_matches  # no run needs it

    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = sorted(one.name for one in islice(entries, _MOST_NAMES) if one.name.isprintable())
    except OSError:
        return ""
    stem = os.path.splitext(name)[0]
    made_of = next((one for one in names if one in {stem + kind for kind in _sources()}), None)
    if name == f"{stem}.elf" and made_of is not None:
        return f"; pltvm build {os.path.join(folder, made_of)} makes it"
    near = get_close_matches(name, names, 1, _NEAR)
    return f"; there is {os.path.join(folder, near[0])}" if near else ""


Header = dict[str, Any]  # by the names of the ELF specification; types are names where one is known


class Headers(NamedTuple):
    """A file's bytes and its headers."""

    data: bytes
    header: Header
    segments: list[Header]
    sections: list[Header]


class _Layout(NamedTuple):
    """The layout of one kind of header in a file, and which field is its type."""

    struct: Struct
    fields: tuple[str, ...]
    type: str
    types: Mapping[int, str]

    def read(self, data: bytes, at: int) -> Header:
        """Return the header at this offset."""
        header: Header = dict(zip(self.fields, self.struct.unpack_from(data, at), strict=True))
        header[self.type] = self.types.get(header[self.type], header[self.type])
        return header


_FILE: Final = _Layout(
    Struct("<16x2HI3QI6H"),
    (
        *("e_type", "e_machine", "e_version", "e_entry", "e_phoff", "e_shoff", "e_flags", "e_ehsize"),
        *("e_phentsize", "e_phnum", "e_shentsize", "e_shnum", "e_shstrndx"),
    ),
    "e_type",
    {0: "ET_NONE", 1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"},
)
_SEGMENT: Final = _Layout(
    Struct("<2I6Q"),
    ("p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align"),
    "p_type",
    {
        0: "PT_NULL", 1: "PT_LOAD", 2: "PT_DYNAMIC", 3: "PT_INTERP", 4: "PT_NOTE", 6: "PT_PHDR", 7: "PT_TLS",
        0x6474E550: "PT_GNU_EH_FRAME", 0x6474E551: "PT_GNU_STACK", 0x6474E552: "PT_GNU_RELRO",
        0x6474E553: "PT_GNU_PROPERTY", 0x70000003: "PT_RISCV_ATTRIBUTES",
    },
)  # fmt: skip
_SECTION: Final = _Layout(
    Struct("<2I4Q2I2Q"),
    (
        *("sh_name", "sh_type", "sh_flags", "sh_addr", "sh_offset", "sh_size", "sh_link", "sh_info"),
        *("sh_addralign", "sh_entsize"),
    ),
    "sh_type",
    {2: "SHT_SYMTAB", 8: "SHT_NOBITS", 0x70000003: "SHT_RISCV_ATTRIBUTES"},
)


def read_headers(data: bytes) -> Headers:
    """Read the headers. Raises ElfError when they are damaged.

    Nothing beyond them is read: a file is not refused for damage in its debug information.
    """
    _check_identity(data)
    file = _FILE.read(data, 0)

    def table(kind: str, layout: _Layout, offset: int, size: int, count: int, most: int) -> list[Header]:
        if count and size != layout.struct.size:
            raise ElfError(f"is corrupt: its {kind} headers are {size} bytes each, not {layout.struct.size}")
        if count > most:
            raise ElfError(f"has {count} {kind} headers; at most {most} are accepted")
        if count and offset + count * size > len(data):
            raise ElfError(f"is truncated: its {kind} headers end beyond the end of the file")
        return [layout.read(data, offset + number * size) for number in range(count)]

    phoff, shoff = file["e_phoff"], file["e_shoff"]
    segments = table("program", _SEGMENT, phoff, file["e_phentsize"], file["e_phnum"], MAX_PIECES)
    count = file["e_shnum"] if shoff else 0
    sections = table("section", _SECTION, shoff, file["e_shentsize"], count, MAX_SECTIONS)
    return Headers(data, file, segments, sections)


def _check_identity(data: bytes) -> None:
    """Check the first 20 bytes, so that a file for another machine is reported as that and not as
    "corrupt"."""
    if not data:
        raise ElfError("is empty")
    if not data.startswith(_MAGIC):
        raise ElfError(_not_an_elf(data))
    if len(data) < 64:
        raise ElfError(f"is truncated: {len(data)} bytes do not hold an ELF header")
    bits, order = data[4], data[5]
    if bits not in (1, 2) or order not in (1, 2):
        raise ElfError("is corrupt: its ELF header names no valid class or byte order")
    machine = int.from_bytes(data[18:20], "little" if order == 1 else "big")
    if machine != _EM_RISCV:
        name = _MACHINES.get(machine, f"machine number {machine}")
        raise ElfError(
            f"is built for {name}, not for riscv64: build an enclave with pltvm build, "
            "a host program with riscv64-linux-gnu-gcc -static"
        )
    if bits == 1:
        raise ElfError("is 32-bit RISC-V (RV32), not riscv64: build it with -march=rv64gc -mabi=lp64d")
    if order == 2:
        raise ElfError("is big-endian RISC-V, not riscv64, which is little-endian")


def _not_an_elf(data: bytes) -> str:
    """Describe a file that is no ELF, by its first line."""
    if data.startswith(b"PK\3\4"):
        return "is not an ELF file but an archive; if it is a recording, pltvm replay runs it"
    if data.startswith(b"!<arch>\n"):
        return "is an archive of objects, not linked; link it into an executable"
    if not data.startswith(b"#!"):
        return "is not an ELF file"
    words = data[2:_LONGEST_LINE].partition(b"\n")[0].split()
    by = shown(words[0].decode("utf-8", "replace")) if words else "an interpreter that it does not name"
    return f"is a script for {by}, not an ELF file: run a riscv64 build of that, with the script behind it"
