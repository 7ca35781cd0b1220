"""The enclave driver: builds enclaves in memory, makes the monitor calls, serves ocalls (§1, §4, §8).

One page a driver-side enclave holds what the monitor reads and writes by physical address:

    0     create or run parameters
    256   mailbox: ocall number, arg0, arg1, syscall number, return value; then the eid
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.sv39 import PageTable
from pltvm.errors import EnclaveError, OutOfMemory
from pltvm.host.blocks import order_for
from pltvm.host.elf import EnclaveImage
from pltvm.host.kernel import Kernel
from pltvm.host.report import FaultReport
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import CreateParams, EnclaveType, HostCall, Ocall, ResumeReason, RunParams, Status
from pltvm.monitor.fault import Fault

_OCALL, _ARG0, _ARG1, _SYSCALL, _RETVAL, _EID = (256 + 8 * index for index in range(6))
_CREATE_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.CREATE,
    EnclaveType.SERVER: HostCall.CREATE_SERVER,
}
_DESTROY_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.DESTROY,
    EnclaveType.SERVER: HostCall.DESTROY_SERVER,
}


class DriverEnclave:
    """What the driver knows of one enclave; `eid` is the monitor's number."""

    def __init__(self, eid: int, name: bytes, kind: EnclaveType, block: int, page: int, kbuffer: int) -> None:
        self.eid = eid
        self.name = name
        self.kind = kind
        self.block = block
        self.page = page
        self.kbuffer = kbuffer
        self.label = ""  # for people: the name, or the file
        self.symbols: Symbols | None = None
        self.alive = True
        self.value = 0  # what it returned, as u64
        self.write: Callable[[bytes], None] = lambda _text: None


class Driver:
    """The driver of `kernel`. At most one enclave of a Python program runs at a time: `running`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.blocks = kernel.blocks
        self.running: DriverEnclave | None = None
        self.enclaves: dict[int, DriverEnclave] = {}  # living ones, by their block
        self.handed_over: set[int] = set()  # relay blocks that enclaves have now
        self.serving: dict[int, Callable[[DriverEnclave, int, int], tuple[int, int]]] = {
            Ocall.MMAP: self._serve_block,
            Ocall.SBRK: self._serve_sbrk,
            Ocall.MUNMAP: self._serve_munmap,
            Ocall.WRITE: self._serve_write,
        }
        self.fault: FaultReport | None = None  # of the last run
        kernel.monitor.set_host_vector(self._control_is_back)
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
        taken: list[int] = []
        try:
            block_pages = 1 << order_for(image.pages + pages_for(stack_size) + abi.SPARE_PAGES)
            for pages in (block_pages, 1, 1):
                taken.append(self.blocks.take(pages))
            block, page, kbuffer = taken
            free = self._load(image, block, block_pages, stack_size)
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
        return enclave

    def _servers(self) -> list[DriverEnclave]:
        return [one for one in self.enclaves.values() if one.kind is EnclaveType.SERVER]

    def _load(self, image: EnclaveImage, block: int, block_pages: int, stack_size: int) -> int:
        """Put the image and its page tables into `block` (§1); physical address of the first unused page."""
        free = block + abi.RESERVED_PAGES * PAGE
        end = block + block_pages * PAGE

        def take(pages: int = 1) -> int:
            nonlocal free
            taken, free = free, free + pages * PAGE
            if free > end:
                raise OutOfMemory("the enclave's tables do not fit its block")
            return taken

        table = PageTable(self.memory, block + PAGE, take)
        stack_pages = pages_for(stack_size)
        if stack_pages:
            table.map(abi.STACK_TOP - stack_pages * PAGE, take(stack_pages), stack_pages, sv39.RW)
        for run in image.runs():
            pa = take(run.npages)
            self.memory.write(pa, run.data)
            table.map(run.vaddr, pa, run.npages, sv39.RWX if run.writable else sv39.RX)
        return free

    # -- run ---------------------------------------------------------------------------------------------

    def run(self, enclave: DriverEnclave, relay: tuple[int, int] = (0, 0)) -> int:
        """Run until the enclave exits (0) or fails (−1), or until `interrupt` (TIMER).

        `relay` is physical address and bytes of pages to hand over. Raises EnclaveError when the monitor
        refuses to start it.
        """
        self.memory.write(enclave.page, abi.RUN_PARAMS.pack(*RunParams(*relay)))
        if relay[1]:
            self.handed_over.add(relay[0])
        try:
            return self._go(enclave, HostCall.RUN, enclave.page)
        except EnclaveError:
            self.handed_over.discard(relay[0])
            raise

    def resume(self, enclave: DriverEnclave) -> int:
        """Go on with an enclave that was interrupted; as `run`."""
        return self._go(enclave, HostCall.RESUME, ResumeReason.TIMER)

    def _go(self, enclave: DriverEnclave, function: HostCall, argument: int) -> int:
        self.running, self.fault = enclave, None
        try:
            status = self.kernel.call(function, enclave.eid, argument)
            if status is not None:
                raise EnclaveError("the monitor refused to run the enclave")
            status = self.kernel.monitor.run_guest()
        finally:
            self.running = None
        if status in (Status.OK, Status.ERROR):
            self._ended(enclave)
        return status

    def _control_is_back(self, status: int) -> bool:
        """The host vector: serve an ocall or let the enclave go on; True when it runs again."""
        enclave = self.running
        if enclave is None or status not in (Status.OCALL, Status.YIELD):
            return False
        reason, answer = ResumeReason.TIMER, (0, 0, 0)
        if status == Status.OCALL:
            number, arg0, arg1 = (self.memory.load(enclave.page + at) for at in (_OCALL, _ARG0, _ARG1))
            serve = self.serving[number]
            reason, answer = ResumeReason.OCALL, (number, *serve(enclave, arg0, arg1))
        return self.kernel.monitor.call(HostCall.RESUME, enclave.eid, reason, *answer) is None

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

    def _serve_munmap(self, _enclave: DriverEnclave, block: int, _arg1: int) -> tuple[int, int]:
        self._collect(block)
        return 0, 0

    # -- ending ------------------------------------------------------------------------------------------

    def is_back(self, block: int) -> bool:
        """Whether relay pages that were handed over are the host's again."""
        return block not in self.handed_over

    def destroy(self, enclave: DriverEnclave) -> None:
        """Have the monitor end the enclave; raises EnclaveError when it refuses."""
        if not enclave.alive:
            raise EnclaveError("the enclave has ended already")
        if self.kernel.call(_DESTROY_CALLS[enclave.kind], enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to destroy the enclave")
        self._ended(enclave)

    def _ended(self, enclave: DriverEnclave) -> None:
        """Take back the memory of an enclave that the monitor has let go, and of those that ended with it."""
        del self.enclaves[enclave.block]
        enclave.alive = False
        enclave.value = self.memory.load(enclave.page + _RETVAL)
        self._collect(enclave.block)
        self.blocks.give(enclave.kbuffer)
        self.blocks.give(enclave.page)

    def _collect(self, table: int) -> None:
        """Free the blocks listed in the table that the monitor left at `table`; relay pages are kept."""
        rows: list[int] = []
        while table:
            following, count = self.memory.load(table), self.memory.load(table + 8)
            rows += [self.memory.load(table + 16 + 16 * row) for row in range(count)]
            table = following
        for block in rows:
            if block in self.enclaves:
                self._ended(self.enclaves[block])
            elif block in self.handed_over:
                self.handed_over.remove(block)
            elif self.blocks.owns(block):
                self.blocks.give(block)
