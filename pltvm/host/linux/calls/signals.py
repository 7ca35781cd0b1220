"""Signals: actions, masks, sending, waiting."""

from collections.abc import Iterable
from errno import EAGAIN, EINVAL, ENOMEM, EPERM, ESRCH
from typing import Annotated, Final

from pltvm.host.linux import delivery, signals
from pltvm.host.linux.arguments import Address, Choice, In, Int, Kind, Size, signed32
from pltvm.host.linux.calls.processes import process_of
from pltvm.host.linux.delivery import on_alternate_stack, pack_info
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.process import SS_AUTODISARM, SS_DISABLE, Action, Limit, Process, SignalInfo, Thread
from pltvm.host.linux.signals import NEVER_BLOCKED, SIGNALS
from pltvm.host.linux.structs import SENT, SIGACTION, STACK, TIMESPEC, SigAction, Stack, Timespec
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds
from pltvm.host.linux.waits import Blocked

SS_ONSTACK: Final = 1
SMALLEST_STACK: Final = 2048
_SET: Final = 8  # bytes of a mask


class _Signal(Kind):
    """A signal, 0 for none; raises LinuxError(EINVAL) for others."""

    def decode(self, thread: Thread, value: int) -> int:
        number = signed32(value)
        if not 0 <= number <= SIGNALS:
            raise LinuxError(EINVAL)
        return number

    def show(self, thread: Thread, value: int) -> str:
        number = signed32(value)
        return signals.name(number) if 0 < number <= SIGNALS else str(number)


class _SetSize(Kind):
    """The size of a mask: 8."""

    def decode(self, thread: Thread, value: int) -> int:
        if value != _SET:
            raise LinuxError(EINVAL)
        return value


class _MaskAt(Kind):
    """The address of a mask."""

    def show(self, thread: Thread, value: int) -> str:
        if not value:
            return "NULL"
        mask = int.from_bytes(thread.process.space.read(value, _SET), "little")
        missing = mask.bit_count() > SIGNALS // 2
        listed = mask ^ (1 << SIGNALS) - 1 if missing else mask
        names = (
            signals.NAMES.get(n, f"RT_{n - 32}") for n in range(1, SIGNALS + 1) if listed & signals.bit(n)
        )
        return f"{'~' * missing}[{' '.join(names)}]"


MaskAt = Annotated[int, _MaskAt()]
Signal = Annotated[int, _Signal()]
SetSize = Annotated[int, _SetSize()]
How = Annotated[int, Choice({"SIG_BLOCK": 0, "SIG_UNBLOCK": 1, "SIG_SETMASK": 2}, others=True)]


def read_mask(thread: Thread, address: int) -> int:
    """Read a mask, without the signals that cannot be blocked."""
    return int.from_bytes(thread.space.read(address, _SET), "little") & ~NEVER_BLOCKED


@system_call(134)
def rt_sigaction(
    system: System, thread: Thread, number: Signal, new: Address, old: Address, size: SetSize
) -> int:
    """Set the action of a signal."""
    process = thread.process
    if not number or (new and number in (signals.SIGKILL, signals.SIGSTOP)):
        raise LinuxError(EINVAL)
    before = signals.action(process, number)
    if new:
        wanted = SIGACTION.unpack(thread.space.read(new, SIGACTION.size))
    if old:
        thread.space.write(old, SIGACTION.pack(SigAction(*before)))
    if new:
        process.state.actions[number] = Action(
            wanted.handler, wanted.flags & signals.SA_KNOWN, wanted.mask & ~NEVER_BLOCKED
        )
        if signals.is_ignored(process, number):
            signals.forget(process, number)
    return 0


@system_call(135)
def rt_sigprocmask(system: System, thread: Thread, how: How, new: MaskAt, old: Address, size: SetSize) -> int:
    """Block and unblock signals."""
    before = thread.state.signal_mask
    if new:
        given = read_mask(thread, new)
        if how not in (0, 1, 2):
            raise LinuxError(EINVAL)
        thread.state.signal_mask = (before | given, before & ~given, given)[how]
    if old:
        thread.space.write(old, before.to_bytes(_SET, "little"))
    return 0


@system_call(136)
def rt_sigpending(system: System, thread: Thread, result: Address, size: Size) -> int:
    """Get the signals that are blocked and pending."""
    if size > _SET:
        raise LinuxError(EINVAL)
    pending = signals.mask_of(thread.state.pending) | signals.mask_of(thread.process.state.pending)
    mask = pending & thread.state.signal_mask
    thread.space.write(result, mask.to_bytes(_SET, "little")[:size])
    return 0


@system_call(133)
def rt_sigsuspend(system: System, thread: Thread, mask: MaskAt, size: SetSize) -> None:
    """Wait for a signal that this mask does not block."""
    thread.set_mask_for_call(read_mask(thread, mask))
    raise Blocked(restarts=False)


@system_call(137)
def rt_sigtimedwait(
    system: System,
    thread: Thread,
    wanted: MaskAt,
    info: Address,
    timeout: Annotated[Timespec | None, In(TIMESPEC, optional=True)],
    size: SetSize,
) -> int:
    """Take a pending signal out of a set, or wait for one."""
    mask = read_mask(thread, wanted)
    deadline = thread.deadline(system.clock, nanoseconds(timeout)) if timeout is not None else None
    found = signals.take(thread, mask)
    if found is not None:
        if info:
            thread.space.write(info, pack_info(found))
        return found.number
    if deadline is not None and system.clock.monotonic() >= deadline:
        raise LinuxError(EAGAIN)
    raise Blocked(("signal", thread.process.pid), deadline=deadline, restarts=False)


