"""Demand paging: page faults, how many pages they map, and copy-on-write.

    fault → area → page of the process, of a memory object, or of the device → entry

Pages are made when they are first accessed, by the page-fault handler or by a system call that copies: one,
and more and more at a time if faults are at consecutive addresses. A page of a private file mapping, or one
shared since a fork, is copied before it is written.
"""

from array import array
from dataclasses import dataclass, field
from errno import EFAULT
from typing import Final

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.host.linux import areas as areas_of
from pltvm.host.linux.areas import EXEC, READ, WRITE, Area
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.frames import Frames
from pltvm.host.linux.objects import Objects
from pltvm.host.linux.tables import LEAF_SHIFT, TablePage
from pltvm.host.linux.user_memory import PTE_BITS, Denied, UserMemory
from pltvm.host.plain import Part

FIRST_WINDOW, LARGEST_WINDOW = 8, 512  # pages at a time, from the second consecutive fault on
_AROUND: Final = 16 * PAGE
_STREAMS: Final = 16  # streams of consecutive faults that are tracked
_MOST_OF_FREE: Final = 8  # a window takes at most 1/8 of the free pages

UNMAPPED: Final = Denied(11, 1)  # SIGSEGV, SEGV_MAPERR
PROTECTED: Final = Denied(11, 2)  # SIGSEGV, SEGV_ACCERR
BEYOND_FILE: Final = Denied(7, 2)  # SIGBUS, BUS_ADRERR


@dataclass(slots=True)
class SpaceState:
    """An address space, except its page-table entries.

    `break_start` … `break_end` is the heap; `arguments` and `environment` are the ranges of the texts that
    the program was started with.
    """

    areas: list[Area] = field(default_factory=list)  # sorted, without overlaps
    own: dict[int, int] = field(default_factory=dict)  # page address → page of RAM owned by the process
    flips: dict[int, int] = field(default_factory=dict)  # number of changes between writable and executable
    streams: dict[int, int] = field(default_factory=dict)  # the next expected page of a stream → window
    objects: dict[int, None] = field(default_factory=dict)  # numbers of objects shown by areas
    break_start: int = 0
    break_end: int = 0
    arguments: tuple[int, int] = (0, 0)
    environment: tuple[int, int] = (0, 0)
    tables: list[TablePage] = field(default_factory=list)
    users: int = 1  # processes


