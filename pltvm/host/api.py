"""Enclaves for Python programs: what the C host library calls `PLenclave`.

C                                      Python
elf_args_init, elf_valid               load_image (raises ElfError)
enclave_args_init, PLenclave_init      keyword arguments of Machine.create
PLenclave_create                       Machine.create → Enclave
PLenclave_run                          Enclave.run → Result
PLenclave_stop, PLenclave_resume       Enclave.stop, Enclave.resume
PLenclave_destruct, PLenclave_finalize Enclave.destroy
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pltvm.errors import EnclaveError, PltvmError
from pltvm.host import arguments, building, clients, enclave
from pltvm.host.driver import Driver
from pltvm.host.elf import load_image
from pltvm.host.elf_headers import Source, name_of
from pltvm.host.enclave import GONE, PUT_BACK, REFUSED, RELAY_PAGE, STUCK, DriverEnclave
from pltvm.host.interrupts import Watch
from pltvm.host.output import Output, passed_on
from pltvm.host.report import FaultReport
from pltvm.host.shared import HostPages
from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.symbols import Symbols
from pltvm.host.text import one_line
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Report, Status

if TYPE_CHECKING:
    from pltvm.host.proxy import Answer

EXITED: Final = "exited"
FAULTED: Final = "faulted"
INTERRUPTED: Final = "interrupted"
RELAY_RETURNED: Final = "relay returned"
STOPPED: Final = "stopped"
WAITING: Final = "waiting"
DESTROYED: Final = "destroyed"
ELSEWHERE: Final = "put back"
DEADLOCKED: Final = "deadlocked"

Pages = bytes | str | Path | HostPages | None  # contents, their file, or a result of Machine.shm or relay

OnOutput = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of work in one run: traps taken, TLB flushes requested, bytes printed."""

    traps: int
    flushes: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    `status` is "exited", "faulted", "interrupted" (time limit), "relay returned" (it waits for new relay
    pages), "waiting" (for a busy server: `resume` goes on once it has room), "stopped" or "destroyed" (from
    `on_output`), "put back" (also from there: the machine is as before the run, see `Machine.restore`), or
    "deadlocked" (only of `Machine.run_together`). `retval` is the enclave's return value as u64, None unless
    it exited. `output` is what it and the servers it called printed, the first 16 MiB. `shm` and `relay` are
    the final contents of the memory shared with it and handed over, None where there was none (relay: or
    where the pages did not come back). `notes` are lines on what may be wrong without a fault, such as a
    name that an enclave looked for and no server has. `place` is where a time limit found it.
    """

    status: str
    retval: int | None
    output: str
    stats: Stats
    fault: FaultReport | None = None
    shm: bytes | None = None
    relay: bytes | None = None
    notes: tuple[str, ...] = ()
    place: FaultReport | None = None

    @property
    def ok(self) -> bool:
        """Whether the enclave exited by itself, with any return value."""
        return self.status == EXITED

    def to_dict(self) -> dict[str, Any]:
        """Return status, return value, output, counts, fault and notes as plain data, for JSON."""
        return {
            "status": self.status,
            "retval": self.retval,
            "output": self.output,
            "stats": asdict(self.stats),
            "fault": self.fault.to_dict() if self.fault else None,
            "notes": list(self.notes),
            "place": self.place.to_dict() if self.place else None,
        }


class Enclave:
    """One enclave of a machine. Made by `Machine.create`.

    It refers to the enclave with this id in the driver, also after the machine was restored.
    """

    def __init__(self, driver: Driver, inner: DriverEnclave) -> None:
        self._driver = driver
        self._latest = inner

    @property
    def _inner(self) -> DriverEnclave:
        self._latest = self._driver.table.latest(self._latest)
        return self._latest

    @property
    def eid(self) -> int:
        """The monitor's number of this enclave: the handle that `acquire` gives."""
        return self._inner.eid

    @property
    def name(self) -> str:
        """The name it was created with, else that of its file."""
        return self._inner.label

    @property
    def inner(self) -> DriverEnclave:
        """The driver's record of it."""
        return self._inner

    @property
    def type(self) -> EnclaveType:
        """Normal, server or shadow."""
        return self._inner.kind

    @property
    def alive(self) -> bool:
        """Whether the enclave still exists: it has neither exited, nor faulted, nor been destroyed."""
        return self._inner.alive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Enclave) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[int, ...]:
        inner = self._latest
        return id(self._driver), inner.id, 0 if inner.id else inner.eid

    def _must_be_ours(self) -> None:
        """Raises EnclaveError for an enclave not made by a Python program: others run those."""
        if self._inner.client in (clients.LINUX, clients.NOBODY):
            whose = "a host program" if self._inner.client == clients.LINUX else "a kernel program"
            raise EnclaveError(f"{self.name} belongs to {whose}, which alone runs, stops and ends it")

    def __repr__(self) -> str:
        state = "" if self.alive else " ended"
        return f"<Enclave {self.name!r} eid={self.eid} {self.type.name.lower()}{state}>"

    def run(self, timeout: float | None = None, on_output: OnOutput | None = None) -> Result:
        """Run the enclave to its end: `PLenclave_run`.

        `timeout` is in seconds; when it is over the result is "interrupted", and `resume` goes on from there.
        `on_output` gets printed bytes when they are printed. Raises EnclaveError for an enclave that cannot
        be run: a server, or one that has run. Ctrl-C raises KeyboardInterrupt; that run can be resumed too.
        """
        timeout = arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        self.startable()
        if not self._driver.start(self._inner, self._inner.relay):
            raise EnclaveError(f"{self.name}: the monitor refused to run the enclave")
        return self._go(lambda: self._driver.go(self._inner), timeout, on_output)

    def startable(self) -> DriverEnclave:
        """Return the driver's record of it, if it can be run. Raises EnclaveError."""
        self._must_be_ours()
        if abi.is_server(self.type):
            raise EnclaveError(f"{self.name} is a server enclave: it runs only when another enclave calls it")
        if self.type is EnclaveType.SHADOW:
            raise EnclaveError(f"{self.name} is a shadow template: run what its `fork` gives")
        if self._inner.started or not self.alive:
            raise EnclaveError(f"{self.name} has run already: create it again, or resume an interrupted run")
        return self._inner

    def resume(
        self, timeout: float | None = None, on_output: OnOutput | None = None, relay: Pages = None
    ) -> Result:
        """Go on with a run that was interrupted or stopped, or that returned its relay pages; otherwise as
        `run`.

        In the last case `relay` gives new pages. Raises EnclaveError when there is no such run, or when the
        pages are refused; then it can still be resumed.
        """
        timeout = arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        self._must_be_ours()
        if not self._inner.started or not self.alive:
            raise EnclaveError(f"{self.name} has no interrupted run to resume")
        if relay is None:
            return self._go(lambda: self._driver.resume(self._inner), timeout, on_output)
        if self._inner.status != RELAY_PAGE:
            raise EnclaveError(f"{self.name} does not wait for relay pages")
        pages, made = arguments.pages("relay", relay, partial(HostPages, self._driver))
        assert pages is not None
        inner = self._inner
        try:
            if not self._driver.go_on(inner, pages.span):
                raise EnclaveError(f"{self.name}: the monitor refused the relay pages")
        except EnclaveError:
            if made:
                pages.free()
            raise
        self._driver.set_relay(inner, pages.span)
        return self._go(lambda: self._driver.go(inner), timeout, on_output)

    def call(
        self,
        arg: int = 0,
        data: bytes | str | Path = b"",
        timeout: float | None = None,
        *,
        on_output: OnOutput | None = None,
        client: int = 0,
    ) -> "Answer":
        """Call this server, as an enclave would: `value, data = server.call(…)`.

        `arg` is the server's argument, 64 bits. `data` is passed in whole pages, filled up with zeros;
        without data no memory is passed. `timeout` is in seconds. To the server each number `client` is a
        different caller, the same at each call.

        Raises CallError if there is no answer: after a fault, which destroys the server; after a time limit,
        which ends the call and leaves the server idle, with its memory as it is then; if the server is busy
        with another call. Raises EnclaveError if this is no living server, or while an enclave runs;
        OutOfMemory.
        """
        from pltvm.host import proxy  # most runs do not need it

        __tracebackhide__ = True  # from pytest's tracebacks

        arg, client = arguments.number("arg", arg), arguments.number("client", client)
        content, timeout = arguments.content("data", data), arguments.seconds("timeout", timeout)
        arguments.function("on_output", on_output)
        if not -(1 << 63) <= arg <= abi.MASK64:
            raise EnclaveError(f"the argument {arg} has more than 64 bits")
        if not abi.is_server(self.type):
            raise EnclaveError(
                f'{self.name} is not a server enclave: run it, or create it with type="server"'
            )
        if not self.alive:
            raise EnclaveError(f"{self.name} has ended: create it again")
        return proxy.call(self._driver, self._inner, arg, content, timeout, on_output, client)

    def stop(self) -> None:
        """Stop a started enclave until `resume`; may be called while it is paused, or from `on_output`.

        From `on_output` the run ends with status "stopped". Raises EnclaveError for one that has not started.
        """
        self._must_be_ours()
        self._driver.stop(self._inner)

    @property
    def place(self) -> FaultReport | None:
        """Where it is, with the servers that it has called, while Ctrl-C or a time limit has paused it."""
        return self._driver.place_of(self._inner)

    def fork(self, *, name: str = "", shm: Pages = None, relay: Pages = None) -> Self:
        """Return an instance of this shadow template, with memory as loaded; it can `run` once (§6).

        It has an `eid` from its run on. Raises EnclaveError if this is no living template.
        """
        self._must_be_ours()
        if self.type is not EnclaveType.SHADOW or not self.alive:
            raise EnclaveError(f"{self.name} is not a living shadow template")
        raw_name = _checked_name(name, EnclaveType.NORMAL)
        driver, template = self._driver, self._inner
        with _pages(driver, shm, relay, self.name) as (shm_span, relay_span):
            inner = driver.fork(template, raw_name, shm_span)
        driver.set_relay(inner, relay_span)
        return type(self)(driver, inner)

    def _go(self, go: Callable[[], int], timeout: float | None, on_output: OnOutput | None) -> Result:
        driver, inner = self._driver, self._inner
        hart = driver.kernel.monitor.hart
        output = Output(on_output)
        client = driver.clients[inner.client]
        client.output, client.printed, client.late = output.write, output, output.late
        traps, flushes = hart.traps, hart.flushes
        driver.unknown_names.take()  # of runs before
        try:
            with passed_on(), Watch(hart, timeout) as watch:
                status = go()
        finally:
            client.printed = None
        if watch.cancelled:
            raise KeyboardInterrupt
        if status == REFUSED:
            raise EnclaveError(f"{self.name}: the monitor refused to go on with the enclave")
        inner = self._inner
        stats = Stats(hart.traps - traps, hart.flushes - flushes, output.size)
        fault = driver.fault if status == Status.ERROR else None
        notes = tuple(driver.unknown_names.take().values())
        return result_of(driver, inner, status, output.text, stats, fault, notes)

    @property
    def measurement(self) -> bytes:
        """Return the digest of its memory at creation (§9), 32 bytes.

        The first call takes some 15 ms per MiB, or a second or two without the native core; later calls
        return the stored value. Raises EnclaveError when the enclave has ended.
        """
        value = self._driver.kernel.monitor.measurement(self.eid) if self.alive else None
        if value is None:
            raise EnclaveError(f"{self.name} has ended, or not started: there is nothing to measure")
        return value

    def attest(self, nonce: int) -> Report:
        """Return the monitor's signed report on the enclave: `PLenclave_attest`; `nonce` is a u64.

        Raises EnclaveError when the enclave has ended.
        """
        nonce = arguments.number("nonce", nonce)
        if not 0 <= nonce <= abi.MASK64:
            raise EnclaveError(f"the nonce {nonce} is not an unsigned 64-bit number")
        if not self.alive:
            raise EnclaveError(f"{self.name} has ended: attest it before that")
        return building.attest(self._driver.kernel, self._inner, nonce)

    def destroy(self) -> None:
        """End the enclave, and the call chain that it is part of: `PLenclave_destruct`.

        Raises EnclaveError when it has ended already.
        """
        self._must_be_ours()
        if not self.alive:
            raise EnclaveError(f"{self.name} has ended already")
        self._driver.destroy(self._inner)


