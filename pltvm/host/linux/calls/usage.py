"""What processes have used, as calls tell it."""

from pltvm.host.linux.structs import RUSAGE, Rusage


def pack_usage(nanoseconds: int, kib: int) -> bytes:
    """`struct rusage`: processor time, and the most memory."""
    microseconds = nanoseconds // 1000
    return RUSAGE.pack(Rusage(microseconds // 10**6, microseconds % 10**6, 0, 0, kib))
