"""Reads texts and structures that calls name in an enclave's memory, with user-mode permissions."""

from struct import Struct

from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import R
from pltvm.monitor import abi


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
) -> tuple[int, int, tuple[int, ...]] | None:
    """Return where the structure at `va` is, and its fields; None if a page of it lacks `flags`.

    It is at the first physical address; if it crosses the end of a page, the rest is at the second, else 0.
    """
    memory = table.memory
    if va & (PAGE - 1) <= PAGE - layout.size:
        pa = table.translate(va, flags)
        return None if pa is None else (pa, 0, layout.unpack_from(memory.bytes, pa - memory.base))
    spans = table.spans(va, layout.size, flags)
    if spans is None:
        return None
    (pa, _), (rest, _) = spans
    return pa, rest, layout.unpack(b"".join(memory.read(at, n) for at, n in spans))
