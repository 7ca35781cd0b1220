"""Stopping a guest that does not stop: a time limit, and Ctrl-C.

Either is a request to the hart, see `pltvm.engine.halt`, made by a thread. While the JIT runs, Python code
does not, so a Python signal handler would wait for ever. A signal's number is therefore also written to a
pipe by the interpreter's C handler, where a thread sees it. The Python handler itself only takes a note, as
it may run in the middle of a monitor call.
"""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Final

from pltvm.engine.halt import Halt
from pltvm.engine.hart import Hart

TIME_LIMIT: Final = "time limit"
CTRL_C: Final = "Ctrl-C"
_AGAIN: Final = 0.01  # seconds between requests to leave guest code: one that comes between two runs is lost


class Watch:
    """Context manager around one run of `hart`: stops it after `timeout` seconds, or on Ctrl-C.

    `timed_out` and `cancelled` say which it was. Ctrl-C is taken in the main thread only, and only where
    Python's own handler stands; KeyboardInterrupt is left to the caller to raise. A second Ctrl-C raises it
    at once: then the caller's own code, which nothing here can stop, keeps the run from ending.
    """

    def __init__(self, hart: Hart, timeout: float | None) -> None:
        self._hart = hart
        self._timeout = timeout
        self._halt, self._before = Halt(), hart.halt
        self._over = threading.Event()
        self._kicking = threading.Lock()  # held while the hart is touched: never after the run
        self._limiter: threading.Thread | None = None
        self._listens = False

    @property
    def timed_out(self) -> bool:
        """Whether the time limit was what stopped it."""
        return self._halt.reason == TIME_LIMIT

    @property
    def cancelled(self) -> bool:
        """Whether Ctrl-C came before anything else stopped it."""
        return self._halt.reason == CTRL_C

    def __enter__(self) -> "Watch":
        self._hart.halt = self._halt
        if self._timeout is not None:
            self._limiter = threading.Thread(target=self._limit, daemon=True)
            self._limiter.start()
        if threading.current_thread() is threading.main_thread():
            self._listens = _Listener.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with self._kicking:
            self._over.set()
        if self._listens:
            _Listener.end(self)
        if self._limiter is not None:
            self._limiter.join()
        self._hart.halt = self._before

    def _limit(self) -> None:
        assert self._timeout is not None
        end, left = time.monotonic() + self._timeout, self._timeout
        while not self._over.wait(max(left, 0)):
            left = end + self._halt.stood - time.monotonic()  # a debugger may have held it up
            if left <= 0:
                self.insist(TIME_LIMIT)
                return

    def ask(self, reason: str) -> None:
        """The run is to end: for a handler of signals, which may not wait."""
        self._halt.ask(reason)

    def insist(self, reason: str) -> None:
        """Have the run end, and wait until it has."""
        self.ask(reason)
        while True:
            with self._kicking:
                if self._over.is_set():
                    return
                self._hart.interrupt()
            self._over.wait(_AGAIN)


class _Listener:
    """The thread that sees Ctrl-C: one for the process, as starting it takes longer than a short run."""

    _pipe: tuple[int, int] | None = None  # descriptors: reading and writing end
    _watches: Final[list[Watch]] = []  # the innermost last: a callback of one run may run another machine
    _old_fd = -1
    _noted = False

    @classmethod
    def begin(cls, watch: Watch) -> bool:
        """In the main thread: stop the run of `watch` at Ctrl-C; False where that is somebody else's."""
        if not cls._watches:
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                return False
            if cls._pipe is None:
                cls._pipe = os.pipe()
                os.set_blocking(cls._pipe[1], False)
                threading.Thread(target=cls._listen, args=(cls._pipe[0],), daemon=True).start()
            cls._old_fd = signal.set_wakeup_fd(cls._pipe[1], warn_on_full_buffer=False)
            cls._noted = False
            signal.signal(signal.SIGINT, cls._note)
        cls._watches.append(watch)
        return True

    @classmethod
    def end(cls, watch: Watch) -> None:
        """Give Ctrl-C back to Python, unless another run is around this one."""
        cls._watches.remove(watch)
        if not cls._watches:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(cls._old_fd)

    @classmethod
    def _note(cls, _signal: int, _frame: FrameType | None) -> None:
        again, cls._noted = cls._noted, True
        cls._ask()
        if again:
            raise KeyboardInterrupt

    @classmethod
    def _ask(cls) -> list[Watch]:
        watches = list(cls._watches)
        for watch in watches:
            watch.ask(CTRL_C)
        return watches

    @classmethod
    def _listen(cls, end: int) -> None:
        while number := os.read(end, 1):
            if number[0] == signal.SIGINT:
                for watch in reversed(cls._ask()):
                    watch.insist(CTRL_C)

    @classmethod
    def forget(cls) -> None:
        """In a forked process: the thread stays behind."""
        if cls._pipe is not None:
            for end in cls._pipe:
                os.close(end)
        cls._pipe = None
        cls._watches.clear()


os.register_at_fork(after_in_child=_Listener.forget)
