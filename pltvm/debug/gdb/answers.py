"""What the answer to a packet can be: bytes, that the run goes on, or nothing; by how packets start."""

from collections.abc import Callable
from typing import Final

from pltvm.debug.stops import Go

Answer = Callable[[bytes], bytes | Go | None]  # of what follows the start; ValueError: the packet is bad
Table = dict[bytes, Answer]

NOT_KNOWN: Final = b""
OK: Final = b"OK"
BAD: Final = b"E16"  # EINVAL
NOT_HERE: Final = b"E0e"  # EFAULT


def merged(*tables: Table) -> Table:
    """All of them: where a packet starts with several of these, the longest comes first and is meant."""
    rows = [row for table in tables for row in table.items()]
    return dict(sorted(rows, key=lambda row: len(row[0]), reverse=True))
