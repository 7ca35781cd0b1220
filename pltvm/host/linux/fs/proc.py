"""/proc: a folder for each process, with the files that C libraries, runtimes and `ps` read.

Everything is made when it is opened, from the present state of the process.
"""

from collections.abc import Callable, Mapping
from errno import ENOENT, ESRCH
from random import Random
from typing import Any, Final, Protocol

from pltvm.engine.memory import PAGE
from pltvm.host.linux.clock import Clock
from pltvm.host.linux.credentials import ALL, Ids
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.pipe import PipeEnd
from pltvm.host.linux.fs.nodes import Folder, Node, Opened
from pltvm.host.linux.process import INFINITY, Limit, Process, Thread
from pltvm.host.linux.start_stack import STACK_TOP

_TICK: Final = 10**7  # ns
_LIMITS: Final = (
    ("Max cpu time", 0, "seconds"), ("Max file size", Limit.FSIZE, "bytes"), ("Max data size", 2, "bytes"),
    ("Max stack size", Limit.STACK, "bytes"), ("Max core file size", Limit.CORE, "bytes"),
    ("Max resident set", 5, "bytes"), ("Max processes", 6, "processes"),
    ("Max open files", Limit.NOFILE, "files"), ("Max locked memory", 8, "bytes"),
    ("Max address space", Limit.AS, "bytes"), ("Max file locks", 10, "locks"),
    ("Max pending signals", 11, "signals"), ("Max msgqueue size", 12, "bytes"), ("Max nice priority", 13, ""),
    ("Max realtime priority", 14, ""), ("Max realtime timeout", 15, "us"),
)  # fmt: skip


class Known(Protocol):
    """The part of the system that is needed."""

    processes: dict[int, Process]
    clock: Clock

    @property
    def open_files(self) -> Mapping[int, File]:
        """The open files by number."""

    @property
    def scheduler(self) -> Any:
        """The scheduler: its `current`."""

    @property
    def kernel(self) -> Any:
        """The kernel: its `memory` and `blocks`."""

    @property
    def state(self) -> Any:
        """The state: its `host_name`."""

    @property
    def random(self) -> Random:
        """The generator of random numbers."""


def add_processes(proc: Folder, system: Known) -> None:
    """Add the links to the reading process and thread (`self`, `thread-self`) to /proc."""

    def current() -> Thread:
        thread: Thread = system.scheduler.current
        return thread

    proc.link(b"self", lambda: b"%d" % current().process.pid)
    proc.link(b"thread-self", lambda: b"%d/task/%d" % (current().process.pid, current().tid))


def numbers(system: Known) -> list[bytes]:
    """Return the names of the folders of all processes."""
    return [b"%d" % pid for pid in system.processes]


def process_called(system: Known, name: bytes) -> Node | None:
    """Return the folder of a process, or of a thread, by its number."""
    number = _number(name)
    process = system.processes.get(number)
    if process is not None:
        return _folder(system, process, b"/proc/%d" % number)
    for process in system.processes.values():
        if number in process.threads:
            return _folder(system, process, b"/proc/%d" % number)
    return None


def _number(name: bytes) -> int:
    return int(name) if name.isdigit() and len(name) < 12 and (name == b"0" or name[:1] != b"0") else -1


class _OfProcess(Folder):
    """The folder of a process; it may stay open after the end of the process."""

    def __init__(self, path: bytes, system: Known, process: Process) -> None:
        super().__init__(path)
        self._system, self._process = system, process

    def child(self, name: bytes) -> Node | None:
        if self._system.processes.get(self._process.pid) is not self._process:
            raise LinuxError(ESRCH)
        return super().child(name)


