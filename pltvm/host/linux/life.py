"""How processes and threads start and end."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EAGAIN, EINVAL
from typing import Final, NamedTuple

from pltvm.engine import context as ctx
from pltvm.engine.context import PC, SP, TP, Context
from pltvm.engine.decode import disassemble
from pltvm.engine.trap import fetch
from pltvm.errors import OutOfMemory
from pltvm.host.linux import orphans, signals
from pltvm.host.linux.credentials import ROOT, Credentials
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.host import Image, Key
from pltvm.host.linux.futexes import key_of
from pltvm.host.linux.process import (
    MOST_FILES,
    OUTER_PARENT,
    SS_DISABLE,
    USUAL_FILES,
    Action,
    Descriptor,
    Limit,
    Process,
    ProcessState,
    SignalInfo,
    Thread,
)
from pltvm.host.linux.program import load_program
from pltvm.host.linux.requests import PATH
from pltvm.host.linux.robust import release_robust_locks
from pltvm.host.linux.space import Space
from pltvm.host.linux.start_stack import DEFAULT_ENVIRONMENT, STACK_SIZE
from pltvm.host.linux.system import MOST_PROCESSES, MOST_REPORTS, MOST_THREADS, System
from pltvm.host.symbols import Symbols

CLONE_VM, CLONE_FILES, CLONE_SIGHAND, CLONE_VFORK = 0x100, 0x400, 0x800, 0x4000
CLONE_PARENT, CLONE_THREAD, CLONE_SETTLS, CLONE_PARENT_SETTID = 0x8000, 0x10000, 0x80000, 0x100000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x200000, 0x1000000
# caused by an instruction
_CRASHES: Final = {signals.SIGILL, signals.SIGTRAP, signals.SIGBUS, signals.SIGSEGV}
_COMM: Final = 15  # bytes of a thread's name


# -- starting ----------------------------------------------------------------------------------------------


class Program(NamedTuple):
    """A program to be executed: its file, the file's key and path, and the arguments.

    `called` is the path that execve was given: that of a script, if an interpreter is `image`. `name` is the
    thread's name.
    """

    image: Image
    key: Key
    path: bytes
    arguments: Sequence[bytes]
    called: bytes
    name: bytes


def start(
    system: System,
    data: bytes,
    arguments: Sequence[bytes],
    variables: Sequence[bytes] = DEFAULT_ENVIRONMENT,
) -> Process:
    """Load the program `data`, with `arguments` (the first is its name), as the first process.

    Raises ElfError for a program that cannot run here, OutOfMemory; then nothing is left behind.
    """
    name = arguments[0]
    program = Program(Image(data), _key_of(name), name, arguments, name, name)
    space, first = _load(system, program, variables, ROOT)
    pid = system.new_number()
    state = ProcessState(pid, group=pid, session=pid)
    state.limits = {
        Limit.NOFILE: (USUAL_FILES, MOST_FILES),
        Limit.STACK: (STACK_SIZE, (1 << 64) - 1),
        Limit.CORE: (0, 0),
    }
    process = Process(state, space, system.open_files)
    system.processes[pid] = process
    system.state.first = pid
    for file in system.first_files():
        process.add(system.add_file(file))
    folder = system.add_file(system.fs.root())
    folder.users += 1
    state.folder = folder.number
    _call_it(system, process, program, _path_of(system, name))
    system.new_thread(process, first, pid).state.name = _short_name(name)
    return process


def _load(
    system: System, program: Program, variables: Sequence[bytes], who: Credentials
) -> tuple[Space, Context]:
    """Load a program into a new address space; return it with the start of its first thread.

    Raises ElfError, LinuxError, OutOfMemory; then nothing is left behind.
    """
    space = Space(system.kernel, objects=system.objects)
    try:
        entry, stack = load_program(
            space, program.image, program.arguments, variables, system.random.randbytes(16),
            system.fs.interpreter, program.path, program.called, who.user[:2] + who.group[:2],
        )  # fmt: skip
    except BaseException:
        space.free()
        raise
    context = Context(ctx.U, table=space.table, pc=entry)
    context.regs[SP] = stack
    return space, context


def _key_of(name: bytes) -> Key:
    """Return the key of the first program's file; that of no file if it has none here."""
    with suppress(OSError):
        info = os.stat(name)
        return info.st_dev, info.st_ino
    return 0, 0


