"""Memory objects: the content of file mappings and shared anonymous ones, shared by all processes.

An object exists while a space shows it; one of a read-only file is kept for some time, as the next process is
likely to run the same program (`MOST_UNUSED`). An internal descriptor keeps the file open, so that its inode
is not reused.

Writes through mappings reach the file on `sync`, when it is read, and when the last space is gone. Code for
read() and write() of a file with an object has to call `sync_file`, `wrote` and `resized`: otherwise each
side would see the other's bytes late.
"""

import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENFILE
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.errors import SnapshotError
from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.host import KEPT_DESCRIPTORS, Image
from pltvm.host.linux.frames import Frames
from pltvm.host.linux.object_pages import FileKey, MemoryObject, ObjectPages, ObjectsState

MOST_UNUSED: Final = 16  # files
_UNUSED_SHARE: Final = 64  # unused pages are at most 1/64 of RAM
_MOST_REMEMBERED: Final = 256  # pages whose last written content is kept


class Objects(ObjectPages):
    """The memory objects of all processes, with pages from `frames`."""

    def __init__(self, frames: Frames) -> None:
        super().__init__(frames)
        self._images: dict[int, tuple[int, bytes]] = {}  # executed files, by number: time of change, bytes
        frames.give_spare = self.drop_unused

    def save(self) -> ObjectsState:
        """Return a copy of the state; raises SnapshotError while a mapping may write to a file."""
        for one in self.state.objects.values():
            if one.key is not None and one.writable:
                raise SnapshotError("a file is mapped for shared writing: save when it is unmapped")
        return super().save()

    def load(self, saved: ObjectsState) -> None:
        """Put the state back."""
        super().load(saved)
        for number in [number for number in self._files if self._is_other(number)]:
            os.close(self._files.pop(number))
        self._images.clear()

    def _is_other(self, number: int) -> bool:
        one, info = self.state.objects.get(number), os.fstat(self._files[number])
        return one is None or one.key != (info.st_dev, info.st_ino)

    # -- life ----------------------------------------------------------------------------------------------

    def anonymous(self, size: int) -> int:
        """Make an object of no file; return its number. It exists while a space has entered it."""
        return self._add(MemoryObject(size))

    @linux_errors
    def of_file(self, descriptor: int, writable: bool = False) -> int:
        """Return the object of an open regular file, for a mapping that is `writable` or not."""
        info = os.fstat(descriptor)
        key = info.st_dev, info.st_ino
        number = self.find(key)
        if number in self.state.unused and (
            number not in self._files or self.of(number).changed != info.st_mtime_ns
        ):
            self._remove(number)
            number = 0
        one = self.of(number) if number else MemoryObject(info.st_size, key, info.st_mtime_ns)
        if number not in self._files or (writable and not one.writable):
            new = os.dup(descriptor)
            if new >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - KEPT_DESCRIPTORS:
                os.close(new)
                raise LinuxError(ENFILE)
            if number in self._files:
                os.close(self._files[number])
            number = number or self._add(one)
            self._files[number] = new
        one.writable = one.writable or writable
        if one.changed != info.st_mtime_ns:
            self._look_again(number, info)
        return number

    def image(self, descriptor: int, read: Callable[[], bytes]) -> Image:
        """Return a file to be run; its bytes are kept as long as it has an object and is not written."""
        number = self.of_file(descriptor)
        one = self.of(number)
        if one.written:
            self.sync(number)
        changed, data = self._images.get(number, (-1, b""))
        if changed != one.changed:
            data = read()
            self._images[number] = one.changed, data
        return Image(data, number)

    def _add(self, one: MemoryObject) -> int:
        state = self.state
        state.made += 1
        state.objects[state.made] = one
        if one.key is not None:
            state.files[one.key] = state.made
            state.unused[state.made] = None
        return state.made

    def _look_again(self, number: int, info: os.stat_result) -> None:
        """Read a file again that was written by another program; pages written by mappings are kept."""
        one = self.of(number)
        self.cut(number, info.st_size)
        for at, page in one.pages.items():
            if at not in one.written:
                data = self._read(number, at, PAGE)
                self.memory.write(page, data + bytes(PAGE - len(data)))
        one.changed = info.st_mtime_ns

    def find(self, key: FileKey) -> int:
        """Return the number of the object of this file, or 0."""
        return self.state.files.get(key, 0)

    def enter(self, number: int) -> None:
        """Count one more space that shows the object."""
        self.of(number).users += 1
        self.state.unused.pop(number, None)

    def leave(self, number: int) -> None:
        """Count one space less; after the last one, write changes to the file, and free the pages or keep
        them unused."""
        one = self.of(number)
        one.users -= 1
        if one.users > 0:
            return
        with suppress(LinuxError):  # there is no process left to report it to
            self.sync(number)
        if one.key is None or one.writable:
            self._remove(number)
            return
        one.run.clear()
        unused = self.state.unused
        unused[number] = None
        pages = sum(len(self.of(other).pages) for other in unused)
        while len(unused) > MOST_UNUSED or pages > self.memory.size // PAGE // _UNUSED_SHARE:
            oldest = next(iter(unused))
            pages -= len(self.of(oldest).pages)
            self._remove(oldest)

    def _remove(self, number: int) -> None:
        one = self.state.objects.pop(number)
        self.state.unused.pop(number, None)
        self._images.pop(number, None)
        self.frames.give(one.pages.values())
        if one.key is not None:
            del self.state.files[one.key]
        if number in self._files:
            os.close(self._files.pop(number))

    def drop_unused(self) -> bool:
        """Free unused objects; return whether there were any."""
        unused = list(self.state.unused)
        for number in unused:
            self._remove(number)
        return bool(unused)

    @contextmanager
    def kept(self, number: int) -> Iterator[None]:
        """Keep the object in this context; 0 is none."""
        if number:
            self.enter(number)
        try:
            yield
        finally:
            if number:
                self.leave(number)

    # -- the file -------------------------------------------------------------------------------------------

    def sync(self, number: int, start: int = 0, end: int | None = None) -> None:
        """Write to the file what mappings have changed between two offsets; raises LinuxError.

        The cost depends on the pages written since the last time: an unchanged page counts as clean until the
        next store.
        """
        one = self.of(number)
        if not one.written or number not in self._files:
            return
        stop = one.size if end is None else min(end, one.size)
        pages, clean = sorted(at for at in one.written if start <= at < stop), []
        remembers = len(pages) <= _MOST_REMEMBERED
        if not remembers:
            self.hide(number, pages[0], pages[-1] + PAGE)
        for at in pages:
            data = self.memory.read(one.pages[at], min(PAGE, one.size - at))
            same = data == one.written[at]
            if not same:
                self._write(self._files[number], data, at)
                one.written[at] = data
            if same or not remembers:
                clean.append(at)
        for at in clean:
            if remembers:
                self.hide(number, at, at + PAGE)
            one.stored.discard(at)
            del one.written[at]
        if pages:
            self._was_changed(number)

    @linux_errors
    def _write(self, descriptor: int, data: bytes, offset: int) -> None:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if flags & os.O_APPEND:  # with it pwrite would append
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_APPEND)
        try:
            offset_end = offset + len(data)
            while data:
                data = data[os.pwrite(descriptor, data, offset_end - len(data)) :]
        finally:
            if flags & os.O_APPEND:
                fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)

    def shows_files(self) -> bool:
        """Whether any file has an object."""
        return bool(self.state.files)

    def sync_file(self, key: FileKey) -> None:
        """Write the changes of mappings to this file, before read(). Raises LinuxError."""
        number = self.state.files.get(key)
        if number:
            self.sync(number)

    def wrote(self, key: FileKey, offset: int, data: bytes) -> None:
        """Update mappings after write() of `data` at `offset` to this file."""
        number = self.find(key)
        if not number:
            return
        one, end = self.of(number), offset + len(data)
        one.size = max(one.size, end)
        for at in range(offset & -PAGE, end, PAGE):
            page = one.pages.get(at)
            if page is not None:
                low, high = max(at, offset), min(at + PAGE, end)
                self.memory.write(page + low - at, data[low - offset : high - offset])
        self._was_changed(number)

    def _was_changed(self, number: int) -> None:
        """Note that the program has written the file."""
        self._images.pop(number, None)
        if number in self._files:
            self.of(number).changed = os.fstat(self._files[number]).st_mtime_ns

    def resized(self, key: FileKey, size: int) -> None:
        """Update mappings after truncate() of this file: content after its end is zero, or gone."""
        number = self.find(key)
        if number:
            self.cut(number, size)
            self._was_changed(number)

    def cut(self, number: int, size: int) -> None:
        """Set the object's size: pages after its end are removed, from all spaces too."""
        one = self.of(number)
        end, kept = one.end, min(one.size, size)
        one.size = size
        if one.end < end:
            for viewer in self.viewers:
                viewer.cut_off(number, one.end)
            behind = sorted(at for at in one.pages if at >= one.end)
            self.frames.give([one.pages.pop(at) for at in behind])
            one.stored.difference_update(behind)
            one.run.difference_update(behind)
            for at in behind:
                one.written.pop(at, None)
        last = one.pages.get(kept & -PAGE) if kept % PAGE else None
        if last is not None:
            self.memory.zero(last + kept % PAGE, PAGE - kept % PAGE)
