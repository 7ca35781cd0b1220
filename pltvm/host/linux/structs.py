"""The structs that system calls pass in memory, as named tuples laid out by `structs.h`.

A class has the fields of its struct in the header, in the same order, without padding (`pad…`, `rest`,
`spare…`, `unused…`, `zero`), which is written as zero.
"""

from functools import cache, cached_property
from pathlib import Path
from struct import Struct
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pltvm.build.headers import declared

_T = TypeVar("_T", bound=tuple[Any, ...])
HEADER: Final = Path(__file__).with_name("structs.h")
_LETTERS: Final = {
    "int64_t": "q", "uint64_t": "Q", "int32_t": "i", "uint32_t": "I", "int16_t": "h", "uint16_t": "H",
    "uint8_t": "B",
}  # fmt: skip
_PADDING: Final = ("pad", "rest", "spare", "unused", "zero")


@cache
def header() -> Any:
    """Return the declarations of `structs.h` as an FFI of cffi."""
    return declared("pltvm.host.linux._structs", HEADER)


class Layout(Generic[_T]):
    """A struct of the header and its tuple class. The header is read at the first use."""

    def __init__(self, kind: type[_T], name: str) -> None:
        self.kind = kind
        self.name = name

    @cached_property
    def struct(self) -> Struct:
        """Its memory layout; raises TypeError if the tuple has other fields than the header."""
        struct = header().typeof(f"struct {self.name}")
        text, names, end = "<", [], 0
        for field, info in struct.fields:
            text += f"{info.offset - end}x"
            size = header().sizeof(info.type)
            end = info.offset + size
            if field.startswith(_PADDING):
                text += f"{size}x"
            elif info.type.kind == "array":
                text += f"{size}s" if info.type.item.cname == "char" else f"{info.type.length}Q"
                names.append(field)
            else:
                text += _LETTERS[info.type.cname]
                names.append(field)
        if tuple(names) != getattr(self.kind, "_fields", ()):
            raise TypeError(
                f"{self.kind.__name__} has other fields than struct {self.name}: {', '.join(names)}"
            )
        return Struct(f"{text}{header().sizeof(struct) - end}x")

    @cached_property
    def size(self) -> int:
        """Its size in bytes."""
        return self.struct.size

    def unpack(self, raw: bytes) -> _T:
        """Return the struct at the start of `raw`."""
        return self.kind(*self.struct.unpack_from(raw))

    def pack(self, value: _T) -> bytes:
        """Return its bytes."""
        return self.struct.pack(*value)


class Timespec(NamedTuple):
    """A time in seconds and nanoseconds."""

    sec: int
    nsec: int


class Timeval(NamedTuple):
    """A time in seconds and microseconds."""

    sec: int
    usec: int


class IntervalSpec(NamedTuple):
    """A timer of timer_settime and timerfd_settime."""

    interval_sec: int
    interval_nsec: int
    value_sec: int
    value_nsec: int


class IntervalVal(NamedTuple):
    """A timer of setitimer."""

    interval_sec: int
    interval_usec: int
    value_sec: int
    value_usec: int


class Tms(NamedTuple):
    """Processor times in hundredths of a second."""

    user: int
    system: int
    children_user: int
    children_system: int


class Rlimit(NamedTuple):
    """A limit of a resource."""

    soft: int
    hard: int


class PollFd(NamedTuple):
    """One descriptor of poll."""

    fd: int
    events: int
    revents: int


class EpollEvent(NamedTuple):
    """Events that epoll watches for or reports, and the program's own data."""

    events: int
    data: int


class SignalfdSiginfo(NamedTuple):
    """A signal in the form of signalfd."""

    number: int
    error: int
    code: int
    pid: int
    uid: int
    fd: int
    timer: int
    band: int
    overrun: int
    trap: int
    status: int
    value: int
    pointer: int
    user: int
    system: int
    address: int


class SetAndSize(NamedTuple):
    """The signal mask that pselect6 gets: its address and size."""

    address: int
    size: int


class SockaddrIn(NamedTuple):
    """An IPv4 address; the port is in network byte order."""

    family: int
    port: bytes
    address: bytes


class SockaddrIn6(NamedTuple):
    """An IPv6 address."""

    family: int
    port: bytes
    flow: int
    address: bytes
    scope: int


