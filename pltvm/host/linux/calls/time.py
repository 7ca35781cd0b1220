"""Time: clocks, sleeping, timers."""

from errno import EINVAL, EOPNOTSUPP, EPERM
from typing import Annotated, Final

from pltvm.host.linux import signals, timers
from pltvm.host.linux.arguments import Address, Choice, Flags, In, Number
from pltvm.host.linux.calls.usage import pack_usage
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.process import SignalInfo, Thread, Timer
from pltvm.host.linux.structs import (
    ITIMERSPEC,
    ITIMERVAL,
    SIGEVENT,
    TIMESPEC,
    TIMEVAL,
    TMS,
    IntervalSpec,
    IntervalVal,
    SigEvent,
    Timespec,
    Timeval,
    Tms,
)
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import from_timeval, nanoseconds, timespec, timeval
from pltvm.host.linux.waits import Blocked

REALTIME, MONOTONIC, PROCESS, THREAD, RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME = range(8)
_CLOCKS: Final = {
    "CLOCK_REALTIME": 0, "CLOCK_MONOTONIC": 1, "CLOCK_PROCESS_CPUTIME_ID": 2, "CLOCK_THREAD_CPUTIME_ID": 3,
    "CLOCK_MONOTONIC_RAW": 4, "CLOCK_REALTIME_COARSE": 5, "CLOCK_MONOTONIC_COARSE": 6, "CLOCK_BOOTTIME": 7,
    "CLOCK_REALTIME_ALARM": 8, "CLOCK_BOOTTIME_ALARM": 9, "CLOCK_TAI": 11,
}  # fmt: skip
OF_DAY: Final = {REALTIME, REALTIME_COARSE, 8, 11}
Clock = Annotated[int, Choice(_CLOCKS, others=True)]
Absolute = Annotated[int, Flags({"TIMER_ABSTIME": 1})]
_TICK: Final = 10**7  # ns, of `times`
MOST_TIMERS: Final = 1024


def now(system: System, thread: Thread, clock: int) -> int:
    """Return the time of a clock in ns; raises LinuxError(EINVAL)."""
    if clock in OF_DAY:
        return system.clock.time_of_day()
    if clock == PROCESS:
        system.scheduler.used_by(thread)
        return thread.process.used()
    if clock == THREAD:
        return system.scheduler.used_by(thread)
    if clock in (MONOTONIC, RAW, MONOTONIC_COARSE, BOOTTIME, 9):
        return system.clock.monotonic()
    if clock < 0 and clock & 7 in (2, 6):  # processor time of a process or thread: ~number << 3 | kind
        return _now_of(system, thread, ~(clock >> 3), bool(clock & 4))
    raise LinuxError(EINVAL)


def _now_of(system: System, thread: Thread, number: int, of_thread: bool) -> int:
    system.scheduler.used_by(thread)
    if of_thread:
        other = system.scheduler.threads.get(number) if number else thread
        if other is None:
            raise LinuxError(EINVAL)
        return other.state.used
    process = system.processes.get(number) if number else thread.process
    if process is None:
        raise LinuxError(EINVAL)
    return process.used()


@system_call(113)
def clock_gettime(system: System, thread: Thread, clock: Clock, result: Address) -> int:
    """Get the time."""
    thread.space.write(result, TIMESPEC.pack(timespec(now(system, thread, clock))))
    return 0


@system_call(114)
def clock_getres(system: System, thread: Thread, clock: Clock, result: Address) -> int:
    """Get the resolution: 1 ns."""
    now(system, thread, clock)
    if result:
        thread.space.write(result, TIMESPEC.pack(Timespec(0, 1)))
    return 0


@system_call(112)
def clock_settime(
    system: System, thread: Thread, clock: Clock, time: Annotated[Timespec, In(TIMESPEC)]
) -> int:
    """Refuse to set a clock."""
    nanoseconds(time)
    raise LinuxError(EPERM if clock == REALTIME else EINVAL)


@system_call(169)
def gettimeofday(system: System, thread: Thread, result: Address, zone: Address) -> int:
    """Get the time of day in seconds and microseconds."""
    if result:
        thread.space.write(result, TIMEVAL.pack(timeval(system.clock.time_of_day())))
    if zone:
        thread.space.write(zone, bytes(8))
    return 0


