"""Plain data: what the parts of the host say that their state is, so that it can be copied and sent away.

Numbers, texts, bytes and other things that never change are shared between copies; lists, dictionaries, sets
and data classes are copied with all that is in them. Anything else is no plain data, and is refused: an open
file, a function, a part of the machine. See "Snapshots" in docs/design.md.
"""

from collections import Counter, deque
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from pltvm.host.symbols import Symbols

_T = TypeVar("_T")
_ATOMS: Final = frozenset({int, str, bytes, bool, float, type(None), Symbols})


def copied(value: _T) -> _T:
    """A copy that shares nothing with `value` that can change; raises TypeError for what is no plain data."""
    copy: Any = _copied(value)
    return copy  # type: ignore[no-any-return]


def put_back(target: object, saved: object) -> None:
    """Give `target`, a data class, the content of `saved`, another one of its kind; shares nothing either."""
    for field in fields(saved):  # type: ignore[arg-type]
        setattr(target, field.name, copied(getattr(saved, field.name)))


def _copied(value: Any) -> Any:
    kind: Any = type(value)
    if kind in _ATOMS or isinstance(value, Enum):
        return value
    if kind is dict or kind is Counter:
        copy: Any = kind(value)
        for key, one in value.items():
            if type(one) not in _ATOMS:
                copy[key] = _copied(one)
        return copy
    if kind in (list, deque):
        return kind(one if type(one) in _ATOMS else _copied(one) for one in value)
    if isinstance(value, tuple):
        for one in value:
            _copied(one)  # which is what refuses it
        return value
    if kind in (set, bytearray):
        return kind(value)
    if is_dataclass(value):
        if kind.__dataclass_params__.frozen:
            return value
        copy = object.__new__(kind)
        put_back(copy, value)
        return copy
    raise TypeError(f"{kind.__name__} is no plain data")
