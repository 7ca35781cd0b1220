"""Reads texts and structures that calls name in an enclave's memory, with user-mode permissions."""

from struct import Struct

from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import R
from pltvm.monitor import abi

# Parts of a structure that may cross pages: physical address and bytes of each.
Spans = list[tuple[int, int]]


def read_name(table: PageTable, va: int) -> bytes | None:
    """Return at most 16 bytes up to a NUL; the page after the NUL need not be mapped."""
    if va & (PAGE - 1) <= PAGE - abi.NAME_SIZE:
        pa = table.translate(va)
        if pa is None:
            return None
        at = pa - table.memory.base
        return bytes(table.memory.bytes[at : at + abi.NAME_SIZE]).split(b"\0", 1)[0]
    raw = table.read(va, abi.NAME_SIZE)
    if raw is None:
        raw = table.read(va, PAGE - va % PAGE)
        if raw is None or b"\0" not in raw:
            return None
    return abi.clean_name(raw)


def find_struct(
    table: PageTable, layout: Struct, va: int, flags: int = R
) -> tuple[Spans, tuple[int, ...] | None]:
    """Return the physical parts of the structure at `va`, and its fields; None if a part lacks `flags`."""
    memory, size = table.memory, layout.size
    if va & (PAGE - 1) <= PAGE - size:
        pa = table.translate(va, flags)
        if pa is None:
            return [], None
        return [(pa, size)], layout.unpack_from(memory.bytes, pa - memory.base)
    spans = table.spans(va, size, flags)
    if spans is None:
        return [], None
    return spans, layout.unpack(b"".join(memory.read(pa, n) for pa, n in spans))
