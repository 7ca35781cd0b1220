"""inotify(7): files from which changes of other files are read.

A watch is one for a file, by device and inode. One for a folder also tells what happens to the files in it,
by their names: a name is looked for when an event comes, so files without watches cost nothing. Only what
this run does is told, and reading a file is not.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EEXIST, EINVAL
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import READABLE, File
from pltvm.host.linux.files.host import HostFile, Key
from pltvm.host.linux.open_flags import O_ACCESS, O_PATH, O_RDONLY
from pltvm.host.linux.structs import INOTIFY_EVENT, InotifyEvent
from pltvm.host.linux.waits import Key as WaitKey
from pltvm.host.linux.waits import Waker

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 2, 4, 8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = (
    0x40, 0x80, 0x100, 0x200, 0x400, 0x800,
)  # fmt: skip
IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x4000, 0x8000, 0x4000_0000
IN_MASK_CREATE, IN_MASK_ADD, IN_ONESHOT = 0x1000_0000, 0x2000_0000, 0x8000_0000
ALL_EVENTS: Final = 0xFFF
FIONREAD: Final = 0x541B
MOST_EVENTS: Final = 16384  # in a queue
_OF_NAMES: Final = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN  # told by folders too


@dataclass(slots=True)
class Watch:
    """A watch of the file `key`; `folder` is the real path of a folder, else "". `names` are those found."""

    key: Key
    mask: int
    folder: str
    names: dict[Key, str] = field(default_factory=dict)

    def name_of(self, key: Key) -> bytes:
        """Return the name of a file in this folder; nothing if it has none, or the folder has moved."""
        if _key(self.folder) != self.key:  # and another one may have its path
            return b""
        known = self.names.get(key)
        if known is None or _key(f"{self.folder}/{known}") != key:
            self.names.pop(key, None)
            with suppress(OSError), os.scandir(self.folder) as entries:
                known = next((one.name for one in entries if one.inode() == key[1]), "")
                self.names[key] = known
        return os.fsencode(known or "")


def _key(path: str) -> Key | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


class Notes:
    """The watching files of a system, which get the events. `is_open` says whether a file is open."""

    def __init__(self) -> None:
        self.files: list[InotifyFile] = []
        self.is_open: Callable[[Key], bool] = lambda _key: False
        self._moves = 0

    def add(self, file: "InotifyFile") -> None:
        """Tell this file too; for the first one numbers of moves begin anew, as they are in no snapshot."""
        if not self.files:
            self._moves = 0
        self.files.append(file)

    def happened(self, info: os.stat_result, event: int, by_name: bool = True) -> None:
        """Tell of an event of a file; its folder is told, too, unless the event is not of a name."""
        if self.files:
            key, kind = (info.st_dev, info.st_ino), IN_ISDIR if stat.S_ISDIR(info.st_mode) else 0
            for file in list(self.files):
                file.tell(key, event | kind, by_name)

    def named(self, folder: int, name: bytes, event: int, cookie: int = 0) -> None:
        """Tell of an event of a name in a folder, whose descriptor `folder` is."""
        if self.files:
            info = os.fstat(folder)
            for file in list(self.files):
                file.tell_name((info.st_dev, info.st_ino), name, event, cookie)

    def opened(self, file: File) -> None:
        """Tell that a file was opened."""
        if self.files and isinstance(file, HostFile) and not file.flags & O_PATH:
            self.happened(os.fstat(file.descriptor), IN_OPEN)

    def closed(self, file: File) -> None:
        """Tell that a file was closed for good."""
        if self.files and isinstance(file, HostFile) and not file.flags & O_PATH:
            info = os.fstat(file.descriptor)
            reads = file.flags & O_ACCESS == O_RDONLY
            self.happened(info, IN_CLOSE_NOWRITE if reads else IN_CLOSE_WRITE)
            if not info.st_nlink:
                self.gone(info)

    def removed(self, folder: int, name: bytes, info: os.stat_result) -> None:
        """Tell that a name was removed; `info` is what the file was before."""
        if self.files:
            self.replaced(info)
            self.named(folder, name, IN_DELETE | (IN_ISDIR if stat.S_ISDIR(info.st_mode) else 0))

    def replaced(self, info: os.stat_result) -> None:
        """Tell a file itself that it has a name less."""
        if self.files:
            is_folder = stat.S_ISDIR(info.st_mode)
            if not is_folder:
                self.happened(info, IN_ATTRIB, by_name=False)
            if is_folder or info.st_nlink == 1:
                self.gone(info)

    def gone(self, info: os.stat_result) -> None:
        """Tell that a file has no names any more, unless it is still open."""
        key = info.st_dev, info.st_ino
        if not self.is_open(key):
            for file in list(self.files):
                file.forget(key)

    def moved(self, old: tuple[int, bytes], new: tuple[int, bytes], info: os.stat_result) -> None:
        """Tell that a file has got another name; names are those in a folder."""
        if self.files:
            self._moves += 1
            kind = IN_ISDIR if stat.S_ISDIR(info.st_mode) else 0
            self.named(*old, IN_MOVED_FROM | kind, self._moves)
            self.named(*new, IN_MOVED_TO | kind, self._moves)
            self.happened(info, IN_MOVE_SELF)


class InotifyFile(File):
    """Watches by number, and the events that have not been read."""

    kind = "inotify"
    mode = 0o600

    def __init__(self, notes: Notes, waker: Waker, flags: int) -> None:
        super().__init__(flags)
        self._notes, self._waker = notes, waker
        self._watches: dict[int, Watch] = {}
        self._made = 0
        self._events: list[tuple[int, int, int, bytes]] = []  # watch, events, cookie, name
        notes.add(self)

    def watch(self, key: Key, mask: int, folder: str) -> int:
        """Watch a file, or change its watch; return the number of the watch."""
        for number, one in self._watches.items():
            if one.key == key:
                if mask & IN_MASK_CREATE:
                    raise LinuxError(EEXIST)
                one.mask = one.mask | mask if mask & IN_MASK_ADD else mask
                return number
        self._made += 1
        self._watches[self._made] = Watch(key, mask, folder)
        return self._made

    def remove(self, number: int) -> None:
        """Remove a watch; raises LinuxError(EINVAL) if there is none."""
        if self._watches.pop(number, None) is None:
            raise LinuxError(EINVAL)
        self._add(number, IN_IGNORED)

    def tell(self, key: Key, event: int, by_name: bool) -> None:
        """Note an event of a file, for its folder and for itself."""
        for number, one in list(self._watches.items()):
            wanted = one.mask & event & ALL_EVENTS
            if one.folder and by_name and wanted & _OF_NAMES and (name := one.name_of(key)):
                self._add_once(number, event, 0, name)
            if one.key == key and wanted:
                self._add_once(number, event)

    def tell_name(self, folder: Key, name: bytes, event: int, cookie: int) -> None:
        """Note an event of a name in a folder."""
        for number, one in list(self._watches.items()):
            if one.key == folder and one.mask & event & ALL_EVENTS:
                self._add_once(number, event, cookie, name)

    def forget(self, key: Key) -> None:
        """Remove the watch of a file that is gone."""
        for number, one in list(self._watches.items()):
            if one.key == key:
                if one.mask & IN_DELETE_SELF:
                    self._add(number, IN_DELETE_SELF)
                self.remove(number)

    def _add_once(self, number: int, event: int, cookie: int = 0, name: bytes = b"") -> None:
        one = self._watches.get(number)
        self._add(number, event, cookie, name)
        if one is not None and one.mask & IN_ONESHOT:
            self.remove(number)

    def _add(self, number: int, event: int, cookie: int = 0, name: bytes = b"") -> None:
        row = (number, event, cookie, name)
        if len(self._events) >= MOST_EVENTS:
            row = (-1, IN_Q_OVERFLOW, 0, b"")
        if self._events[-1:] != [row]:
            self._events.append(row)
            self._waker.wake(self._key)

    def read(self, size: int) -> bytes:
        if not self._events:
            self.wait()
        text = b""
        while self._events and len(text) + len(row := _row(*self._events[0])) <= size:
            text += row
            self._events.pop(0)
        if not text:
            raise LinuxError(EINVAL)
        return text

    def events(self) -> int:
        return READABLE if self._events else 0

    @property
    def _key(self) -> WaitKey:
        return ("inotify", self.number)

    def keys(self) -> tuple[WaitKey, ...]:
        return (self._key,)

    def request(self, request: int, argument: int) -> bytes:
        if request == FIONREAD:
            return sum(len(_row(*one)) for one in self._events).to_bytes(4, "little")
        return super().request(request, argument)

    def close(self) -> None:
        self._notes.files.remove(self)


def _row(number: int, event: int, cookie: int, name: bytes) -> bytes:
    """Return `struct inotify_event` with its name, padded to a multiple of its own size."""
    size = -(-(len(name) + 1) // INOTIFY_EVENT.size) * INOTIFY_EVENT.size if name else 0
    return INOTIFY_EVENT.pack(InotifyEvent(number, event, cookie, size)) + name.ljust(size, b"\0")
