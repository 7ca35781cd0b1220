"""The open file of a socket."""

import stat
from errno import EINVAL, ENOTCONN
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import FIONREAD, WRITABLE, File, Status
from pltvm.host.linux.files.sockets import options
from pltvm.host.linux.files.sockets.names import AF_UNIX, packed
from pltvm.host.linux.files.sockets.socket import SOCK_DGRAM, Outgoing, Socket, State
from pltvm.host.linux.files.sockets.table import Sockets
from pltvm.host.linux.files.sockets.transport import Transport
from pltvm.host.linux.open_flags import O_NONBLOCK
from pltvm.host.linux.waits import Key

TIOCOUTQ, SIOCATMARK, SIOCGIFCONF = 0x5411, 0x8905, 0x8912
_INODES: Final = 1 << 33


class SocketFile(File):
    """A socket by its number."""

    kind = "socket"
    mode = stat.S_IFSOCK | 0o777

    def __init__(self, sockets: Sockets, transport: Transport, socket: int, flags: int) -> None:
        super().__init__(flags)
        self.sockets = sockets
        self.transport = transport
        self.socket = socket

    @property
    def contents(self) -> Socket:
        """The socket itself."""
        return self.sockets[self.socket]

    @property
    def warns(self) -> bool:  # type: ignore[override]
        """Whether writing to a broken connection sends a signal: only for streams."""
        return self.contents.is_stream

    def read(self, size: int) -> bytes:
        received = self.transport.receive(self.socket, size, bool(self.flags & O_NONBLOCK))
        if received.files:
            self.sockets.landed(received.files)
        return received.data

    def write(self, data: bytes) -> int:
        return self.transport.send(self.socket, Outgoing(data), bool(self.flags & O_NONBLOCK))

    def events(self) -> int:
        return self.transport.events(self.socket)

    def keys(self) -> tuple[Key, ...]:
        both: tuple[Key, ...] = ("socket", self.socket, "in"), ("socket", self.socket, "out")
        socket = self.contents
        if socket.type == SOCK_DGRAM and socket.peer:
            return (*both, ("socket", socket.peer, "room"))
        return both

    def keys_for(self, events: int) -> tuple[Key, ...]:
        return self.keys() if events & WRITABLE else self.keys()[:1]

    def status(self) -> Status:
        return Status(self.mode, inode=_INODES + self.socket)

    def local_name(self) -> bytes:
        """Return its name in memory layout; raises LinuxError."""
        return packed(self.contents.local, self.contents.family)

    def remote_name(self) -> bytes:
        """Return its peer's name in memory layout; raises LinuxError(ENOTCONN)."""
        socket = self.contents
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)
        peer, name = self.sockets.get(socket.peer), socket.remote
        return packed(name if peer is None or name is not None else peer.local, socket.family)

    def set_option(self, level: int, number: int, raw: bytes) -> None:
        """Do setsockopt; raises LinuxError."""
        options.set_option(self.contents, level, number, raw)

    def get_option(self, level: int, number: int) -> bytes:
        """Do getsockopt; return the whole value. Raises LinuxError."""
        return options.get_option(self.contents, level, number)

    def name(self) -> bytes:
        return b"socket:[%d]" % (_INODES + self.socket)

    def request(self, request: int, argument: int) -> bytes:
        socket = self.contents
        if request == FIONREAD:
            if socket.state == State.LISTENING:
                raise LinuxError(EINVAL)
            if socket.type == SOCK_DGRAM:
                waiting = len(socket.queue[0].data) if socket.queue else 0
            else:
                waiting = sum(len(message.data) for message in socket.queue)
            return waiting.to_bytes(4, "little")
        if request == TIOCOUTQ:
            peer = self.sockets.get(socket.peer) if socket.family == AF_UNIX else None
            return (peer.queued if peer is not None else 0).to_bytes(4, "little")
        if request in (SIOCATMARK, SIOCGIFCONF):  # no urgent data, no interfaces to tell of
            return bytes(4)
        return super().request(request, argument)

    def close(self) -> None:
        self.transport.close(self.socket)

    def save(self) -> Any:
        socket = self.contents
        return self.socket, socket.family, socket.type