class Faults(UserMemory, Part[SpaceState]):
    """The pages of an address space, from `frames` and `objects`."""

    frames: Frames
    objects: Objects

    def fault(self, va: int, access: int) -> Denied | None:
        """Make the page at `va` present for `access` (READ, WRITE, EXEC); return the signal if that is
        denied.

        Raises LinuxError(EFAULT) for memory that belongs to an enclave now: its entry exists without V, or
        the monitor refuses an entry. Raises OutOfMemory.
        """
        page = va & -PAGE
        area = areas_of.find(self.state.areas, page)
        if area is None:
            return UNMAPPED
        if not area.allows(access):
            return PROTECTED
        pte = self.table.raw_entry(page)
        if pte:
            if not pte & sv39.V:
                raise LinuxError(EFAULT)
            return self._allow(page, area, pte, access)
        if area.shared is not None:
            pa = area.shared + page - area.start
            if not self.memory.is_public(pa, PAGE):
                raise LinuxError(EFAULT)
            self.table.set_entry(page, sv39.make_pte(pa, _flags(area.prot, access)))
            return None
        end = self._end_of(area)
        if page >= end:
            return BEYOND_FILE
        self._bring(page, area, end, access)
        return None

    def _end_of(self, area: Area) -> int:
        """Return the address at which the area's content ends."""
        if area.object:
            return min(area.end, area.start - area.offset + self.objects.of(area.object).end)
        return area.end

    # -- present pages -------------------------------------------------------------------------------------

    def _allow(self, page: int, area: Area, pte: int, access: int) -> Denied | None:
        """Give a mapped page a permission that its area allows: W, if shared or unwritten, or one of W and
        X."""
        prot, pa = area.prot, sv39.pte_address(pte)
        if pte & PTE_BITS[access] & ~sv39.R or access == READ:
            return PROTECTED  # the permission was not missing
        if area.object and page not in self.state.own and not (access == WRITE and area.copies):
            at = area.offset + page - area.start
            self.table.set_entry(page, self.objects.entry(area.object, at, pa, area, access))
            return None
        if access == WRITE and area.is_private:
            if not prot & EXEC:
                self._unshare_row(page, area)
                return None
            pa = self._unshare(page, area)
        flags = _flags(prot, access)
        if prot & (WRITE | EXEC) == WRITE | EXEC:  # one at a time, as stores to pages with both are slow
            flips = self.state.flips.get(page, 0)
            self.state.flips[page] = flips + 1
            if flips >= sv39.FLIPS_BEFORE_GIVING_UP and pa not in self.frames.state.users:
                flags |= sv39.W | sv39.X
        elif access != WRITE:
            return PROTECTED
        self.table.set_entry(page, sv39.make_pte(pa, flags))
        return None

    def _unshare_row(self, page: int, area: Area) -> None:
        """Map pages writable that are read-only since a fork: one, or more and more for consecutive
        faults."""
        window, own = self.state.streams.pop(page, 1), self.state.own
        count, pages = self._room_for(window, page, area.end), [self._unshare(page, area)]
        for va in range(page + PAGE, page + count * PAGE, PAGE):
            if va not in own:
                break
            pages.append(self._unshare(va, area))
        flags = _flags(area.prot, WRITE)
        self.table.set_entries(page, array("Q", [pa >> 2 | flags for pa in pages]))
        self._expect(page + len(pages) * PAGE, window)

    def _unshare(self, page: int, area: Area) -> int:
        """Return the process's page at this address, unshared."""
        own = self.state.own
        pa = own.get(page)
        if pa is None:
            (pa,) = self.objects.present(area.object, area.offset + page - area.start, 1)
        elif pa not in self.frames.state.users:
            return pa
        new = self.frames.take()
        self.memory.copy(pa, new, PAGE)
        if page in own:
            self.frames.give((pa,))
        own[page] = new
        return new

    # -- missing pages -------------------------------------------------------------------------------------

    def _bring(self, page: int, area: Area, end: int, access: int) -> None:
        """Map the page, and as many after it as the consecutive faults so far suggest."""
        window = self.state.streams.pop(page, 1)
        first, count = page, 1
        if area.object and access != WRITE:
            first, count = self._around(page, area, end)
        if window > 1 and first == page and count == 1:
            count = self._room_for(window, page, end)
            taken = self.table.raw_entries(page, count)
            count = next((index for index, pte in enumerate(taken) if pte), count)
        self.table.make_tables(page, 1)
        entries = self._entries(first, area, count, access)
        self.table.set_entries(first, array("Q", entries))
        self._expect(first + len(entries) * PAGE, window)

    def _around(self, page: int, area: Area, end: int) -> tuple[int, int]:
        """Return start and number of pages of an object around `page` that are in RAM: mapping near pages too
        costs little."""
        own, by = self.state.own, area.offset - area.start
        low, high = max(area.start, page & -_AROUND), min(end, (page & -_AROUND) + _AROUND)
        one, taken = self.objects.of(area.object), self.table.raw_entries(low, (high - low) // PAGE)

        def may(va: int) -> bool:
            at = va + by
            free = at in one.pages and va not in own and not taken[(va - low) // PAGE]
            return free and at not in one.stored and (at not in one.run or bool(area.prot & EXEC))

        first, stop = page, page + PAGE
        if may(page):
            while first > low and may(first - PAGE):
                first -= PAGE
            while stop < high and may(stop):
                stop += PAGE
        return first, (stop - first) // PAGE

    def _room_for(self, window: int, page: int, end: int) -> int:
        """Return how many pages of a window fit into one leaf table and into RAM."""
        end = min(end, (page | (1 << LEAF_SHIFT) - 1) + 1)
        free = self.frames.blocks.free_pages // _MOST_OF_FREE
        return max(min(window, (end - page) // PAGE, free), 1)

    def _expect(self, page: int, window: int) -> None:
        """Note the page at which a stream of faults would continue."""
        streams = self.state.streams
        streams[page] = min(max(2 * window, FIRST_WINDOW), LARGEST_WINDOW)
        if len(streams) > _STREAMS:
            del streams[next(iter(streams))]

    def _entries(self, page: int, area: Area, count: int, access: int) -> list[int]:
        """Return entries for up to `count` pages, existing or new ones."""
        own, users = self.state.own, self.frames.state.users
        writes = access == WRITE and area.is_private
        if area.object and page not in own and not writes:
            return self._entries_of_object(page, area, count, access)
        flags = _flags(area.prot, access)
        if area.object and writes:
            pages = [self._unshare(page + at * PAGE, area) for at in range(count)]
        else:
            found = self.frames.present(own, page, count)
            if not users:
                return [pa >> 2 | flags for pa in found]
            pages = list(found)
            if writes:
                pages = [self._unshare(page + at * PAGE, area) for at in range(len(pages))]
        return [pa >> 2 | (flags & ~sv39.W if pa in users else flags) for pa in pages]

    def _entries_of_object(self, page: int, area: Area, count: int, access: int) -> list[int]:
        number, offset, own = area.object, area.offset + page - area.start, self.state.own
        if area.copies:
            count = next((at for at in range(count) if page + at * PAGE in own), count)
        pages = self.objects.present(number, offset, count)
        entry = self.objects.entry
        return [entry(number, offset + at * PAGE, pa, area, access) for at, pa in enumerate(pages)]

    def fill(self, va: int, data: bytes | memoryview) -> None:
        """Write `data` where the process itself may not: its program text."""
        view, own = memoryview(data), self.state.own
        while view:
            page = va & -PAGE
            area = areas_of.find(self.state.areas, page)
            if page not in own and not va % PAGE and len(view) >= 2 * PAGE and not (area and area.object):
                n = self._fill_row(page, view)
            else:
                n = min(len(view), PAGE - va % PAGE)
                if page not in own and not (area and area.object):
                    own[page] = self.frames.take()
                assert area is not None
                self.memory.write(self._unshare(page, area) + va % PAGE, view[:n])
            va, view = va + n, view[n:]

    def _fill_row(self, page: int, view: memoryview) -> int:
        """Fill whole new pages, as many as are contiguous in RAM; return the number of bytes."""
        pages = self.frames.present(self.state.own, page, len(view) // PAGE)
        first, size = pages[0], len(pages) * PAGE
        self.memory.write(first, view[:size])
        return size


def _flags(prot: int, access: int) -> int:
    """Return an entry's flags; for a page that should be writable and executable, those for this access."""
    flags = sv39.READ_ONLY_DATA
    if prot & WRITE and not (prot & EXEC and access == EXEC):
        flags |= sv39.W
    elif prot & EXEC:
        flags |= sv39.X
    return flags
