"""The ELFs of a session as files, which a debugger can read by the protocol (`vFile`); no others.

An ELF that was given by path has that path, so that its debug information beside it is found too; one that
was given as bytes has a generated name.
"""

import os
import re
from errno import EBADF, EINVAL, ENOENT, EPERM
from pathlib import Path
from struct import Struct
from typing import Final

from pltvm.debug.viewing import View, Views
from pltvm.errors import ElfError
from pltvm.host.elf_headers import read_source

_STAT: Final = Struct(">7I3Q3I")
_PLAIN_FILE: Final = 0o100444
_BLOCK: Final = 4096
_MOST: Final = 64  # open at a time
_NUMBERS: Final = {EPERM: 1, ENOENT: 2, EBADF: 9, EINVAL: 22}  # of the protocol


def path_of(view: View) -> str:
    """Return the name of a view's ELF."""
    if isinstance(view.elf, bytes):
        name = re.sub(r"[^\w.+-]", "_", view.name.rsplit("/", 1)[-1])
        return f"/pltvm/{view.number}/{name}" if view.elf else ""
    return os.path.abspath(view.elf)


class Files:
    """Open files by number."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._open: dict[int, bytes] = {}
        self._known: dict[str, bytes] = {}

    def path(self, view: View) -> str:
        """Return the path of a view's ELF, and make it readable."""
        name = path_of(view)
        if name and name not in self._known:
            try:
                self._known[name] = read_source(view.elf)
            except ElfError:
                return ""
        return name

    def _of_root(self, name: str) -> bytes | None:
        """Return the file that the host program finds at this path, for its libraries, or None."""
        system = self._views.system
        if system is None:
            return None
        from pltvm.host.linux.errors import LinuxError

        try:
            return system.fs.interpreter(os.fsencode(name)).data
        except (LinuxError, OSError):
            return None

    def answer(self, packet: bytes) -> bytes:
        """Return the reply to the part of a packet after `vFile:`."""
        what, _, rest = packet.partition(b":")
        parts = rest.split(b",")
        try:
            if what == b"setfs":
                return b"F0"
            if what == b"open":
                return self._open_it(bytes.fromhex(parts[0].decode("ascii")).decode("utf-8", "replace"))
            if what == b"pread":
                number, size, at = (int(part, 16) for part in parts)
                data = self._open[number][at : at + min(size, 0x8000)]
                return b"F%x;%b" % (len(data), data)
            if what == b"fstat":
                return _with_stat(self._open[int(parts[0], 16)])
            if what == b"close":
                del self._open[int(parts[0], 16)]
                return b"F0"
        except (ValueError, IndexError, UnicodeError):
            return _failed(EINVAL)
        except KeyError:
            return _failed(EBADF)
        return b"" if what != b"readlink" else _failed(EINVAL)

    def _open_it(self, name: str) -> bytes:
        for view in self._views.all():
            self.path(view)
        data = self._known.get(name)
        if data is None:
            data = self._of_root(name)
        if data is None or len(self._open) >= _MOST:
            return _failed(ENOENT)
        number = next(number for number in range(_MOST) if number not in self._open)
        self._open[number] = data
        return b"F%x" % number


def _failed(number: int) -> bytes:
    return b"F-1,%x" % _NUMBERS[number]


def _with_stat(data: bytes) -> bytes:
    size = len(data)
    fields = (0, 0, _PLAIN_FILE, 1, 0, 0, 0, size, _BLOCK, -(-size // 512), 0, 0, 0)
    return b"F%x;%b" % (_STAT.size, _STAT.pack(*fields))


def script() -> Path:
    """Return the script that gdb runs."""
    return Path(__file__).with_name("script.py")
