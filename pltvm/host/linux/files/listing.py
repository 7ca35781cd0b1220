"""Reads a folder entry by entry: it is listed when reading begins, in the same order in all runs.

Offsets are numbers of entries, so `seekdir` leads to the same entry. Going back to the start lists it again.
"""

from collections.abc import Callable
from errno import EINVAL
from typing import NamedTuple

from pltvm.host.linux.errors import LinuxError


class Entry(NamedTuple):
    """A name in a folder; `mode` has its kind."""

    name: bytes
    inode: int
    mode: int


class Listing:
    """The progress of reading a folder: `offset` in the entries `known`. `look` lists the folder now."""

    def __init__(self, look: Callable[[], list[Entry]]) -> None:
        self._look = look
        self.offset = 0
        self.known: list[Entry] = []

    def rest(self) -> list[Entry]:
        """Return the entries from the offset on; raises LinuxError."""
        if not self.offset or not self.known:
            self.known = self._look()
        return self.known[self.offset :]

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset; return the new one."""
        if whence == 1:
            offset += self.offset
        elif whence != 0:
            raise LinuxError(EINVAL)
        if not 0 <= offset < 1 << 63:
            raise LinuxError(EINVAL)
        self.offset = offset
        return offset
