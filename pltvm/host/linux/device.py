"""`/dev/penglai_enclave_dev`: the driver's interface for Linux programs (§8, "the driver, ioctl by ioctl").

`run` blocks its thread until the enclave ends; meanwhile the enclave shares the hart with the process's other
threads, which may stop, resume or destroy it. Requests come in through `enclave_file`.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EFAULT, EINVAL, EPERM
from typing import Final

from pltvm.errors import AccessFault, EnclaveError, OutOfMemory, PltvmError
from pltvm.host import building, clients
from pltvm.host.clients import Client
from pltvm.host.driver import Driver
from pltvm.host.elf import load_image
from pltvm.host.enclave import REFUSED, RELAY_PAGE, DriverEnclave
from pltvm.host.kept import Kind
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.process import Process, Thread
from pltvm.host.linux.requests import REQUESTS, AttestParam, Failures, Refused
from pltvm.host.linux.shared_ids import SharedIds, SharedIdsState
from pltvm.host.linux.system import System
from pltvm.host.linux.user_elf import read_elf
from pltvm.host.plain import copied
from pltvm.host.report import FaultReport
from pltvm.host.spans import NO_PAGES, Span
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

MOST_ENCLAVES: Final = 4096  # of one program
_GO_ON: Final = 1  # `rerun_reason`: the enclave has returned its relay pages
_INSTANCE: Final = 1  # `is_shadow`


@dataclass(slots=True)
class Run:
    """A run request: its thread, its enclave (the driver's id), and the address of its struct."""

    thread: int
    enclave: int
    address: int
    param: UserParam
    value: int = 0  # the enclave's return value, after its end
    waits: bool = False  # whether it waits until a server has room


@dataclass(slots=True)
class DeviceState:
    """The state of the device. Enclaves are named by the driver's id."""

    enclaves: dict[int, int] = field(default_factory=dict)  # by the id that programs know
    owners: dict[int, int] = field(default_factory=dict)  # the process that made it, by that id
    next_id: int = FIRST_ENCLAVE_ID
    runs: dict[int, Run] = field(default_factory=dict)  # by enclave


@dataclass(slots=True)
class SavedDevice:
    """The device and its parts."""

    device: DeviceState
    failures: Failures
    shm: SharedIdsState
    relays: SharedIdsState


def _kind_of(number: int) -> tuple[EnclaveType, int]:
    """Return type and slots in a request; raises Refused."""
    if number in (EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW):
        return EnclaveType(number), 0
    slots = abi.slots_of(number)
    if number & abi.TYPE_MASK != EnclaveType.CONCURRENT_SERVER or slots > abi.MOST_SLOTS:
        raise Refused(EFAULT, f"there is no enclave type {number}")
    return EnclaveType.CONCURRENT_SERVER, slots


class EnclaveDevice(Client):
    """The device, shared by all processes of a system: enclaves by id, and the threads that run them.

    `output` gets what the enclaves print.
    """

    def __init__(
        self,
        system: System,
        driver: Driver,
        output: Callable[[bytes], None],
        on_fault: Callable[[FaultReport], None],
    ) -> None:
        super().__init__(output)
        self.system = system
        self.driver = driver
        self.state = DeviceState()
        self.failures = Failures()
        self._on_fault = on_fault
        self.shm = SharedIds(driver.kept, Kind.SHARED, self._maps)
        self.relays = SharedIds(driver.kept, Kind.RELAY, self._maps)
        system.at_end_of_thread.append(self._end_of_thread)
        system.at_end_of_process.append(self._end_of_process)
        system.at_end.append(self._close)
        system.scheduler.enter = self._enter
        driver.clients[clients.LINUX] = self

    def _maps(self, span: Span) -> bool:
        """Whether any process maps pages of this span."""
        return any(process.space.shows(span) for process in self.system.processes.values())

    def save(self) -> SavedDevice:
        """A copy of the state, of the parts too."""
        return SavedDevice(copied(self.state), copied(self.failures), self.shm.save(), self.relays.save())

    def load(self, saved: SavedDevice) -> None:
        """Put the state back."""
        self.state, self.failures = copied(saved.device), copied(saved.failures)
        self.shm.load(saved.shm)
        self.relays.load(saved.relays)

    # -- create and destroy --------------------------------------------------------------------------------

    def create(self, process: Process, param: UserParam) -> UserParam:
        """ioctl 0: load the ELF in user memory; returns the id."""
        try:
            elf = read_elf(process.space.read, param.elf_ptr)
            template = param.type == EnclaveType.SHADOW
            if not template and not 0 <= param.stack_size <= abi.MAX_STACK:
                raise Refused(EPERM, f"a stack of {param.stack_size} bytes")
            kind, slots = _kind_of(param.type)
            self._must_have_room()
            name, span = abi.clean_name(param.name), NO_PAGES if template else self._attach(param)
            stack = 0 if template else param.stack_size
            enclave = self.driver.create(load_image(elf), name, kind, stack, span, clients.LINUX, slots)
        except AccessFault:
            raise
        except PltvmError as error:
            raise Refused(EFAULT, str(error)) from None
        enclave.label = name.decode("ascii", "backslashreplace") or "enclave"
        enclave.symbols = Symbols(elf)
        return param._replace(eid=self._add(process, enclave))

    def _must_have_room(self) -> None:
        if len(self.state.enclaves) >= MOST_ENCLAVES:
            raise Refused(EFAULT, f"there are {MOST_ENCLAVES} enclaves already")

    def _attach(self, param: UserParam) -> Span:
        """Return the shared memory that a request names; an empty span if there is none."""
        return self.shm.part(param.shmid, param.shm_offset, param.shm_size) or NO_PAGES

    def _add(self, process: Process, enclave: DriverEnclave) -> int:
        number = self.state.next_id
        self.state.next_id += 1
        self.state.enclaves[number] = enclave.id
        self.state.owners[number] = process.pid
        return number

    def _find(self, number: int, is_shadow: int = 0) -> DriverEnclave:
        """Return the living enclave, or instance, with this id; raises Refused."""
        enclave = self.driver.table.find(self.state.enclaves.get(number, 0))
        if enclave is None or enclave.is_instance != (is_shadow == _INSTANCE):
            kind = "instance" if is_shadow == _INSTANCE else "enclave"
            raise Refused(EINVAL, f"there is no {kind} {number:#x}")
        return enclave

    def destroy(self, param: UserParam) -> UserParam:
        """ioctl 5: end an enclave in any state; a run request for it, or for its chain, is over."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            self.driver.destroy(enclave)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        self._after_an_end()
        return param

    def gone(self, enclave: DriverEnclave) -> None:
        run = self.state.runs.get(enclave.id)
        if run is not None:
            run.value = enclave.value

    def _after_an_end(self) -> None:
        """Forget enclaves that have ended; runs of those that were destroyed are over."""
        state, find = self.state, self.driver.table.find
        for run in [run for run in state.runs.values() if find(run.enclave) is None]:
            self._finish(run, 0)
        self._rouse()
        state.enclaves = {number: one for number, one in state.enclaves.items() if find(one) is not None}
        state.owners = {number: pid for number, pid in state.owners.items() if number in state.enclaves}
        self.shm.tidy()
        self.relays.tidy()

    def _end_of_thread(self, thread: Thread) -> None:
        """End the enclave that an ended thread was running."""
        run = self.state.runs.pop(thread.state.enclave, None)
        enclave = self.driver.table.find(thread.state.enclave) if run is not None else None
        if enclave is not None:
            self._destroy_all([enclave])

    def _end_of_process(self, process: Process) -> None:
        """End all enclaves that an ended process has made."""
        state, find = self.state, self.driver.table.find
        mine = [state.enclaves[number] for number, pid in state.owners.items() if pid == process.pid]
        if not mine:
            return
        self._destroy_all(filter(None, map(find, mine)))

    def _destroy_all(self, enclaves: Iterable[DriverEnclave]) -> None:
        """End these enclaves. A template stays as long as another process has a living instance of it."""
        for enclave in sorted(enclaves, key=lambda one: one.kind is EnclaveType.SHADOW):
            if enclave.alive:
                with suppress(EnclaveError):
                    self.driver.destroy(enclave)
        self._after_an_end()

    def _close(self) -> None:
        """End remaining templates at the end of the run."""
        self._destroy_all(filter(None, map(self.driver.table.find, self.state.enclaves.values())))
        self.shm.close()
        self.relays.close()

    # -- run, stop, resume ---------------------------------------------------------------------------------

    def run(self, thread: Thread, address: int, param: UserParam) -> None:
        """ioctl 1: run an enclave; the thread goes on when it ends, or returns its relay pages.

        A shadow template makes an instance, which runs; one that returned its relay pages gets new ones.
        """
        again = param.rerun_reason != 0
        enclave = self._find(param.eid, param.is_shadow if again else 0)
        runs = self.state.runs
        waits = enclave.status == RELAY_PAGE and enclave.id not in runs
        if again and (param.rerun_reason != _GO_ON or not waits or enclave.stopped):
            raise Refused(EFAULT, f"the enclave can not go on for reason {param.rerun_reason}")
        relay = self._relay(param)
        if enclave.kind is EnclaveType.SHADOW:
            enclave = self._fork(enclave, param)
            param = param._replace(eid=self._add(thread.process, enclave), is_shadow=_INSTANCE)
        elif not again and (enclave.id in runs or waits or abi.is_server(enclave.kind)):
            raise Refused(EFAULT, "the enclave can not be started: it is a server, or has started already")
        enclave.gives_way = True
        runs[enclave.id] = Run(thread.tid, enclave.id, address, param)
        if not (self.driver.go_on if again else self.driver.start)(enclave, relay):
            del runs[enclave.id]
            if not again and enclave.is_instance:
                self.driver.destroy(enclave)
                self._after_an_end()
            raise Refused(EFAULT, "the monitor refused to run the enclave, or the relay pages")
        thread.state.enclave = enclave.id

    def _fork(self, template: DriverEnclave, param: UserParam) -> DriverEnclave:
        self._must_have_room()
        try:
            instance = self.driver.fork(template, template.name, self._attach(param))
        except OutOfMemory as error:
            raise Refused(EFAULT, str(error)) from None
        instance.label = template.label
        return instance

    def _relay(self, param: UserParam) -> Span:
        """Return the relay pages that a request names; size 0: all that are bound to the enclave's name
        (§7)."""
        if param.relay_id <= 0:
            return NO_PAGES
        if param.relay_size == 0:
            return Span(RELAY_BOUND, 0)
        span = self.relays.part(param.relay_id, param.relay_offset, param.relay_size)
        if span is None:
            raise Refused(EFAULT, f"there are no such relay pages of id {param.relay_id:#x}")
        return span

    def _enter(self, thread: Thread) -> bool:
        """Let the paused enclave of a thread go on, at the thread's turn."""
        run = self.state.runs[thread.state.enclave]
        enclave = self.driver.table.find(run.enclave)
        if enclave is not None and not self.driver.can_go_on(enclave):
            self._park(run)
            return False
        if enclave is not None and self.driver.go_on(enclave):
            return True
        self._refused(run)
        return False

    def paused(self, enclave: DriverEnclave, status: int) -> bool:
        run = self.state.runs[enclave.id]
        if status == RELAY_PAGE:
            self._finish(run, abi.RELAY_PAGE)
            return True
        if status == REFUSED:
            self._refused(run)
            return True
        if status == Status.WAITING:
            self._park(run)
        elif status == Status.TIMER and self.system.scheduler.turns is not None:
            self.system.scheduler.end_slice()
        else:
            self.system.scheduler.rotate()
        self._rouse()
        return self.system.go_on()

    def _park(self, run: Run) -> None:
        """Make the thread wait until the server that its enclave waits for has room."""
        run.waits = True
        self.system.scheduler.park(run.thread)

    def _rouse(self) -> None:
        """Let enclaves that wait for a server try again, as an enclave has run or ended."""
        scheduler = self.system.scheduler
        for enclave in self.driver.with_turn():
            run = self.state.runs.get(enclave.id)
            if run is not None and run.waits:
                run.waits = False
                scheduler.rouse(scheduler.threads[run.thread])

    def _refused(self, run: Run) -> None:
        self._finish(run, -EFAULT, "the monitor refused to go on with the enclave")

    def ended(self, enclave: DriverEnclave, status: int) -> bool:
        run, fault = self.state.runs[enclave.id], self.driver.fault
        if status == Status.OK:
            self._finish(run, 0)
        else:
            self._finish(run, -EFAULT, fault.summary if fault is not None else "the enclave was destroyed")
        self.driver.let_go(enclave)
        self._after_an_end()
        loads = self.driver.kernel.loads
        if status == Status.ERROR and fault is not None:
            self._on_fault(fault)
        if self.driver.kernel.loads != loads:
            return self.driver.go_on_elsewhere()
        return self.system.scheduler.is_current(run.thread) or self.system.go_on()

    def _finish(self, run: Run, result: int, reason: str = "") -> None:
        """End a run request: copy the struct back, and let its thread go on."""
        self.state.runs.pop(run.enclave, None)
        param = run.param._replace(retval=run.value)
        try:
            thread = self.system.scheduler.threads.get(run.thread)
            if thread is not None:
                thread.space.write(run.address, abi.USER_PARAM.pack(*param))
        except (LinuxError, OutOfMemory):
            result, reason = -EFAULT, "the struct can not be written"
        if result < 0:
            self.failures.note(REQUESTS[Ioctl.RUN].name, param, Refused(-result, reason))
        self.system.scheduler.finish_run(run.thread, result)

    def stop(self, param: UserParam) -> UserParam:
        """ioctl 3: stop a started enclave."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            self.driver.stop(enclave)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        run = self.state.runs.get(enclave.id)
        if run is not None:
            self.system.scheduler.park(run.thread)
            run.waits = False
        self._rouse()  # others may take its place in a queue
        return param

    def resume(self, param: UserParam) -> UserParam:
        """ioctl 4: let a stopped enclave go on, with the thread that runs it."""
        enclave = self._find(param.eid, param.is_shadow)
        if not self.driver.unstop(enclave):
            raise Refused(EPERM, "the enclave is not stopped")
        run = self.state.runs.get(enclave.id)
        if run is not None:
            self.system.scheduler.rouse(self.system.scheduler.threads[run.thread])
        return param

    def attest(self, param: AttestParam) -> AttestParam:
        """ioctl 2: get the report on an enclave."""
        enclave = self._find(param.eid, param.is_shadow)
        try:
            report = building.attest(self.driver.kernel, enclave, param.nonce)
        except EnclaveError as error:
            raise Refused(EPERM, str(error)) from None
        return param._replace(report=abi.REPORT.pack(*report))

    def name_persistent(self, number: int) -> None:
        """ioctl 0x18: name the shared memory for sectors (§4)."""
        if number < FIRST_MEMORY_ID:
            raise Refused(EPERM, f"{number:#x} is not an id of shared memory")
        try:
            pa = self.shm.find(number).pa
        except Refused:
            pa = 0
        self.driver.services.use(pa)
