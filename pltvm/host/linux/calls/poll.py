"""Waiting for several files at once: ppoll and pselect6."""

from collections.abc import Iterable
from contextlib import suppress
from errno import EBADF, EINVAL
from struct import Struct
from typing import Annotated, Final

from pltvm.errors import OutOfMemory
from pltvm.host.linux.arguments import Address, At, Data, Int, Pointer, Unsigned, Word
from pltvm.host.linux.calls.signals import read_mask
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    File,
)
from pltvm.host.linux.open_flags import O_PATH
from pltvm.host.linux.process import Limit, Thread
from pltvm.host.linux.structs import POLLFD, SET_AND_SIZE, TIMESPEC
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds, timespec
from pltvm.host.linux.waits import Blocked, Key

MOST_POLLED: Final = 1 << 16  # descriptors of one call, even if the limit on open files allows more
_MASK: Final = 8  # bytes
_SHOWN: Final = 16  # descriptors in a trace
_READ: Final = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR
_WRITE: Final = POLLWRNORM | POLLWRBAND | POLLOUT | POLLERR
_NAMES: Final = {
    "POLLIN": POLLIN, "POLLPRI": POLLPRI, "POLLOUT": POLLOUT, "POLLERR": POLLERR, "POLLHUP": POLLHUP,
    "POLLNVAL": POLLNVAL, "POLLRDNORM": POLLRDNORM, "POLLRDBAND": POLLRDBAND, "POLLWRNORM": POLLWRNORM,
    "POLLWRBAND": POLLWRBAND, "POLLRDHUP": POLLRDHUP,
}  # fmt: skip


class _PollFds(Data):
    """The address of descriptors to poll; the next argument is their number."""

    @staticmethod
    def show_bytes(thread: Thread, value: int, size: int) -> str:
        count = min(size & 0xFFFF_FFFF, _SHOWN)
        parts = []
        for fd, events, _ in Struct("<ihh").iter_unpack(thread.space.read(value, POLLFD.size * count)):
            names = [name for name, bit in _NAMES.items() if events & bit]
            parts.append(f"{{fd={fd}, events={'|'.join(names) or 0}}}")
        return f"[{', '.join(parts)}{', ...' if size > count else ''}]"


class _FdSet(Pointer):
    """The address of a set of descriptors: bits in 64-bit words; 0 for an empty one."""

    def show(self, thread: Thread, value: int) -> str:
        if not value:
            return "NULL"
        word = int.from_bytes(thread.space.read(value, 8), "little")
        # the set may be shorter than more words
        return "[" + " ".join(str(fd) for fd in range(64) if word >> fd & 1) + "]"


PollFds = Annotated[int, _PollFds()]
FdSet = Annotated[int, _FdSet()]
TimeoutAt = Annotated[int, At(TIMESPEC)]


def set_mask(thread: Thread, address: int, size: int) -> None:
    """Set the signal mask until the call is over, if the call gives one."""
    if address:
        if size != _MASK:
            raise LinuxError(EINVAL)
        thread.set_mask_for_call(read_mask(thread, address))


class Waiting:
    """The timeout of a call that waits for files, from the time at `address`; 0: no timeout.

    Raises LinuxError for an invalid time.
    """

    def __init__(self, system: System, thread: Thread, address: int) -> None:
        self._system, self._thread, self._address = system, thread, address
        self.deadline: int | None = None
        self._ends_now = False
        if address:
            timeout = nanoseconds(TIMESPEC.unpack(thread.space.read(address, TIMESPEC.size)))
            self._ends_now = not timeout
            self.deadline = thread.deadline(system.clock, timeout)

    def is_over(self) -> bool:
        """Whether the timeout is over."""
        return self._ends_now or (
            self.deadline is not None and self._system.clock.monotonic() >= self.deadline
        )

    def wait(self, files: Iterable[tuple[File, int]]) -> Blocked:
        """Return the Blocked to raise to wait for these files, each for its events."""
        keys: dict[Key, None] = {}
        deadline = self.deadline
        for file, events in files:
            keys |= dict.fromkeys(file.keys_for(events))
            ready = file.ready_at()
            if ready is not None:
                deadline = min(ready, ready if deadline is None else deadline)
        remaining = self._address if deadline == self.deadline else 0
        return Blocked(*keys, deadline=deadline, restarts=False, remaining=remaining)

    def finish(self) -> None:
        """Store the remaining time, if it can be written, as the call does not wait."""
        if self.deadline is not None and not self._ends_now:
            left = max(self.deadline - self._system.clock.monotonic(), 0)
            with suppress(LinuxError, OutOfMemory):
                self._thread.space.write(self._address, TIMESPEC.pack(timespec(left)))


