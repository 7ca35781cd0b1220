"""What can happen on a machine, each kind a class of plain data.

Every event says when it was: `number` counts events since one watches, `traps` those of the hart, `clock` is
what the counters of guests show. And where: `who` had the hart, at `pc`. It is made when the thing is done,
but for a trap, which is told of before anybody has answered it.

    trap        the JIT has left guest code                   call, return   between enclaves
    ocall       an enclave asks the host                      host_call      the host asks the monitor
    switch      somebody else has the hart                    satp           and another page table
    state       an enclave is made, waits, runs, ends         fault          it was destroyed for that
    page        pages have another owner                      pte, pmp       entries changed
    restore     the machine was put back: all may be otherwise

A thing that a hook changes by itself shows in no event.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final

from pltvm.engine.sv39 import pte_address
from pltvm.host.report import FaultReport
from pltvm.host.symbols import Location
from pltvm.view.who import Owner, Who


class Places:
    """Finds code in its source; this one knows of none."""

    def locate(self, _who: Who, pc: int) -> Location | str:
        """Function and line of `pc` in the code of somebody."""
        return f"{pc:#x}"

    def callers(self, _who: Who, _pc: int) -> list[str]:
        """The functions that an enclave has called on its way to `pc`, as `locate` gives them."""
        return []


_NOWHERE: Final = Places()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have: see above. `pc` is that of the instruction that trapped, 0 between runs."""

    kind: ClassVar[str] = ""
    number: int
    traps: int
    clock: int
    who: Who
    pc: int
    places: Places = field(default=_NOWHERE, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Function and line of `pc`, as far as the ELF tells; of a host program: while the event is told."""
        return str(self.places.locate(self.who, self.pc)) if self.pc else ""

    @property
    def callers(self) -> list[str]:
        """The functions that led there, the nearest first: of an enclave, in a hook of trap, call, ocall."""
        return self.places.callers(self.who, self.pc) if self.pc and self.kind in _CALLED else []

    @property
    def text(self) -> str:
        """What happened, in a line."""
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap(Event):
    """The JIT has left guest code. `cause` is as in `mcause`, or below zero (`engine.trap.Cause`), `reason`
    in words; of a call, `call` is its name. What the engine does in place of a CPU is no trap."""

    kind: ClassVar[str] = "trap"
    cause: int
    reason: str
    call: str = ""

    @property
    def text(self) -> str:
        return self.call or self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Event):
    """An enclave has called a server, which runs now. It got `argument`, and of the caller's memory `size`
    bytes at `va`, its own address; 0 and 0 for none."""

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
    """A server has returned `value`; its caller runs on."""

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
    """Somebody else has the hart."""

    kind: ClassVar[str] = "switch"
    before: Who
    after: Who

    @property
    def text(self) -> str:
        return f"{self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Satp(Event):
    """Another page table, or none, is in use: what `satp` said, and says."""

    kind: ClassVar[str] = "satp"
    before: int
    after: int

    @property
    def text(self) -> str:
        return f"satp {self.before:#x} → {self.after:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall(Event):
    """The host has made a monitor call. `status` is what it got; None: an enclave has the hart now."""

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
    """An enclave does something else: "fresh", "runnable", "running", "waiting", "calling".

    `before` is "" for one that was made just now, `after` is "" for one that is no more.
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
    """An enclave was destroyed, with its chain; `report` says all that is known."""

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
    """`count` entries that follow each other have changed, of the table at physical address `table`, from
    entry `index` on.

    `level` is 0 for the root, 2 for a table of pages. `before` and `after` are the first one, without A and
    D; 0 is none, and the entries behind it name a page more each. `enclave` is whose table it is, None for
    the host's; `va` the address that the first one maps, None where that is not known.
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
    """PMP says something else: its entries by number, each start, end (physical), and what may be done."""

    kind: ClassVar[str] = "pmp"
    entries: tuple[tuple[int, int, int, str], ...]

    @property
    def text(self) -> str:
        return "PMP " + ", ".join(f"{n}: {start:#x}…{end:#x} {rwx}" for n, start, end, rwx in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Event):
    """The machine was put back to a snapshot."""

    kind: ClassVar[str] = "restore"

    @property
    def text(self) -> str:
        return "the machine was put back"


_CALLED: Final = frozenset({"trap", "call", "ocall"})  # by enclaves whose stacks are as they were then
_PLAIN: Final = 9999  # numbers up to that are shown in decimal
_FLAGS: Final = "vrwxugad"
_OF_HARDWARE: Final = 2  # the last of these, which it sets by itself
KINDS: Final[dict[str, type[Event]]] = {
    one.kind: one
    for one in (Trap, Call, Return, Ocall, Switch, Satp, HostCall, State, Fault, Page, Pte, Pmp, Restore)
}


def permissions(bits: int) -> str:
    """The lowest bits as letters: 1 is read, 2 write, 4 execute."""
    return "".join(letter if bits >> at & 1 else "-" for at, letter in enumerate("rwx"))


def flags(pte: int) -> str:
    """The bits V R W X U G A D of a page-table entry as letters."""
    return "".join(letter if pte >> at & 1 else "-" for at, letter in enumerate(_FLAGS))


def shown_entry(pte: int) -> str:
    """A page-table entry in words: where it leads, and what may be done there."""
    if not pte:
        return "none"
    pa = pte_address(pte)
    return f"table {pa:#x}" if pte & 0xF == 1 else f"{pa:#x} {flags(pte)[:-_OF_HARDWARE]}"