class MsgHdr(NamedTuple):
    """A message: address, buffers and control messages."""

    name: int
    name_size: int
    vectors: int
    buffers: int
    control: int
    control_size: int
    flags: int


class CmsgHdr(NamedTuple):
    """The beginning of a control message."""

    size: int
    level: int
    type: int


class MmsgHdr(NamedTuple):
    """One of several messages, and its number of bytes."""

    name: int
    name_size: int
    vectors: int
    buffers: int
    control: int
    control_size: int
    flags: int
    size: int


class CapabilityHeader(NamedTuple):
    """The version of the sets of capget, and whose they are."""

    version: int
    pid: int


class IpcPermissions(NamedTuple):
    """Key, owner, maker and permissions of an object of System V."""

    key: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    mode: int
    seq: int


class ShmIdDs(NamedTuple):
    """What shmctl tells of shared memory."""

    perm: bytes
    size: int
    attached: int
    detached: int
    changed: int
    made_by: int
    used_by: int
    users: int


class SemIdDs(NamedTuple):
    """What semctl tells of a set of semaphores."""

    perm: bytes
    used: int
    changed: int
    semaphores: int


class MsqIdDs(NamedTuple):
    """What msgctl tells of a queue."""

    perm: bytes
    sent: int
    received: int
    changed: int
    size: int
    messages: int
    most: int
    sender: int
    receiver: int


class MqAttr(NamedTuple):
    """What mq_getattr tells of a queue."""

    flags: int
    most: int
    largest: int
    current: int


class InotifyEvent(NamedTuple):
    """An event of inotify; its name follows."""

    watch: int
    mask: int
    cookie: int
    length: int


class SemBuf(NamedTuple):
    """One operation of semop."""

    number: int
    change: int
    flags: int


class UCred(NamedTuple):
    """The credentials of the peer."""

    pid: int
    uid: int
    gid: int


class Linger(NamedTuple):
    """Whether and how long closing a socket waits."""

    on: int
    seconds: int


class Rusage(NamedTuple):
    """The resource usage of a process: processor time, and memory in KiB."""

    user_sec: int
    user_usec: int
    system_sec: int
    system_usec: int
    maxrss: int


class Stat(NamedTuple):
    """The state of a file."""

    device: int
    inode: int
    mode: int
    links: int
    uid: int
    gid: int
    kind_of_device: int
    size: int
    block: int
    blocks: int
    accessed_sec: int
    accessed_nsec: int
    modified_sec: int
    modified_nsec: int
    changed_sec: int
    changed_nsec: int


class Statx(NamedTuple):
    """The state of a file, with a mask of the known fields."""

    mask: int
    block: int
    attributes: int
    links: int
    uid: int
    gid: int
    mode: int
    inode: int
    size: int
    blocks: int
    attributes_mask: int
    accessed_sec: int
    accessed_nsec: int
    born_sec: int
    born_nsec: int
    changed_sec: int
    changed_nsec: int
    modified_sec: int
    modified_nsec: int
    kind_major: int
    kind_minor: int
    device_major: int
    device_minor: int
    mount: int
    align_memory: int
    align_offset: int


class Statfs(NamedTuple):
    """The state of a file system."""

    type: int
    block: int
    blocks: int
    free: int
    available: int
    files: int
    free_files: int
    id: int
    longest_name: int
    fragment: int
    flags: int


class Flock(NamedTuple):
    """A lock of a range of bytes."""

    type: int
    whence: int
    start: int
    length: int
    pid: int


class Dirent(NamedTuple):
    """An entry of a folder, without its name."""

    inode: int
    next: int
    size: int
    type: int


class OpenHow(NamedTuple):
    """The arguments of openat2."""

    flags: int
    mode: int
    resolve: int


class SigAction(NamedTuple):
    """The action of a signal."""

    handler: int
    flags: int
    mask: int


class Stack(NamedTuple):
    """The alternate stack of a thread."""

    address: int
    flags: int
    size: int


class Sent(NamedTuple):
    """siginfo of a signal sent by a process."""

    number: int
    error: int
    code: int
    pid: int
    uid: int
    value: int


class OfTimer(NamedTuple):
    """siginfo of a signal of a timer."""

    number: int
    error: int
    code: int
    timer: int
    overrun: int
    value: int


