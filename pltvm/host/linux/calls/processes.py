"""Processes: fork, exec, exit, wait."""

from collections.abc import Callable
from errno import E2BIG, EACCES, EAGAIN, EBADF, ECHILD, EINVAL, EPERM, ESRCH
from typing import Annotated, Final

from pltvm.engine.memory import PAGE
from pltvm.host.linux import life, signals
from pltvm.host.linux.arguments import Address, Choice, Flags, Int, Size, Word
from pltvm.host.linux.calls.usage import pack_usage
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.life import CLONE_PARENT, CLONE_THREAD, CLONE_VFORK
from pltvm.host.linux.open_flags import O_NONBLOCK, O_RDWR
from pltvm.host.linux.pid_file import PidFile
from pltvm.host.linux.process import Process, Thread
from pltvm.host.linux.structs import CLONE_ARGS, OF_CHILD, OfChild
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.waits import Blocked

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x0100_0000
_WALL, _WCLONE = 0x4000_0000, 0x8000_0000
_WAIT: Final = {
    "WNOHANG": WNOHANG, "WUNTRACED": WUNTRACED, "WEXITED": WEXITED, "WCONTINUED": WCONTINUED,
    "WNOWAIT": WNOWAIT, "__WNOTHREAD": 0x2000_0000, "__WALL": _WALL, "__WCLONE": _WCLONE,
}  # fmt: skip
CLONE_PIDFD: Final = 0x1000
_CLONE: Final = {
    "VM": life.CLONE_VM, "FS": 0x200, "FILES": life.CLONE_FILES, "SIGHAND": life.CLONE_SIGHAND,
    "PIDFD": CLONE_PIDFD, "VFORK": CLONE_VFORK, "PARENT": CLONE_PARENT, "THREAD": CLONE_THREAD,
    "SYSVSEM": 0x40000, "SETTLS": life.CLONE_SETTLS, "PARENT_SETTID": life.CLONE_PARENT_SETTID,
    "CHILD_CLEARTID": life.CLONE_CHILD_CLEARTID, "DETACHED": 0x400000, "UNTRACED": 0x800000,
    "CHILD_SETTID": life.CLONE_CHILD_SETTID, "IO": 0x8000_0000,
}  # fmt: skip
_CLONE_BITS: Final = sum(_CLONE.values())


class _CloneFlags(Flags):
    """What a child shares; the last byte is the signal sent at its end."""

    def show(self, thread: Thread, value: int) -> str:
        number = value & 0xFF
        names = [super().show(thread, value & ~0xFF)] if value & ~0xFF or not number else []
        return "|".join([*names, *([signals.name(number)] if number else [])])


CloneFlags = Annotated[int, _CloneFlags(_CLONE, 0xFF, "CLONE_")]
WaitFlags = Annotated[int, Flags(_WAIT)]
P_ALL, P_PID, P_PGID, P_PIDFD = range(4)


# -- start -------------------------------------------------------------------------------------------------


@system_call(220)
def clone(
    system: System,
    thread: Thread,
    flags: CloneFlags,
    stack: Address,
    parent_tid: Address,
    tls: Word,
    child_tid: Address,
) -> int | None:
    """Start a thread or a process."""
    pidfd = parent_tid if flags & CLONE_PIDFD else 0
    if pidfd and flags & life.CLONE_PARENT_SETTID:
        raise LinuxError(EINVAL)
    return _clone(
        system, thread, flags, pidfd, stack=stack, parent_tid=parent_tid, child_tid=child_tid, tls=tls
    )


@system_call(435)
def clone3(system: System, thread: Thread, address: Address, size: Size) -> int | None:
    """Like `clone`, with a struct, which may be longer than the known one if the rest is zero."""
    if size < CLONE_ARGS.size:
        raise LinuxError(EINVAL)
    if size > PAGE:
        raise LinuxError(E2BIG)
    raw = thread.space.read(address, size)
    if any(raw[CLONE_ARGS.size :]):
        system.refuse("clone3 with a tid or a cgroup")
        raise LinuxError(EINVAL)
    wanted = CLONE_ARGS.unpack(raw)
    if (
        wanted.flags & (~_CLONE_BITS | 0xFF)
        or wanted.exit_signal > signals.SIGNALS
        or bool(wanted.stack) != bool(wanted.stack_size)
        or (wanted.flags & (CLONE_THREAD | CLONE_PARENT) and wanted.exit_signal)
    ):
        raise LinuxError(EINVAL)
    return _clone(
        system,
        thread,
        wanted.flags | wanted.exit_signal,
        wanted.pidfd,
        stack=wanted.stack + wanted.stack_size,
        parent_tid=wanted.parent_tid,
        child_tid=wanted.child_tid,
        tls=wanted.tls,
    )


