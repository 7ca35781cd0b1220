"""Loads a Linux program: its segments, those of its interpreter, and its first stack.

    0x2A_0000_0000  a position-independent program; others have fixed addresses
    0x3F_F010_0000  its interpreter, ld.so: between the area of `mmap` and the stack
    0x3F_FFFF_F000  the end of the stack, and the page RETURN_PAGE

All addresses are fixed, so that runs repeat. A program with a memory object is mapped as by `mmap`: it is in
RAM once for all processes that run it, and a page is copied when one of them writes to it. The interpreter
finds the program by the auxiliary vector, and then maps the shared libraries itself, with system calls.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import ElfError
from pltvm.host.elf import MAX_NAMED
from pltvm.host.elf_headers import Headers, read_headers
from pltvm.host.elf_interpreter import advice, interpreter_of, path_of
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import Image
from pltvm.host.linux.space import EXEC, MMAP_TOP, READ, WRITE, Space
from pltvm.host.linux.start_stack import STACK_SIZE, STACK_TOP, build_stack, check_size

PIE_BASE: Final = 0x2A_0000_0000
INTERPRETER_BASE: Final = MMAP_TOP
RETURN_PAGE: Final = 0x3F_FFFF_F000  # has `rt_sigreturn`; signal handlers return to it
_RETURN_CODE: Final = bytes.fromhex("9308b008 73000000")  # li a7, 139; ecall
BREAK_LIMIT: Final = 16 << 30
_HWCAP_IMAFDC: Final = sum(1 << ord(letter) - ord("A") for letter in "IMAFDC")

ReadFile = Callable[[bytes], Image]  # the file at a path in the program's root; raises LinuxError


class _Placed(NamedTuple):
    """An ELF in memory: offset of its addresses, its program headers (0: not mapped), its end."""

    base: int
    entry: int
    headers: int
    end: int


def load_program(
    space: Space,
    image: Image,
    arguments: Sequence[bytes],
    environment: Sequence[bytes],
    random: bytes,
    read_file: ReadFile,
    name: bytes | None = None,
    called: bytes | None = None,
    owner: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> tuple[int, int]:
    """Map the program `image` (an ELF), its interpreter, its stack and RETURN_PAGE.

    Returns the start address, that of the interpreter if there is one, and the stack pointer. `random` are 16
    bytes for the C library's canaries. `name` is the program's path, by default the first argument, and
    `called` the name by which it was started, if that is another. `owner` is the real and the effective user,
    and the real and the effective group. Raises ElfError for an ELF that cannot run, or whose interpreter is
    missing; OutOfMemory.
    """
    check_size([*arguments, *environment])
    elf = read_headers(image.data)
    loads = _loads_of(elf)
    wanted = interpreter_of(elf)
    interpreter = None if wanted is None else _read_interpreter(wanted, read_file)
    if name is None:
        name = arguments[0] if arguments else b""
    moved = elf.header["e_type"] == "ET_DYN"
    base, limit = PIE_BASE if moved else 0, PIE_BASE + BREAK_LIMIT
    program = _place(space, elf, loads, base, limit, shown(name), image.object)
    space.state.break_start = space.state.break_end = program.end
    first = program
    if interpreter is not None and wanted is not None:
        try:
            first = _place_interpreter(space, *interpreter, path_of(wanted))
        except ElfError as error:
            raise ElfError(f"has an interpreter, {path_of(wanted)}, that {error}") from None
    vector = {
        "PHDR": program.headers, "PHENT": elf.header["e_phentsize"], "PHNUM": elf.header["e_phnum"],
        "PAGESZ": PAGE, "BASE": first.base if first is not program else 0, "FLAGS": 0, "ENTRY": program.entry,
        **dict(zip(("UID", "EUID", "GID", "EGID"), owner, strict=True)),
        "HWCAP": _HWCAP_IMAFDC, "CLKTCK": 100, "SECURE": int(owner[::2] != owner[1::2]),
    }  # fmt: skip
    called = name if called is None else called
    stack = build_stack(space, called, arguments, environment, vector, random, _wants_executable_stack(elf))
    space.map(RETURN_PAGE, PAGE, READ | EXEC)
    space.fill(RETURN_PAGE, _RETURN_CODE)
    return first.entry, stack


def shown(path: bytes) -> str:
    """Return the name of a program's areas."""
    return path.decode("utf-8", "replace").replace("\n", "\\012")


