"""Signals: their numbers, and sending them. `delivery` handles them in a thread.

A sent signal is in the pending set of its thread or its process until a thread that does not block it goes
on. A thread that waits in a system call is roused for it.
"""

from collections.abc import Iterator
from typing import Final

from pltvm.host.linux.process import Action, Process, SignalInfo, Thread
from pltvm.host.linux.system import System

SIGNALS: Final = 64
SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL = range(1, 10)
SIGSEGV, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP = 11, 13, 14, 15, 17, 18, 19, 20
SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH = range(21, 29)
FIRST_QUEUED: Final = 32  # from this number on, each sent signal is queued
MOST_PENDING: Final = 4096

NAMES: Final = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL",
    10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 16: "STKFLT", 17: "CHLD",
    18: "CONT", 19: "STOP", 20: "TSTP", 21: "TTIN", 22: "TTOU", 23: "URG", 24: "XCPU", 25: "XFSZ",
    26: "VTALRM", 27: "PROF", 28: "WINCH", 29: "IO", 30: "PWR", 31: "SYS",
}  # fmt: skip
DEFAULT, IGNORE = 0, 1  # handlers
SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO = 1, 2, 4
SA_ON_STACK, SA_RESTART, SA_NO_DEFER, SA_RESET = 0x0800_0000, 0x1000_0000, 0x4000_0000, 0x8000_0000
SA_KNOWN: Final = (
    SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ON_STACK | SA_RESTART | SA_NO_DEFER | SA_RESET
    | 0x800  # SA_EXPOSE_TAGBITS
)  # fmt: skip
SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_MESGQ, SI_TKILL = 0, 0x80, -1, -2, -3, -6
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)

STOPS: Final = frozenset({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})
IGNORED: Final = frozenset({SIGCHLD, SIGCONT, SIGURG, SIGWINCH})  # by default
DUMPS: Final = frozenset({3, 4, 5, 6, 7, 8, 11, 24, 25, 31})


def bit(number: int) -> int:
    """Return the bit of a signal in a mask."""
    return 1 << (number - 1)


NEVER_BLOCKED: Final = bit(SIGKILL) | bit(SIGSTOP)
_STOP_BITS: Final = sum(map(bit, STOPS))


def name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    return f"SIG{NAMES[number]}" if number in NAMES else f"signal {number}"


def mask_of(pending: list[SignalInfo]) -> int:
    """Return a pending set as a mask."""
    mask = 0
    for one in pending:
        mask |= bit(one.number)
    return mask


def action(process: Process, number: int) -> Action:
    """Return the action of a signal."""
    return process.state.actions.get(number, Action())


def is_ignored(process: Process, number: int) -> bool:
    """Whether the signal is ignored."""
    handler = action(process, number).handler
    return handler == IGNORE or (handler == DEFAULT and number in IGNORED)


def waiting(thread: Thread) -> int:
    """Return the signals that the thread would take now, as a mask."""
    pending = thread.state.pending or thread.process.state.pending
    if not pending:
        return 0
    both = mask_of(thread.state.pending) | mask_of(thread.process.state.pending)
    return both & ~thread.state.signal_mask


def take(thread: Thread, mask: int) -> SignalInfo | None:
    """Remove and return the first pending signal of `mask`; the thread's come before its process's."""
    for pending in (thread.state.pending, thread.process.state.pending):
        found = min((one.number for one in pending if bit(one.number) & mask), default=0)
        if found:
            return pending.pop(next(i for i, one in enumerate(pending) if one.number == found))
    return None


def send(system: System, process: Process, info: SignalInfo, thread: Thread | None = None) -> None:
    """Send a signal to a process, or to one of its threads. Number 0 is none."""
    number = info.number
    if not number or not process.alive:
        return
    _drop_opposites(process, number)
    if number in (SIGCONT, SIGKILL):
        go_on(system, process)
    targets = [thread] if thread is not None else list(process.threads.values())
    wanted = [one for one in targets if not _blocks(one, number)]
    if is_ignored(process, number) and wanted:
        return
    pending = thread.state.pending if thread is not None else process.state.pending
    known = number < FIRST_QUEUED and any(one.number == number for one in pending)
    if not known and len(pending) < MOST_PENDING:
        pending.append(info)
    system.wake(("signal", process.pid))
    current = system.scheduler.current
    if wanted and current not in wanted:
        rouse(system, wanted[0], number)


def send_own(system: System, thread: Thread, number: int) -> None:
    """Send a thread a signal for what its system call did."""
    send(system, thread.process, SignalInfo(number, SI_USER, thread.process.pid), thread)


def broken_pipe(system: System, thread: Thread) -> None:
    """Send SIGPIPE, as a thread wrote to a pipe or socket without a reader."""
    send_own(system, thread, SIGPIPE)


def rouse(system: System, thread: Thread, number: int) -> None:
    """Interrupt a thread's wait for a signal; its run of an enclave, even a stopped one, is interrupted only
    by SIGKILL."""
    state = thread.state
    if state.enclave:
        if number == SIGKILL:
            system.scheduler.rouse(thread)
    elif state.wait is not None and (number == SIGKILL or not state.wait.firm):
        system.scheduler.rouse(thread)


def _blocks(thread: Thread, number: int) -> bool:
    return bool(thread.state.signal_mask & bit(number) & ~NEVER_BLOCKED)


def _drop_opposites(process: Process, number: int) -> None:
    """Remove pending stop signals at SIGCONT, and vice versa."""
    drop = _STOP_BITS if number == SIGCONT else bit(SIGCONT) if number in STOPS else 0
    if drop:
        for pending in _sets(process):
            pending[:] = [one for one in pending if not bit(one.number) & drop]


def _sets(process: Process) -> Iterator[list[SignalInfo]]:
    yield process.state.pending
    for thread in process.threads.values():
        yield thread.state.pending


def forget(process: Process, number: int) -> None:
    """Remove a pending signal that is ignored now."""
    for pending in _sets(process):
        pending[:] = [one for one in pending if one.number != number]


def stop(system: System, process: Process, number: int) -> None:
    """Stop the process until SIGCONT."""
    process.state.stopped = number
    system.scheduler.hold(process.pid)
    tell_parent(system, process, CLD_STOPPED, number, number << 8 | 0x7F)


def go_on(system: System, process: Process) -> None:
    """Let a stopped process go on, at any SIGCONT."""
    if process.state.stopped:
        process.state.stopped = 0
        system.scheduler.let_go()
        tell_parent(system, process, CLD_CONTINUED, SIGCONT, 0xFFFF)


def tell_parent(system: System, process: Process, code: int, status: int, news: int) -> None:
    """Send SIGCHLD to the parent of a process whose state has changed, and set `news` for its `wait4`."""
    process.state.news = news
    parent = system.processes.get(process.state.parent)
    if parent is None or not parent.alive:
        return
    alive = code in (CLD_STOPPED, CLD_CONTINUED)
    number = SIGCHLD if alive else process.state.exit_signal
    is_wanted = not (alive and action(parent, SIGCHLD).flags & SA_NOCLDSTOP)
    if is_wanted and number <= SIGNALS:  # clone takes any number
        send(
            system, parent, SignalInfo(number, code, process.pid, process.state.credentials.user.real, status)
        )
    system.wake(("child", parent.pid))