def _clone(system: System, thread: Thread, flags: int, pidfd: int, **where: int) -> int | None:
    """Do `clone` or `clone3`; with CLONE_PIDFD write a file for the process at `pidfd`.

    A caller of vfork waits until the child no longer uses its memory.
    """
    if flags & CLONE_PIDFD:
        if flags & (CLONE_THREAD | _CLONE["DETACHED"]):
            raise LinuxError(EINVAL)
        thread.process.free_descriptor()
        thread.space.write(pidfd, bytes(4))  # fails before anything is made
    child = life.clone(system, thread, flags, **where)
    if flags & CLONE_PIDFD:
        file = system.add_file(PidFile(system, child.process.pid, O_RDWR))
        thread.space.write(pidfd, thread.process.add(file, closes=True).to_bytes(4, "little"))
    if not flags & CLONE_VFORK:
        return child.tid
    if flags & CLONE_THREAD:
        raise Blocked(("vfork thread", child.tid), firm=True)
    child.process.state.borrows = thread.tid
    raise Blocked(("vfork", child.process.pid), firm=True)


# -- end ---------------------------------------------------------------------------------------------------


@system_call(93)
def exit_(system: System, thread: Thread, code: Int) -> None:
    """End the calling thread; the last one ends the process."""
    life.end_thread(system, thread, code)


@system_call(94)
def exit_group(system: System, thread: Thread, code: Int) -> None:
    """End the process."""
    life.end(system, thread.process, (code & 0xFF) << 8)


@system_call(260)
def wait4(system: System, thread: Thread, pid: Int, status: Address, flags: WaitFlags, usage: Address) -> int:
    """Wait for a change of state of a child."""
    if flags & (WEXITED | WNOWAIT):
        raise LinuxError(EINVAL)
    if pid == -(1 << 31):
        raise LinuxError(ESRCH)
    child, news = _wait(system, thread, _by_pid(thread, pid), flags | WEXITED)
    if child is None:
        return 0
    if status:
        thread.space.write(status, news.to_bytes(4, "little"))
    if usage:
        thread.space.write(usage, pack_usage(child.used() + child.state.used_by_children, 0))
    return child.pid


@system_call(95)
def waitid(
    system: System,
    thread: Thread,
    kind: Annotated[int, Choice({"P_ALL": P_ALL, "P_PID": P_PID, "P_PGID": P_PGID, "P_PIDFD": P_PIDFD})],
    number: Int,
    info: Address,
    flags: WaitFlags,
    usage: Address,
) -> int:
    """Like `wait4`, with a siginfo as the result."""
    at_once = False
    if not flags & (WEXITED | WUNTRACED | WCONTINUED) or (kind == P_PID and number <= 0) or number < 0:
        raise LinuxError(EINVAL)
    if kind == P_PIDFD:
        file = thread.process.file(number)
        if not isinstance(file, PidFile):
            raise LinuxError(EBADF)
        kind, number = P_PID, file.pid
        at_once = bool(file.flags & O_NONBLOCK)
    group = number or thread.process.state.group
    wanted: dict[int, Callable[[Process], bool]] = {
        P_ALL: lambda _child: True,
        P_PID: lambda child: child.pid == number,
        P_PGID: lambda child: child.state.group == group,
    }
    child, news = _wait(system, thread, wanted[kind], flags | (WNOHANG if at_once else 0))
    if child is None and at_once and not flags & WNOHANG:
        raise LinuxError(EAGAIN)
    if usage:
        thread.space.write(usage, pack_usage(child.used() if child is not None else 0, 0))
    if info:
        thread.space.write(info, OF_CHILD.pack(_siginfo(child, news)) if child is not None else bytes(128))
    return 0


