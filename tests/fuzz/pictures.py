"""What a target is at a moment, in a form that can be compared."""

from dataclasses import fields, is_dataclass
from typing import Any

from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import A, R, V, W, X
from pltvm.fuzz.target import Target
from pltvm.host import snapshot
from pltvm.monitor.audit import audit
from pltvm.monitor.enclave import REGISTERS
from tests.model.ram import Ram, changed_words, ram_of


def host_of(target: Target) -> list[str]:
    """Clock, who has the hart, and everything that the host declares as its state, a line each."""
    lines = [f"clock {target.hart.clock}", f"current {id(target.hart.current):#x}", repr(target.save())]
    waiting: list[tuple[str, Any]] = [("host", snapshot.save(target.machine.driver))]
    while waiting:
        path, one = waiting.pop()
        if is_dataclass(one):
            waiting += [(f"{path}.{part.name}", getattr(one, part.name)) for part in fields(one)]
        elif isinstance(one, dict):
            lines.append(f"{path} = {list(one)}")
            waiting += [(f"{path}[{key!r}]", value) for key, value in one.items()]
        elif isinstance(one, list | tuple):
            lines.append(f"{path} = {len(one)}")
            waiting += [(f"{path}[{at}]", value) for at, value in enumerate(one)]
        else:
            lines.append(f"{path} = {one!r}")
    return lines


class Picture:
    """A target between two executions. `differs` says in what it is another now."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.ram = self._ram()
        self.objects = self._objects()
        enclaves = target.machine.monitor.state.enclaves.values()
        self.tables = {page for enclave in enclaves for page in enclave.space.table.tables()}

    def _objects(self) -> list[str]:
        return host_of(self.target)

    def _ram(self) -> Ram:
        target = self.target
        target._set_input(b"")  # what is left of the last one counts with the next one
        return ram_of(target.memory)

    def differs(self) -> list[str]:
        """In words, a few; empty when nothing does."""
        found = audit(self.target.machine.monitor.state)
        own = self.target.enclave.block
        base = self.target.machine.memory.base
        for offset, old, new in changed_words(self.ram, self._ram())[:20]:
            leaf = old & V and old & (R | W | X)
            at = base + offset
            if own <= at < own + REGISTERS:
                continue  # `begin` sets all of them
            accessed = old | A == new | A and leaf and at & -PAGE in self.tables
            if not accessed:
                found.append(f"RAM at {at:#x}: {old:#x}, now {new:#x}")
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
        if self.target.state.taken or any(self.target.arena.map):
            found.append("the map of edges is not clear")
        return found


def _no_page() -> int:
    raise AssertionError("looking makes no tables")
