"""System calls about signals. Signatures as in `syscalls`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pltvm.host.linux.errno import EINVAL, ESRCH, LinuxError
from pltvm.host.linux.threads import Thread

if TYPE_CHECKING:
    from pltvm.host.linux.process import Process

SIGNALS: Final = 64


def signed(value: int, bits: int = 64) -> int:
    """A register as a signed number of `bits` bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def rt_sigaction(
    process: "Process", _thread: Thread, number: int, new: int, old: int, size: int, *_: int
) -> int:
    """Set what a signal does."""
    if not 0 < number <= SIGNALS or size != 8:
        raise LinuxError(EINVAL)
    if old:
        process.space.write(
            old, b"".join(word.to_bytes(8, "little") for word in process.actions.get(number, (0, 0, 0)))
        )
    if new:
        if number in (9, 19):
            raise LinuxError(EINVAL)
        raw = process.space.read(new, 24)
        process.actions[number] = tuple(int.from_bytes(raw[at : at + 8], "little") for at in (0, 8, 16))
    return 0


def rt_sigprocmask(process: "Process", thread: Thread, how: int, new: int, old: int, *_: int) -> int:
    """Block and unblock signals."""
    if old:
        process.space.write(old, thread.signal_mask.to_bytes(8, "little"))
    if new:
        given = int.from_bytes(process.space.read(new, 8), "little")
        if how not in (0, 1, 2):
            raise LinuxError(EINVAL)
        thread.signal_mask = (thread.signal_mask | given, thread.signal_mask & ~given, given)[how]
    return 0


def sigaltstack(process: "Process", thread: Thread, new: int, old: int, *_: int) -> int:
    """Remember the alternate stack."""
    if old:
        process.space.write(old, b"".join(word.to_bytes(8, "little") for word in thread.alternate_stack))
    if new:
        raw = process.space.read(new, 24)
        address, flags, size = (int.from_bytes(raw[at : at + 8], "little") for at in (0, 8, 16))
        thread.alternate_stack = (address, flags, size)
    return 0


def kill(process: "Process", thread: Thread, pid: int, number: int, *_: int) -> int | None:
    """Send a signal to oneself; nobody else is there."""
    if signed(pid, 32) not in (process.pid, 0, -process.pid, -1):
        raise LinuxError(ESRCH)
    return process.signal(thread, signed(number, 32))


def tgkill(process: "Process", _thread: Thread, _group: int, tid: int, number: int, *_: int) -> int | None:
    """Send a signal to a thread of this process."""
    target = process.scheduler.threads.get(tid)
    if target is None:
        raise LinuxError(ESRCH)
    return process.signal(target, signed(number, 32))


def tkill(process: "Process", thread: Thread, tid: int, number: int, *_: int) -> int | None:
    """As tgkill."""
    return tgkill(process, thread, 0, tid, number)


def rt_sigreturn(process: "Process", thread: Thread, *_: int) -> None:
    """Go on where the signal came."""
    process.return_from_signal(thread)


SYSTEM_CALLS: Final[dict[int, Callable[..., int | None]]] = {
    129: kill, 130: tkill, 131: tgkill, 132: sigaltstack, 134: rt_sigaction, 135: rt_sigprocmask,
    139: rt_sigreturn,
}  # fmt: skip
