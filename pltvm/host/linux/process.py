"""A Linux process on the machine: system calls, page faults, signals, threads, until it ends.

All of it happens inside the hart's trap handler: a system call that blocks, or an enclave that the process
runs, just puts another context on the hart. `run` returns when the process has ended, or its run was halted.

Here is the boundary between what a guest asks for and this Python process: an error of serving it is an error
number for the guest, or else, as it should not have come up, the end of the guest with a line that says so.
"""

import os
import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pltvm.engine import context as ctx
from pltvm.engine.context import A0, A1, A2, A3, A4, A5, A7, MSTATUS_TVM, PC, SP, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import satp_for
from pltvm.engine.trap import Cause, disassemble
from pltvm.errors import EngineError, Interrupted, OutOfMemory, SnapshotError
from pltvm.host.kernel import Kernel, SavedProgram
from pltvm.host.linux import signals
from pltvm.host.linux.errno import EINVAL, EIO, ENOMEM, ENOSYS, LinuxError
from pltvm.host.linux.files import Files
from pltvm.host.linux.program import load_program
from pltvm.host.linux.space import EXEC, READ, WRITE, Space
from pltvm.host.linux.syscalls import SYSTEM_CALLS
from pltvm.host.linux.threads import Scheduler, Thread
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import MASK64

Source = Callable[[int], bytes] | int  # standard input: a function of the most bytes, or a descriptor

PID: Final = 100
MOST_THREADS: Final = 1024
MOST_MISSING: Final = 1024  # numbers that are counted each for itself
_LONGEST_REPORT: Final = 200  # characters of an error's text
OTHERS: Final = -1  # all other numbers of system calls that are not offered
_SIGNAL_NAMES: Final = {
    4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV",
    13: "SIGPIPE", 15: "SIGTERM",
}  # fmt: skip
_ACCESS: Final = {Cause.FETCH_PAGE: EXEC, Cause.LOAD_PAGE: READ, Cause.STORE_PAGE: WRITE}
_SIGNAL_OF: Final = {Cause.ILLEGAL: 4, Cause.BREAKPOINT: 5}
_SIGBUS, _SIGSEGV = 7, 11
_CRASHES: Final = {4, 5, _SIGBUS, _SIGSEGV}  # an instruction did it


