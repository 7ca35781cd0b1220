"""The events of a machine; each kind is a class of plain data.

Every event has a time: `number` counts events since watching began, `traps` counts the hart's traps, `clock`
is the value of the guests' counters. It has a place too: `who` had the hart, at `pc`. Events are reported
when the operation is done, except traps, which are reported before they are handled.

    trap        the JIT has left guest code                   call, return   between enclaves
    ocall       an enclave asks the host                      host_call      the host asks the monitor
    switch      the hart has gone to another context          satp           another page table is in use
    state       an enclave is made, waits, runs, ends         fault          an enclave was destroyed for it
    page        pages have another owner                      pte, pmp       entries changed
    restore     the machine was restored: any state may differ

Changes that a hook makes itself cause no event.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final

from pltvm.engine.sv39 import pte_address
from pltvm.host.report import FaultReport
from pltvm.host.symbols import Location
from pltvm.view.who import Owner, Who


class Places:
    """Finds the source location of code; this base class finds none."""

    def locate(self, _who: Who, pc: int) -> Location | str:
        """Return function and line of `pc` in the code of `_who`."""
        return f"{pc:#x}"

    def callers(self, _who: Who, _pc: int) -> list[str]:
        """Return the functions on an enclave's call stack at `pc`, as `locate` gives them."""
        return []


