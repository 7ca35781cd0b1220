"""Stops a guest that does not stop by itself: at a time limit, or at Ctrl-C.

Both are requests to the hart, see `pltvm.engine.halt`, made by a thread. Python code does not run while the
JIT runs, so a Python signal handler would wait forever. The interpreter's C handler therefore also writes the
signal's number to a pipe, which a thread reads. The Python handler only sets a flag, as it may run in the
middle of a monitor call.
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
_AGAIN: Final = 0.01  # seconds between requests to leave guest code: a request between two runs is lost


class Watch:
    """Context manager around one run of `hart`: stops it after `timeout` seconds, or on Ctrl-C.

    `timed_out` and `cancelled` say which it was. Ctrl-C is handled only in the main thread, and only if
    Python's own handler is installed; the caller raises KeyboardInterrupt. A second Ctrl-C raises it at once,
    because then the caller's own code, which nothing here can stop, prevents the end of the run.
    """

    def __init__(self, hart: Hart, timeout: float | None) -> None:
        self._hart = hart
        self._timeout = timeout
        self._halt, self._before = Halt(), hart.halt
        self._over = threading.Event()
        self._kicking = threading.Lock()  # held while the hart is accessed: never after the run
        self._limiter: threading.Thread | None = None
        self._listens = False

    @property
    def timed_out(self) -> bool:
        """Whether the time limit stopped it."""
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
        while not self._over.wait(min(max(left, 0), threading.TIMEOUT_MAX)):
            left = end + self._halt.stood - time.monotonic()  # a debugger may have stopped it meanwhile
            if left <= 0:
                self.insist(TIME_LIMIT)
                return

    def ask(self, reason: str) -> None:
        """Ask the run to end; for a signal handler, which must not wait."""
        self._halt.ask(reason)

    def insist(self, reason: str) -> None:
        """Ask the run to end, and repeat that until it has."""
        self.ask(reason)
        while True:
            with self._kicking:
                if self._over.is_set():
                    return
                self._hart.interrupt()
            self._over.wait(_AGAIN)


class _Listener:
    """The thread that notices Ctrl-C: one for the process, as starting it takes longer than a short run."""

    _pipe: tuple[int, int] | None = None  # descriptors: reading and writing end
    _watches: Final[list[Watch]] = []  # the innermost last: a callback of one run may run another machine
    _old_fd = -1
    _noted = False

    @classmethod
    def begin(cls, watch: Watch) -> bool:
        """Stop the run of `watch` at Ctrl-C; False if another handler has Ctrl-C. In the main thread."""
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
        """Give Ctrl-C back to Python, unless this run is inside another one."""
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
        """Forget the thread, which does not exist in a forked process."""
        if cls._pipe is not None:
            for end in cls._pipe:
                os.close(end)
        cls._pipe = None
        cls._watches.clear()


os.register_at_fork(after_in_child=_Listener.forget)
