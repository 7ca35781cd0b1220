"""Descriptions of the machine, for `monitor …` of debuggers: chains, owners of pages, mappings.

The data, and texts where possible, come from `pltvm.view`; commands refer to the debugger's present process.
"""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

from pltvm.debug.viewing import View, Views
from pltvm.engine.context import PC
from pltvm.engine.memory import Memory
from pltvm.engine.sv39 import V, pte_address, visit
from pltvm.errors import ArgumentError
from pltvm.monitor.abi import EnclaveType
from pltvm.view import memory, page_table
from pltvm.view.events import flags
from pltvm.view.shown import as_text

if TYPE_CHECKING:
    from pltvm.view.enclave import Enclave

_MOST_LINES: Final = 2000
_MOST_ENTRIES: Final = 1 << 20  # a kernel program can make tables that point to themselves


def answer(views: Views, view: View | None, text: str) -> str:
    """Return the output of a command. Raises ArgumentError for an unknown one."""
    name, *rest = text.split() or ["help"]
    found = _COMMANDS.get(name)
    if found is None:
        raise ArgumentError(f"{name}: no such command; `monitor help` lists them")
    lines = found(views, view, rest)
    more = len(lines) - _MOST_LINES
    lines = [*lines[:_MOST_LINES], f"… and {more} more lines"] if more > 0 else lines
    return "".join(f"{line}\n" for line in lines)


def _help(*_: object) -> list[str]:
    return [
        "chain              the enclaves that have called each other, from the innermost to the host",
        "caller             the process and thread that this enclave was called by",
        "pages              whose pages of RAM are, in rows",
        "owner ADDR         whose the page at an address of this process is",
        "pagetable [ADDR]   the page table of this process: all, or the entries that lead to an address",
        "pmp                what physical memory protection says",
        "threads            all threads of all processes, and where they are",
        "step into|over     whether a line that calls an enclave is left into that",
    ]


def _number(rest: list[str]) -> int:
    try:
        return int(rest[0], 0)
    except (IndexError, ValueError):
        raise ArgumentError("name an address, such as 0x1058") from None


def where(view: View, pc: int) -> str:
    """Return a place in the code of a view."""
    return str(view.symbols.locate(pc - view.moved)) if view.symbols is not None else f"{pc:#x}"


def _enclave(views: Views, view: View | None) -> "Enclave | None":
    """Return the enclave, or slot, of a view, or None."""
    found = views.machine.enclaves.get(view.eid) if view is not None and view.eid is not None else None
    if view is None or found is None or found.type is not EnclaveType.CONCURRENT_SERVER:
        return found
    return found.slots[view.slot]


def _chain(views: Views, view: View | None, _rest: list[str]) -> list[str]:
    enclave = _enclave(views, view) or views.machine.enclaves.running
    if enclave is None:
        return ["no enclave runs: the host has the hart"]
    lines = []
    for depth, link in enumerate(reversed(enclave.chain)):
        pc = link.registers.pc - (4 if depth else 0)
        one = views.find(_number_of(views, link))
        place, name = (where(one, pc), one.name) if one is not None else (f"{pc:#x}", link.name)
        word = "→ " if one is not None and view is not None and one.number == view.number else "  "
        lines.append(f"{word}{name} (eid {link.eid})  {'called from' if depth else 'at'} {place}")
    return [*lines, "  the host"]


def _number_of(views: Views, enclave: "Enclave") -> int:
    name = enclave.eid, enclave.slot
    return next((one.number for one in views.all() if (one.eid, one.slot) == name), -1)


def _caller(views: Views, view: View | None, _rest: list[str]) -> list[str]:
    enclave = _enclave(views, view)
    if enclave is None:
        return []
    caller = enclave.caller
    if caller is not None:
        return [f"{_number_of(views, caller)}"]
    known = views.machine.driver.table.of_eid(enclave.eid)
    for one in views.all():
        for tid, thread in one.process.threads.items() if one.process is not None else ():
            if known is not None and thread.state.enclave == known.id:
                return [f"{one.number} {tid}"]
    return []


def _pages(views: Views, _view: View | None, _rest: list[str]) -> list[str]:
    rows = memory.owners(views.machine.monitor.state)
    return as_text(rows.titles, [views.cells(row) for row in rows]).splitlines()


def _owner(views: Views, view: View | None, rest: list[str]) -> list[str]:
    va = _number(rest)
    if view is None:
        return [views.owner(va)]
    pa = views.place(view, va)
    if pa is None:
        return [f"{va:#x} of {view.name}: {views.why_not(view, va)}"]
    return [f"{va:#x} of {view.name} is {pa:#x}: {views.owner(pa)}"]


def _pagetable(views: Views, view: View | None, rest: list[str]) -> list[str]:
    if view is None:
        return ["there is no process"]
    ram, root = view.table.memory, view.table.root
    if rest:
        return _way(ram, root, _number(rest))
    if next(islice(visit(ram, root), _MOST_ENTRIES, None), None) is not None:
        return [f"the table at {root:#x} has more than {_MOST_ENTRIES:,} entries: ask for an address"]
    return list(page_table.page_table(ram, root).lines())


def _way(ram: Memory, root: int, va: int) -> list[str]:
    """Return the page-table entries of the walk to an address."""
    lines, table = [f"root {root:#x}"], root
    entries = list(page_table.way(ram, root, va))
    for level, _, pte, slot in entries:
        table, words = pte_address(pte), flags(pte) if pte & V else "(not valid)"
        lines.append(f"  level {level}  entry {slot:#x}: {pte:#x}  → {table:#x}  {words}")
    if not entries or (entries[-1].pte & V and not entries[-1].is_leaf):
        lines.append(f"  the table at {table:#x} is outside RAM")
    return lines


def _pmp(views: Views, _view: View | None, _rest: list[str]) -> list[str]:
    return str(memory.pmp(views.machine.hart)).splitlines()


def _threads(views: Views, _view: View | None, _rest: list[str]) -> list[str]:
    current = views.machine.hart.current
    return [
        f"{'*' if thread.context is current else ' '} {view.number}.{thread.number}  {thread.name}  "
        f"{where(view, thread.context.regs[PC])}"
        for view in views.all()
        for thread in view.threads
    ]


_COMMANDS: Final[dict[str, Callable[[Views, View | None, list[str]], list[str]]]] = {
    "help": _help,
    "chain": _chain,
    "caller": _caller,
    "pages": _pages,
    "owner": _owner,
    "pagetable": _pagetable,
    "pmp": _pmp,
    "threads": _threads,
}
