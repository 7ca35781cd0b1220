"""Sockets: making, naming and connecting them, options."""

from errno import EBADF, EINVAL, ENOTSOCK
from typing import Annotated, Final

from pltvm.host.linux.arguments import Address, Choice, Data, FileOf, Flags, Int
from pltvm.host.linux.calls.files import add_all
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets import names
from pltvm.host.linux.files.sockets.file import SocketFile
from pltvm.host.linux.files.sockets.names import AF_UNSPEC, Name, UnixName
from pltvm.host.linux.files.sockets.options import LARGEST
from pltvm.host.linux.files.sockets.unix import Unix, UnixConnected, UnixDatagrams
from pltvm.host.linux.fs import socket_nodes
from pltvm.host.linux.open_flags import O_CLOEXEC, O_NONBLOCK, O_PATH, O_RDWR
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_FLAGS: Final = {"SOCK_NONBLOCK": O_NONBLOCK, "SOCK_CLOEXEC": O_CLOEXEC}
_FAMILIES: Final = {
    "AF_UNSPEC": 0, "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17,
    "AF_VSOCK": 40,
}  # fmt: skip
_LEVELS: Final = {"SOL_IP": 0, "SOL_SOCKET": 1, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41}
_TYPES: Final = 0xF


class _SocketOf(FileOf):
    """A descriptor of a socket; raises LinuxError(ENOTSOCK) for others."""

    def decode(self, thread: Thread, value: int) -> SocketFile:
        file = super().decode(thread, value)
        if file.flags & O_PATH:
            raise LinuxError(EBADF)
        if not isinstance(file, SocketFile):
            raise LinuxError(ENOTSOCK)
        return file


class _AddressAt(Data):
    """A pointer to a socket's address; the next argument is its length."""

    @staticmethod
    def show_bytes(thread: Thread, value: int, size: int) -> str:
        return names.shown(thread.space.read(value, min(size, names.LONGEST))) if value else "NULL"


class _SocketType(Flags):
    """A type, with flags."""

    _NAMES: Final = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}

    def __init__(self) -> None:
        super().__init__(_FLAGS, others=_TYPES)

    def show(self, thread: Thread, value: int) -> str:
        kind = self._NAMES.get(value & _TYPES, str(value & _TYPES))
        flags = super().show(thread, value & ~_TYPES) if value & 0xFFFF_FFFF & ~_TYPES else ""
        return kind + (f"|{flags}" if flags else "")


SocketFd = Annotated[SocketFile, _SocketOf()]
NameAt = Annotated[int, _AddressAt()]
SocketFamily = Annotated[int, Choice(_FAMILIES, others=True)]
SocketType = Annotated[int, _SocketType()]
Level = Annotated[int, Choice(_LEVELS, others=True)]
AcceptFlags = Annotated[int, Flags(_FLAGS)]


def read_address(thread: Thread, address: int, size: int) -> bytes:
    """Read an address from memory; raises LinuxError."""
    if not 0 <= size <= names.LONGEST:
        raise LinuxError(EINVAL)
    return thread.space.read(address, size)


def write_address(thread: Thread, address: int, size_at: int, raw: bytes) -> None:
    """Write an address, as far as there is room for it, and its length; raises LinuxError."""
    room = int.from_bytes(thread.space.read(size_at, 4), "little", signed=True)
    if room < 0:
        raise LinuxError(EINVAL)
    thread.space.write(address, raw[:room])
    thread.space.write(size_at, len(raw).to_bytes(4, "little"))


def node_of(system: System, thread: Thread, name: Name) -> int:
    """Return the inode of a name, 0 if it is no path; raises LinuxError."""
    if isinstance(name, UnixName) and name.path and not name.path.startswith(b"\0"):
        return socket_nodes.find(system.fs, thread.process.folder, name.path)
    return 0


@system_call(198)
def socket(system: System, thread: Thread, family: SocketFamily, kind: SocketType, protocol: Int) -> int:
    """Make a socket without a name."""
    thread.process.free_descriptor()
    if family not in (names.AF_UNIX, names.AF_INET, names.AF_INET6) and family >= 0:
        system.refuse(f"sockets of family {family}")
    file = system.network.new(family, kind & _TYPES, protocol, kind & O_NONBLOCK)
    return thread.process.add(system.add_file(file), bool(kind & O_CLOEXEC))