def result_of(
    driver: Driver,
    inner: DriverEnclave,
    status: int,
    text: bytes,
    stats: Stats,
    fault: FaultReport | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    """Return the Result of a run, given the driver's status. To be called once: it frees what the run
    left."""
    # Of relay pages that are bound to a name the host does not know.
    has_relay_back = inner.relay.size > 0 and driver.kept.here(inner.relay)
    result = Result(
        status=_RESULTS.get(status, FAULTED),
        retval=inner.value if status == Status.OK else None,
        output=text.decode("utf-8", "replace"),
        stats=stats,
        fault=fault,
        shm=driver.memory.read(*inner.shm) if inner.shm.size else None,
        relay=driver.memory.read(*inner.relay) if has_relay_back else None,
        place=driver.place_of(inner) if status in _PLACED else None,
        notes=notes,
    )
    if not inner.alive and status not in (GONE, PUT_BACK):
        driver.let_go(inner)
    return result


_RESULTS: Final[dict[int, str]] = {
    Status.OK: EXITED,
    Status.TIMER: INTERRUPTED,
    RELAY_PAGE: RELAY_RETURNED,
    enclave.STOPPED: STOPPED,
    Status.WAITING: WAITING,
    GONE: DESTROYED,
    PUT_BACK: ELSEWHERE,
    STUCK: DEADLOCKED,
}
_PLACED: Final = (Status.TIMER, STUCK)  # results with these have a `place`


def create(
    driver: Driver,
    elf: Source,
    *,
    name: str = "",
    kind: EnclaveType | str = EnclaveType.NORMAL,
    stack_size: int = abi.DEFAULT_STACK,
    shm: Pages = None,
    relay: Pages = None,
    slots: int | None = None,
) -> DriverEnclave:
    """`PLenclave_create`: see `Machine.create`."""
    elf = arguments.source("elf", elf)
    kind = arguments.member(EnclaveType, "type", kind)
    slots = _checked_slots(slots, kind)
    stack_size = arguments.number("stack_size", stack_size, "its bytes, a whole number")
    raw_name = _checked_name(name, kind)
    if not 0 < stack_size <= abi.MAX_STACK:
        raise EnclaveError(f"a stack of {stack_size} bytes: it must be 1 byte to {abi.MAX_STACK >> 20} MiB")
    if kind is EnclaveType.SHADOW and (shm is not None or relay is not None):
        raise EnclaveError("shared memory and relay pages go to the instances: see Enclave.fork")
    if abi.is_server(kind) and (relay is not None or isinstance(shm, bytes | str | Path)):
        raise EnclaveError("bytes go to enclaves that the host runs, not to servers: see Machine.shm")
    image = load_image(elf)
    label = one_line(name) or name_of(elf)
    with _pages(driver, shm, relay, label) as (shm_span, relay_span):
        inner = driver.create(image, raw_name, kind, stack_size, shm_span, clients.PYTHON, slots)
    driver.set_relay(inner, relay_span)
    inner.label, inner.symbols = label, Symbols(elf)
    return inner


def _checked_slots(slots: int | None, kind: EnclaveType) -> int:
    if kind is not EnclaveType.CONCURRENT_SERVER:
        if slots is not None:
            raise EnclaveError('slots are for a concurrent server: create it with type="concurrent"')
        return 0
    slots = abi.DEFAULT_SLOTS if slots is None else arguments.number("slots", slots)
    if not 1 <= slots <= abi.MOST_SLOTS:
        raise EnclaveError(f"a server of {slots} slots: it has 1 to {abi.MOST_SLOTS}")
    return slots


@contextmanager
def _pages(driver: Driver, shm: Pages, relay: Pages, label: str) -> Iterator[tuple[Span, Span]]:
    """Provide the shared and relay pages for an enclave made in this context; free them again if that
    fails."""
    spans: list[Span] = []
    made: list[HostPages] = []
    try:
        for what, given in (("shm", shm), ("relay", relay)):
            pages, is_made = arguments.pages(what, given, partial(HostPages, driver))
            if pages is not None and is_made:
                made.append(pages)
            spans.append(pages.span if pages is not None else NO_PAGES)
        yield spans[0], spans[1]
    except BaseException as error:
        for one in made:
            one.free()
        if isinstance(error, PltvmError):
            raise type(error)(f"{label}: {error}") from None
        raise


def _checked_name(name: str, kind: EnclaveType) -> bytes:
    arguments.text("name", name)
    try:
        raw = name.encode("utf-8", "surrogateescape")  # names from a command line can be any bytes
    except UnicodeEncodeError:
        raise EnclaveError(f"the name {name!r} cannot be encoded as UTF-8") from None
    if len(raw) > abi.NAME_SIZE:
        raise EnclaveError(f"the name {name!r} has {len(raw)} bytes: at most {abi.NAME_SIZE} fit")
    if "\0" in name:
        raise EnclaveError(f"the name {name!r} contains a NUL byte")
    if abi.is_server(kind) and not raw:
        raise EnclaveError("a server needs a name: others find it by that")
    return raw
