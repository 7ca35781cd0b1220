"""Checks arguments of the Python API: accepts the obvious forms, and refuses others with one clear line.

A wrong type raises a TypeError that names the argument and what it may be; a wrong value raises an
ArgumentError, which is a ValueError and a PltvmError.
"""

import os
from collections.abc import Callable
from enum import Enum
from numbers import Real
from pathlib import Path
from typing import Any, Final, TypeVar

from pltvm.errors import ArgumentError
from pltvm.host.elf_headers import Source
from pltvm.host.plain_file import read_plain
from pltvm.host.shared import HostPages

_E = TypeVar("_E", bound=Enum)
_SHOWN: Final = 60  # characters of a value


def wrong(name: str, value: object, wanted: str) -> TypeError:
    """Return the TypeError for an argument of a wrong type."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return TypeError(f"{name} is {shown}, of type {type(value).__name__}: give {wanted}")


def number(name: str, value: Any, wanted: str = "a whole number") -> int:
    """Check and return a whole number; True and False are refused."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrong(name, value, wanted)
    return int(value.__index__())


def seconds(name: str, value: Any) -> float | None:
    """Check and return a time limit: positive, or None for none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong(name, value, "seconds, as a number, or None")
    limit = float(value)
    if not limit > 0:  # refuses NaN too
        raise ArgumentError(f"{name} is {value!r}: it must be more than 0 seconds")
    return limit


def function(name: str, value: Any) -> Any:
    """Check and return something callable, or None."""
    if value is not None and not callable(value):
        raise wrong(name, value, "a function, or None")
    return value


def text(name: str, value: Any) -> str:
    """Check and return a text."""
    if not isinstance(value, str):
        raise wrong(name, value, "a text")
    return value


def member(kind: type[_E], name: str, value: Any) -> _E:
    """Return a member of an enumeration, given itself or one of its names in any case."""
    if isinstance(value, kind):
        return value
    names = {name.lower(): one for name, one in kind.__members__.items()}
    if not isinstance(value, str):
        raise wrong(name, value, f"{kind.__name__}.{', '.join(one.name for one in kind)}, or a name of these")
    found = names.get(value.lower().replace(" ", "_"))
    if found is None:
        raise ArgumentError(f"{name} is {value!r}: it is one of {', '.join(map(repr, names))}")
    return found


def source(name: str, value: Any) -> Source:
    """Check and return an ELF: its path, or its bytes."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str | bytes | os.PathLike):
        raise wrong(name, value, "the path of an ELF, or its bytes")
    return value


def content(name: str, value: Any) -> bytes:
    """Return bytes, given as bytes, as text, or as the path of a file."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, Path):
        return read_plain(value)
    raise wrong(name, value, "bytes, a text, or the Path of a file")


def content_or_size(name: str, value: Any) -> bytes:
    """Return bytes as `content`; a number gives so many zeros."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return content(name, value)
    size = number(name, value)
    if size < 0:
        raise ArgumentError(f"{name} is {size}: it must be a number of bytes, or what is to be in them")
    return bytes(size)


def pages(name: str, value: Any, make: Callable[[bytes], HostPages]) -> tuple[HostPages | None, bool]:
    """Return pages for an enclave, or None, and whether they were made here from contents."""
    if value is None or isinstance(value, HostPages):
        return value, False
    try:
        data = content(name, value)
    except TypeError:
        wanted = "bytes, a text, the Path of a file, or what Machine.shm or Machine.relay gave"
        raise wrong(name, value, wanted) from None
    return make(data), True
