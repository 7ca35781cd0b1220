"""Reads files that users name, without waiting or endless reading, and writes files atomically."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError
from pltvm.host.text import shown

_MOST: Final = 4 << 30  # bytes


def read_plain(path: str | os.PathLike[str], most: int = _MOST) -> bytes:
    """Return the bytes of a plain file. Raises PltvmError for other files, and for more than `most` bytes."""
    name = shown(os.fspath(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise PltvmError(f"{name}: is not a plain file")
            content = file.read(most + 1 if about.st_size else min(most, _UNSAID) + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PltvmError(f"{name}: cannot be read: {reason}") from None
    if len(content) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise PltvmError(f"{name}: has more than {size}")
    return content


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError in this context into a PltvmError: this file cannot be written."""
    try:
        yield
    except OSError as error:
        raise PltvmError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from None


_UNSAID: Final = 64 << 20  # limit for files without a size, as in /proc


def write_plain(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically: it is complete, or as it was before, whenever this process ends.

    Pipes and devices are written directly. Raises PltvmError when it cannot be written.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            Path(path).write_bytes(data)
            return
        place = Path(path).resolve()  # a link stays a link
        scratch = place.with_name(f".{place.name[:60]}.{os.getpid()}")
        with suppress(FileNotFoundError):
            scratch.unlink()  # left by a killed process
        try:
            with scratch.open("xb") as file:
                file.write(data)
            scratch.replace(place)
        except BaseException:
            with suppress(OSError):
                scratch.unlink()
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PltvmError(f"{shown(os.fspath(path))}: cannot be written: {reason}") from None
