"""The description printed by `pltvm info ELF`: kind of file, mappings, and the memory of one enclave.

`describe` returns an `ElfInfo`: `text()` is for display, `to_dict()` for `--json`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

from pltvm.errors import ElfError
from pltvm.host.elf import EnclaveImage, load_named
from pltvm.host.elf_doubts import doubts
from pltvm.host.elf_headers import Source, name_of, read_headers
from pltvm.host.elf_kind import Decision, Kind, decide
from pltvm.host.elf_pages import Piece
from pltvm.host.elf_table import Mapping, human, reason_lines, table
from pltvm.host.program_info import ProgramInfo, describe_program
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.abi import DEFAULT_STACK, MAX_STACK, PAGE, SPARE_PAGES, STACK_TOP

_NAMES: Final = {
    "enclave": "Penglai enclave", "server": "Penglai server enclave", "kernel": "kernel program for S-mode",
    "other": "ELF",
}  # fmt: skip


@dataclass(frozen=True)
class ElfInfo:
    """A description of an enclave ELF. Counts in pages of 4096 bytes."""

    name: str
    kind: str  # "Penglai enclave", "Penglai server enclave" or "kernel program"
    reasons: tuple[str, ...]  # why this kind was chosen: each completes "it …"; none if the user chose it
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
        """Return the same as plain types, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text()

    def text(self, narrow: bool = False) -> str:
        """Return the description as lines of text; `narrow`: fewer columns in the table of mappings."""
        needed = f"{self.elf_pages} ELF + {self.stack_pages} stack + {SPARE_PAGES} spare"
        lines = [
            f"{self.name}: {self.kind}, RISC-V RV64, statically linked",
            *reason_lines(self.reasons),
            f"  sha256   {self.sha256}",
            f"  size     {human(self.file_size)}",
            f"  entry    {self.entry:#x}" + (f"  {self.entry_symbol}" if self.entry_symbol else ""),
            f"  memory   {self.block_pages} pages, {human(self.block_pages * PAGE)}  ({needed} pages)",
            "",
            *table(self.mappings, narrow),
        ]
        if self.warnings:
            lines += ["", *(f"  warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines)


def describe(
    source: Source, stack_size: int = DEFAULT_STACK, kind: Kind | None = None
) -> ElfInfo | ProgramInfo:
    """Describe an ELF as the detected kind, or as `kind`; an enclave with a stack of `stack_size` bytes.

    Raises ElfError, one line that starts with the file's name, for a file that cannot be that kind.
    """
    decision = decide(source) if kind is None else Decision(kind)
    if decision.kind is Kind.LINUX_PROGRAM:
        return describe_program(source, decision)
    return describe_enclave(source, decision, stack_size)


def describe_enclave(source: Source, decision: Decision, stack_size: int = DEFAULT_STACK) -> ElfInfo:
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
        kind=_NAMES["server" if decision.server else decision.kind.value],
        reasons=decision.reasons if decision.kind is not Kind.OTHER else (),
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        entry=image.entry,
        entry_symbol=None if entry_symbol is None else one_line(entry_symbol),
        mappings=_mappings(image, stack_pages),
        elf_pages=image.pages,
        stack_pages=stack_pages,
        block_pages=block_pages(image.pages, stack_pages),
        warnings=(
            *image.warnings,
            *(one.text for one in doubts(read_headers(data)) if decision.kind is not Kind.KERNEL),
            *((symbols.note,) if symbols.note else ()),
        ),
    )


def block_pages(elf_pages: int, stack_pages: int) -> int:
    """Return the pages of one enclave's block: the smallest power of two ≥ ELF + stack + 256 (§1)."""
    return 1 << (elf_pages + stack_pages + SPARE_PAGES - 1).bit_length()


def _mappings(image: EnclaveImage, stack_pages: int) -> tuple[Mapping, ...]:
    size = stack_pages * PAGE
    stack = (Mapping(STACK_TOP - size, size, 0, "RW-", "stack"),) if size else ()
    return (*stack, *(_mapping(piece, image) for piece in image.pieces))


def _mapping(piece: Piece, image: EnclaveImage) -> Mapping:
    """Return a row with the final permissions: a piece that shares a page may get more than it asks for."""
    end = piece.end
    writable = any(
        run.writable and run.vaddr < end and piece.vaddr < run.vaddr + run.npages * PAGE
        for run in image.runs()
    )
    return Mapping(piece.vaddr, piece.memory_size, len(piece.data), "RWX" if writable else "R-X", piece.what)
