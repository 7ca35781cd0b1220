"""Copying between open files without a buffer of the program: sendfile, copy_file_range, splice; preadv2."""

from errno import EBADF, EINVAL, EISDIR, EOPNOTSUPP, EPIPE, ESPIPE
from typing import Annotated, Final

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import Address, Fd, Flags, Int, Signed, Size, Unsigned, Word
from pltvm.host.linux.calls.files import (
    LARGEST_IO,
    gather,
    preadv,
    pwritev,
    readv,
    scatter,
    send,
    vectors_at,
    write_at,
    writev,
)
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.console import Console
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.pipe import PipeEnd
from pltvm.host.linux.open_flags import O_APPEND, O_NONBLOCK
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.waits import Blocked

_PART: Final = 1 << 16
_NONBLOCK: Final = 2
SpliceFlags = Annotated[
    int,
    Flags({"SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4, "SPLICE_F_GIFT": 8}),
]


class _Position:
    """The position of a copy in a file: an offset in user memory, or else the file's own offset."""

    def __init__(self, thread: Thread, file: File, address: int) -> None:
        self._thread, self.file, self._address = thread, file, address
        self.at = file.seek(0, 1)
        if address:
            self.at = int.from_bytes(thread.space.read(address, 8), "little", signed=True)
            if self.at < 0:
                raise LinuxError(EINVAL)

    def move(self, size: int) -> None:
        """Advance the position."""
        self.at += size
        if self._address:
            self._thread.space.write(self._address, self.at.to_bytes(8, "little"))
        else:
            self.file.seek(self.at, 0)


def _must_be_bytes(file: File) -> None:
    if file.listing is not None:
        raise LinuxError(EISDIR)


@system_call(71)
def sendfile(system: System, thread: Thread, target: Fd, source: Fd, offset: Address, size: Size) -> int:
    """Copy from a file to anything that is open."""
    source.must_read()
    target.must_write()
    if target.flags & O_APPEND or isinstance(source, PipeEnd):
        raise LinuxError(EINVAL)
    try:
        position = _Position(thread, source, offset)
    except LinuxError as error:
        raise LinuxError(EINVAL if error.number == ESPIPE else error.number) from None
    done, size = 0, min(size, LARGEST_IO)
    try:
        while done < size:
            data = source.read_at(min(size - done, _PART), position.at)
            if not data:
                break
            if isinstance(target, Console):  # somebody may take a snapshot meanwhile: all is done before
                position.move(len(data))
                thread.answer(done + len(data))
                target.write(data)
                return done + len(data)
            written = target.write(data)
            position.move(written)
            done += written
    except Blocked:
        if not done:
            raise
    except LinuxError as error:
        if done:
            return done
        if error.number == EPIPE:
            signals.broken_pipe(system, thread)
        raise
    system.scheduler.copied(done)
    return done


@system_call(285)
def copy_file_range(
    system: System,
    thread: Thread,
    source: Fd,
    source_offset: Address,
    target: Fd,
    target_offset: Address,
    size: Size,
    flags: Unsigned,
) -> int:
    """Copy from one file on disk to another, or within one."""
    if flags:
        raise LinuxError(EINVAL)
    for file in (source, target):
        _must_be_bytes(file)
        if not isinstance(file, HostFile):
            raise LinuxError(EINVAL)
    source.must_read()
    target.must_write()
    if target.flags & O_APPEND:
        raise LinuxError(EBADF)
    start, end = _Position(thread, source, source_offset), _Position(thread, target, target_offset)
    size = min(size, LARGEST_IO)
    if source.status().inode == target.status().inode and abs(start.at - end.at) < size:
        raise LinuxError(EINVAL)
    done = 0
    while done < size:
        data = source.read_at(min(size - done, _PART), start.at)
        if not data:
            break
        try:
            written = write_at(system, thread, target, data, end.at)
        except LinuxError:
            if done:
                break
            raise
        start.move(written)
        end.move(written)
        done += written
        if written < len(data):  # RLIMIT_FSIZE
            break
    system.scheduler.copied(done)
    return done


@system_call(76)
def splice(
    system: System,
    thread: Thread,
    source: Fd,
    source_offset: Address,
    target: Fd,
    target_offset: Address,
    size: Size,
    flags: SpliceFlags,
) -> int:
    """Move bytes from or to a pipe."""
    source.must_read()
    target.must_write()
    if not (isinstance(source, PipeEnd) or isinstance(target, PipeEnd)) or target.flags & O_APPEND:
        raise LinuxError(EINVAL)
    for file, offset in ((source, source_offset), (target, target_offset)):
        if isinstance(file, PipeEnd) and offset:
            raise LinuxError(ESPIPE)
    if not size:
        return 0
    if isinstance(source, PipeEnd):
        if isinstance(target, PipeEnd) and source.pipe == target.pipe:
            raise LinuxError(EINVAL)
        data = _in_pipe(source, size, flags)
        if data and isinstance(target, PipeEnd):
            data = data[: _room(system, thread, target, flags)]
        if not data:
            return 0
        if target_offset:
            end = _Position(thread, target, target_offset)
            done = target.write_at(data, end.at)
            end.move(done)
        elif isinstance(target, Console):  # somebody may take a snapshot meanwhile: all is done before
            source.read(len(data))
            return send(system, thread, target, data, target.write)
        elif isinstance(target, HostFile):
            done = send(system, thread, target, data, target.write)
        else:  # as much as there is room for: who waits for more has not taken what others may read
            done = _write_some(system, thread, target, data)
        source.read(done)
        return done
    assert isinstance(target, PipeEnd)
    start = _Position(thread, source, source_offset)
    data = source.read_at(min(size, _room(system, thread, target, flags)), start.at)
    done = target.write(data) if data else 0
    start.move(done)
    return done


def _write_some(system: System, thread: Thread, target: File, data: bytes) -> int:
    """Write as much as possible at once; raises LinuxError, with SIGPIPE, if there is no reader any more."""
    try:
        return target.write(data)
    except LinuxError as error:
        if error.number == EPIPE and target.warns:
            signals.broken_pipe(system, thread)
        raise


def _in_pipe(pipe: PipeEnd, size: int, flags: int) -> bytes:
    """Return bytes of a pipe without removing them; none at its end."""
    contents = pipe.contents
    if not contents.data and contents.writers:
        _wait(pipe, flags)
    return bytes(contents.data[:size])


def _room(system: System, thread: Thread, pipe: PipeEnd, flags: int) -> int:
    """Return how much can be written to a pipe at once."""
    contents = pipe.contents
    if not contents.readers:
        signals.broken_pipe(system, thread)
        raise LinuxError(EPIPE)
    if contents.free <= 0:
        _wait(pipe, flags)
    return contents.free


def _wait(pipe: PipeEnd, flags: int) -> None:
    old = pipe.flags
    if flags & _NONBLOCK:
        pipe.flags |= O_NONBLOCK
    try:
        pipe.wait()
    finally:
        pipe.flags = old


@system_call(77)
def tee(system: System, thread: Thread, source: Fd, target: Fd, size: Size, flags: SpliceFlags) -> int:
    """Copy from a pipe to another, and keep the bytes in the first."""
    source.must_read()
    target.must_write()
    if not (isinstance(source, PipeEnd) and isinstance(target, PipeEnd)) or source.pipe == target.pipe:
        raise LinuxError(EINVAL)
    data = _in_pipe(source, size, flags)
    if not data:
        return 0
    return target.write(data[: _room(system, thread, target, flags)])


@system_call(75)
def vmsplice(
    system: System, thread: Thread, file: Fd, vectors: Address, count: Int, flags: SpliceFlags
) -> int:
    """Write buffers to a pipe, or read them from it."""
    if not isinstance(file, PipeEnd):
        raise LinuxError(EBADF)
    buffers = vectors_at(thread, vectors, count)
    if file.writes:
        return send(system, thread, file, gather(thread, buffers), file.write)
    return scatter(thread, buffers, file.read(sum(size for _, size in buffers)))


# -- buffers at an offset, with flags ------------------------------------------------------------------------

_RWF_APPEND: Final = 0x10
_RWF: Final = 0x1F  # HIPRI, DSYNC, SYNC, NOWAIT, APPEND


def _check_flags(flags: int) -> None:
    if flags & ~_RWF:
        raise LinuxError(EOPNOTSUPP)


@system_call(286)
def preadv2(
    system: System, thread: Thread, file: Fd, vectors: Address, count: Int, offset: Signed, high: Word,
    flags: Unsigned,
) -> int:  # fmt: skip
    """Read with flags; offset −1 is the current one."""
    _check_flags(flags)
    if offset == -1:
        return readv(system, thread, file, vectors, count)
    return preadv(system, thread, file, vectors, count, offset)


@system_call(287)
def pwritev2(
    system: System, thread: Thread, file: Fd, vectors: Address, count: Int, offset: Signed, high: Word,
    flags: Unsigned,
) -> int:  # fmt: skip
    """Write with flags; RWF_APPEND writes at the end."""
    _check_flags(flags)
    if flags & _RWF_APPEND:
        file.must_write()
        return write_at(
            system, thread, file, gather(thread, vectors_at(thread, vectors, count)), file.status().size
        )
    if offset == -1:
        return writev(system, thread, file, vectors, count)
    return pwritev(system, thread, file, vectors, count, offset)