def _siginfo(child: Process, news: int) -> OfChild:
    if news == 0xFFFF:
        code, status = signals.CLD_CONTINUED, signals.SIGCONT
    elif news & 0xFF == 0x7F:
        code, status = signals.CLD_STOPPED, news >> 8
    elif news & 0x7F:
        code, status = signals.CLD_DUMPED if news & 0x80 else signals.CLD_KILLED, news & 0x7F
    else:
        code, status = signals.CLD_EXITED, news >> 8
    return OfChild(signals.SIGCHLD, 0, code, child.pid, 0, status, 0, 0)


def _by_pid(thread: Thread, pid: int) -> Callable[[Process], bool]:
    """Return a test for the children that the pid of `wait4` selects."""
    if pid == -1:
        return lambda _child: True
    if pid > 0:
        return lambda child: child.pid == pid
    group = -pid or thread.process.state.group
    return lambda child: child.state.group == group


def _is_meant(child: Process, flags: int) -> bool:
    """Whether the flags select this child: one that ends without SIGCHLD needs its own flag."""
    if flags & _WALL:
        return True
    return (child.state.exit_signal == signals.SIGCHLD) != bool(flags & _WCLONE)


def _wait(
    system: System, thread: Thread, wanted: Callable[[Process], bool], flags: int
) -> tuple[Process | None, int]:
    """Return a child that has changed state, and its status; None if there is none and WNOHANG is set. Raises
    Blocked."""
    own = thread.process.pid
    children = [
        one
        for one in system.processes.values()
        if one.state.parent == own
        and wanted(one)
        and _is_meant(one, flags)
        and (one.alive or flags & WEXITED)
    ]
    if not children:
        raise LinuxError(ECHILD)
    for child in children:
        news = child.state.news
        if news is None:
            continue
        if not child.alive:
            if not flags & WNOWAIT:
                life.reap(system, child)
            return child, news
        if flags & (WCONTINUED if news == 0xFFFF else WUNTRACED):
            if not flags & WNOWAIT:
                child.state.news = None
            return child, news
    if flags & WNOHANG:
        return None, 0
    raise Blocked(("child", own))


# -- groups and sessions -----------------------------------------------------------------------------------


def process_of(system: System, thread: Thread, pid: int) -> Process:
    """Return the process with this number, or the caller for 0; raises LinuxError(ESRCH)."""
    found = thread.process if pid == 0 else system.processes.get(pid)
    if found is None:
        thread_of_it = system.scheduler.threads.get(pid)
        found = thread_of_it.process if thread_of_it is not None else None
    if found is None:
        raise LinuxError(ESRCH)
    return found


@system_call(172)
def getpid(system: System, thread: Thread) -> int:
    """Return the process's number."""
    return thread.process.state.pid


@system_call(173)
def getppid(system: System, thread: Thread) -> int:
    """Return the parent's number."""
    return thread.process.state.parent


@system_call(178)
def gettid(system: System, thread: Thread) -> int:
    """Return the thread's number."""
    return thread.state.tid


@system_call(154)
def setpgid(system: System, thread: Thread, pid: Int, group: Int) -> int:
    """Move a process into a group of its session."""
    group = group or pid or thread.process.pid
    if group < 0:
        raise LinuxError(EINVAL)
    process = process_of(system, thread, pid)
    own = thread.process
    if process is not own and process.state.parent != own.pid:
        raise LinuxError(ESRCH)
    if process is not own and process.state.has_executed:
        raise LinuxError(EACCES)
    if process.state.session == process.pid or process.state.session != own.state.session:
        raise LinuxError(EPERM)
    if group != process.pid and not any(
        one.state.group == group and one.state.session == process.state.session
        for one in system.processes.values()
    ):
        raise LinuxError(EPERM)
    process.state.group = group
    return 0


@system_call(155)
def getpgid(system: System, thread: Thread, pid: Int) -> int:
    """Return the group of a process."""
    return process_of(system, thread, pid).state.group


@system_call(156)
def getsid(system: System, thread: Thread, pid: Int) -> int:
    """Return the session of a process."""
    return process_of(system, thread, pid).state.session


@system_call(157)
def setsid(system: System, thread: Thread) -> int:
    """Begin a session, and a group in it."""
    state = thread.process.state
    if any(one.state.group == state.pid for one in system.processes.values()):
        raise LinuxError(EPERM)
    state.session = state.group = state.pid
    return state.pid
