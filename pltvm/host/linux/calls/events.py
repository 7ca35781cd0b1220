"""Event files: eventfd, timerfd, signalfd."""

from errno import EINVAL
from typing import Annotated

from pltvm.host.linux.arguments import Address, Choice, Fd, FdNumber, Flags, In, Unsigned
from pltvm.host.linux.calls.signals import SetSize, read_mask
from pltvm.host.linux.calls.time import OF_DAY
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.events import EventFile, EventState, TimerFile, TimerState
from pltvm.host.linux.files.file import File
from pltvm.host.linux.open_flags import O_CLOEXEC, O_NONBLOCK, O_RDWR
from pltvm.host.linux.process import Thread
from pltvm.host.linux.signal_file import SignalFile
from pltvm.host.linux.structs import ITIMERSPEC, IntervalSpec, Timespec
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds, timespec

EFD_SEMAPHORE = 1
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
_CLOCKS = {
    "CLOCK_REALTIME": 0, "CLOCK_MONOTONIC": 1, "CLOCK_BOOTTIME": 7, "CLOCK_REALTIME_ALARM": 8,
    "CLOCK_BOOTTIME_ALARM": 9,
}  # fmt: skip


def _new(system: System, thread: Thread, file: File, flags: int) -> int:
    thread.process.free_descriptor()
    return thread.process.add(system.add_file(file), bool(flags & O_CLOEXEC))


def _kept(flags: int) -> int:
    return O_RDWR | flags & O_NONBLOCK


@system_call(19)
def eventfd2(
    system: System,
    thread: Thread,
    count: Unsigned,
    flags: Annotated[
        int, Flags({"EFD_SEMAPHORE": EFD_SEMAPHORE, "EFD_NONBLOCK": O_NONBLOCK, "EFD_CLOEXEC": O_CLOEXEC})
    ],
) -> int:
    """Make a counter that programs can wait for."""
    state = EventState(count, bool(flags & EFD_SEMAPHORE))
    return _new(system, thread, EventFile(system, state, _kept(flags)), flags)


@system_call(85)
def timerfd_create(
    system: System,
    thread: Thread,
    clock: Annotated[int, Choice(_CLOCKS)],
    flags: Annotated[int, Flags({"TFD_NONBLOCK": O_NONBLOCK, "TFD_CLOEXEC": O_CLOEXEC})],
) -> int:
    """Make a timer that is a file."""
    file = TimerFile(system, system.clock, system.scheduler.set_alarm, TimerState(clock), _kept(flags))
    return _new(system, thread, file, flags)


def _timer(file: File) -> TimerFile:
    if not isinstance(file, TimerFile):
        raise LinuxError(EINVAL)
    return file


def _spec(timer: TimerFile) -> bytes:
    left, interval = timer.left()
    return ITIMERSPEC.pack(IntervalSpec(*timespec(interval), *timespec(left)))


@system_call(86)
def timerfd_settime(
    system: System,
    thread: Thread,
    file: Fd,
    flags: Annotated[
        int,
        Flags(
            {
                "TFD_TIMER_ABSTIME": TFD_TIMER_ABSTIME,
                "TFD_TIMER_CANCEL_ON_SET": TFD_TIMER_CANCEL_ON_SET,
            }
        ),
    ],
    new: Annotated[IntervalSpec, In(ITIMERSPEC)],
    old: Address,
) -> int:
    """Set a timer. The clock is never set, so TFD_TIMER_CANCEL_ON_SET has no effect."""
    timer = _timer(file)
    value = nanoseconds(Timespec(new.value_sec, new.value_nsec))
    interval = nanoseconds(Timespec(new.interval_sec, new.interval_nsec))
    before = _spec(timer)
    deadline = 0
    if value:
        start = -system.clock.offset() if timer.state.clock in OF_DAY else 0
        absolute = flags & TFD_TIMER_ABSTIME
        deadline = max(value + (start if absolute else system.clock.monotonic()), 1)
    timer.set(deadline, interval)
    if old:
        thread.space.write(old, before)
    return 0


@system_call(87)
def timerfd_gettime(system: System, thread: Thread, file: Fd, result: Address) -> int:
    """Get the remaining time of a timer."""
    thread.space.write(result, _spec(_timer(file)))
    return 0


@system_call(74)
def signalfd4(
    system: System,
    thread: Thread,
    descriptor: FdNumber,
    mask: Address,
    size: SetSize,
    flags: Annotated[int, Flags({"SFD_NONBLOCK": O_NONBLOCK, "SFD_CLOEXEC": O_CLOEXEC})],
) -> int:
    """Make a file from which signals are read, or set the signals of an existing one."""
    wanted = read_mask(thread, mask)
    if descriptor == -1:
        return _new(system, thread, SignalFile(system, wanted, _kept(flags)), flags)
    file = thread.process.file(descriptor)
    if not isinstance(file, SignalFile):
        raise LinuxError(EINVAL)
    file.set_mask(wanted)
    return descriptor