def _folder(system: Known, process: Process, path: bytes, thread: Thread | None = None) -> Folder:
    """Return /proc/PID, or with a thread /proc/PID/task/TID."""
    folder, state = _OfProcess(path, system, process), process.state
    who = thread or process.threads.get(process.pid)
    for name, content in {
        b"cmdline": lambda: _command_line(process),
        b"comm": lambda: _name(process, who) + b"\n",
        b"environ": lambda: _text(process, *process.space.state.environment),
        b"io": lambda: _IO,
        b"limits": lambda: _limits(process),
        b"loginuid": lambda: b"4294967295",
        b"maps": lambda: process.space.maps().encode(),
        b"mountinfo": lambda: b"1 0 0:1 / / rw,relatime - ext4 /dev/root rw\n",
        b"mounts": lambda: MOUNTS,
        b"oom_adj": lambda: b"0\n",
        b"oom_score": lambda: b"0\n",
        b"oom_score_adj": lambda: b"0\n",
        b"personality": lambda: b"%08x\n" % state.personality,
        b"schedstat": lambda: b"%d 0 1\n" % process.used(),
        b"sessionid": lambda: b"4294967295",
        b"smaps_rollup": lambda: _memory_in_all(process),
        b"wchan": lambda: b"0",
        b"cgroup": lambda: b"0::/\n",
        b"stat": lambda: _stat(system, process, who),
        b"statm": lambda: b"%d %d 0 1 0 %d 0\n" % (_pages(process), _resident(process), _pages(process)),
        b"status": lambda: _status(system, process, who),
    }.items():
        folder.text(name, content)
    for name, content in {
        b"cwd": lambda: process.folder.name(),
        b"exe": lambda: state.path,
        b"root": lambda: b"/",
    }.items():
        folder.link(name, _as_long_as_alive(process, content))
    numbers_of_files = lambda: [b"%d" % one for one in sorted(state.descriptors)]  # noqa: E731
    folder.add(Folder(path + b"/fd", lambda name: _opened(process, path, name), numbers_of_files))
    folder.add(Folder(path + b"/fdinfo", lambda name: _info(process, path, name), numbers_of_files))
    if thread is None:
        folder.add(
            Folder(
                path + b"/task",
                lambda name: _task(system, process, path, name),
                lambda: [b"%d" % tid for tid in process.threads],
            )
        )
    return folder


