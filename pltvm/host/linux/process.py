"""A Linux process on the machine: system calls, page faults, signals, threads, until it ends.

All of it happens inside the hart's trap handler: a system call that blocks, or an enclave that the process
runs, just puts another context on the hart. `run` returns when the process has ended.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pltvm.engine import context as ctx
from pltvm.engine.context import A0, A1, A2, A3, A4, A5, A7, MSTATUS_TVM, PC, RA, SP, Context
from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import satp_for
from pltvm.engine.trap import Cause, disassemble
from pltvm.errors import EngineError, OutOfMemory
from pltvm.host.kernel import Kernel
from pltvm.host.linux.errno import EINVAL, ENOMEM, ENOSYS, LinuxError
from pltvm.host.linux.files import Files
from pltvm.host.linux.program import load_program
from pltvm.host.linux.signal_calls import SIGNALS
from pltvm.host.linux.space import EXEC, READ, WRITE, Space
from pltvm.host.linux.syscalls import SYSTEM_CALLS
from pltvm.host.linux.threads import Scheduler, Thread
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import MASK64

PID: Final = 100
MOST_THREADS: Final = 1024
_RETURN_PAGE: Final = 0x3F_FFFF_F000  # `rt_sigreturn`, where a signal handler returns to
_RETURN_CODE: Final = bytes.fromhex("9308b008 73000000")  # li a7, 139; ecall
_IGNORED: Final = {17, 18, 23, 28}  # SIGCHLD, SIGCONT, SIGURG, SIGWINCH
_SIGNAL_NAMES: Final = {
    4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV",
    13: "SIGPIPE", 15: "SIGTERM",
}  # fmt: skip
_ACCESS: Final = {Cause.FETCH_PAGE: EXEC, Cause.LOAD_PAGE: READ, Cause.STORE_PAGE: WRITE}
_SIGNAL_OF: Final = {Cause.ILLEGAL: 4, Cause.BREAKPOINT: 5}
_SIGINFO_SIZE, _UCONTEXT_SIZE = 128, 1024


class Process:
    """The process of the program `data`, with `arguments` (the first is its name).

    `exit_code` is set when it has ended, as a shell gives it: 128 + the signal if one ended it, and then
    `end_report` says where. `missing` counts the system calls that are not offered.
    """

    def __init__(
        self,
        kernel: Kernel,
        data: bytes,
        arguments: Sequence[bytes],
        *,
        root: Path,
        output: Callable[[bytes], None],
        source: Callable[[int], bytes] = lambda _size: b"",
        real_time: bool = False,
        seed: int = 0,
    ) -> None:
        self.kernel = kernel
        self.hart = kernel.hart
        self.random = random.Random(seed)
        self.files = Files(root, output, source, seed)
        self.scheduler = Scheduler(kernel.hart, real_time)
        self.pid = PID
        self.program_name = arguments[0]
        self.symbols = Symbols(data)
        self.actions: dict[int, tuple[int, ...]] = {}  # by signal: handler, flags, mask
        self.missing: Counter[int] = Counter()
        self.exit_code: int | None = None
        self.end_report = ""
        self.interrupted = False
        self.at_end: list[Callable[[], None]] = []
        self._next_tid = PID
        self.space = Space(kernel)
        try:
            entry, stack = load_program(self.space, data, arguments, self.random.randbytes(16))
            self.space.map(_RETURN_PAGE, PAGE, READ | EXEC)
            self.space.load(_RETURN_PAGE, _RETURN_CODE)
        except BaseException:
            self.space.free()
            raise
        first = Context(ctx.U, table=self.space.table, pc=entry)
        first.regs[SP] = stack
        self.new_thread(first)

    # -- life --------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run to the end of the process, or until something outside interrupts; the exit code."""
        self.kernel.monitor.set_trap_vector(self._trap)
        try:
            if self._go_on():
                self.hart.run()
        finally:
            self._clean_up()
        return self.exit_code if self.exit_code is not None else 1

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
        if thread.clear_tid:
            try:
                self.space.write(thread.clear_tid, bytes(4))
                self.scheduler.wake_futex(thread.clear_tid, 1)
            except LinuxError:
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
        self.hart.current = self.kernel.context
        self.space.free()

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
            self.interrupted = True
            self.hart.stop()
            return
        elif cause != Cause.WFI:
            self._fault(thread, cause, context)
        if self.scheduler.current is not thread and not self._go_on():
            self.hart.stop()

    def _go_on(self) -> bool:
        """Let the next thread have the hart; False when the process is over."""
        if self.exit_code is not None:
            return False
        if self.scheduler.switch():
            return True
        if self.exit_code is None:
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
            self.missing[number] += 1
            regs[A0] = -ENOSYS & MASK64
            return
        try:
            result = call(self, thread, regs[A0], regs[A1], regs[A2], regs[A3], regs[A4], regs[A5])
        except LinuxError as error:
            result = -error.number
        except OutOfMemory:
            result = -ENOMEM
        if result is not None:
            regs[A0] = result & MASK64

    def _fault(self, thread: Thread, cause: int, context: Context) -> None:
        access = self.hart.faulting_access(cause, context)
        wanted = _ACCESS.get(Cause(cause))
        if wanted is not None and access is not None:
            try:
                if self.space.fault(access.address, wanted):
                    return
            except OutOfMemory as error:
                self.end(137)
                self.end_report = f"killed: {error}"
                return
        number = _SIGNAL_OF.get(Cause(cause), 11)
        address = access.address if access else context.regs[PC]
        self.signal(thread, number, address, fatal_if_blocked=True)

    # -- signals -----------------------------------------------------------------------------------------

    def signal(
        self, thread: Thread, number: int, address: int = 0, fatal_if_blocked: bool = False
    ) -> int | None:
        """Deliver a signal: by its handler, or by what it does by default. 0, or None if that was done."""
        if not 0 <= number <= SIGNALS:
            raise LinuxError(EINVAL)
        handler, flags, mask = self.actions.get(number, (0, 0, 0))
        if number == 0 or handler == 1 or (handler == 0 and number in _IGNORED):
            return 0
        if handler == 0 or (fatal_if_blocked and thread.signal_mask >> (number - 1) & 1):
            self._killed(thread, number, address)
            return None
        self._call_handler(thread, number, (handler, flags, mask), address)
        return None

    def _call_handler(self, thread: Thread, number: int, action: tuple[int, ...], address: int) -> None:
        regs = thread.context.regs
        if thread is self.scheduler.current and not address:
            regs[A0] = 0  # of the system call that sent it
        handler, flags, mask = action
        thread.signal_frames.append([*regs, thread.signal_mask])
        base, stack_flags, size = thread.alternate_stack
        on_alternate = flags & 0x0800_0000 and size and not stack_flags & 2
        top = (base + size if on_alternate else regs[SP]) & ~15
        context_at = top - _UCONTEXT_SIZE
        info_at = context_at - _SIGINFO_SIZE
        try:
            info = number.to_bytes(4, "little") + bytes(12) + address.to_bytes(8, "little")
            self.space.write(info_at, info.ljust(_SIGINFO_SIZE, b"\0") + bytes(_UCONTEXT_SIZE))
        except LinuxError:
            self._killed(thread, 11, info_at)
            return
        thread.signal_mask |= mask | 1 << (number - 1)
        regs[A0], regs[A1], regs[A2] = number, info_at, context_at
        regs[RA], regs[SP], regs[PC] = _RETURN_PAGE, info_at, handler

    def return_from_signal(self, thread: Thread) -> None:
        """`rt_sigreturn`: the registers from before the signal."""
        if not thread.signal_frames:
            self._killed(thread, 11, thread.context.regs[PC])
            return
        *regs, thread.signal_mask = thread.signal_frames.pop()
        for index, value in enumerate(regs):
            thread.context.regs[index] = value

    def _killed(self, thread: Thread, number: int, address: int) -> None:
        pc = thread.context.regs[PC]
        name = _SIGNAL_NAMES.get(number, f"signal {number}")
        code = self.hart.fetch(thread.context)
        self.end_report = f"killed by {name} at {self.symbols.locate(pc)}"
        if number in (4, 5, 7, 11):
            self.end_report += f": {disassemble(code, pc) if code else 'jump'}, address {address:#x}"
        self.end(128 + number)

    # -- for system calls --------------------------------------------------------------------------------

    def timespec(self, address: int) -> int:
        """The `struct timespec` at `address` in nanoseconds; raises LinuxError."""
        raw = self.space.read(address, 16)
        seconds, nanoseconds = (int.from_bytes(raw[at : at + 8], "little", signed=True) for at in (0, 8))
        if not (0 <= nanoseconds < 10**9 and 0 <= seconds < 1 << 33):
            raise LinuxError(EINVAL)
        return seconds * 10**9 + nanoseconds