def _path_of(system: System, name: bytes) -> bytes:
    """Return the first program's own path: beneath the root, or at its top if the file is elsewhere."""
    try:
        return b"/" + system.fs.tree.inside(os.path.realpath(name), from_guest=False)
    except LinuxError:
        return b"/" + os.path.basename(name)


def _call_it(system: System, process: Process, program: Program, path: bytes) -> None:
    state, data, arguments = process.state, program.image.data, program.arguments
    if os.fsencode(PATH) in data:  # the program runs enclaves, which print too
        system.stdin.shows_lines = system.stdout.shows_lines = system.stderr.shows_lines = True
    state.name, state.path = arguments[0] if arguments else b"", path
    state.symbols, state.program_key = Symbols(data), program.key


def _short_name(path: bytes) -> bytes:
    return path.rsplit(b"/", 1)[-1][:_COMM]


def execute(system: System, thread: Thread, program: Program, variables: Sequence[bytes]) -> None:
    """Replace the program of the calling process, whose other threads end.

    Raises ElfError, LinuxError, OutOfMemory as long as nothing has changed.
    """
    process = thread.process
    space, context = _load(system, program, variables, thread.process.state.credentials)
    for other in [one for one in process.threads.values() if one is not thread]:
        _bury(system, other)
    release_robust_locks(system, thread)
    _clear_tid(system, thread)
    process.space.free()
    process.space = space
    _give_back_borrowed(system, process)
    _become_leader(system, thread)
    state, own = process.state, thread.state
    unshare_files(system, process)
    for descriptor in [number for number, one in state.descriptors.items() if one.closes]:
        system.close(process, descriptor)
    state.actions = {
        number: Action(signals.IGNORE)
        for number, one in state.actions.items()
        if one.handler == signals.IGNORE
    }
    state.timers = {number: timer for number, timer in state.timers.items() if number < 3}
    state.has_executed, state.barriers = True, 0
    state.credentials = state.credentials.executed()
    _call_it(system, process, program, program.path)
    own.alternate_stack, own.saved_mask, own.name = (0, SS_DISABLE, 0), None, _short_name(program.name)
    system.give_memory(context, space)
    system.hart.current = thread.context = context


def _become_leader(system: System, thread: Thread) -> None:
    """Give the remaining thread of a process the number of the process."""
    process, scheduler = thread.process, system.scheduler
    if thread.tid != process.pid:
        scheduler.threads.pop(thread.tid)
        process.threads.pop(thread.tid)
        if scheduler.state.current == thread.tid:
            scheduler.state.current = process.pid
        thread.state.tid = process.pid
        process.threads[process.pid] = scheduler.threads[process.pid] = thread


