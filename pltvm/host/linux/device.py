"""`/dev/penglai_enclave_dev`: the driver's ioctls for Linux programs (§8).

A request copies a struct from user memory, works on the copy, and copies it back. `run` blocks its thread
until the enclave ends; meanwhile the enclave shares the hart with the process's other threads, which may
stop, resume or destroy it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pltvm.errors import OutOfMemory, PltvmError
from pltvm.host import forking
from pltvm.host.driver import NO_PAGES, RELAY_PAGE, Driver, DriverEnclave
from pltvm.host.elf import load_image
from pltvm.host.linux.errno import EFAULT, EINVAL, ENOMEM, ENOTTY, EPERM, LinuxError
from pltvm.host.linux.files import File
from pltvm.host.linux.shared_ids import Entry, SharedIds
from pltvm.host.linux.threads import Thread
from pltvm.host.report import FaultReport
from pltvm.host.shared import RelayMemory, SharedMemory, Span
from pltvm.host.symbols import Symbols
from pltvm.monitor import abi
from pltvm.monitor.abi import RELAY_BOUND, EnclaveType, Ioctl, Status, UserParam

if TYPE_CHECKING:
    from pltvm.host.linux.process import Process

FIRST_ID: Final = 0x1000
LARGEST_ELF: Final = 576 << 20


class Run:
    """A thread inside the run request: for which enclave, and where its struct is."""

    def __init__(self, thread: Thread, enclave: DriverEnclave, address: int, param: UserParam) -> None:
        self.thread = thread
        self.enclave = enclave
        self.address = address
        self.param = param
        self.stopped = False


class EnclaveDevice:
    """The device as one process sees it: its enclaves by id, and who is running them."""

    def __init__(self, process: "Process", driver: Driver, on_fault: Callable[[FaultReport], None]) -> None:
        self.process = process
        self.driver = driver
        self._on_fault = on_fault
        self._enclaves: dict[int, DriverEnclave] = {}
        self._next_id = FIRST_ID
        self._runs: dict[DriverEnclave, Run] = {}
        self._shared: dict[DriverEnclave, SharedMemory | RelayMemory] = {}
        self.shm = SharedIds(lambda size: SharedMemory(driver, b"", size))
        self.relays = SharedIds(lambda size: RelayMemory(driver, b"", size))
        process.files.devices["/dev/penglai_enclave_dev"] = lambda: EnclaveFile(self)
        process.at_end.append(self._close)

    # -- create and destroy --------------------------------------------------------------------------------

    def create(self, param: UserParam) -> UserParam:
        """ioctl 0: load the ELF that lies in user memory; gives the id."""
        if not 0 < param.elf_size <= LARGEST_ELF or not 0 < param.stack_size <= abi.MAX_STACK:
            raise LinuxError(EINVAL)
        try:
            kind = EnclaveType(param.type)
        except ValueError:
            raise LinuxError(EINVAL) from None
        elf = self.process.space.read(param.elf_ptr, param.elf_size)
        name = abi.clean_name(param.name)
        enclave = self.driver.create(load_image(elf), name, kind, param.stack_size, self._attach(param))
        if param.shmid > 0:
            self._keep(enclave, param.shmid)
        enclave.label = name.decode("ascii", "backslashreplace") or "enclave"
        enclave.symbols = Symbols(elf)
        enclave.write = self._print
        return param._replace(eid=self._add(enclave))

    def _attach(self, param: UserParam) -> Span:
        """The shared memory that a request names."""
        if param.shmid <= 0:
            return NO_PAGES
        return self.shm.part(param.shmid, param.shm_offset, param.shm_size)

    def _keep(self, enclave: DriverEnclave, shmid: int) -> None:
        """The enclave uses this shared memory until it ends."""
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

    def _find(self, number: int) -> DriverEnclave:
        enclave = self._enclaves.get(number)
        if enclave is None or not enclave.alive:
            raise LinuxError(EINVAL)
        return enclave

    def destroy(self, param: UserParam) -> UserParam:
        """ioctl 5: end an enclave in whatever state; a run request for it, or for its chain, fails."""
        enclave = self._find(param.eid)
        self.driver.destroy(enclave)
        self._after_an_end()
        return param

    def _after_an_end(self) -> None:
        """Let go of what belonged to enclaves that have ended, and fail the runs of those destroyed."""
        for run in [run for run in self._runs.values() if not run.enclave.alive]:
            self._finish(run, -EFAULT)
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
        enclave = self._find(param.eid)
        if enclave in self._runs or enclave.kind is EnclaveType.SERVER:
            raise LinuxError(EPERM)
        relay = self._relay(param)
        if enclave.kind is EnclaveType.SHADOW:
            enclave = self._fork(enclave, param)
            param = param._replace(eid=self._add(enclave), is_shadow=1)
        run = Run(thread, enclave, address, param)
        enclave.on_ended = lambda status: self._ended(run, status)
        enclave.on_paused = lambda status: self._paused(run, status)
        enclave.gives_way = True
        self._runs[enclave] = run
        again = enclave.status == RELAY_PAGE
        if not (self.driver.go_on if again else self.driver.start)(enclave, relay):
            del self._runs[enclave]
            raise LinuxError(EPERM)
        thread.enter = lambda: self._enter(run)

    def _fork(self, template: DriverEnclave, param: UserParam) -> DriverEnclave:
        span = self._attach(param)
        instance = forking.fork(self.driver, template, template.name, span)
        if param.shmid > 0:
            self._keep(instance, param.shmid)
        instance.label, instance.symbols, instance.write = template.label, template.symbols, self._print
        return instance

    def _relay(self, param: UserParam) -> Span:
        """The relay pages that a request names; size 0: all that are bound to the enclave's name (§7)."""
        if param.relay_id <= 0:
            return NO_PAGES
        if param.relay_size == 0:
            return RELAY_BOUND, 0
        return self.relays.part(param.relay_id, param.relay_offset, param.relay_size)

    def _enter(self, run: Run) -> bool:
        """It is the turn of a thread whose enclave was paused: the enclave goes on."""
        if self.driver.go_on(run.enclave):
            return True
        self._finish(run, -EFAULT)
        return False

    def _paused(self, run: Run, status: int) -> bool:
        if status == RELAY_PAGE:
            self._finish(run, abi.RELAY_PAGE)
            return True
        self.process.scheduler.rotate()
        return self.process.go_on()

    def _ended(self, run: Run, status: int) -> bool:
        if status == Status.ERROR and self.driver.fault is not None:
            self._on_fault(self.driver.fault)
        self._finish(run, 0 if status == Status.OK else -EFAULT)
        self._after_an_end()
        return self.process.scheduler.current is run.thread or self.process.go_on()

    def _finish(self, run: Run, result: int) -> None:
        """End a run request: copy the struct back, and let its thread go on."""
        self._runs.pop(run.enclave, None)
        run.thread.enter = None
        param = run.param._replace(retval=run.enclave.value)
        try:
            self.process.space.write(run.address, abi.USER_PARAM.pack(*param))
        except (LinuxError, OutOfMemory):
            result = -EFAULT
        scheduler = self.process.scheduler
        if scheduler.current is run.thread:
            run.thread.answer(result)
        else:
            scheduler.wake(run.thread, result)

    def stop(self, param: UserParam) -> UserParam:
        """ioctl 3: keep a running enclave from the hart."""
        enclave = self._find(param.eid)
        run = self._runs.get(enclave)
        if run is None or run.stopped:
            raise LinuxError(EINVAL)
        self.driver.stop(enclave)
        run.stopped = True
        self.process.scheduler.park(run.thread)
        return param

    def resume(self, param: UserParam) -> UserParam:
        """ioctl 4: let a stopped enclave go on; the thread that runs it does."""
        run = self._runs.get(self._find(param.eid))
        if run is None or not run.stopped:
            raise LinuxError(EINVAL)
        run.stopped = False
        self.process.scheduler.wake(run.thread)
        return param

    def attest(self, number: int, nonce: int) -> bytes:
        """ioctl 2: the report about an enclave."""
        return abi.REPORT.pack(*self.driver.attest(self._find(number), nonce))

    def name_persistent(self, number: int) -> None:
        """ioctl 0x18: the shared memory that sectors go through (§4)."""
        pages = self.shm.find(number).pages
        self.driver.services.persistent = pages


