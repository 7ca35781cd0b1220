"""What ran of one ELF: blocks of code, by where they start, and how often. All formats are made of that.

A block that traps in the middle counts as a whole, since that is how it is recorded.
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
    """One ELF and what ran of it. `blocks`: start address → (bytes, times)."""

    name: str  # a path, or the enclave's name: plug-ins match its last part with the file they show
    symbols: Symbols
    start: int  # of the addresses it is loaded at; blocks outside of it are ignored
    end: int
    blocks: Mapping[int, tuple[int, int]]
    entry: int = 0
    sources: Sequence[Path] = ()  # folders in which the files that its line tables name are looked for

    @classmethod
    def of(
        cls, elf: Source, blocks: Mapping[int, tuple[int, int]], name: str = "", sources: Sequence[Path] = ()
    ) -> Module:
        """The module of an enclave's ELF. Raises ElfError for what is none."""
        image = load_image(elf)
        start = min(piece.vaddr for piece in image.pieces)
        end = max(piece.end for piece in image.pieces)
        return cls(name or name_of(elf), Symbols(elf), start, end, blocks, image.entry, sources)

    def inside(self) -> Iterator[tuple[int, int, int]]:
        """The blocks (start, bytes, times) that are within the module and ran, sorted by address."""
        for start, (size, count) in sorted(self.blocks.items()):
            if self.start <= start and start + size <= self.end and size > 0 and count > 0:
                yield start, size, count
