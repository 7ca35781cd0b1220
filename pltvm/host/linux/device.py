"""`/dev/penglai_enclave_dev`: what the driver does for Linux programs (§8, "the driver, ioctl by ioctl").

`run` blocks its thread until the enclave ends; meanwhile the enclave shares the hart with the process's other
threads, which may stop, resume or destroy it. Requests come in through `enclave_file`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pltvm.errors import AccessFault, EnclaveError, OutOfMemory, PltvmError
from pltvm.host import forking
from pltvm.host.driver import NO_PAGES, REFUSED, RELAY_PAGE, Driver, DriverEnclave
from pltvm.host.elf import load_image
from pltvm.host.linux.errno import EFAULT, EINVAL, EPERM, LinuxError
from pltvm.host.linux.requests import REQUESTS, AttestParam, Failures, Refused
from pltvm.host.linux.shared_ids import SharedIds
from pltvm.host.linux.threads import Thread
from pltvm.host.linux.user_elf import read_elf
from pltvm.host.report import FaultReport
from pltvm.host.shared import RelayMemory, SharedMemory, Span
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import (
    FIRST_ENCLAVE_ID,
    FIRST_MEMORY_ID,
    RELAY_BOUND,
    EnclaveType,
    Ioctl,
    Status,
    UserParam,
)

if TYPE_CHECKING:
    from pltvm.host.linux.process import Process

MOST_ENCLAVES: Final = 4096  # of one program
_GO_ON: Final = 1  # `rerun_reason`: it has returned its relay pages
_INSTANCE: Final = 1  # `is_shadow`


class Run:
    """A thread inside the run request: for which enclave, and where its struct is."""

    def __init__(self, thread: Thread, enclave: DriverEnclave, address: int, param: UserParam) -> None:
        self.thread = thread
        self.enclave = enclave
        self.address = address
        self.param = param


class EnclaveDevice:
    """The device as one process sees it: its enclaves by id, and who is running them."""

    def __init__(self, process: "Process", driver: Driver, on_fault: Callable[[FaultReport], None]) -> None:
        self.process = process
        self.driver = driver
        self.failures = Failures()
        self._on_fault = on_fault
        self._enclaves: dict[int, DriverEnclave] = {}
        self._next_id = FIRST_ENCLAVE_ID
        self._runs: dict[DriverEnclave, Run] = {}
        self._shared: dict[DriverEnclave, SharedMemory | RelayMemory] = {}
        maps = process.space.maps
        self.shm = SharedIds(lambda size: SharedMemory(driver, b"", size), maps, alone=False)
        self.relays = SharedIds(lambda size: RelayMemory(driver, b"", size), maps, alone=True)
        process.at_end.append(self._close)

    # -- create and destroy --------------------------------------------------------------------------------

    def create(self, param: UserParam) -> UserParam:
        """ioctl 0: load the ELF that lies in user memory; gives the id."""
        try:
            elf = read_elf(self.process.space.read, param.elf_ptr)
            template = param.type == EnclaveType.SHADOW
            if not template and not 0 <= param.stack_size <= abi.MAX_STACK:
                raise Refused(EPERM, f"a stack of {param.stack_size} bytes")
            if param.type not in list(EnclaveType):
                raise Refused(EFAULT, f"there is no enclave type {param.type}")
            if len(self._enclaves) >= MOST_ENCLAVES:
                raise Refused(EFAULT, f"there are {MOST_ENCLAVES} enclaves already")
            name, span = abi.clean_name(param.name), NO_PAGES if template else self._attach(param)
            stack = 0 if template else param.stack_size
            enclave = self.driver.create(load_image(elf), name, EnclaveType(param.type), stack, span)
        except AccessFault:
            raise
        except PltvmError as error:
            raise Refused(EFAULT, str(error)) from None
        self._keep(enclave, param.shmid)
        enclave.label = name.decode("ascii", "backslashreplace") or "enclave"
        enclave.symbols = Symbols(elf)
        enclave.write = self._print
        return param._replace(eid=self._add(enclave))

    def _attach(self, param: UserParam) -> Span:
        """The shared memory that a request names; none where there is no such."""
        return self.shm.part(param.shmid, param.shm_offset, param.shm_size) or NO_PAGES

    def _keep(self, enclave: DriverEnclave, shmid: int) -> None:
        """The enclave uses the shared memory that it got until it ends."""
        if enclave.shm != NO_PAGES:
            pages = self.shm.find(shmid).pages
            pages.take()
            self._shared[enclave] = pages

    def _add(self, enclave: DriverEnclave) -> int:
        number = self._next_id
        self._next_id += 1
        self._enclaves[number] = enclave
        return number

    def _print(self, text: bytes) -> None:
        self.process.files.output(text)

    def _find(self, number: int, is_shadow: int = 0) -> DriverEnclave:
        """The living enclave, or instance, of this id; raises Refused."""
        enclave = self._enclaves.get(number)
        if enclave is None or (enclave.template is not None) != (is_shadow == _INSTANCE):
            kind = "instance" if is_shadow == _INSTANCE else "enclave"
            raise Refused(EINVAL, f"there is no {kind} {number:#x}")
        return enclave

    def destroy(self, param: UserParam) -> UserParam:
        """ioctl 5: end an enclave in whatever state; a run request for it, or for its chain, is over."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            self.driver.destroy(enclave)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        self._after_an_end()
        return param

    def _after_an_end(self) -> None:
        """Let go of what belonged to enclaves that have ended; runs of those that were destroyed are over."""
        for run in [run for run in self._runs.values() if not run.enclave.alive]:
            self._finish(run, 0)
        for number, enclave in list(self._enclaves.items()):
            if not enclave.alive:
                del self._enclaves[number]
                pages = self._shared.pop(enclave, None)
                if pages is not None:
                    pages.let_go()
        self.shm.tidy()
        self.relays.tidy()

    def _close(self) -> None:
        """The process is over: no enclave of its outlives it."""
        self._runs.clear()
        for enclave in sorted(self._enclaves.values(), key=lambda one: one.kind is EnclaveType.SHADOW):
            if enclave.alive:
                self.driver.destroy(enclave)
        self._after_an_end()
        self.shm.close()
        self.relays.close()

    # -- run, stop, resume ---------------------------------------------------------------------------------

    def run(self, thread: Thread, address: int, param: UserParam) -> None:
        """ioctl 1: run an enclave; the thread goes on when it ends, or returns its relay pages.

        A shadow template makes an instance, which runs; one that returned its relay pages gets new ones.
        """
        again = param.rerun_reason != 0
        enclave = self._find(param.eid, param.is_shadow if again else 0)
        waits = enclave.status == RELAY_PAGE and enclave not in self._runs
        if again and (param.rerun_reason != _GO_ON or not waits or enclave.stopped):
            raise Refused(EFAULT, f"the enclave can not go on for reason {param.rerun_reason}")
        relay = self._relay(param)
        if enclave.kind is EnclaveType.SHADOW:
            enclave = self._fork(enclave, param)
            param = param._replace(eid=self._add(enclave), is_shadow=_INSTANCE)
        elif not again and (enclave in self._runs or waits or enclave.kind is EnclaveType.SERVER):
            raise Refused(EFAULT, "the enclave can not be started: it is a server, or has started already")
        run = Run(thread, enclave, address, param)
        enclave.on_ended = lambda status: self._ended(run, status)
        enclave.on_paused = lambda status: self._paused(run, status)
        enclave.gives_way = True
        self._runs[enclave] = run
        if not (self.driver.go_on if again else self.driver.start)(enclave, relay):
            del self._runs[enclave]
            if not again and enclave.template is not None:
                self.driver.destroy(enclave)
                self._after_an_end()
            raise Refused(EFAULT, "the monitor refused to run the enclave, or the relay pages")
        thread.enter = lambda: self._enter(run)

    def _fork(self, template: DriverEnclave, param: UserParam) -> DriverEnclave:
        if len(self._enclaves) >= MOST_ENCLAVES:
            raise Refused(EFAULT, f"there are {MOST_ENCLAVES} enclaves already")
        try:
            instance = forking.fork(self.driver, template, template.name, self._attach(param))
        except OutOfMemory as error:
            raise Refused(EFAULT, str(error)) from None
        self._keep(instance, param.shmid)
        instance.label, instance.symbols, instance.write = template.label, template.symbols, self._print
        return instance

    def _relay(self, param: UserParam) -> Span:
        """The relay pages that a request names; size 0: all that are bound to the enclave's name (§7)."""
        if param.relay_id <= 0:
            return NO_PAGES
        if param.relay_size == 0:
            return RELAY_BOUND, 0
        span = self.relays.part(param.relay_id, param.relay_offset, param.relay_size)
        if span is None:
            raise Refused(EFAULT, f"there are no such relay pages of id {param.relay_id:#x}")
        return span

    def _enter(self, run: Run) -> bool:
        """It is the turn of a thread whose enclave was paused: the enclave goes on."""
        if self.driver.go_on(run.enclave):
            return True
        self._refused(run)
        return False

    def _paused(self, run: Run, status: int) -> bool:
        if status == RELAY_PAGE:
            self._finish(run, abi.RELAY_PAGE)
            return True
        if status == REFUSED:
            self._refused(run)
            return True
        self.process.scheduler.rotate()
        return self.process.go_on()

    def _refused(self, run: Run) -> None:
        self._finish(run, -EFAULT, "the monitor refused to go on with the enclave")

    def _ended(self, run: Run, status: int) -> bool:
        fault = self.driver.fault
        if status == Status.ERROR and fault is not None:
            self._on_fault(fault)
        if status == Status.OK:
            self._finish(run, 0)
        else:
            self._finish(run, -EFAULT, fault.summary if fault is not None else "the enclave was destroyed")
        self._after_an_end()
        return self.process.scheduler.current is run.thread or self.process.go_on()

    def _finish(self, run: Run, result: int, reason: str = "") -> None:
        """End a run request: copy the struct back, and let its thread go on."""
        self._runs.pop(run.enclave, None)
        run.thread.enter = None
        param = run.param._replace(retval=run.enclave.value)
        try:
            self.process.space.write(run.address, abi.USER_PARAM.pack(*param))
        except (LinuxError, OutOfMemory):
            result, reason = -EFAULT, "the struct can not be written"
        if result < 0:
            self.failures.note(REQUESTS[Ioctl.RUN].name, param, Refused(-result, reason))
        scheduler = self.process.scheduler
        if scheduler.current is run.thread:
            run.thread.answer(result)
        else:
            scheduler.wake(run.thread, result)

    def stop(self, param: UserParam) -> UserParam:
        """ioctl 3: keep a started enclave from the hart."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            self.driver.stop(enclave)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        run = self._runs.get(enclave)
        if run is not None:
            self.process.scheduler.park(run.thread)
        return param

    def resume(self, param: UserParam) -> UserParam:
        """ioctl 4: let a stopped enclave go on; the thread that runs it does."""
        enclave = self._find(param.eid, param.is_shadow)
        if not self.driver.unstop(enclave):
            raise Refused(EPERM, "the enclave is not stopped")
        run = self._runs.get(enclave)
        if run is not None:
            self.process.scheduler.wake(run.thread)
        return param

    def attest(self, param: AttestParam) -> AttestParam:
        """ioctl 2: the report about an enclave."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            report = self.driver.attest(enclave, param.nonce)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        return param._replace(report=abi.REPORT.pack(*report))

    def name_persistent(self, number: int) -> None:
        """ioctl 0x18: the shared memory that sectors go through (§4)."""
        if number < FIRST_MEMORY_ID:
            raise Refused(EPERM, f"{number:#x} is no id of shared memory")
        try:
            pages = self.shm.find(number).pages
        except Refused:
            self.driver.services.use(None)
        else:
            self.driver.services.use(pages)
