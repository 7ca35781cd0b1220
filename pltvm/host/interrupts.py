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
        self._limiter: threading.Thread | None = None
        self._listens = False

    def __enter__(self) -> "Watch":
        if self._timeout is not None:
            self._limiter = threading.Thread(target=self._limit, daemon=True)
            self._limiter.start()
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            _Listener.begin(self)
            self._listens = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        if self._listens:
            _Listener.end()
        if self._limiter is not None:
            self._limiter.join()

    def _limit(self) -> None:
        assert self._timeout is not None
        if not self._over.wait(self._timeout):
            self.timed_out = True
            self.insist()

    def insist(self) -> None:
        """Ask the hart to stop until the run is over."""
        while not self._over.is_set():
            self._hart.interrupt()
            time.sleep(_AGAIN)


class _Listener:
    """The thread that sees Ctrl-C: one for the process, as starting it takes longer than a short run."""

    _ends: tuple[socket.socket, socket.socket] | None = None
    _watch: Watch | None = None
    _old_fd = -1

    @classmethod
    def begin(cls, watch: Watch) -> None:
        """Stop the run of `watch` when Ctrl-C comes; main thread only."""
        if cls._ends is None:
            cls._ends = socket.socketpair()
            cls._ends[1].setblocking(False)
            threading.Thread(target=cls._listen, args=(cls._ends[0],), daemon=True).start()
        cls._watch = watch
        cls._old_fd = signal.set_wakeup_fd(cls._ends[1].fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, cls._note)

    @classmethod
    def end(cls) -> None:
        """Give Ctrl-C back to Python."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(cls._old_fd)
        cls._watch = None

    @classmethod
    def _note(cls, _signal: int, _frame: FrameType | None) -> None:
        if cls._watch is not None:
            cls._watch.cancelled = True

    @classmethod
    def _listen(cls, end: socket.socket) -> None:
        while number := end.recv(1):
            watch = cls._watch
            if watch is not None and number[0] == signal.SIGINT:
                watch.cancelled = True
                watch.insist()
