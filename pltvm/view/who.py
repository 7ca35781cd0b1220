"""Names, as plain data, of whoever has the hart, and of owners of pages."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from pltvm.host.driver import Driver
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.pages import BOTH, MONITOR, PRIVATE, SHARED

_MOST_KNOWN: Final = 4096  # enclaves that have ended


@dataclass(frozen=True, slots=True)
class Who:
    """An enclave, thread, kernel or host that can have the hart.

    `kind` is "enclave" (`number` is its eid, `slot` the slot of a concurrent server), "thread" of a Linux
    program (`number` is its tid), "kernel" (a program in the place of the host kernel), or "host" (the Python
    program). `name` is for display.
    """

    kind: Literal["enclave", "thread", "kernel", "host"]
    number: int = 0
    name: str = ""
    slot: int | None = None

    def __str__(self) -> str:
        if self.kind == "enclave":
            slot = "" if self.slot is None else f", slot {self.slot}"
            return f"{self.name or 'enclave'} (eid {self.number}{slot})"
        if self.kind == "thread":
            return f"{self.name or 'program'} (thread {self.number})"
        return self.name or self.kind


HOST: Final = Who("host")


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a page: "host", "monitor", "enclave" with its eid, or "shared" with the number of the
    memory that enclaves share."""

    kind: Literal["host", "monitor", "enclave", "shared"]
    number: int = 0

    @classmethod
    def of(cls, entry: int) -> "Owner":
        """Return the owner that an entry of the page bitmap names."""
        if entry < PRIVATE:
            return cls("host")
        number = entry & ~(PRIVATE | BOTH)
        if number & SHARED:
            return cls("shared", number & ~SHARED)
        return cls("monitor") if number == MONITOR else cls("enclave", number - 1)

    def __str__(self) -> str:
        if self.kind == "enclave":
            return f"enclave {self.number}"
        return f"shared memory {self.number}" if self.kind == "shared" else self.kind


class Names:
    """Finds the names of enclaves by eid, also of ended ones, and of what has the hart now."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._kernel = driver.kernel
        self._state = driver.kernel.monitor.state
        self._known: dict[int, tuple[Who, Symbols | None]] = {}
        self.making = ""  # the name of the enclave that is being made

    def current(self) -> Who:
        """Return what has the hart."""
        running = self._state.running
        return self.host() if running is None else self.enclave(running)

    def host(self) -> Who:
        """Return what has the hart on the host's side, if no enclave has it."""
        program = self._kernel.program
        if program is None:
            return HOST
        number, name = program.who()
        return Who("thread", number, one_line(name)) if number else Who("kernel", 0, one_line(name))

    def enclave(self, enclave: Enclave) -> Who:
        """Return the name of an enclave, given its record."""
        known = self._known.get(enclave.eid)
        if known is None or known[1] is None:
            known = self._find(enclave.eid, enclave)
        return replace(known[0], slot=enclave.slot) if enclave.concurrent else known[0]

    def record(self, who: Who) -> Enclave | None:
        """Return the monitor's record of a living enclave, or slot."""
        enclave = self._state.enclaves.get(who.number) if who.kind == "enclave" else None
        return self._state.slot(enclave, who.slot) if enclave is not None and who.slot else enclave

    def of_eid(self, eid: int) -> Who:
        """Return the enclave with this eid, living or not."""
        known = self._known.get(eid)
        if known is None or known[1] is None:
            known = self._find(eid, self._state.enclaves.get(eid))
        return known[0]

    def symbols(self, eid: int) -> Symbols | None:
        """Return the symbols of its code."""
        self.of_eid(eid)
        return self._known[eid][1]

    def _find(self, eid: int, enclave: Enclave | None) -> tuple[Who, Symbols | None]:
        inner = self._driver.table.of_eid(eid)
        before = self._known.get(eid)
        if inner is not None and inner.label:
            found = Who("enclave", eid, inner.label), inner.symbols
        elif before is not None:
            return before
        else:
            raw = enclave.name if enclave is not None else b""
            found = Who("enclave", eid, raw.decode("ascii", "backslashreplace") or self.making), None
        self._known[eid] = found
        while len(self._known) > _MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        return found

    def forget(self) -> None:
        """Forget all names: numbers may belong to other enclaves now."""
        self._known.clear()
