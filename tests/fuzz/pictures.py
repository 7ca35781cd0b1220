"""What a target is at a moment, in a form that can be compared: an account of its own, beside `objects`."""

import re
from array import array
from typing import Any

import numpy as np

from pltvm.engine.context import Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import A, PageTable, R, V, W, X
from pltvm.fuzz import turn
from pltvm.fuzz.target import Target
from pltvm.host.symbols import Symbols
from pltvm.monitor.audit import audit

_PLAIN = (type(None), bool, int, float, str, bytes)
_LARGEST_VIEW = 1 << 16  # larger ones are of RAM, which is compared as such
# What printing changes, and the light way back leaves: the host's note of its last ocall.
_LAST_OCALL = re.compile(r"\.pending(: tuple|\.|\[|$)|\.host_status = |\.pending\.\[\d\] = ")
_MAILBOX = range(256, 256 + 40)  # bytes of a page of the driver


def objects_of(target: Target) -> list[str]:
    """Everything that monitor, kernel, driver and callers remember, a line each, with identities."""
    machine = target.machine
    roots = [machine.monitor.state, machine.kernel, machine.driver]
    roots += [getattr(target, name) for name in ("caller", "callers", "turns", "relay", "shared")
              if hasattr(target, name)]  # fmt: skip
    lines = [f"clock {target.hart.clock}", f"current {id(target.hart.current):#x}"]
    seen: set[int] = {id(target), id(target.arena), id(target.snapshot)}
    if not hasattr(target, "callers"):
        seen.add(id(target.enclave.context.regs))  # `begin` sets all of them
    waiting: list[tuple[str, Any]] = [(type(root).__name__, root) for root in roots]
    while waiting:
        path, one = waiting.pop()
        if id(one) in seen:
            continue
        if not isinstance(one, tuple):  # equal ones may be one or several
            seen.add(id(one))
        parts = list(_parts(one))
        lines.append(f"{path}: {type(one).__name__} {len(parts)}")
        for name, value in parts:
            if id(value) not in seen or not isinstance(value, memoryview):
                lines.append(f"{path}.{name} = {_words(value)}")
            if not isinstance(value, _PLAIN):
                waiting.append((f"{path}.{name}", value))
    return lines


def _words(value: Any) -> str:
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, memoryview):
        return value.hex() if value.nbytes <= _LARGEST_VIEW else "a view"
    if isinstance(value, tuple | frozenset) or hasattr(value, "__func__"):
        return type(value).__name__
    return f"{type(value).__name__} at {id(value):#x}"


def _parts(one: Any) -> list[tuple[str, Any]]:
    """What an object consists of."""
    if isinstance(one, Context):
        return [("regs", one.regs), ("table", one.table)]
    if isinstance(one, Memory | Hart | Symbols | type | Target):
        return []
    if isinstance(one, dict):
        keys = [(f"key{at}", key) for at, key in enumerate(one)]
        return keys + [(f"[{_words(key)}]", value) for key, value in one.items()]
    if isinstance(one, list | tuple | array):
        return [(f"[{at}]", value) for at, value in enumerate(one)]
    if isinstance(one, set | frozenset):
        return [(f"[{at}]", value) for at, value in enumerate(sorted(one, key=repr))]
    if hasattr(one, "__func__"):
        return [("self", one.__self__)]
    if not type(one).__module__.startswith("pltvm."):
        return []
    parts = [(name, value) for name, value in getattr(one, "__dict__", {}).items() if name != "_leaf_tables"]
    for base in type(one).__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name != "__weakref__" and hasattr(one, name):
                parts.append((name, getattr(one, name)))
    return parts


class Picture:
    """A target between two executions. `differs` says in what it is another now."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.ram = self._ram()
        self.objects = self._objects()
        self.mailboxes = {enclave.page for enclave in target.machine.driver.enclaves.values()}

        enclaves = target.machine.monitor.state.enclaves.values()
        self.tables = {page for enclave in enclaves for page in enclave.space.table.tables()}

    def _objects(self) -> list[str]:
        return [line for line in objects_of(self.target) if not _LAST_OCALL.search(line)]

    def _ram(self) -> Any:
        target = self.target
        target._set_input(b"")  # what is left of the last one counts with the next one
        return target.snapshot.ram.copy().view(np.uint64)

    def differs(self) -> list[str]:
        """In words, a few; empty when nothing does."""
        found = audit(self.target.machine.monitor.state)
        now, base = self._ram(), self.target.machine.memory.base
        for index in np.flatnonzero(now ^ self.ram)[:20].tolist():
            old, new = int(self.ram[index]), int(now[index])
            leaf = old & V and old & (R | W | X)
            at = base + index * 8
            accessed = old | A == new | A and leaf and at & -PAGE in self.tables
            if not accessed and not (at & -PAGE in self.mailboxes and at % PAGE in _MAILBOX):
                found.append(f"RAM at {base + index * 8:#x}: {old:#x}, now {new:#x}")
        objects = self._objects()
        old_lines, new_lines = set(self.objects), set(objects)
        found += [f"was {line}" for line in self.objects if line not in new_lines][:8]
        found += [f"now {line}" for line in objects if line not in old_lines][:8]
        for enclave in self.target.machine.monitor.state.enclaves.values():
            table = enclave.space.table
            anew = PageTable(table.memory, table.root, _no_page)
            for key, index in table._leaf_tables.items():  # a cache, which may know more than before
                if anew._leaf_table(key << 21, create=False) != index:
                    found.append(f"eid {enclave.eid}: the table of {key << 21:#x} is not where it was")
        if int(self.target.words[turn.TOUCHED]) or self.target.arena.map.any():
            found.append("the map of edges is not clear")
        return found


def _no_page() -> int:
    raise AssertionError("looking makes no tables")
