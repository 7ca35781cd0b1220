"""Opens named pipes: waits until the other end is opened, and counts as an open end meanwhile.

A thread that waits here waits for a key with the pipe and the side. A thread that opens the other side
completes the waiting call, so the waiting thread gets its open file even if the other side is closed again at
once.
"""

from errno import ENXIO
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.pipe import PipeEnd
from pltvm.host.linux.fs.fifo import Fifo
from pltvm.host.linux.open_flags import O_ACCESS, O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY
from pltvm.host.linux.system import System
from pltvm.host.linux.waits import Blocked, Key

_NOT_KEPT: Final = 0o100 | 0o200 | 0o400 | 0o1000 | O_CLOEXEC


def _key(inode: int, side: int) -> Key:
    return "fifo", inode, side


def open_fifo(system: System, fifo: Fifo, flags: int) -> PipeEnd:
    """Return an end, or both, of the pipe with this name; raises Blocked, LinuxError(ENXIO)."""
    side, inode = flags & O_ACCESS, fifo.inode
    open_ones = [pipe for pipe in system.pipes.state.pipes.values() if pipe.inode == inode]
    waiting = {one: bool(system.scheduler.waiters(_key(inode, one))) for one in (O_RDONLY, O_WRONLY)}
    has_reader = waiting[O_RDONLY] or any(pipe.readers for pipe in open_ones)
    has_writer = waiting[O_WRONLY] or any(pipe.writers for pipe in open_ones)
    if side == O_WRONLY and not has_reader:
        if flags & O_NONBLOCK:
            raise LinuxError(ENXIO)
        raise Blocked(_key(inode, side), ("flags", flags))
    if side == O_RDONLY and not has_writer and not flags & O_NONBLOCK:
        raise Blocked(_key(inode, side), ("flags", flags))
    pipe = system.pipes.named(inode)
    end = PipeEnd(system.pipes, pipe, flags, mode=fifo.mode)
    if side in (O_RDONLY, O_RDWR):
        _let_in(system, pipe, inode, O_WRONLY, fifo.mode)
    if side in (O_WRONLY, O_RDWR):
        _let_in(system, pipe, inode, O_RDONLY, fifo.mode)
    return end


def _let_in(system: System, pipe: int, inode: int, side: int, mode: int) -> None:
    """Complete the calls of threads that wait to open this side."""
    for thread in system.scheduler.waiters(_key(inode, side)):
        assert thread.state.wait is not None
        flags = next(int(key[1]) for key in thread.state.wait.keys if key[0] == "flags")  # type: ignore[call-overload]
        system.scheduler.rouse(thread)
        end = system.add_file(PipeEnd(system.pipes, pipe, flags & ~_NOT_KEPT, mode=mode))
        try:
            thread.answer(thread.process.add(end, bool(flags & O_CLOEXEC)))
        except LinuxError as error:
            system.open_files.give_up(end.number)
            thread.answer(-error.number)
