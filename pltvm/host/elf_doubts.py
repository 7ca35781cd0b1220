"""Finds features that an enclave's file expects but nothing provides: thread variables, gp, constructors.

`pltvm info` lists them for a file, and a fault report those that may be the cause. A host starts an enclave
with tp and gp zero, and runs only its entry point: the enclave has to do what a C library's start would do.
Instructions are recognized by their bytes, and no code is run: this is evidence, never proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from pltvm.host.debug_sections import section_data
from pltvm.host.elf_details import PF_X, section_name
from pltvm.host.elf_headers import Headers
from pltvm.monitor.abi import PAGE

_MOST_CODE: Final = 1 << 20  # bytes that are searched
_GP, _TP = 3, 4
_GP_REACH: Final = 2048  # bytes around gp that code accesses relative to it
_CONSTRUCTORS: Final = (".preinit_array", ".init_array", ".ctors")
# Files that run constructors have one of these: the SDK's start, a linker script's symbols, a C library's
# start.
_RUN_BY: Final = (b"__eapp_entry", b"__init_array_start", b"__libc_init_array", b"__CTOR_LIST__")
_USES: Final = {0x03, 0x07, 0x13, 0x1B, 0x23, 0x27}  # opcodes of loads, stores, and sums with a constant
_WRITES: Final = {0x03, 0x13, 0x17, 0x33, 0x37}


class Doubt(NamedTuple):
    """A possible problem, and whether it can be the cause of a fault at an address with these registers."""

    text: str
    explains: Callable[[int, dict[str, int]], bool]
    register: str = ""  # the register that is never set


def doubts(elf: Headers) -> Iterator[Doubt]:
    """Yield the problems of an enclave's file."""
    uses, sets = _registers(elf)
    sections = {section_name(elf, one): one for one in elf.sections if one["sh_size"]}
    thread = next((one for one in elf.segments if one["p_type"] == "PT_TLS"), None)
    if (thread is not None or {".tdata", ".tbss"} & sections.keys()) and _TP not in sets:
        size = thread["p_memsz"] if thread is not None else PAGE
        yield Doubt(
            "it has variables of each thread, and nothing in it sets tp: they are around address 0",
            partial(_near_zero, "tp", size + PAGE),
            "tp",
        )
    if _GP in uses and _GP not in sets:
        yield Doubt(
            "its code reaches data by gp, and nothing in it sets gp: link with -Wl,--no-relax-gp, or set it",
            partial(_near_zero, "gp", _GP_REACH),
            "gp",
        )
    names = _names(elf)
    if names and not any(b"\0" + name + b"\0" in names for name in _RUN_BY):
        found = [name for name in _CONSTRUCTORS if name in sections]
        if found:
            yield Doubt(
                f"it has constructors ({found[0]}), and nothing in it runs them: what they set up is zero",
                lambda address, _registers: address < PAGE,
            )


def _near_zero(register: str, reach: int, address: int, registers: dict[str, int]) -> bool:
    """Whether an access relative to this register, which is zero, can lead to the address."""
    return not registers.get(register) and (address < reach or address >= (1 << 64) - reach)


def _registers(elf: Headers) -> tuple[set[int], set[int]]:
    """Return which of gp and tp the code uses as a base, and which it sets."""
    uses: set[int] = set()
    sets: set[int] = set()
    left = _MOST_CODE
    for segment in elf.segments:
        if segment["p_type"] != "PT_LOAD" or not segment["p_flags"] & PF_X:
            continue
        start = segment["p_offset"]
        code = elf.data[start : start + min(segment["p_filesz"], left)]
        left -= len(code)
        at = 0
        while at + 4 <= len(code):
            low = code[at]
            if low & 3 != 3:
                half = low | code[at + 1] << 8
                if half >> 7 & 31 in (_GP, _TP) and _sets(half):
                    sets.add(half >> 7 & 31)
                at += 2
                continue
            word = int.from_bytes(code[at : at + 4], "little")
            opcode, to, base = word & 0x7F, word >> 7 & 31, word >> 15 & 31
            if to in (_GP, _TP) and opcode in _WRITES:
                sets.add(to)
            elif base in (_GP, _TP) and opcode in _USES:
                uses.add(base)
            at += 4
    return uses, sets


def _sets(half: int) -> bool:
    """Whether a compressed instruction sets the register in bits 11 to 7."""
    function = half >> 13
    if half & 3 == 1:
        return function < 4  # c.addi, c.addiw, c.li, c.lui
    return half & 3 == 2 and (function in (0, 2, 3) or (function == 4 and half >> 2 & 31 != 0))


def _names(elf: Headers) -> bytes:
    """Return the names of all defined symbols, as in the file; b"" if it was stripped."""
    table = next((one for one in elf.sections if one["sh_type"] == "SHT_SYMTAB"), None)
    if table is None or table["sh_link"] >= len(elf.sections):
        return b""
    return bytes(section_data(elf, elf.sections[table["sh_link"]]))
