"""Processes and threads, whose state is plain data.

`life` starts and ends them, `scheduler` runs them, `signals` sends them signals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from errno import EBADF, EINVAL, EMFILE
from typing import Final, NamedTuple

from pltvm.engine.context import A0, PC, Context
from pltvm.engine.page_table import PageTable
from pltvm.host.linux.clock import Clock
from pltvm.host.linux.credentials import ROOT, Credentials
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.program import BREAK_LIMIT, PIE_BASE, shown
from pltvm.host.linux.space import Space
from pltvm.host.linux.waits import Wait
from pltvm.host.plain import copied
from pltvm.host.symbols import Symbols

MOST_FILES: Final = 4096  # descriptors of a process; files on the disk are also limited by this process
USUAL_FILES: Final = 1024  # the soft limit at the start, as on Linux
SS_DISABLE: Final = 2  # a flag of stack_t: no alternate stack
SS_AUTODISARM: Final = 1 << 31  # another: it is disabled while a handler runs on it
INFINITY: Final = (1 << 64) - 1
FIRST_PID: Final = 100
SIGKILL: Final = 9
TIMER_SLACK: Final = 50_000  # ns, of a thread that has set nothing
OUTER_PARENT: Final = 1  # the parent of the first process, and of orphans


class Limit(IntEnum):
    """RLIMIT_…: those that have an effect here."""

    CPU = 0
    FSIZE = 1
    DATA = 2
    STACK = 3
    CORE = 4
    NOFILE = 7
    AS = 9
    SIGPENDING = 11
    MSGQUEUE = 12


class SignalInfo(NamedTuple):
    """A sent signal: the fields of siginfo for its code."""

    number: int
    code: int = 0
    pid: int = 0
    uid: int = 0
    value: int = 0  # sigval, or the status of a child
    address: int = 0
    timer: int = 0  # of SI_TIMER: the timer that sent it
    overrun: int = 0


class Action(NamedTuple):
    """The action of a signal: `struct sigaction` of the kernel."""

    handler: int = 0
    flags: int = 0
    mask: int = 0


class Descriptor(NamedTuple):
    """An open descriptor: the number of its open file, and whether `execve` closes it."""

    file: int
    closes: bool = False


@dataclass(slots=True)
class Timer:
    """A timer that sends a signal: `deadline` (monotonic ns; 0: off), then every `interval` ns."""

    signal: SignalInfo
    deadline: int = 0
    interval: int = 0
    thread: int = 0  # the thread that gets it; 0: the process
    clock: int = 1
    overruns: int = 0  # overruns of the signal delivered last


@dataclass(slots=True)
class ThreadState:
    """The state of a thread, except its registers, which are in its context; `registers` are set when saved.

    In a system call that waits, or was woken and has to be made again, `wait` is set; `deadline` is the end
    of that call's timeout.
    """

    tid: int
    pid: int
    name: bytes = b""
    clear_tid: int = 0  # user address to clear and wake at the end
    robust_list: int = 0
    signal_mask: int = 0  # bit n − 1 for signal n
    saved_mask: int | None = None  # restored after a call with its own mask
    pending: list[SignalInfo] = field(default_factory=list)
    alternate_stack: tuple[int, int, int] = (0, SS_DISABLE, 0)  # as stack_t: address, flags, size
    enclave: int = 0  # the driver's id of the enclave that it runs in a system call
    wait: Wait | None = None
    deadline: int | None = None
    policy: int = 0  # SCHED_…
    timer_slack: tuple[int, int] = (TIMER_SLACK, TIMER_SLACK)  # as in `prctl`, and what 0 sets there
    done: int = 0  # bytes already written by a waiting write
    used: int = 0  # ns of processor time
    alive: bool = True
    registers: bytes = b""


@dataclass(slots=True)
class ProcessState:
    """The state of a process itself.

    `status` is set at its end, as in `wait4`; then `report` says what ended it if it did not exit by itself.
    `stopped` is the signal that stopped it, 0 while it runs; `news` is a status that its parent has not got
    yet. Files are numbers of open files.
    """

    pid: int
    parent: int = OUTER_PARENT
    group: int = FIRST_PID
    session: int = FIRST_PID
    name: bytes = b""  # of the program, as given at the start
    path: bytes = b""  # from the root
    program_key: tuple[int, int] = (0, 0)  # of the program's file
    symbols: Symbols = field(default_factory=lambda: Symbols(b""))
    actions: dict[int, Action] = field(default_factory=dict)
    pending: list[SignalInfo] = field(default_factory=list)
    descriptors: dict[int, Descriptor] = field(default_factory=dict)
    files_group: int = 0  # processes of one group share descriptors; 0: none shared
    folder: int = 0  # the current one
    umask: int = 0o022
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)  # soft, hard; others are infinite
    timers: dict[int, Timer] = field(default_factory=dict)  # 0 … 2 are those of setitimer
    next_timer: int = 3
    status: int | None = None
    report: str = ""
    stopped: int = 0
    news: int | None = None
    exit_signal: int = 17  # sent to its parent at its end; 0: none, and `wait4` needs a flag
    nice: int = 0
    io_priority: int = 0  # as in `ioprio_get`
    dumpable: bool = True
    death_signal: int = 0  # sent to it when its parent ends
    borrows: int = 0  # the thread whose memory it uses, and which waits (vfork)
    used: int = 0  # ns of processor time of threads that have ended
    used_by_children: int = 0
    has_executed: bool = False
    subreaper: bool = False
    barriers: int = 0  # the commands of `membarrier` that have registered it
    personality: int = 0  # as in `personality`: it is told, and has no effect
    no_new_rights: bool = False
    credentials: Credentials = ROOT


class Process:
    """A process: its state and its memory. `open_files` are all of the system by number."""

    def __init__(self, state: ProcessState, space: Space, open_files: Mapping[int, File]) -> None:
        self.state = state
        self.space = space
        self._open_files = open_files
        self.threads: dict[int, Thread] = {}

    @property
    def pid(self) -> int:
        """Its number."""
        return self.state.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state.status is None

    def used(self) -> int:
        """Return processor time in ns, without its children."""
        return self.state.used + sum(thread.state.used for thread in self.threads.values())

    # -- descriptors -------------------------------------------------------------------------------------

    def file(self, descriptor: int) -> File:
        """Return the open file of a descriptor; raises LinuxError(EBADF)."""
        found = self.state.descriptors.get(descriptor)
        if found is None:
            raise LinuxError(EBADF)
        return self._open_files[found.file]

    @property
    def folder(self) -> File:
        """The current folder."""
        return self._open_files[self.state.folder]

    def limit(self, which: int) -> int:
        """Return the soft limit of a resource."""
        return self.state.limits.get(which, (INFINITY, INFINITY))[0]

    def free_descriptor(self, lowest: int = 0) -> int:
        """Return the lowest free descriptor from `lowest` on; raises LinuxError."""
        most = min(self.limit(Limit.NOFILE), MOST_FILES)
        if not 0 <= lowest < most:
            raise LinuxError(EINVAL)
        for descriptor in range(lowest, most):
            if descriptor not in self.state.descriptors:
                return descriptor
        raise LinuxError(EMFILE)

    def add(self, file: File, closes: bool = False, lowest: int = 0) -> int:
        """Add a descriptor for an open file: the lowest free one."""
        descriptor = self.free_descriptor(lowest)
        file.users += 1
        self.state.descriptors[descriptor] = Descriptor(file.number, closes)
        return descriptor


class Thread:
    """One thread of user code, of `process`."""

    def __init__(self, state: ThreadState, process: Process, context: Context) -> None:
        self.state = state
        self.process = process
        self.context = context
        process.threads[state.tid] = self

    @property
    def tid(self) -> int:
        """Its number, which is unique among threads and processes."""
        return self.state.tid

    @property
    def space(self) -> Space:
        """The memory of its process."""
        return self.process.space

    def answer(self, value: int) -> None:
        """Set the result of its system call, which ends it."""
        self.context.regs[A0] = value & 0xFFFF_FFFF_FFFF_FFFF
        self.state.wait = self.state.deadline = None

    def deadline(self, clock: Clock, timeout: int) -> int:
        """Return the end of its system call's timeout: `timeout` ns after it was first made (monotonic)."""
        if self.state.deadline is None:
            self.state.deadline = clock.monotonic() + timeout
        return self.state.deadline

    def code_at(self, pc: int) -> tuple[Symbols | None, int, str]:
        """Return the symbols for the code at `pc` (None if it is in another file than the program), the
        distance from their addresses, and the name of the file."""
        area, state = self.space.area(pc), self.process.state
        if area is None or area.name in ("", shown(state.path), shown(state.name)):
            moved = PIE_BASE if PIE_BASE <= pc < PIE_BASE + BREAK_LIMIT else 0
            return state.symbols, moved, shown(state.path)
        return None, area.start - area.offset, area.name

    def location(self, pc: int | None = None) -> str:
        """Return its place in the program, or the place of the given address."""
        pc = self.context.regs[PC] if pc is None else pc
        symbols, moved, name = self.code_at(pc)
        return f"{pc:#x} ({name}+{pc - moved:#x})" if symbols is None else str(symbols.locate(pc - moved))

    @property
    def is_killed(self) -> bool:
        """Whether SIGKILL was sent to it and is still pending."""
        return any(one.number == SIGKILL for one in (*self.process.state.pending, *self.state.pending))

    def set_mask_for_call(self, mask: int) -> None:
        """Set this signal mask until its present call is over."""
        if self.state.saved_mask is None:
            self.state.saved_mask = self.state.signal_mask
        self.state.signal_mask = mask

    def save(self) -> ThreadState:
        """A copy of the state."""
        return replace(copied(self.state), registers=bytes(self.context.regs))

    def load(self, saved: ThreadState, table: PageTable) -> None:
        """Restore the state; its memory is that of `table`."""
        if self.context.table is not table:
            self.context = Context(0, table=table)
        self.context.regs[:] = memoryview(saved.registers).cast("Q")
        self.state = replace(copied(saved), registers=b"")
