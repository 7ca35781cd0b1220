"""The bytes and headers of an ELF file. What they ask for is looked at in `elf` and in `linux/program`."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pltvm.errors import ElfError
from pltvm.host.text import shown
from pltvm.monitor.abi import MAX_ELF

MAX_FILE: Final = MAX_ELF + (64 << 20)  # bytes: all the memory an ELF can fill, and some debug information
MAX_PIECES: Final = 64  # a real enclave has about five; bounds the work that a hostile file can cause
MAX_SECTIONS: Final = 4096
_EM_RISCV: Final = 243
_MACHINES: Final = {
    3: "x86", 8: "MIPS", 21: "PowerPC", 40: "Arm", 62: "x86-64", 183: "AArch64", 258: "LoongArch"
}  # fmt: skip

Source = str | os.PathLike[str] | bytes


def name_of(source: Source) -> str:
    """The name that messages use for a source, always printable on one line."""
    return "ELF image" if isinstance(source, bytes) else shown(os.fspath(source))


def read_source(source: Source) -> bytes:
    """The bytes of a source. Raises ElfError (without the file's name) if there are none."""
    if isinstance(source, bytes):
        return source
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # no wait at a FIFO
        with open(descriptor, "rb", buffering=0) as file:
            about = os.fstat(descriptor)
            if stat.S_ISDIR(about.st_mode):
                raise ElfError("is a directory; name the enclave's ELF file")
            if not stat.S_ISREG(about.st_mode):  # a device or pipe may never end
                raise ElfError("is not a regular file")
            if about.st_size > MAX_FILE:
                size = about.st_size >> 20
                raise ElfError(f"is {size} MiB, far more than an enclave's {MAX_ELF >> 20} MiB of memory")
            return file.read(about.st_size)  # not what is written to it meanwhile
    except IsADirectoryError:
        raise ElfError("is a directory; name the enclave's ELF file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ElfError("no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ElfError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


class Headers(NamedTuple):
    """A file's bytes with its headers as pyelftools parsed them."""

    data: bytes
    header: Any
    segments: list[Any]
    sections: list[Any]


def read_headers(data: bytes) -> Headers:
    """Parse the headers. Raises ElfError when they are damaged.

    Only structs are taken from pyelftools, not its section objects: those read and check far more (strings,
    symbols, attributes) than loading needs, and would refuse a file for damage in its debug information.
    """
    _check_identity(data)

    def table(kind: str, struct: Any, offset: int, size: int, count: int, most: int) -> list[Any]:
        if count and size != struct.sizeof():
            raise ElfError(f"is corrupt: its {kind} headers are {size} bytes each, not {struct.sizeof()}")
        if count > most:
            raise ElfError(f"has {count} {kind} headers; at most {most} are accepted")
        if count and offset + count * size > len(data):
            raise ElfError(f"is truncated: its {kind} headers end beyond the end of the file")
        return [struct.parse(data[at : at + size]) for at in range(offset, offset + count * size, size or 1)]

    try:
        head = _structs().Elf_Ehdr.parse(data[:64])
        structs = _structs(head["e_type"], head["e_ident"]["EI_OSABI"])
        phoff, phentsize, phnum = head["e_phoff"], head["e_phentsize"], head["e_phnum"]
        segments = table("program", structs.Elf_Phdr, phoff, phentsize, phnum, MAX_PIECES)
        shoff, shentsize, shnum = (
            head["e_shoff"],
            head["e_shentsize"],
            head["e_shnum"] if head["e_shoff"] else 0,
        )
        sections = table("section", structs.Elf_Shdr, shoff, shentsize, shnum, MAX_SECTIONS)
    except ElfError:
        raise
    except Exception as error:  # pyelftools raises its own, construct's and plain Python errors on damage
        raise ElfError(f"is corrupt: {' '.join(str(error).split()) or type(error).__name__}") from None
    return Headers(data, head, segments, sections)


@lru_cache(maxsize=16)
def _structs(kind: str | int = "ET_EXEC", abi: str | int = "ELFOSABI_SYSV") -> Any:
    """What pyelftools parses files of this kind with; making it takes longer than parsing."""
    from elftools.elf.structs import ELFStructs  # 35 ms, so not when the package is imported

    structs = ELFStructs(little_endian=True, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs(kind, "EM_RISCV", abi)
    return structs


def _check_identity(data: bytes) -> None:
    """Look at the first 20 bytes, so that a file for another machine is called that and not "corrupt"."""
    if not data:
        raise ElfError("is empty")
    if data[:4] != b"\x7fELF":
        raise ElfError("is not an ELF file")
    if len(data) < 64:
        raise ElfError(f"is truncated: {len(data)} bytes do not hold an ELF header")
    bits, order = data[4], data[5]
    if bits not in (1, 2) or order not in (1, 2):
        raise ElfError("is corrupt: its ELF header names no valid class or byte order")
    machine = int.from_bytes(data[18:20], "little" if order == 1 else "big")
    if machine != _EM_RISCV:
        name = _MACHINES.get(machine, f"machine number {machine}")
        raise ElfError(f"is built for {name}; enclaves are RISC-V (riscv64)")
    if bits == 1:
        raise ElfError("is 32-bit RISC-V (RV32); enclaves are RV64, build with -march=rv64gc")
    if order == 2:
        raise ElfError("is big-endian; enclaves are little-endian")
