"""Types of answers to packets: bytes, going on, or nothing; in tables by the start of packets."""

from collections.abc import Callable
from typing import Final

from pltvm.debug.stops import Go

Answer = Callable[[bytes], bytes | Go | None]  # gets the rest of the packet; ValueError: the packet is bad
Table = dict[bytes, Answer]

NOT_KNOWN: Final = b""
OK: Final = b"OK"
BAD: Final = b"E16"  # EINVAL
NOT_HERE: Final = b"E0e"  # EFAULT


def merged(*tables: Table) -> Table:
    """Return all tables as one, with longer starts first, as they take precedence."""
    rows = [row for table in tables for row in table.items()]
    return dict(sorted(rows, key=lambda row: len(row[0]), reverse=True))