class Process:
    """The process of the program `data`, with `arguments` (the first is its name).

    `exit_code` is set when it has ended, as a shell gives it: 128 + the signal if one ended it, and then
    `end_report` says where. `missing` counts the system calls that are not offered, `bugs` lists what went
    wrong in serving it and never should: at most one, as that ends it. `source` is what standard input gives:
    a function of the most bytes, or a file descriptor. All functions are called as of `output.of_caller`.
    """

    def __init__(
        self,
        kernel: Kernel,
        data: bytes,
        arguments: Sequence[bytes],
        *,
        root: Path,
        output: Callable[[bytes], None],
        source: Source = lambda _size: b"",
        real_time: bool = False,
        seed: int = 0,
    ) -> None:
        self.kernel = kernel
        self.hart = kernel.hart
        self.random = random.Random(seed)
        self.files = Files(root, output, self._reader(source), seed)
        self.scheduler = Scheduler(kernel.hart, real_time)
        self.pid = PID
        self.program_name = arguments[0]
        self.symbols = Symbols(data)
        self.actions: dict[int, tuple[int, ...]] = {}  # by signal: handler, flags, mask
        self.missing: Counter[int] = Counter()
        self.exit_code: int | None = None
        self.end_report = ""
        self.bugs: list[str] = []
        self._served = ""  # what it asked for last
        self.at_end: list[Callable[[], None]] = []
        self._next_tid = PID
        self.space = Space(kernel)
        try:
            entry, stack = load_program(self.space, data, arguments, self.random.randbytes(16))
            self.space.map(signals.RETURN_PAGE, PAGE, READ | EXEC)
            self.space.load(signals.RETURN_PAGE, signals.RETURN_CODE)
        except BaseException:
            self.space.free()
            raise
        first = Context(ctx.U, table=self.space.table, pc=entry)
        first.regs[SP] = stack
        self.new_thread(first)

    # -- life --------------------------------------------------------------------------------------------

    def _reader(self, source: Source) -> Callable[[int], bytes]:
        if not isinstance(source, int):
            return source

        def read(size: int) -> bytes:
            self.hart.halt.wait(descriptor=source)
            return os.read(source, size)

        return read

    def run(self) -> int:
        """Run to the end of the process, or until the run is halted (`Hart.halt`); the exit code."""
        self.kernel.monitor.set_trap_vector(self._trap)
        self.kernel.program = self
        try:
            if self._go_on():
                self.hart.run()
        except Interrupted:
            pass
        except Exception as error:
            self._bug(error)
        finally:
            self._clean_up()
        return self.exit_code if self.exit_code is not None else 1

    def _bug(self, error: Exception) -> None:
        """An error that serving the guest should have handled: its end, and a line for who can mend it."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REPORT]
        self.bugs.append(f"a bug of pltvm, in serving {self._served or 'its start'}: {what} ({where})")
        self.end(1)
        self.end_report = self.bugs[-1]

    def new_thread(self, context: Context) -> Thread:
        """A thread that starts with `context`, in this process's address space."""
        if len(self.scheduler.threads) >= MOST_THREADS:
            raise LinuxError(ENOMEM)
        satp = satp_for(self.space.table.root, 0)
        if not self.kernel.monitor.accepts_satp(satp):
            raise EngineError("the monitor refused the page table of a Linux process")
        context.regs[ctx.SATP] = satp
        context.regs[ctx.MSTATUS] |= MSTATUS_TVM
        thread = Thread(self._next_tid, context)
        self._next_tid += 1
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
        self.exit_code = code
        for thread in list(self.scheduler.threads.values()):
            self.scheduler.remove(thread)

    def _clean_up(self) -> None:
        self.hart.set_time_slice(0)
        for action in self.at_end:
            action()
        self.files.close_all()
        self.kernel.program = None
        self.hart.current = self.kernel.context
        self.space.free()

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedProgram:
        """Refused."""
        raise SnapshotError("a Linux program runs: save before it, or after")

    def check(self, saved: SavedProgram | None) -> None:
        """Refused, likewise."""
        raise SnapshotError("a Linux program runs: put back before it, or after")

    def load(self, saved: SavedProgram | None) -> None:
        """Never done, as `check` refuses."""
        self.check(saved)

    # -- traps -------------------------------------------------------------------------------------------

    def _trap(self, cause: int, context: Context) -> None:
        """A trap of user mode: what the host kernel's trap vector does."""
        thread = self.scheduler.current
        assert thread is not None
        assert thread.context is context
        if cause == Cause.ECALL_U:
            self._system_call(thread, context)
        elif cause == Cause.TIMER:
            self.scheduler.rotate()
        elif cause == Cause.INTERRUPT:
            self.hart.stop()
            return
        elif cause != Cause.WFI:
            self._served = f"a trap, {Cause(cause).text}"
            self._fault(thread, cause, context)
        if thread.state.pending:
            signals.deliver(self, thread)
        if self.scheduler.current is not thread and not self._go_on():
            self.hart.stop()

    def _go_on(self) -> bool:
        """Let the next thread have the hart; False when the process is over, or its run is to end."""
        scheduler = self.scheduler
        while self.exit_code is None and scheduler.switch():
            thread = scheduler.current
            assert thread is not None
            if thread.state.pending and not thread.state.enclave:
                signals.deliver(self, thread)
            if scheduler.current is thread:
                return True
        if self.exit_code is None and not self.hart.halt.asked:
            self.exit_code = 1
            self.end_report = "deadlock: every thread waits for another one"
        return False

    def go_on(self) -> bool:
        """As a driver callback: the hart's next context is chosen; False when the process is over."""
        return self._go_on()

    def _system_call(self, thread: Thread, context: Context) -> None:
        regs = context.regs
        number = regs[A7]
        self.scheduler.count_system_call()
        call = SYSTEM_CALLS.get(number)
        if call is None:
            self._count_missing(number)
            regs[A0] = -ENOSYS & MASK64
            return
        self._served = f"system call {number} ({call.__name__})"
        try:
            result = call(self, thread, regs[A0], regs[A1], regs[A2], regs[A3], regs[A4], regs[A5])
        except LinuxError as error:
            result = -error.number
        except OSError as error:
            result = -(error.errno or EIO)
        except (OverflowError, ValueError):  # an argument that no function of Python's takes
            result = -EINVAL
        except (OutOfMemory, MemoryError):
            result = -ENOMEM
        if result is not None:
            regs[A0] = result & MASK64

    def _count_missing(self, number: int) -> None:
        known = number in self.missing or len(self.missing) < MOST_MISSING
        self.missing[number if known else OTHERS] += 1

    def _fault(self, thread: Thread, cause: int, context: Context) -> None:
        access = self.hart.faulting_access(cause, context)
        wanted = _ACCESS.get(Cause(cause))
        number = _SIGNAL_OF.get(Cause(cause), _SIGSEGV)
        if wanted is not None and access is not None:
            try:
                if self.space.fault(access.address, wanted):
                    return
            except OutOfMemory as error:
                self.end(137)
                self.end_report = f"killed: {error}"
                return
            except LinuxError:  # the memory is an enclave's now: unmapped from the host (§7)
                number = _SIGSEGV
        signals.force(self, thread, number, access.address if access else context.regs[PC])

    def killed(self, thread: Thread, number: int, address: int, why: str = "") -> None:
        """The end of the process by a signal; `address` is what the instruction wanted, if one did it.

        `why` says what else did.
        """
        pc = thread.context.regs[PC]
        name = _SIGNAL_NAMES.get(number, f"signal {number}")
        code = self.hart.fetch(thread.context)
        self.end_report = f"killed by {name} at {self.symbols.locate(pc)}"
        if number in _CRASHES:
            why = why or (disassemble(code, pc) if code else "jump")
            self.end_report += f": {why}, address {address:#x}"
        self.end(128 + number)

    # -- for system calls --------------------------------------------------------------------------------

    def timespec(self, address: int) -> int:
        """The `struct timespec` at `address` in nanoseconds; raises LinuxError."""
        raw = self.space.read(address, 16)
        seconds, nanoseconds = (int.from_bytes(raw[at : at + 8], "little", signed=True) for at in (0, 8))
        if not (0 <= nanoseconds < 10**9 and 0 <= seconds < 1 << 33):
            raise LinuxError(EINVAL)
        return seconds * 10**9 + nanoseconds
