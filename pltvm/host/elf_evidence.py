"""Evidence in an ELF for an enclave, a host program or a kernel program: each with a weight and a sentence.

A file can be stripped, linked anywhere and made by any toolchain, so no single fact decides. Weights are
added up for each kind in `elf_kind`. What they mean:

    100  unique: an interpreter, a note that names the operating system
     60  specific: names of its library, numbers of its calls
     30  unlikely in other kinds
     10  usual, no more: its link address, traces of a C toolchain
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from pltvm.host.elf_calls import find_calls
from pltvm.host.elf_details import section_name
from pltvm.host.elf_headers import Header, Headers
from pltvm.host.elf_interpreter import interpreter_of, path_of

LINUX_BASE: Final = 0x10000  # Linux linkers start here or above; the SDK's at 0x1000
SDK_BASE: Final = 0x1000
RAM_BASE: Final = 0x8000_0000  # link address of kernels that start without page tables
RAM_END: Final = 0x1_0000_0000

HOST, ENCLAVE, KERNEL = "host program", "enclave", "kernel program"
DECISIVE: Final = 100
ENOUGH: Final = 60  # lead of a kind at which the search stops

_NOTES: Final = 4096  # bytes of one header that are read
_NAMES: Final = 16 << 20  # bytes of a table of names that are searched
_LINUX: Final = 3  # e_ident[EI_OSABI]

# Names of functions, searched for in the table of names, which is not parsed.
_START_OF_C: Final = (
    "__libc_start_main", "__libc_start_call_main", "__libc_setup_tls", "__init_libc", "__dls3", "_start_c",
    "__libc_csu_init", "_dl_relocate_static_pie", "runtime.rt0_go", "_ZN3std2rt10lang_start",
)  # fmt: skip
_OF_ENCLAVES: Final = (
    "eapp_return", "server_return", "eapp_print", "eapp_mmap", "eapp_sbrk", "eapp_yield", "get_enclave_id",
    "acquire_enclave", "call_enclave", "asyn_enclave_call", "eapp_return_relay_page", "__eapp_entry",
    "EAPP_ENTRY", "EAPP_RETURN", "SERVER_RETURN",
)  # fmt: skip
_OF_KERNELS: Final = ("sv_exit", "sv_call", "sv_put", "sv_user", "sv_write_satp")
# Linux system calls with numbers used neither by enclaves (83 … 99) nor by the firmware (1, 8).
LINUX_CALLS: Final = {
    17: "getcwd", 25: "fcntl", 29: "ioctl", 56: "openat", 57: "close", 62: "lseek", 63: "read", 64: "write",
    65: "readv", 66: "writev", 80: "fstat", 113: "clock_gettime", 129: "kill", 131: "tgkill",
    134: "rt_sigaction", 160: "uname", 172: "getpid", 178: "gettid", 214: "brk", 215: "munmap", 220: "clone",
    221: "execve", 222: "mmap", 226: "mprotect", 260: "wait4", 278: "getrandom",
}  # fmt: skip
_PUT_CHARACTER, _SHUT_DOWN, _SERVER_RETURN, _EXIT = 1, 8, 95, 99


class Evidence(NamedTuple):
    """One piece of evidence for a kind; `text` completes "it …"."""

    kind: str
    weight: int
    text: str


def all_evidence(elf: Headers) -> list[Evidence]:
    """Return the evidence: headers first, then slower searches until one kind is far ahead."""
    found = [*_of_headers(elf), *_of_notes(elf), *_of_addresses(elf)]
    for more in (_of_names, _of_calls):
        first, second, *_ = sorted(totals(found).values(), reverse=True)
        if first - second < ENOUGH:
            found += more(elf)
    return found


def totals(evidence: Iterable[Evidence]) -> dict[str, int]:
    """Return the total weight for each kind."""
    weights = dict.fromkeys((HOST, ENCLAVE, KERNEL), 0)
    for one in evidence:
        weights[one.kind] += one.weight
    return weights


def _of_headers(elf: Headers) -> Iterator[Evidence]:
    """Yield evidence from program headers and the file type."""
    kinds = {segment["p_type"] for segment in elf.segments}
    if (interpreter := interpreter_of(elf)) is not None:
        yield Evidence(HOST, DECISIVE, f"names an interpreter, {path_of(interpreter)} (PT_INTERP)")
    if elf.data[7] == _LINUX:
        yield Evidence(HOST, 30, "is marked as one for Linux (EI_OSABI)")
    if elf.header["e_type"] == "ET_DYN":
        yield Evidence(HOST, 30, "has no fixed address (ET_DYN)")
    if "PT_DYNAMIC" in kinds:
        yield Evidence(HOST, 60, "is to be linked or relocated at its start (PT_DYNAMIC)")
    if "PT_TLS" in kinds:
        yield Evidence(HOST, 20, "has variables of each thread (PT_TLS)")
    if "PT_GNU_PROPERTY" in kinds:
        yield Evidence(HOST, 10, "has GNU properties (PT_GNU_PROPERTY)")
    if "PT_GNU_RELRO" in kinds:
        yield Evidence(HOST, 10, "has memory that is read-only after its start (PT_GNU_RELRO)")
    if kinds & {"PT_GNU_STACK", "PT_GNU_EH_FRAME"}:
        yield Evidence(HOST, 3, "has headers that a Linux toolchain adds (PT_GNU_STACK)")


def _of_notes(elf: Headers) -> Iterator[Evidence]:
    """Yield evidence from notes: its system, its compiler."""
    for segment in elf.segments:
        if segment["p_type"] != "PT_NOTE":
            continue
        start = segment["p_offset"]
        for owner, kind, content in _notes(elf.data[start : start + min(segment["p_filesz"], _NOTES)]):
            if owner == b"GNU" and kind == 1 and content[:4] == bytes(4):
                version = ".".join(str(int.from_bytes(content[at : at + 4], "little")) for at in (4, 8, 12))
                yield Evidence(HOST, DECISIVE, f"has a note that it is for GNU/Linux {version} (ABI-tag)")
            elif owner == b"Go":
                yield Evidence(HOST, DECISIVE, "has a note of the Go toolchain")
            elif owner == b"GNU" and kind == 3:
                yield Evidence(HOST, 3, "has a build ID")


def _notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield owner, type and content of each note."""
    at = 0
    while at + 12 <= len(data):
        name, size, kind = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4, 8))
        content = at + 12 + (name + 3 & ~3)
        yield data[at + 12 : at + 12 + name].rstrip(b"\0"), kind, data[content : content + size]
        at = content + (size + 3 & ~3)


