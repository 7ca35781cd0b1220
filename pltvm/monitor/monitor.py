"""The monitor's front door: every trap of an enclave and every call of the host comes in here.

    enclave   ecall, a6 = 0x100101, a7 = function     → ENCLAVE_CALLS
    host      `Monitor.call`, or ecall from S-mode     → host_calls
    faults    any other trap                           → the enclave is destroyed, with a report

A handler returns the result for a0, or None when it has set all registers itself.
"""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, Protocol

from pltvm import native
from pltvm.engine.context import A0, A6, A7, PC, Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import W, pte_address
from pltvm.engine.trap import Cause
from pltvm.errors import OutOfMemory
from pltvm.monitor import (
    abi,
    attest,
    boot,
    chain,
    destroy,
    host_calls,
    ocall,
    relay,
    run,
    secure_shm,
    server,
    supervisor,
)
from pltvm.monitor.abi import Call, Status
from pltvm.monitor.digest import Digest
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.fault import Fault, describe, reason_for, unknown_call
from pltvm.monitor.keys import DEVELOPMENT, Keys
from pltvm.monitor.state import State
from pltvm.monitor.user import read_name

EnclaveCall = Callable[[State, Enclave, Context], int | None]


def _exit(state: State, enclave: Enclave, context: Context) -> int | None:
    return run.exit_enclave(state, enclave, context.regs[A0])


def _enclave_id(_state: State, enclave: Enclave, _context: Context) -> int:
    return enclave.eid


def _yield(state: State, enclave: Enclave, context: Context) -> None:
    context.regs[A0] = 0
    chain.pause(state, enclave, Status.YIELD)


def _asynchronous_call(state: State, enclave: Enclave, context: Context) -> int:
    name = read_name(enclave.space.table, context.regs[A0])
    return relay.asynchronous_call(state, enclave, name, context)


ENCLAVE_CALLS: Final[dict[int, EnclaveCall]] = {
    Call.EXIT: _exit,
    Call.OCALL: ocall.ocall,
    Call.ACQUIRE: server.acquire,
    Call.CALL: server.call,
    Call.RETURN: server.server_return,
    Call.REPORT: attest.report,
    Call.CALLER_ID: server.caller_id,
    Call.ENCLAVE_ID: _enclave_id,
    Call.YIELD: _yield,
    Call.DERIVE_KEY: attest.derive_key,
    Call.SPLIT: relay.split,
    Call.ASYNC_CALL: _asynchronous_call,
    Call.SHM_ATTACH: secure_shm.attach,
    Call.SHM_STAT: secure_shm.stat,
    Call.CALL_WAITING: server.call_waiting,
    Call.SLOT_ID: server.slot_id,
}


class BlockHost(Protocol):
    """The host's part of mmap and sbrk: its allocator of blocks."""

    def offer(self, size: int) -> int:
        """Return the physical address of a cleared block of `size` bytes; raises OutOfMemory."""

    def take_unused(self, block: int) -> None:
        """Take back a block that the monitor did not use."""

    def take_back(self, table: int) -> None:
        """Take back the blocks in the table at this address (`State.give_back`)."""


