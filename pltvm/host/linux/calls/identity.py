"""The priorities and limits of a process, and information on the system."""

from collections.abc import Callable
from errno import EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from typing import Annotated, Final

from pltvm.engine.memory import PAGE
from pltvm.host.linux import signals
from pltvm.host.linux.arguments import (
    Address,
    Buffer,
    Choice,
    Flags,
    Int,
    Size,
    Unsigned,
    Word,
)
from pltvm.host.linux.calls.processes import process_of
from pltvm.host.linux.credentials import LAST_CAPABILITY
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.process import INFINITY, MOST_FILES, Limit, Process, Thread
from pltvm.host.linux.structs import RLIMIT, SYSINFO, UTSNAME, Rlimit, SysInfo, UtsName
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

LARGEST_RANDOM: Final = 1 << 20
_RESOURCES: Final = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip
_IO_CLASS_SHIFT: Final = 13
_IO_LEVELS: Final = {0: 1, 1: 8, 2: 8, 3: 1 << _IO_CLASS_SHIFT}  # of no class, real time, best effort, idle
_IO_DEFAULT: Final = 2
Resource = Annotated[int, Choice(_RESOURCES)]


@system_call(140)
def setpriority(system: System, thread: Thread, which: Int, who: Int, nice: Int) -> int:
    """Store the nice value; it does not affect the turns of threads."""
    for process in _meant(system, thread, which, who):
        process.state.nice = min(max(nice, -20), 19)
    return 0


def _meant(system: System, thread: Thread, which: int, who: int) -> list[Process]:
    """Return a process, or those of a group or a user; raises LinuxError."""
    if which not in (0, 1, 2):
        raise LinuxError(EINVAL)
    if which == 0:
        return [process_of(system, thread, who)]
    group = who or thread.process.state.group
    found = [one for one in system.processes.values() if (which == 2 and not who) or one.state.group == group]
    if not found:
        raise LinuxError(ESRCH)
    return found


@system_call(141)
def getpriority(system: System, thread: Thread, which: Int, who: Int) -> int:
    """Return 20 − nice."""
    return 20 - min(process.state.nice for process in _meant(system, thread, which, who))


@system_call(30)
def ioprio_set(system: System, thread: Thread, which: Int, who: Int, priority: Int) -> int:
    """Store the I/O priority; it has no effect."""
    kind, level = priority >> _IO_CLASS_SHIFT, priority & (1 << _IO_CLASS_SHIFT) - 1
    if not (kind in _IO_LEVELS and level < _IO_LEVELS[kind]):
        raise LinuxError(EINVAL)
    for process in _meant(system, thread, which - 1, who):
        process.state.io_priority = priority
    return 0


@system_call(31)
def ioprio_get(system: System, thread: Thread, which: Int, who: Int) -> int:
    """Return the I/O class and the level in it; for several processes, the first class."""
    found = (process.state.io_priority for process in _meant(system, thread, which - 1, who))
    return min(found, key=lambda one: (one >> _IO_CLASS_SHIFT or _IO_DEFAULT, one))


@system_call(166)
def umask(system: System, thread: Thread, mask: Unsigned) -> int:
    """Set the permissions that new files do not get."""
    state = thread.process.state
    before, state.umask = state.umask, mask & 0o777
    return before


# -- limits --------------------------------------------------------------------------------------------------


def _limit(process: Process, which: int) -> Rlimit:
    return Rlimit(*process.state.limits.get(which, (INFINITY, INFINITY)))


@system_call(261)
def prlimit64(system: System, thread: Thread, pid: Int, which: Resource, new: Address, old: Address) -> int:
    """Get and set a limit."""
    process = process_of(system, thread, pid)
    before = _limit(process, which)
    if new:
        wanted = RLIMIT.unpack(thread.space.read(new, RLIMIT.size))
        if wanted.soft > wanted.hard:
            raise LinuxError(EINVAL)
        if wanted.hard > before.hard or (which == Limit.NOFILE and wanted.hard > MOST_FILES):
            raise LinuxError(EPERM)
    if old:
        thread.space.write(old, RLIMIT.pack(before))
    if new:
        least = 1 if which == Limit.CPU else 0  # Linux takes no time for a second
        process.state.limits[which] = (max(wanted.soft, least), wanted.hard)
        if which == Limit.CPU:
            system.scheduler.limit_time()
    return 0


@system_call(163)
def getrlimit(system: System, thread: Thread, which: Resource, result: Address) -> int:
    """Get a limit."""
    return prlimit64(system, thread, 0, which, 0, result)


@system_call(164)
def setrlimit(system: System, thread: Thread, which: Resource, new: Address) -> int:
    """Set a limit."""
    if not new:
        raise LinuxError(EFAULT)
    return prlimit64(system, thread, 0, which, new, 0)


