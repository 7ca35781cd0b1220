"""The monitor's front door: every trap of an enclave and every call of the host comes in here.

    enclave   ecall, a6 = 0x100101, a7 = function     → ENCLAVE_CALLS
    host      `Monitor.call`, or ecall from S-mode     → HOST_CALLS
    faults    any other trap                           → the enclave is destroyed, with a report

A handler gives the result for a0, or None when it has set everything itself.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

from pltvm.engine import pmp
from pltvm.engine.context import A0, A6, A7, PC, Context
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.monitor import abi, attest, lifecycle, ocall, relay, secure_shm, server, shadow, supervisor
from pltvm.monitor.abi import Call, HostCall, Status
from pltvm.monitor.digest import Digest
from pltvm.monitor.fault import (
    Fault,
    describe_access,
    describe_owner,
    instruction_at,
    reason_for,
    unknown_call,
)
from pltvm.monitor.guard import HostTables
from pltvm.monitor.host_memory import HostMemory
from pltvm.monitor.keys import DEVELOPMENT, Keys
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.state import RUNNABLE, Enclave, State

MONITOR_SIZE: Final = 2 << 20  # §8: its own memory, at the start of RAM

EnclaveCall = Callable[[State, Enclave, Context], int | None]


def _exit(state: State, enclave: Enclave, context: Context) -> int | None:
    return lifecycle.exit_enclave(state, enclave, context.regs[A0])


def _enclave_id(_state: State, enclave: Enclave, _context: Context) -> int:
    return enclave.eid


def _yield(state: State, enclave: Enclave, context: Context) -> None:
    state.answer(context, 0)
    enclave.state = RUNNABLE
    state.leave(enclave, Status.YIELD)


def _asynchronous_call(state: State, enclave: Enclave, context: Context) -> int:
    name = server.read_name(enclave, context.regs[A0])
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
}

# Each with how many arguments it takes: registers always hold five.
HOST_CALLS: Final[dict[int, tuple[int, Callable[..., int | None]]]] = {
    HostCall.CREATE: (1, lifecycle.create),
    HostCall.CREATE_SERVER: (1, lifecycle.create_server),
    HostCall.ATTEST: (3, attest.attest),
    HostCall.ATTEST_SHADOW: (3, attest.attest),
    HostCall.RUN: (2, lifecycle.run),
    HostCall.RESUME: (5, lifecycle.resume),
    HostCall.STOP: (1, lifecycle.stop),
    HostCall.DESTROY: (1, lifecycle.destroy),
    HostCall.DESTROY_SERVER: (1, lifecycle.destroy),
    HostCall.CREATE_SHADOW: (1, shadow.create),
    HostCall.RUN_SHADOW: (2, shadow.run),
    HostCall.DESTROY_SHADOW: (1, lifecycle.destroy),
    HostCall.EXTEND: (2, lifecycle.extend),
    HostCall.RELAY_INIT: (2, lifecycle.extend),
    HostCall.RECLAIM: (2, relay.reclaim),
}


class Monitor:
    """The secure monitor on `hart`. The host calls `call`; enclaves trap."""

    def __init__(self, hart: Hart, keys: Keys = DEVELOPMENT, digest: Digest = Digest.PENGLAI) -> None:
        self.hart = hart
        self.state = State(hart, keys, digest)
        self.host_memory = HostMemory(hart.memory, MONITOR_SIZE)  # what the host reads and writes RAM by
        for cause in Cause:
            hart.handlers[cause] = self._handler_for(cause)
        hart.handlers[Cause.ECALL_U] = self._enclave_call
        hart.handlers[Cause.WFI] = self._waits
        hart.handlers[Cause.INTERRUPT] = partial(self._preempted, Cause.INTERRUPT)
        hart.handlers[Cause.TIMER] = partial(self._preempted, Cause.TIMER)
        hart.on_error = self._contain
        self.errors: list[str] = []  # of ours that guests have brought about: each is a bug of pltvm
        base = hart.memory.base
        pmp.program(
            hart, {0: pmp.Entry(base, MONITOR_SIZE, pmp.NO_ACCESS), pmp.LAST: _EVERYTHING}, scratch=base
        )

    # -- the host's side -------------------------------------------------------------------------------

    def call(self, function: int, *arguments: int) -> int | None:
        """A monitor call of the host kernel (§8): function number, arguments from a0, all plain numbers.

        Gives the status, or None when an enclave has the hart now: then `run_guest` runs it, or, in a
        `host_vector`, the hart goes on by itself.
        """
        if function == HostCall.INIT:
            return self._init(*_exactly(4, arguments))
        tables = self.state.tables
        if tables is None:
            return Status.ERROR
        if function == HostCall.SET_PTE:
            return tables.set_pte(*_exactly(4, arguments))
        if function == HostCall.SEPARATE:
            return tables.separate(*_exactly(2, arguments))
        known = HOST_CALLS.get(function)
        if known is None:
            return Status.ERROR
        arity, handler = known
        if len(arguments) != arity:
            arguments = _exactly(arity, arguments)
        return handler(self.state, *arguments)

    def set_host_vector(self, vector: Callable[[int], bool]) -> None:
        """Set what is called with the status when control is back in the host.

        It gives True when it has made another monitor call that entered an enclave: then guest code runs on
        at once, inside the same run of the JIT.
        """
        self.state.host_vector = vector

    def set_trap_vector(self, vector: Callable[[int, Context], None]) -> None:
        """Set what gets the traps of host user mode (cause, context): the host kernel's trap handler."""
        self.state.trap_vector = vector

    def accepts_satp(self, satp: int) -> bool:
        """A trapped `csrw satp` of the host kernel: whether it may use this address space (§8)."""
        tables = self.state.tables
        return tables is not None and tables.accepts_satp(satp)

    def set_fault_listener(self, listener: Callable[[Fault], None]) -> None:
        """Set who is told of destroyed enclaves: a debug port, not part of the interface."""
        self.state.on_fault = listener

    def measurement(self, eid: int) -> bytes | None:
        """The measurement of a living enclave, of which reports show a hash only: a debug port."""
        enclave = self.state.enclaves.get(eid)
        return None if enclave is None else attest.measurement_of(self.state, enclave)

    def run_guest(self) -> int:
        """Run the hart until the host has control for good; the status it gets (§8)."""
        self.hart.run()
        return self.state.host_status

    def _init(self, pt_area: int, pt_size: int, bitmap: int, bitmap_size: int) -> int:
        """Monitor call 100: where the host's page tables and the page bitmap lie, once."""
        memory = self.hart.memory
        regions = [
            (memory.base, MONITOR_SIZE),
            (pt_area, pt_size),
            (bitmap, bitmap_size),
        ]
        if self.state.pages is not None or bitmap_size < PageOwners.bitmap_bytes(memory):
            return Status.ERROR
        for start, size in regions:
            if size < PAGE or size & (size - 1) or start % size or not memory.contains(start, size):
                return Status.ERROR
        ends = sorted((start, start + size) for start, size in regions)
        if any(a[1] > b[0] for a, b in pairwise(ends)):
            return Status.ERROR
        memory.zero(bitmap, bitmap_size)
        memory.zero(pt_area, pt_size)
        self.state.pages = PageOwners(memory, bitmap)
        for start, size in regions:
            self.state.pages.claim(start, size // PAGE, 0)
            self.state.fixed_blocks.append((start, size // PAGE))
        self.state.tables = HostTables(
            memory, self.state.pages, pt_area, pt_size, regions, self.hart.translations_changed
        )
        self.host_memory.guard(self.state.pages, range(pt_area, pt_area + pt_size))
        entries = {
            0: pmp.Entry(*regions[0], pmp.NO_ACCESS),
            1: pmp.Entry(*regions[1], pmp.READ_ONLY),
            2: pmp.Entry(*regions[2], pmp.NO_ACCESS),
            pmp.LAST: _EVERYTHING,
        }
        pmp.program(self.hart, entries, scratch=memory.base)
        return Status.OK

    # -- traps of enclaves -------------------------------------------------------------------------------

    def _enclave_call(self, context: Context) -> None:
        state = self.state
        enclave = state.running
        regs = context.regs
        if enclave is None:
            supervisor.trap(self, Cause.ECALL_U, context)
            return
        if regs[A6] == abi.ENCLAVE_CALL:
            handler = ENCLAVE_CALLS.get(regs[A7])
            if handler is not None:
                result = handler(state, enclave, context)
                if result is not None:
                    regs[A0] = result & abi.MASK64
                return
        elif regs[A7] == abi.LINUX_IOCTL:
            regs[A0] = 0
            return
        context.step(-4)
        self._destroy(context, unknown_call(regs[A6], regs[A7]))

    def _waits(self, _context: Context) -> None:
        """`wfi`: let the host run, as if the enclave had yielded."""
        enclave = self.state.running
        if enclave is None:
            supervisor.trap(self, Cause.WFI, _context)
            return
        enclave.state = RUNNABLE
        self.state.leave(enclave, Status.YIELD)

    def _preempted(self, cause: Cause, context: Context) -> None:
        """The timer, or someone outside, wants the hart: the host gets it."""
        enclave = self.state.running
        if enclave is None:
            supervisor.trap(self, cause, context)
            return
        enclave.state = RUNNABLE
        self.state.leave(enclave, Status.TIMER)

    def _handler_for(self, cause: Cause) -> Callable[[Context], None]:
        def fault(context: Context) -> None:
            if self.state.running is None:
                supervisor.trap(self, cause, context)
            else:
                self._destroy(context, reason_for(cause), cause)

        return fault

    def _contain(self, error: Exception, context: Context) -> bool:
        """An error of ours while an enclave was served ends that enclave, with a report, and nothing else."""
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
        fault = self.describe(context, reason, cause)
        host_context = enclave.host_context
        ended = lifecycle.end_chain(state, enclave)
        enclave.host_context = host_context
        state.on_fault(replace(fault, destroyed=ended))
        state.leave(enclave, Status.ERROR)

    def describe_waiting(self, eid: int, reason: str) -> Fault | None:
        """What is to be said when the host does not answer the chain that starts at `eid`: a debug port."""
        top = self.state.enclaves.get(eid)
        if top is None:
            return None
        context = top.innermost.context
        context.regs[PC] -= 4  # the ecall
        fault = self.describe(context, reason, enclave=top.innermost)
        context.regs[PC] += 4
        return fault

    def describe(
        self, context: Context, reason: str, cause: Cause | None = None, enclave: Enclave | None = None
    ) -> Fault:
        """What is to be said of a fault of `enclave`, by default the running one; changes nothing."""
        enclave = enclave or self.state.running
        assert enclave is not None
        access = describe_access(self.hart, cause, context) if cause is not None else None
        link, chain = enclave, [str(enclave)]
        while link.call is not None:
            link = link.call.caller
            chain.append(str(link))
        gone = self._passed_on(enclave, context, access[0]) if access else None
        owner = gone or (describe_owner(self.state.owners, context, access[0]) if access else "")
        return Fault(
            eid=enclave.eid,
            name=enclave.name.decode("ascii", "backslashreplace"),
            reason=reason,
            pc=context.regs[PC],
            instruction=instruction_at(self.hart, context),
            registers=context.named_registers(),
            address=access[0] if access else None,
            size=access[1] if access else None,
            owner=owner,
            given_away=gone is not None,
            chain=tuple(reversed(chain)),
        )

    def _passed_on(self, enclave: Enclave, context: Context, address: int) -> str | None:
        """Who has the memory that the enclave had at `address` and passed on; None if it is not such."""
        if context.table is not None and context.table.entry(address):
            return None
        holders = [(f"to {other}", other.space.mappings()) for other in self.state.enclaves.values()]
        holders += [
            (f"to the name {name.decode('ascii', 'backslashreplace')!r}", regions)
            for name, regions in self.state.bound.items()
        ]
        for holder, mappings in holders:
            for mapping in mappings:
                eid, start = mapping.origin
                if eid == enclave.eid and start <= address < start + mapping.size:
                    return f"the page was passed {holder} and has not come back"
        return None


_ERRORS_KEPT: Final = 100
_EVERYTHING: Final = pmp.Entry(0, 0, pmp.ALL)


def _exactly(count: int, arguments: tuple[int, ...]) -> tuple[int, ...]:
    """So many arguments: what is missing is 0, what is too many nobody looks at."""
    return (*arguments[:count], *(0,) * (count - len(arguments)))
