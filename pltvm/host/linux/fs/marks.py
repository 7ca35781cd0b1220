"""File attributes shown to programs instead of the real ones, so that runs repeat.

Inode numbers are in the order in which files were first seen. All files unchanged in this run have the same
time; writing, making or changing a file sets the time of the program's clock. A mode is stored here if the
disk has another one: set-user-ID bits are never written to the disk, nor bits that the wall around this
process (`confine`) or its own umask refuse.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pltvm.host.linux.clock import START_NS, Clock
from pltvm.host.linux.files.file import Status
from pltvm.host.linux.files.host import Key
from pltvm.host.linux.files.inotify import IN_ATTRIB, IN_MODIFY
from pltvm.host.plain import Part

MOST_NUMBERS: Final = 1 << 17  # files with marks
UNTOUCHED: Final = START_NS - 86_400 * 10**9  # the times of an unchanged file
BLOCK: Final = 4096
_SMALL: Final = 1 << 16  # bytes of a file in which holes are not looked for


class Mark(NamedTuple):
    """The mark of one file: inode number, times in ns since 1970 (None: unchanged), mode (None: that on the
    disk), and owner (user and group)."""

    inode: int
    accessed: int | None = None
    modified: int | None = None
    changed: int | None = None
    mode: int | None = None
    owner: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class MarksState:
    """The marks, by real device and inode; the next number; and the files that are names of sockets, with
    their paths (`socket_nodes`)."""

    known: dict[Key, Mark] = field(default_factory=dict)
    next_inode: int = 2
    sockets: dict[Key, bytes] = field(default_factory=dict)


class Marks(Part[MarksState]):
    """The marks of files. With a real clock, times are real too. `told` gets each change, as of inotify."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.told: Callable[[os.stat_result, int], None] = lambda _info, _event: None
        self.owner_of_new: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.state = MarksState()

    def of(self, key: Key) -> Mark:
        """Return the mark of a file."""
        return self.state.known.get(key) or self._new(key)

    def _new(self, key: Key) -> Mark:
        known = self.state.known
        if len(known) >= MOST_NUMBERS:
            del known[next(iter(known))]
        known[key] = mark = Mark(self.state.next_inode)
        self.state.next_inode += 1
        return mark

    def inode(self, key: Key) -> int:
        """Return its inode number."""
        return self.of(key).inode

    def status(self, info: os.stat_result) -> Status:
        """Return the attributes for a program."""
        mark = self.of((info.st_dev, info.st_ino))
        size = BLOCK if stat.S_ISDIR(info.st_mode) else info.st_size
        real = self._clock.real_time
        return Status(
            info.st_mode if mark.mode is None else stat.S_IFMT(info.st_mode) | mark.mode,
            mark.inode,
            size,
            info.st_nlink,
            accessed=(info.st_atime_ns if real else UNTOUCHED) if mark.accessed is None else mark.accessed,
            modified=(info.st_mtime_ns if real else UNTOUCHED) if mark.modified is None else mark.modified,
            changed=(info.st_ctime_ns if real else UNTOUCHED) if mark.changed is None else mark.changed,
            allocated=_allocated(info, size),
            owner=mark.owner,
        )

    def changed_since(self, saved: MarksState) -> set[Key]:
        """Return the files and folders that were written, made or changed since then."""
        known = saved.known
        return {key for key, mark in self.state.known.items() if mark[2:] != known.get(key, Mark(0))[2:]}

    def now(self) -> int:
        """Return the time for a change."""
        return self._clock.time_of_day()

    def made(self, info: os.stat_result, mode: int) -> None:
        """Note a new file with the requested mode; a removed file may have had the same real inode."""
        key = info.st_dev, info.st_ino
        self.state.known.pop(key, None)
        self.state.sockets.pop(key, None)
        now = self.now()
        kept = None if stat.S_IMODE(info.st_mode) == mode else mode
        self.state.known[key] = Mark(self._new(key).inode, now, now, now, kept, self.owner_of_new())

    def written(self, info: os.stat_result) -> None:
        """Note that the content has changed."""
        key, now = (info.st_dev, info.st_ino), self.now()
        self.state.known[key] = self.of(key)._replace(modified=now, changed=now)
        if not stat.S_ISDIR(info.st_mode):
            self.told(info, IN_MODIFY)

    def changed(self, info: os.stat_result) -> None:
        """Note that an attribute has changed: a mode, a name."""
        key = info.st_dev, info.st_ino
        self.state.known[key] = self.of(key)._replace(changed=self.now())

    def timed(self, info: os.stat_result, accessed: int | None, modified: int | None) -> None:
        """Note times set by a program; None: this one was not set."""
        key = info.st_dev, info.st_ino
        mark = self.of(key)
        self.state.known[key] = mark._replace(
            accessed=mark.accessed if accessed is None else accessed,
            modified=mark.modified if modified is None else modified,
            changed=self.now(),
        )
        self.told(info, IN_ATTRIB)

    def permitted(self, info: os.stat_result, mode: int) -> None:
        """Note a mode set by a program."""
        key = info.st_dev, info.st_ino
        self.state.known[key] = self.of(key)._replace(mode=mode, changed=self.now())
        self.told(info, IN_ATTRIB)

    def owned(self, info: os.stat_result, owner: tuple[int, int]) -> None:
        """Note an owner set by a program."""
        key = info.st_dev, info.st_ino
        self.state.known[key] = self.of(key)._replace(owner=owner, changed=self.now())
        self.told(info, IN_ATTRIB)


def _allocated(info: os.stat_result, size: int) -> int | None:
    """Return the blocks of a link, and of a large sparse file.

    For others they follow from the size: the real numbers differ between file systems and between moments.
    """
    if stat.S_ISLNK(info.st_mode):  # stored in its inode
        return 0
    blocks = info.st_blocks & ~7
    return blocks if size > _SMALL and blocks * 1024 < size else None