def _read_interpreter(path: bytes, read_file: ReadFile) -> tuple[Headers, int]:
    """Return the interpreter at that path, and the number of its memory object.

    Raises ElfError, with advice.
    """
    shown = path_of(path)
    try:
        image = read_file(path)
    except LinuxError as error:
        why = os.strerror(error.number)
        raise ElfError(f"needs {shown}, which its root lacks ({why}): {advice(path)}") from None
    try:
        elf = read_headers(image.data)
        _loads_of(elf)
    except ElfError as error:
        raise ElfError(f"has an interpreter, {shown}, that {error}") from None
    return elf, image.object


def _place_interpreter(space: Space, elf: Headers, object: int, name: str) -> _Placed:
    if elf.header["e_type"] != "ET_DYN":
        raise ElfError("has fixed addresses")
    limit = STACK_TOP - STACK_SIZE
    return _place(space, elf, _loads_of(elf), INTERPRETER_BASE, limit, name, object)


def _place(
    space: Space, elf: Headers, loads: list[Any], base: int, limit: int, name: str, object: int
) -> _Placed:
    """Map the segments of the ELF `name`, with `base` added to their addresses, up to the address `limit`.

    Raises ElfError, OutOfMemory.
    """
    content = memoryview(elf.data)
    table = elf.header["e_phoff"]
    headers = end = 0
    for segment in loads:
        start, size = base + segment["p_vaddr"], segment["p_memsz"]
        first = start & ~(PAGE - 1)
        last = first + pages_for(start + size - first) * PAGE
        if not 0 <= first < last <= limit or start < end - PAGE:
            raise ElfError("has segments out of order or outside user memory")
        offset, length = segment["p_offset"], segment["p_filesz"]
        protection = _protection(segment["p_flags"])
        if first < end:  # the last page of the segment before: it gets the permissions of both
            shared = space.area(first)
            space.protect(first, PAGE, protection | (shared.prot if shared else 0))
            first = end
        shown_to = first  # from the file
        if object and length and (start - offset) % PAGE == 0 and first < last:
            shown_to = start + length if length == size else max(start + length & -PAGE, first)
            shown_to = first + pages_for(shown_to - first) * PAGE
        if first < shown_to:
            at = offset + first - start
            space.objects.fill(object, at, shown_to - first)
            space.map(first, shown_to - first, protection, object=object, offset=at, copies=True, name=name)
        if shown_to < last:
            space.map(shown_to, last - shown_to, protection, name=name)
        before = min(max(first - start, 0), length)  # bytes in a page shared with the segment before
        space.fill(start, content[offset : offset + before])
        done = max(shown_to, start) - start
        space.fill(start + done, content[offset + done : offset + length])
        if offset <= table < offset + length:
            headers = start + table - offset
        end = max(end, last)
    return _Placed(base, base + elf.header["e_entry"], headers, end)


def _loads_of(elf: Headers) -> list[Any]:
    """The segments to load, checked as far as they can be without a process. Raises ElfError."""
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
    entry, kinds = elf.header["e_entry"], {one["p_type"] for one in elf.segments}
    if not entry and "PT_DYNAMIC" in kinds and "PT_INTERP" not in kinds:
        raise ElfError("is a shared library, not a program")
    if not any(one["p_vaddr"] <= entry < one["p_vaddr"] + one["p_memsz"] for one in loads):
        raise ElfError(f"entry point {entry:#x} is outside every loaded segment")
    return loads


def _protection(flags: int) -> int:
    return (READ if flags & 4 else 0) | (WRITE if flags & 2 else 0) | (EXEC if flags & 1 else 0)


def _wants_executable_stack(elf: Headers) -> bool:
    return any(one["p_type"] == "PT_GNU_STACK" and one["p_flags"] & 1 for one in elf.segments)
