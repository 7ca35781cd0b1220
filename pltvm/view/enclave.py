"""An enclave of a machine: runs it and looks into it, between runs and from hooks.

The class is the same for enclaves made by a Python program, a Linux host program, or a kernel program. Only
those made by Python can be run from here.
"""

from typing import TYPE_CHECKING, Final

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import R, W
from pltvm.errors import ArgumentError, EnclaveError
from pltvm.host import api, arguments, clients
from pltvm.host.driver import Driver
from pltvm.host.enclave import DriverEnclave
from pltvm.monitor import chain
from pltvm.monitor import enclave as of_monitor
from pltvm.monitor.abi import EnclaveType
from pltvm.monitor.enclave import EnclaveState

if TYPE_CHECKING:
    from pltvm.view.mappings import Mappings
    from pltvm.view.memory import Owners
    from pltvm.view.page_table import PageTableNode
    from pltvm.view.registers import Registers

TITLES: Final = ("eid", "name", "type", "state", "called by")
_MOST_READ: Final = 1 << 30  # bytes at a time


class Enclave(api.Enclave):
    """One enclave of a machine: made by `Machine.create`, or found in `Machine.enclaves`.

    Members that look into it raise EnclaveError after its end, and for a shadow instance that has not run.
    """

    def __init__(self, driver: Driver, inner: DriverEnclave, slot: int = 0) -> None:
        super().__init__(driver, inner)
        self._state = driver.kernel.monitor.state
        self._slot = slot

    @property
    def _identity(self) -> tuple[int, ...]:
        return (*super()._identity, self._slot)

    def _known(self) -> of_monitor.Enclave | None:
        record = self._state.enclaves.get(self.eid) if self.alive else None
        return self._state.slot(record, self._slot) if record is not None and self._slot else record

    def _record(self) -> of_monitor.Enclave:
        """Return the monitor's record of it. Raises EnclaveError."""
        record = self._known()
        if record is None:
            raise EnclaveError(f"{self.name} has ended, or not started: there is nothing to look at")
        return record

    @property
    def slots(self) -> "tuple[Enclave, ...]":
        """The slots of a concurrent server, each as an enclave with its own registers, stack, and chain.

        The first is the server itself. Any other enclave has only itself.
        """
        return tuple(self._find(slot) for slot in self._state.slots(self._record().home))

    @property
    def slot(self) -> int:
        """The number of the slot of a concurrent server; 0 for all other enclaves."""
        return self._slot

    def _find(self, record: of_monitor.Enclave) -> "Enclave":
        return of_record(self._driver, record)

    @property
    def alive(self) -> bool:
        """Whether the enclave still exists: it has neither exited, nor faulted, nor been destroyed."""
        inner = self._inner
        if inner.client != clients.NOBODY:
            return inner.alive
        record = self._state.enclaves.get(inner.eid)
        return record is not None and record.block == inner.block

    @property
    def state(self) -> str:
        """Its state: "fresh", "runnable" (paused; for a server: no call in progress), "running", "waiting"
        for an ocall, "calling" a server, "queued" until a server has room, "ended"."""
        record = self._known()
        if record is None:
            return "ended" if not self.alive else "fresh"
        return EnclaveState(record.state).name.lower()

    @property
    def caller(self) -> "Enclave | None":
        """The enclave that has called it; None while no call is in progress."""
        record = self._record()
        return self._find(self._state.enclave(record.caller)) if record.caller else None

    @property
    def chain(self) -> "tuple[Enclave, ...]":
        """The chain of calls, from the enclave that the host runs to the innermost server; else only
        itself."""
        state = self._state
        top = state.enclave(self._record().top)
        links = chain.links(state, state.enclave(top.innermost))
        return tuple(map(self._find, links))[::-1]

    @property
    def registers(self) -> "Registers":
        """Its registers by ABI name, to read and write: `enclave.registers.a0`."""
        from pltvm.view.registers import Registers

        self._record()
        return Registers(self._registers)

    def _registers(self) -> memoryview:
        record = self._record()
        self._state.dirty[record.pages[1]] = 1
        return record.context.regs

    def mappings(self) -> "Mappings":
        """What is mapped in it, in rows by address."""
        from pltvm.view.mappings import mappings
        from pltvm.view.who import Names

        return mappings(self._state, self._record(), Names(self._driver))

    def page_table(self) -> "PageTableNode":
        """Its page table as a tree, as it is now."""
        from pltvm.view.page_table import page_table

        return page_table(self._state.memory, self._record().root)

    @property
    def owned(self) -> "Owners":
        """The pages of RAM that are its own, in rows by physical address."""
        from pltvm.view.memory import owners

        return owners(self._state).of(self._record().eid)

    def read(self, va: int, size: int) -> bytes:
        """Return `size` bytes at `va`, as the enclave itself would read them.

        Raises EnclaveError where a page is not mapped readable.
        """
        va, size = _address(va), arguments.number("size", size, "bytes, a whole number")
        if not 0 <= size <= _MOST_READ:
            raise ArgumentError(f"size is {size}: it must be 0 to {_MOST_READ >> 20} MiB")
        return b"".join(self._state.memory.read(pa, n) for pa, n in self._spans(va, size, R, "readable"))

    def write(self, va: int, data: bytes, force: bool = False) -> None:
        """Write `data` at `va`, where the enclave itself may write; with `force` wherever a page is mapped.

        Raises EnclaveError, and writes nothing, where a page is not mapped writable.
        """
        va = _address(va)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise arguments.wrong("data", data, "bytes")
        data, done = bytes(data), 0
        for pa, size in self._spans(va, len(data), R if force else W, "mapped" if force else "writable"):
            self._state.memory.write(pa, data[done : done + size])
            done += size

    def _spans(self, va: int, size: int, flags: int, wanted: str) -> list[tuple[int, int]]:
        if not size:
            return []
        table = self._record().space.table
        spans = table.spans(va, size, flags)
        if spans is not None:
            return spans
        pages = (va, *range((va | PAGE - 1) + 1, va + size, PAGE))
        bad = next(at for at in pages if table.translate(at, flags) is None)
        why = f"is not {wanted}" if table.entry(bad) else "is not mapped"
        raise EnclaveError(f"{self.name} (eid {self.eid}): {bad:#x} {why}")

    def _repr_html_(self) -> str:
        from pltvm.view.shown import as_html

        return as_html(TITLES, [self.cells()])

    def cells(self) -> tuple[str, ...]:
        """Return its row of a table under TITLES."""
        caller = self.caller if self.state not in ("fresh", "ended") else None
        by = f"{caller.name} (eid {caller.eid})" if caller is not None else ""
        if caller is not None and caller.type is EnclaveType.CONCURRENT_SERVER:
            by = f"{caller.name} (eid {caller.eid}, slot {caller.slot})"
        return str(self.eid), self.name, self.type.name.lower().replace("_", " "), self.state, by


def of_record(driver: Driver, record: of_monitor.Enclave) -> Enclave:
    """Return the enclave of this record, also one that the driver has not made."""
    inner = driver.table.of_eid(record.eid)
    if inner is None:
        inner = DriverEnclave(
            record.eid, record.name, EnclaveType(record.kind), record.block, 0, record.kbuffer,
            client=clients.NOBODY, label=record.name.decode("ascii", "backslashreplace") or "enclave",
        )  # fmt: skip
    return Enclave(driver, inner, record.slot)


def _address(va: int) -> int:
    va = arguments.number("va", va, "an address, a whole number")
    if not 0 <= va < 1 << 64:
        raise ArgumentError(f"va is {va:#x}: an address has 64 bits")
    return va
