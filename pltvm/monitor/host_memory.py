"""RAM as seen by the host kernel's loads and stores; the host accesses memory only through this class.

    monitor      no access (PMP 0)          PT area      read only (PMP 1)
    bitmap       no access (PMP 2)          private page no access: the host's page-table entry for it lacks V

On the original's machine, hardware refuses these accesses. Here the host kernel is Python, so its accesses
are checked against the same page bitmap, in guest RAM. A refused access raises AccessFault: it is a bug of
the host kernel, or something that a guest made it do.
"""

from struct import Struct
from typing import Final, NoReturn

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Memory
from pltvm.errors import AccessFault
from pltvm.monitor.pages import PRIVATE, PageOwners

_IN_PAGE: Final = PAGE - 1


class HostMemory(Memory):
    """The same RAM as `ram`, of which the first `monitor_size` bytes are the monitor's.

    `words` and `bytes` are read-only, for walks of page tables: writing to them always fails.
    """

    def __init__(self, ram: Memory, monitor_size: int) -> None:
        self._ram = ram
        self.base, self.size, self.end = ram.base, ram.size, ram.end
        self.bytes = ram.bytes.toreadonly()
        self.words = ram.words.toreadonly()
        self.halves = ram.halves.toreadonly()
        self.dirty = ram.dirty
        self._pages = ram.size >> PAGE_SHIFT
        self._first = ram.base + monitor_size
        self._tables = range(0)  # the PT area
        self._entries: memoryview[int] | None = None  # of the page bitmap, once there is one

    def guard(self, owners: PageOwners, pt_area: range) -> None:
        """Check accesses against the page bitmap from now on."""
        self._entries, self._tables = owners.entries, pt_area

    # -- checks --------------------------------------------------------------------------------------------

    def is_public(self, pa: int, size: int) -> bool:
        """Whether the host may read and write all of `size` bytes at `pa`."""
        offset = pa - self.base
        if offset < 0 or size < 0 or pa + size > self.end:
            return False
        entries = self._entries
        if entries is None:
            return pa >= self._first
        first = offset >> PAGE_SHIFT
        last = offset + size - 1 >> PAGE_SHIFT
        if last - first <= 1:  # most accesses, and a slice costs more
            return size == 0 or (entries[first] < PRIVATE and entries[last] < PRIVATE)
        return max(entries[first : last + 1]) < PRIVATE

    def require(self, pa: int, size: int) -> None:
        """Raise AccessFault unless the host may write all of these bytes."""
        if not self.is_public(pa, size):
            self._refuse("write", pa, size)

    def _check_read(self, pa: int, size: int) -> None:
        if not self.is_public(pa, size) and not (pa in self._tables and pa + size <= self._tables.stop):
            self._refuse("read", pa, size)

    def _refuse(self, what: str, pa: int, size: int) -> NoReturn:
        for at in range(pa & ~_IN_PAGE, min(pa + size, self.end), PAGE):
            if not self.is_public(at, PAGE):
                pa = max(pa, at)
                break
        raise AccessFault(f"access fault in the host kernel: it may not {what} {pa:#x}, which is not its own")

    # -- loads and stores ----------------------------------------------------------------------------------

    def read(self, pa: int, size: int) -> bytes:
        """A copy of `size` bytes at `pa`; raises AccessFault."""
        offset, entries = pa - self.base, self._entries
        page = offset >> PAGE_SHIFT
        if (  # the common case at once: inside a public page
            entries is None
            or not 0 <= page < self._pages
            or entries[page] >= PRIVATE
            or (offset & _IN_PAGE) + size > PAGE
        ):
            self._check_read(pa, size)
        return self._ram.read(pa, size)

    def unpack(self, layout: Struct, pa: int) -> tuple[int, ...]:
        """The structure at `pa`, which must not cross the end of a page; raises AccessFault."""
        offset, entries = pa - self.base, self._entries
        page = offset >> PAGE_SHIFT
        if entries is None or not 0 <= page < self._pages or entries[page] >= PRIVATE:
            self._check_read(pa, layout.size)
        return layout.unpack_from(self.bytes, offset)

    def write(self, pa: int, data: bytes | memoryview) -> None:
        """Write `data` at `pa`; raises AccessFault, and then writes nothing."""
        offset, entries, size = pa - self.base, self._entries, len(data)
        page = offset >> PAGE_SHIFT
        if (  # the common case, as in `read`
            entries is None
            or not 0 <= page < self._pages
            or entries[page] >= PRIVATE
            or (offset & _IN_PAGE) + size > PAGE
        ):
            self.require(pa, size)
        self._ram.write(pa, data)

    def load(self, pa: int) -> int:
        """The u64 at `pa`, which must be 8-byte aligned; raises AccessFault."""
        self._check_read(pa, 8)
        return self._ram.load(pa)

    def store(self, pa: int, value: int) -> None:
        """Set the u64 at `pa`, which must be 8-byte aligned; raises AccessFault."""
        self.require(pa, 8)
        self._ram.store(pa, value)

    def pack(self, pa: int, layout: Struct, *values: int) -> None:
        """Put `values` at `pa` in the form of `layout`; raises AccessFault."""
        self.require(pa, layout.size)
        self._ram.pack(pa, layout, *values)

    def copy(self, source: int, target: int, size: int) -> None:
        """Copy `size` bytes from one physical address to another; raises AccessFault."""
        self.write(target, self.read(source, size))

    def zero(self, pa: int, size: int) -> None:
        """Zero `size` bytes at `pa`; raises AccessFault, and then changes nothing."""
        self.require(pa, size)
        self._ram.zero(pa, size)

    def clear(self, pa: int, size: int, dirty: int) -> bool:
        """Zero the first `dirty` of `size` bytes; return False and change nothing if not all are the
        host's."""
        if not self.is_public(pa, size):
            return False
        self._ram.zero(pa, dirty)
        return True

    # -- pages that hold code -----------------------------------------------------------------------------

    def executable(self, pa: int, pages: int = 1) -> None:
        """These pages are mapped executable now."""
        self._ram.executable(pa, pages)

    def not_executable(self, pa: int, pages: int = 1) -> None:
        """These pages are nowhere mapped executable any more."""
        self._ram.not_executable(pa, pages)

    def is_executable(self, pa: int) -> bool:
        """Whether the page of `pa` is mapped executable somewhere."""
        return self._ram.is_executable(pa)
