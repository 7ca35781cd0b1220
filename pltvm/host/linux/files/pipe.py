"""Pipes, with and without a name: bytes that go from writers to readers, in order.

A pipe is plain data in `Pipes`; its ends are files that name it. It is gone when both ends are closed.

A pipe has room for pages, as in Linux. A write begins a new page, unless its last part fits behind the bytes
of the page before; a page is free again when all of it was read. With O_DIRECT each page is a packet.
"""

import stat
from dataclasses import dataclass, field
from errno import EBADF, EBUSY, EINVAL, EPERM, EPIPE
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import FIONREAD, POLLERR, POLLHUP, READABLE, WRITABLE, File, Status
from pltvm.host.linux.open_flags import O_ACCESS, O_CLOEXEC, O_DIRECT, O_RDONLY, O_RDWR, O_WRONLY
from pltvm.host.linux.waits import Key, Waker
from pltvm.host.plain import Part

ROOM: Final = 65536  # bytes of a new pipe
PAGE: Final = 4096  # also PIPE_BUF: up to so many bytes are written atomically
MOST_ROOM: Final = 1 << 20
LARGEST: Final = 1 << 31  # size that can be asked for
ROOM_OF_ALL: Final = 256 << 20  # bytes; beyond it new pipes are small, and none can grow


@dataclass(slots=True)
class PipePage:
    """A page with `size` bytes to read, the last one before `end`."""

    end: int
    size: int
    packet: bool = False


@dataclass(slots=True)
class Pipe:
    """The bytes in a pipe, and the number of files that read and write it. `changes` counts its events."""

    data: bytearray = field(default_factory=bytearray)
    pages: list[PipePage] = field(default_factory=list)
    room: int = ROOM
    readers: int = 0
    writers: int = 0
    changes: int = 0
    had_writer: int = 0  # number of writers so far: before the first one, an empty pipe is no hang-up
    inode: int = 0  # of its name, 0 without one

    @property
    def free(self) -> int:
        """The bytes of its free pages."""
        return self.room - PAGE * len(self.pages)

    def put(self, data: bytes, packets: bool) -> int:
        """Add as many bytes as there is room for; return their number."""
        last, rest, joined = self.pages[-1] if self.pages else None, len(data) % PAGE, 0
        if last is not None and not (packets or last.packet) and last.end + rest <= PAGE:
            joined = rest
            last.end += rest
            last.size += rest
        done = min(len(data), joined + self.free)
        for at in range(joined, done, PAGE):
            size = min(done - at, PAGE)
            self.pages.append(PipePage(size, size, packets))
        self.data += data[:done]
        return done

    def put_back(self, data: bytes) -> None:
        """Add bytes in front."""
        sizes = [len(data[at : at + PAGE]) for at in range(0, len(data), PAGE)]
        self.pages[:0] = [PipePage(PAGE, size) for size in sizes]
        self.data[:0] = data

    def take(self, size: int) -> bytes:
        """Remove and return up to `size` bytes: of one packet, whose rest is lost."""
        taken = lost = 0
        while self.pages and taken < size:
            page = self.pages[0]
            if page.packet and taken:
                break
            part = min(page.size, size - taken)
            taken += part
            page.size -= part
            if page.packet:
                lost, page.size = page.size, 0
            if not page.size:
                del self.pages[0]
            if lost:
                break
        part_of_all = bytes(self.data[:taken])
        del self.data[: taken + lost]
        return part_of_all


@dataclass(slots=True)
class PipesState:
    """All pipes by number."""

    pipes: dict[int, Pipe] = field(default_factory=dict)
    next_number: int = 1
    room: int = 0  # of all


class Pipes(Part[PipesState]):
    """The pipes of the system."""

    def __init__(self, waker: Waker) -> None:
        self.waker = waker
        self.state = PipesState()

    def new(self, inode: int = 0) -> int:
        """Make a pipe without ends; return its number."""
        number = self.state.next_number
        self.state.next_number += 1
        room = ROOM if self.state.room + ROOM <= ROOM_OF_ALL else PAGE
        self.state.pipes[number] = Pipe(room=room, inode=inode)
        self.state.room += room
        return number

    def resize(self, pipe: Pipe, room: int) -> None:
        """Change the size of a pipe; raises LinuxError(EPERM) beyond the limit."""
        if room > pipe.room and self.state.room + room - pipe.room > ROOM_OF_ALL:
            raise LinuxError(EPERM)
        self.state.room += room - pipe.room
        pipe.room = room

    def pair(self, flags: int) -> "tuple[PipeEnd, PipeEnd]":
        """Make a pipe; return the end to read from, and the end to write to."""
        number = self.new()
        return PipeEnd(self, number, O_RDONLY | flags), PipeEnd(self, number, O_WRONLY | flags)

    def named(self, inode: int) -> int:
        """Return the number of the pipe with this inode; the pipe exists while it is open."""
        for number, pipe in self.state.pipes.items():
            if pipe.inode == inode:
                return number
        return self.new(inode)


