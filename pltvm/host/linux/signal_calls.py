"""System calls about signals. Signatures as in `syscalls`."""

from collections.abc import Callable
from typing import Final

from pltvm.host.linux.errno import EINVAL, ENOMEM, EPERM, ESRCH, LinuxError
from pltvm.host.linux.process import Process
from pltvm.host.linux.signals import NEVER_BLOCKED, SIGNALS, give_back, on_alternate_stack, send
from pltvm.host.linux.threads import SS_DISABLE, Thread

SS_ONSTACK: Final = 1
SMALLEST_STACK: Final = 2048


def signed(value: int, bits: int = 64) -> int:
    """A register as a signed number of `bits` bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def rt_sigaction(
    process: Process, _thread: Thread, number: int, new: int, old: int, size: int, *_: int
) -> int:
    """Set what a signal does."""
    if not 0 < number <= SIGNALS or size != 8:
        raise LinuxError(EINVAL)
    if old:
        process.space.write(
            old, b"".join(word.to_bytes(8, "little") for word in process.state.actions.get(number, (0, 0, 0)))
        )
    if new:
        if number in (9, 19):
            raise LinuxError(EINVAL)
        raw = process.space.read(new, 24)
        process.state.actions[number] = tuple(int.from_bytes(raw[at : at + 8], "little") for at in (0, 8, 16))
    return 0


def rt_sigprocmask(process: Process, thread: Thread, how: int, new: int, old: int, size: int, *_: int) -> int:
    """Block and unblock signals."""
    if size != 8:
        raise LinuxError(EINVAL)
    before = thread.state.signal_mask
    if new:
        given = int.from_bytes(process.space.read(new, 8), "little") & ~NEVER_BLOCKED
        if how not in (0, 1, 2):
            raise LinuxError(EINVAL)
        thread.state.signal_mask = (before | given, before & ~given, given)[how]
    if old:
        process.space.write(old, before.to_bytes(8, "little"))
    return 0


def sigaltstack(process: Process, thread: Thread, new: int, old: int, *_: int) -> int:
    """Set the alternate stack, which must not be the one in use."""
    address, flags, size = thread.state.alternate_stack
    busy = on_alternate_stack(thread)
    if new:
        raw = process.space.read(new, 24)
        wanted, how, length = (int.from_bytes(raw[at : at + 8], "little") for at in (0, 8, 16))
        how &= 0xFFFF_FFFF
        if busy:
            raise LinuxError(EPERM)
        if how not in (0, SS_ONSTACK, SS_DISABLE):
            raise LinuxError(EINVAL)
        if how != SS_DISABLE and length < SMALLEST_STACK:
            raise LinuxError(ENOMEM)
        thread.state.alternate_stack = (0, SS_DISABLE, 0) if how == SS_DISABLE else (wanted, 0, length)
    if old:
        words = (address, SS_ONSTACK if busy else flags, size)
        process.space.write(old, b"".join(word.to_bytes(8, "little") for word in words))
    return 0


def kill(process: Process, thread: Thread, pid: int, number: int, *_: int) -> int:
    """Send a signal to oneself; nobody else is there. It goes to a thread that does not block it."""
    if signed(pid, 32) not in (process.pid, 0, -process.pid, -1):
        raise LinuxError(ESRCH)
    number = signed(number, 32)
    if not 0 <= number <= SIGNALS:
        raise LinuxError(EINVAL)
    threads = (thread, *process.scheduler.threads.values())
    ready = (one for one in threads if number and not one.state.signal_mask >> (number - 1) & 1)
    return send(process, next(ready, thread), number)


def tgkill(process: Process, _thread: Thread, _group: int, tid: int, number: int, *_: int) -> int:
    """Send a signal to a thread of this process."""
    target = process.scheduler.threads.get(tid)
    if target is None:
        raise LinuxError(ESRCH)
    return send(process, target, signed(number, 32))


def tkill(process: Process, thread: Thread, tid: int, number: int, *_: int) -> int:
    """As tgkill."""
    return tgkill(process, thread, 0, tid, number)


def rt_sigreturn(process: Process, thread: Thread, *_: int) -> None:
    """Go on where the signal came."""
    give_back(process, thread)


SYSTEM_CALLS: Final[dict[int, Callable[..., int | None]]] = {
    129: kill, 130: tkill, 131: tgkill, 132: sigaltstack, 134: rt_sigaction, 135: rt_sigprocmask,
    139: rt_sigreturn,
}  # fmt: skip
