"""Guest RAM: one anonymous mapping that Unicorn executes from and Python reads and writes in place.

RAM is reserved, not allocated: a page costs host memory only after it was touched. All addresses are guest
physical addresses in bytes. Every range is checked here, so a wrong address raises an error and never
accesses other memory silently.

The JIT notices stores of guest code, but not what Python writes. So RAM knows which pages may have translated
code, and has the code discarded whenever one of its own methods changes such a page. Code that makes a page
executable calls `executable`, and code that ends that calls `not_executable`.

RAM also keeps a log of the pages that were written through it (`dirty`), for snapshots. Writes of guest code
are in the D bits of page tables; code that writes `words` or `bytes` directly calls `touch`.
"""

import ctypes
import mmap
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from pltvm.errors import PhysicalAddressError

PAGE: Final = 4096
PAGE_SHIFT: Final = 12

MAP_NORESERVE: Final = 0x4000
SEEN: Final = 2  # a value in the log of written pages

# Below this a range is overwritten with zeros; above it the pages go back to the operating system,
# which hands out zeroed ones when they are next touched.
GIVE_BACK: Final = 16 * PAGE
_ZEROS: Final = memoryview(bytes(GIVE_BACK))


class Block(NamedTuple):
    """Contiguous pages of RAM: physical address and number of pages. (A span has bytes instead.)"""

    pa: int
    pages: int


def pages_for(size: int) -> int:
    """Return the number of 4 KiB pages that hold `size` bytes."""
    return (size + PAGE - 1) >> PAGE_SHIFT