class OfChild(NamedTuple):
    """siginfo of SIGCHLD, and the result of waitid."""

    number: int
    error: int
    code: int
    pid: int
    uid: int
    status: int
    user: int
    system: int


class OfFault(NamedTuple):
    """siginfo of a fault of an instruction."""

    number: int
    error: int
    code: int
    address: int


class SchedParam(NamedTuple):
    """A priority."""

    priority: int


class SigEvent(NamedTuple):
    """How a timer notifies its process."""

    value: int
    number: int
    notify: int
    thread: int


class CloneArgs(NamedTuple):
    """The arguments of clone3."""

    flags: int
    pidfd: int
    child_tid: int
    parent_tid: int
    exit_signal: int
    stack: int
    stack_size: int
    tls: int


class SysInfo(NamedTuple):
    """The result of sysinfo; sizes in bytes."""

    uptime: int
    load1: int
    load5: int
    load15: int
    total_ram: int
    free_ram: int
    shared_ram: int
    buffer_ram: int
    total_swap: int
    free_swap: int
    processes: int
    total_high: int
    free_high: int
    unit: int


class UtsName(NamedTuple):
    """The result of uname."""

    sysname: bytes
    nodename: bytes
    release: bytes
    version: bytes
    machine: bytes
    domain: bytes


TIMESPEC: Final = Layout(Timespec, "timespec")
TIMEVAL: Final = Layout(Timeval, "timeval")
ITIMERSPEC: Final = Layout(IntervalSpec, "itimerspec")
ITIMERVAL: Final = Layout(IntervalVal, "itimerval")
TMS: Final = Layout(Tms, "tms")
RLIMIT: Final = Layout(Rlimit, "rlimit")
POLLFD: Final = Layout(PollFd, "pollfd")
EPOLL_EVENT: Final = Layout(EpollEvent, "epoll_event")
SIGNALFD_SIGINFO: Final = Layout(SignalfdSiginfo, "signalfd_siginfo")
SET_AND_SIZE: Final = Layout(SetAndSize, "sigset_and_size")
SOCKADDR_IN: Final = Layout(SockaddrIn, "sockaddr_in")
SOCKADDR_IN6: Final = Layout(SockaddrIn6, "sockaddr_in6")
MSGHDR: Final = Layout(MsgHdr, "msghdr")
MMSGHDR: Final = Layout(MmsgHdr, "mmsghdr")
CMSGHDR: Final = Layout(CmsgHdr, "cmsghdr")
CAPABILITY_HEADER: Final = Layout(CapabilityHeader, "cap_header")
IPC_PERM: Final = Layout(IpcPermissions, "ipc64_perm")
SHMID_DS: Final = Layout(ShmIdDs, "shmid64_ds")
SEMID_DS: Final = Layout(SemIdDs, "semid64_ds")
MSQID_DS: Final = Layout(MsqIdDs, "msqid64_ds")
MQ_ATTR: Final = Layout(MqAttr, "mq_attr")
INOTIFY_EVENT: Final = Layout(InotifyEvent, "inotify_event")
SEMBUF: Final = Layout(SemBuf, "sembuf")
UCRED: Final = Layout(UCred, "ucred")
LINGER: Final = Layout(Linger, "linger")
RUSAGE: Final = Layout(Rusage, "rusage")
STAT: Final = Layout(Stat, "stat")
STATX: Final = Layout(Statx, "statx")
STATFS: Final = Layout(Statfs, "statfs")
FLOCK: Final = Layout(Flock, "flock")
DIRENT: Final = Layout(Dirent, "dirent")
OPEN_HOW: Final = Layout(OpenHow, "open_how")
SIGACTION: Final = Layout(SigAction, "sigaction")
STACK: Final = Layout(Stack, "stack")
SENT: Final = Layout(Sent, "siginfo_sent")
OF_TIMER: Final = Layout(OfTimer, "siginfo_timer")
OF_CHILD: Final = Layout(OfChild, "siginfo_child")
OF_FAULT: Final = Layout(OfFault, "siginfo_fault")
SCHED_PARAM: Final = Layout(SchedParam, "sched_param")
SIGEVENT: Final = Layout(SigEvent, "sigevent")
CLONE_ARGS: Final = Layout(CloneArgs, "clone_args")
SYSINFO: Final = Layout(SysInfo, "sysinfo")
UTSNAME: Final = Layout(UtsName, "utsname")
