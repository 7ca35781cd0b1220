"""The blocks of one ELF that ran, by start address, with counts. All formats are made from this.

A block that traps in the middle counts as a whole, as it is recorded that way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pltvm.host.elf import load_image
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.symbols import Symbols


@dataclass(frozen=True)
class Module:
    """One ELF, and the blocks that ran. `blocks`: start address → (bytes, times)."""

    name: str  # a path, or the enclave's name: plug-ins match its last component with their file
    symbols: Symbols
    start: int  # start of its addresses; blocks outside are ignored
    end: int
    blocks: Mapping[int, tuple[int, int]]
    entry: int = 0
    sources: Sequence[Path] = ()  # folders in which the files in its line tables are searched for

    @classmethod
    def of(
        cls, elf: Source, blocks: Mapping[int, tuple[int, int]], name: str = "", sources: Sequence[Path] = ()
    ) -> Module:
        """Return the module of an enclave's ELF. Raises ElfError if it is none."""
        image = load_image(elf)
        start = min(piece.vaddr for piece in image.pieces)
        end = max(piece.end for piece in image.pieces)
        return cls(name or name_of(elf), Symbols(elf), start, end, blocks, image.entry, sources)

    def inside(self) -> Iterator[tuple[int, int, int]]:
        """Yield the blocks (start, bytes, times) that are within the module and ran, sorted by address."""
        for start, (size, count) in sorted(self.blocks.items()):
            if self.start <= start and start + size <= self.end and size > 0 and count > 0:
                yield start, size, count