class Monitor:
    """The secure monitor on `hart`. The host calls `call`; enclaves trap."""

    def __init__(self, hart: Hart, keys: Keys = DEVELOPMENT, digest: Digest = Digest.PENGLAI) -> None:
        self.hart = hart
        self.state = State(hart, keys, digest)
        self.host_memory = self.state.host_memory
        for cause in Cause:
            hart.handlers[cause] = self._handler_for(cause)
        hart.handlers[Cause.ECALL_U] = self._enclave_call
        hart.handlers[Cause.WFI] = self._waits
        hart.handlers[Cause.INTERRUPT] = partial(self._preempted, Cause.INTERRUPT)
        hart.handlers[Cause.TIMER] = partial(self._preempted, Cause.TIMER)
        hart.on_error = self._contain
        self._or_core = False
        if hart.has_core and native.core is not None:
            core = ctypes.addressof(self.state.core)
            hart.handlers.answer_with(self._enclave_call, native.core.pltvm_answer, core)
            hart.whose = self._whose
        self.on_fault: Callable[[Fault], None] = lambda _fault: None
        # Called before an enclave is destroyed for a fault; True if it should go on, with changed registers.
        self.spared: Callable[[Context, str, Cause | None], bool] = lambda *_: False
        self.errors: list[str] = []  # Python errors caused by guests: each is a bug of pltvm
        boot.protect_monitor(hart)

    # -- the native core -------------------------------------------------------------------------------

    def _whose(self) -> Context:
        running = self.state.running
        assert running is not None  # the core runs no other contexts
        return running.context

    def let_core_answer(self, kbuffer: int, goes_on: bool, blocks: bool) -> None:
        """Declare what the core may do for the enclave that the host enters now, without asking the host.

        `kbuffer` is the physical address of its kbuffer if printed text may come later, to the listener of
        `set_text_listener`; 0 if each print goes to the host. `goes_on`: the enclave goes on after a yield.
        `blocks`: the core gets memory from the host of `set_block_host`.
        """
        core = self.state.core
        core.kbuffer = kbuffer if self._or_core and self.hart.can_refresh else 0
        core.goes_on = self._or_core and goes_on
        core.blocks = self._or_core and blocks
        core.host_maps = self.state.tables is not None and self.state.tables.maps_anything
        self.hart.may_wait = core.kbuffer != 0

    def set_block_host(self, host: "BlockHost") -> None:
        """Set the host that gives the core blocks for mmap and sbrk, and takes them back."""
        state, hart = self.state, self.hart
        code, first = state.memory.code, state.first_page

        def offer(size: int) -> int:
            try:
                block, pages = host.offer(size), size >> PAGE_SHIFT
                at = (block >> PAGE_SHIFT) - first
                if state.is_offer(block, size, 0) and code.find(1, at, at + pages) < 0:
                    return block
                host.take_unused(block)
            except OutOfMemory:
                pass  # Python tries again, and reports it
            except BaseException as error:
                hart.raise_later(error)
            return 0

        def take_back(table: int) -> None:
            try:
                host.take_back(table)
            except BaseException as error:
                hart.raise_later(error)

        state.core.set_block_functions(offer, take_back)

    def set_text_listener(self, listener: Callable[[bytes], None]) -> None:
        """Set the function that gets text which enclaves have printed through the core."""
        self.hart.on_waiting = lambda: listener(self.state.core.take_text())

    # -- the host's side -------------------------------------------------------------------------------

    def call(self, function: int, *arguments: int) -> int | None:
        """Make a monitor call of the host kernel (§8): function number, arguments from a0, all plain numbers.

        Returns the status, or None when an enclave has the hart now: then `run_guest` runs it, or, in a
        `host_vector`, the hart goes on by itself.
        """
        return host_calls.call(self.state, function, arguments)

    def set_host_vector(self, vector: Callable[[int], bool], or_core: bool = False) -> None:
        """Set the function that gets the status when control is back in the host.

        `or_core`: the core may answer in its place, see `let_core_answer`.

        It returns True when it has made another monitor call that entered an enclave: then guest code goes
        on at once, inside the same run of the JIT.
        """
        self.state.host_vector, self._or_core = vector, or_core
        self.let_core_answer(0, goes_on=False, blocks=False)

    def set_trap_vector(self, vector: Callable[[int, Context], None]) -> None:
        """Set the host kernel's trap handler, which gets the traps of host user mode (cause, context)."""
        self.state.trap_vector = vector

    def accepts_satp(self, satp: int) -> bool:
        """Whether the host may use this address space (§8)."""
        tables = self.state.tables
        return tables is not None and tables.accepts_satp(satp)

    def set_fault_listener(self, listener: Callable[[Fault], None]) -> None:
        """Set the function that gets the faults of destroyed enclaves: a debug port, not part of the
        interface."""
        self.on_fault = listener

    def set_faults_judge(self, judge: Callable[[Context, str, Cause | None], bool]) -> None:
        """Set the function that gets a fault of an enclave before anything is destroyed: a debug port too.

        It gets the context, the reason and the cause of the trap, and returns True if the enclave should go
        on.
        """
        self.spared = judge

    def set_name_listener(self, listener: Callable[[bytes], None]) -> None:
        """Set the function that gets names for which `acquire` found no server: a debug port too."""
        self.state.on_unknown_name = listener

    def measurement(self, eid: int) -> bytes | None:
        """Return the measurement of a living enclave; reports show only a hash of it: a debug port."""
        enclave = self.state.enclaves.get(eid)
        return None if enclave is None else attest.measurement_of(self.state, enclave)

    def run_guest(self) -> int:
        """Run the hart until the host keeps control; return the status for the host (§8)."""
        self.hart.run()
        return self.state.globals.host_status

    # -- traps of enclaves -------------------------------------------------------------------------------

    def _enclave_call(self, context: Context) -> bool | None:
        """Answer an `ecall`: a handler of traps, see `engine.handlers.Handler`."""
        state, regs = self.state, context.regs
        enclave: Enclave | None = context.owner
        if enclave is None:
            supervisor.trap(state, Cause.ECALL_U, context)
            return None
        if regs[A6] == abi.ENCLAVE_CALL:
            handler = ENCLAVE_CALLS.get(regs[A7])
            if handler is not None:
                result = handler(state, enclave, context)
                if result is None:
                    return None
                regs[A0] = result & abi.MASK64
                return True
        elif regs[A7] == abi.LINUX_IOCTL:
            regs[A0] = 0
            return True
        context.step(-4)
        self._destroy(context, unknown_call(regs[A6], regs[A7]))
        return None

    def _waits(self, context: Context) -> None:
        """`wfi`: let the host run, as if the enclave had yielded."""
        enclave = self.state.running
        if enclave is None:
            supervisor.trap(self.state, Cause.WFI, context)
        else:
            chain.pause(self.state, enclave, Status.YIELD)

    def _preempted(self, cause: Cause, context: Context) -> None:
        """Give the hart to the host: the timer or an interrupt from outside asks for it."""
        enclave = self.state.running
        if enclave is None:
            supervisor.trap(self.state, cause, context)
        else:
            chain.pause(self.state, enclave, Status.TIMER)

    def _handler_for(self, cause: Cause) -> Callable[[Context], None]:
        def fault(context: Context) -> None:
            if self.state.running is None:
                supervisor.trap(self.state, cause, context)
            else:
                self._destroy(context, reason_for(cause), cause)

        return fault

    def _contain(self, error: Exception, context: Context) -> bool:
        """Handle a Python error in serving an enclave: end only that enclave, with a report."""
        enclave = self.state.running
        if enclave is None or enclave.eid not in self.state.enclaves:
            return False
        reason = f"error in pltvm, please report it: {type(error).__name__}: {error}"
        self.errors.append(reason)
        del self.errors[:-_ERRORS_KEPT]
        self._destroy(context, reason)
        return True

    def _destroy(self, context: Context, reason: str, cause: Cause | None = None) -> None:
        """End the running enclave and its chain, report why, and give the host control with an error."""
        state = self.state
        enclave = state.running
        assert enclave is not None
        if self.spared(context, reason, cause):
            return
        fault = describe(state, enclave, context, reason, cause)
        self.on_fault(replace(fault, destroyed=destroy.end_chain(state, enclave)))
        state.to_host(Status.ERROR)

    def describe(self, context: Context, reason: str, cause: Cause | None = None) -> Fault:
        """Return the Fault of the running enclave; changes nothing: a debug port."""
        enclave = self.state.running
        assert enclave is not None
        return describe(self.state, enclave, context, reason, cause)

    def describe_waiting(self, eid: int, reason: str, in_call: bool = True) -> Fault | None:
        """Return a Fault for a chain, starting at `eid`, that the host does not answer: a debug port.

        Unless `in_call`, it describes the place where the host stopped running it.
        """
        top = self.state.enclaves.get(eid)
        if top is None:
            return None
        innermost = self.state.enclave(top.innermost)
        context = innermost.context
        back = 4 if in_call else 0  # to the ecall
        context.regs[PC] -= back
        fault = describe(self.state, innermost, context, reason)
        context.regs[PC] += back
        return fault

    def waits_for(self, eid: int) -> int | None:
        """Return the eid of the server that the chain starting at `eid` waits for, or None: a debug port."""
        top = self.state.enclaves.get(eid)
        queued = self.state.enclave(top.innermost).queued if top is not None else 0
        return self.state.enclave(queued).eid if queued else None

    def look_of_waiting(self, eid: int) -> bytes:
        """Return a digest of the registers and memory of the innermost enclave of a chain: a debug port.

        If it is the same twice, with a yield between, the enclave loops. Only 16 MiB of memory are included.
        """
        import hashlib  # needs OpenSSL's library, which takes longer to load than most runs

        top = self.state.enclaves.get(eid)
        if top is None:
            return b""
        context, memory = self.state.enclave(top.innermost).context, self.state.memory
        digest = hashlib.sha256(context.regs)
        leaves = context.table.leaves() if context.table is not None else ()
        for leaf in islice((leaf for leaf in leaves if leaf.pte & W), _LOOKED_AT):
            digest.update(memory.read(pte_address(leaf.pte), PAGE))
        return digest.digest()


_LOOKED_AT: Final = 4096  # pages
_ERRORS_KEPT: Final = 100