# -- names ---------------------------------------------------------------------------------------------------

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 2, 3, 4
PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 15, 16, 29, 30
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 37, 38, 39
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_GET_SECCOMP, PR_CAPBSET_READ = 7, 8, 21, 23
PR_GET_SECUREBITS, PR_MCE_KILL_GET, PR_GET_THP_DISABLE = 27, 34, 42
_MCE_KILL_DEFAULT: Final = 2
_PRCTL: Final = {name: value for name, value in globals().items() if name.startswith("PR_")}
# What is told as the result.
_TOLD: Final[dict[int, Callable[[Thread], int]]] = {
    PR_GET_DUMPABLE: lambda thread: int(thread.process.state.dumpable),
    PR_GET_KEEPCAPS: lambda thread: int(thread.process.state.credentials.keeps),
    PR_GET_NO_NEW_PRIVS: lambda thread: int(thread.process.state.no_new_rights),
    PR_GET_TIMERSLACK: lambda thread: thread.state.timer_slack[0],
    PR_GET_SECCOMP: lambda _thread: 0,
    PR_GET_SECUREBITS: lambda _thread: 0,
    PR_GET_THP_DISABLE: lambda _thread: 0,
}


@system_call(167)
def prctl(
    system: System,
    thread: Thread,
    option: Annotated[int, Choice(_PRCTL, others=True)],
    value: Word,
    a: Word,
    b: Word,
    c: Word,
) -> int:
    """Get or set various attributes of a process; EINVAL for unknown ones."""
    state = thread.process.state
    if option in _TOLD:
        return _TOLD[option](thread)
    if option == PR_SET_NAME:
        thread.state.name = _short_string(thread, value)
    elif option == PR_GET_NAME:
        thread.space.write(value, thread.state.name.ljust(16, b"\0"))
    elif option == PR_SET_PDEATHSIG:
        if value > signals.SIGNALS:
            raise LinuxError(EINVAL)
        state.death_signal = value
    elif option == PR_GET_PDEATHSIG:
        thread.space.write(value, state.death_signal.to_bytes(4, "little"))
    elif option == PR_SET_CHILD_SUBREAPER:
        state.subreaper = bool(value)
    elif option == PR_GET_CHILD_SUBREAPER:
        thread.space.write(value, int(state.subreaper).to_bytes(4, "little"))
    elif option == PR_SET_DUMPABLE:
        if value > 1:
            raise LinuxError(EINVAL)
        state.dumpable = bool(value)
    elif option == PR_SET_KEEPCAPS:
        if value > 1:
            raise LinuxError(EINVAL)
        state.credentials = state.credentials._replace(keeps=bool(value))
    elif option == PR_SET_TIMERSLACK:  # timers here have none
        usual = thread.state.timer_slack[1]
        thread.state.timer_slack = value or usual, usual
    elif option == PR_SET_NO_NEW_PRIVS:
        if value != 1 or a or b or c:
            raise LinuxError(EINVAL)
        state.no_new_rights = True
    elif option == PR_MCE_KILL_GET:
        if value or a or b or c:
            raise LinuxError(EINVAL)
        return _MCE_KILL_DEFAULT
    elif option == PR_CAPBSET_READ:
        if value > LAST_CAPABILITY:
            raise LinuxError(EINVAL)
        return 1
    else:
        system.refuse(f"prctl {option}")
        raise LinuxError(EINVAL)
    return 0


@system_call(160)
def uname(system: System, thread: Thread, result: Address) -> int:
    """Return the system's name: Linux on riscv64."""
    names = UtsName(b"Linux", system.state.host_name, b"6.1.0", b"#1 SMP", b"riscv64", b"(none)")
    thread.space.write(result, UTSNAME.pack(names))
    return 0


@system_call(161)
def sethostname(system: System, thread: Thread, name: Address, size: Int) -> int:
    """Set the host name, for this run only."""
    if not 0 <= size <= 64:
        raise LinuxError(EINVAL)
    system.state.host_name = thread.space.read(name, size)
    return 0


@system_call(278)
def getrandom(
    system: System,
    thread: Thread,
    buffer: Buffer,
    size: Size,
    flags: Annotated[int, Flags({"GRND_NONBLOCK": 1, "GRND_RANDOM": 2, "GRND_INSECURE": 4})],
) -> int:
    """Return bytes of the seeded generator."""
    if flags & 6 == 6:
        raise LinuxError(EINVAL)
    size = min(size, LARGEST_RANDOM)
    thread.space.write(buffer, system.random.randbytes(size))
    return size


@system_call(179)
def sysinfo(system: System, thread: Thread, result: Address) -> int:
    """Return uptime and memory."""
    blocks = system.kernel.blocks
    info = SysInfo(
        system.clock.monotonic() // 10**9, 0, 0, 0, system.kernel.memory.size, blocks.free_pages * PAGE,
        0, 0, 0, 0, len(system.processes), 0, 0, 1,
    )  # fmt: skip
    thread.space.write(result, SYSINFO.pack(info))
    return 0


@system_call(258, 293)
def riscv_hwprobe(system: System, thread: Thread) -> int:
    """Return ENOSYS without a note: C libraries try it and work without. 293 is rseq."""
    raise LinuxError(ENOSYS)


@system_call(259)
def riscv_flush_icache(system: System, thread: Thread, start: Address, end: Address, flags: Word) -> int:
    """Do nothing: the hart notices each store to code."""
    return 0


@system_call(92)
def personality(system: System, thread: Thread, wanted: Unsigned) -> int:
    """Return the personality, and set it; all are those of Linux."""
    state = thread.process.state
    before = state.personality
    if wanted != 0xFFFF_FFFF:
        state.personality = wanted
    return before


def _short_string(thread: Thread, address: int) -> bytes:
    """Return up to 15 bytes of a string; bytes after them need not be mapped."""
    text = b""
    while len(text) < 15 and (byte := thread.space.read(address + len(text), 1)) != b"\0":
        text += byte
    return text
