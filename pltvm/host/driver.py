"""The enclave driver: builds enclaves in memory, makes the monitor calls, serves ocalls (§1, §4, §8).

One page a driver-side enclave holds what the monitor reads and writes by physical address:

    0     create or run parameters
    256   mailbox: ocall number, arg0, arg1, syscall number, return value; then the eid
    1024  report
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import AccessFault, EnclaveError, EngineError, OutOfMemory, PltvmError
from pltvm.host import forking
from pltvm.host.away import Away
from pltvm.host.blocks import order_for
from pltvm.host.elf import EnclaveImage
from pltvm.host.kernel import Kernel
from pltvm.host.loading import load
from pltvm.host.report import FaultReport
from pltvm.host.services import Services
from pltvm.host.shared import HostPages, Span
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import (
    CreateParams,
    EnclaveType,
    HostCall,
    Ocall,
    Report,
    ResumeReason,
    RunParams,
    Status,
)
from pltvm.monitor.fault import Fault

_NEWLINE: Final = ord("\n")
_REPORT: Final = 1024
_REQUEST: Final = Struct("<3Q")  # ocall number and arguments
_OCALL, _ARG0, _ARG1, _SYSCALL, _RETVAL, _EID = (256 + 8 * index for index in range(6))
_CREATE_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.CREATE,
    EnclaveType.SERVER: HostCall.CREATE_SERVER,
    EnclaveType.SHADOW: HostCall.CREATE_SHADOW,
}
_DESTROY_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.DESTROY,
    EnclaveType.SERVER: HostCall.DESTROY_SERVER,
    EnclaveType.SHADOW: HostCall.DESTROY_SHADOW,
}
# What `run` and `resume` give besides OK, ERROR and TIMER of the monitor.
RELAY_PAGE: Final = 10  # the enclave has returned its relay pages and waits for new ones (ocall 7)
STOPPED: Final = 11  # by `stop`, from a callback
GONE: Final = 12  # by `destroy`, from a callback
REFUSED: Final = 13  # the monitor refused to let it go on: it is as it was
RUNS_ON: Final = 14

NO_PAGES: Final = (0, 0)


class DriverEnclave:
    """What the driver knows of one enclave; `eid` is the monitor's number."""

    def __init__(self, eid: int, name: bytes, kind: EnclaveType, block: int, page: int, kbuffer: int) -> None:
        self.eid = eid
        self.name = name
        self.kind = kind
        self.block = block
        self.page = page
        self.kbuffer = kbuffer
        self.shm: Span = NO_PAGES
        self.copy_pages = 0  # of a shadow template: pages of an instance, without its stack
        self.template: DriverEnclave | None = None  # of a shadow instance; it has an eid once it runs
        self.stopped = False
        self.status = 0  # how its last run ended or paused
        self.pending: tuple[int, ...] = (ResumeReason.TIMER,)  # how to resume it
        self.lent: list[int] = []  # blocks that hold an answer until it is taken
        self.label = ""  # for people: the name, or the file
        self.symbols: Symbols | None = None
        self.alive = True
        self.value = 0  # what it returned, as u64
        self.on_end: Callable[[], None] = lambda: None  # called when it ended along with another one
        self.write: Callable[[bytes], None] = lambda _text: None
        # How the host goes on when the enclave has ended, or is paused (timer, yield): True if guest code
        # runs on at once. Where nothing else can run meanwhile, `gives_way` is off and a yield returns.
        self.on_ended: Callable[[int], bool] = lambda _status: False
        self.on_paused: Callable[[int], bool] = lambda _status: False
        self.gives_way = False


