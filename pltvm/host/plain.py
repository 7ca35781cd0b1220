"""Plain data: the form in which parts of the host declare their state, so that it can be copied and pickled.

Numbers, texts, bytes and other immutable values are shared between copies; lists, dictionaries, sets and data
classes are copied with their contents. Anything else is not plain data, and is refused: an open
file, a function, a part of the machine. See "Snapshots" in docs/design.md.
"""

from collections import Counter, deque
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from pltvm.host.symbols import Symbols

_T = TypeVar("_T")
_ATOMS: Final = frozenset({int, str, bytes, bool, float, type(None), Symbols})


def copied(value: _T) -> _T:
    """Return a copy that shares no mutable part with `value`. TypeError if it is not plain data."""
    copy: Any = _copied(value)
    return copy  # type: ignore[no-any-return]


def put_back(target: object, saved: object) -> None:
    """Give `target`, a data class, a copy of the content of `saved`, another instance of its class."""
    for name in _names(type(saved)):
        now, then = getattr(target, name), getattr(saved, name)
        if now is not then and not _same(now, then):
            setattr(target, name, copied(then))


def restored(now: _T, saved: _T) -> _T:
    """Return `now` if it equals `saved`, as comparing is faster than copying; else a copy of `saved`."""
    return now if _same(now, saved) else copied(saved)


class Part(Generic[_T]):
    """A part of the host whose whole state is `state`, one piece of plain data."""

    state: _T

    def save(self) -> _T:
        """Return a copy of the state."""
        return copied(self.state)

    def load(self, saved: _T) -> None:
        """Restore the state."""
        self.state = restored(self.state, saved)


_fields: dict[type, tuple[str, ...]] = {}  # cached field names of data classes


def _names(kind: type) -> tuple[str, ...]:
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(field.name for field in fields(kind))
    return names


def _same(now: Any, saved: Any) -> bool:
    """Whether two pieces of plain data are equal, also in order.

    The values of a dictionary or list have one type, so the first shows whether they need a deep comparison.
    """
    kind: Any = type(now)
    if kind is not type(saved):
        return False
    if kind in _ATOMS or kind in (set, bytearray):
        return bool(now == saved)
    if kind is dict or kind is Counter:
        if list(now) != list(saved):
            return False
        if type(next(iter(now.values()), None)) in _ATOMS:
            return bool(now == saved)
        return all(map(_same, now.values(), saved.values()))
    if kind in (list, deque):
        if len(now) != len(saved) or not now or type(now[0]) in _ATOMS:
            return bool(now == saved)
        return all(map(_same, now, saved))
    if isinstance(now, tuple):
        return len(now) == len(saved) and all(map(_same, now, saved))
    if is_dataclass(now):
        return all(_same(getattr(now, name), getattr(saved, name)) for name in _names(kind))
    return bool(now == saved)


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
            _copied(one)  # raises for other values
        return value
    if kind in (set, bytearray):
        return kind(value)
    if is_dataclass(value):
        if kind.__dataclass_params__.frozen:
            return value
        copy = object.__new__(kind)
        for name in _names(kind):
            setattr(copy, name, _copied(getattr(value, name)))
        return copy
    raise TypeError(f"{kind.__name__} is not plain data")