def _of_names(elf: Headers) -> Iterator[Evidence]:
    """Yield evidence from names of symbols and sections."""
    names = _table_of_names(elf)
    for kind, known, whose in (
        (HOST, _START_OF_C, "a C library's start"),
        (ENCLAVE, _OF_ENCLAVES, "the enclaves' library"),
        (KERNEL, _OF_KERNELS, "the kernel programs' library"),
    ):
        if found := [name for name in known if b"\0" + name.encode() + b"\0" in names]:
            yield Evidence(kind, 80 if kind == KERNEL else 60, f"has {', '.join(found[:3])} of {whose}")
    sections = {section_name(elf, section) for section in elf.sections}
    if found := sorted(name for name in sections if name.startswith("__libc_")):
        yield Evidence(HOST, 30, f"has sections of a C library ({found[0]})")
    if found := sorted(sections & {".preinit_array", ".init_array", ".plt", ".got.plt"}):
        yield Evidence(HOST, 5, f"has a section {found[0]}, for a C library's start")


def _table_of_names(elf: Headers) -> bytes:
    """Return the names of the first symbol table, as in the file; b"" if it was stripped."""
    table: Header | None = next((one for one in elf.sections if one["sh_type"] == "SHT_SYMTAB"), None)
    if table is None or table["sh_link"] >= len(elf.sections):
        return b""
    strings: Any = elf.sections[table["sh_link"]]
    start = strings["sh_offset"]
    return elf.data[start : start + min(strings["sh_size"], _NAMES)]


def _of_calls(elf: Headers) -> Iterator[Evidence]:
    """Yield evidence from the calls in the code."""
    calls = find_calls(elf)
    numbers = calls.numbers
    if calls.enclave is not None:
        yield Evidence(ENCLAVE, 60, f"makes enclave calls: 0x100101 for a6, at {calls.enclave:#x}")
    elif calls.first is not None:
        if known := [number for number in numbers if number in LINUX_CALLS]:
            shown = ", ".join(f"{LINUX_CALLS[number]} ({number})" for number in sorted(known)[:4])
            yield Evidence(HOST, 30, f"makes Linux's calls: {shown}")
        if calls.monitor is None and _SHUT_DOWN not in numbers:
            yield Evidence(
                HOST, 15, f"makes calls (at {calls.first:#x}), but none of an enclave: a6 = 0x100101"
            )
    if calls.supervisor is not None:
        yield Evidence(KERNEL, 30, f"has instructions of S-mode, at {calls.supervisor:#x}")
    if calls.monitor is not None:
        yield Evidence(KERNEL, 20, f"makes monitor calls: 0x100100 for a7, at {calls.monitor:#x}")
    if _SHUT_DOWN in numbers and _PUT_CHARACTER in numbers:
        yield Evidence(KERNEL, 90, f"makes calls of the firmware: a7 = 8, at {numbers[_SHUT_DOWN]:#x}")


def _of_addresses(elf: Headers) -> Iterator[Evidence]:
    """Yield evidence from its link address."""
    lowest = min(segment["p_vaddr"] for segment in elf.segments if segment["p_type"] == "PT_LOAD")
    if elf.header["e_type"] == "ET_DYN":
        return
    if lowest == SDK_BASE:
        yield Evidence(ENCLAVE, 25, f"is linked at {SDK_BASE:#x}, as the SDK does")
    elif lowest < LINUX_BASE:
        yield Evidence(ENCLAVE, 10, f"is linked at {lowest:#x}, below where Linux programs are")
    elif RAM_BASE <= lowest < RAM_END:
        yield Evidence(KERNEL, 30, f"is linked at {lowest:#x}, where RAM is")
    else:
        yield Evidence(HOST, 10, f"is linked at {lowest:#x}, as Linux programs are")


def returns_and_exits(elf: Headers) -> tuple[bool, bool]:
    """Return whether an enclave returns as servers do, and whether it exits as others do and never returns
    so.

    The library of both exits when `main` has returned. So the exit call decides only if the return call is
    missing; both are False if the code has neither call.
    """
    numbers = find_calls(elf).numbers
    returns = _SERVER_RETURN in numbers
    return returns, _EXIT in numbers and not returns
