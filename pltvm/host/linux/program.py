"""Loading a static Linux program: its segments, and a stack with arguments, environment, auxiliary vector."""

from collections.abc import Sequence
from typing import Any, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import ElfError, PltvmError
from pltvm.host.elf import MAX_NAMED
from pltvm.host.elf_headers import Headers, read_headers
from pltvm.host.linux.space import EXEC, READ, WRITE, Space

STACK_TOP: Final = 0x3F_FFFF_F000
STACK_SIZE: Final = 8 << 20
PIE_BASE: Final = 0x2A_0000_0000
RETURN_PAGE: Final = 0x3F_FFFF_F000  # `rt_sigreturn`, where a signal handler returns to
_RETURN_CODE: Final = bytes.fromhex("9308b008 73000000")  # li a7, 139; ecall
BREAK_LIMIT: Final = 16 << 30
MOST_ARGUMENTS: Final = STACK_SIZE // 4  # bytes, as in Linux

_AT: Final = {
    "PHDR": 3, "PHENT": 4, "PHNUM": 5, "PAGESZ": 6, "BASE": 7, "FLAGS": 8, "ENTRY": 9, "UID": 11, "EUID": 12,
    "GID": 13, "EGID": 14, "HWCAP": 16, "CLKTCK": 17, "SECURE": 23, "RANDOM": 25, "EXECFN": 31,
}  # fmt: skip
_HWCAP_IMAFDC: Final = sum(1 << ord(letter) - ord("A") for letter in "IMAFDC")


def load_program(space: Space, data: bytes, arguments: Sequence[bytes], random: bytes) -> tuple[int, int]:
    """Map the program `data` (an ELF), its stack and RETURN_PAGE; gives entry point and stack pointer.

    `random` are the 16 bytes that the C library takes its canaries from. Raises ElfError for an ELF that is
    no static RISC-V program.
    """
    if sum(map(len, arguments)) > MOST_ARGUMENTS:
        raise PltvmError(f"the arguments of the program have more than {MOST_ARGUMENTS >> 20} MiB")
    elf = read_headers(data)
    header, loads = elf.header, _loads_of(elf)
    base = PIE_BASE if header["e_type"] == "ET_DYN" else 0
    content = memoryview(data)
    phdr = end = 0
    for segment in loads:
        start, size = base + segment["p_vaddr"], segment["p_memsz"]
        first = start & ~(PAGE - 1)
        last = first + pages_for(start + size - first) * PAGE
        if not 0 < first < last <= BREAK_LIMIT + PIE_BASE or start < end - PAGE:
            raise ElfError("has segments out of order or outside user memory")
        offset, length = segment["p_offset"], segment["p_filesz"]
        protection = _protection(segment["p_flags"])
        if first < end:  # the last page of the segment before: it gets what both need
            shared = space.area(first)
            space.protect(first, PAGE, protection | (shared.prot if shared else 0))
            first = end
        if first < last:
            space.map(first, last - first, protection)
        space.fill(start, content[offset : offset + length])
        if offset <= header["e_phoff"] < offset + length:
            phdr = start + header["e_phoff"] - offset
        end = max(end, last)
    space.state.break_start = space.state.break_end = end

    vector = {
        "PHDR": phdr, "PHENT": header["e_phentsize"], "PHNUM": header["e_phnum"], "PAGESZ": PAGE, "BASE": 0,
        "FLAGS": 0, "ENTRY": base + header["e_entry"], "UID": 0, "EUID": 0, "GID": 0, "EGID": 0,
        "HWCAP": _HWCAP_IMAFDC, "CLKTCK": 100, "SECURE": 0,
    }  # fmt: skip
    stack = _build_stack(space, arguments, vector, random)
    space.map(RETURN_PAGE, PAGE, READ | EXEC)
    space.fill(RETURN_PAGE, _RETURN_CODE)
    return base + header["e_entry"], stack


def _loads_of(elf: Headers) -> list[Any]:
    """The segments to load, checked as far as they can be without a process. Raises ElfError."""
    if any(segment["p_type"] == "PT_INTERP" for segment in elf.segments):
        raise ElfError("is dynamically linked: link it with -static")
    if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise ElfError(f"is not an executable (e_type {elf.header['e_type']})")
    loads = [one for one in elf.segments if one["p_type"] == "PT_LOAD" and one["p_memsz"]]
    if not loads:
        raise ElfError("has no segment to load")
    for one in loads:
        if one["p_filesz"] > one["p_memsz"]:
            raise ElfError("is corrupt: a segment has more bytes in the file than in memory")
        if one["p_filesz"] and one["p_offset"] + one["p_filesz"] > len(elf.data):
            raise ElfError("is truncated: bytes of a segment are beyond the end of the file")
    if (named := sum(one["p_filesz"] for one in loads)) > MAX_NAMED:
        raise ElfError(f"names {named >> 20} MiB of its bytes; at most {MAX_NAMED >> 20} MiB are accepted")
    entry = elf.header["e_entry"]
    if not any(one["p_vaddr"] <= entry < one["p_vaddr"] + one["p_memsz"] for one in loads):
        raise ElfError(f"entry point {entry:#x} is outside every loaded segment")
    return loads


def _protection(flags: int) -> int:
    return (READ if flags & 4 else 0) | (WRITE if flags & 2 else 0) | (EXEC if flags & 1 else 0)


def _build_stack(space: Space, arguments: Sequence[bytes], vector: dict[str, int], random: bytes) -> int:
    """Map the stack and put on it what the C library's start code reads; gives the stack pointer."""
    space.map(STACK_TOP - STACK_SIZE, STACK_SIZE, READ | WRITE)
    pointer = STACK_TOP

    def push(data: bytes) -> int:
        nonlocal pointer
        pointer -= len(data)
        space.write(pointer, data)
        return pointer

    environment = [b"PATH=/", b"HOME=/", b"LANG=C"]
    random_at = push(random)
    variables = [push(one + b"\0") for one in environment]
    values = [push(one + b"\0") for one in arguments]
    pairs = {_AT[name]: value for name, value in vector.items()}
    pairs |= {_AT["RANDOM"]: random_at, _AT["EXECFN"]: values[0] if values else 0}
    words = [len(values), *values, 0, *variables, 0]
    for key, value in pairs.items():
        words += [key, value]
    words += [0, 0]
    pointer = (pointer - 8 * len(words)) & ~15
    space.write(pointer, b"".join(word.to_bytes(8, "little") for word in words))
    return pointer
