"""Standard input, output and error of a command: whatever is wrong with them is one line and a status."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from pltvm.errors import ArgumentError, PltvmError
from pltvm.host.text import JSON_VERSION, one_line

_USAGE: Final = 2  # exit status of a command line that makes no sense
_STREAMS: Final = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))  # writing to a closed stdout fails


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def print_json(fields: Mapping[str, Any], indent: int | None = 2) -> None:
    """What a command was asked for, as one JSON object; docs/schemas has what is in each of them."""
    import json

    print(json.dumps({"version": JSON_VERSION, **fields}, indent=indent), flush=True)


def print_output(text: bytes) -> None:
    """What a guest prints, at once."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def print_error(text: bytes) -> None:
    """What a host program prints to its stderr, at once."""
    sys.stderr.buffer.write(text)
    sys.stderr.buffer.flush()


def run(command: Callable[[], None]) -> None:
    """Run a command to its SystemExit; every error of ours is one line on stderr and exit status 1.

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
    except OSError as error:  # files have messages of their own: this is about the streams
        _end(f"{error.filename or 'the output cannot be written'}: {error.strerror or error}", sink)
    except MemoryError:
        _end("out of memory", sink)


def _prepare() -> None:
    """Have three streams that can print any text, also where the caller closed some."""
    for number, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _end(message: str, sink: int, status: int = 1) -> None:
    """Say what is wrong, if anyone listens, and leave."""
    if message:
        with suppress(OSError):
            say(one_line(f"pltvm: {' '.join(message.splitlines())}"))
    _silence(sys.stdout, 1, sink)
    _silence(sys.stderr, 2, sink)
    sys.exit(status)


def _silence(stream: object, number: int, sink: int) -> None:
    """The interpreter flushes once more when it ends: what could not be written must not fail again."""
    try:
        stream.flush()  # type: ignore[attr-defined]
    except (OSError, ValueError):
        os.dup2(sink, number)