class PipeEnd(File):
    """One end of a pipe, or both (a named one opened with O_RDWR)."""

    kind = "pipe"
    mode = stat.S_IFIFO | 0o600

    def __init__(
        self, pipes: Pipes, pipe: int, flags: int, counted: bool = False, mode: int = stat.S_IFIFO | 0o600
    ) -> None:
        super().__init__(flags)
        self.mode = mode
        self._pipes = pipes
        self.pipe = pipe
        self._for_readers: Key = ("pipe", pipe, "readers")
        self._for_writers: Key = ("pipe", pipe, "writers")
        access = flags & O_ACCESS
        self.reads, self.writes = access in (O_RDONLY, O_RDWR), access in (O_WRONLY, O_RDWR)
        if not counted:
            state = self.contents
            state.readers += self.reads
            state.writers += self.writes
            state.had_writer += self.writes
            self._changed()

    @property
    def contents(self) -> Pipe:
        """The pipe itself."""
        return self._pipes.state.pipes[self.pipe]

    def _changed(self) -> None:
        """Wake all waiting threads, as an end was opened or closed, or the size has changed."""
        self.contents.changes += 1
        for key in (self._for_readers, self._for_writers, ("pipe", self.pipe)):
            self._pipes.waker.wake(key)

    def keys(self) -> tuple[Key, ...]:
        return (self._for_readers,) * self.reads + (self._for_writers,) * self.writes

    def keys_for(self, events: int) -> tuple[Key, ...]:
        if self.reads and self.writes:
            return self.keys() if events & WRITABLE else self.keys()[:1]
        return self.keys()

    def changes(self) -> int:
        return self.contents.changes

    def events(self) -> int:
        pipe, events = self.contents, 0
        if self.reads:
            events |= READABLE if pipe.data else 0
            events |= POLLHUP if not pipe.writers and pipe.had_writer else 0
        if self.writes:
            events |= WRITABLE if pipe.free > 0 else 0
            events |= POLLERR if not pipe.readers else 0
        return events

    def read(self, size: int) -> bytes:
        if not self.reads:
            raise LinuxError(EBADF)
        pipe = self._pipes.state.pipes[self.pipe]
        if not size:
            return b""
        if not pipe.data:
            if pipe.writers:
                self.wait(self._for_readers)
            return b""
        was_full = pipe.free <= 0
        part = pipe.take(size)
        if was_full and pipe.free > 0:  # otherwise no writer was waiting
            pipe.changes += 1
            self._pipes.waker.wake(self._for_writers)
        return part

    def unread(self, data: bytes) -> None:
        self.contents.put_back(data)

    def write(self, data: bytes) -> int:
        if not self.writes:
            raise LinuxError(EBADF)
        pipe = self._pipes.state.pipes[self.pipe]
        if not data:
            return 0
        if not pipe.readers:
            raise LinuxError(EPIPE)
        done = pipe.put(data, bool(self.flags & O_DIRECT))
        if not done:
            self.wait(self._for_writers)
        pipe.changes += 1
        self._pipes.waker.wake(self._for_readers)
        return done

    def resize(self, room: int) -> int:
        """Do F_SETPIPE_SZ: set the size to a power of two, at least `room`; return it."""
        if room > LARGEST:
            raise LinuxError(EINVAL)
        room = max(PAGE, 1 << max(room - 1, 0).bit_length())
        if room > MOST_ROOM:
            raise LinuxError(EPERM)
        if room < PAGE * len(self.contents.pages):
            raise LinuxError(EBUSY)
        self._pipes.resize(self.contents, room)
        self._changed()
        return self.contents.room

    def status(self) -> Status:
        return Status(self.mode, inode=self.contents.inode or (1 << 32) + self.pipe)

    def name(self) -> bytes:
        return b"pipe:[%d]" % ((1 << 32) + self.pipe)

    def again(self, flags: int) -> File:
        return PipeEnd(self._pipes, self.pipe, flags & ~O_CLOEXEC, mode=self.mode)

    def request(self, request: int, argument: int) -> bytes:
        if request == FIONREAD:
            return len(self.contents.data).to_bytes(4, "little")
        return super().request(request, argument)

    def close(self) -> None:
        pipe = self.contents
        pipe.readers -= self.reads
        pipe.writers -= self.writes
        self._changed()
        if not pipe.readers and not pipe.writers:
            self._pipes.state.room -= pipe.room
            del self._pipes.state.pipes[self.pipe]

    def save(self) -> Any:
        return self.pipe
