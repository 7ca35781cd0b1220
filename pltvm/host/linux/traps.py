"""Handles traps of Linux processes: system calls, page faults, time slices.

Everything happens inside the hart's trap handler: a system call that blocks, or an enclave that a process
runs, only puts another context on the hart. `run` returns when all processes have ended, or when the run was
halted.

Here is the boundary between requests of a guest and this Python process: an expected error in serving it is
an error number for the guest; an unexpected one ends the guest, with a line that reports it as a bug.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EINVAL, EIO, ENOMEM, ENOSYS
from functools import partial
from pathlib import Path
from typing import Final

from pltvm.engine.context import A0, A7, PC, Context
from pltvm.engine.trap import Cause, faulting_access
from pltvm.errors import Interrupted, OutOfMemory
from pltvm.host.linux import delivery, life, pid_file, signal_file, signals, timers
from pltvm.host.linux.arguments import shown_result
from pltvm.host.linux.calls import SYSTEM_CALLS
from pltvm.host.linux.clock import SYSCALL_TICKS
from pltvm.host.linux.deadlock import describe_deadlock
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.names import name_of_call
from pltvm.host.linux.process import SignalInfo, Thread
from pltvm.host.linux.space import EXEC, READ, WRITE
from pltvm.host.linux.system import System
from pltvm.host.linux.table import Registers, SystemCall
from pltvm.host.linux.waits import Blocked
from pltvm.monitor.abi import MASK64

_LONGEST_REPORT: Final = 200  # characters of an error text
_ACCESS: Final = {Cause.FETCH_PAGE: EXEC, Cause.LOAD_PAGE: READ, Cause.STORE_PAGE: WRITE}
_SIGNAL_OF: Final = {
    Cause.ILLEGAL: (signals.SIGILL, 1), Cause.BREAKPOINT: (signals.SIGTRAP, 1),
    Cause.FETCH_MISALIGNED: (signals.SIGBUS, 1),
}  # fmt: skip  # and its code
_ECALL: Final = int(Cause.ECALL_U)
_KILLED_FOR_MEMORY: Final = 9


class Traps:
    """Handles the traps of one system from now on. `trace` gets a line for each system call."""

    def __init__(self, system: System, trace: Callable[[str], None] | None = None) -> None:
        self.system = system
        self._kernel = system.kernel
        self._hart = system.hart
        self._counts = system.hart.core
        self._scheduler = system.scheduler
        self._trace = trace
        self._serving: SystemCall | Cause | None = None
        self.status: int | None = None  # status of the first process at its end, as in `wait4`
        system.go_on = self.go_on
        system.scheduler.ring = partial(timers.ring, system)
        signal_file.offer(system)
        pid_file.offer(system)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Write no lines in this context."""
        trace, self._trace = self._trace, None
        try:
            yield
        finally:
            self._trace = trace

    def run(self) -> None:
        """Run to the end of all processes, or until the run is halted (`Hart.halt`)."""
        system = self.system
        self._kernel.monitor.set_trap_vector(self._trap)
        try:
            if self.go_on_from_here():
                self._hart.run()
        except Interrupted:
            pass
        except Exception as error:
            self._bug(error)
        finally:
            self.status = system.first.state.status
            life.clean_up(system)

    def _bug(self, error: Exception) -> None:
        """End the guest after an unexpected error in serving it, with a line that reports the bug."""
        state = self.system.state
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REPORT]
        state.bugs.append(f"a bug of pltvm, in serving {self._what()}: {what} ({where})")

    def _what(self) -> str:
        serving = self._serving
        if isinstance(serving, SystemCall):
            return f"system call {serving.number} ({serving.name})"
        return f"a trap, {serving.text}" if serving is not None else "its start"

    # -- the next thread ---------------------------------------------------------------------------------

    def go_on(self) -> bool:
        """Give the hart to the next thread; False when all have ended, or the run should end."""
        system, scheduler = self.system, self.system.scheduler
        while scheduler.threads and scheduler.switch():
            thread = scheduler.current
            assert thread is not None
            if self._settle(thread):
                return True
        if scheduler.threads and not self._hart.halt.asked and not scheduler.is_spent:
            describe_deadlock(system)
        return False

    def go_on_from_here(self) -> bool:
        """Like `go_on`, but with the thread that has the hart, if any: after the state was restored."""
        scheduler = self.system.scheduler
        thread = scheduler.current
        if thread is None:
            return self.go_on()
        self._hart.current = thread.context
        return not thread.state.enclave or scheduler.enter(thread) or self.go_on()

    def _settle(self, thread: Thread) -> bool:
        """Deliver signals to a thread, and repeat its waiting call, before it goes on. True if it runs."""
        system, state, scheduler = self.system, thread.state, self._scheduler
        if state.enclave:
            if thread.is_killed:  # in that case its enclave was not entered
                life.killed(system, thread, SignalInfo(signals.SIGKILL))
            return scheduler.state.current == state.tid
        while True:
            if thread.process.state.pending or state.pending:
                delivery.deliver(system, thread)
            if scheduler.state.current != state.tid:
                return False
            if state.wait is None:
                return True
            loads = self._kernel.loads
            self._system_call(thread, thread.context)
            if self._kernel.loads != loads:
                return self.go_on_from_here()
            if scheduler.state.current != state.tid:
                return False

    # -- traps -------------------------------------------------------------------------------------------

    def _trap(self, cause: int, context: Context) -> None:
        """Handle a trap of user mode, as the host kernel's trap vector."""
        scheduler, loads = self._scheduler, self._kernel.loads
        thread = scheduler.threads[scheduler.state.current]
        if cause == _ECALL:
            self._system_call(thread, context)
        elif cause == Cause.TIMER:
            timers.check_processor_time(self.system, thread)
            scheduler.end_slice()
        elif cause == Cause.INTERRUPT:
            self._hart.stop()
            return
        elif cause != Cause.WFI:
            self._serving = Cause(cause)
            self._fault(thread, cause, context)
        if self._kernel.loads != loads:  # a callback has restored the state
            if not self.go_on_from_here():
                self._hart.stop()
            return
        if thread.state.pending or thread.process.state.pending:
            delivery.deliver(self.system, thread)
        if scheduler.state.current != thread.state.tid and not self.go_on():
            self._hart.stop()

    def _system_call(self, thread: Thread, context: Context) -> None:
        system, regs, loads = self.system, context.regs, self._kernel.loads
        self._counts.clock += SYSCALL_TICKS  # so that a program that polls the clock makes progress
        self._serving = call = SYSTEM_CALLS.get(regs[A7])
        if call is None:
            self._refuse(thread, regs)
            return
        words = list(regs[A0 : A0 + 6]) if self._trace is not None else []
        try:
            result = call.run(system, thread, regs)
        except LinuxError as error:
            result = -error.number
        except Blocked as blocked:
            self._wait(thread, blocked)
            return
        except OSError as error:
            result = -(error.errno or EIO)
        except (OverflowError, ValueError):  # an argument out of range for a Python function
            result = -EINVAL
        except (OutOfMemory, MemoryError):
            result = -ENOMEM
        if self._kernel.loads != loads:
            return
        state = thread.state
        if state.wait is not None or state.deadline is not None:  # a call need not have waited
            state.wait = state.deadline = None
            state.done = 0
        if result is not None:
            regs[A0] = result & MASK64
            if self._trace is not None:
                self._trace(f"[{thread.tid}] {call.show_with_result(thread, words, result)}")
        if state.saved_mask is not None and state.alive:
            state.signal_mask, state.saved_mask = state.saved_mask, None

    def _refuse(self, thread: Thread, regs: Registers) -> None:
        """Handle a call that is not offered."""
        number = regs[A7]
        self.system.count_missing(number)
        regs[A0] = -ENOSYS & MASK64
        if self._trace is not None:
            self._trace(f"[{thread.tid}] {name_of_call(number)}(…) = {shown_result(regs[A0])}")

    def _wait(self, thread: Thread, blocked: Blocked) -> None:
        """Let the call wait, unless a signal is pending already."""
        self.system.scheduler.block(thread, blocked.wait)
        if signals.waiting(thread):
            self.system.scheduler.rouse(thread)

    def _fault(self, thread: Thread, cause: int, context: Context) -> None:
        access = faulting_access(cause, context)
        wanted = _ACCESS.get(Cause(cause))
        number, code = _SIGNAL_OF.get(Cause(cause), (signals.SIGSEGV, 1))
        if wanted is not None and access is not None:
            try:
                denied = thread.space.fault(access.address, wanted)
                if denied is None:
                    return
                number, code = denied
            except OutOfMemory as error:
                life.end(self.system, thread.process, _KILLED_FOR_MEMORY, f"killed: {error}")
                return
            except LinuxError:
                pass  # the memory belongs to an enclave now and is unmapped from the host (§7)
        address = access.address if access else context.regs[PC]
        if self._kernel.spares(context, Cause(cause).text, Cause(cause)):
            return
        delivery.force(self.system, thread, number, code, address)
