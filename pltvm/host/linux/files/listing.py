"""Reading a folder entry by entry: what it has is looked at when reading begins, in one order for all runs.

Offsets are numbers of entries, so `seekdir` leads to the same one. Going back to the start looks anew.
"""

from collections.abc import Callable
from errno import EINVAL
from typing import NamedTuple

from pltvm.host.linux.errors import LinuxError


class Entry(NamedTuple):
    """A name in a folder; `mode` tells its kind."""

    name: bytes
    inode: int
    mode: int


class Listing:
    """How far a folder was read: `offset`, of the entries `known`. `look` gives those that it has now."""

    def __init__(self, look: Callable[[], list[Entry]]) -> None:
        self._look = look
        self.offset = 0
        self.known: list[Entry] = []

    def rest(self) -> list[Entry]:
        """The entries from the offset on; raises LinuxError."""
        if not self.offset or not self.known:
            self.known = self._look()
        return self.known[self.offset :]

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset; gives the new one."""
        if whence == 1:
            offset += self.offset
        elif whence != 0:
            raise LinuxError(EINVAL)
        if not 0 <= offset < 1 << 63:
            raise LinuxError(EINVAL)
        self.offset = offset
        return offset