_POLLFD: Final = Struct("<ihh")


@system_call(73)
def ppoll(
    system: System,
    thread: Thread,
    fds: PollFds,
    count: Unsigned,
    timeout: TimeoutAt,
    mask: Address,
    size: Word,
) -> int:
    """Wait until one of several descriptors is ready."""
    waiting = Waiting(system, thread, timeout)
    set_mask(thread, mask, size)
    if count > min(thread.process.limit(Limit.NOFILE), MOST_POLLED):
        raise LinuxError(EINVAL)
    given = thread.space.read(fds, POLLFD.size * count)
    ready, result, files = 0, bytearray(given), list[tuple[File, int]]()
    descriptors, open_files = thread.process.state.descriptors, system.open_files
    for at, (fd, wanted, _) in enumerate(_POLLFD.iter_unpack(given)):
        found = 0
        if fd >= 0:
            known = descriptors.get(fd)
            file = open_files[known.file] if known is not None else None
            if file is None or file.flags & O_PATH:
                found = POLLNVAL
            else:
                wanted |= POLLERR | POLLHUP
                found = file.events() & wanted
                files.append((file, wanted))
        ready += bool(found)
        result[8 * at + 6 : 8 * at + 8] = found.to_bytes(2, "little")
    waits = not ready and not waiting.is_over()
    if result != given or not waits:  # otherwise, after a signal, the old events must not stay either
        thread.space.write(fds, memoryview(result))
    if waits:
        raise waiting.wait(files)
    waiting.finish()
    return ready


# -- sets of descriptors -------------------------------------------------------------------------------------


def _size_of_table(thread: Thread) -> int:
    """Return the size of the process's descriptor table: select ignores descriptors beyond it."""
    highest = max(thread.process.state.descriptors, default=0)
    return 64 if highest < 64 else 1 << max(highest.bit_length(), 7)


@system_call(72)
def pselect6(
    system: System,
    thread: Thread,
    count: Int,
    readable: FdSet,
    writable: FdSet,
    special: FdSet,
    timeout: TimeoutAt,
    mask: Annotated[int, At(SET_AND_SIZE)],
) -> int:
    """Wait until one of several descriptors, given as sets, is ready."""
    waiting = Waiting(system, thread, timeout)
    if mask:
        set_mask(thread, *SET_AND_SIZE.unpack(thread.space.read(mask, SET_AND_SIZE.size)))
    if count < 0:
        raise LinuxError(EINVAL)
    count = min(count, _size_of_table(thread))
    room = (count + 63) // 64 * 8
    sets = [_set_at(thread, address, room, count) for address in (readable, writable, special)]
    results, files = [0, 0, 0], list[tuple[File, int]]()
    for fd in _members(sets[0] | sets[1] | sets[2]):
        try:
            file = thread.process.file(fd)
        except LinuxError:
            raise LinuxError(EBADF) from None
        if file.flags & O_PATH:
            raise LinuxError(EBADF)
        events, wanted = file.events(), 0
        for index, those in enumerate((_READ, _WRITE, POLLPRI)):
            if sets[index] >> fd & 1:
                wanted |= those
                results[index] |= bool(events & those) << fd
        files.append((file, wanted))
    ready = sum(result.bit_count() for result in results)
    if not ready and not waiting.is_over():
        raise waiting.wait(files)
    for address, result in zip((readable, writable, special), results, strict=True):
        if address:
            thread.space.write(address, result.to_bytes(room, "little"))
    waiting.finish()
    return ready


def _set_at(thread: Thread, address: int, room: int, count: int) -> int:
    if not address:
        return 0
    return int.from_bytes(thread.space.read(address, room), "little") & ((1 << count) - 1)


def _members(bits: int) -> Iterable[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
