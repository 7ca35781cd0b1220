"""Resource usage of processes, in the layout of calls."""

from pltvm.host.linux.structs import RUSAGE, Rusage


def pack_usage(nanoseconds: int, kib: int) -> bytes:
    """Return `struct rusage`: processor time, and the peak of memory."""
    microseconds = nanoseconds // 1000
    return RUSAGE.pack(Rusage(microseconds // 10**6, microseconds % 10**6, 0, 0, kib))
