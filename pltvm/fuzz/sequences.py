"""A server with state, fed by sequences of calls: the layout `calls`.

The snapshot is in a call of client 0. A call like the one before it (same client, memory passed and simply
given back) does not change the monitor, so it is not really made: the request gets its new content, and the
server starts again. The monitor makes all other calls and returns.
"""

from array import array
from typing import Any, Final

from pltvm.engine.context import A0, A1, A6, A7, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import D
from pltvm.errors import PltvmError
from pltvm.fuzz import layout, loop, oracles
from pltvm.fuzz.callers import STRUCT, Caller
from pltvm.fuzz.layout import Message
from pltvm.fuzz.oracles import Response
from pltvm.fuzz.results import REFUSAL
from pltvm.fuzz.target import Target
from pltvm.monitor import abi
from pltvm.monitor.abi import Call

_COST: Final = 4_000  # cost of one more call, in blocks of code


class Sequence(Target):
    """One or more calls, of one or several clients."""

    last_call = Call.RETURN

    def prepare(self) -> None:
        oracles.paint_stack(self)
        options = self.options
        self._size = options.memory
        self._fillers = [bytes(self._size)]
        if options.clients > 1:
            numbers = range(options.clients)
            self._fillers = [oracles.token_of(number) * (self._size // 8) for number in numbers]
        self._looks = oracles.needed(self)
        self._messages: list[Message] = []
        self._before: dict[int, bytes] = {}
        self.callers: list[Caller] = []
        for number in range(options.clients):
            if self.callers:
                self.callers[-1].next = None
                self.callers[-1].ecall(Call.YIELD)
            self.callers.append(Caller(self.machine, number, self._size))
            self.callers[-1].output = self.printed
        self.turns = [self.callers[-1]]  # the caller of the present call, as the only element
        self._call(self._turn_of(0), Message(0, b"\0"))
        if self.hart.current is not self.enclave.context:
            raise PltvmError(f"{self.created.name}: the monitor refused to call it")
        self.entry = memoryview(array("Q", self.enclave.context.regs))
        served = self.batch  # the passed memory: its place, and whether there is any
        self._first = served.request, served.place
        memory, table = self.memory, self.enclave.space.table
        self._slots = [
            (table.slot(served.request + at) - memory.base) >> 3 for at in range(0, self._size, PAGE)
        ]
        self.batch.pass_on(
            self._slots,
            most_calls=options.calls,
            caller=self.callers[0].enclave.at,
            caller_va=self.callers[0].va,
            server=self.enclave.at,
            struct_va=STRUCT,
            unused_va=self.stack_range()[0],
            first_request=served.request,
            first_place=served.place,
            room=self._size,
        )

    def is_plain(self) -> bool:
        return self.is_just(Sequence) and not self._looks

    def prints_for(self) -> int:
        return self.callers[0].inner.kbuffer

    def save(self) -> object:
        callers = [(caller.va, caller.passes, caller.next) for caller in self.callers]
        return callers, self.turns[0], self._before

    def load(self, saved: Any) -> None:
        callers, self.turns[0], self._before = saved
        for caller, (va, passes, following) in zip(self.callers, callers, strict=True):
            caller.va, caller.passes, caller.next = va, passes, following

    # -- calls ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        state = self.state
        state.sent = state.next = state.kind = state.part_new = state.part_path = 0
        self._split(self.arena.input())
        served = self.batch
        (served.request, served.place), served.passes = self._first, True
        first = self._messages[0]
        if first.client == 0 and first.memory:
            self._call_again(first)
        else:
            self._return_first()
            self._send()

    def _split(self, data: bytes) -> None:
        """Set the input."""
        options = self.options
        self._messages = layout.split_calls(data, options.calls, options.clients) or [Message(0, b"")]

    def _catch_up(self) -> None:
        """Find the present call, if the core has begun this execution."""
        batch = self.batch
        if batch.begun:
            batch.begun = False
            self._split(self.arena.input())
            caller = self.turns[0]
            caller.va, caller.passes = batch.caller_va, bool(batch.passes)

    def go_on_sending(self) -> None:
        self._catch_up()
        self.turns[0].results()
        self._send()

    def _note_sent(self, message: Message) -> None:
        """Note that a message is sent; the next one starts at its end."""
        self.state.sent += 1
        self.state.next += layout.MESSAGE.size + len(message.memory)

    def _call_again(self, message: Message) -> None:
        """Make the same client's next call."""
        self._note_sent(message)
        self.state.work += _COST
        at = self.batch.place
        content = message.memory[: self._size]
        self.memory.bytes[at : at + self._size] = content + self._fillers[message.client][len(content) :]
        for slot in self._slots:  # pages written since the snapshot
            self.memory.words[slot] |= D
        if REFUSAL in self.options.oracles:
            self._before = oracles.writable(self)
        regs = self.enclave.context.regs
        regs[:] = self.entry
        regs[A0], regs[A1] = message.argument, self.batch.request
        self.state.region = self.state.previous = 0

    def _return_first(self) -> None:
        """Undo the call of the snapshot: the server returns the request, with a struct in its unused
        stack."""
        self.batch.changed = True
        table, (va, _) = self.enclave.space.table, self.stack_range()
        unused = table.read(va, abi.CALL_STRUCT.size) or b""
        table.write(va, abi.CALL_STRUCT.pack(0, 0, self.batch.request, self._size, 0, 0))
        context = self.enclave.context
        context.regs[A0], context.regs[A6], context.regs[A7] = va, abi.ENCLAVE_CALL, Call.RETURN
        self.to_monitor(context)
        table.write(va, unused)
        self.turns[0].results()

    def _send(self) -> None:
        """Make the next call by the monitor, or end."""
        self.batch.changed = True
        while self.state.sent < len(self._messages):
            message = self._messages[self.state.sent]
            self._note_sent(message)
            self._call(self._turn_of(message.client), message)
            if self.hart.current is self.enclave.context:
                self.state.region = self.state.previous = 0
                return
        self.end(None)

    def _call(self, caller: Caller, message: Message) -> None:
        """Let a caller make a call, if it still has memory to pass."""
        # the switch to the caller and back is never loaded, so it would not flush
        self.hart.translations_changed()
        if not caller.va and not caller.get_memory():
            return
        content = message.memory[: self._size]
        served = self.batch
        served.caller_va = caller.va
        served.place, served.passes = caller.pa - self.memory.base, bool(message.memory)
        self.memory.write(caller.pa, content + self._fillers[message.client][len(content) :])
        if REFUSAL in self.options.oracles and self._messages:
            self._before = oracles.writable(self)
        caller.call(self.created.eid, message.argument, bool(message.memory))
        served.request = self.enclave.context.regs[A1]

    def _turn_of(self, client: int) -> Caller:
        now, then = self.turns[0], self.callers[client]
        if now is not then:
            now.next = then
            now.ecall(Call.YIELD)
            self.turns[0] = then
        return then

    # -- returns -------------------------------------------------------------------------------------------

    def over(self, context: Context) -> bool:
        raw = self.enclave.space.table.read(context.regs[A0], abi.CALL_STRUCT.size)
        if raw is None:
            return False
        self._catch_up()
        caller = self.turns[0]
        _, value, request, size, response, _ = abi.CALL_STRUCT.unpack(raw)
        served = self.batch
        if not (served.passes and request == served.request and size == self._size and not response):
            self._return(context)
            return True
        loop.part(self.arena, caller.number, self.keep)
        problem = None
        if self._looks:
            texts = (self.memory.read(self.memory.base + served.place, size),)
            answer = Response(value, texts)
            problem = oracles.check(self, answer, self.arena.input(), caller.number, self._before)
        if problem is not None or self.state.sent == len(self._messages):
            self.end(problem)
            return True
        following = self._messages[self.state.sent]
        if following.client == caller.number and following.memory:
            self._call_again(following)
        else:
            self.batch.changed = True
            self.to_monitor(context)
            caller.results()
            self._send()
        return True

    def _return(self, context: Context) -> None:
        """Let the monitor make a return that is not simple; it may refuse it."""
        self.batch.changed = True
        self.to_monitor(context)
        if self.hart.current is context:
            return  # refused: the server goes on
        caller = self.turns[0]
        response = caller.results()
        loop.part(self.arena, caller.number, self.keep)
        problem = oracles.check(self, response, self.arena.input(), caller.number, self._before)
        if problem is not None:
            self.end(problem)
        else:
            self._send()
