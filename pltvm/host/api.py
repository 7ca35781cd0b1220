"""Enclaves for Python programs: what the C host library calls `PLenclave`.

C                                      Python
elf_args_init, elf_valid               load_image (raises ElfError)
enclave_args_init, PLenclave_init      keyword arguments of Machine.create
PLenclave_create                       Machine.create → Enclave
PLenclave_run                          Enclave.run → Result
PLenclave_destruct, PLenclave_finalize Enclave.destroy
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EnclaveError, PltvmError
from pltvm.host.driver import Driver, DriverEnclave
from pltvm.host.elf import Source, load_image, name_of
from pltvm.host.interrupts import Watch
from pltvm.host.report import FaultReport
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Status

EXITED: Final = "exited"
FAULTED: Final = "faulted"
INTERRUPTED: Final = "interrupted"

OnOutput = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of work of one run: traps taken, TLB flushes asked for, bytes printed."""

    traps: int
    flushes: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    `status` is "exited", "faulted" or "interrupted" (time limit); `retval` what the enclave returned, as
    u64, None unless it exited; `output` what it and the servers it called printed; `shm` and `relay` the
    memory shared with it and handed over, as they were left, None where there was none (relay: or where
    the pages did not come back).
    """

    status: str
    retval: int | None
    output: str
    stats: Stats
    fault: FaultReport | None = None
    shm: bytes | None = None
    relay: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether the enclave ran to its own end, whatever it returned."""
        return self.status == EXITED

    def to_dict(self) -> dict[str, Any]:
        """Status, return value, output, counts and fault as plain data, for JSON."""
        return {
            "status": self.status,
            "retval": self.retval,
            "output": self.output,
            "stats": asdict(self.stats),
            "fault": self.fault.to_dict() if self.fault else None,
        }


