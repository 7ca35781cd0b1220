"""The enclave driver: builds enclaves, makes the monitor calls, serves ocalls (§1, §4, §8)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pltvm.engine.memory import PAGE
from pltvm.errors import AccessFault, EnclaveError, EngineError, OutOfMemory
from pltvm.host import building, clients, forking, freed
from pltvm.host.away import Away, AwayState
from pltvm.host.building import OCALL, REQUEST
from pltvm.host.chains import SavedTogether
from pltvm.host.clients import Client
from pltvm.host.core import CoreHost
from pltvm.host.elf import EnclaveImage
from pltvm.host.enclave import (
    GONE,
    NO_EID,
    PUT_BACK,
    REFUSED,
    RELAY_PAGE,
    RUNS_ON,
    STOPPED,
    DriverEnclave,
)
from pltvm.host.kept import Kept, KeptState
from pltvm.host.kernel import Kernel
from pltvm.host.ocalls import Ocalls
from pltvm.host.output import Output, OutputState
from pltvm.host.plain import copied, restored
from pltvm.host.report import FaultReport
from pltvm.host.services import SavedServices, Services
from pltvm.host.spans import NO_PAGES, Span
from pltvm.host.symbols import Symbols
from pltvm.host.table import EnclaveTable, EnclaveTableState
from pltvm.host.unknown import UnknownNames
from pltvm.monitor import abi
from pltvm.monitor.abi import (
    EnclaveType,
    HostCall,
    Ocall,
    ResumeReason,
    RunParams,
    Status,
)
from pltvm.monitor.fault import Fault

_ANSWERED: Final = (0, 0)
_DESTROY_CALLS: Final = {
    EnclaveType.NORMAL: HostCall.DESTROY,
    EnclaveType.SERVER: HostCall.DESTROY_SERVER,
    EnclaveType.SHADOW: HostCall.DESTROY_SHADOW,
    EnclaveType.CONCURRENT_SERVER: HostCall.DESTROY_SERVER,
}


@dataclass(slots=True)
class DriverState:
    """The driver's state. `running` is the block of the running enclave, 0 for none."""

    running: int = 0
    fault: FaultReport | None = None  # of the last run
    together: SavedTogether | None = None  # a run of several enclaves that can be resumed


@dataclass(slots=True)
class SavedDriver:
    """The driver and its parts."""

    driver: DriverState
    table: EnclaveTableState
    away: AwayState
    kept: KeptState
    services: SavedServices
    printed: OutputState  # by a Python program's run in progress


class Several(Protocol):
    """A run of several enclaves: `together.Together`."""

    def save(self) -> SavedTogether:
        """A copy of its state."""

    def load(self, saved: SavedTogether) -> None:
        """Restore it."""


