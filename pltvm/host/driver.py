"""The enclave driver: builds enclaves in memory, makes the monitor calls, serves ocalls (§1, §4, §8).

One page a driver-side enclave holds what the monitor reads and writes by physical address:

    0     create or run parameters
    256   mailbox: ocall number, arg0, arg1, syscall number, return value; then the eid
    1024  report
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.errors import EnclaveError, OutOfMemory
from pltvm.host import forking
from pltvm.host.blocks import order_for
from pltvm.host.elf import EnclaveImage
from pltvm.host.kernel import Kernel
from pltvm.host.loading import load
from pltvm.host.report import FaultReport
from pltvm.host.services import Services
from pltvm.host.shared import HandedOver, SecureBlocks, Span
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
RUNS_ON: Final = 13

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
        self.handed_over = HandedOver()
        self.secure = SecureBlocks(self)
        self._ids = 0
        self.serving: dict[int, Callable[[DriverEnclave, int, int], tuple[int, int]]] = {
            Ocall.MMAP: self._serve_block,
            Ocall.SBRK: self._serve_sbrk,
            Ocall.MUNMAP: self._serve_munmap,
            Ocall.WRITE: self._serve_write,
            Ocall.SHM_GET: self._serve_secure,
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
        except (EnclaveError, OutOfMemory):
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
            return self._handing_over(relay, self.enter(enclave, HostCall.RUN, page))
        mailbox = (page + _OCALL, page + _ARG0, page + _ARG1, page + _SYSCALL, page + _RETVAL)
        self.memory.write(page, forking.run_params(self, enclave, relay, mailbox, page + _EID))
        self.running, self.fault = enclave, None
        entered = self.kernel.call(HostCall.RUN_SHADOW, template.eid, page) is None
        if entered:
            enclave.eid = int.from_bytes(self.memory.read(page + _EID, 4), "little")
        return self._handing_over(relay, entered)

    def go_on(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the resume call that the enclave waits for; as `start`. Undoes `stop`."""
        self._must_be_idle()
        if enclave.stopped:
            self.kernel.call(HostCall.RESUME, enclave.eid, ResumeReason.STOP)
            enclave.stopped = False
        if enclave.status == RELAY_PAGE:
            how: tuple[int, ...] = (ResumeReason.OCALL, Ocall.RETURN_RELAY, *relay)
            return self._handing_over(relay, self.enter(enclave, HostCall.RESUME, *how))
        if relay != NO_PAGES:
            raise EnclaveError("the enclave does not wait for relay pages")
        entered = self.enter(enclave, HostCall.RESUME, *enclave.pending)
        self._answer_taken(enclave)
        return entered

    def _must_be_idle(self) -> None:
        if self.running is not None:
            raise EnclaveError("an enclave is running: wait for its end")

    def _handing_over(self, relay: Span, entered: bool) -> bool:
        if not entered:
            self.running = None
        elif relay[1]:
            self.handed_over.add(*relay)
        return entered

    def stop(self, enclave: DriverEnclave) -> None:
        """Keep a started enclave from running until it goes on; EnclaveError when the monitor refuses."""
        if not enclave.alive or self.kernel.call(HostCall.STOP, enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to stop the enclave: only one that has started can be")
        enclave.stopped = True

    def enter(self, enclave: DriverEnclave, function: HostCall, *arguments: int) -> bool:
        """Make a run or resume call; True when the hart is the enclave's now, False when it was refused."""
        self.running, self.fault = enclave, None
        return self.kernel.call(function, enclave.eid, *arguments) is None

    def control_is_back(self, status: int) -> bool:
        """The host vector: serve an ocall, or tell who runs the enclave; True when guest code goes on."""
        enclave = self.running
        if enclave is None:
            return False
        if status == Status.OCALL:
            number, arg0, arg1 = _REQUEST.unpack_from(
                self.memory.bytes, enclave.page - self.memory.base + _OCALL
            )
            if number == Ocall.RETURN_RELAY:
                self._collect(arg0)
                return self._paused(enclave, RELAY_PAGE)
            enclave.pending = (ResumeReason.OCALL, number, *self.serving[number](enclave, arg0, arg1))
            status = self._answer(enclave)
            if status == RUNS_ON:
                return True
        elif status in (Status.TIMER, Status.YIELD):
            enclave.pending = (ResumeReason.TIMER,)
        if status in (Status.OK, Status.ERROR, GONE):
            self.running, enclave.status = None, status
            if enclave.alive:
                self._ended(enclave)
            return enclave.on_ended(status)
        if status == Status.YIELD and not enclave.gives_way:
            return self.enter(enclave, HostCall.RESUME, ResumeReason.TIMER)
        return self._paused(enclave, status)

    def _answer(self, enclave: DriverEnclave) -> int:
        """Resume after an ocall, unless serving it has stopped or destroyed the enclave."""
        if not enclave.alive:
            return GONE
        if enclave.stopped:
            return STOPPED
        entered = self.enter(enclave, HostCall.RESUME, *enclave.pending)
        if enclave.lent:
            self._answer_taken(enclave)
        return RUNS_ON if entered else Status.ERROR

    def _paused(self, enclave: DriverEnclave, status: int) -> bool:
        self.running, enclave.status = None, status
        return enclave.on_paused(status)

    def lend(self, enclave: DriverEnclave, size: int) -> int:
        """Physical address of memory for an answer, freed when the monitor has read it; or OutOfMemory."""
        block = self.blocks.take(pages_for(size))
        enclave.lent.append(block)
        return block

    def _answer_taken(self, enclave: DriverEnclave) -> None:
        while enclave.lent:
            self.blocks.give(enclave.lent.pop())

    def _note_fault(self, fault: Fault) -> None:
        who = next((one for one in self.enclaves.values() if one.eid == fault.eid), None)
        self.fault = FaultReport(fault, who.label if who else fault.name, who.symbols if who else None)

    # -- ocalls (§4) -------------------------------------------------------------------------------------

    def _serve_write(self, enclave: DriverEnclave, _arg0: int, _arg1: int) -> tuple[int, int]:
        text = self.memory.read(enclave.kbuffer, abi.WRITE_LIMIT)
        enclave.write(text.partition(b"\0")[0])
        return 0, 0

    def _serve_block(self, _enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        try:
            block = self.blocks.take(pages_for(size) + 1)
        except OutOfMemory:
            return 0, 0
        return block, self.blocks.size(block)

    def _serve_sbrk(self, enclave: DriverEnclave, size: int, freed: int) -> tuple[int, int]:
        if size:
            return self._serve_block(enclave, size, 0)
        self._collect(freed)
        return 0, 0

    def _serve_secure(self, enclave: DriverEnclave, size: int, _arg1: int) -> tuple[int, int]:
        block, length = self._serve_block(enclave, size, 0)
        self.secure.add(block, length)
        return block, length

    def _serve_freed(self, _enclave: DriverEnclave, block: int, _arg1: int) -> tuple[int, int]:
        self._collect(block)
        return 0, 0

    def _serve_munmap(self, _enclave: DriverEnclave, block: int, _arg1: int) -> tuple[int, int]:
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

    def is_back(self, block: int) -> bool:
        """Whether relay pages that were handed over are the host's again."""
        return block not in self.handed_over

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
        self._collect(enclave.block)
        self._answer_taken(enclave)
        self.blocks.give(enclave.kbuffer)
        self.blocks.give(enclave.page)

    def _collect(self, table: int) -> None:
        """Free the blocks listed in the table that the monitor left at `table`; relay pages are kept."""
        rows: list[Span] = []
        following, count, block, size = abi.FREED_BLOCK.unpack_from(
            self.memory.bytes, table - self.memory.base
        )
        if count == 1 and not following:
            rows, table = [(block, size)], 0
        while table:
            following, count = self.memory.load(table), self.memory.load(table + 8)
            places = range(table + 16, table + 16 + 16 * count, 16)
            rows += [(self.memory.load(at), self.memory.load(at + 8)) for at in places]
            table = following
        for block, size in rows:
            if block in self.enclaves:
                other = self.enclaves[block]
                self._ended(other)
                other.on_end()
                continue
            self.secure.discard(block)
            was_relay, complete = self.handed_over.returned(block, size)
            if complete:
                self.blocks.give(complete)
            elif not was_relay and self.blocks.owns(block):
                self.blocks.give(
                    block, dirty=PAGE
                )  # the monitor cleared it; its table lies in the first page