_NOWHERE: Final = Places()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The common part of all events: see above. `pc` is that of the trapping instruction, 0 between runs."""

    kind: ClassVar[str] = ""
    number: int
    traps: int
    clock: int
    who: Who
    pc: int
    places: Places = field(default=_NOWHERE, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Function and line of `pc`, as far as the ELF has them; for host programs only inside the hook."""
        return str(self.places.locate(self.who, self.pc)) if self.pc else ""

    @property
    def callers(self) -> list[str]:
        """The call stack of an enclave, innermost first; only inside a hook of trap, call or ocall."""
        return self.places.callers(self.who, self.pc) if self.pc and self.kind in _CALLED else []

    @property
    def text(self) -> str:
        """Return the event as a line of text."""
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap(Event):
    """The JIT has left guest code. `cause` is as in `mcause`, or below zero (`engine.trap.Cause`); `reason`
    is the cause in words; for a call, `call` is its name. Instructions that the engine emulates cause no trap
    event."""

    kind: ClassVar[str] = "trap"
    cause: int
    reason: str
    call: str = ""

    @property
    def text(self) -> str:
        return self.call or self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Event):
    """An enclave has called a server, which runs now. It got `argument`, and `size` bytes of the caller's
    memory at `va` in the server's address space; both are 0 for none."""

    kind: ClassVar[str] = "call"
    caller: Who
    callee: Who
    argument: int
    va: int
    size: int

    @property
    def text(self) -> str:
        memory = f", {self.size} bytes at {self.va:#x}" if self.size else ""
        return f"{self.caller} calls {self.callee}({self.argument}{memory})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Return(Event):
    """A server has returned `value`, and its caller goes on."""

    kind: ClassVar[str] = "return"
    callee: Who
    caller: Who
    value: int

    @property
    def text(self) -> str:
        return f"{self.callee} returns {self.value} to {self.caller}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocall(Event):
    """An enclave has asked the host for something and waits; `printed` is the text of a "write"."""

    kind: ClassVar[str] = "ocall"
    name: str
    arguments: tuple[int, int]
    printed: bytes = b""

    @property
    def text(self) -> str:
        if self.name == "write":
            return f"ocall write {self.printed.decode('utf-8', 'replace')!r}"
        return f"ocall {self.name}({', '.join(f'{one:#x}' for one in self.arguments)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch(Event):
    """The hart has gone to another enclave, thread, or the host."""

    kind: ClassVar[str] = "switch"
    before: Who
    after: Who

    @property
    def text(self) -> str:
        return f"{self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Satp(Event):
    """Another page table, or none, is in use: `satp` before and after."""

    kind: ClassVar[str] = "satp"
    before: int
    after: int

    @property
    def text(self) -> str:
        return f"satp {self.before:#x} → {self.after:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall(Event):
    """The host has made a monitor call. `status` is its result; None if an enclave has the hart now."""

    kind: ClassVar[str] = "host_call"
    name: str
    arguments: tuple[int, ...]
    status: int | None

    @property
    def text(self) -> str:
        shown = ", ".join(f"{one:#x}" if abs(one) > _PLAIN else str(one) for one in self.arguments)
        return f"monitor call {self.name}({shown})" + ("" if self.status is None else f" = {self.status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Event):
    """An enclave has another state: "fresh", "runnable", "running", "waiting" (for an
    ocall), "calling", "queued" (until a server has room).

    `before` is "" for a new enclave, `after` is "" for one that has ended.
    """

    kind: ClassVar[str] = "state"
    enclave: Who
    before: str
    after: str

    @property
    def text(self) -> str:
        if not self.before:
            return f"{self.enclave} is made: {self.after}"
        return f"{self.enclave}: {self.before} → {self.after}" if self.after else f"{self.enclave} is no more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Event):
    """An enclave was destroyed for a fault, with its chain; `report` describes the fault."""

    kind: ClassVar[str] = "fault"
    report: FaultReport

    @property
    def text(self) -> str:
        return f"fault: {self.report.summary}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Event):
    """`pages` pages from physical address `pa` on have another owner."""

    kind: ClassVar[str] = "page"
    pa: int
    pages: int
    before: Owner
    after: Owner

    @property
    def text(self) -> str:
        many = f"{self.pages} pages" if self.pages > 1 else "1 page"
        return f"{many} at {self.pa:#x}: {self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pte(Event):
    """`count` consecutive entries have changed in the table at physical address `table`, from entry `index`
    on.

    `level` is 0 for the root, 2 for a table of pages. `before` and `after` are the values of the first entry,
    without A and D; 0 is an invalid entry. Each further entry points to the next page. `enclave` owns the
    table, None is the host; `va` is the address that the first entry maps, None if unknown.
    """

    kind: ClassVar[str] = "pte"
    table: int
    index: int
    count: int
    level: int
    before: int
    after: int
    enclave: Who | None
    va: int | None

    @property
    def text(self) -> str:
        whose = str(self.enclave) if self.enclave is not None else "host"
        where = f"{self.va:#x}" if self.va is not None else f"table {self.table:#x}[{self.index}]"
        many = f" ({self.count} entries)" if self.count > 1 else ""
        return f"{whose} {where}{many}: {shown_entry(self.before)} → {shown_entry(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pmp(Event):
    """PMP has changed: its entries by number, each with start, end (physical) and permissions."""

    kind: ClassVar[str] = "pmp"
    entries: tuple[tuple[int, int, int, str], ...]

    @property
    def text(self) -> str:
        return "PMP " + ", ".join(f"{n}: {start:#x}…{end:#x} {rwx}" for n, start, end, rwx in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Event):
    """The machine was restored to a snapshot."""

    kind: ClassVar[str] = "restore"

    @property
    def text(self) -> str:
        return "the machine was put back"


# kinds at which an enclave's stack is still as at the trap
_CALLED: Final = frozenset({"trap", "call", "ocall"})
_PLAIN: Final = 9999  # numbers up to that are shown in decimal
_FLAGS: Final = "vrwxugad"
_OF_HARDWARE: Final = 2  # the last two letters, A and D, are set by hardware
KINDS: Final[dict[str, type[Event]]] = {
    one.kind: one
    for one in (Trap, Call, Return, Ocall, Switch, Satp, HostCall, State, Fault, Page, Pte, Pmp, Restore)
}


def permissions(bits: int) -> str:
    """Return the lowest bits as letters: 1 is read, 2 write, 4 execute."""
    return "".join(letter if bits >> at & 1 else "-" for at, letter in enumerate("rwx"))


def flags(pte: int) -> str:
    """Return the bits V R W X U G A D of a page-table entry as letters."""
    return "".join(letter if pte >> at & 1 else "-" for at, letter in enumerate(_FLAGS))


def shown_entry(pte: int) -> str:
    """Return a page-table entry in words: its target and its permissions."""
    if not pte:
        return "none"
    pa = pte_address(pte)
    return f"table {pa:#x}" if pte & 0xF == 1 else f"{pa:#x} {flags(pte)[:-_OF_HARDWARE]}"
