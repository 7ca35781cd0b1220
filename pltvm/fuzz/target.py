"""The target at the moment before its input is read, and executions from there.

An execution ends in a trap: the server returns, the enclave exits, or there is a problem. While a batch runs,
the trap handler itself checks the results, restores the snapshot and starts the next execution, so that the
JIT is not left. Subclasses implement the attacker that feeds the target: `callers` and `hosts`.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from pltvm.engine.context import A6, A7, PC, RA, Context
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import Cause
from pltvm.fuzz import loop, secret, stopping, turn
from pltvm.fuzz.arena import EDGES_EACH, Arena
from pltvm.fuzz.batch import TO_BEGIN, TO_SEND, Batch
from pltvm.fuzz.execution import Execution, Interesting, Problem
from pltvm.fuzz.looked import Looked
from pltvm.fuzz.options import ENCLAVE, Options
from pltvm.fuzz.results import FAULT, HANG, SECRET
from pltvm.fuzz.snapshot import Snapshot
from pltvm.fuzz.stack import stack_of
from pltvm.host import interrupts
from pltvm.host.api import Enclave
from pltvm.host.elf import load_image
from pltvm.host.symbols import Symbols
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType
from pltvm.monitor.enclave import Enclave as MonitorEnclave
from pltvm.monitor.fault import unknown_call
from pltvm.monitor.monitor import ENCLAVE_CALLS

_ECALL_BLOCKS: Final = 200  # blocks that a call counts as: a loop of calls is a hang too
_MOST_TEXT: Final = 64 << 10  # bytes of printed text that are kept

# Gets the target, pc, and size of the block or instruction.
Watch = Callable[["Target", int, int], None]


class Target:
    """The machine of a campaign. Subclasses define how it gets to the snapshot and what an input does."""

    last_call: Call  # the call by which the enclave ends an execution
    entry: memoryview  # the registers at the start of each, except its argument

    def __init__(
        self, options: Options, watch: Watch | None = None, blocks: bool = False, looked_at: bool = False
    ) -> None:
        """Create the target. `watch` is called at each instruction, or block, with its pc and size: that is
        slow.

        `looked_at`: under a debugger, which stops executions and goes back in them.
        """
        self.options, self._looked_at = options, looked_at
        self.layouts = options.channels if options.kind == ENCLAVE else (options.layout,)
        self.arena = Arena()
        self.state = self.arena.state
        self.machine = machine = Machine(options.ram)
        self.hart, self.monitor, self.memory = machine.hart, machine.monitor, machine.memory
        machine.driver.driven = True
        if looked_at:
            Looked(self.hart, self.arena)
        else:
            self.watch_edges()
        if watch is not None:
            images = [load_image(elf) for elf in (options.elf, *(path for _, path in options.servers))]
            runs = [run for image in images for run in image.runs()]
            end = max(run.vaddr + run.npages * PAGE for run in runs)
            self.hart.watch(partial(watch, self), min(run.vaddr for run in runs), end, blocks)
        self.state.blocks = options.blocks
        self.state.limit = options.most_bytes
        self.state.header = options.header
        self.state.calls = options.calls > 1
        self.servers = [
            machine.create(path, name=name, type=EnclaveType.SERVER) for name, path in options.servers
        ]
        kind = EnclaveType.SERVER if options.kind == "server" else EnclaveType.NORMAL
        self.created = self.create(kind)
        self.enclave: MonitorEnclave = self.monitor.state.enclaves[self.created.eid]
        symbols = self.created.inner.symbols
        self.secrets, self.secret_address = secret.marked(options, self.monitor.state, self.enclave, symbols)
        self._regions = {
            id(self.monitor.state.enclaves[one.eid].context): index
            for index, one in enumerate((self.created, *self.servers))
        }
        self.noticed: Problem | None = None  # a problem that did not end the execution
        self.batch = Batch()  # the data for the core to go on by itself
        self._interesting: Interesting = lambda _data, _new, _problem: None
        self._one: Execution | None = None
        self._single = False
        self.keep = True
        self.whole = False  # whether coverage of executions with problems is kept too
        self.may_stop = False  # whether Ctrl-C may end an execution
        self._ended = False
        self.detail = False  # whether problems are described in full
        self.text = bytearray()  # printed text of the last execution that was described in full
        self.seen: set[tuple[object, ...]] = set()  # keys of problems that need not be described again
        self._saved_handlers = dict(self.hart.handlers)
        self.prepare()
        self._take_traps()
        self.own_pages = [  # writable pages of the ELF: virtual and physical address
            (leaf.va, pte_address(leaf.pte))
            for leaf in self.enclave.space.table.leaves()
            if self.enclave.space.table.writable(leaf.pte) and leaf.va < abi.HEAP_BASE
        ]
        self.snapshot = Snapshot(machine, self.arena, partial(self.load, self.save()))
        self._share()

    def _share(self) -> None:
        """Let the native core run common executions."""
        batch, state = self.batch, self.monitor.state
        contexts = [state.enclaves[one.eid].context for one in (self.created, *self.servers)]
        batch.prepare(self.hart, self.arena, state.core, contexts[0], self.entry, contexts)
        batch.last_call = self.last_call
        self._plain = self.is_plain()
        batch.kbuffer = self.prints_for() if self._plain else 0
        tables = (pa for one in state.enclaves.values() for pa in one.space.table.tables())
        batch.watch_log(self.memory, self.snapshot.compared, tables)
        self.monitor.set_host_vector(self.machine.driver.control_is_back)  # Python serves the rest
        batch.answer_for(self.hart, self._on_ecall)

    def _take_traps(self) -> None:
        """Take over all traps; the monitor gets only those that are passed on to it."""
        handlers = self.hart.handlers
        for cause in self._saved_handlers:
            handlers[cause] = self._fault_handler(Cause(cause))
        handlers[Cause.ECALL_U] = self._on_ecall
        handlers[Cause.WFI] = self._on_wfi
        handlers[Cause.INTERRUPT] = self._on_interrupt
        self.hart.on_error = lambda _error, _context: False  # errors of the fuzzer are not the target's

    # -- for subclasses ------------------------------------------------------------------------------------

    def create(self, kind: EnclaveType) -> Enclave:
        """Create the target."""
        name = self.options.server_name if kind is EnclaveType.SERVER else self.options.name
        return self.machine.create(self.options.elf, name=name, type=kind)

    def watch_edges(self) -> None:
        """Count edges, and count down blocks to the end of the budget."""
        loop.watch(self.hart, self.arena)

    def prepare(self) -> None:
        """Run the machine up to where the input is read."""
        raise NotImplementedError

    def save(self) -> object:
        """Return the subclass's part of the snapshot."""
        return None

    def load(self, saved: object) -> None:
        """Restore what `save` returned."""

    def now(self) -> object:
        """Return the state of an execution in progress that is not in the machine, for `go_back`."""
        arena = self.arena
        edges = [(edge, arena.map[edge]) for edge in arena.touched[: self.state.taken]]
        numbers = bytes(self.state), bytes(self.batch), edges
        return numbers, self.noticed, bytes(self.text), self.save()

    def go_back(self, then: Any) -> None:
        """Restore the state that `now` returned, as the machine was restored to that moment of the same
        execution."""
        (state, batch, edges), self.noticed, self.text[:], saved = then
        arena = self.arena
        for edge in arena.touched[: self.state.taken]:
            arena.map[edge] = 0
        for at, (edge, count) in enumerate(edges):
            arena.touched[at], arena.map[edge] = edge, count
        ctypes.memmove(ctypes.addressof(self.state), state, len(state))
        ctypes.memmove(ctypes.addressof(self.batch), batch, len(batch))
        self.load(saved)

    def pauses(self) -> bool:
        """Whether the hook for blocks has just stopped the run."""
        return self.state.budget < 0

    def is_just(self, made: type["Target"]) -> bool:
        """Whether this is exactly `made`, or a harness that changes nothing during executions."""
        kinds = type(self).__mro__
        own = {name for kind in kinds[: kinds.index(made)] for name in vars(kind) if name[:2] != "__"}
        return own <= {"create", "prepare", "watch_edges"}  # these run only before executions

    def is_plain(self) -> bool:
        """Whether executions are not observed: then the core may begin them, by `entry`, and end them."""
        return False

    def prints_for(self) -> int:
        """Return the physical address of the kbuffer for text printed while the target runs."""
        return 0

    def begin(self) -> None:
        """Start an execution with the input in the arena, from the snapshot."""
        raise NotImplementedError

    def over(self, context: Context) -> bool:
        """End the execution at the enclave's last call. Return False if the monitor has to handle the
        call."""
        raise NotImplementedError

    def out_of_blocks(self, context: Context) -> None:
        """End an execution whose budget is used up."""
        self.end(self.problem(HANG, context, f"still runs after {self.options.blocks:,} blocks of code"))

    # -- executions ----------------------------------------------------------------------------------------

    def execute(self, data: bytes, keep: bool = True, detail: bool = False) -> Execution:
        """Execute `data` once. Unless `keep`, its coverage counts as new the next time too.

        `detail`: describe a problem in full, whether its key is known or not.
        """
        data = data[: self.options.most_bytes]
        self._set_input(data)
        self._single, self.keep, self.detail, self._one = True, keep, detail, None
        self.text.clear()
        self.batch.left, self.batch.plain = 0, False
        kbuffer = self.batch.kbuffer
        if detail:
            self.batch.kbuffer = 0  # the core discards printed text: let Python handle it
        self._start()
        self._single, self.detail, self.batch.kbuffer = False, False, kbuffer
        return self._result()

    def _result(self) -> Execution:
        assert self._one is not None
        return self._one

    def fuzz(self, parent: bytes, count: int, interesting: Interesting) -> None:
        """Execute `count` mutations of `parent`; `interesting` gets those with new coverage or a problem."""
        self.arena.set_parent(parent)
        self._interesting, self.keep = interesting, True
        self.batch.left, self.batch.plain = count - 1, self._plain
        loop.advance(self.arena)
        self._start()

    def attempt(self, data: bytes, interesting: Interesting) -> None:
        """Execute this input; like `fuzz`."""
        execution = self.execute(data)
        if execution.new or execution.problem:
            interesting(data, execution.new, execution.problem)

    def _set_input(self, data: bytes) -> None:
        self.arena.set_input(data)
        loop.place(self.arena)
        if self._looked_at:  # snapshots are made meanwhile, and have to include what was written
            self.memory.touch(self.memory.base + self.state.place, pages_for(self.state.room))

    def _start(self) -> None:
        self._ended = False
        self._begin()
        while not self._ended:
            with interrupts.Watch(self.hart, None):  # handles Ctrl-C, if no campaign does
                self.hart.run()
            if not self._ended:  # the enclave waits for something that the host does not provide
                self.end(None)

    def _begin(self) -> None:
        if stopping.requested and self.may_stop:
            raise KeyboardInterrupt
        self.noticed = None
        self._forget_core()
        state = self.state
        state.part_new = state.part_path = 0
        state.budget = self.options.blocks
        state.region = 0
        self.begin()

    def end(self, problem: Problem | None) -> None:
        """End the execution: check its results, restore the snapshot, go on with the batch."""
        arena, batch = self.arena, self.batch
        problem = problem or self.noticed
        if problem is not None and self.monitor.spared(self.hart.current, problem.words, problem.cause):
            return  # a debugger lets it go on, or goes back
        if (batch.by_python or batch.asked) and not batch.changed:
            batch.changed = not self.snapshot.is_light()
        if batch.left and problem is None and not batch.changed and not self.state.part_new:  # the usual case
            new = loop.turn(arena)
            self.snapshot.after_light()
            if not new:
                batch.left -= 1
                self._forget_core()
                self.begin()
                return
        else:
            new = self._end_with(problem)
        if not self._single and (new or problem):
            self._interesting(arena.input(), new, problem)
        self._go_on()

    def _take_over(self) -> None:
        """Take over from the core, which has ended an execution with new coverage, or cannot begin the next
        input."""
        found, self.batch.found = self.batch.found, 0
        if found == TO_SEND:
            self.go_on_sending()
            return
        self.snapshot.after_light()
        if found == TO_BEGIN:
            self._begin()
        else:
            self._interesting(self.arena.input(), found, None)
            self._go_on()

    def go_on_sending(self) -> None:
        """Make the next call, which the core cannot make."""
        raise NotImplementedError

    def _forget_core(self) -> None:
        """Begin an execution in Python: reset the core's part."""
        batch = self.batch
        batch.asked = batch.by_python = batch.changed = batch.begun = False
        batch.flips = self.hart.flips

    def _go_on(self) -> None:
        """Go on with the next execution of the batch, if there is one."""
        if self.batch.left:
            self.batch.left -= 1
            loop.advance(self.arena)
            self._begin()
        else:
            self._ended = True
            self.hart.stop()

    def _end_with(self, problem: Problem | None) -> int:
        """End a single execution, or one with a problem, or one that changed the monitor."""
        state = self.state
        state.executions += 1
        blocks = self.options.blocks - state.budget
        keep = self.keep and (problem is None or self.whole)
        new = loop.classify(self.arena, keep)
        state.work += blocks
        if self.batch.changed or self._looked_at:
            state.full += 1
            self.snapshot.full()
        else:
            self.snapshot.light()
        new = max(new, state.part_new, loop.deeper(self.arena, keep))
        state.path = turn.mix(state.part_path, state.path)
        if self._single:
            self._one = Execution(new, state.path, problem, blocks)
        return new

    # -- traps ---------------------------------------------------------------------------------------------

    def _on_ecall(self, context: Context) -> None:
        if self.batch.found:
            self._take_over()
            return
        regs = context.regs
        number = regs[A7]
        if regs[A6] == abi.ENCLAVE_CALL:
            if number == self.last_call and context is self.enclave.context and self.over(context):
                return
            if number not in ENCLAVE_CALLS:
                regs[PC] -= 4
                self.end(self.problem(FAULT, context, unknown_call(regs[A6], number)))
                return
        elif number != abi.LINUX_IOCTL:
            regs[PC] -= 4
            self.end(self.problem(FAULT, context, unknown_call(regs[A6], number)))
            return
        self.to_monitor(context)

    def to_monitor(self, context: Context) -> None:
        """Let the monitor handle an ecall, which costs as much as some blocks of code."""
        self.batch.by_python = True
        self.state.budget -= _ECALL_BLOCKS
        self._saved_handlers[Cause.ECALL_U](context)
        current = self.hart.current
        if current is not context:
            self.state.region = self._regions.get(id(current), 0) * EDGES_EACH
            self.state.previous = 0

    def _on_wfi(self, context: Context) -> None:
        if self.state.budget < 0:
            self.out_of_blocks(context)
        else:
            self.batch.changed = True
            self._saved_handlers[Cause.WFI](context)

    def _on_interrupt(self, _context: Context) -> None:
        """Drop the execution, as the campaign should stop."""
        loop.classify(self.arena, False)
        self.batch.changed = True
        self.snapshot.full()
        self._ended, self.batch.left = True, 0
        self.hart.stop()
        raise KeyboardInterrupt

    def _fault_handler(self, cause: Cause) -> Callable[[Context], None]:
        def handler(context: Context) -> None:
            self.end(self.problem(FAULT, context, cause.text, cause))

        return handler

    def problem(self, kind: str, context: Context, words: str, cause: Cause | None = None) -> Problem:
        """Return a Problem at the present place of `context`."""
        regs = context.regs
        key = (kind, cause, regs[PC] if kind != HANG else 0, regs[RA] if kind != HANG else 0)
        if key in self.seen and not self.detail:
            return Problem(kind, key, words, cause=cause)
        fault = None
        if kind in (FAULT, HANG) and self.monitor.state.running is not None:
            fault = self.monitor.describe(context, words, cause)
        stack = stack_of(context, self.machine.memory)
        return Problem(kind, key, words, fault, stack, cause)

    def stack_range(self) -> tuple[int, int]:
        """Return the lowest and highest address of the target's stack."""
        return abi.STACK_TOP - abi.DEFAULT_STACK, abi.STACK_TOP

    def running_index(self) -> int:
        """Return which code runs: 0 for the target, else the number of the further server."""
        return self._regions.get(id(self.hart.current), 0)

    def symbols_of(self, eid: int) -> Symbols | None:
        """Return the symbols of the enclave with this eid, for reports."""
        return next((one.inner.symbols for one in (self.created, *self.servers) if one.eid == eid), None)

    def known(self, eid: int) -> tuple[str, Symbols | None] | None:
        """Return name and symbols of the enclave with this eid, for reports."""
        made = next((one for one in (self.created, *self.servers) if one.eid == eid), None)
        return None if made is None else (made.name, made.inner.symbols)

    def where(self, address: int) -> str:
        """Describe an address of the target."""
        symbols = self.created.inner.symbols
        return str(symbols.locate(address)) if symbols else f"{address:#x}"

    def printed(self, text: bytes) -> None:
        """Handle text that the host prints for an enclave."""
        if self.detail:
            self.text += text[: _MOST_TEXT - len(self.text)]
        if self.secrets:
            problem = self.find_secret((text,), self.arena.input(), "printed text")
            self.noticed = self.noticed or problem

    def find_secret(self, texts: Sequence[bytes], data: bytes, where: str) -> Problem | None:
        """Return a Problem if any of the texts, which an execution of `data` gave, contains the secret."""
        if secret.shows(secret.windows(self.secrets), texts, data):
            return self.problem(SECRET, self.enclave.context, f"its secret is in {where}")
        return None
