"""A Linux process: what it has (memory, files, threads, signal handlers), how it starts and how it ends.

What happens when it traps is in `traps`; system calls are functions that get a process.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pltvm.engine import context as ctx
from pltvm.engine.context import MSTATUS_TVM, PC, SP, Context
from pltvm.engine.decode import disassemble
from pltvm.engine.sv39 import satp_for
from pltvm.engine.trap import fetch
from pltvm.errors import EngineError, OutOfMemory
from pltvm.host.kernel import Kernel
from pltvm.host.linux.errno import EINVAL, ENOMEM, LinuxError
from pltvm.host.linux.files import Files, FilesState
from pltvm.host.linux.program import load_program
from pltvm.host.linux.space import Space, SpaceState
from pltvm.host.linux.start_stack import DEFAULT_ENVIRONMENT
from pltvm.host.linux.threads import SavedScheduler, Scheduler, SchedulerState, Thread
from pltvm.host.plain import copied, restored
from pltvm.host.symbols import Symbols

Source = Callable[[int], bytes] | int  # standard input: a function of the most bytes, or a descriptor

PID: Final = 100
MOST_THREADS: Final = 1024
_SIGNAL_NAMES: Final = {
    4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV",
    13: "SIGPIPE", 15: "SIGTERM",
}  # fmt: skip
_CRASHES: Final = {4, 5, 7, 11}  # an instruction did it


@dataclass(slots=True)
class ProcessState:
    """What is known of a process itself.

    `exit_code` is set when it has ended, as a shell gives it: 128 + the signal if one ended it, and then
    `end_report` says where. `missing` counts the system calls that are not offered, `bugs` lists what went
    wrong in serving it and never should: at most one, as that ends it.
    """

    name: bytes = b""  # of the program
    symbols: Symbols = field(default_factory=lambda: Symbols(b""))
    actions: dict[int, tuple[int, ...]] = field(default_factory=dict)  # by signal: handler, flags, mask
    missing: Counter[int] = field(default_factory=Counter)
    exit_code: int | None = None
    end_report: str = ""
    bugs: list[str] = field(default_factory=list)
    served: str = ""  # what it asked for last
    next_tid: int = PID


@dataclass(slots=True)
class SavedProcess:
    """A process and its parts; `random` is the state of its generator."""

    process: ProcessState
    scheduler: SavedScheduler
    space: SpaceState
    files: FilesState
    random: tuple[Any, ...]


class Process:
    """A process that sees the files beneath `root`: `start` loads a program, or else it is `saved`.

    `source` is what standard input gives: a function of the most bytes, or a file descriptor. All functions
    are called as of `output.of_caller`; `errors` is where standard error goes, by default to `output`.
    `go_on` lets the next thread have the hart; False when the process is over, or its run is to end.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        root: Path,
        output: Callable[[bytes], None],
        errors: Callable[[bytes], None] | None = None,
        source: Source = lambda _size: b"",
        real_time: bool = False,
        seed: int = 0,
        space: SpaceState | None = None,
    ) -> None:
        self.kernel = kernel
        self.hart = kernel.hart
        self.pid = PID
        self.random = random.Random(seed)
        self.state = ProcessState()
        self.files = Files(root, output, self._reader(source), seed, errors)
        self.scheduler = Scheduler(kernel.hart, real_time)
        self.space = Space(kernel, space)
        self.at_end: list[Callable[[], None]] = []
        self.go_on: Callable[[], bool] = lambda: False

    def start(self, data: bytes, arguments: Sequence[bytes]) -> None:
        """Load the program `data`, with `arguments` (the first is its name); its first thread is ready.

        Raises ElfError for a program that cannot run here, OutOfMemory; then the process is no more.
        """
        self.state.name, self.state.symbols = arguments[0], Symbols(data)
        try:
            entry, stack = load_program(
                self.space,
                data,
                arguments,
                DEFAULT_ENVIRONMENT,
                self.random.randbytes(16),
                self.files.content,
            )
        except BaseException:
            self.space.free()
            raise
        first = Context(ctx.U, table=self.space.table, pc=entry)
        first.regs[SP] = stack
        self.new_thread(first)

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedProcess:
        """A copy of the state, of the parts too; raises SnapshotError."""
        parts = self.scheduler.save(), self.space.save(), self.files.save(), self.random.getstate()
        return SavedProcess(copied(self.state), *parts)

    def load(self, saved: SavedProcess) -> None:
        """Put the state back, after `Files.check`."""
        self.state = restored(self.state, saved.process)
        self.space.load(saved.space)
        self.scheduler.load(saved.scheduler, self.space.table)
        thread = self.scheduler.current
        self.hart.current = thread.context if thread is not None else self.kernel.context
        self.files.load(saved.files)
        self.random.setstate(saved.random)

    def forget(self) -> None:
        """The machine was put back to where there is no such process: it has no memory and no threads."""
        self.at_end.clear()
        self.space.load(SpaceState())
        self.scheduler.load(SavedScheduler(SchedulerState(), []), self.space.table)
        self.state.exit_code = 1
        self.state.end_report = "the machine was put back to before this program ran"

    # -- life --------------------------------------------------------------------------------------------

    def _reader(self, source: Source) -> Callable[[int], bytes]:
        if not isinstance(source, int):
            return source

        def read(size: int) -> bytes:
            self.hart.halt.wait(descriptor=source)
            return os.read(source, size)

        return read

    def new_thread(self, context: Context) -> Thread:
        """A thread that starts with `context`, in this process's address space."""
        if len(self.scheduler.threads) >= MOST_THREADS:
            raise LinuxError(ENOMEM)
        satp = satp_for(self.space.table.root, 0)
        if not self.kernel.monitor.accepts_satp(satp):
            raise EngineError("the monitor refused the page table of a Linux process")
        context.regs[ctx.SATP] = satp
        context.regs[ctx.MSTATUS] |= MSTATUS_TVM
        thread = Thread(self.state.next_tid, context)
        self.state.next_tid += 1
        self.scheduler.add(thread)
        return thread

    def end_thread(self, thread: Thread, code: int) -> None:
        """The end of one thread: tell who waits for it. The last one ends the process."""
        if thread.state.clear_tid:
            try:
                self.space.write(thread.state.clear_tid, bytes(4))
                self.scheduler.wake_futex(thread.state.clear_tid, 1)
            except (LinuxError, OutOfMemory):  # it ends all the same
                pass
        self.scheduler.remove(thread)
        if not self.scheduler.threads:
            self.end(code)

    def end(self, code: int) -> None:
        """The end of the process."""
        self.state.exit_code = code
        for thread in list(self.scheduler.threads.values()):
            self.scheduler.remove(thread)

    def clean_up(self) -> None:
        """After its run, however that ended: give everything back."""
        self.hart.set_time_slice(0)
        for action in self.at_end:
            action()
        self.files.close_all()
        self.hart.current = self.kernel.context
        self.space.free()

    def killed(self, thread: Thread, number: int, address: int, why: str = "") -> None:
        """The end of the process by a signal; `address` is what the instruction wanted, if one did it.

        `why` says what else did.
        """
        pc = thread.context.regs[PC]
        name = _SIGNAL_NAMES.get(number, f"signal {number}")
        code = fetch(thread.context)
        self.state.end_report = f"killed by {name} at {self.state.symbols.locate(pc)}"
        if number in _CRASHES:
            why = why or (disassemble(code, pc) if code else "jump")
            self.state.end_report += f": {why}, address {address:#x}"
        self.end(128 + number)

    # -- for system calls --------------------------------------------------------------------------------

    def timespec(self, address: int) -> int:
        """The `struct timespec` at `address` in nanoseconds; raises LinuxError."""
        raw = self.space.read(address, 16)
        seconds, nanoseconds = (int.from_bytes(raw[at : at + 8], "little", signed=True) for at in (0, 8))
        if not (0 <= nanoseconds < 10**9 and 0 <= seconds < 1 << 33):
            raise LinuxError(EINVAL)
        return seconds * 10**9 + nanoseconds
