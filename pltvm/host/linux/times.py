"""Times of system calls, in nanoseconds."""

from errno import EINVAL

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.structs import Timespec, Timeval

SECOND = 10**9
LONGEST = 1 << 33  # seconds


def nanoseconds(time: Timespec) -> int:
    """Convert a timespec; raises LinuxError(EINVAL) for an invalid one."""
    if not (0 <= time.nsec < SECOND and time.sec >= 0):
        raise LinuxError(EINVAL)
    return min(time.sec, LONGEST) * SECOND + time.nsec


def from_timeval(time: Timeval) -> int:
    """Convert a timeval; raises LinuxError(EINVAL) for an invalid one."""
    if not (0 <= time.usec < 10**6 and time.sec >= 0):
        raise LinuxError(EINVAL)
    return min(time.sec, LONGEST) * SECOND + time.usec * 1000


def timespec(time: int) -> Timespec:
    """Return the timespec for a time."""
    return Timespec(*divmod(time, SECOND))


def timeval(time: int) -> Timeval:
    """Return the timeval for a time."""
    return Timeval(time // SECOND, time % SECOND // 1000)
