"""Numbers worth trying: addresses of every kind of page, sizes, and what lies at edges."""

from collections.abc import Sequence
from random import Random
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import make_pte
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.pages import PRIVATE

_NEAR: Final = (0, 0, 0, 0, 0, 1, 4, 8, -1, -4, -8, PAGE - 1, PAGE - 8, PAGE // 2, PAGE - 24)
_NOWHERE: Final = (0, PAGE, 1 << 12, 1 << 31, 1 << 32, 1 << 38, 1 << 55, 1 << 56, 1 << 63, abi.MASK64, -PAGE)
_TEMPLATES: Final = (0xC7, 0xDB, 0xCF, 0xDF, 1, 0xD7, 0xD3, 0x11, 0xC0)  # flags of entries, good and bad
MANY: Final = 1000  # pages that are looked at until one of a kind is found


class Values:
    """Chooses numbers for one machine."""

    def __init__(self, rng: Random, machine: Machine) -> None:
        self.rng, self.memory = rng, machine.memory
        self.state, self.kernel = machine.monitor.state, machine.kernel
        self._pages = self.memory.size // PAGE

    def page(self) -> int:
        """Physical address of a page: of the host, held, private, the monitor's, of the PT area, or none."""
        rng, kernel = self.rng, self.kernel
        kind = rng.randrange(8)
        if kind == 0:
            return rng.choice(_NOWHERE) & abi.MASK64 & -PAGE
        if kind == 1:
            return rng.choice((self.memory.base, kernel.bitmap, self.memory.base - PAGE, self.memory.end))
        if kind == 2:
            return kernel.pt_area + PAGE * rng.randrange(kernel.blocks.size(kernel.pt_area) // PAGE)
        if kind == 3:
            blocks = [(e.block, e.block_pages) for e in self.state.enclaves.values()]
            blocks += [
                (m.block, m.block_pages) for e in self.state.enclaves.values() for m in e.space.all_regions()
            ]
            blocks += [(s.block, s.block_pages) for s in self.state.segments.values()]
            blocks += [(m.block, m.block_pages) for bound in self.state.bound.values() for m in bound]
            block, pages = rng.choice(blocks or [(self.memory.base, 1)])
            return block + PAGE * rng.choice((0, 1, 2, pages - 1, rng.randrange(pages)))
        if kind == 4:
            return self._like(lambda entry: 0 < entry < PRIVATE)
        return self._like(lambda entry: entry == 0)

    def _like(self, fits: "type[bool] | object") -> int:
        """A page whose entry in the bitmap is of a kind; any, if there is none near."""
        entries, start = self.state.owners.entries, self.rng.randrange(self._pages)
        for step in range(MANY):
            index = (start + step) % self._pages
            if fits(entries[index]):  # type: ignore[operator]
                return self.memory.base + index * PAGE
        return self.memory.base + start * PAGE

    def address(self) -> int:
        """In or near such a page."""
        return self.page() + self.rng.choice(_NEAR) & abi.MASK64

    def size(self) -> int:
        rng = self.rng
        if rng.random() < 0.7:
            return PAGE * rng.choice((1, 1, 1, 2, 2, 3, 4, 8, 16, 64, 512, rng.randrange(1 << 20)))
        return rng.choice(
            (0, 1, 8, 16, PAGE - 1, PAGE + 1, 1 << 37, 1 << 40, 1 << 63, abi.MASK64, -PAGE & abi.MASK64)
        )

    def number(self) -> int:
        """Any number of 64 bits."""
        rng = self.rng
        kind = rng.randrange(5)
        if kind == 0:
            return rng.randrange(16)
        if kind == 1:
            return (1 << rng.randrange(64)) + rng.choice((-1, 0, 1)) & abi.MASK64
        if kind == 2:
            return self.address()
        return self.size() if kind == 3 else rng.getrandbits(64)

    def eid(self) -> int:
        rng = self.rng
        if self.state.enclaves and rng.random() < 0.85:
            return rng.choice(list(self.state.enclaves))
        return rng.choice((self.state.globals.next_eid, abi.MASK64, 1 << 32, rng.randrange(8), self.number()))

    def entry(self, page: int | None = None) -> int:
        """A page-table entry, for that page or for any."""
        rng = self.rng
        if rng.random() < 0.1:
            return rng.getrandbits(64)
        flags = rng.choice(_TEMPLATES) if rng.random() < 0.7 else rng.getrandbits(10)
        page = self.page() if page is None else page
        return make_pte(page, flags) | (1 << rng.randrange(54, 64) if rng.random() < 0.05 else 0)

    def spoil(self, fields: Sequence[object], at_most: int) -> list[object]:
        """Replace some of the numbers among `fields`."""
        fields, rng = list(fields), self.rng
        for _ in range(rng.choice((0, 0, 1, 1, 2, at_most))):
            index = rng.randrange(len(fields))
            if isinstance(fields[index], int):
                fields[index] = rng.choice((self.address, self.address, self.page, self.size, self.number))()
        return fields
