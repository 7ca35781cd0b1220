"""A server, fed by hostile callers. Here an input is one call; `sequences` has several calls.

The callers are proxies, as in `Enclave.call`, but their code never runs: a call is written into their
registers, and the monitor takes it as a call of an enclave, which it is.
"""

from array import array
from typing import Any, Final

from pltvm.engine.context import A0, A1, A2, A6, A7, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.errors import PltvmError
from pltvm.fuzz import layout, oracles
from pltvm.fuzz.oracles import Response
from pltvm.fuzz.target import Target
from pltvm.host import proxy
from pltvm.host.clients import Client, next_number
from pltvm.host.enclave import DriverEnclave
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, Ocall

STRUCT: Final = abi.STACK_TOP - PAGE + 64  # the call struct, in a caller's stack


class Caller(Client):
    """A started enclave that makes given calls, with `memory` bytes to pass."""

    def __init__(self, machine: Machine, number: int, memory: int) -> None:
        super().__init__()
        self.machine = machine
        name, client = f"client {number}", next_number(machine.driver.clients)
        self.inner = proxy.create(machine.driver, client, name, name=name.encode())
        self._ecall = machine.hart.handlers[Cause.ECALL_U]  # the monitor's own handler
        self.enclave = machine.monitor.state.enclaves[self.inner.eid]
        self.context = self.enclave.context
        self.number = number
        self.size = memory
        self.va = 0  # address of the memory to pass; 0 while it has none
        self.passes = False  # whether its last call passed memory
        self.next: Caller | None = None  # goes on when this one yields
        machine.driver.clients[self.inner.client] = self
        machine.driver.start(self.inner)
        if not self.get_memory():
            raise PltvmError("the machine has too little memory for fuzzing: give it more (--ram)")

    def paused(self, _enclave: DriverEnclave, _status: int) -> bool:
        called = self.enclave.innermost != self.enclave.at  # a server that yields goes on
        following = self if called else self.next
        return following is not None and self.machine.driver.go_on(following.inner)

    def ecall(self, number: int, *arguments: int) -> None:
        """Make a call; afterwards the context chosen by the monitor has the hart."""
        regs = self.context.regs
        for index, value in enumerate(arguments):
            regs[A0 + index] = value & abi.MASK64
        regs[A6], regs[A7] = abi.ENCLAVE_CALL, number
        self._ecall(self.context)

    def get_memory(self) -> bool:
        """Get memory to pass; return False if the machine has no more."""
        self.ecall(Call.OCALL, Ocall.MMAP, 0, self.size)
        self.va = self.context.regs[A0]
        return bool(self.va)

    @property
    def pa(self) -> int:
        """The physical address of the memory, which is contiguous."""
        pa = self.enclave.space.table.translate(self.va)
        assert pa is not None
        return pa

    def call(self, handle: int, argument: int, passes: bool) -> None:
        """Call a server."""
        self.passes = passes
        where = (self.va, self.size) if passes else (0, 0)
        self.enclave.space.table.write(STRUCT, abi.CALL_STRUCT.pack(argument, 0, *where, 0, 0))
        self.ecall(Call.CALL, handle, STRUCT)

    def results(self) -> Response:
        """Return the results of a call."""
        space = self.enclave.space
        raw = space.table.read(STRUCT, abi.CALL_STRUCT.size)
        assert raw is not None
        _, value, request, _, response, _ = abi.CALL_STRUCT.unpack(raw)
        memory = []
        self.va = request if self.passes else self.va
        for va in (request, response):
            mapping = space.mmaps.get(va)
            if mapping is not None:
                memory.append(space.table.read(va, mapping.size) or b"")
        return Response(value, tuple(memory))


class OneCall(Target):
    """The layout `call`: the snapshot is at the first instruction of the server in a call."""

    last_call = Call.RETURN

    def prepare(self) -> None:
        oracles.paint_stack(self)
        self.caller = caller = Caller(self.machine, 0, self.options.memory)
        self.pa = caller.pa
        caller.output = self.printed
        caller.call(self.created.eid, 0, passes=True)
        if self.hart.current is not self.enclave.context:
            raise PltvmError(f"{self.created.name}: the monitor refused to call it")
        regs = self.enclave.context.regs
        self.entry = memoryview(array("Q", regs))
        self._request = regs[A1]
        self.state.place = self.pa - self.machine.memory.base
        self.state.room = self.options.memory
        self.state.skip = layout.CALL_HEADER.size
        self._looks = oracles.needed(self)

    def is_plain(self) -> bool:
        return self.is_just(OneCall) and not self._looks

    def prints_for(self) -> int:
        return self.caller.inner.kbuffer

    def save(self) -> object:
        return self.caller.va

    def load(self, saved: Any) -> None:
        self.caller.va = saved

    def begin(self) -> None:
        regs = self.enclave.context.regs
        regs[:] = self.entry
        regs[A0] = self.state.argument
        if self.state.size <= layout.CALL_HEADER.size:
            regs[A1] = regs[A2] = 0

    def over(self, context: Context) -> bool:
        table, at, size = self.enclave.space.table, context.regs[A0], abi.CALL_STRUCT.size
        if not self._looks and at & PAGE - 1 <= PAGE - size:
            if table.translate(at) is None:
                return False
            self.end(None)
            return True
        raw = table.read(at, size)
        if raw is None:
            return False
        self.end(
            oracles.check(self, self._response(raw), self.arena.input(), client=0) if self._looks else None
        )
        return True

    def _response(self, raw: bytes) -> Response:
        """Return what the caller would get, without making the return."""
        _, value, request, size, response, response_size = abi.CALL_STRUCT.unpack(raw)
        memory, space = [], self.enclave.space
        if request == self._request and size >= self.options.memory:
            memory.append(self.machine.memory.read(self.pa, self.options.memory))
        mapping = space.find(response, response_size) if response else None
        if mapping is not None:
            memory.append(space.table.read(mapping.va, mapping.size) or b"")
        return Response(value, tuple(memory))