def clone(
    system: System,
    thread: Thread,
    flags: int,
    *,
    stack: int = 0,
    parent_tid: int = 0,
    child_tid: int = 0,
    tls: int = 0,
) -> Thread:
    """Start a thread, or a process that shares or copies state by `flags`; return its first thread.

    Raises LinuxError, OutOfMemory.
    """
    if flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise LinuxError(EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise LinuxError(EINVAL)
    if len(system.scheduler.threads) >= MOST_THREADS:
        raise LinuxError(EAGAIN)
    if not flags & CLONE_THREAD and len(system.processes) >= MOST_PROCESSES:
        raise LinuxError(EAGAIN)
    process = thread.process if flags & CLONE_THREAD else _fork(system, thread, flags)
    context = Context(0, table=process.space.table)
    context.regs[:] = thread.context.regs
    if stack:
        context.regs[SP] = stack
    if flags & CLONE_SETTLS:
        context.regs[TP] = tls
    number = system.new_number() if flags & CLONE_THREAD else process.pid
    child = system.new_thread(process, context, number)
    child.state.signal_mask, child.state.name = thread.state.signal_mask, thread.state.name
    child.state.policy = thread.state.policy
    child.state.timer_slack = (thread.state.timer_slack[0],) * 2
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        child.state.alternate_stack = thread.state.alternate_stack
    child.answer(0)
    if flags & CLONE_CHILD_CLEARTID:
        child.state.clear_tid = child_tid
    with suppress(LinuxError, OutOfMemory):  # as in Linux: the thread exists, and the error is not reported
        if flags & CLONE_PARENT_SETTID:
            thread.space.write(parent_tid, number.to_bytes(4, "little"))
    with suppress(LinuxError, OutOfMemory):
        if flags & CLONE_CHILD_SETTID:
            process.space.write(child_tid, number.to_bytes(4, "little"))
    return child


def _fork(system: System, thread: Thread, flags: int) -> Process:
    """Make a copy of the process of `thread`, without threads."""
    parent = thread.process
    space = parent.space.share() if flags & CLONE_VM else parent.space.fork()
    old, pid = parent.state, system.new_number()
    state = ProcessState(
        pid,
        parent=old.parent if flags & CLONE_PARENT else parent.pid,
        group=old.group,
        session=old.session,
        name=old.name,
        path=old.path,
        program_key=old.program_key,
        symbols=old.symbols,
        actions=dict(old.actions),
        descriptors=old.descriptors if flags & CLONE_FILES else dict(old.descriptors),
        exit_signal=old.exit_signal if flags & CLONE_PARENT else flags & 0xFF,
        nice=old.nice,
        io_priority=old.io_priority,
        barriers=old.barriers,
        personality=old.personality,
        folder=old.folder,
        umask=old.umask,
        limits=dict(old.limits),
        credentials=old.credentials,
    )
    if flags & CLONE_FILES:
        state.files_group = old.files_group = old.files_group or old.pid
    else:
        _use(system, state.descriptors)
    system.open_files[state.folder].users += 1
    process = Process(state, space, system.open_files)
    system.processes[pid] = process
    return process


def _use(system: System, descriptors: Mapping[int, Descriptor]) -> None:
    """Count one more user of the open files of these descriptors."""
    for one in descriptors.values():
        system.open_files[one.file].users += 1


def _shares_files(system: System, process: Process) -> bool:
    """Whether another living process has the same descriptors."""
    group = process.state.files_group
    others = (one for one in system.processes.values() if one is not process and one.alive)
    return bool(group) and any(one.state.files_group == group for one in others)


def unshare_files(system: System, process: Process) -> None:
    """Give the process its own descriptors, of the same files."""
    if _shares_files(system, process):
        process.state.descriptors = dict(process.state.descriptors)
        _use(system, process.state.descriptors)
    process.state.files_group = 0


# -- ending ------------------------------------------------------------------------------------------------


def end_thread(system: System, thread: Thread, code: int) -> None:
    """End one thread, and wake threads that wait for it. The last one ends the process."""
    process = thread.process
    _bury(system, thread)
    if not process.threads:
        end(system, process, (code & 0xFF) << 8)


def _bury(system: System, thread: Thread) -> None:
    """Remove a thread from all tables."""
    for action in system.at_end_of_thread:
        action(thread)
    release_robust_locks(system, thread)
    _clear_tid(system, thread)
    system.scheduler.release(("vfork thread", thread.tid), 1, result=thread.tid)
    system.scheduler.remove(thread)


def _clear_tid(system: System, thread: Thread) -> None:
    address, thread.state.clear_tid = thread.state.clear_tid, 0
    if address:
        with suppress(LinuxError, OutOfMemory):  # it ends in any case
            thread.space.write(address, bytes(4))
            system.scheduler.release(key_of(thread.space, address), 1)


def end(system: System, process: Process, status: int, report: str = "") -> None:
    """End a process, with a status as in `wait4`; `report` says what ended it other than itself."""
    state = process.state
    if state.status is not None:
        return
    for thread in list(process.threads.values()):
        _bury(system, thread)
    for action in system.at_end_of_process:
        action(process)
    if _shares_files(system, process):
        state.descriptors = {}
    for descriptor in list(state.descriptors):
        with suppress(LinuxError):  # it is closed in any case
            system.close(process, descriptor)
    system.open_files.give_up(state.folder)
    state.status, state.report = status, report
    system.wake(("pidfd", process.pid))
    state.timers.clear()
    state.program_key = (0, 0)
    process.space.free()
    _give_back_borrowed(system, process)
    if report and process.pid != system.state.first:
        _report(system, process, report)
    groups = {state.group} if orphans.watches(system, process) else set()
    groups |= _leave_children(system, process)
    _tell(system, process, status)
    orphans.leave_groups(system, groups)


def _report(system: System, process: Process, report: str) -> None:
    """Keep a line for the end of the run about a process that failed; only the first ones are kept."""
    reports = system.state.reports
    if len(reports) < MOST_REPORTS:
        reports.append(f"process {process.pid} ({process.state.name.decode('utf-8', 'replace')}): {report}")
    elif len(reports) == MOST_REPORTS:
        reports.append("more processes did not end well: they are not listed")


def _give_back_borrowed(system: System, process: Process) -> None:
    """Let the thread go on that made this process by vfork, as its memory is no longer used."""
    lender, process.state.borrows = process.state.borrows, 0
    if lender:
        system.scheduler.release(("vfork", process.pid), 1, result=process.pid)


def _leave_children(system: System, process: Process) -> set[int]:
    """Give its children another parent: the nearest process that adopts orphans, or none here.

    Returns the groups that it could let go on after a stop.
    """
    heir, watched = _heir(system, process), set()
    for child in list(system.processes.values()):
        if child.state.parent == process.pid:
            if orphans.watches(system, child):
                watched.add(child.state.group)
            child.state.parent = heir
            if child.state.death_signal and child.alive:
                signals.send(system, child, SignalInfo(child.state.death_signal, signals.SI_USER))
            if not child.alive:
                _tell(system, child, child.state.status or 0)
    return watched


def _heir(system: System, process: Process) -> int:
    seen, at = {process.pid}, process.state.parent
    while at in system.processes and at not in seen:
        parent = system.processes[at]
        if parent.alive and parent.state.subreaper:
            return at
        seen.add(at)
        at = parent.state.parent
    return OUTER_PARENT


def _tell(system: System, process: Process, status: int) -> None:
    """Notify the parent of the end; without an interested parent, remove the process."""
    parent = system.processes.get(process.state.parent)
    ignores = parent is None or not parent.alive
    if parent is not None and parent.alive:
        killed = status & 0x7F
        code = (signals.CLD_DUMPED if status & 0x80 else signals.CLD_KILLED) if killed else signals.CLD_EXITED
        signals.tell_parent(system, process, code, killed or status >> 8, status)
        wanted = signals.action(parent, signals.SIGCHLD)
        ignores = wanted.handler == signals.IGNORE or bool(wanted.flags & signals.SA_NOCLDWAIT)
    if ignores and process.pid != system.state.first:
        reap(system, process)


def reap(system: System, process: Process) -> None:
    """Remove a process that has ended."""
    parent = system.processes.get(process.state.parent)
    if parent is not None:
        parent.state.used_by_children += process.state.used + process.state.used_by_children
    system.processes.pop(process.pid, None)


def clean_up(system: System) -> None:
    """Free everything after the run, however it ended."""
    system.hart.set_time_slice(0)
    if system.scheduler.turns is not None:
        system.scheduler.turns.end()
    for process in list(system.processes.values()):
        end(system, process, signals.SIGKILL)
    for action in system.at_end:
        action()
    system.open_files.close_all()
    system.fs.memory.close()
    system.fs.tree.close()
    system.hart.current = system.kernel.context


def killed(system: System, thread: Thread, info: SignalInfo, why: str = "") -> None:
    """End the process of `thread` by a signal; `why` adds another cause."""
    pc, number = thread.context.regs[PC], info.number
    report = f"killed by {signals.name(number)} at {thread.location()}"
    if number in _CRASHES:
        code = fetch(thread.context)
        why = why or (disassemble(code, pc) if code else "jump")
        report += f": {why}, address {info.address:#x}"
    dumped = 0x80 if number in signals.DUMPS and thread.process.limit(Limit.CORE) else 0
    if number not in _CRASHES and thread.process.pid != system.state.first:
        report = ""  # another process killed the child on purpose
    end(system, thread.process, number | dumped, report)