class HostPages:
    """Whole pages of host memory with `data` at the start."""

    def __init__(self, driver: Driver, data: bytes) -> None:
        self._driver = driver
        self.size = max(pages_for(len(data)), 1) * PAGE
        self.pa = driver.blocks.take(self.size // PAGE)
        driver.memory.write(self.pa, data)

    @property
    def span(self) -> tuple[int, int]:
        """Physical address and bytes."""
        return self.pa, self.size

    def read(self) -> bytes:
        """The pages as they are now."""
        return self._driver.memory.read(self.pa, self.size)

    def free(self) -> None:
        """Give the pages back to the kernel."""
        self._driver.blocks.give(self.pa)


class Enclave:
    """One enclave of a machine. Made by `Machine.create`."""

    def __init__(
        self, driver: Driver, inner: DriverEnclave, shm: HostPages | None, relay: HostPages | None
    ) -> None:
        self._driver = driver
        self._inner = inner
        self._shm = shm
        self._relay = relay
        self._started = False

    @property
    def eid(self) -> int:
        """The monitor's number of this enclave: the handle that `acquire` gives."""
        return self._inner.eid

    @property
    def name(self) -> str:
        """The name it was created with, else that of its file."""
        return self._inner.label

    @property
    def type(self) -> EnclaveType:
        """Normal, server or shadow."""
        return self._inner.kind

    @property
    def alive(self) -> bool:
        """Whether the enclave still exists: it has neither exited, nor faulted, nor been destroyed."""
        return self._inner.alive

    def __repr__(self) -> str:
        state = "" if self.alive else " ended"
        return f"<Enclave {self.name!r} eid={self.eid} {self.type.name.lower()}{state}>"

    def run(self, timeout: float | None = None, on_output: OnOutput | None = None) -> Result:
        """Run the enclave to its end: `PLenclave_run`.

        `timeout` is in seconds; when it is over the result is "interrupted", and `resume` goes on from
        there. `on_output` gets the printed bytes as they come. Raises EnclaveError for an enclave that
        cannot be run: a server, or one that has run. Ctrl-C raises KeyboardInterrupt and can be resumed too.
        """
        if self.type is EnclaveType.SERVER:
            raise EnclaveError(f"{self.name} is a server enclave: it runs only when another enclave calls it")
        if self._started or not self.alive:
            raise EnclaveError(f"{self.name} has run already: create it again, or resume an interrupted run")
        self._started = True
        relay = self._relay.span if self._relay else (0, 0)
        return self._go(lambda: self._driver.run(self._inner, relay), timeout, on_output)

    def resume(self, timeout: float | None = None, on_output: OnOutput | None = None) -> Result:
        """Go on with an interrupted run; as `run`."""
        if not self._started or not self.alive:
            raise EnclaveError(f"{self.name} has no interrupted run to resume")
        return self._go(lambda: self._driver.resume(self._inner), timeout, on_output)

    def _go(self, go: Callable[[], int], timeout: float | None, on_output: OnOutput | None) -> Result:
        driver, inner = self._driver, self._inner
        hart = driver.kernel.monitor.hart
        printed: list[bytes] = []

        def write(text: bytes) -> None:
            printed.append(text)
            if on_output is not None:
                on_output(text)

        inner.write = write
        traps, flushes = hart.traps, hart.flushes
        with Watch(hart, timeout) as watch:
            status = go()
        if watch.cancelled:
            raise KeyboardInterrupt
        output = b"".join(printed)
        stats = Stats(hart.traps - traps, hart.flushes - flushes, len(output))
        result = Result(
            status=_RESULTS.get(status, FAULTED),
            retval=inner.value if status == Status.OK else None,
            output=output.decode("utf-8", "replace"),
            stats=stats,
            fault=driver.fault if status == Status.ERROR else None,
            shm=self._shm.read() if self._shm else None,
            relay=self._relay.read() if self._relay and driver.is_back(self._relay.pa) else None,
        )
        if not self.alive:
            self._free_pages()
        return result

    def destroy(self) -> None:
        """End the enclave, and with it a call chain that it takes part in: `PLenclave_destruct`.

        Raises EnclaveError when it has ended already.
        """
        if not self.alive:
            raise EnclaveError(f"{self.name} has ended already")
        self._driver.destroy(self._inner)
        self._free_pages()

    def _free_pages(self) -> None:
        for pages in (self._shm, self._relay):
            if pages is not None and self._driver.is_back(pages.pa):
                pages.free()
        self._shm = self._relay = None


_RESULTS: Final[dict[int, str]] = {Status.OK: EXITED, Status.TIMER: INTERRUPTED}


def create(
    driver: Driver,
    elf: Source,
    *,
    name: str = "",
    kind: EnclaveType = EnclaveType.NORMAL,
    stack_size: int = abi.DEFAULT_STACK,
    shm: bytes | None = None,
    relay: bytes | None = None,
) -> Enclave:
    """`PLenclave_create`: see `Machine.create`."""
    raw_name = _checked_name(name, kind)
    if not 0 < stack_size <= abi.MAX_STACK:
        raise EnclaveError(f"a stack of {stack_size} bytes: it must be 1 byte to {abi.MAX_STACK >> 20} MiB")
    if kind is not EnclaveType.NORMAL and (shm is not None or relay is not None):
        raise EnclaveError("shared memory and relay pages go to enclaves that the host runs, not to servers")
    image = load_image(elf)
    label = name or name_of(elf)
    pages: list[HostPages] = []
    try:
        for data in (shm, relay):
            if data is not None:
                pages.append(HostPages(driver, data))
        shm_pages = pages[0] if shm is not None else None
        inner = driver.create(image, raw_name, kind, stack_size, shm_pages.span if shm_pages else (0, 0))
    except PltvmError as error:
        for one in pages:
            one.free()
        raise type(error)(f"{label}: {error}") from None
    relay_pages = pages[-1] if relay is not None else None
    inner.label, inner.symbols = label, Symbols(elf)
    return Enclave(driver, inner, shm_pages, relay_pages)


def _checked_name(name: str, kind: EnclaveType) -> bytes:
    raw = name.encode()
    if len(raw) > abi.NAME_SIZE:
        raise EnclaveError(f"the name {name!r} has {len(raw)} bytes: at most {abi.NAME_SIZE} fit")
    if "\0" in name:
        raise EnclaveError(f"the name {name!r} contains a NUL byte")
    if kind is EnclaveType.SERVER and not raw:
        raise EnclaveError("a server needs a name: others find it by that")
    return raw