def _as_long_as_alive(process: Process, path: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return a function for the target of a link that is valid while the process lives."""

    def target() -> bytes:
        if not process.alive:
            raise LinuxError(ENOENT)
        return path()

    return target


def _task(system: Known, process: Process, path: bytes, name: bytes) -> Node | None:
    thread = process.threads.get(_number(name))
    return None if thread is None else _folder(system, process, path + b"/task/" + name, thread)


def _file(process: Process, name: bytes) -> File | None:
    number = _number(name)
    return process.file(number) if number in process.state.descriptors else None


def _opened(process: Process, path: bytes, name: bytes) -> Node | None:
    file = _file(process, name)
    return None if file is None else Opened(path + b"/fd/" + name, file)


def _info(process: Process, path: bytes, name: bytes) -> Node | None:
    file = _file(process, name)
    if file is None:
        return None
    folder = Folder(path + b"/fdinfo")
    folder.text(name, lambda: b"pos:\t%d\nflags:\t0%o\nmnt_id:\t1\n" % (_position(file), file.flags))
    return folder.nodes[name]


def _position(file: File) -> int:
    try:
        return 0 if isinstance(file, PipeEnd) else file.seek(0, 1)
    except LinuxError:
        return 0


MOUNTS: Final = (
    b"/dev/root / ext4 rw,relatime 0 0\nproc /proc proc rw,relatime 0 0\n"
    b"devtmpfs /dev devtmpfs rw,relatime 0 0\nsysfs /sys sysfs rw,relatime 0 0\n"
)


# -- texts ---------------------------------------------------------------------------------------------------


def _name(process: Process, thread: Thread | None) -> bytes:
    return thread.state.name if thread is not None else process.state.name.rsplit(b"/", 1)[-1][:15]


def _letter(system: Known, process: Process, thread: Thread | None) -> str:
    if not process.alive:
        return "Z"
    if process.state.stopped:
        return "T"
    current = system.scheduler.current
    runs = thread is None or thread is current or thread.state.wait is None
    return "R" if runs else "S"


def _pages(process: Process) -> int:
    return sum(area.end - area.start for area in process.space.state.areas) // PAGE


def _resident(process: Process) -> int:
    return len(process.space.state.own)


def _mask(signals: Any) -> int:
    return sum({1 << (one.number - 1) for one in signals})


_IO: Final = (
    b"rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
)
_OF_MEMORY: Final = (
    "Rss", "Pss", "Pss_Dirty", "Pss_Anon", "Pss_File", "Pss_Shmem", "Shared_Clean", "Shared_Dirty",
    "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "LazyFree", "AnonHugePages",
    "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip


def _memory_in_all(process: Process) -> bytes:
    """Return the sums of all areas: the pages that a process has alone."""
    areas = process.space.state.areas if process.alive else []
    if not areas:
        return b""
    own = _resident(process) * PAGE // 1024
    counted = {"Rss", "Pss", "Pss_Dirty", "Pss_Anon", "Private_Dirty", "Referenced", "Anonymous"}
    first = f"{areas[0].start:x}-{areas[-1].end:x} ---p 00000000 00:00 0 ".ljust(73) + "[rollup]\n"
    rows = (f"{name + ':':<16}{own if name in counted else 0:8} kB\n" for name in _OF_MEMORY)
    return (first + "".join(rows)).encode()


def _row(ids: Ids) -> str:
    return "\t".join(map(str, ids))


def _status(system: Known, process: Process, thread: Thread | None) -> bytes:
    state, letter = process.state, _letter(system, process, thread)
    words = {"R": "running", "S": "sleeping", "T": "stopped", "Z": "zombie"}
    ignored = sum(1 << (number - 1) for number, one in state.actions.items() if one.handler == 1)
    caught = sum(1 << (number - 1) for number, one in state.actions.items() if one.handler > 1)
    size, resident = _pages(process) * 4, _resident(process) * 4
    name = _name(process, thread).decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")
    blocked = thread.state.signal_mask if thread is not None else 0
    own = _mask(thread.state.pending) if thread is not None else 0
    who = state.credentials
    rows = {
        "Name": name, "Umask": f"{state.umask:04o}", "State": f"{letter} ({words[letter]})",
        "Tgid": process.pid, "Ngid": 0, "Pid": thread.tid if thread is not None else process.pid,
        "PPid": state.parent, "TracerPid": 0, "Uid": _row(who.user), "Gid": _row(who.group), "FDSize": 64,
        "Groups": "".join(f"{one} " for one in who.extra) or " ", "VmPeak": f"{size:8} kB",
        "VmSize": f"{size:8} kB", "VmLck": f"{0:8} kB",
        "VmHWM": f"{resident:8} kB", "VmRSS": f"{resident:8} kB", "VmData": f"{size:8} kB",
        "VmStk": f"{132:8} kB", "VmExe": f"{0:8} kB", "VmSwap": f"{0:8} kB", "Threads": len(process.threads),
        "SigQ": "0/1024", "SigPnd": f"{own:016x}", "ShdPnd": f"{_mask(state.pending):016x}",
        "SigBlk": f"{blocked:016x}", "SigIgn": f"{ignored:016x}", "SigCgt": f"{caught:016x}",
        "CapInh": f"{who.inheritable:016x}", "CapPrm": f"{who.permitted:016x}",
        "CapEff": f"{who.effective:016x}",
        "CapBnd": f"{ALL:016x}", "NoNewPrivs": int(state.no_new_rights), "Seccomp": 0,
        "Cpus_allowed": 1, "Cpus_allowed_list": 0, "voluntary_ctxt_switches": 0,
        "nonvoluntary_ctxt_switches": 0,
    }  # fmt: skip
    return "".join(f"{key}:\t{value}\n" for key, value in rows.items()).encode("latin-1")


def _stat(system: Known, process: Process, thread: Thread | None) -> bytes:
    state = process.state
    number = thread.tid if thread is not None else process.pid
    fields = [0] * 53  # by their numbers in proc(5), from 4 on
    fields[4:7] = [state.parent, state.group, state.session]
    fields[8], fields[14] = -1, process.used() // _TICK
    fields[16], fields[18] = state.used_by_children // _TICK, 20
    fields[20], fields[23], fields[24] = len(process.threads), _pages(process) * PAGE, _resident(process)
    fields[25], fields[28], fields[38] = INFINITY, STACK_TOP, 17
    letter = _letter(system, process, thread)
    rest = " ".join(map(str, fields[4:53]))
    return b"%d (%s) %s %s\n" % (number, _name(process, thread), letter.encode(), rest.encode())


def _limits(process: Process) -> bytes:
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
    for name, number, unit in _LIMITS:
        pair = process.state.limits.get(number, (INFINITY, INFINITY))
        soft, hard = ("unlimited" if one == INFINITY else str(one) for one in pair)
        lines.append(f"{name:<25} {soft:<20} {hard:<20} {unit:<10}")
    return "".join(f"{line}\n" for line in lines).encode()


def _command_line(process: Process) -> bytes:
    """Return the arguments as they are now: a program may have written a title over them, which goes on in
    the environment if the last byte of the arguments is no NUL."""
    space = process.space.state
    text = _text(process, *space.arguments)
    if not text or text.endswith(b"\0"):
        return text
    return (text + _text(process, *space.environment)).split(b"\0")[0]


def _text(process: Process, start: int, end: int) -> bytes:
    """Return memory of a process; nothing after its end, or if it is not mapped."""
    try:
        return process.space.read(start, end - start) if process.alive else b""
    except LinuxError:
        return b""