class EnclaveFile(File):
    """The device, opened. What `attach` prepared is mapped by the next mmap of this descriptor."""

    def __init__(self, device: EnclaveDevice) -> None:
        self._device = device
        self._ready: Entry | None = None

    def pages_to_map(self, size: int) -> int:
        """Physical address of the memory that was attached last; raises LinuxError if it is smaller."""
        if self._ready is None or size > self._ready.pages.size:
            raise LinuxError(EINVAL)
        return self._ready.pages.pa

    def ioctl(self, thread: Thread, request: int, address: int) -> int | None:
        """One request; raises LinuxError."""
        if request >> 8 & 0xFF != abi.IOCTL_TYPE:
            raise LinuxError(ENOTTY)
        try:
            return self._request(thread, request & 0xFF, address)
        except OutOfMemory:
            raise LinuxError(ENOMEM) from None
        except PltvmError:
            raise LinuxError(EINVAL) from None

    def _request(self, thread: Thread, number: int, address: int) -> int | None:
        device, space = self._device, self._device.process.space
        on_enclave: dict[int, Callable[[UserParam], UserParam]] = {
            Ioctl.CREATE: device.create,
            Ioctl.STOP: device.stop,
            Ioctl.RESUME: device.resume,
            Ioctl.DESTROY: device.destroy,
        }
        if number == Ioctl.RUN or number in on_enclave:
            param = UserParam(*abi.USER_PARAM.unpack(space.read(address, abi.USER_PARAM.size)))
            if number == Ioctl.RUN:
                device.run(thread, address, param)
                return None
            space.write(address, abi.USER_PARAM.pack(*on_enclave[number](param)))
            return 0
        if number == Ioctl.ATTEST:
            eid, _, nonce = abi.ATTEST_HEAD.unpack(space.read(address, abi.ATTEST_HEAD.size))
            space.read(address, abi.ATTEST_HEAD.size + abi.REPORT.size)  # all of the struct is there
            space.write(address + abi.ATTEST_HEAD.size, device.attest(eid, nonce))
            return 0
        if Ioctl.SHM_GET <= number <= Ioctl.SHM_REMOVE:
            return self._shared(device.shm, number - Ioctl.SHM_GET, address)
        if Ioctl.RELAY_GET <= number <= Ioctl.RELAY_REMOVE:
            return self._shared(device.relays, number - Ioctl.RELAY_GET, address)
        if number == Ioctl.PERSISTENCY:
            device.name_persistent(*abi.SHM_ID.unpack(space.read(address, abi.SHM_ID.size)))
            return 0
        raise LinuxError(ENOTTY)

    def _shared(self, ids: SharedIds, operation: int, address: int) -> int:
        """get, attach, detach, remove of shared memory or relay pages."""
        space = self._device.process.space
        if operation == 0:
            key, size, _flags = abi.SHM_GET.unpack(space.read(address, abi.SHM_GET.size))
            return ids.get(key, size)
        if operation == 1:
            number, _, _, flags = abi.SHM_ATTACH.unpack(space.read(address, abi.SHM_ATTACH.size))
            entry = ids.find(number)
            space.write(address, abi.SHM_ATTACH.pack(number, 0, entry.pages.size, flags))
            entry.mapped += 1
            self._ready = entry
            return 0
        number = int.from_bytes(space.read(address, abi.SHM_ID.size), "little", signed=True)
        if operation == 2:
            ids.detach(number)
            self._ready = None
        else:
            ids.remove(number)
        return 0