@system_call(199)
def socketpair(
    system: System, thread: Thread, family: SocketFamily, kind: SocketType, protocol: Int, result: Address
) -> int:
    """Make two connected sockets."""
    thread.space.write(result, bytes(8))  # fails before anything is made
    files = system.network.pair(family, kind & _TYPES, protocol, kind & O_NONBLOCK)
    numbers = add_all(system, thread.process, files, bool(kind & O_CLOEXEC))
    thread.space.write(result, b"".join(number.to_bytes(4, "little") for number in numbers))
    return 0


@system_call(200)
def bind(system: System, thread: Thread, file: SocketFd, address: NameAt, size: Int) -> int:
    """Give a socket a name."""
    transport = file.transport
    name = transport.parse(file.contents, read_address(thread, address, size))
    if not isinstance(transport, Unix):
        transport.bind(file.socket, name)
        return 0
    assert isinstance(name, UnixName)
    node = 0
    if name.path and not name.path.startswith(b"\0"):
        if file.contents.local is not None and file.contents.local != name:
            raise LinuxError(EINVAL)
        node = socket_nodes.make(
            system.fs, thread.process.folder, name.path, 0o777 & ~thread.process.state.umask
        )
    transport.bind(file.socket, name, node)
    return 0


@system_call(201)
def listen(system: System, thread: Thread, file: SocketFd, backlog: Int) -> int:
    """Let a socket accept connections."""
    file.transport.listen(file.socket, backlog)
    return 0


@system_call(202)
def accept(system: System, thread: Thread, file: SocketFd, address: Address, size: Address) -> int:
    """Accept the next connection."""
    return _accept(system, thread, file, address, size, 0)


@system_call(242)
def accept4(
    system: System, thread: Thread, file: SocketFd, address: Address, size: Address, flags: AcceptFlags
) -> int:
    """Like `accept`, with flags."""
    return _accept(system, thread, file, address, size, flags)


def _accept(system: System, thread: Thread, file: SocketFile, address: int, size: int, flags: int) -> int:
    thread.process.free_descriptor()
    number = file.transport.accept(file.socket, bool(file.flags & O_NONBLOCK))
    taken = system.network.file(number, O_RDWR | flags & O_NONBLOCK)
    descriptor = thread.process.add(system.add_file(taken), bool(flags & O_CLOEXEC))
    if address:
        try:
            socket = taken.contents
            write_address(thread, address, size, names.packed(socket.remote, socket.family))
        except LinuxError:
            system.close(thread.process, descriptor)
            raise
    return descriptor


@system_call(203)
def connect(system: System, thread: Thread, file: SocketFd, address: NameAt, size: Int) -> int:
    """Connect a socket."""
    raw = read_address(thread, address, size)
    if names.family_of(raw) == AF_UNSPEC:
        file.transport.disconnect(file.socket)
        return 0
    transport, at_once = file.transport, bool(file.flags & O_NONBLOCK)
    name = transport.parse(file.contents, raw)
    if isinstance(transport, UnixConnected | UnixDatagrams):
        transport.connect(file.socket, name, at_once, node_of(system, thread, name))
    else:
        transport.connect(file.socket, name, at_once)
    return 0


@system_call(204)
def getsockname(system: System, thread: Thread, file: SocketFd, address: Address, size: Address) -> int:
    """Get the name of a socket."""
    write_address(thread, address, size, file.local_name())
    return 0


@system_call(205)
def getpeername(system: System, thread: Thread, file: SocketFd, address: Address, size: Address) -> int:
    """Get the name of a socket's peer."""
    write_address(thread, address, size, file.remote_name())
    return 0


@system_call(210)
def shutdown(system: System, thread: Thread, file: SocketFd, how: Int) -> int:
    """End receiving, sending, or both."""
    file.transport.shutdown(file.socket, how)
    return 0


@system_call(208)
def setsockopt(
    system: System, thread: Thread, file: SocketFd, level: Level, number: Int, value: Address, size: Int
) -> int:
    """Set an option."""
    if size < 0:
        raise LinuxError(EINVAL)
    file.set_option(level, number, thread.space.read(value, min(size, LARGEST)))
    return 0


@system_call(209)
def getsockopt(
    system: System,
    thread: Thread,
    file: SocketFd,
    level: Level,
    number: Int,
    value: Address,
    size_at: Address,
) -> int:
    """Get an option."""
    size = int.from_bytes(thread.space.read(size_at, 4), "little", signed=True)
    if size < 0:
        raise LinuxError(EINVAL)
    raw = file.get_option(level, number)[:size]
    thread.space.write(value, raw)
    thread.space.write(size_at, len(raw).to_bytes(4, "little"))
    return 0
