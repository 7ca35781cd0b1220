"""Handles Ctrl-C: raises an exception only where no operation is half done.

Python's own handler raises KeyboardInterrupt wherever Python runs next. While the JIT runs, that is in a
callback of C, where an exception can get lost. So this handler only sets a flag, unless the process is
waiting, or the user presses Ctrl-C again.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

requested = False
_waiting = False


def _note(_signal: int, _frame: FrameType | None) -> None:
    global requested
    again, requested = requested, True
    if _waiting or again:
        raise KeyboardInterrupt


@contextmanager
def noted() -> Iterator[None]:
    """Take Ctrl-C as a request in this context. It has no effect in threads other than the main one."""
    global requested
    requested = False
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        requested = False
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def waiting() -> Iterator[None]:
    """Raise at once at a request in this context, as no guest code runs."""
    global _waiting
    _waiting = True
    try:
        check()
        yield
    finally:
        _waiting = False


def check() -> None:
    """Raise KeyboardInterrupt if there was a request."""
    if requested:
        raise KeyboardInterrupt
