"""Ctrl-C: an exception only where nothing is half done.

Python's own handler raises KeyboardInterrupt wherever Python runs next. While the JIT runs that is in a
callback of C, where an exception can get lost. So here the handler only takes a note, unless the process
waits, or the user insists.
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
    """Take Ctrl-C as a request meanwhile. In another thread than the main one it changes nothing."""
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
    """No guest code runs meanwhile: a request is an exception at once."""
    global _waiting
    _waiting = True
    try:
        check()
        yield
    finally:
        _waiting = False


def check() -> None:
    """Raise KeyboardInterrupt if it was requested."""
    if requested:
        raise KeyboardInterrupt
