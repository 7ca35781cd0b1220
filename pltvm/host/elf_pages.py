"""Turns the pieces of an ELF into whole pages; nothing is copied, all bytes are views of the file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pltvm.monitor.abi import PAGE

Parts = tuple[tuple[int, memoryview], ...]  # offset and bytes


@dataclass(frozen=True)
class Piece:
    """One piece that the file maps: a program header's bytes or a NOBITS section. Sizes in bytes."""

    vaddr: int
    memory_size: int
    data: memoryview = field(repr=False)  # bytes of the file at vaddr; the rest of memory_size is zero
    writable: bool  # mapped R W X U; otherwise R X U
    what: str  # e.g. "segment LOAD R-X", "section .bss"
    decides: bool = True  # rule 3 of `elf`: False for headers that only describe part of a PT_LOAD, for .tbss

    @property
    def end(self) -> int:
        return self.vaddr + self.memory_size

    @property
    def first_page(self) -> int:
        return self.vaddr & -PAGE

    @property
    def end_page(self) -> int:
        return (self.end + PAGE - 1) & -PAGE

    def has_data_in(self, start: int, end: int) -> bool:
        return len(self.data) > 0 and self.vaddr < end and start < self.vaddr + len(self.data)

    def data_in(self, start: int, end: int) -> memoryview:
        """Return its bytes at the addresses [start, end); `start` need not be inside."""
        return self.data[max(start - self.vaddr, 0) : max(end - self.vaddr, 0)]


@dataclass(frozen=True)
class Run:
    """Contiguous pages with the same permissions and their final content; runs never overlap.

    `parts` are (offset from vaddr, bytes), to be written in this order: later parts overwrite earlier ones.
    Everything else, up to npages * 4096, is zero.
    """

    vaddr: int  # page aligned
    npages: int
    parts: Parts = field(repr=False)
    writable: bool  # R W X U; otherwise R X U

    @property
    def data(self) -> bytes:
        """Return a copy of the content from vaddr up to the last byte that is in the file."""
        content = bytearray(max((at + len(data) for at, data in self.parts), default=0))
        for at, data in self.parts:
            content[at : at + len(data)] = data
        return bytes(content)


def intervals(pieces: Sequence[Piece]) -> Iterator[tuple[int, int, list[Piece]]]:
    """Yield page ranges (start, end, pieces on them), sorted, cut wherever a piece or its bytes begin or
    end."""
    cuts = {piece.first_page for piece in pieces} | {piece.end_page for piece in pieces}
    cuts |= {(piece.vaddr + len(piece.data) + PAGE - 1) & -PAGE for piece in pieces if piece.data}
    for start, end in pairwise(sorted(cuts)):
        if on := [piece for piece in pieces if piece.first_page < end and start < piece.end_page]:
            yield start, end, on


def runs_of(pieces: Sequence[Piece]) -> Iterator[Run]:
    """Merge adjacent intervals with equal permissions. Zero ones stay separate, so that a big .bss costs
    nothing."""
    runs: list[tuple[int, int, bool, bool]] = []
    for start, end, on in intervals(pieces):
        deciding = [piece for piece in on if piece.decides] or on
        alike = any(piece.writable for piece in deciding), any(piece.has_data_in(start, end) for piece in on)
        if runs and runs[-1][1:] == (start, *alike):
            start = runs.pop()[0]
        runs.append((start, end, *alike))
    for start, end, writable, _ in runs:
        yield Run(start, (end - start) // PAGE, tuple(_parts(pieces, start, end)), writable)


def _parts(pieces: Sequence[Piece], start: int, end: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the pieces' bytes in [start, end). PT_LOAD bytes come last, so that they win."""
    inside = [piece for piece in pieces if piece.has_data_in(start, end)]
    inside.sort(key=lambda piece: piece.decides)  # stable: equal ones stay in the order of §1
    for piece in inside:
        yield max(piece.vaddr - start, 0), piece.data_in(start, end)
