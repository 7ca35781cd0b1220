"""How much a Linux program may leave on the disk."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EFBIG, ENOSPC

from pltvm.host.linux.errors import LinuxError
from pltvm.host.plain import Part


@dataclass(slots=True)
class RoomState:
    """What is left: bytes, new files; and how long each file was at most, by device and inode. `gone` are
    files in memory that nobody has any more, but mappings."""

    left: int
    new: int
    highest: dict[tuple[int, int], int] = field(default_factory=dict)
    gone: list[tuple[int, int]] = field(default_factory=list)


class Room(Part[RoomState]):
    """`growth` bytes by which files may grow, all together, and `new` files and folders that may be made.

    Growth is counted once for each file, up to the size it ever had: writing over, or cutting a file off and
    writing it anew, takes nothing. Space of removed files does not come back, as someone may have them open.
    """

    def __init__(self, growth: int, new: int) -> None:
        self._growth = growth
        self.state = RoomState(growth, new)

    def grow(self, info: os.stat_result, end: int) -> None:
        """Let the file with the state `info` reach up to `end` bytes.

        Raises LinuxError: EFBIG for more than there ever was, ENOSPC for more than is left.
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
        """Make a file (then `call` gives its descriptor), a folder or a name; raises LinuxError(ENOSPC)."""
        if not self.state.new:
            raise LinuxError(ENOSPC)
        made = call()
        self.state.new -= 1
        if made is not None:
            self.forget(os.fstat(made))
        return made

    def forget(self, info: os.stat_result) -> None:
        """A file is new: its inode may be that of one that is gone."""
        self.state.highest.pop((info.st_dev, info.st_ino), None)

    def give_back(self, key: tuple[int, int]) -> None:
        """A file in memory is no more: what it took is free again."""
        self.state.left += self.state.highest.pop(key, 0)
