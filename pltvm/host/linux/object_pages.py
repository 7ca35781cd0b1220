"""The pages of memory objects, which are mapped either writable or executable, never both.

    object of no file   MAP_SHARED | MAP_ANONYMOUS: pages are made when they are accessed
    object of a file    one per (device, inode): its pages are read from the file when they are needed

The JIT does not notice stores to code through another mapping. So a page of an object that is writable in any
space is executable in none, and vice versa: a fault turns it, and removes the conflicting entries from the
tables of all spaces (`Viewer`). When its last executable entry is removed, the translated code is discarded.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.linux.areas import EXEC, WRITE, Area
from pltvm.host.linux.errors import linux_errors
from pltvm.host.linux.frames import Frames
from pltvm.host.plain import Part

_PART: Final = 1 << 20  # bytes of a file that are read at a time
FileKey = tuple[int, int]  # device, inode


@dataclass(slots=True)
class MemoryObject:
    """`size` bytes, of which `pages` are present, by offset; access beyond the last page gives SIGBUS.

    `key` identifies its file, `changed` is the file's time of change when its pages were read. Pages by
    offset: those that are mapped writable now (`stored`), those mapped executable (`run`), and those that may
    differ from the file, with the content `written` to it last. `users` is the number of address spaces that
    show it.
    """

    size: int
    key: FileKey | None = None
    changed: int = 0
    writable: bool = False
    pages: dict[int, int] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    run: set[int] = field(default_factory=set)
    written: dict[int, bytes] = field(default_factory=dict)
    users: int = 0

    @property
    def end(self) -> int:
        """The offset after the last page."""
        return pages_for(self.size) * PAGE


@dataclass(slots=True)
class ObjectsState:
    """Objects by number; the numbers of file objects, and of objects that no space shows, oldest first."""

    objects: dict[int, MemoryObject] = field(default_factory=dict)
    files: dict[FileKey, int] = field(default_factory=dict)
    unused: dict[int, None] = field(default_factory=dict)
    made: int = 0


class Viewer(Protocol):
    """An address space that shows objects."""

    def hide(self, number: int, start: int, end: int) -> None:
        """Remove the entries that show this range of an object."""

    def cut_off(self, number: int, start: int) -> None:
        """Remove the entries from this offset on, and private copies of these pages."""


class ObjectPages(Part[ObjectsState]):
    """The pages of all objects, from `frames`. `viewers` are all address spaces."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.memory = frames.memory
        self.state = ObjectsState()
        self.viewers: dict[Viewer, None] = {}
        self._files: dict[int, int] = {}  # descriptors by object number

    def of(self, number: int) -> MemoryObject:
        """Return the object of this number."""
        return self.state.objects[number]

    # -- content -------------------------------------------------------------------------------------------

    def fill(self, number: int, offset: int, size: int) -> None:
        """Make the pages of a range present, as far as the file goes.

        Raises OutOfMemory, LinuxError, and then adds no pages.
        """
        one = self.of(number)
        added: list[int] = []
        try:
            for at in range(offset, min(offset + size, one.end), _PART):
                end = min(at + _PART, offset + size, one.end)
                missing = [page for page in range(at, end, PAGE) if page not in one.pages]
                if missing:
                    added += missing
                    self._read_in(number, missing)
        except Exception:
            self.frames.give([one.pages.pop(page) for page in added if page in one.pages])
            raise

    def _read_in(self, number: int, missing: list[int]) -> None:
        """Read the content of these pages from the file."""
        one, start = self.of(number), missing[0]
        data = memoryview(self._read(number, start, missing[-1] + PAGE - start))
        while missing:
            run = self.frames.take_run(len(missing))
            here, missing = missing[: run.pages], missing[run.pages :]
            one.pages.update(zip(here, range(run.pa, run.pa + run.pages * PAGE, PAGE), strict=True))
            if here[-1] - here[0] == (run.pages - 1) * PAGE:
                self.memory.write(run.pa, data[here[0] - start : here[-1] + PAGE - start])
                continue
            for at in here:
                self.memory.write(one.pages[at], data[at - start : at - start + PAGE])

    @linux_errors
    def _read(self, number: int, offset: int, size: int) -> bytes:
        return os.pread(self._files[number], size, offset) if number in self._files else b""

    def present(self, number: int, offset: int, count: int) -> Sequence[int]:
        """Return physical addresses of up to `count` pages from `offset` on, at least one.

        Raises OutOfMemory, LinuxError.
        """
        one = self.of(number)
        if one.key is not None:
            self.fill(number, offset, count * PAGE)
        return self.frames.present(one.pages, offset, count)

    # -- entries -------------------------------------------------------------------------------------------

    def entry(self, number: int, offset: int, pa: int, area: Area, access: int) -> int:
        """Return the entry for a page of an object in an area, for this access."""
        one = self.of(number)
        flags, stores = sv39.READ_ONLY_DATA, area.prot & WRITE and not area.copies
        if access == WRITE or (stores and access != EXEC and self._is_plain(one, offset)):
            if offset in one.run:
                self.hide(number, offset, offset + PAGE)
                one.run.discard(offset)
            one.stored.add(offset)
            if one.key is not None:
                one.written.setdefault(offset, b"")
            flags |= sv39.W
        elif access == EXEC or (area.prot & EXEC and offset not in one.stored):
            if offset in one.stored:
                self.hide(number, offset, offset + PAGE)
                one.stored.discard(offset)
            one.run.add(offset)
            flags |= sv39.X
        return sv39.make_pte(pa, flags)

    def _is_plain(self, one: MemoryObject, offset: int) -> bool:
        """Whether a page may be mapped writable before the first write, which then need not be noticed."""
        return offset in one.stored or (one.key is None and offset not in one.run)

    def hide(self, number: int, start: int, end: int) -> None:
        """Remove all spaces' entries for this range of the object."""
        for viewer in self.viewers:
            viewer.hide(number, start, end)
