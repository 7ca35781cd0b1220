"""Reading a file that somebody names: no wait at a pipe, nothing without end, one line for what is wrong."""

import os
import stat
from typing import Final

from pltvm.errors import PltvmError
from pltvm.host.text import shown

_MOST: Final = 4 << 30  # bytes


def read_plain(path: str | os.PathLike[str], most: int = _MOST) -> bytes:
    """The bytes of a plain file. Raises PltvmError for anything else, and for one of more than `most`."""
    name = shown(os.fspath(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise PltvmError(f"{name}: is no plain file")
            content = file.read(most + 1 if about.st_size else min(most, _UNSAID) + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PltvmError(f"{name}: cannot be read: {reason}") from None
    if len(content) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise PltvmError(f"{name}: has more than {size}")
    return content


_UNSAID: Final = 64 << 20  # bytes that are read of a file that does not say how many it has: /proc
