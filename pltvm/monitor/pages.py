"""The owner of each page of RAM: one u32 per page, in a bitmap in guest RAM (§8).

    31        30     29     28 … 0
    private | shared | both | private: the owner's number; public: the number of enclave mappings
                              and mailboxes that hold it (30 … 0)

    owner   0 monitor | eid + 1 enclave | with `shared`: the number of a memory shared between enclaves
    both    the owner wants the page writable and executable; it has one at a time (engine/sv39.py)

A public page belongs to the host. It cannot become private while an enclave holds it (as kbuffer, shared
memory or mailbox). A private page belongs to exactly one owner.
"""

from array import array
from collections.abc import Callable
from typing import Final

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Memory, pages_for

PRIVATE: Final = 1 << 31
MONITOR: Final = 0  # owner number of the monitor itself; enclaves have eid + 1
SHARED: Final = 1 << 30
BOTH: Final = 1 << 29
OWNERS: Final = BOTH - 1  # largest owner number
ENTRY_SIZE: Final = 4
_SMALLEST: Final = 2  # pages of the smallest block of mmap
_FEW: Final = 4  # pages up to which single stores are faster than a slice


def enclave_owner(eid: int) -> int:
    """The owner number of enclave `eid`."""
    return eid + 1


def shared_owner(number: int) -> int:
    """The owner number of the memory shared between enclaves with this number."""
    return SHARED | number


class PageOwners:
    """The bitmap at physical address `bitmap`, an entry for each page of RAM. Ranges are page aligned."""

    def __init__(self, memory: Memory, bitmap: int) -> None:
        self.memory = memory
        self.bitmap = bitmap
        count = memory.size >> PAGE_SHIFT
        start = (bitmap - memory.base) // ENTRY_SIZE
        self.entries = memory.halves[start : start + count]
        self._first = bitmap - memory.base
        self._dirty = memory.dirty
        # Called with (physical address, pages) that the host loses or gets.
        self.on_private: Callable[[int, int], None] = lambda _pa, _pages: None
        self.on_public: Callable[[int, int], None] = lambda _pa, _pages: None

    @staticmethod
    def bitmap_bytes(memory: Memory) -> int:
        """Size of the bitmap for this RAM."""
        return pages_for((memory.size >> PAGE_SHIFT) * ENTRY_SIZE) * PAGE

    def _range(self, pa: int, pages: int) -> slice:
        first = (pa - self.memory.base) >> PAGE_SHIFT
        return slice(first, first + pages)

    def _valid(self, pa: int, pages: int) -> bool:
        return pages > 0 and not pa & (PAGE - 1) and self.memory.contains(pa, pages * PAGE)

    def is_free(self, pa: int, pages: int) -> bool:
        """Whether the pages belong to the host and no enclave holds them, so that they may be given away."""
        return self._valid(pa, pages) and not any(self.entries[self._range(pa, pages)])

    def is_public(self, pa: int, size: int) -> bool:
        """Whether the monitor may read or write `size` bytes at `pa` for the host."""
        if size <= 0 or not self.memory.contains(pa, size):
            return False
        first = pa & ~(PAGE - 1)
        span = self.entries[self._range(first, pages_for(pa + size - first))]
        return all(entry < PRIVATE for entry in span)

    def claim(self, pa: int, pages: int, owner: int) -> bool:
        """Make host pages private to `owner`; return False and change nothing if not all are free."""
        if not self.is_free(pa, pages):
            return False
        self.set_owner(pa, pages, owner)
        self.on_private(pa, pages)
        self.memory.not_executable(pa, pages)  # the host cannot reach them any more
        return True

    def set_owner(self, pa: int, pages: int, owner: int) -> None:
        """Set the owner of private pages."""
        entries, first, entry = self.entries, (pa - self.memory.base) >> PAGE_SHIFT, PRIVATE | owner
        if pages == _SMALLEST:
            entries[first] = entries[first + 1] = entry
            at = self._first + first * ENTRY_SIZE
            self._dirty[at >> PAGE_SHIFT] = self._dirty[(at + ENTRY_SIZE) >> PAGE_SHIFT] = 1
            return
        if pages <= _FEW:
            for index in range(first, first + pages):
                entries[index] = entry
        else:
            entries[first : first + pages] = array("I", (entry,)) * pages
        self._touch(first, pages)

    def _touch(self, first: int, pages: int) -> None:
        """Note that these entries were written."""
        start = (self._first + first * ENTRY_SIZE) >> PAGE_SHIFT
        end = (self._first + (first + pages) * ENTRY_SIZE - 1) >> PAGE_SHIFT
        if start == end:
            self._dirty[start] = 1
        else:
            self._dirty[start : end + 1] = b"\1" * (end + 1 - start)

    def want_both(self, pa: int) -> None:
        """Note that the owner wants this private page writable and executable, until the owner changes."""
        index = (pa - self.memory.base) >> PAGE_SHIFT
        self.entries[index] |= BOTH
        self._touch(index, 1)

    def wants_both(self, pa: int) -> bool:
        """Whether the owner wants this page writable and executable."""
        return self.entries[(pa - self.memory.base) >> PAGE_SHIFT] & (PRIVATE | BOTH) == PRIVATE | BOTH

    def release(self, pa: int, pages: int) -> None:
        """Give private pages back to the host; the caller has cleared them."""
        span = self._range(pa, pages)
        self.entries[span] = array("I", bytes(ENTRY_SIZE * pages))
        self._touch(span.start, pages)
        self.on_public(pa, pages)

    def hold(self, pa: int, pages: int) -> bool:
        """Count one more use of public pages by an enclave; return False and change nothing if one is
        private."""
        if not self._valid(pa, pages) or not self.is_public(pa, pages * PAGE):
            return False
        self._count(pa, pages, 1)
        return True

    def let_go(self, pa: int, pages: int) -> None:
        """Undo one `hold`."""
        self._count(pa, pages, -1)

    def _count(self, pa: int, pages: int, change: int) -> None:
        span = self._range(pa, pages)
        for index in range(span.start, span.stop):
            self.entries[index] += change
        if pages:
            self._touch(span.start, pages)

    def who(self, first: int = 0, pages: int | None = None) -> list[int]:
        """Return the entries of pages, by default of all, without the bit `both`."""
        entries = self.entries[first:] if pages is None else self.entries[first : first + pages]
        return [entry & ~BOTH if entry > PRIVATE else entry for entry in entries]

    def owner(self, pa: int) -> int | None:
        """Return the owner number of a private page, None for one of the host."""
        entry = self.entries[(pa - self.memory.base) >> PAGE_SHIFT]
        return entry & ~(PRIVATE | BOTH) if entry & PRIVATE else None

    def holds(self, pa: int) -> int:
        """Return how often enclaves hold a public page; 0 for a private one."""
        entry = self.entries[(pa - self.memory.base) >> PAGE_SHIFT]
        return 0 if entry & PRIVATE else entry
