"""Limits on what a Linux program may leave on the disk."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EFBIG, ENOSPC

from pltvm.host.linux.errors import LinuxError
from pltvm.host.plain import Part


@dataclass(slots=True)
class RoomState:
    """The remaining bytes and new files; and the largest size of each file so far, by device and inode.
    `gone` are files in memory that only mappings still use."""

    left: int
    new: int
    highest: dict[tuple[int, int], int] = field(default_factory=dict)
    gone: list[tuple[int, int]] = field(default_factory=list)


class Room(Part[RoomState]):
    """Files may grow by `growth` bytes in total, and `new` files and folders may be made.

    Growth is counted once for each file, beyond its largest size so far: overwriting, or truncating and
    writing again, costs nothing. The space of removed files does not come back, as they may still be open.
    """

    def __init__(self, growth: int, new: int) -> None:
        self._growth = growth
        self.state = RoomState(growth, new)

    def grow(self, info: os.stat_result, end: int) -> None:
        """Let the file with the attributes `info` grow to `end` bytes.

        Raises LinuxError: EFBIG for more than the whole limit, ENOSPC for more than is left.
        """
        key = info.st_dev, info.st_ino
        before = max(self.state.highest.get(key, 0), info.st_size)
        if end - before > self._growth:
            raise LinuxError(EFBIG)
        if end - before > self.state.left:
            raise LinuxError(ENOSPC)
        self.state.left -= max(end - before, 0)
        self.state.highest[key] = max(end, before)

    def make(self, call: Callable[[], int | None]) -> int | None:
        """Make a file (then `call` returns its descriptor), a folder or a name; raises LinuxError(ENOSPC)."""
        if not self.state.new:
            raise LinuxError(ENOSPC)
        made = call()
        self.state.new -= 1
        if made is not None:
            self.forget(os.fstat(made))
        return made

    def forget(self, info: os.stat_result) -> None:
        """Forget the size of a new file's inode, which may have been used by a removed file."""
        self.state.highest.pop((info.st_dev, info.st_ino), None)

    def give_back(self, key: tuple[int, int]) -> None:
        """Give back the room of a removed file in memory."""
        self.state.left += self.state.highest.pop(key, 0)
