"""Stopping a guest that does not stop: a time limit, and Ctrl-C.

While the JIT runs, Python code does not, so a Python signal handler would wait for ever. A signal's number
is therefore also written to a socket by the interpreter's C handler, where a thread sees it and asks the
hart to stop. The Python handler itself only takes a note, as it may run in the middle of a monitor call.
"""

import signal
import socket
import threading
import time
from types import FrameType, TracebackType
from typing import Final

from pltvm.engine.hart import Hart

_AGAIN: Final = 0.01  # seconds between requests, as one that comes between two runs is forgotten


class Watch:
    """Context manager around one run of `hart`: stops it after `timeout` seconds, or on Ctrl-C.

    `timed_out` and `cancelled` say which it was. Ctrl-C is taken in the main thread only, and only where
    Python's own handler stands; KeyboardInterrupt is left to the caller to raise.
    """

    def __init__(self, hart: Hart, timeout: float | None) -> None:
        self.timed_out = False
        self.cancelled = False
        self._hart = hart
        self._timeout = timeout
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._old_fd = -1

    def __enter__(self) -> "Watch":
        if self._timeout is not None:
            self._start(self._limit)
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._sockets = socket.socketpair()
            for end in self._sockets:
                end.setblocking(False)
            self._old_fd = signal.set_wakeup_fd(self._sockets[1].fileno(), warn_on_full_buffer=False)
            signal.signal(signal.SIGINT, self._note)
            self._start(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        if self._sockets is not None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(self._old_fd)
            self._sockets[1].close()  # ends the listener
        for thread in self._threads:
            thread.join()
        if self._sockets is not None:
            self._sockets[0].close()

    def _start(self, body: object) -> None:
        thread = threading.Thread(target=body, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.cancelled = True

    def _limit(self) -> None:
        assert self._timeout is not None
        if not self._over.wait(self._timeout):
            self.timed_out = True
            self._insist()

    def _listen(self) -> None:
        assert self._sockets is not None
        listener = self._sockets[0]
        listener.setblocking(True)
        if listener.recv(1):
            self.cancelled = True
            self._insist()

    def _insist(self) -> None:
        while not self._over.is_set():
            self._hart.interrupt()
            time.sleep(_AGAIN)
