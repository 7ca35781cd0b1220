"""Everything there is of a machine's monitor, for comparison: all of RAM, and every object it remembers.

A refused call must leave all of it as it was. The objects are walked by what they are made of, without
knowing them: what a later version of the monitor remembers is looked at too. Registers are not.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from pltvm.engine.context import Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.machine import Machine
from pltvm.monitor.enclave import REGISTERS
from tests.model.ram import NOTHING, touched

_PLAIN = (int, str, bytes, bool, float, type(None))
# Not state: RAM is compared by itself; what the hart has loaded and how often it flushed is no matter.
_ELSEWHERE = (Memory, Hart)
# Derived.
_CACHES = {
    "_leaf_tables",
    "certificate",
    "contents",
    "views",
    "_views",
    "_regions",
    "copies",
    "_known",
    "_held",
}


class Whole:
    """The machine as it is now."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ram = self._pieces()
        self._state = dict(_walk(machine.monitor.state))

    def changes(self) -> list[str]:
        """What is different now, in words; at most a few."""
        ram, found = self._pieces(), []
        if ram != self._ram:
            before, after = _pages(self._ram), _pages(ram)
            found = [
                f"RAM at {self._machine.memory.base + at:#x}"
                for at in sorted(before.keys() | after.keys())
                if before.get(at, NOTHING) != after.get(at, NOTHING)
            ]
        now = dict(_walk(self._machine.monitor.state))
        keys = [*self._state, *(key for key in now if key not in self._state)]
        found += [
            f"{key}: {self._state.get(key)!r} became {now.get(key)!r}"
            for key in keys
            if self._state.get(key, _walk) != now.get(key, _walk)
        ]
        return found[:5]

    def _pieces(self) -> dict[int, bytearray]:
        """The touched ranges of RAM by their offsets, without the registers of enclaves in them."""
        memory, state = self._machine.memory, self._machine.monitor.state
        pieces = {start: bytearray(memory.bytes[start:end]) for start, end in touched(memory)}
        starts = list(pieces)
        for slot in state.all_slots():
            at = slot.block - memory.base
            start = starts[bisect_right(starts, at) - 1]
            pieces[start][at - start : at - start + REGISTERS] = bytes(REGISTERS)
        return pieces


def _pages(pieces: dict[int, bytearray]) -> dict[int, bytearray]:
    return {
        start + at: piece[at : at + PAGE]
        for start, piece in pieces.items()
        for at in range(0, len(piece), PAGE)
    }


def _walk(root: object) -> Iterator[tuple[str, Any]]:
    """Every plain value that can be reached, with the way to it."""
    seen: dict[int, str] = {}
    todo: list[tuple[str, Any]] = [("state", root)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, _PLAIN):
            yield path, value
            continue
        if id(value) in seen:
            yield path, f"as {seen[id(value)]}"
            continue
        seen[id(value)] = path
        if isinstance(value, _ELSEWHERE) or callable(value):
            continue
        if isinstance(value, Context):
            yield path, "a context"  # registers are checked one by one
        elif isinstance(value, memoryview):
            yield path, value.tobytes() if value.nbytes <= 1 << 16 else len(value)
        elif isinstance(value, dict):
            yield f"{path} keys", len(value)
            todo += [(f"{path}[{_name(key)}]", key) for key in value if not isinstance(key, _PLAIN)]
            todo += [(f"{path}[{_name(key)}]", one) for key, one in value.items()]
        elif isinstance(value, list | tuple):
            yield f"{path} length", len(value)
            todo += [(f"{path}[{at}]", one) for at, one in enumerate(value)]
        elif isinstance(value, set | frozenset):
            yield path, sorted(value)
        else:
            names = [*getattr(value, "__dict__", ()), *_slots(value)]
            todo += [(f"{path}.{name}", getattr(value, name)) for name in names if name not in _CACHES]


def _name(key: object) -> str:
    return repr(key) if isinstance(key, _PLAIN) else f"{type(key).__name__} {getattr(key, 'key', '')}"


def _slots(value: object) -> list[str]:
    return [
        name
        for kind in type(value).__mro__
        for name in getattr(kind, "__slots__", ())
        if hasattr(value, name)
    ]
