"""The enclave driver: has enclaves built, makes the monitor calls, serves ocalls (§1, §4, §8)."""

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
    """What the driver remembers. `running` is the block of the enclave that is run now, 0 for none."""

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
    printed: OutputState  # by the run of a Python program that is in progress


class Several(Protocol):
    """A run of several enclaves: `together.Together`."""

    def save(self) -> SavedTogether:
        """A copy of its state."""

    def load(self, saved: SavedTogether) -> None:
        """Put it back."""


class Driver:
    """The driver of `kernel`. At most one enclave of a Python program runs at a time: `running`.

    `clients` are who runs enclaves, by the number that enclaves name.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.blocks = kernel.blocks
        self.state = DriverState()
        mine = clients.PYTHON, clients.PROXY, clients.TOGETHER
        self.clients: dict[int, Client] = {number: Client() for number in mine}
        self.together: Several | None = None  # that is in progress
        self._deliver: Callable[[DriverEnclave, bytes], None] = self._to_client
        self.table = EnclaveTable()
        self.away = Away(kernel)
        self.ocalls = Ocalls(kernel, self.away, self._print, self._collect)
        self.serving, self.lend = self.ocalls.serving, self.ocalls.lend
        self.services = Services(self.ocalls)
        self.kept = Kept(kernel, self.away, self.services)
        self.in_run = False  # a callback that puts state back returns into a run
        self.driven = False  # by somebody who goes on by itself when state was put back: the fuzzer
        self._over = False  # one has, and the run in progress is none that was in progress then
        kernel.holders.append(self._held)
        kernel.monitor.set_host_vector(self.control_is_back, or_core=True)
        kernel.monitor.set_fault_listener(self._note_fault)
        self.started: Callable[[], None] = lambda: None  # told of each enclave that is about to run
        self.unknown_names = UnknownNames()
        kernel.monitor.set_name_listener(self._note_unknown_name)
        self.core = CoreHost(kernel, self.away, self.serving, self._collect, self._print_late)

    @property
    def enclaves(self) -> dict[int, DriverEnclave]:
        """The living enclaves, by their block."""
        return self.table.state.living

    @property
    def running(self) -> DriverEnclave | None:
        """The enclave that is run now."""
        return self.enclaves.get(self.state.running)

    @property
    def fault(self) -> FaultReport | None:
        """Why the last run failed, if it did."""
        return self.state.fault

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedDriver:
        """A copy of the state, of the parts too; raises SnapshotError."""
        output = self._printed()
        printed = output.save() if output is not None else OutputState()
        parts = self.table.save(), self.away.save(), self.kept.save(), self.services.save()
        state = copied(self.state)
        if self.together is not None:
            state.together = self.together.save()
        return SavedDriver(state, *parts, printed)

    def load(self, saved: SavedDriver) -> None:
        """Put the state back, after `Disk.check`.

        Enclaves that were made since have ended. An enclave that ran, in whose callback the state was saved,
        goes on from there when the callback returns; outside a run it is one that was interrupted.
        """
        running = self.running  # whose callback this is
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
        """What the run in progress has printed, if a Python program waits for its end."""
        return self.clients[clients.PYTHON].printed or self.clients[clients.PROXY].printed

    def _interrupt(self) -> None:
        """The enclave that ran is paused, as by the timer."""
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

        `shm` is memory to share with it, `client` who runs it, `slots` are those of a concurrent server.
        Raises EnclaveError when the monitor refuses, OutOfMemory when RAM is used up; neither leaves anything
        behind.
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
        """Get ready what an instance of a shadow template needs; raises OutOfMemory."""
        instance = forking.instance_of(self.blocks, template, name, shm)
        self.kept.take(shm.pa)
        return self.table.add(instance, template.client)

    def set_relay(self, enclave: DriverEnclave, relay: Span) -> None:
        """These are the relay pages that a Python program hands over to it, in place of those before."""
        self.kept.take(relay.pa)
        self.kept.let_go(enclave.relay.pa)
        enclave.relay = relay

    # -- run ---------------------------------------------------------------------------------------------

    def run(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> int:
        """Run until the enclave exits (OK), fails (ERROR), or TIMER (`interrupt`), WAITING for a server,
        RELAY_PAGE, STOPPED, GONE.

        PUT_BACK when a callback has put the machine back to where this run was not in progress. `relay` are
        pages to hand over. Raises EnclaveError when the monitor refuses to start it.
        """
        return self._go(enclave, self.start(enclave, relay))

    def resume(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> int:
        """Go on with an enclave that was interrupted or stopped, or has returned its relay pages; as `run`.

        In the last case `relay` are new ones. WAITING again for one that waits for a server that is busy.
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
        """Run an enclave that `start` or `go_on` has entered; as `run`."""
        self.core.enter(enclave, self.clients[enclave.client].late)
        return PUT_BACK if self.run_entered(lambda: True) else enclave.status

    def run_entered(self, enter: Callable[[], bool]) -> bool:
        """Run what `enter` has the monitor enter, if it gives True, and whatever clients let run on.

        True when a callback has put the machine back to where this run was not in progress.
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
        """Whether an enclave that is paused waits for no server, or has its turn: else it is refused."""
        if enclave.status != Status.WAITING:
            return True
        return self.kernel.call(HostCall.CAN_GO_ON, enclave.eid) == Status.OK

    def with_turn(self) -> Iterator[DriverEnclave]:
        """Those that wait for a server and can go on now, in the order of waiting."""
        eid = abi.MASK64
        while (found := self.kernel.call(HostCall.TURN, eid)) is not None and found >= 0:
            eid = found
            enclave = self.table.of_eid(eid)
            if enclave is not None:
                yield enclave

    def start(self, enclave: DriverEnclave, relay: Span = NO_PAGES) -> bool:
        """Make the run call; True when the hart is the enclave's now, False when it was refused."""
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
        """Make the resume call that the enclave waits for; as `start`. Undoes `stop`.

        The monitor refuses while there is no `can_go_on`.
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

    def _enter(self, enclave: DriverEnclave, function: HostCall, *arguments: int) -> bool:
        """Make a run or resume call; True when the hart is the enclave's now, False when it was refused."""
        self.state.running, self.state.fault = enclave.block, None
        self.core.enter(enclave, self.clients[enclave.client].late)
        if self.kernel.call(function, *arguments) is None:
            return True
        self.state.running = 0
        return False

    def _enter_with_answer(self, enclave: DriverEnclave) -> bool:
        """As `_enter`, with what the enclave waits for; memory that the answer was in comes back."""
        entered = self._enter(enclave, HostCall.RESUME, enclave.eid, *enclave.pending)
        if entered and enclave.lent:
            self.ocalls.answer_taken(enclave)
        return entered

    def control_is_back(self, status: int) -> bool:
        """The host vector: serve an ocall, or tell who runs the enclave; True when guest code goes on."""
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
        """Serve an ocall and resume, unless that has stopped or destroyed the enclave; how it goes on."""
        number, arg0, arg1 = self.memory.unpack(REQUEST, enclave.page + OCALL)
        try:
            if number == Ocall.RETURN_RELAY:
                self._collect(arg0)
                return RELAY_PAGE
            loads = self.kernel.loads
            enclave.pending = (ResumeReason.OCALL, number, *_ANSWERED)  # which a callback finds
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
        """A callback has put the machine back to where this enclave did not run; True if others run on."""
        program = self.kernel.program
        if program is not None:
            return program.go_on()
        running = self.running
        if self.together is not None and running is not None:
            return self._enter_with_answer(running)
        self._over = True
        return False

    def _fail(self, enclave: DriverEnclave, reason: str) -> int:
        """An ocall gets no answer: the enclave ends, with a report (§4)."""
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
        """A fault, or a place, with what the ELFs of the enclaves say of it."""
        label, symbols = self._about(fault.eid) or (fault.name, None)
        return FaultReport.of(fault, label, symbols, self._about)

    def _about(self, eid: int) -> tuple[str, Symbols | None] | None:
        who = self.table.of_eid(eid)
        return (who.label, who.symbols) if who else None

    def place_of(self, enclave: DriverEnclave) -> FaultReport | None:
        """Where a started enclave is while it is paused, with the servers that it has called; else None."""
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
        """Have the monitor end the enclave, and let it go; raises EnclaveError when it refuses."""
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
        """Take back the memory of an enclave that the monitor has let go, and of those that ended with it."""
        self.table.remove(enclave)
        enclave.value = self.memory.load(enclave.page + building.RETVAL)
        self.away.add(enclave.block)
        self._collect(enclave.block)
        self.ocalls.answer_taken(enclave)
        self.blocks.give(enclave.kbuffer)
        self.blocks.give(enclave.page)
        self.clients[enclave.client].gone(enclave)

    def let_go(self, enclave: DriverEnclave) -> None:
        """The enclave has ended, and nobody looks at what it left in pages that the host keeps for it."""
        for span in (enclave.shm, enclave.relay):
            self.kept.let_go(span.pa)
        enclave.shm = enclave.relay = NO_PAGES

    def _print(self, enclave: DriverEnclave, text: bytes) -> None:
        self._deliver(enclave, text)

    def _to_client(self, enclave: DriverEnclave, text: bytes) -> None:
        self.clients[enclave.client].output(text)

    def listen(self, listener: Callable[[DriverEnclave, bytes], None]) -> None:
        """From now on tell `listener` too what is printed, and in whose run."""
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
        """Look after the pages listed in the table that the monitor left at `table`: they may be back.

        What the host keeps (relay pages, memory shared with it) stays as it is, whoever had it last.
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
            # A block that comes back alone was cleared by the monitor, which then put the table into it.
            alone = len(rows) == 1 and table == pa == block and size == self.blocks.size(block)
            self.away.freed(block, PAGE if alone else None)

    def _held(self) -> Iterator[int]:
        """The blocks that the driver has taken, but for those that are away."""
        for enclave in self.enclaves.values():
            yield from (enclave.block, enclave.page, enclave.kbuffer, *enclave.lent)
