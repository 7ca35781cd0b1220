"""Stops a run at breakpoints, after steps, at faults, or on request, and resumes it.

The run is stopped inside a handler of its hart, still inside the JIT. The listener (`on_stop`) may look at
everything and change it, until it returns how to go on. This file is independent of debuggers, such as `gdb`.

    trap, fault, request ─▶ handler ─▶ on_stop ─▶ Go: on, or one instruction ─▶ back into the JIT

A step does jumps and monitor calls itself (`flow`, `Hart.trap`). Any other instruction runs in the JIT, up to
a temporary breakpoint after it, with the breakpoint at it disabled. So every instruction is run by the same
engine as without a debugger, and instructions need not be counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from pltvm.debug.watching import Watched, Watching
from pltvm.engine.context import PC, Context
from pltvm.engine.decode import instruction_length
from pltvm.engine.flow import jump
from pltvm.engine.handlers import Handler
from pltvm.engine.page_table import PageTable
from pltvm.engine.trap import Cause, fetch
from pltvm.machine import Machine

_ECALL = (0x73).to_bytes(4, "little")


class Reason(Enum):
    """The reason of a stop."""

    BEGIN = auto()  # nothing has run yet
    BREAK = auto()  # at a breakpoint
    STEP = auto()  # after one instruction, or a call
    WATCH = auto()  # watched memory is about to be read or written
    FAULT = auto()  # an enclave is about to be destroyed, or a process gets a signal
    REQUEST = auto()
    NEW = auto()  # an enclave that the host has made is about to run
    START = auto()  # at the start of the history


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop, with its reason. `signal` is the Linux signal number for a fault, `text` the reason in words;
    `address` and `access` ("r", "w") are those of watched memory."""

    reason: Reason
    signal: int = 0
    text: str = ""
    address: int = 0
    access: str = ""
    table: PageTable | None = None  # the address space of the watched memory


@dataclass(frozen=True, slots=True)
class Go:
    """How to go on: with a single instruction or not; a fault is passed on or ignored."""

    step: bool = False
    passes: bool = True
    errand: Callable[[], None] | None = None  # instead of going on: called outside guest code


class Killed(BaseException):
    """Ends the run. It is no Exception, so that no handler of errors catches it."""


@dataclass(slots=True)
class _Step:
    """A step in progress: the breakpoint after it, and whether to report its end."""

    table: PageTable
    at: int
    behind: int
    told: bool


