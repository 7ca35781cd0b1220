"""Snapshot of Python objects: what the monitor and the host remember, put back in place.

Everything mutable that can be reached from the roots is noted once: attributes, lists, dictionaries, sets,
the registers of contexts. `restore` puts the noted contents back into the same objects, so that references
stay good. Guest memory is not ours (see `snapshot`), nor are functions, numbers and frozen things.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Any

from pltvm.engine.context import Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import Memory
from pltvm.host.symbols import Symbols

_LEFT_ALONE = (Memory, Hart, Symbols, type)
_CONTAINERS = (list, dict, set, array, bytearray)  # which compare by content


class ObjectSnapshot:
    """The contents of everything that `roots` lead to, as they are now; `without` stays as it is."""

    def __init__(self, *roots: object, without: object) -> None:
        self._without = without
        self._seen: dict[int, object] = {}  # by id; keeps them alive, so that ids stay theirs
        self._attributes: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        self._contexts: list[tuple[memoryview, memoryview]] = []
        self._restorers: list[Callable[[], None]] = []
        waiting = list(roots)
        while waiting:
            waiting.extend(self._note(waiting.pop()))

    def restore(self) -> None:
        """Put all of it back."""
        for attributes, saved, containers in self._attributes:
            if attributes != saved:
                attributes.clear()
                attributes.update(saved)
            elif containers:
                attributes.update(containers)
        for registers, values in self._contexts:
            registers[:] = values
        for restorer in self._restorers:
            restorer()

    def _note(self, one: Any) -> Iterator[object]:
        """Note an object; gives those that it leads to."""
        if id(one) in self._seen or isinstance(one, _LEFT_ALONE) or one is self._without:
            return
        kind = type(one)
        if kind is list or kind is array or kind is bytearray:
            self._seen[id(one)] = one
            self._note_sequence(one)
            yield from one
        elif kind is dict:
            self._seen[id(one)] = one
            self._note_dict(one)
            yield from one.values()
            yield from one.keys()
        elif kind is set:
            self._seen[id(one)] = one
            self._note_set(one)
        elif kind is tuple:
            yield from one
        elif isinstance(one, Context):
            self._seen[id(one)] = one
            self._contexts.append((one.regs, memoryview(array("Q", one.regs))))
            yield one.table
        elif kind.__module__.startswith("pltvm."):
            self._seen[id(one)] = one
            yield from self._note_attributes(one)
        elif hasattr(one, "__func__"):
            yield one.__self__  # a bound method

    def _note_attributes(self, one: Any) -> Iterator[object]:
        attributes = getattr(one, "__dict__", None)
        if attributes:
            saved = dict(attributes)
            self._attributes.append((attributes, saved, _containers(saved)))
            yield from saved.values()
        names = [
            name
            for base in type(one).__mro__
            for name in _slots(base)
            if name not in ("__dict__", "__weakref__") and hasattr(one, name)
        ]
        params = getattr(type(one), "__dataclass_params__", None)
        values = [(name, getattr(one, name)) for name in names]
        if names and not (params and params.frozen) and not isinstance(one, tuple):

            def restore() -> None:
                for name, value in values:
                    setattr(one, name, value)

            self._restorers.append(restore)
        yield from (value for _, value in values)

    def _note_sequence(self, one: Any) -> None:
        saved = one[:]
        always = type(one) is list and any(isinstance(value, _CONTAINERS) for value in saved)

        def restore() -> None:
            if always or one != saved:
                one[:] = saved

        self._restorers.append(restore)

    def _note_dict(self, one: dict[Any, Any]) -> None:
        saved = dict(one)
        containers = _containers(saved)

        def restore() -> None:
            if one != saved or list(one) != list(saved):
                one.clear()
                one.update(saved)
            elif containers:
                one.update(containers)

        self._restorers.append(restore)

    def _note_set(self, one: set[Any]) -> None:
        saved = set(one)

        def restore() -> None:
            if one != saved:
                one.clear()
                one.update(saved)

        self._restorers.append(restore)


def _containers(saved: dict[Any, Any]) -> dict[Any, Any]:
    """What may have been replaced by something that is equal, and yet another."""
    return {key: value for key, value in saved.items() if isinstance(value, _CONTAINERS)}


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
