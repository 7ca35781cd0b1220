"""What `pltvm info ELF` says: what the file is, what it maps where, and what one enclave of it costs.

`describe` returns an `ElfInfo`: print it for people, `to_dict()` for `--json`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from pltvm.errors import ElfError
from pltvm.host.elf import EnclaveImage, Kind, load_named, sniff
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.elf_pages import Piece
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.abi import DEFAULT_STACK, MAX_STACK, PAGE, SPARE_PAGES, STACK_TOP


@dataclass(frozen=True)
class Mapping:
    """One row of the table: a piece of the ELF, or the stack. Sizes in bytes."""

    vaddr: int
    size: int
    file_size: int
    permissions: str  # as mapped, not as the ELF asks: "RWX", "R-X" or "RW-" (§1)
    what: str


@dataclass(frozen=True)
class ElfInfo:
    """A description of an enclave ELF. Counts in pages of 4096 bytes."""

    name: str
    kind: str  # "Penglai enclave", or "Linux program" when it looks like one; it could be loaded all the same
    file_size: int  # bytes
    sha256: str
    entry: int
    entry_symbol: str | None
    mappings: tuple[Mapping, ...]  # in the order of loading (§1)
    elf_pages: int
    stack_pages: int
    block_pages: int  # the naturally aligned power of two that the driver allocates
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain types, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        needed = f"{self.elf_pages} ELF + {self.stack_pages} stack + {SPARE_PAGES} spare"
        lines = [
            f"{self.name}: {self.kind}, RISC-V RV64, statically linked",
            f"  sha256   {self.sha256}",
            f"  size     {human(self.file_size)}",
            f"  entry    {self.entry:#x}" + (f"  {self.entry_symbol}" if self.entry_symbol else ""),
            f"  memory   {self.block_pages} pages, {human(self.block_pages * PAGE)}  ({needed} pages)",
            "",
            *_table(self.mappings),
        ]
        if self.warnings:
            lines += ["", *(f"  warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines)


def describe(source: Source, stack_size: int = DEFAULT_STACK) -> ElfInfo:
    """Describe an enclave ELF with a stack of `stack_size` bytes. Raises ElfError as `load_image` does."""
    if not 0 <= stack_size <= MAX_STACK:
        raise ElfError(
            f"a stack of {stack_size} bytes is impossible; use 0 to {MAX_STACK} ({MAX_STACK >> 20} MiB)"
        )
    data, image = load_named(source)
    stack_pages = -(-stack_size // PAGE)
    symbols = Symbols(data)
    entry_symbol = symbols.locate(image.entry).symbol
    return ElfInfo(
        name=name_of(source),
        kind="Linux program" if sniff(data) is Kind.LINUX_PROGRAM else "Penglai enclave",
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        entry=image.entry,
        entry_symbol=None if entry_symbol is None else one_line(entry_symbol),
        mappings=_mappings(image, stack_pages),
        elf_pages=image.pages,
        stack_pages=stack_pages,
        block_pages=block_pages(image.pages, stack_pages),
        warnings=image.warnings + ((symbols.note,) if symbols.note else ()),
    )


def block_pages(elf_pages: int, stack_pages: int) -> int:
    """Pages of the block for one enclave: the power of two at or above ELF + stack + 256 (§1)."""
    return 1 << (elf_pages + stack_pages + SPARE_PAGES - 1).bit_length()


def human(size: int) -> str:
    """A number of bytes for people: "812 B", "1.5 MiB"."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024 or unit == "GiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def _mappings(image: EnclaveImage, stack_pages: int) -> tuple[Mapping, ...]:
    size = stack_pages * PAGE
    stack = (Mapping(STACK_TOP - size, size, 0, "RW-", "stack"),) if size else ()
    return (*stack, *(_mapping(piece, image) for piece in image.pieces))


def _mapping(piece: Piece, image: EnclaveImage) -> Mapping:
    """With the final permissions: a piece that shares a page may have more than it asks for."""
    end = piece.end
    writable = any(
        run.writable and run.vaddr < end and piece.vaddr < run.vaddr + run.npages * PAGE
        for run in image.runs()
    )
    return Mapping(piece.vaddr, piece.memory_size, len(piece.data), "RWX" if writable else "R-X", piece.what)


def _table(mappings: tuple[Mapping, ...]) -> list[str]:
    rows = [("address", "end", "in memory", "in file", "mapped", "what")]
    for row in mappings:
        addresses = f"{row.vaddr:#x}", f"{row.vaddr + row.size:#x}"
        sizes = human(row.size), human(row.file_size) if row.file_size else "-"
        rows.append((*addresses, *sizes, row.permissions, row.what))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return ["  " + "  ".join(_pad(row, widths)).rstrip() for row in rows]


def _pad(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Numbers to the right, words to the left."""
    return [
        cell.rjust(width) if column < 4 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