class Driver:
    """The driver of `kernel`. At most one enclave of a Python program runs at a time: `running`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.blocks = kernel.blocks
        self.running: DriverEnclave | None = None
        self.enclaves: dict[int, DriverEnclave] = {}  # living ones, by their block
        self.pages: dict[int, HostPages] = {}  # memory for enclaves that the host keeps, by its block
        self.away = Away(kernel)
        kernel.holders.append(self._held)
        self._ids = 0
        self.serving: dict[int, Callable[[DriverEnclave, int, int], tuple[int, int]]] = {
            Ocall.MMAP: self._serve_block,
            Ocall.SBRK: self._serve_sbrk,
            Ocall.MUNMAP: self._serve_freed,
            Ocall.WRITE: self._serve_write,
            Ocall.SHM_GET: self._serve_shared,
            Ocall.SHM_DETACH: self._serve_freed,
            Ocall.SHM_DESTROY: self._serve_freed,
        }
        self.services = Services(self)
        self.fault: FaultReport | None = None  # of the last run
        kernel.monitor.set_host_vector(self.control_is_back)
        kernel.monitor.set_fault_listener(self._note_fault)

    # -- create ------------------------------------------------------------------------------------------

    def create(
        self,
        image: EnclaveImage,
        name: bytes,
        kind: EnclaveType,
        stack_size: int = abi.DEFAULT_STACK,
        shm: tuple[int, int] = (0, 0),
    ) -> DriverEnclave:
        """Load an enclave and have the monitor create it.

        `shm` is physical address and bytes of memory to share with it. Raises EnclaveError when the monitor
        refuses, OutOfMemory when RAM is used up; neither leaves anything behind.
        """
        if kind is EnclaveType.SERVER and any(name == one.name for one in self._servers()):
            raise EnclaveError("there is a server of that name already")
        if kind is EnclaveType.SHADOW:
            stack_size = 0
        taken: list[int] = []
        try:
            block_pages = 1 << order_for(image.pages + pages_for(stack_size) + abi.SPARE_PAGES)
            for pages in (block_pages, 1, 1):
                taken.append(self.blocks.take(pages))
            block, page, kbuffer = taken
            free = load(self.memory, image, block, block_pages, stack_size)
            params = CreateParams(
                page + _EID, name, kind, block, block_pages * PAGE, image.entry, free, kbuffer, PAGE, *shm,
                page + _OCALL, page + _ARG0, page + _ARG1, page + _SYSCALL, page + _RETVAL,
            )  # fmt: skip
            self.memory.write(page, abi.CREATE_PARAMS.pack(*params))
            if self.kernel.call(_CREATE_CALLS[kind], page) != Status.OK:
                raise EnclaveError("the monitor refused to create the enclave")
        except PltvmError:
            for one in taken:
                self.blocks.give(one)
            raise
        eid = int.from_bytes(self.memory.read(page + _EID, 4), "little")
        self.enclaves[block] = enclave = DriverEnclave(eid, name, kind, block, page, kbuffer)
        enclave.shm = shm
        shared_pages = sum(run.npages for run in image.runs() if not run.writable)
        enclave.copy_pages = (free - block) // PAGE - abi.RESERVED_PAGES + 1 - shared_pages
        return enclave

    def _servers(self) -> list[DriverEnclave]:
        return [one for one in self.enclaves.values() if one.kind is EnclaveType.SERVER]

    # -- run ---------------------------------------------------------------------------------------------

    def run(self, enclave: DriverEnclave, relay: tuple[int, int] = (0, 0)) -> int:
        """Run until the enclave exits (OK), fails (ERROR), or TIMER (`interrupt`), RELAY_PAGE, STOPPED, GONE.

        `relay` is physical address and bytes of pages to hand over. Raises EnclaveError when the monitor
        refuses to start it.
        """
        return self._go(enclave, self.start(enclave, relay))

    def resume(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> int:
        """Go on with an enclave that was interrupted or stopped, or has returned its relay pages; as `run`.

        In the last case `relay` are new ones.
        """
        return self._go(enclave, self.go_on(enclave, relay))

    def _go(self, enclave: DriverEnclave, entered: bool) -> int:
        if not entered:
            raise EnclaveError("the monitor refused to run the enclave")
        return self.go(enclave)

    def go(self, enclave: DriverEnclave) -> int:
        """Run an enclave that `start` or `go_on` has entered; as `run`."""
        try:
            self.kernel.monitor.run_guest()
        finally:
            self.running = None
        return enclave.status

    def start(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the run call; True when the hart is the enclave's now, False when it was refused."""
        self._must_be_idle()
        page, template = enclave.page, enclave.template
        if template is None:
            self.memory.write(page, abi.RUN_PARAMS.pack(*RunParams(*relay)))
            return self.enter(enclave, HostCall.RUN, page)
        mailbox = (page + _OCALL, page + _ARG0, page + _ARG1, page + _SYSCALL, page + _RETVAL)
        self.memory.write(page, forking.run_params(self, enclave, relay, mailbox, page + _EID))
        self.running, self.fault = enclave, None
        if self.kernel.call(HostCall.RUN_SHADOW, template.eid, page) is not None:
            self.running = None
            return False
        enclave.eid = int.from_bytes(self.memory.read(page + _EID, 4), "little")
        return True

    def go_on(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the resume call that the enclave waits for; as `start`. Undoes `stop`."""
        self._must_be_idle()
        if enclave.stopped:
            self.unstop(enclave)
        if enclave.status == RELAY_PAGE:
            return self.enter(enclave, HostCall.RESUME, ResumeReason.OCALL, Ocall.RETURN_RELAY, *relay)
        if relay != NO_PAGES:
            raise EnclaveError("the enclave does not wait for relay pages")
        return self._enter_with_answer(enclave)

    def _must_be_idle(self) -> None:
        if self.running is not None:
            raise EnclaveError("an enclave is running: wait for its end")

    def stop(self, enclave: DriverEnclave) -> None:
        """Keep a started enclave from running until it goes on; EnclaveError when the monitor refuses."""
        if not enclave.alive or self.kernel.call(HostCall.STOP, enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to stop the enclave: only one that has started can be")
        enclave.stopped = True

    def unstop(self, enclave: DriverEnclave) -> bool:
        """Undo `stop`; False when the monitor refuses."""
        if self.kernel.call(HostCall.RESUME, enclave.eid, ResumeReason.STOP) != Status.OK:
            return False
        enclave.stopped = False
        return True

    def enter(self, enclave: DriverEnclave, function: HostCall, *arguments: int) -> bool:
        """Make a run or resume call; True when the hart is the enclave's now, False when it was refused."""
        self.running, self.fault = enclave, None
        if self.kernel.call(function, enclave.eid, *arguments) is None:
            return True
        self.running = None
        return False

    def _enter_with_answer(self, enclave: DriverEnclave) -> bool:
        """As `enter`, with what the enclave waits for; memory that the answer was in comes back."""
        entered = self.enter(enclave, HostCall.RESUME, *enclave.pending)
        if entered and enclave.lent:
            self._answer_taken(enclave)
        return entered

    def control_is_back(self, status: int) -> bool:
        """The host vector: serve an ocall, or tell who runs the enclave; True when guest code goes on."""
        enclave = self.running
        if enclave is None:
            return False
        if status == Status.OCALL:
            status = self._serve(enclave)
            if status == RUNS_ON:
                return True
        elif status in (Status.TIMER, Status.YIELD):
            enclave.pending = (ResumeReason.TIMER,)
            if status == Status.YIELD and not enclave.gives_way:
                if self._enter_with_answer(enclave):
                    return True
                status = REFUSED
        if status not in (Status.OK, Status.ERROR, GONE):
            return self._paused(enclave, status)
        self.running, enclave.status = None, status
        if enclave.alive:
            self._ended(enclave)
        return enclave.on_ended(status)

    def _serve(self, enclave: DriverEnclave) -> int:
        """Serve an ocall and resume, unless that has stopped or destroyed the enclave; how it goes on."""
        number, arg0, arg1 = self.memory.unpack(_REQUEST, enclave.page + _OCALL)
        try:
            if number == Ocall.RETURN_RELAY:
                self._collect(arg0)
                return RELAY_PAGE
            enclave.pending = (ResumeReason.OCALL, number, *self.serving[number](enclave, arg0, arg1))
        except OutOfMemory as error:
            what = Ocall(number).name.lower()
            return self._fail(enclave, f"the host has no memory for {what} of {arg0} bytes: {error}")
        except AccessFault as error:
            return self._fail(enclave, str(error))
        if not enclave.alive:
            return GONE
        if enclave.stopped:
            return STOPPED
        return RUNS_ON if self._enter_with_answer(enclave) else REFUSED

    def _fail(self, enclave: DriverEnclave, reason: str) -> int:
        """An ocall gets no answer: the enclave ends, with a report (§4)."""
        monitor = self.kernel.monitor
        fault = monitor.describe_waiting(enclave.eid, reason)
        if fault is None or self.kernel.call(_DESTROY_CALLS[enclave.kind], enclave.eid) != Status.OK:
            raise EngineError(f"{reason}; and the monitor refused to destroy the enclave")
        self._note_fault(fault)
        return Status.ERROR

    def _paused(self, enclave: DriverEnclave, status: int) -> bool:
        self.running, enclave.status = None, status
        return enclave.on_paused(status)

    def lend(self, enclave: DriverEnclave, size: int) -> int:
        """Physical address of memory that goes with an answer; raises OutOfMemory.

        When the answer is taken the block is freed, or, if the monitor has made it private, it is away.
        """
        block = self.blocks.take(pages_for(size))
        enclave.lent.append(block)
        return block

    def _answer_taken(self, enclave: DriverEnclave) -> None:
        while enclave.lent:
            block = enclave.lent.pop()
            if self.memory.is_public(block, PAGE):
                self.blocks.give(block)
            else:
                self.away.add(block)

    def _note_fault(self, fault: Fault) -> None:
        who = next((one for one in self.enclaves.values() if one.eid == fault.eid), None)
        self.fault = FaultReport(fault, who.label if who else fault.name, who.symbols if who else None)

    # -- ocalls (§4) -------------------------------------------------------------------------------------

    def _serve_write(self, enclave: DriverEnclave, _arg0: int, _arg1: int) -> tuple[int, int]:
        text = self.memory.read(enclave.kbuffer, abi.WRITE_LIMIT).partition(b"\0")[0]
        if text:
            enclave.write(text if text[-1] == _NEWLINE else text + b"\n")
        return 0, 0

    def _serve_block(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        block = self.lend(enclave, size + PAGE)
        return block, self.blocks.size(block)

    def _serve_shared(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        try:
            return self._serve_block(enclave, size, 0)
        except OutOfMemory:
            return 0, 0

    def _serve_sbrk(self, enclave: DriverEnclave, size: int, freed: int) -> tuple[int, int]:
        if size:
            return self._serve_block(enclave, size, 0)
        self._collect(freed)
        return 0, 0

    def _serve_freed(self, _enclave: DriverEnclave, block: int, _arg1: int) -> tuple[int, int]:
        self._collect(block)
        return 0, 0

    def new_id(self) -> int:
        """A number for shared memory or relay pages."""
        self._ids += 1
        return self._ids

    # -- attestation (§9) --------------------------------------------------------------------------------

    def attest(self, enclave: DriverEnclave, nonce: int) -> Report:
        """The monitor's report on a living enclave; raises EnclaveError when it refuses."""
        report = enclave.page + _REPORT
        if self.kernel.call(HostCall.ATTEST, enclave.eid, report, nonce) != Status.OK:
            raise EnclaveError("the monitor refused to attest the enclave")
        return Report(*abi.REPORT.unpack(self.memory.read(report, abi.REPORT.size)))

    # -- ending ------------------------------------------------------------------------------------------

    def destroy(self, enclave: DriverEnclave) -> None:
        """Have the monitor end the enclave; raises EnclaveError when it refuses."""
        if not enclave.alive:
            raise EnclaveError("the enclave has ended already")
        if enclave.eid == forking.NO_EID:
            del self.enclaves[enclave.block]
            enclave.alive = False
            for block in (enclave.block, enclave.kbuffer, enclave.page):
                self.blocks.give(block)
            return
        if self.kernel.call(_DESTROY_CALLS[enclave.kind], enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to destroy the enclave")
        self._ended(enclave)

    def _ended(self, enclave: DriverEnclave) -> None:
        """Take back the memory of an enclave that the monitor has let go, and of those that ended with it."""
        del self.enclaves[enclave.block]
        enclave.alive = False
        enclave.value = self.memory.load(enclave.page + _RETVAL)
        self.away.add(enclave.block)
        self._collect(enclave.block)
        self._answer_taken(enclave)
        self.blocks.give(enclave.kbuffer)
        self.blocks.give(enclave.page)

    def _collect(self, table: int) -> None:
        """Look after the pages listed in the table that the monitor left at `table`: they may be back.

        What the host keeps (relay pages, memory shared with it) stays as it is, whoever had it last.
        """
        following, count, pa, size = self.memory.unpack(abi.FREED_BLOCK, table)
        rows = [(pa, size)] if count == 1 and not following else self._rows(table)
        for pa, size in rows:
            block = self.blocks.holding(pa)
            if block is None:
                continue
            other = self.enclaves.get(block)
            if other is not None and self.memory.is_public(block, PAGE):
                self._ended(other)
                other.on_end()
                continue
            # A block that comes back alone was cleared by the monitor, which then put the table into it.
            alone = len(rows) == 1 and table == pa == block and size == self.blocks.size(block)
            self.away.freed(block, PAGE if alone else None)

    def _rows(self, table: int) -> list[Span]:
        """Physical address and bytes of what a table of the monitor lists: see `State.give_back`."""
        rows: list[Span] = []
        while table:
            following, count, _, _ = self.memory.unpack(abi.FREED_BLOCK, table)
            numbers = memoryview(self.memory.read(table + 16, 16 * count)).cast("Q").tolist()
            rows += zip(numbers[::2], numbers[1::2], strict=True)
            table = following
        return rows

    def _held(self) -> Iterator[int]:
        """The blocks that the driver has taken, but for those that are away."""
        yield from self.pages
        for enclave in self.enclaves.values():
            yield from (enclave.block, enclave.page, enclave.kbuffer, *enclave.lent)
