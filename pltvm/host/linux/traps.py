"""What the host kernel does when a Linux process traps: system calls, page faults, time slices.

All of it happens inside the hart's trap handler: a system call that blocks, or an enclave that the process
runs, just puts another context on the hart. `run` returns when the process has ended, or its run was halted.

Here is the boundary between what a guest asks for and this Python process: an error of serving it is an error
number for the guest, or else, as it should not have come up, the end of the guest with a line that says so.
"""

import traceback
from pathlib import Path
from typing import Final

from pltvm.engine.context import A0, A1, A2, A3, A4, A5, A7, PC, Context
from pltvm.engine.trap import Cause, faulting_access
from pltvm.errors import Interrupted, OutOfMemory
from pltvm.host.linux import signals
from pltvm.host.linux.errno import EINVAL, EIO, ENOMEM, ENOSYS, LinuxError
from pltvm.host.linux.process import Process
from pltvm.host.linux.space import EXEC, READ, WRITE
from pltvm.host.linux.syscalls import SYSTEM_CALLS
from pltvm.host.linux.threads import Thread
from pltvm.monitor.abi import MASK64

MOST_MISSING: Final = 1024  # numbers that are counted each for itself
OTHERS: Final = -1  # all other numbers of system calls that are not offered
_LONGEST_REPORT: Final = 200  # characters of an error's text
_ACCESS: Final = {Cause.FETCH_PAGE: EXEC, Cause.LOAD_PAGE: READ, Cause.STORE_PAGE: WRITE}
_SIGNAL_OF: Final = {Cause.ILLEGAL: 4, Cause.BREAKPOINT: 5}
_SIGSEGV: Final = 11


class Traps:
    """The traps of one process, from now on."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._kernel = process.kernel
        self._hart = process.hart
        process.go_on = self.go_on

    def run(self) -> int:
        """Run to the end of the process, or until the run is halted (`Hart.halt`); the exit code."""
        self._kernel.monitor.set_trap_vector(self._trap)
        try:
            if self.go_on_from_here():
                self._hart.run()
        except Interrupted:
            pass
        except Exception as error:
            self._bug(error)
        finally:
            self.process.clean_up()
        code = self.process.state.exit_code
        return code if code is not None else 1

    def _bug(self, error: Exception) -> None:
        """An error that serving the guest should have handled: its end, and a line for who can mend it."""
        state = self.process.state
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REPORT]
        state.bugs.append(f"a bug of pltvm, in serving {state.served or 'its start'}: {what} ({where})")
        self.process.end(1)
        state.end_report = state.bugs[-1]

    # -- who runs next -----------------------------------------------------------------------------------

    def go_on(self) -> bool:
        """Let the next thread have the hart; False when the process is over, or its run is to end."""
        scheduler, state = self.process.scheduler, self.process.state
        while state.exit_code is None and scheduler.switch():
            thread = scheduler.current
            assert thread is not None
            if thread.state.pending and not thread.state.enclave:
                signals.deliver(self.process, thread)
            if scheduler.current is thread:
                return True
        if state.exit_code is None and not self._hart.halt.asked:
            state.exit_code = 1
            state.end_report = "deadlock: every thread waits for another one"
        return False

    def go_on_from_here(self) -> bool:
        """As `go_on`, with the thread that has the hart, if one has it: after the state was put back."""
        scheduler = self.process.scheduler
        thread = scheduler.current
        if thread is None or self.process.state.exit_code is not None:
            return self.go_on()
        self._hart.current = thread.context
        return not thread.state.enclave or scheduler.enter(thread) or self.go_on()

    # -- traps -------------------------------------------------------------------------------------------

    def _trap(self, cause: int, context: Context) -> None:
        """A trap of user mode: what the host kernel's trap vector does."""
        scheduler, loads = self.process.scheduler, self._kernel.loads
        thread = scheduler.current
        assert thread is not None
        assert thread.context is context
        if cause == Cause.ECALL_U:
            self._system_call(thread, context)
        elif cause == Cause.TIMER:
            scheduler.rotate()
        elif cause == Cause.INTERRUPT:
            self._hart.stop()
            return
        elif cause != Cause.WFI:
            self.process.state.served = f"a trap, {Cause(cause).text}"
            self._fault(thread, cause, context)
        if self._kernel.loads != loads:  # in a callback
            if not self.go_on_from_here():
                self._hart.stop()
            return
        if thread.state.pending:
            signals.deliver(self.process, thread)
        if scheduler.current is not thread and not self.go_on():
            self._hart.stop()

    def _system_call(self, thread: Thread, context: Context) -> None:
        process, regs, loads = self.process, context.regs, self._kernel.loads
        number = regs[A7]
        process.scheduler.count_system_call()
        call = SYSTEM_CALLS.get(number)
        if call is None:
            self._count_missing(number)
            regs[A0] = -ENOSYS & MASK64
            return
        process.state.served = f"system call {number} ({call.__name__})"
        try:
            result = call(process, thread, regs[A0], regs[A1], regs[A2], regs[A3], regs[A4], regs[A5])
        except LinuxError as error:
            result = -error.number
        except OSError as error:
            result = -(error.errno or EIO)
        except (OverflowError, ValueError):  # an argument that no function of Python's takes
            result = -EINVAL
        except (OutOfMemory, MemoryError):
            result = -ENOMEM
        if result is not None and self._kernel.loads == loads:
            regs[A0] = result & MASK64

    def _count_missing(self, number: int) -> None:
        missing = self.process.state.missing
        known = number in missing or len(missing) < MOST_MISSING
        missing[number if known else OTHERS] += 1

    def _fault(self, thread: Thread, cause: int, context: Context) -> None:
        access = faulting_access(cause, context)
        wanted = _ACCESS.get(Cause(cause))
        number = _SIGNAL_OF.get(Cause(cause), _SIGSEGV)
        if wanted is not None and access is not None:
            try:
                if self.process.space.fault(access.address, wanted):
                    return
            except OutOfMemory as error:
                self.process.end(137)
                self.process.state.end_report = f"killed: {error}"
                return
            except LinuxError:
                pass  # the memory is an enclave's now: unmapped from the host (§7)
        signals.force(self.process, thread, number, access.address if access else context.regs[PC])