class Driver:
    """The driver of `kernel`. At most one enclave of a Python program runs at a time: `running`.

    `clients` run enclaves; enclaves name them by number.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.blocks = kernel.blocks
        self.state = DriverState()
        mine = clients.PYTHON, clients.PROXY, clients.TOGETHER
        self.clients: dict[int, Client] = {number: Client() for number in mine}
        self.together: Several | None = None  # the one in progress
        self._deliver: Callable[[DriverEnclave, bytes], None] = self._to_client
        self.table = EnclaveTable()
        self.away = Away(kernel)
        self.ocalls = Ocalls(kernel, self.away, self._print, self._collect)
        self.serving, self.lend = self.ocalls.serving, self.ocalls.lend
        self.services = Services(self.ocalls)
        self.kept = Kept(kernel, self.away, self.services)
        self.in_run = False  # a callback that restores state returns into a run
        self.driven = False  # by the fuzzer, which goes on by itself after a restore
        self._over = False  # a callback restored a state in which the present run was not in progress
        kernel.holders.append(self._held)
        kernel.monitor.set_host_vector(self.control_is_back, or_core=True)
        kernel.monitor.set_fault_listener(self._note_fault)
        self.started: Callable[[], None] = lambda: None  # called before each run
        self.unknown_names = UnknownNames()
        kernel.monitor.set_name_listener(self._note_unknown_name)
        self.core = CoreHost(kernel, self.away, self.serving, self._collect, self._print_late)

    @property
    def enclaves(self) -> dict[int, DriverEnclave]:
        """The living enclaves, by their block."""
        return self.table.state.living

    @property
    def running(self) -> DriverEnclave | None:
        """The running enclave, or None."""
        return self.enclaves.get(self.state.running)

    @property
    def fault(self) -> FaultReport | None:
        """The fault of the last run, if it failed."""
        return self.state.fault

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedDriver:
        """Return a copy of the state, with that of its parts; raises SnapshotError."""
        output = self._printed()
        printed = output.save() if output is not None else OutputState()
        parts = self.table.save(), self.away.save(), self.kept.save(), self.services.save()
        state = copied(self.state)
        if self.together is not None:
            state.together = self.together.save()
        return SavedDriver(state, *parts, printed)

    def load(self, saved: SavedDriver) -> None:
        """Restore the state, after `Disk.check`.

        Enclaves made since then have ended. If the state was saved in a callback of a running enclave, the
        enclave goes on from there when the present callback returns; outside a run it counts as interrupted.
        """
        running = self.running  # the enclave whose callback this is
        self.services.load(saved.services)
        self.away.load(saved.away)
        self.kept.load(saved.kept)
        output = self._printed()
        if output is not None:
            output.load(saved.printed)
        self.table.load(saved.table)
        self.state = restored(self.state, saved.driver)
        several, goes_on = self.state.together, self.running is running
        if self.together is not None and several is not None:
            self.together.load(several)
            self.state.together, goes_on = None, True
        if not self.driven and not (self.in_run and goes_on):
            self._interrupt()

    def _printed(self) -> Output | None:
        """Return the output of the run in progress, if a Python program waits for its end."""
        return self.clients[clients.PYTHON].printed or self.clients[clients.PROXY].printed

    def _interrupt(self) -> None:
        """Pause the enclave that was running, as by the timer."""
        if self.running is not None:
            self.running.status = Status.TIMER
        self.state.running = 0

    # -- create ------------------------------------------------------------------------------------------

    def create(
        self,
        image: EnclaveImage,
        name: bytes,
        kind: EnclaveType,
        stack_size: int = abi.DEFAULT_STACK,
        shm: Span = NO_PAGES,
        client: int = clients.PYTHON,
        slots: int = 0,
    ) -> DriverEnclave:
        """Load an enclave and have the monitor create it.

        `shm` is memory to share with it, `client` is the number of its client, `slots` that of a concurrent
        server. Raises EnclaveError when the monitor refuses, OutOfMemory when RAM is used up; both leave
        nothing behind.
        """
        servers = (one for one in self.enclaves.values() if abi.is_server(one.kind))
        if abi.is_server(kind) and any(name == one.name for one in servers):
            raise EnclaveError("another server has this name already")
        if kind is EnclaveType.SHADOW:
            stack_size = 0
        enclave = building.build(self.kernel, image, name, kind, stack_size, shm, slots)
        self.kept.take(shm.pa)
        return self.table.add(enclave, client)

    def fork(self, template: DriverEnclave, name: bytes, shm: Span) -> DriverEnclave:
        """Allocate what an instance of a shadow template needs; raises OutOfMemory."""
        instance = forking.instance_of(self.blocks, template, name, shm)
        self.kept.take(shm.pa)
        return self.table.add(instance, template.client)

    def set_relay(self, enclave: DriverEnclave, relay: Span) -> None:
        """Set the relay pages that a Python program hands over to it, replacing former ones."""
        self.kept.take(relay.pa)
        self.kept.let_go(enclave.relay.pa)
        enclave.relay = relay

    # -- run ---------------------------------------------------------------------------------------------

    def run(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> int:
        """Run until the enclave exits (OK), fails (ERROR), or pauses: TIMER (`interrupt`), WAITING for a
        server, RELAY_PAGE, STOPPED, GONE.

        Returns PUT_BACK if a callback has restored a state in which this run was not in progress. `relay` are
        pages to hand over. Raises EnclaveError if the monitor refuses to start it.
        """
        return self._go(enclave, self.start(enclave, relay))

    def resume(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> int:
        """Go on with an enclave that was interrupted or stopped, or has returned its relay pages; like `run`.

        In the last case `relay` gives new pages. Returns WAITING again if it waits for a busy server.
        """
        if enclave.stopped:
            self.unstop(enclave)
        if not self.can_go_on(enclave):
            return Status.WAITING
        return self._go(enclave, self.go_on(enclave, relay))

    def _go(self, enclave: DriverEnclave, entered: bool) -> int:
        if not entered:
            raise EnclaveError("the monitor refused to run the enclave")
        return self.go(enclave)

    def go(self, enclave: DriverEnclave) -> int:
        """Run an enclave that `start` or `go_on` has entered; like `run`."""
        self.core.enter(enclave, self.clients[enclave.client].late)
        return PUT_BACK if self.run_entered(lambda: True) else enclave.status

    def run_entered(self, enter: Callable[[], bool]) -> bool:
        """Run the enclave that `enter` enters, if it returns True, and others that clients let go on.

        Returns True if a callback has restored a state in which this run was not in progress.
        """
        self.in_run, self._over = True, False
        try:
            if enter():
                self.kernel.monitor.run_guest()
        finally:
            self.in_run = False
            self.state.running = 0
        return self._over

    def can_go_on(self, enclave: DriverEnclave) -> bool:
        """Whether a paused enclave waits for no server, or it is its turn: otherwise `go_on` is refused."""
        if enclave.status != Status.WAITING:
            return True
        return self.kernel.call(HostCall.CAN_GO_ON, enclave.eid) == Status.OK

    def with_turn(self) -> Iterator[DriverEnclave]:
        """Those that wait for a server, can go on now and are not stopped.

        First come those whose server has ended, then server by server, the one that began to be awaited last
        first; in each in the order of coming. Stopped ones are asked about by `can_go_on`.
        """
        eid = abi.MASK64
        while (found := self.kernel.call(HostCall.TURN, eid)) is not None and found >= 0:
            eid = found
            enclave = self.table.of_eid(eid)
            if enclave is not None:
                yield enclave

    def start(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the run call; return True if the enclave has the hart now, False if refused."""
        entered = self._start(enclave, relay)
        if entered:
            self.started()
        return entered

    def _start(self, enclave: DriverEnclave, relay: Span) -> bool:
        self._must_be_idle()
        page = enclave.page
        if not enclave.is_instance:
            self.memory.write(page, abi.RUN_PARAMS.pack(*RunParams(*relay)))
            enclave.started = self._enter(enclave, HostCall.RUN, enclave.eid, page)
            return enclave.started
        mailbox = building.mailbox(page)
        self.memory.write(page, forking.run_params(self.blocks, enclave, relay, mailbox, page + building.EID))
        if not self._enter(enclave, HostCall.RUN_SHADOW, enclave.template, page):
            return False
        enclave.started = True
        enclave.eid = int.from_bytes(self.memory.read(page + building.EID, 4), "little")
        return True

    def go_on(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the resume call that the enclave waits for; like `start`. Undoes `stop`.

        The monitor refuses it while `can_go_on` is false.
        """
        self._must_be_idle()
        if enclave.stopped:
            self.unstop(enclave)
        if enclave.status == RELAY_PAGE:
            why = ResumeReason.OCALL, Ocall.RETURN_RELAY
            return self._enter(enclave, HostCall.RESUME, enclave.eid, *why, *relay)
        if relay != NO_PAGES:
            raise EnclaveError("the enclave does not wait for relay pages")
        return self._enter_with_answer(enclave)

    def _must_be_idle(self) -> None:
        if self.state.running:
            raise EnclaveError("an enclave is running: wait for its end")

    def stop(self, enclave: DriverEnclave) -> None:
        """Stop a started enclave until `go_on`; EnclaveError when the monitor refuses."""
        if not enclave.alive or self.kernel.call(HostCall.STOP, enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to stop the enclave: only one that has started can be")
        enclave.stopped = True

    def unstop(self, enclave: DriverEnclave) -> bool:
        """Undo `stop`; False when the monitor refuses."""
        if self.kernel.call(HostCall.RESUME, enclave.eid, ResumeReason.STOP) != Status.OK:
            return False
        enclave.stopped = False
        return True

    def _enter(self, enclave: DriverEnclave, function: HostCall, *arguments: int) -> bool:
        """Make a run or resume call; return True if the enclave has the hart now, False if refused."""
        self.state.running, self.state.fault = enclave.block, None
        self.core.enter(enclave, self.clients[enclave.client].late)
        if self.kernel.call(function, *arguments) is None:
            return True
        self.state.running = 0
        return False

    def _enter_with_answer(self, enclave: DriverEnclave) -> bool:
        """Like `_enter`, with the answer that the enclave waits for; frees the memory of the answer."""
        entered = self._enter(enclave, HostCall.RESUME, enclave.eid, *enclave.pending)
        if entered and enclave.lent:
            self.ocalls.answer_taken(enclave)
        return entered

    def control_is_back(self, status: int) -> bool:
        """The host vector: serve an ocall, or notify the enclave's client; return True if guest code goes
        on."""
        enclave = self.table.state.living.get(self.state.running)
        if enclave is None:
            return False
        if status == Status.OCALL:
            status = self._serve(enclave)
            if status == RUNS_ON:
                return True
            if status == PUT_BACK:
                return self.go_on_elsewhere()
        elif status in (Status.TIMER, Status.YIELD, Status.WAITING):
            enclave.pending = (ResumeReason.TIMER,)
            if status == Status.YIELD and not enclave.gives_way:
                if self._enter_with_answer(enclave):
                    return True
                status = REFUSED
        if status not in (Status.OK, Status.ERROR, GONE):
            return self._paused(enclave, status)
        self.state.running, enclave.status = 0, status
        if enclave.alive:
            self._ended(enclave)
        return self.clients[enclave.client].ended(enclave, status)

    def _serve(self, enclave: DriverEnclave) -> int:
        """Serve an ocall and resume, unless the enclave was stopped or destroyed meanwhile; return the
        status."""
        number, arg0, arg1 = self.memory.unpack(REQUEST, enclave.page + OCALL)
        try:
            if number == Ocall.RETURN_RELAY:
                self._collect(arg0)
                return RELAY_PAGE
            loads = self.kernel.loads
            enclave.pending = (ResumeReason.OCALL, number, *_ANSWERED)  # the state that a callback sees
            answer = self.serving[number](enclave, arg0, arg1)
        except OutOfMemory as error:
            what = Ocall(number).name.lower()
            return self._fail(enclave, f"the host has no memory for {what} of {arg0} bytes: {error}")
        except AccessFault as error:
            return self._fail(enclave, str(error))
        if self.kernel.loads != loads:
            return RUNS_ON if self.running is enclave and self._enter_with_answer(enclave) else PUT_BACK
        if answer != _ANSWERED:
            enclave.pending = (ResumeReason.OCALL, number, *answer)
        if not enclave.alive:
            return GONE
        if enclave.stopped:
            return STOPPED
        return RUNS_ON if self._enter_with_answer(enclave) else REFUSED

    def go_on_elsewhere(self) -> bool:
        """Handle a callback that restored a state in which this enclave did not run; True if others go on."""
        program = self.kernel.program
        if program is not None:
            return program.go_on()
        running = self.running
        if self.together is not None and running is not None:
            return self._enter_with_answer(running)
        self._over = True
        return False

    def _fail(self, enclave: DriverEnclave, reason: str) -> int:
        """End the enclave, with a report, as its ocall gets no answer (§4)."""
        monitor = self.kernel.monitor
        fault = monitor.describe_waiting(enclave.eid, reason)
        if fault is None or self.kernel.call(_DESTROY_CALLS[enclave.kind], enclave.eid) != Status.OK:
            raise EngineError(f"{reason}; and the monitor refused to destroy the enclave")
        self._note_fault(fault)
        return Status.ERROR

    def _paused(self, enclave: DriverEnclave, status: int) -> bool:
        self.state.running, enclave.status = 0, status
        return self.clients[enclave.client].paused(enclave, status)

    def _note_fault(self, fault: Fault) -> None:
        self.state.fault = self.report_of(fault)

    def report_of(self, fault: Fault) -> FaultReport:
        """Return the report of a fault, or a place, with symbols from the enclaves' ELFs."""
        label, symbols = self._about(fault.eid) or (fault.name, None)
        return FaultReport.of(fault, label, symbols, self._about)

    def _about(self, eid: int) -> tuple[str, Symbols | None] | None:
        who = self.table.of_eid(eid)
        return (who.label, who.symbols) if who else None

    def place_of(self, enclave: DriverEnclave) -> FaultReport | None:
        """Return the place of a paused enclave, with the servers that it has called, or None."""
        if not enclave.alive or not enclave.started:
            return None
        waits = enclave.pending != (ResumeReason.TIMER,)
        fault = self.kernel.monitor.describe_waiting(enclave.eid, "it was still running", waits)
        return None if fault is None else self.report_of(fault)

    def _note_unknown_name(self, name: bytes) -> None:
        servers = (one.name for one in self.enclaves.values() if abi.is_server(one.kind))
        self.unknown_names.note(name, servers)

    # -- ending ------------------------------------------------------------------------------------------

    def destroy(self, enclave: DriverEnclave) -> None:
        """Have the monitor end the enclave, and free its memory; raises EnclaveError when it refuses."""
        if not enclave.alive:
            raise EnclaveError("the enclave has ended already")
        if enclave.eid == NO_EID:
            self.table.remove(enclave)
            for block in (enclave.block, enclave.kbuffer, enclave.page):
                self.blocks.give(block)
            self.let_go(enclave)
            return
        if self.kernel.call(_DESTROY_CALLS[enclave.kind], enclave.eid) != Status.OK:
            raise EnclaveError("the monitor refused to destroy the enclave")
        self._ended(enclave)
        self.let_go(enclave)

    def _ended(self, enclave: DriverEnclave) -> None:
        """Free the memory of an enclave that the monitor has ended, and of those that ended with it."""
        self.table.remove(enclave)
        enclave.value = self.memory.load(enclave.page + building.RETVAL)
        self.away.add(enclave.block)
        self._collect(enclave.block)
        self.ocalls.answer_taken(enclave)
        self.blocks.give(enclave.kbuffer)
        self.blocks.give(enclave.page)
        self.clients[enclave.client].gone(enclave)

    def let_go(self, enclave: DriverEnclave) -> None:
        """Release the kept pages of an ended enclave, whose contents are not needed any more."""
        for span in (enclave.shm, enclave.relay):
            self.kept.let_go(span.pa)
        enclave.shm = enclave.relay = NO_PAGES

    def _print(self, enclave: DriverEnclave, text: bytes) -> None:
        self._deliver(enclave, text)

    def _to_client(self, enclave: DriverEnclave, text: bytes) -> None:
        self.clients[enclave.client].output(text)

    def listen(self, listener: Callable[[DriverEnclave, bytes], None]) -> None:
        """Call `listener` too, from now on, with printed text and the enclave whose run it is."""
        deliver = self._deliver

        def both(enclave: DriverEnclave, text: bytes) -> None:
            listener(enclave, text)
            deliver(enclave, text)

        self._deliver = both

    def _print_late(self, text: bytes) -> None:
        running = self.running
        assert running is not None  # text comes before anything else changes
        self._print(running, text)

    def _collect(self, table: int) -> None:
        """Free blocks whose pages are listed in the monitor's table at `table`, if they are completely back.

        Pages that the host keeps (relay pages, memory shared with it) stay as they are.
        """
        rows = freed.rows(self.memory, table)
        for pa, size in rows:
            block = self.blocks.holding(pa)
            if block is None:
                continue
            other = self.enclaves.get(block)
            if other is not None and self.memory.is_public(block, PAGE):
                self._ended(other)
                self.let_go(other)
                continue
            # A block that comes back alone was cleared by the monitor, which then wrote the table into it.
            alone = len(rows) == 1 and table == pa == block and size == self.blocks.size(block)
            self.away.freed(block, PAGE if alone else None)

    def _held(self) -> Iterator[int]:
        """Yield the blocks that the driver has taken, except those that are away."""
        for enclave in self.enclaves.values():
            yield from (enclave.block, enclave.page, enclave.kbuffer, *enclave.lent)