@system_call(153)
def times(system: System, thread: Thread, result: Address) -> int:
    """Get processor times in hundredths of a second."""
    system.scheduler.used_by(thread)
    if result:
        own, children = thread.process.used(), thread.process.state.used_by_children
        thread.space.write(result, TMS.pack(Tms(own // _TICK, 0, children // _TICK, 0)))
    return system.clock.monotonic() // _TICK


@system_call(165)
def getrusage(
    system: System,
    thread: Thread,
    who: Annotated[int, Choice({"RUSAGE_SELF": 0, "RUSAGE_CHILDREN": -1, "RUSAGE_THREAD": 1})],
    result: Address,
) -> int:
    """Get processor time and memory."""
    own = system.scheduler.used_by(thread)
    process = thread.process
    used = {0: process.used(), -1: process.state.used_by_children, 1: own}[who]
    thread.space.write(result, pack_usage(used, 0 if who == -1 else len(process.space.state.own) * 4))
    return 0


# -- sleeping ------------------------------------------------------------------------------------------------


@system_call(101)
def nanosleep(
    system: System, thread: Thread, duration: Annotated[Timespec, In(TIMESPEC)], remaining: Address
) -> int:
    """Sleep for a time."""
    return _sleep(system, thread.deadline(system.clock, nanoseconds(duration)), remaining)


@system_call(115)
def clock_nanosleep(
    system: System,
    thread: Thread,
    clock: Clock,
    flags: Absolute,
    time: Annotated[Timespec, In(TIMESPEC)],
    remaining: Address,
) -> int:
    """Sleep for a time, or until a time."""
    wanted = nanoseconds(time)
    if clock == THREAD:
        raise LinuxError(EINVAL)
    if clock in (RAW, REALTIME_COARSE, MONOTONIC_COARSE):
        raise LinuxError(EOPNOTSUPP)
    now(system, thread, clock)
    if flags:
        return _sleep(system, wanted - (system.clock.offset() if clock in OF_DAY else 0), 0)
    return _sleep(system, thread.deadline(system.clock, wanted), remaining)


def _sleep(system: System, deadline: int, remaining: int) -> int:
    if system.clock.monotonic() >= deadline:
        return 0
    raise Blocked(deadline=deadline, restarts=False, remaining=remaining)


# -- timers of setitimer -------------------------------------------------------------------------------------

Which = Annotated[int, Choice({"ITIMER_REAL": 0, "ITIMER_VIRTUAL": 1, "ITIMER_PROF": 2})]
_OF_WHICH: Final = (signals.SIGALRM, signals.SIGVTALRM, signals.SIGPROF)


@system_call(102)
def getitimer(system: System, thread: Thread, which: Which, result: Address) -> int:
    """Get the remaining time of a timer."""
    thread.space.write(result, ITIMERVAL.pack(_interval(system, thread, which)))
    return 0


def _interval(system: System, thread: Thread, which: int) -> IntervalVal:
    timer = thread.process.state.timers.get(which, Timer(SignalInfo(0)))
    return IntervalVal(*timeval(timer.interval), *timeval(-(-timers.left(system, timer) // 1000) * 1000))


@system_call(103)
def setitimer(
    system: System,
    thread: Thread,
    which: Which,
    new: Annotated[IntervalVal | None, In(ITIMERVAL, optional=True)],
    old: Address,
) -> int:
    """Set a timer; all three kinds use the time that passes, as a process alone on the hart has all of it."""
    before = _interval(system, thread, which)
    given = new or IntervalVal(0, 0, 0, 0)
    value = from_timeval(Timeval(given.value_sec, given.value_usec))
    interval = from_timeval(Timeval(given.interval_sec, given.interval_usec))
    state = thread.process.state
    state.timers.setdefault(which, Timer(SignalInfo(_OF_WHICH[which], signals.SI_KERNEL)))
    timers.arm(system, thread.process, which, system.clock.monotonic() + value if value else 0, interval)
    if old:
        thread.space.write(old, ITIMERVAL.pack(before))
    return 0


# -- timers of timer_create ----------------------------------------------------------------------------------

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4
TimerId = Annotated[int, Number(32, True)]


@system_call(107)
def timer_create(
    system: System,
    thread: Thread,
    clock: Clock,
    event: Annotated[SigEvent | None, In(SIGEVENT, optional=True)],
    result: Address,
) -> int:
    """Make a timer that sends a signal."""
    now(system, thread, clock)
    state = thread.process.state
    number = state.next_timer
    if len(state.timers) >= MOST_TIMERS:
        raise LinuxError(EINVAL)
    wanted = event or SigEvent(number, signals.SIGALRM, SIGEV_SIGNAL, 0)
    if wanted.notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID):
        raise LinuxError(EINVAL)
    if wanted.notify != SIGEV_NONE and not 0 < wanted.number <= signals.SIGNALS:
        raise LinuxError(EINVAL)
    target = wanted.thread if wanted.notify == SIGEV_THREAD_ID else 0
    if target and target not in thread.process.threads:
        raise LinuxError(EINVAL)
    sent = 0 if wanted.notify == SIGEV_NONE else wanted.number
    info = SignalInfo(sent, signals.SI_TIMER, value=wanted.value)
    thread.space.write(result, number.to_bytes(4, "little"))
    state.next_timer += 1
    state.timers[number] = Timer(info, thread=target, clock=clock)
    return 0


def _timer(thread: Thread, number: int) -> Timer:
    timer = thread.process.state.timers.get(number)
    if timer is None or number < 3:
        raise LinuxError(EINVAL)
    return timer


def _spec(system: System, timer: Timer) -> IntervalSpec:
    return IntervalSpec(*timespec(timer.interval), *timespec(timers.left(system, timer)))


@system_call(110)
def timer_settime(
    system: System,
    thread: Thread,
    number: TimerId,
    flags: Absolute,
    new: Annotated[IntervalSpec, In(ITIMERSPEC)],
    old: Address,
) -> int:
    """Set a timer."""
    timer = _timer(thread, number)
    value = nanoseconds(Timespec(new.value_sec, new.value_nsec))
    interval = nanoseconds(Timespec(new.interval_sec, new.interval_nsec))
    before = _spec(system, timer)
    deadline = 0
    if value:
        start = -system.clock.offset() if timer.clock in OF_DAY else 0
        deadline = max(value + (start if flags else system.clock.monotonic()), 1)
    timers.arm(system, thread.process, number, deadline, interval)
    if old:
        thread.space.write(old, ITIMERSPEC.pack(before))
    return 0


@system_call(108)
def timer_gettime(system: System, thread: Thread, number: TimerId, result: Address) -> int:
    """Get the remaining time of a timer of timer_create."""
    thread.space.write(result, ITIMERSPEC.pack(_spec(system, _timer(thread, number))))
    return 0


@system_call(109)
def timer_getoverrun(system: System, thread: Thread, number: TimerId) -> int:
    """Return how many expirations were not delivered before its last signal."""
    return _timer(thread, number).overruns


@system_call(111)
def timer_delete(system: System, thread: Thread, number: TimerId) -> int:
    """Delete a timer."""
    _timer(thread, number)
    del thread.process.state.timers[number]
    return 0