class Stops:
    """The stops of one machine. `on_stop` gets each stop, and returns how to go on; it may raise Killed."""

    def __init__(self, machine: Machine, on_stop: Callable[[Stop], Go]) -> None:
        self.machine = machine
        self.hart = machine.hart
        self.on_stop = on_stop
        self._breaks = self.hart.breaks
        self._places: set[tuple[int, int]] = set()  # root table, address
        self._steps: dict[Context, _Step] = {}
        # contexts that stopped here and have to go on by a step
        self._passed: dict[Context, tuple[int, bool]] = {}
        self._spared: dict[int, bool] = {}  # by position: the decision about a fault there
        self._asked = False
        self._watching = Watching(machine, self._on_watched)
        self._before: dict[Cause, Handler] = {}
        self._started: Callable[[], None] = lambda: None  # called before each run, without a debugger

    # -- beginning and end -------------------------------------------------------------------------------

    def begin(self, at_once: bool = True) -> None:
        """Enable stops; `at_once`: stop before anything runs."""
        handlers = self.hart.handlers
        ours = {Cause.BREAK: self._on_break, Cause.INTERRUPT: self._on_interrupt, Cause.TIMER: self._on_timer}
        self._before = {cause: handlers.given(cause) for cause in ours}
        handlers.update(ours)
        self._started = self.machine.driver.started
        self.machine.driver.started = self._on_started
        self._judge_by(self._on_fault)
        if at_once:
            self.soon(Stop(Reason.BEGIN))

    def end(self) -> None:
        """Disable stops; the run has full speed again."""
        self._watching.end()
        for context in list(self._steps):
            self._finish(context)
        for spaces in [(va, dict(spaces)) for va, spaces in self._breaks.places.items()]:
            for table in spaces[1].values():
                self._breaks.remove(table, spaces[0])
        self._places.clear()
        self._passed.clear()
        self.machine.driver.started = self._started
        self.hart.handlers.update(self._before)
        self._judge_by(lambda *_: False)

    def _on_started(self) -> None:
        self._started()
        self.soon(Stop(Reason.NEW))

    # -- breakpoints -------------------------------------------------------------------------------------

    def add(self, table: PageTable, va: int) -> None:
        """Stop when code of this address space reaches `va`."""
        self._places.add((table.root, va))
        self._breaks.add(table, va)

    def remove(self, table: PageTable, va: int) -> None:
        """Remove a breakpoint."""
        self._places.discard((table.root, va))
        if not any(step.table.root == table.root and step.behind == va for step in self._steps.values()):
            self._breaks.remove(table, va)

    def is_place(self, context: Context) -> bool:
        """Whether a context is at a breakpoint."""
        return context.table is not None and (context.table.root, context.regs[PC]) in self._places

    def watch(self, table: PageTable, va: int, size: int, access: str, put: bool) -> bool:
        """Stop when these bytes are read ("r") or written ("w"); with `put` false, remove that."""
        change = self._watching.put if put else self._watching.take
        return change(table, va, size, access)

    def _on_watched(self, one: Watched, access: str, by_guest: bool) -> bool:
        stop = Stop(Reason.WATCH, address=one.va, access=access, table=one.table)
        if by_guest:
            return self.stop(stop)
        self.soon(stop)
        return True

    # -- stopping ----------------------------------------------------------------------------------------

    def request(self) -> None:
        """Stop the run where it is, or at the end of the time slice. To be repeated until it has stopped;
        from any thread.

        Leaving the JIT within a slice would begin another one.
        """
        self._asked = True
        if not self.hart.time_slice:
            self.hart.interrupt()

    def soon(self, stop: Stop) -> None:
        """Stop before more guest code runs, in any context; from a handler, or before a run."""
        self.hart.outside(lambda: self._on(stop))

    def stop(self, stop: Stop) -> bool:
        """Stop the run; in a handler. Returns when guest code should go on; False: by an errand."""
        self._asked = False
        for context in list(self._steps):
            if context is self.hart.current:
                self._finish(context)
            else:
                self._leave_step(context)
        going: Stop | None = stop
        while going is not None:
            with self.hart.halt.standing():
                go = self.on_stop(going)
            self._asked = False  # by a request that came while it stopped; a later one is repeated
            if go.errand is not None:
                self.hart.outside(go.errand)
                return False
            going = self._go(self.hart.current, go.step)
        return True

    def go(self, go: Go) -> None:
        """Go on; in an errand."""
        self._on(self._go(self.hart.current, go.step))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Disable stops in this context, for re-runs; in an errand."""
        for context in list(self._steps):
            self._finish(context)
        self._passed.clear()
        places = [(va, table) for va, spaces in self._breaks.places.items() for table in spaces.values()]
        for va, table in places:
            self._breaks.remove(table, va)
        driver = self.machine.driver
        started, driver.started = driver.started, lambda: None
        self._judge_by(lambda *_: self._spared.get(self._position, False))
        try:
            with self._watching.resting():
                yield
        finally:
            driver.started = started
            self._judge_by(self._on_fault)
            for va, table in places:
                self._breaks.add(table, va)

    @property
    def watched(self) -> list[Watched]:
        """Return the watched memory."""
        return self._watching.all

    def _go(self, context: Context, told: bool, over: bool = False) -> Stop | None:
        """Let the current context go on; return a Stop to report if it has stopped again already.

        `over`: it is at a breakpoint of another context.
        """
        while told or over or self.is_place(context):
            over, code = False, fetch(context)
            if code.startswith(_ECALL):
                context.step(4)
                self.hart.trap(Cause.ECALL_U)
                if self.hart.stopping:
                    return None
            elif jump(code, context):
                self.hart.ran_by_hand()
            else:
                self._run_one(context, code, told)
                return None
            context = self.hart.current
            if self.is_place(context):
                return Stop(Reason.BREAK)
            if told:
                return Stop(Reason.STEP)
        return None

    def _run_one(self, context: Context, code: bytes, told: bool) -> None:
        """Run one instruction up to a temporary breakpoint; if it traps, the handler ends the step."""
        table, at = context.table, context.regs[PC]
        if table is None:
            return
        step = self._steps[context] = _Step(table, at, at + instruction_length(code), told)
        self._breaks.hush(at)
        self._breaks.add(table, step.behind)

    def _finish(self, context: Context) -> _Step | None:
        """End the step of a context, and restore breakpoints."""
        step = self._steps.pop(context, None)
        if step is not None:
            if (step.table.root, step.behind) not in self._places:
                self._breaks.remove(step.table, step.behind)
            self._breaks.wake(step.at)
        return step

    # -- handlers ----------------------------------------------------------------------------------------

    def _on_break(self, context: Context) -> None:
        pc, step = context.regs[PC], self._steps.get(context)
        passed = self._passed.pop(context, None)
        if passed is not None and passed[0] == pc:
            self._on(self._go(context, passed[1], over=True))
            return
        done = step is not None and step.behind == pc
        if done:
            self._finish(context)
        if self.is_place(context):
            self.stop(Stop(Reason.BREAK))
        elif done and step is not None and step.told:
            self.stop(Stop(Reason.STEP))
        elif not done:
            self._on(self._go(context, False, over=True))

    def _on(self, stop: Stop | None) -> None:
        if stop is not None:
            self.stop(stop)

    def _leave_step(self, context: Context) -> None:
        """Suspend a step that was interrupted, until the context has the hart again."""
        step = self._steps.get(context)
        if step is not None and context.regs[PC] == step.at:
            self._finish(context)
            self._passed[context] = step.at, step.told

    def _on_timer(self, context: Context) -> None:
        self._leave_step(context)
        self._before[Cause.TIMER](context)
        if self._asked and not self.hart.stopping:
            self.soon(Stop(Reason.REQUEST))

    def _on_interrupt(self, context: Context) -> None:
        if not self._asked or self.hart.halt.asked:
            self._leave_step(context)
            self._before[Cause.INTERRUPT](context)
            return
        self._finish(context)
        self._passed.pop(context, None)
        self.stop(Stop(Reason.REQUEST))

    def _judge_by(self, judge: Callable[[Context, str, Cause | None], bool]) -> None:
        """Set the function that gets faults of enclaves and host programs before they take effect."""
        self.machine.monitor.set_faults_judge(judge)
        self.machine.kernel.spares = judge

    def _on_fault(self, context: Context, reason: str, cause: Cause | None) -> bool:
        """Handle a fault before the enclave is destroyed; return True if it goes on instead."""
        self._finish(context)
        self._asked = False
        position = self._position
        with self.hart.halt.standing():
            go = self.on_stop(Stop(Reason.FAULT, signal_of(cause), reason))
        if go.errand is not None:
            self.hart.outside(go.errand)
        elif go.step:
            self.soon(Stop(Reason.STEP))
        spared = self._spared[position] = go.errand is not None or not go.passes
        return spared

    @property
    def _position(self) -> int:
        counter = self.hart.counter
        return 0 if counter is None else counter.now


SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGSEGV = 4, 5, 6, 7, 11
_SIGNALS = {
    Cause.ILLEGAL: SIGILL, Cause.BREAKPOINT: SIGTRAP, Cause.FETCH_MISALIGNED: SIGBUS,
    Cause.LOAD_MISALIGNED: SIGBUS, Cause.STORE_MISALIGNED: SIGBUS, Cause.OUTSIDE_RAM: SIGBUS,
}  # fmt: skip


def signal_of(cause: Cause | None) -> int:
    """Return the Linux signal for a trap; SIGABRT if it was not caused by an instruction."""
    return SIGABRT if cause is None else _SIGNALS.get(cause, SIGSEGV)