@system_call(132)
def sigaltstack(system: System, thread: Thread, new: Address, old: Address) -> int:
    """Set the alternate stack, which must not be the one in use."""
    address, flags, size = thread.state.alternate_stack
    busy = on_alternate_stack(thread)
    if new:
        wanted = STACK.unpack(thread.space.read(new, STACK.size))
        how = wanted.flags & 0x7FFF_FFFF
        disarms = wanted.flags & 0xFFFF_FFFF & SS_AUTODISARM
        if busy:
            raise LinuxError(EPERM)
        if how not in (0, SS_ONSTACK, SS_DISABLE):
            raise LinuxError(EINVAL)
        if how != SS_DISABLE and wanted.size < SMALLEST_STACK:
            raise LinuxError(ENOMEM)
        thread.state.alternate_stack = (
            (0, SS_DISABLE, 0) if how == SS_DISABLE else (wanted.address, disarms, wanted.size)
        )
    if old:
        thread.space.write(old, STACK.pack(Stack(address, signed32(flags | SS_ONSTACK * busy), size)))
    return 0


# -- sending -------------------------------------------------------------------------------------------------


def sent_by(thread: Thread, number: int, code: int) -> SignalInfo:
    """Return a signal that a thread sends."""
    return SignalInfo(number, code, thread.process.pid, thread.process.state.credentials.user.real)


def may_get(thread: Thread, target: Process, number: int) -> bool:
    """Whether a thread may send this signal to a process."""
    own, other = thread.process.state, target.state
    same_session = number == signals.SIGCONT and own.session == other.session
    return same_session or own.credentials.may_signal(other.credentials)


@system_call(129)
def kill(system: System, thread: Thread, pid: Int, number: Signal) -> int:
    """Send a signal to a process, a group, or all others."""
    own = thread.process
    targets: Iterable[Process]
    if pid > 0:
        targets = [process_of(system, thread, pid)]
    elif pid == -1:
        targets = [
            one for one in system.processes.values() if one is not own and one.pid != system.state.first
        ]
    else:
        group = -pid or own.state.group
        targets = [one for one in system.processes.values() if one.state.group == group]
    if not targets:
        raise LinuxError(ESRCH)
    allowed = [one for one in targets if may_get(thread, one, number)]
    if not allowed:
        raise LinuxError(EPERM)
    for process in allowed:
        signals.send(system, process, sent_by(thread, number, signals.SI_USER))
    return 0


@system_call(130)
def tkill(system: System, thread: Thread, tid: Int, number: Signal) -> int:
    """Send a signal to a thread."""
    return _to_thread(system, thread, -1, tid, sent_by(thread, number, signals.SI_TKILL))


@system_call(131)
def tgkill(system: System, thread: Thread, pid: Int, tid: Int, number: Signal) -> int:
    """Send a signal to a thread of a process."""
    if pid <= 0:
        raise LinuxError(EINVAL)
    return _to_thread(system, thread, pid, tid, sent_by(thread, number, signals.SI_TKILL))


def _to_thread(system: System, thread: Thread, pid: int, tid: int, info: SignalInfo) -> int:
    if tid <= 0:
        raise LinuxError(EINVAL)
    target = system.scheduler.threads.get(tid)
    if target is None or pid not in (-1, target.process.pid):
        raise LinuxError(ESRCH)
    if not (target.process is thread.process or may_get(thread, target.process, info.number)):
        raise LinuxError(EPERM)
    signals.send(system, target.process, info, target)
    return 0


def queued(thread: Thread, number: int, address: int, to_others: bool) -> SignalInfo:
    """Return a program's siginfo; to other processes it cannot claim to come from the kernel."""
    given = SENT.unpack(thread.space.read(address, SENT.size))
    if to_others and (given.code >= 0 or given.code == signals.SI_TKILL):
        raise LinuxError(EPERM)
    return SignalInfo(number, given.code, given.pid, given.uid, given.value)


@system_call(138)
def rt_sigqueueinfo(system: System, thread: Thread, pid: Int, number: Signal, info: Address) -> int:
    """Send a signal with a value to a process."""
    process = process_of(system, thread, pid if pid > 0 else -1)
    sent = queued(thread, number, info, process is not thread.process)
    if not may_get(thread, process, number):
        raise LinuxError(EPERM)
    if number >= signals.FIRST_QUEUED and len(process.state.pending) >= process.limit(Limit.SIGPENDING):
        raise LinuxError(EAGAIN)
    signals.send(system, process, sent)
    return 0


@system_call(240)
def rt_tgsigqueueinfo(
    system: System, thread: Thread, pid: Int, tid: Int, number: Signal, info: Address
) -> int:
    """Send a signal with a value to a thread."""
    if pid <= 0 or tid <= 0:
        raise LinuxError(EINVAL)
    sent = queued(thread, number, info, pid != thread.process.pid)
    return _to_thread(system, thread, pid, tid, sent)


@system_call(139)
def rt_sigreturn(system: System, thread: Thread) -> None:
    """Return from a signal handler."""
    delivery.give_back(system, thread)
