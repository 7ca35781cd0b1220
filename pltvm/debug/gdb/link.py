"""One client, on a local socket or a pipe: a thread reads its packets, also while the guest runs.

There is one client; other connections are refused meanwhile.
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
    """The client has disconnected."""


class Link:
    """The client at these descriptors. `on_interrupt` is called, in another thread, when it wants the run to
    stop; `on_close`, also there, when it has disconnected."""

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
        """Start to read from it."""
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
                        continue  # repeated, as it was not acknowledged in time
                self._items.append(item)
                os.write(self._wake[1], b"!")
        self.closed = True
        os.write(self._wake[1], b"!")
        self.on_close()

    def packet(self, halt: Halt | None = None) -> bytes:
        """Return the next packet. Raises Closed; Interrupted if the run should end."""
        while True:
            if halt is not None:
                halt.wait(descriptor=self._wake[0])
            os.read(self._wake[0], 1)
            item = self._items.popleft() if self._items else None
            if item is None:
                if self.closed:
                    os.write(self._wake[1], b"!")  # wakes later calls too
                    raise Closed
            elif item is Mark.AGAIN:
                self._write(self._last)
            elif isinstance(item, bytes):
                return item

    def send(self, payload: bytes) -> None:
        """Send a packet to the client."""
        self._last = frame(payload)
        self._write(self._last)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with suppress(OSError):  # disconnected, which the reading thread notices
            while view:
                view = view[os.write(self._sink, view) :]

    def close(self) -> None:
        """Disconnect the client."""
        if isinstance(self._keeps, socket.socket):
            with suppress(OSError):
                self._keeps.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Close its socket."""
        if isinstance(self._keeps, socket.socket):
            self._keeps.close()


class Listener:
    """Waits for a client at a port of this machine (0: any free one), at the path of a socket, or at a
    listening socket given by its descriptor."""

    def __init__(self, port: int = 0, path: Path | None = None, number: int | None = None) -> None:
        """Listen; raises PltvmError if that fails."""
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
        """The address for gdb's `target remote`."""
        return f"{LOOPBACK}:{self._socket.getsockname()[1]}" if self._path is None else str(self._path)

    def client(self) -> Link:
        """Wait for the client; others are refused from then on."""
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
        """Stop listening."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _remove_stale(path: Path) -> None:
    """Remove a socket at the path that has no listener any more."""
    with suppress(OSError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(os.fspath(path))
                except ConnectionRefusedError:
                    path.unlink()
