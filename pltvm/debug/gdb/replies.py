"""Replies about the whole machine: threads, objects of qXfer, queries of lldb."""

from collections.abc import Callable
from html import escape
from struct import pack
from typing import Final

from pltvm.debug.gdb import registers
from pltvm.debug.gdb.files import Files
from pltvm.debug.gdb.packets import MOST
from pltvm.debug.viewing import ThreadView, View
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import R, W, X
from pltvm.errors import ElfError
from pltvm.host.elf_headers import read_headers, read_source
from pltvm.host.elf_interpreter import interpreter_of
from pltvm.view.events import permissions

_AT_PHDR, _AT_PHENT, _AT_PHNUM, _AT_PAGESZ, _AT_BASE, _AT_ENTRY = 3, 4, 5, 6, 7, 9
TRIPLE: Final = b"riscv64-unknown-unknown-elf"


def supported(asked: bytes, multiprocess: bool, backwards: bool) -> bytes:
    """Return the reply to qSupported."""
    features = [
        f"PacketSize={MOST:x}", "QStartNoAckMode+", "swbreak+", "hwbreak+", "vContSupported+",
        "qXfer:features:read+", "qXfer:threads:read+", "qXfer:exec-file:read+", "qXfer:auxv:read+",
    ]  # fmt: skip
    if backwards:
        features += ["ReverseStep+", "ReverseContinue+"]
    if multiprocess and b"multiprocess+" in asked:
        features.append("multiprocess+")
    return ";".join(features).encode()


def part(data: bytes, asked: bytes) -> bytes:
    """Return the part `OFFSET,LENGTH` of an object. Raises ValueError."""
    offset, size = (int(number, 16) for number in asked.split(b","))
    size = min(size, MOST // 2 - 16)
    found = data[offset : offset + size]
    return (b"l" if offset + size >= len(data) else b"m") + found


def threads(views: list[View], identity: Callable[[View, ThreadView], str]) -> bytes:
    """Return all threads, with readable names."""
    rows = [
        f'<thread id="{identity(view, one)}" core="0" name="{escape(one.name)}"/>'
        for view in views
        for one in view.threads
    ]
    return "\n".join(['<?xml version="1.0"?>', "<threads>", *rows, "</threads>", ""]).encode()


def description(view: View | None) -> bytes:
    """Return the target description of a process."""
    return registers.description("" if view is not None and view.process is not None else "none")


def auxiliary(view: View | None) -> bytes:
    """Return the auxiliary vector of a process, which has the load address. Enclaves have none."""
    if view is None or view.process is None:
        return b""
    try:
        elf = read_headers(read_source(view.elf))
    except ElfError:
        return b""
    header = elf.header
    moved = view.moved
    rows = {
        _AT_PHDR: header["e_phoff"] + (moved or 0x10000), _AT_PHENT: header["e_phentsize"],
        _AT_PHNUM: header["e_phnum"], _AT_PAGESZ: PAGE, _AT_ENTRY: header["e_entry"] + moved,
    }  # fmt: skip
    if interpreter_of(elf) is not None:
        from pltvm.host.linux.program import INTERPRETER_BASE

        rows[_AT_BASE] = INTERPRETER_BASE
    rows[0] = 0
    return b"".join(pack("<2Q", *row) for row in rows.items())


def exec_file(files: Files, view: View | None) -> bytes:
    """Return the path of a process's ELF."""
    return files.path(view).encode() if view is not None else b""


def region(view: View, va: int) -> bytes:
    """Return the region of memory around an address, for lldb."""
    page = va & -PAGE
    pte = view.table.entry(page)
    start = page
    while start >= PAGE and page - start < 64 * PAGE and bool(view.table.entry(start - PAGE)) == bool(pte):
        if (view.table.entry(start - PAGE) ^ pte) & (R | W | X):
            break
        start -= PAGE
    end = page + PAGE
    while end - page < 64 * PAGE and bool(view.table.entry(end)) == bool(pte):
        if (view.table.entry(end) ^ pte) & (R | W | X):
            break
        end += PAGE
    text = f"start:{start:x};size:{end - start:x};"
    if pte:
        text += f"permissions:{permissions(pte >> 1).replace('-', '')};"
    return text.encode()


def process_info(view: View) -> bytes:
    """Return the reply to qProcessInfo of lldb."""
    kind = b"bare" if view.process is None else b"linux"
    return b"pid:%x;ptrsize:8;endian:little;ostype:%b;triple:%b;" % (view.number, kind, TRIPLE.hex().encode())


HOST_INFO: Final = b"triple:%b;ptrsize:8;endian:little;vm-page-size:4096;" % TRIPLE.hex().encode()
