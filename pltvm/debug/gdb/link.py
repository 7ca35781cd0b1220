"""One client, on a socket of this machine or a pipe: a thread reads what it sends, also while the guest runs.

There is one client. Whoever else connects meanwhile is refused.
"""

import os
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pltvm.debug.gdb.packets import Framer, Item, Mark, frame
from pltvm.engine.halt import Halt
from pltvm.errors import PltvmError

LOOPBACK: Final = "127.0.0.1"
_READ: Final = 1 << 16


class Closed(Exception):
    """The client is gone."""


class Link:
    """The client at these descriptors. `on_interrupt` is called in another thread: it wants the run to stop;
    `on_close` likewise, when the client is gone."""

    def __init__(self, source: int, sink: int, keeps: object = None) -> None:
        self._source, self._sink = source, sink
        self._keeps = keeps
        self._framer, self._items = Framer(), deque[Item]()
        self._wake = os.pipe()
        self._last = b""
        self.acknowledges = True
        self.closed = False
        self.on_interrupt: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """From now on it is listened to."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                data = os.read(self._source, _READ)
            except OSError:
                data = b""
            if not data:
                break
            for item in self._framer.feed(data):
                if item is Mark.INTERRUPT:
                    self.on_interrupt()
                    continue
                if self.acknowledges and item is not Mark.AGAIN and item is not Mark.ACK:
                    self._write(b"-" if item is Mark.BAD else b"+")
                    if self._items and self._items[-1] == item:
                        continue  # sent once more, as it was not acknowledged in time
                self._items.append(item)
                os.write(self._wake[1], b"!")
        self.closed = True
        os.write(self._wake[1], b"!")
        self.on_close()

    def packet(self, halt: Halt | None = None) -> bytes:
        """The next packet. Raises Closed; Interrupted when the run is to end."""
        while True:
            if halt is not None:
                halt.wait(descriptor=self._wake[0])
            os.read(self._wake[0], 1)
            item = self._items.popleft() if self._items else None
            if item is None:
                if self.closed:
                    os.write(self._wake[1], b"!")  # and whoever asks again
                    raise Closed
            elif item is Mark.AGAIN:
                self._write(self._last)
            elif isinstance(item, bytes):
                return item

    def send(self, payload: bytes) -> None:
        """A packet to the client."""
        self._last = frame(payload)
        self._write(self._last)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with suppress(OSError):  # it is gone, which who reads finds out
            while view:
                view = view[os.write(self._sink, view) :]

    def close(self) -> None:
        """Let the client go."""
        if isinstance(self._keeps, socket.socket):
            with suppress(OSError):
                self._keeps.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Its socket is no more."""
        if isinstance(self._keeps, socket.socket):
            self._keeps.close()


class Listener:
    """Waits for a client at a port of this machine (0: any that is free), at the path of a socket, or at a
    socket that somebody else listens at, by its number."""

    def __init__(self, port: int = 0, path: Path | None = None, number: int | None = None) -> None:
        """Raises PltvmError where that is not to be had."""
        self._path = path
        try:
            if number is not None:
                self._socket = socket.socket(fileno=number)
            elif path is None:
                self._socket = socket.create_server((LOOPBACK, port))
            else:
                _remove_stale(path)
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.bind(os.fspath(path))
                path.chmod(0o600)
                self._socket.listen()
        except OSError as error:
            what = f"port {port}" if path is None else str(path)
            raise PltvmError(f"{what}: cannot be listened at: {_reason(error)}") from None

    @property
    def address(self) -> str:
        """What gdb's `target remote` takes."""
        return f"{LOOPBACK}:{self._socket.getsockname()[1]}" if self._path is None else str(self._path)

    def client(self) -> Link:
        """Wait for the client; from then on others are refused."""
        connection, _ = self._socket.accept()
        if self._socket.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._refuse, daemon=True).start()
        link = Link(connection.fileno(), connection.fileno(), connection)
        link.begin()
        return link

    def _refuse(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return

    def close(self) -> None:
        """Nobody is listened to any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _remove_stale(path: Path) -> None:
    """A socket at the path that nobody listens at any more makes room."""
    with suppress(OSError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(os.fspath(path))
                except ConnectionRefusedError:
                    path.unlink()
