"""Finds in the code of an ELF its `ecall`s, with the numbers in a6 and a7, and S-mode instructions.

No code is run and no jump is followed: instructions are recognized by their bytes, in the executable
segments. So this is evidence, never proof, and the cost is bounded for any content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pltvm.host.elf_details import PF_X
from pltvm.host.elf_headers import Headers

MOST_CODE: Final = 4 << 20  # bytes of all segments together that are searched
MOST_CALLS: Final = 512
_BEFORE: Final = 32  # bytes before an `ecall` that are searched for its numbers

_ECALL: Final = b"\x73\0\0\0"
_SRET: Final = b"\x73\x00\x20\x10"
# csrr?? of sstatus, stvec, sscratch, sepc, scause, satp; the csr is in bits 31…20, funct3 in 14…12.
_SUPERVISOR: Final = re.compile(
    rb"[\x73\xf3][\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff][\x00-\x0f\x50-\x5f]\x10"
    rb"|[\x73\xf3][\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff][\x00-\x2f]\x14"
    rb"|[\x73\xf3][\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff][\x00-\x0f]\x18"
)
_ENCLAVE_CALL: Final = re.compile(
    rb"[\x37\xb7][\x00-\x0f]\x10\x00(?s:.{0,16}?)[\x13\x1b\x93\x9b][\x00-\x0f\x80-\x8f][\x10-\x1f]\x10"
)
_MONITOR_CALL: Final = re.compile(rb"\xb7\x08\x10\x00(?s:.{0,16}?)[\x93\x9b]\x88\x08\x10")


@dataclass
class Calls:
    """What was found. Addresses are virtual, None for what was not found.

    `numbers` are the values of a7 at `ecall`s, as far as they are set just before, each with its first place.
    `enclave` is the place of 0x100101, which an enclave puts into a6; `monitor` that of 0x100100, which a
    kernel puts into a7; `supervisor` that of an S-mode instruction.
    """

    first: int | None = None
    numbers: dict[int, int] = field(default_factory=dict)
    enclave: int | None = None
    monitor: int | None = None
    supervisor: int | None = None


def find_calls(elf: Headers) -> Calls:
    """Search the executable segments of a file; never raises."""
    found = Calls()
    left = MOST_CALLS
    for start, code in _code(elf):
        for pattern, name in (
            (_ENCLAVE_CALL, "enclave"),
            (_MONITOR_CALL, "monitor"),
            (_SUPERVISOR, "supervisor"),
        ):
            if getattr(found, name) is None and (at := _first(pattern, code)) is not None:
                setattr(found, name, start + at)
        if found.supervisor is None and (sret := code.find(_SRET)) >= 0 and not sret % 2:
            found.supervisor = start + sret
        at = code.find(_ECALL)
        while at >= 0 and left:
            if not at % 2:
                left -= 1
                if found.first is None:
                    found.first = start + at
                number = _number(code[max(at - _BEFORE, 0) : at])
                if number is not None:
                    found.numbers.setdefault(number, start + at)
            at = code.find(_ECALL, at + 2)
    return found


def _code(elf: Headers) -> Iterator[tuple[int, bytes]]:
    """Yield address and bytes of the executable segments, within the file and the limit."""
    left = MOST_CODE
    for segment in elf.segments:
        if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & PF_X and left:
            start = segment["p_offset"]
            code = elf.data[start : start + min(segment["p_filesz"], left)]
            left -= len(code)
            yield segment["p_vaddr"], code


def _first(pattern: re.Pattern[bytes], code: bytes) -> int | None:
    """Return the first place of the pattern at an instruction's address, or None."""
    return next((found.start() for found in pattern.finditer(code) if not found.start() % 2), None)


def _number(before: bytes) -> int | None:
    """Return the last number that these instructions put into a7, or None."""
    for at in range(len(before) - 2, -1, -2):
        half = int.from_bytes(before[at : at + 2], "little")
        if half & 0xEF83 == 0x4881:  # c.li a7, n
            return (half >> 2 & 31) - (half >> 7 & 32)
        word = int.from_bytes(before[at : at + 4], "little")
        if word & 0xFFFFF == 0x00893 and at + 4 <= len(before):  # addi a7, zero, n
            return word >> 20
    return None
