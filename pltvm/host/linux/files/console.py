"""The standard streams of the first process, and /dev/tty.

They are of the same kind as outside: terminals, or else pipes. But for programs that run enclaves
(`shows_lines`) they always look like terminals to a C library, which then writes each line at once, so that
output of the program and of its enclaves is in the right order. The ioctl by which `ls` asks for a terminal
still gets the true answer (`is_terminal`).
"""

import stat
from collections.abc import Callable
from errno import EBADF, ENOTTY, EPIPE
from struct import pack
from typing import Any, Final, Protocol, runtime_checkable

from pltvm.errors import FromCallback, SnapshotError
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import DEVICES, READABLE, WRITABLE, File, Status
from pltvm.host.linux.open_flags import O_RDONLY, O_RDWR, O_WRONLY
from pltvm.host.linux.outside import events_of
from pltvm.host.linux.waits import Key

STDIN, STDOUT, STDERR = "standard input", "standard output", "standard error"
TERMINAL: Final = 136 << 8  # the device number of /dev/pts/0
_TCGETS, _TIOCGWINSZ = 0x5401, 0x5413
# c_iflag, c_oflag, c_cflag, c_lflag, c_line and control characters of a usual terminal
_TERMIOS: Final = pack("<4IB19s", 0x500, 5, 0xBF, 0x8A3B, 0, b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a")
_SIZE: Final = pack("<4H", 24, 80, 0, 0)


class Console(File):
    """The common part of both directions."""

    mode = stat.S_IFCHR | 0o620
    is_terminal = False
    shows_lines = False

    def status(self) -> Status:
        if self.is_terminal or self.shows_lines:
            return Status(self.mode, inode=100, device=DEVICES, kind_of_device=TERMINAL)
        return Status(stat.S_IFIFO | 0o600, inode=100, device=DEVICES)

    def name(self) -> bytes:
        return b"/dev/pts/0" if self.is_terminal else b"pipe:[100]"

    def again(self, flags: int) -> File:
        return self  # there is only one

    def request(self, request: int, argument: int) -> bytes:
        if request == _TIOCGWINSZ and (self.is_terminal or self.shows_lines):
            return _SIZE
        if request == _TCGETS and self.is_terminal:
            return _TERMIOS
        raise LinuxError(ENOTTY)


class Output(Console):
    """Standard output or error."""

    def __init__(self, sink: Callable[[bytes], None], name: str = STDOUT, is_terminal: bool = False) -> None:
        super().__init__(O_WRONLY)
        self.kind = name  # type: ignore[misc]  # a kind with one file
        self.is_terminal = is_terminal
        self._sink = sink

    def read(self, size: int) -> bytes:
        raise LinuxError(EBADF)

    def write(self, data: bytes) -> int:
        try:
            self._sink(data)
        except FromCallback as error:
            if isinstance(error.original, BrokenPipeError):  # the program gets what it gets on Linux
                raise LinuxError(EPIPE) from None
            raise
        return len(data)

    def save(self) -> Any:
        return self.shows_lines

    def after_load(self, state: Any) -> None:
        self.shows_lines = bool(state)


@runtime_checkable
class Rewindable(Protocol):
    """A source that can be read again from a former position."""

    position: int

    def __call__(self, size: int) -> bytes:
        """Return up to `size` bytes; none at its end."""


class Input(Console):
    """Standard input: the bytes of its source, then the end.

    Reading waits for the outside world, and no thread runs meanwhile. With a `descriptor`, which the system
    then watches (`outside`), other threads run, as with any other file.
    """

    kind = STDIN
    own: tuple[Key, Key] = ((STDIN,), (STDIN,))
    descriptor = -1

    def __init__(self, source: Callable[[int], bytes], is_terminal: bool = False) -> None:
        super().__init__(O_RDONLY)
        self.is_terminal = is_terminal
        self._source = source
        self.was_read = False

    def read(self, size: int) -> bytes:
        return self.take(size, self)

    def take(self, size: int, file: File) -> bytes:
        """Read it for a file that refers to it."""
        if size and not self.events():
            file.wait(*self.own[:1])
        self.was_read = True
        return self._source(size)

    def events(self) -> int:
        return READABLE if self.descriptor < 0 else events_of(self.descriptor, READABLE)

    def keys(self) -> tuple[Key, ...]:
        return self.own[:1]

    def write(self, data: bytes) -> int:
        raise LinuxError(EBADF)

    def save(self) -> Any:
        self.check()
        return self.shows_lines, self._source.position if isinstance(self._source, Rewindable) else 0

    def after_load(self, state: Any) -> None:
        shows_lines, position = state
        self.shows_lines = bool(shows_lines)
        if isinstance(self._source, Rewindable):
            self._source.position = position

    def check(self) -> None:
        """Raise SnapshotError if something was read that cannot be read again."""
        if self.was_read and not isinstance(self._source, Rewindable):
            raise SnapshotError("standard input: some was read, which cannot be read again: save before that")


class Terminal(Console):
    """/dev/tty: standard input and output in one."""

    kind = "/dev/tty"

    def __init__(self, source: Input, sink: Output, flags: int = O_RDWR) -> None:
        super().__init__(flags)
        self._source, self._sink = source, sink
        self.is_terminal = source.is_terminal

    def read(self, size: int) -> bytes:
        return self._source.take(size, self)

    def events(self) -> int:
        return self._source.events() | WRITABLE

    def keys(self) -> tuple[Key, ...]:
        return self._source.keys()

    def write(self, data: bytes) -> int:
        return self._sink.write(data)

    def save(self) -> Any:
        return None
