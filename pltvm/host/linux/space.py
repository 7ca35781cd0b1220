"""The memory of a Linux process: its areas, its heap, and how it is forked and given back.

An area is a range of addresses with one protection (`areas`); its pages are made when they are touched
(`faults`). Entries get into the page table by monitor calls only.

After `fork` both processes have the same pages, and no entry to write them: who writes gets a copy, or the
page itself when the other one has let go of it.
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
    """Address space of a process: a new one, or `saved`. The heap is what `brk` moves.

    `objects` are the memory objects, and the pages, of all processes; a space that is given none has its
    own. Raises OutOfMemory.
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
        """One more process has this space; each calls `free`."""
        self.state.users += 1
        return self

    def fork(self) -> "Space":
        """A space with the same content, for a new process. Raises OutOfMemory, and then nothing changed.

        Its entries are made as pages are touched, and those of this one with which it could write.
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
        for number in {area.object: None for area in new.areas if area.object}:
            child._show(number)
        return child

    def free(self) -> None:
        """One process less has it: the last one gives everything back."""
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
        """The area that holds `va`."""
        return areas_of.find(self.state.areas, va)

    def areas(self, start: int, end: int) -> list[Area]:
        """The areas that touch the range, whole."""
        return self.state.areas[areas_of.between(self.state.areas, start, end)]

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any area touches the range."""
        return bool(self.areas(start, end))

    def is_mapped(self, start: int, end: int) -> bool:
        """Whether all of the range lies in areas."""
        for area in self.areas(start, end):
            if area.start > start:
                return False
            start = area.end
        return start >= end

    def shows(self, span: Span) -> bool:
        """Whether any area maps pages of this span that belong to someone else."""
        return any(
            area.shared is not None
            and area.shared < span.end
            and span.pa < area.shared + area.end - area.start
            for area in self.state.areas
        )

    def maps(self) -> str:
        """The text of /proc/PID/maps."""
        return "".join(f"{area}\n" for area in self.state.areas)

    def size(self, start: int = 0, end: int = USER_END) -> int:
        """Bytes of addresses that are mapped in a range."""
        return sum(min(area.end, end) - max(area.start, start) for area in self.areas(start, end))

    def data_size(self) -> int:
        """Bytes of areas that only the process itself can write, but for its stack."""
        return sum(
            area.end - area.start
            for area in self.state.areas
            if area.is_private and area.prot & WRITE and area.name != "[stack]"
        )

    def place(self, size: int) -> int:
        """A free range of `size` bytes, as high as possible; raises LinuxError when there is none."""
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
        """Make an area of whole pages, in place of whatever was there; LinuxError for one too many.

        What else it is says `Area`.
        """
        end = start + pages_for(size) * PAGE
        with self.objects.kept(object):
            self.must_have_room()
            self.unmap(start, end - start)
            self.insert(Area(start, end, prot, shared, object, offset, copies, may_write, name))

    def insert(self, area: Area) -> None:
        """Make an area where there is none."""
        if area.object:
            self._show(area.object)
        areas_of.insert(self.state.areas, area)

    def _show(self, number: int) -> None:
        if number not in self.state.objects:
            self.state.objects[number] = None
            self.objects.enter(number)

    def unmap(self, start: int, size: int) -> None:
        """Remove a range: its pages go back to the kernel. LinuxError if that splits an area too many."""
        end = start + pages_for(size) * PAGE
        split = self.area(start)
        if split is not None and split.start < start and end < split.end:
            self.must_have_room()
        if self.take_out(start, end):
            self.give_pages(start, end)

    def take_out(self, start: int, end: int) -> list[Area]:
        """Take a range out of the areas, and the entries for it out of the table; the parts in it."""
        parts = areas_of.carve(self.state.areas, start, end)
        if parts:
            self._clear_entries(start, end)
        gone = {part.object: None for part in parts if part.object}
        with suppress(LinuxError):  # what was to be removed is
            self.sync(start, end, parts)
        for number in gone:
            if not any(area.object == number for area in self.state.areas):
                del self.state.objects[number]
                self.objects.leave(number)
        return parts

    def give_pages(self, start: int, end: int) -> None:
        """The process's own pages of a range go back."""
        own = self.state.own
        self.frames.give([own.pop(va) for va in within(own, start, end)])

    def drop(self, start: int, size: int) -> None:
        """Forget what the pages of a range hold; they read as zero again, and as the object or file does."""
        end = start + pages_for(size) * PAGE
        for area in self.areas(start, end):
            low, high = max(area.start, start), min(area.end, end)
            self._clear_entries(low, high)
            self.give_pages(low, high)

    def at_fork(self, start: int, size: int, change: int, keeps: int) -> None:
        """What a child has of a range: of what was said before, `keeps`, and `change`."""
        self.must_have_room()
        for part in areas_of.carve(self.state.areas, start, start + pages_for(size) * PAGE):
            self.insert(replace(part, at_fork=part.at_fork & keeps | change))

    def hide(self, number: int, start: int, end: int) -> None:
        """Take out the entries that show this range of an object."""
        if number in self.state.objects:
            for area in self.state.areas:
                if area.object == number:
                    low, high = area.showing(start, end)
                    if low < high:
                        self.table.clear(low, high)

    def cut_off(self, number: int, start: int) -> None:
        """Likewise from this offset on, and what was copied of it."""
        if number in self.state.objects:
            for area in self.state.areas:
                if area.object == number:
                    low, high = area.showing(start, area.offset + area.end - area.start)
                    if low < high:
                        self._clear_entries(low, high)
                        self.give_pages(low, high)

    def sync(self, start: int, end: int, parts: Iterable[Area] | None = None) -> None:
        """Write to files what was written to shared mappings of them in a range; raises LinuxError."""
        for area in self.areas(start, end) if parts is None else parts:
            if area.object and not area.copies:
                by = area.offset - area.start
                self.objects.sync(area.object, max(start, area.start) + by, min(end, area.end) + by)

    def protect(self, start: int, size: int, prot: int) -> None:
        """Change the protection of a range; raises LinuxError where part of it is not mapped.

        Entries are cleared and made anew, with the new protection, when the pages are touched. What is of the
        device can not be executed.
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
        """LinuxError(ENOMEM) when there may not be so many areas more."""
        if len(self.state.areas) + more > MOST_AREAS:
            raise LinuxError(ENOMEM)

    def _clear_entries(self, start: int, end: int) -> None:
        self.table.clear(start, end)
        flips = self.state.flips
        if flips:
            for va in within(flips, start, end):
                del flips[va]


def within(pages: Collection[int], start: int, end: int) -> list[int]:
    """The pages of a range that are in the collection, whichever is cheaper to go through."""
    if (end - start) // PAGE < len(pages):
        return [va for va in range(start, end, PAGE) if va in pages]
    return sorted(va for va in pages if start <= va < end)
