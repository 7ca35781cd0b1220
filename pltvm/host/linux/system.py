"""The Linux system of one run: its processes, and their shared state: files, pipes, time, scheduling.

`life` starts and ends processes, `signals` sends them signals, `calls` has their system calls. The whole
state is plain data of the parts, or in `SystemState`: see "Snapshots" in docs/design.md.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENXIO
from pathlib import Path
from typing import Any, Final, TypedDict

from pltvm.engine import context as ctx
from pltvm.engine.context import MSTATUS_TVM, Context
from pltvm.engine.sv39 import satp_for
from pltvm.errors import EngineError, PltvmError
from pltvm.host.kernel import Kernel
from pltvm.host.linux.clock import Clock, ClockState
from pltvm.host.linux.credentials import ROOT
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files import devices
from pltvm.host.linux.files.console import STDERR, STDIN, STDOUT, Input, Output, Terminal
from pltvm.host.linux.files.epoll import EpollFile
from pltvm.host.linux.files.events import EventFile, TimerFile
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.message_queue import MessageQueues, QueueFile, QueuesState
from pltvm.host.linux.files.open_files import Maker, OpenFiles, OpenFilesState
from pltvm.host.linux.files.pipe import PipeEnd, Pipes, PipesState
from pltvm.host.linux.files.sockets.file import SocketFile
from pltvm.host.linux.files.sockets.network import Network
from pltvm.host.linux.files.sockets.table import SocketsState
from pltvm.host.linux.files.watches import Target, Watches, WatchesState
from pltvm.host.linux.frames import Frames, FramesState
from pltvm.host.linux.fs import socket_nodes
from pltvm.host.linux.fs.filesystem import FileSystem, SavedFileSystem
from pltvm.host.linux.fs.locks import Locks, LocksState
from pltvm.host.linux.fs.own_tree import add_tree
from pltvm.host.linux.ipc import Ipc, SavedIpc
from pltvm.host.linux.object_pages import ObjectsState
from pltvm.host.linux.objects import Objects
from pltvm.host.linux.open_flags import O_PATH, O_RDONLY
from pltvm.host.linux.outside import Outside, is_null
from pltvm.host.linux.process import (
    FIRST_PID,
    Descriptor,
    Process,
    ProcessState,
    Thread,
    ThreadState,
)
from pltvm.host.linux.scheduler import SavedScheduler, Scheduler, SchedulerState
from pltvm.host.linux.space import Space, SpaceState
from pltvm.host.linux.waits import Key
from pltvm.host.plain import copied, restored

MOST_THREADS: Final = 1024  # of all processes together
MOST_PROCESSES: Final = 4096  # with ended ones that no parent has waited for
MOST_REPORTS: Final = 100  # of processes that failed
MOST_MISSING: Final = 1024  # numbers that are counted separately
OTHERS: Final = -1  # counts all other numbers of system calls that are not offered


@dataclass(slots=True)
class SystemState:
    """The state of the whole system. `first` is the process that was started from outside.

    `refused` counts system calls that are not offered, and unsupported options of others (by name); `bugs`
    lists internal errors in serving a program: at most one, as it ends the program.
    """

    next_number: int = FIRST_PID  # of a process or thread
    first: int = 0
    missing: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bugs: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)  # of processes that failed, except the first
    host_name: bytes = b"pltvm"


@dataclass(slots=True)
class SavedSystem:
    """A system as plain data. `spaces` are the address spaces; `processes` refer to them by index."""

    system: SystemState
    processes: list[tuple[ProcessState, int]]
    frames: FramesState
    objects: ObjectsState
    spaces: list[SpaceState]
    scheduler: SavedScheduler
    clock: ClockState
    files: OpenFilesState
    disk: SavedFileSystem
    pipes: PipesState
    watches: WatchesState
    sockets: SocketsState
    locks: LocksState
    ipc: SavedIpc
    queues: QueuesState
    random: tuple[Any, ...]
    devices: tuple[Any, ...]  # the state of the random generator

    def blocks(self) -> Iterable[int]:
        """Return the blocks of RAM of its address spaces."""
        return self.frames.blocks


class Settings(TypedDict, total=False):
    """The options of a system.

    `source` provides standard input, `output` and `errors` get standard output and error, all wrapped by
    `output.of_caller`. `terminals` says which of the three are terminals outside. `descriptor` is the
    descriptor that `source` reads, if any: with `real_time` threads wait for it as for other files. With
    `net`, Internet sockets are real.
    """

    root: Path
    output: Callable[[bytes], None]
    errors: Callable[[bytes], None]
    source: Callable[[int], bytes]
    descriptor: int
    real_time: bool
    net: bool
    seed: int
    terminals: tuple[bool, bool, bool]


class System:
    """A system of processes that see the files beneath a folder, on the machine of `kernel`."""

    def __init__(self, kernel: Kernel, settings: Settings, saved: "SavedSystem | None" = None) -> None:
        self.kernel = kernel
        self.hart = kernel.hart
        self.state = SystemState()
        self.processes: dict[int, Process] = {}
        seed = settings.get("seed", 0)
        self.random, self._generator = random.Random(seed), random.Random(seed)
        net = settings.get("net", False)
        self.clock = Clock(kernel.hart, settings.get("real_time", False) or net)
        self.outside = Outside(self, self._is_waited_for)
        if net and not self.outside.can_wait:
            raise PltvmError("the network (--net) needs epoll, which only Linux has")
        self.scheduler = Scheduler(kernel.hart, self.clock, self.outside)
        self.objects = Objects(Frames(kernel, saved.frames if saved is not None else None, for_spaces=True))
        self.open_files = OpenFiles()
        self.open_files.at_close.append(lambda file: self._closed(file.number))
        self.pipes = Pipes(self)
        self.queues = MessageQueues(self)
        self.network = Network(self, self.outside if net else None)
        self.watches = Watches(self._mark, self._forget_watch, self.scheduler.wake)
        self.fs = FileSystem(settings.get("root", Path()), self.clock, self.objects)
        self.fs.marks.owner_of_new = self._owner
        self.locks = Locks(self)
        self.ipc = Ipc(self, self.objects, self.clock)
        self.open_files.at_close.append(self.locks.closed)
        self.open_files.at_close.append(self.fs.notes.closed)
        self.fs.notes.is_open = self._is_open
        self.fs.is_run = lambda key: any(one.state.program_key == key for one in self.processes.values())
        self._reads_nothing = is_null(settings.get("descriptor", -1))
        self._add_files(settings)
        self.at_end_of_thread: list[Callable[[Thread], None]] = []
        self.at_end_of_process: list[Callable[[Process], None]] = [
            lambda one: self.ipc.ended(one.pid),
            lambda one: self.queues.ended(one.pid),
        ]
        self.at_end: list[Callable[[], None]] = [self.ipc.close]
        self.go_on: Callable[[], bool] = lambda: False

    def _add_files(self, settings: Settings) -> None:
        """Add the kinds of files that can be restored, and internal files with a path."""
        output = settings.get("output", lambda _text: None)
        stdin, stdout, stderr = settings.get("terminals", (False, False, False))
        self.stdin = Input(settings.get("source", lambda _size: b""), stdin)
        descriptor = settings.get("descriptor")
        if self.clock.real_time and descriptor is not None and self.outside.add(descriptor, *self.stdin.own):
            self.stdin.descriptor = descriptor
        self.stdout = Output(output, STDOUT, stdout)
        self.stderr = Output(settings.get("errors", output), STDERR, stderr)
        nodes = devices.makers(self._generator)
        nodes["/dev/tty"] = self._terminal
        self.open_files.makers |= {
            STDIN: lambda _state, _flags: self.stdin,
            STDOUT: lambda _state, _flags: self.stdout,
            STDERR: lambda _state, _flags: self.stderr,
            "file": self.fs.again,
            "folder": self.fs.again,
            "memfd": self.fs.memory.again,
            "node": self.fs.node_again,
            "pipe": lambda pipe, flags: PipeEnd(self.pipes, pipe, flags, counted=True),
            EpollFile.kind: lambda state, flags: EpollFile(self.open_files, self.watches, self, state, flags),
            SocketFile.kind: self.network.again,
            QueueFile.kind: lambda number, flags: QueueFile(self.queues, number, flags, counted=True),
            EventFile.kind: lambda state, flags: EventFile(self, state, flags),
            TimerFile.kind: lambda state, flags: TimerFile(
                self, self.clock, self.scheduler.set_alarm, state, flags
            ),
        }
        for path, maker in nodes.items():
            self.add_node(path, maker)
        add_tree(self.fs.nodes, self)

    def first_files(self) -> tuple[File, File, File]:
        """Return the standard streams of the first process."""
        null = self.open_files.makers["/dev/null"]
        return null(None, O_RDONLY) if self._reads_nothing else self.stdin, self.stdout, self.stderr

    def _terminal(self, _state: Any, flags: int) -> File:
        if not (self.stdin.is_terminal or flags & O_PATH):
            raise LinuxError(ENXIO)  # as without a controlling terminal
        return Terminal(self.stdin, self.stdout, flags)

    def add_node(self, path: str, maker: Maker) -> None:
        """Add an internal file at a path."""
        self.open_files.makers[path] = maker
        self.fs.add_device(path, self._opener(path))

    def _opener(self, path: str) -> Callable[[int], File]:
        return lambda flags: self.open_files.makers[path](None, flags)

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> SavedSystem:
        """Return a copy of the state, with that of the parts; raises SnapshotError."""
        socket_nodes.note(self.fs)
        spaces = list(dict.fromkeys(process.space for process in self.processes.values() if process.alive))
        processes = [
            (copied(process.state), spaces.index(process.space) if process.alive else -1)
            for process in self.processes.values()
        ]
        return SavedSystem(
            copied(self.state),
            processes,
            self.objects.frames.save(),
            self.objects.save(),
            [space.save() for space in spaces],
            self.scheduler.save(),
            self.clock.save(),
            self.open_files.save(),
            self.fs.save(),
            self.pipes.save(),
            self.watches.save(),
            self.network.sockets.save(),
            self.locks.save(),
            self.ipc.save(),
            self.queues.save(),
            self.random.getstate(),
            self._generator.getstate(),
        )

    def check(self, saved: SavedSystem) -> None:
        """Raise SnapshotError for a changed file, or for input that was read since then."""
        self.stdin.check()
        for one in saved.files.files:
            if one.kind in ("file", "folder"):
                self.fs.again(one.state, one.flags).close()

    def load(self, saved: SavedSystem) -> None:
        """Restore the state, after `check`."""
        self.state = restored(self.state, saved.system)
        self.clock.load(saved.clock)
        self.fs.load(saved.disk)
        socket_nodes.make_again(self.fs)
        # it closes open files, so it comes before the state that closing changes
        self.open_files.load(saved.files)
        self.pipes.load(saved.pipes)
        self.watches.load(saved.watches)
        self.network.sockets.load(saved.sockets)
        self.locks.load(saved.locks)
        self.ipc.load(saved.ipc)
        self.queues.load(saved.queues)
        self.random.setstate(saved.random)
        self._generator.setstate(saved.devices)
        self._load_processes(saved)
        self.wake(self.stdin.own[0])  # input that came meanwhile was not reported
        thread = self.scheduler.current
        self.hart.current = thread.context if thread is not None else self.kernel.context

    def _load_processes(self, saved: SavedSystem) -> None:
        """Restore processes and their address spaces; existing spaces are used again where possible."""
        self.objects.frames.load(saved.frames)
        self.objects.load(saved.objects)
        old = list(dict.fromkeys(process.space for process in self.processes.values() if process.alive))
        while len(old) > len(saved.spaces):
            old.pop().load(SpaceState(users=0))
        spaces = old + [Space(self.kernel, one, self.objects) for one in saved.spaces[len(old) :]]
        for space, memory in zip(spaces, saved.spaces, strict=True):
            space.load(memory)
        known, self.processes = self.processes, {}
        for state, number in saved.processes:
            space = spaces[max(number, 0)]  # the memory of an ended process is not used
            process = known.get(state.pid) or Process(copied(state), space, self.open_files)
            process.state, process.space = restored(process.state, state), space
            process.threads = {}
            self.processes[state.pid] = process
        self._share_descriptors()
        threads: dict[int, Thread] = {}
        for one in saved.scheduler.threads:
            process = self.processes[one.pid]
            thread = self.scheduler.threads.get(one.tid)
            if thread is None or thread.process is not process:
                thread = Thread(one, process, Context(0, table=process.space.table))
            thread.load(one, process.space.table)
            process.threads[one.tid] = threads[one.tid] = thread
        self.scheduler.load(saved.scheduler, threads)

    def _share_descriptors(self) -> None:
        """Make processes of a group share the same table of descriptors, not equal copies."""
        groups: dict[int, dict[int, Descriptor]] = {}
        for process in self.processes.values():
            if process.state.files_group and process.alive:
                process.state.descriptors = groups.setdefault(
                    process.state.files_group, process.state.descriptors
                )

    def forget(self) -> None:
        """Drop all memory and threads, as the machine was restored to a time without this system."""
        for actions in (self.at_end_of_thread, self.at_end_of_process, self.at_end):
            actions.clear()
        self.objects.frames.load(FramesState())
        self.objects.load(ObjectsState())
        for process in self.processes.values():
            process.space.load(SpaceState(users=0))
        self.scheduler.load(SavedScheduler(SchedulerState(), []), {})
        first = self.processes.get(self.state.first)
        self.processes.clear()
        if first is not None:
            first.state.status = 1 << 8
            first.state.report = "the machine was put back to before this program ran"
            self.processes[first.pid] = first

    # -- for all parts -----------------------------------------------------------------------------------

    def wake(self, key: Key) -> None:
        """Wake threads and epolls that wait for this key, as it has changed."""
        self.scheduler.wake(key)
        if key in self.watches.state.by_key:
            self.watches.wake(key)

    def _is_waited_for(self, key: Key) -> bool:
        """Whether a thread waits for this key, directly or by an epoll."""
        todo, seen = [key], {key}
        while todo:
            one = todo.pop()
            if one in self.scheduler.state.waiting:
                return True
            epolls: set[Key] = {("epoll", watch[0]) for watch in self.watches.state.by_key.get(one, ())}
            todo += epolls - seen
            seen |= epolls
        return False

    def now(self) -> int:
        """Return monotonic time in ns."""
        return self.clock.monotonic()

    def deadline(self, timeout: int) -> int:
        """Return the end of the present system call's timeout: `timeout` ns after it was first made."""
        thread = self.scheduler.current
        return thread.deadline(self.clock, timeout) if thread is not None else self.now() + timeout

    def credentials(self) -> tuple[int, int, int]:
        """Return process, user and group of the calling process."""
        thread = self.scheduler.current
        if thread is None:
            return (0, 0, 0)
        return (thread.process.pid, *thread.process.state.credentials.acting)

    def _owner(self) -> tuple[int, int]:
        """Return user and group of the files that the calling process makes."""
        thread = self.scheduler.current
        return (thread.process.state.credentials if thread is not None else ROOT).for_files

    def _is_open(self, key: tuple[int, int]) -> bool:
        """Whether a file of the disk is open."""
        return any(isinstance(one, HostFile) and one.key == key for one in self.open_files.values())

    def hold(self, file: int) -> None:
        """Add a user of an open file."""
        self.open_files[file].users += 1

    def let_go(self, file: int) -> None:
        """Remove a user of an open file; the last one closes it."""
        with suppress(LinuxError):  # it is closed in any case
            self.open_files.give_up(file)

    def _mark(self, epoll: int, target: Target) -> bool:
        file = self.open_files.get(epoll)
        return isinstance(file, EpollFile) and file.mark(target)

    def _forget_watch(self, epoll: int, target: Target) -> None:
        file = self.open_files.get(epoll)
        if isinstance(file, EpollFile):
            file.forget(target)

    def _closed(self, number: int) -> None:
        """Handle an open file that is closed for good."""
        self.watches.closed(number)

    def new_number(self) -> int:
        """Return an unused number for a process or thread."""
        number = self.state.next_number
        self.state.next_number += 1
        return number

    def new_thread(self, process: Process, context: Context, number: int) -> Thread:
        """Make a thread that starts with `context`, in the process's address space."""
        self.give_memory(context, process.space)
        thread = Thread(ThreadState(number, process.pid), process, context)
        self.scheduler.add(thread)
        return thread

    def give_memory(self, context: Context, space: Space) -> None:
        """Set the address space of a context."""
        satp = satp_for(space.table.root, 0)
        if not self.kernel.monitor.accepts_satp(satp):
            raise EngineError("the monitor refused the page table of a Linux process")
        context.regs[ctx.SATP] = satp
        context.regs[ctx.MSTATUS] |= MSTATUS_TVM

    def add_file(self, file: File) -> File:
        """Add a file that was just opened, without users yet."""
        return self.open_files.add(file)

    def close(self, process: Process, descriptor: int) -> None:
        """Close an open descriptor; the last one closes the file."""
        found = process.state.descriptors.pop(descriptor)
        self.locks.closed_by(process.pid, self.open_files[found.file])
        self.open_files.give_up(found.file)

    @property
    def first(self) -> Process:
        """The process that was started from outside."""
        return self.processes[self.state.first]

    def count_missing(self, number: int) -> None:
        """Count a system call that is not offered."""
        missing = self.state.missing
        known = number in missing or len(missing) < MOST_MISSING
        missing[number if known else OTHERS] += 1

    def refuse(self, what: str) -> None:
        """Count an unsupported part of a system call, for the summary at the end."""
        self.state.refused[what] += 1
