"""Calls of servers for a Python program: `Enclave.call`.

Only enclaves can call servers. So Python calls through the proxy (`guest/proxy/proxy.c`), an ordinary enclave
that takes orders through memory shared with the host, makes the call like any caller, and yields. To the
monitor and the server it is nothing special. A proxy is kept for the next call; there is one per client.

    Python   order ─▶ mailbox ─▶ proxy ──call──▶ server         data of more than a window: several orders
             answer ◀─ window ◀─ proxy ◀─return── server

A proxy's progress is in its mailbox in RAM, so that it is right after the machine was restored. A proxy whose
call did not finish is destroyed, which makes the servers of its chain idle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Final, NamedTuple, NoReturn

from pltvm.build import guest
from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import CallError, EnclaveError, OutOfMemory
from pltvm.host import clients, enclave
from pltvm.host.driver import Driver
from pltvm.host.elf import load_image
from pltvm.host.enclave import DriverEnclave
from pltvm.host.interrupts import Watch
from pltvm.host.kept import Kind
from pltvm.host.output import Output, passed_on
from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import EnclaveType, Status

# struct mailbox: busy, steps, handle, argument, size, offset, count, of_request; then what comes of it
_ORDER: Final = Struct("<8Q")
_COUNT_AT: Final = 6 * 8
_RESULTS: Final = Struct("<qQQQ")  # result, value, request_size, response_size
_TAKE, _FILL, _CALL, _FETCH, _DROP = 1, 2, 4, 8, 16  # enum step

_WINDOW: Final = 64 << 10  # bytes
_SHOWN: Final = 64  # bytes of an answer
_BUSY: Final = -2  # what the monitor says of a server that is in a call


class _Pair(NamedTuple):
    value: int
    data: bytes


class Answer(_Pair):
    """The answer of a server: `value, data = server.call(…)`.

    `value` is what the server returned, a u64. `data` is the memory that it returned, in whole pages. If it
    returned none of its own, `data` is the passed memory as it came back: as many bytes as were passed, or
    more if bytes after them are not zero; b"" if nothing came back. `pages` is the same in whole pages,
    `request` is the passed memory if the server returned both. `output` is what was printed meanwhile,
    `notes` are as in a Result.
    """

    pages: bytes
    request: bytes
    output: str
    notes: tuple[str, ...]

    def __new__(
        cls,
        value: int,
        data: bytes,
        pages: bytes = b"",
        request: bytes = b"",
        output: str = "",
        notes: tuple[str, ...] = (),
    ) -> "Answer":
        """Make an Answer; given the pair alone, the other fields are empty."""
        made = super().__new__(cls, value, data)
        vars(made).update(pages=pages, request=request, output=output, notes=notes)
        return made

    @property
    def signed(self) -> int:
        """The value as a signed number, for error numbers."""
        return self.value - (1 << 64) if self.value >> 63 else self.value

    @property
    def text(self) -> str:
        """The data up to the first NUL, as text."""
        return self.data.partition(b"\0")[0].decode("utf-8", "replace")

    def __repr__(self) -> str:
        data = self.data.rstrip(b"\0")
        more = len(self.data) - len(data)
        if len(data) > _SHOWN:
            more = len(self.data) - _SHOWN
            return f"Answer(value={self.value}, data={data[:_SHOWN]!r} and {more} bytes more)"
        shown = f"{data!r} and {more} zero bytes" if more > 1 else repr(self.data)
        return f"Answer(value={self.value}, data={shown})"


def create(driver: Driver, client: int, label: str, shm: Span = NO_PAGES, name: bytes = b"") -> DriverEnclave:
    """Create the proxy of a client; it has not run. Raises OutOfMemory.

    The fuzzer's callers are proxies too; they read no orders, and have names for the chain in reports.
    """
    elf = guest.proxy().elf
    made = driver.create(load_image(elf), name, EnclaveType.NORMAL, abi.DEFAULT_STACK, shm, client)
    made.label, made.symbols, made.gives_way = label, Symbols(elf), True
    return made


def call(
    driver: Driver,
    server: DriverEnclave,
    arg: int,
    data: bytes,
    timeout: float | None,
    on_output: Callable[[bytes], None] | None,
    client: int,
) -> Answer:
    """`Enclave.call`, with checked arguments."""
    __tracebackhide__ = True  # pytest shows the line with the call of the server, not these frames
    if driver.running is not None:
        raise EnclaveError(f"{server.label} can not be called while an enclave runs: wait for its end")
    driver.unknown_names.take()  # of runs before
    output = Output(on_output)
    proxy = _proxy(driver, f"caller {client}" if client else "caller")
    with _printing(driver, output), passed_on(), Watch(driver.kernel.monitor.hart, timeout) as watch:
        return _Call(driver, proxy, server, output, watch, timeout).make(arg, data)


@contextmanager
def _printing(driver: Driver, output: Output) -> Iterator[None]:
    """Send to `output` what is printed in this context."""
    client = driver.clients[clients.PROXY]
    client.output, client.printed, client.late = output.write, output, output.late
    try:
        yield
    finally:
        client.printed = None


def _proxy(driver: Driver, label: str) -> DriverEnclave:
    """Return the idle proxy with this label, or a new one."""
    for one in driver.enclaves.values():
        if one.client == clients.PROXY and one.label == label:
            if not driver.memory.load(one.shm.pa):
                return one
            give_up(driver, one)  # restored to the middle of a call, or left there by an error
            break
    pa, row = driver.kept.add(b"", 1 + _WINDOW // PAGE, Kind.OWN)
    try:
        made = create(driver, clients.PROXY, label, Span(pa, row.size))
    except Exception:
        driver.kept.free(pa)
        raise
    driver.run(made)
    return made


def give_up(driver: Driver, proxy: DriverEnclave) -> None:
    """Destroy a proxy, and with it its call: its servers are idle again."""
    if proxy.alive:
        driver.destroy(proxy)
    else:
        driver.let_go(proxy)


class _Call:
    """One call by an idle proxy."""

    def __init__(
        self,
        driver: Driver,
        proxy: DriverEnclave,
        server: DriverEnclave,
        output: Output,
        watch: Watch,
        timeout: float | None,
    ) -> None:
        self.driver, self.inner, self.server, self.output = driver, proxy, server, output
        self.watch, self.timeout = watch, timeout
        self.box, self.window = proxy.shm.pa, proxy.shm.pa + PAGE

    def make(self, arg: int, data: bytes) -> Answer:
        """Make the call and return the answer. Raises CallError if there is none."""
        __tracebackhide__ = True
        last = max(len(data) - 1, 0) // _WINDOW * _WINDOW  # start of the last part
        steps = _TAKE
        for offset in range(0, last, _WINDOW):
            self._order(steps | _FILL, arg, data, offset)
            steps = 0
        self._order(steps | (_FILL if data else 0) | _CALL | _FETCH | _DROP, arg, data, last)
        result, value, request_size, response_size = self.driver.memory.unpack(
            _RESULTS, self.box + _ORDER.size
        )
        if result:
            self._order(_DROP)  # pages that it did not pass
            self._refused(result, len(data))
        size = response_size or request_size
        first = self._fetched()
        pages = first + self._rest(len(first), size, of_request=False)
        request = self._rest(0, request_size, of_request=True) if response_size else b""
        if len(first) < request_size + response_size:
            self._order(_DROP)
        data = pages if response_size else _cut(pages, len(data))
        notes = tuple(self.driver.unknown_names.take().values())
        return Answer(value, data, pages, request, self._text(), notes)

    def _rest(self, start: int, size: int, *, of_request: bool) -> bytes:
        parts = []
        for offset in range(start, size, _WINDOW):
            self._order(_FETCH, offset=offset, of_request=of_request)
            parts.append(self._fetched())
        return b"".join(parts)

    def _fetched(self) -> bytes:
        return self.driver.memory.read(self.window, self.driver.memory.load(self.box + _COUNT_AT))

    def _order(
        self, steps: int, arg: int = 0, data: bytes = b"", offset: int = 0, *, of_request: bool = False
    ) -> None:
        """Have the proxy take these steps."""
        __tracebackhide__ = True
        driver, memory = self.driver, self.driver.memory
        part = data[offset : offset + _WINDOW]
        size = pages_for(len(data)) * PAGE
        order = (1, steps, self.server.eid, arg & abi.MASK64, size, offset, len(part), of_request)
        memory.write(self.box, _ORDER.pack(*order))
        memory.write(self.window, part)
        status: int = Status.YIELD
        while status == Status.YIELD and memory.load(self.box):  # or a server has yielded
            if not driver.go_on(self.inner):
                self._fail("refused", "the monitor refused to go on with the call")
            status = driver.go(self.inner)
        if status != Status.YIELD:
            self._ended(status)

    def _text(self) -> str:
        return self.output.text.decode("utf-8", "replace")

    # -- no answer -----------------------------------------------------------------------------------------

    def _refused(self, result: int, size: int) -> NoReturn:
        __tracebackhide__ = True
        if result == _BUSY:
            self._fail("busy", "is busy: a call of it has not come to its end", keep=True)
        passed = f", with {size} bytes: it may have no room for them" if size else ""
        self._fail("refused", f"the monitor refused the call{passed}", keep=True)

    def _ended(self, status: int) -> NoReturn:
        """Raise CallError: the proxy or its server did not finish an order."""
        __tracebackhide__ = True
        driver = self.driver
        if status == Status.TIMER:
            place = driver.place_of(self.inner)
            if self.watch.cancelled:
                self.give_up()
                raise KeyboardInterrupt(*([place] if place is not None else []))
            where = f" in {place.place.splitlines()[0]}" if place else ""
            limit = "" if self.timeout is None else f" after {self.timeout:g} s"
            self._fail("interrupted", f"still running{limit}{where}", place)
        if status == Status.ERROR:
            fault = driver.fault
            if fault is not None and fault.fault.eid == self.inner.eid:
                self.give_up()
                raise OutOfMemory(f"{self.server.label}: {fault.fault.reason}")
            self._fail("faulted", fault.summary if fault else "has ended with an error", fault)
        words = _ENDS.get(status, ("failed", f"the call ended with status {status}"))
        self._fail(*words, keep=status == enclave.PUT_BACK)  # then this proxy may be another one

    def _fail(self, status: str, words: str, report: object = None, *, keep: bool = False) -> NoReturn:
        """Raise the CallError for the caller. Unless `keep`, destroy the proxy."""
        __tracebackhide__ = True
        notes = tuple(self.driver.unknown_names.take().values())
        if not keep:
            self.give_up()
        own = self.server.label
        text = words if words.startswith(f"{own} (") else f"{own}: {words}"
        raise CallError(text, status, report, self._text(), notes)

    def give_up(self) -> None:
        """End the call by destroying the proxy."""
        give_up(self.driver, self.inner)


_ENDS: Final[dict[int, tuple[str, str]]] = {
    enclave.STOPPED: ("stopped", "was stopped"),
    Status.WAITING: ("busy", "waits for another server, which is busy"),
    enclave.GONE: ("destroyed", "was destroyed during the call"),
    enclave.PUT_BACK: ("put back", "the machine was put back meanwhile to where the call was not made"),
    enclave.REFUSED: ("refused", "the monitor refused to go on with the call"),
}


def _cut(pages: bytes, size: int) -> bytes:
    """Return passed memory that came back: `size` bytes, or more, up to the last byte that is not zero."""
    return pages[: max(size, len(pages.rstrip(b"\0")))]
