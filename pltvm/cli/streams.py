"""Standard input, output and error of a command: errors with them give one line and a status."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from errno import EAGAIN
from typing import Any, Final, TextIO

from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.text import JSON_VERSION, one_line

_USAGE: Final = 2  # exit status of an invalid command line
_STREAMS: Final = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))  # writing to a closed stdout fails


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr)


def print_json(fields: Mapping[str, Any], indent: int | None = 2) -> None:
    """Print the result of a command as one JSON object; docs/schemas has its schema."""
    import json

    print(json.dumps({"version": JSON_VERSION, **fields}, indent=indent), flush=True)


def print_output(text: bytes) -> None:
    """Write output of a guest at once."""
    _write_through(sys.stdout, text)


def print_error(text: bytes) -> None:
    """Write a host program's stderr at once."""
    _write_through(sys.stderr, text)


def _write_through(stream: TextIO, text: bytes) -> None:
    """Write without a buffer, which would keep, and try again, what could not be written."""
    stream.flush()
    raw = getattr(stream.buffer, "raw", stream.buffer)
    left = memoryview(text)
    while left:
        done = raw.write(left)
        if done is None:
            raise BlockingIOError(EAGAIN, "the output does not wait")
        left = left[done:]


def run(command: Callable[[], None]) -> None:
    """Run a command to its SystemExit; every PltvmError gives one line on stderr and exit status 1.

    An `ArgumentError` is wrong usage, and the status 2.
    """
    _prepare()
    sink = os.open(os.devnull, os.O_WRONLY)  # now: a confined process may not open it
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except ArgumentError as error:
        _end(str(error), sink, _USAGE)
    except PltvmError as error:
        _end(str(error), sink)
    except BrokenPipeError:
        _end("", sink)
    except OSError as error:  # errors of files have their own messages: this is one of the streams
        _end(f"{error.filename or 'the output cannot be written'}: {error.strerror or error}", sink)
    except MemoryError:
        _end("out of memory", sink)


def _prepare() -> None:
    """Make all three streams usable for any text, also if the caller has closed some."""
    for number, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _end(message: str, sink: int, status: int = 1) -> None:
    """Print the message, if possible, and exit."""
    if message:
        with suppress(OSError):
            say(one_line(f"pltvm: {' '.join(message.splitlines())}"))
    _silence(sys.stdout, 1, sink)
    _silence(sys.stderr, 2, sink)
    sys.exit(status)


def _silence(stream: object, number: int, sink: int) -> None:
    """Redirect a stream to /dev/null, so that the interpreter's last flush does not fail again."""
    try:
        stream.flush()  # type: ignore[attr-defined]
    except (OSError, ValueError):
        os.dup2(sink, number)