class Memory:
    """RAM of `size` bytes at guest physical address `base`, both multiples of a page.

    `words` and `halves` are the same bytes as little-endian u64 and u32, indexed from `base`.
    """

    def __init__(self, base: int, size: int) -> None:
        if size <= 0 or size % PAGE or base % PAGE:
            raise PhysicalAddressError(f"RAM must be a positive number of whole pages, not {size} bytes")
        self.base = base
        self.size = size
        self.end = base + size
        try:
            self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            raise PhysicalAddressError(f"cannot reserve {size >> 20} MiB of guest RAM: {error}") from error
        self.bytes = memoryview(self._map)
        self.words = self.bytes.cast("Q")
        self.halves = self.bytes.cast("I")
        # One byte per page: `code` is 1 if it is executable somewhere; `dirty` is 1 if it was written since
        # the log was emptied, SEEN if the watcher has seen that already. Their addresses are fixed, as native
        # code marks pages too.
        self.code = bytearray(size >> PAGE_SHIFT)
        self.dirty = bytearray(size >> PAGE_SHIFT)
        # Gets (physical address, bytes) of translated code that is no longer valid: the hart.
        self.on_code_changed: Callable[[int, int], None] = lambda _pa, _size: None

    def touch(self, pa: int, pages: int = 1) -> None:
        """Note that pages of RAM were, or will be, written without the methods of this class."""
        first = (pa - self.base) >> PAGE_SHIFT
        if pages == 1:
            self.dirty[first] = 1
        else:
            self.dirty[first : first + pages] = b"\1" * pages

    def unseen(self, first: int, end: int) -> list[int]:
        """Return the pages from number `first` up to `end` that were written since the last such call.

        They stay in the log, for others that need it.
        """
        dirty, found, at = self.dirty, [], first - 1
        while (at := dirty.find(1, at + 1, end)) >= 0:
            dirty[at] = SEEN
            found.append(at)
        return found

    def written(self) -> list[int]:
        """Return the numbers of all pages in the log, and mark them as unseen."""
        dirty, found, at = self.dirty, [], -1
        if dirty.find(SEEN) >= 0:
            dirty[:] = dirty.replace(bytes([SEEN]), b"\1")
        while (at := dirty.find(1, at + 1)) >= 0:
            found.append(at)
        return found

    @property
    def host_address(self) -> int:
        """The address of RAM in this process, for Unicorn only: it must never reach a guest."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def contains(self, pa: int, size: int = 1) -> bool:
        """Whether all `size` bytes at `pa` are RAM."""
        return self.base <= pa and size >= 0 and pa + size <= self.end

    def _offset(self, pa: int, size: int) -> int:
        if self.base <= pa and size >= 0 and pa + size <= self.end:  # `contains`, without a call
            return pa - self.base
        raise PhysicalAddressError(f"{size} bytes at {pa:#x} are not in guest RAM")

    def read(self, pa: int, size: int) -> bytes:
        """Return a copy of `size` bytes at `pa`."""
        offset = self._offset(pa, size)
        return bytes(self.bytes[offset : offset + size])

    def write(self, pa: int, data: bytes | memoryview) -> None:
        """Write `data` at `pa`."""
        size = len(data)
        offset = self._offset(pa, size)
        self.bytes[offset : offset + size] = data
        first, end = offset >> PAGE_SHIFT, (offset + size + PAGE - 1) >> PAGE_SHIFT
        if end - first == 1:  # two slices would cost as much as the copy
            self.dirty[first], has_code = 1, self.code[first]
        else:
            self.dirty[first:end] = b"\1" * (end - first)
            has_code = self.code.find(1, first, end) >= 0
        if has_code:
            self.on_code_changed(pa, size)

    def pack(self, pa: int, layout: Struct, *values: int) -> None:
        """Write `values` at `pa` in the form of `layout`; they must not cross the end of a page."""
        layout.pack_into(self.bytes, self.opened(pa, layout.size), *values)

    def opened(self, pa: int, size: int) -> int:
        """Note that `size` bytes of a page are written next; return their index in `bytes`."""
        offset = pa - self.base
        page = offset >> PAGE_SHIFT
        self.dirty[page] = 1
        if self.code[page]:
            self.on_code_changed(pa, size)
        return offset

    def load(self, pa: int) -> int:
        """Return the u64 at `pa`, which must be 8-byte aligned."""
        if pa & 7:
            raise PhysicalAddressError(f"u64 at {pa:#x} is not aligned")
        return self.words[self._offset(pa, 8) >> 3]

    def store(self, pa: int, value: int) -> None:
        """Set the u64 at `pa`, which must be 8-byte aligned."""
        if pa & 7:
            raise PhysicalAddressError(f"u64 at {pa:#x} is not aligned")
        offset = self._offset(pa, 8)
        self.words[offset >> 3] = value & 0xFFFF_FFFF_FFFF_FFFF
        page = offset >> PAGE_SHIFT
        self.dirty[page] = 1
        if self.code[page]:
            self.on_code_changed(pa, 8)

    def zero(self, pa: int, size: int) -> None:
        """Zero `size` bytes at `pa`; large page-aligned ranges also give their host memory back."""
        offset = self._offset(pa, size)
        if size >= GIVE_BACK and not (offset | size) & (PAGE - 1):
            self._map.madvise(mmap.MADV_DONTNEED, offset, size)
        elif size <= GIVE_BACK:
            self.bytes[offset : offset + size] = _ZEROS[:size]
        else:
            self.bytes[offset : offset + size] = bytes(size)
        first, end = offset >> PAGE_SHIFT, (offset + size + PAGE - 1) >> PAGE_SHIFT
        self.dirty[first:end] = b"\1" * (end - first)
        if self.code.find(1, first, end) >= 0:
            self.on_code_changed(pa, size)

    def copy(self, source: int, target: int, size: int) -> None:
        """Copy `size` bytes from one physical address to another; the ranges do not overlap."""
        at = self._offset(source, size)
        self.write(target, self.bytes[at : at + size])

    # -- pages that hold code ------------------------------------------------------------------------------

    def executable(self, pa: int, pages: int = 1) -> None:
        """Note that these pages are mapped executable now."""
        first = self._offset(pa, pages << PAGE_SHIFT) >> PAGE_SHIFT
        if pages == 1:
            self.code[first] = 1
        else:
            self.code[first : first + pages] = b"\1" * pages

    def not_executable(self, pa: int, pages: int = 1) -> None:
        """Note that these pages are mapped executable nowhere any more; discards their translated code."""
        first = self._offset(pa, pages << PAGE_SHIFT) >> PAGE_SHIFT
        if self.code.find(1, first, first + pages) >= 0:
            self.code[first : first + pages] = bytes(pages)
            self.on_code_changed(pa, pages << PAGE_SHIFT)

    def executable_pages(self) -> bytes:
        """Return which pages are executable, one byte per page, for `restore_executable`."""
        return bytes(self.code)

    def restore_executable(self, pages: bytes) -> None:
        """Make these pages executable, and no others; discards no code."""
        if self.code != pages:
            self.code[:] = pages

    def is_executable(self, pa: int) -> bool:
        """Whether the page of `pa` is mapped executable somewhere."""
        return bool(self.code[self._offset(pa, 1) >> PAGE_SHIFT])
