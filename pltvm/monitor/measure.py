"""Measurements of enclaves (§9): which parts of their memory go into the digest, and when it is computed.

    entry point   u64
    per page, in the order of the page tables:
        u64 address, u8 bits 63…56 of the entry      only if the page before is not mapped
        4096 bytes
    nonce         u64; 0 at creation

Addresses in the low half of the address space start with 0xffff_ff80_0000_0000 too, as in the original.

Computing the digest takes longer than creating an enclave, and most are never needed. So creation only takes
a `Snapshot` of the input. Enclaves with the same memory share one, with its measurement.
"""

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Final
from weakref import WeakValueDictionary

from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import PPN_MASK, Leaf
from pltvm.monitor.abi import RELAY_BASE, SHM_BASE
from pltvm.monitor.digest import Digest, digest

HIGH: Final = 0xFFFF_FF80_0000_0000
_ZEROS: Final = bytes(PAGE)  # one object for all zero pages
_NUMBER: Final = Struct("<Q")
_RUN_START: Final = Struct("<QB")
_REMEMBERED: Final = 1024  # measurements, of 32 bytes each, kept after the end of their enclaves

_Page = tuple[int, int, bytes]  # virtual address, flag byte, content


class Snapshot:
    """An enclave's memory at its creation. Made by `capture`; equal snapshots are the same object."""

    __slots__ = ("__weakref__", "_measurements", "entry", "pages")

    def __init__(self, entry: int, pages: tuple[_Page, ...]) -> None:
        self.entry = entry
        self.pages = pages
        self._measurements: dict[Digest, bytes] = {}

    def measurement(self, kind: Digest, check: Callable[[], None] = lambda: None) -> bytes:
        """Return the measurement at creation; it is computed once for each content.

        `check` as for `digest`.
        """
        known = self._measurements.get(kind)
        if known is None:
            key = (kind, self._content())
            known = _remembered.get(key)
            if known is None:
                known = digest(kind, _stream(self.entry, self.pages, 0), check)
                if len(_remembered) >= _REMEMBERED:
                    del _remembered[next(iter(_remembered))]
                _remembered[key] = known
            self._measurements[kind] = known
        return known

    def _content(self) -> bytes:
        from hashlib import sha256  # see sm2

        content = sha256()
        for part in _stream(self.entry, self.pages, 0):
            content.update(part)
        return content.digest()


_snapshots: WeakValueDictionary[tuple[int, tuple[_Page, ...]], Snapshot] = WeakValueDictionary()
_remembered: dict[tuple[Digest, bytes], bytes] = {}


def capture(memory: Memory, entry: int, leaves: Iterable[Leaf]) -> Snapshot:
    """Return the snapshot of these pages, which are all mapped pages in table order."""
    key = (entry, tuple(_pages(memory, leaves)))
    snapshot = _snapshots.get(key)
    if snapshot is None:
        snapshot = _snapshots[key] = Snapshot(*key)
    return snapshot


def measure_now(
    kind: Digest, memory: Memory, entry: int, table: PageTable, nonce: int, check: Callable[[], None]
) -> bytes:
    """Return the measurement of an address space as it is now, without relay pages; `check` as for
    `digest`."""
    counted = (leaf for leaf in table.leaves() if not RELAY_BASE <= leaf.va < SHM_BASE)
    return digest(kind, _stream(entry, _pages(memory, counted), nonce), check)


def report_hash(kind: Digest, measurement: bytes, nonce: int) -> bytes:
    """Return the hash in a report on an enclave measured at its creation."""
    return digest(kind, (measurement, _NUMBER.pack(nonce)))


def _pages(memory: Memory, leaves: Iterable[Leaf]) -> Iterator[_Page]:
    ram, base = memory.bytes, memory.base
    for va, pte, _ in leaves:
        at = ((pte & PPN_MASK) << 2) - base
        content = bytes(ram[at : at + PAGE])
        yield va, pte >> 56, _ZEROS if content == _ZEROS else content


def _stream(entry: int, pages: Iterable[_Page], nonce: int) -> Iterator[bytes]:
    yield _NUMBER.pack(entry)
    following = None
    for va, flags, content in pages:
        at = va | HIGH
        if at != following:
            yield _RUN_START.pack(at, flags)
        yield content
        following = at + PAGE
    yield _NUMBER.pack(nonce)
