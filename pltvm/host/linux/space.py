"""The memory of a Linux process: its areas, its heap, forking and freeing it.

An area is a range of addresses with one protection (`areas`); its pages are made when they are accessed
(`faults`). Page-table entries are set only by monitor calls.

After `fork` both processes share the pages, without writable entries: a process that writes gets a copy, or
the page itself if the other process no longer uses it.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from errno import EACCES, ENOMEM
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import OutOfMemory
from pltvm.host.kernel import Kernel
from pltvm.host.linux import areas as areas_of
from pltvm.host.linux.areas import (
    EXEC,
    MMAP_TOP,
    NOT_IN_CHILD,
    READ,
    USER_END,
    WRITE,
    Area,
)
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.faults import BEYOND_FILE, PROTECTED, UNMAPPED, Faults, SpaceState
from pltvm.host.linux.frames import Frames
from pltvm.host.linux.objects import Objects
from pltvm.host.linux.tables import ProcessTable
from pltvm.host.linux.user_memory import Denied
from pltvm.host.plain import copied
from pltvm.host.spans import Span

__all__ = [
    "BEYOND_FILE", "EXEC", "MMAP_TOP", "PROTECTED", "READ", "UNMAPPED", "USER_END", "WRITE", "Area", "Denied",
    "Space", "SpaceState",
]  # fmt: skip

MOST_AREAS: Final = 65530  # as on Linux


class Space(Faults):
    """The address space of a process: a new one, or `saved`. `brk` changes the heap.

    `objects` has the memory objects, and the pages, of all processes; without it the space has its own.
    Raises OutOfMemory.
    """

    def __init__(
        self, kernel: Kernel, saved: SpaceState | None = None, objects: Objects | None = None
    ) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.objects = objects if objects is not None else Objects(Frames(kernel, for_spaces=True))
        self.frames = self.objects.frames
        self.state = copied(saved) if saved is not None else SpaceState()
        try:
            if saved is None:
                self.frames.enter()
            self.table = ProcessTable(kernel, self.state.tables, self.frames.scratch)
        except OutOfMemory:
            self.frames.leave()
            raise
        self.objects.viewers[self] = None

    def load(self, saved: SpaceState) -> None:
        super().load(saved)
        self.table.load(self.state.tables)
        if saved.users:
            self.objects.viewers[self] = None
        else:
            self.objects.viewers.pop(self, None)

    # -- life ----------------------------------------------------------------------------------------------

    def share(self) -> "Space":
        """Count one more process that has this space; each calls `free`."""
        self.state.users += 1
        return self

    def fork(self) -> "Space":
        """Return a space with the same content, for a new process. Raises OutOfMemory, and then changes
        nothing.

        Its entries are made when pages are accessed; writable entries of this space are cleared.
        """
        self.table.must_have_room_for_another()
        child, state = Space(self.kernel, objects=self.objects), self.state
        for area in state.areas:
            if area.is_private and area.prot & WRITE:
                self.table.clear_writable(area.start, area.end)
        new = child.state
        new.areas, new.own, new.flips = list(state.areas), dict(state.own), dict(state.flips)
        for area in state.areas:
            if area.at_fork:
                for va in within(new.own, area.start, area.end):
                    del new.own[va]
            if area.at_fork & NOT_IN_CHILD:
                areas_of.carve(new.areas, area.start, area.end)
        self.frames.share(new.own.values())
        new.break_start, new.break_end = state.break_start, state.break_end
        new.arguments, new.environment = state.arguments, state.environment
        for number in {area.object: None for area in new.areas if area.object}:
            child._show(number)
        return child

    def free(self) -> None:
        """Count one process less that has it: the last one frees everything."""
        self.state.users -= 1
        if self.state.users > 0:
            return
        self.table.free()
        self.objects.viewers.pop(self, None)
        self.frames.give(self.state.own.values())
        for number in self.state.objects:
            self.objects.leave(number)
        self.state = SpaceState(users=0)
        if self.frames.is_last():
            self.objects.drop_unused()
        self.frames.leave()

    # -- areas -------------------------------------------------------------------------------------------

    def area(self, va: int) -> Area | None:
        """Return the area that contains `va`, or None."""
        return areas_of.find(self.state.areas, va)

    def areas(self, start: int, end: int) -> list[Area]:
        """Return the whole areas that overlap the range."""
        return self.state.areas[areas_of.between(self.state.areas, start, end)]

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any area overlaps the range."""
        return bool(self.areas(start, end))

    def is_mapped(self, start: int, end: int) -> bool:
        """Whether the whole range is in areas."""
        for area in self.areas(start, end):
            if area.start > start:
                return False
            start = area.end
        return start >= end

    def shows(self, span: Span) -> bool:
        """Whether any area maps pages of this span of device memory."""
        return any(
            area.shared is not None
            and area.shared < span.end
            and span.pa < area.shared + area.end - area.start
            for area in self.state.areas
        )

    def maps(self) -> str:
        """Return the text of /proc/PID/maps."""
        return "".join(f"{area}\n" for area in self.state.areas)

    def size(self, start: int = 0, end: int = USER_END) -> int:
        """Return the number of mapped bytes in a range."""
        return sum(min(area.end, end) - max(area.start, start) for area in self.areas(start, end))

    def data_size(self) -> int:
        """Return the bytes of private writable areas, without the stack."""
        return sum(
            area.end - area.start
            for area in self.state.areas
            if area.is_private and area.prot & WRITE and area.name != "[stack]"
        )

    def place(self, size: int) -> int:
        """Return the highest free range of `size` bytes; raises LinuxError if there is none."""
        at = areas_of.free_range(self.state.areas, size)
        if at is None:
            raise LinuxError(ENOMEM)
        return at

    def map(
        self,
        start: int,
        size: int,
        prot: int,
        shared: int | None = None,
        *,
        object: int = 0,
        offset: int = 0,
        copies: bool = False,
        may_write: bool = True,
        name: str = "",
    ) -> None:
        """Make an area of whole pages, replacing what was there; LinuxError beyond MOST_AREAS.

        Other arguments are those of `Area`.
        """
        end = start + pages_for(size) * PAGE
        with self.objects.kept(object):
            self.must_have_room()
            self.unmap(start, end - start)
            self.insert(Area(start, end, prot, shared, object, offset, copies, may_write, name))

    def insert(self, area: Area) -> None:
        """Add an area in a free range."""
        if area.object:
            self._show(area.object)
        areas_of.insert(self.state.areas, area)

    def _show(self, number: int) -> None:
        if number not in self.state.objects:
            self.state.objects[number] = None
            self.objects.enter(number)

    def unmap(self, start: int, size: int) -> None:
        """Remove a range, and free its pages. LinuxError if splitting areas exceeds MOST_AREAS."""
        end = start + pages_for(size) * PAGE
        split = self.area(start)
        if split is not None and split.start < start and end < split.end:
            self.must_have_room()
        if self.take_out(start, end):
            self.give_pages(start, end)

    def take_out(self, start: int, end: int) -> list[Area]:
        """Remove a range from the areas, and its entries from the table; return the removed parts."""
        parts = areas_of.carve(self.state.areas, start, end)
        if parts:
            self._clear_entries(start, end)
        gone = {part.object: None for part in parts if part.object}
        with suppress(LinuxError):  # the range is removed in any case
            self.sync(start, end, parts)
        for number in gone:
            if not any(area.object == number for area in self.state.areas):
                del self.state.objects[number]
                self.objects.leave(number)
        return parts

    def give_pages(self, start: int, end: int) -> None:
        """Free the process's own pages of a range."""
        own = self.state.own
        self.frames.give([own.pop(va) for va in within(own, start, end)])

    def drop(self, start: int, size: int) -> None:
        """Discard the pages of a range; they read as zero again, or as their object or file."""
        end = start + pages_for(size) * PAGE
        for area in self.areas(start, end):
            low, high = max(area.start, start), min(area.end, end)
            self._clear_entries(low, high)
            self.give_pages(low, high)

    def at_fork(self, start: int, size: int, change: int, keeps: int) -> None:
        """Set the effect of fork on a range: of the former bits those in `keeps`, plus `change`."""
        self.must_have_room()
        for part in areas_of.carve(self.state.areas, start, start + pages_for(size) * PAGE):
            self.insert(replace(part, at_fork=part.at_fork & keeps | change))

    def hide(self, number: int, start: int, end: int) -> None:
        """Remove the entries that show this range of an object."""
        if number in self.state.objects:
            for area in self.state.areas:
                if area.object == number:
                    low, high = area.showing(start, end)
                    if low < high:
                        self.table.clear(low, high)

    def cut_off(self, number: int, start: int) -> None:
        """Remove the entries from this offset on, and private copies of these pages."""
        if number in self.state.objects:
            for area in self.state.areas:
                if area.object == number:
                    low, high = area.showing(start, area.offset + area.end - area.start)
                    if low < high:
                        self._clear_entries(low, high)
                        self.give_pages(low, high)

    def sync(self, start: int, end: int, parts: Iterable[Area] | None = None) -> None:
        """Write changes of shared file mappings in a range to the files; raises LinuxError."""
        for area in self.areas(start, end) if parts is None else parts:
            if area.object and not area.copies:
                by = area.offset - area.start
                self.objects.sync(area.object, max(start, area.start) + by, min(end, area.end) + by)

    def protect(self, start: int, size: int, prot: int) -> None:
        """Change the protection of a range; raises LinuxError if a part of it is not mapped.

        Entries are cleared, and made again with the new protection when the pages are accessed. Device memory
        cannot be executable.
        """
        end = start + pages_for(size) * PAGE
        self.must_have_room()
        for area in self.areas(start, end):
            if prot & EXEC and area.shared is not None:
                raise LinuxError(EACCES)
            if prot & WRITE and not area.may_write:
                raise LinuxError(EACCES)
        parts = areas_of.carve(self.state.areas, start, end)
        for part in parts:
            self.insert(replace(part, prot=prot))
        self._clear_entries(start, end)
        if sum(part.end - part.start for part in parts) != end - start:
            raise LinuxError(ENOMEM)

    def must_have_room(self, more: int = 1) -> None:
        """Raise LinuxError(ENOMEM) if so many more areas exceed MOST_AREAS."""
        if len(self.state.areas) + more > MOST_AREAS:
            raise LinuxError(ENOMEM)

    def _clear_entries(self, start: int, end: int) -> None:
        self.table.clear(start, end)
        flips = self.state.flips
        if flips:
            for va in within(flips, start, end):
                del flips[va]


def within(pages: Collection[int], start: int, end: int) -> list[int]:
    """Return the pages of a range that are in the collection, iterating over the smaller of the two."""
    if (end - start) // PAGE < len(pages):
        return [va for va in range(start, end, PAGE) if va in pages]
    return sorted(va for va in pages if start <= va < end)
