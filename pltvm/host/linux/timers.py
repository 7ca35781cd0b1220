"""Timers that send signals: those of setitimer and timer_create. The scheduler calls `ring`."""

from pltvm.host.linux import signals
from pltvm.host.linux.files.events import TimerFile
from pltvm.host.linux.process import Limit, Process, SignalInfo, Thread, Timer
from pltvm.host.linux.system import System

NO_SIGNAL = 0
_SECOND = 10**9


def arm(system: System, process: Process, which: int, deadline: int, interval: int) -> None:
    """Set a timer: its next expiration (monotonic ns; 0 turns it off), and then every `interval` ns."""
    timer = process.state.timers[which]
    timer.deadline, timer.interval, timer.overruns = deadline, interval, 0
    if deadline:
        system.scheduler.set_alarm(deadline, process.pid, which)


def left(system: System, timer: Timer) -> int:
    """Return the nanoseconds until it expires; 0 if it is off."""
    return max(timer.deadline - system.clock.monotonic(), 1) if timer.deadline else 0


def ring(system: System, pid: int, which: int) -> None:
    """Handle an alarm that may be due: a timer of a process, or (0) of the open file `which`."""
    if not pid:
        file = system.open_files.get(which)
        if isinstance(file, TimerFile):
            file.ring()
        return
    process = system.processes.get(pid)
    timer = process.state.timers.get(which) if process is not None else None
    now = system.clock.monotonic()
    if process is None or timer is None or not timer.deadline or timer.deadline > now:
        return  # it was set again, or deleted
    missed = 0
    if timer.interval:
        missed = (now - timer.deadline) // timer.interval
        timer.deadline += (missed + 1) * timer.interval
        system.scheduler.set_alarm(timer.deadline, pid, which)
    else:
        timer.deadline = 0
    if timer.signal.number == NO_SIGNAL:
        return
    thread = process.threads.get(timer.thread)
    if timer.thread and thread is None:
        return
    pending = (thread.state if thread is not None else process.state).pending
    for index, one in enumerate(pending):
        if one.code == signals.SI_TIMER and one.timer == which and one.number == timer.signal.number:
            pending[index] = one._replace(overrun=one.overrun + 1 + missed)  # its signal is still pending
            timer.overruns = pending[index].overrun
            return
    timer.overruns = missed
    signals.send(system, process, _info(timer, which, missed), thread)


def _info(timer: Timer, which: int, missed: int) -> SignalInfo:
    signal = timer.signal
    return signal._replace(timer=which, overrun=missed) if signal.code == signals.SI_TIMER else signal


def check_processor_time(system: System, thread: Thread) -> None:
    """Send the signals of RLIMIT_CPU, as a thread has used its slice: SIGXCPU each second from the soft limit
    on, SIGKILL at the hard one."""
    process = thread.process
    if Limit.CPU not in process.state.limits:
        return
    soft, hard = process.state.limits[Limit.CPU]
    system.scheduler.used_by(thread)
    used = process.used()
    if used >= hard * _SECOND:
        signals.send(system, process, SignalInfo(signals.SIGKILL, signals.SI_KERNEL))
    elif used >= soft * _SECOND:
        process.state.limits[Limit.CPU] = (soft + 1, hard)
        signals.send(system, process, SignalInfo(signals.SIGXCPU, signals.SI_KERNEL))
