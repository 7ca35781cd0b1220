"""AF_UNIX: streams, packets in sequence and datagrams."""

from errno import (
    EADDRINUSE,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTOTYPE,
)
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import POLLWRBAND, WRITABLE
from pltvm.host.linux.files.sockets.names import Name, UnixName, unix_name
from pltvm.host.linux.files.sockets.socket import (
    SO_PASSCRED,
    SO_SNDTIMEO,
    Message,
    Outgoing,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.stream import Connected
from pltvm.host.linux.files.sockets.transport import MESSAGE, Inside

MOST_WAITING: Final = 10  # datagrams in a socket, before those who are not its peer wait
_OVERHEAD: Final = 32


class Unix(Inside):
    """The common part of all three: names. Callers turn paths into inodes."""

    out = WRITABLE | POLLWRBAND

    def parse(self, socket: Socket, raw: bytes) -> Name:
        return unix_name(raw)

    def bind(self, number: int, name: Name, node: int = 0) -> None:
        """Bind to an abstract name, a generated one, or a path with its inode."""
        assert isinstance(name, UnixName)
        state, socket = self.sockets.state, self.sockets[number]
        if socket.local is not None:
            raise LinuxError(EINVAL)
        if node:
            state.nodes[node] = number
            socket.node = node
        else:
            name = name if name.path else self._made_up()
            if name.path in state.names:
                raise LinuxError(EADDRINUSE)
            state.names[name.path] = number
        socket.local = name

    def _made_up(self) -> UnixName:
        state = self.sockets.state
        while True:
            state.next_name = (state.next_name + 1) & 0xF_FFFF
            path = b"\0%05x" % state.next_name
            if path not in state.names:
                return UnixName(path)

    def bind_if_seen(self, number: int, socket: Socket) -> None:
        """Give a name to a socket that wants credentials."""
        if socket.option(SO_PASSCRED) and socket.local is None:
            self.bind(number, UnixName(b""))

    def find(self, socket: Socket, name: UnixName, node: int) -> int:
        """Return the socket of the same kind with a name, or with a path by its inode; raises LinuxError."""
        state = self.sockets.state
        if not name.path:
            raise LinuxError(EINVAL)
        found = state.nodes.get(node, 0) if node else state.names.get(name.path, 0)
        other = self.sockets.get(found)
        if other is None:
            raise LinuxError(ECONNREFUSED)
        if other.type != socket.type:
            raise LinuxError(EPROTOTYPE)
        return found


class UnixConnected(Unix, Connected):
    """Streams and sequenced packets."""

    def connect(self, number: int, name: Name, at_once: bool, node: int = 0) -> None:
        assert isinstance(name, UnixName)
        sockets = self.sockets
        socket = sockets[number]
        if socket.state == State.LISTENING:
            raise LinuxError(EINVAL)
        found = self.find(socket, name, node)
        listener = sockets[found]
        if listener.state != State.LISTENING or listener.ends_in:
            raise LinuxError(ECONNREFUSED)
        if socket.state == State.CONNECTED:
            raise LinuxError(EISCONN)
        if self.is_full(listener):
            sockets.block(socket, ("socket", found, "room"), SO_SNDTIMEO, at_once)
        self.bind_if_seen(number, socket)
        self.join(number, found, listener.local)

    def listen(self, number: int, backlog: int) -> None:
        if self.sockets[number].local is None:
            raise LinuxError(EINVAL)
        super().listen(number, backlog)

    def disconnect(self, number: int) -> None:
        raise LinuxError(EINVAL)

    def leave(self, number: int, socket: Socket, abruptly: bool = False) -> None:
        peer = self.sockets.get(socket.peer)
        if peer is None or socket.state != State.CONNECTED:
            return
        peer.ends_in = peer.ends_out = True
        if socket.queue or abruptly:
            peer.error = ECONNRESET
        self.sockets.wake(socket.peer, "in", "out")

    def _peer_of(self, socket: Socket) -> Socket:
        """Return the receiving peer; raises LinuxError(EPIPE)."""
        self.must_send(socket)
        peer = self.sockets.get(socket.peer)
        if peer is None or peer.ends_in:
            raise LinuxError(EPIPE)
        return peer


class UnixStream(UnixConnected):
    """Byte streams."""

    def must_receive(self, socket: Socket) -> None:
        if socket.state != State.CONNECTED:
            raise LinuxError(EINVAL)

    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        socket = self.sockets.state.sockets[number]
        if message.to is not None:
            raise LinuxError(EISCONN if socket.state == State.CONNECTED else EOPNOTSUPP)
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)
        self._peer_of(socket)
        return self.send_bytes(number, socket, message, at_once)


class UnixPackets(UnixConnected):
    """Sequenced packets."""

    def must_receive(self, socket: Socket) -> None:
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)

    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        sockets = self.sockets
        socket = sockets[number]
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)
        size = _must_fit(socket, message.data)
        peer = self._peer_of(socket)
        if peer.queue and peer.queued + size + MESSAGE > socket.most_out:
            sockets.block(socket, ("socket", number, "out"), SO_SNDTIMEO, at_once)
        sockets.put(socket.peer, _packet(self, socket, peer, message))
        return size


class UnixDatagrams(Unix):
    """Datagrams."""

    def must_receive(self, socket: Socket) -> None:
        pass

    def connect(self, number: int, name: Name, at_once: bool, node: int = 0) -> None:
        assert isinstance(name, UnixName)
        socket = self.sockets[number]
        found = self.find(socket, name, node)
        self._must_be_open(number, self.sockets[found])
        self.bind_if_seen(number, socket)
        socket.peer, socket.remote, socket.state = found, name, State.CONNECTED
        self.sockets.wake(number, "out")

    def pair(self, one: int, other: int) -> None:
        """Make two sockets each other's peer."""
        for number, peer in ((one, other), (other, one)):
            socket = self.sockets[number]
            socket.peer, socket.state = peer, State.CONNECTED
            socket.owner = socket.peer_owner = self.sockets.host.credentials()

    def disconnect(self, number: int) -> None:
        socket = self.sockets[number]
        socket.peer, socket.remote, socket.state = 0, None, State.NEW
        socket.queue, queue = type(socket.queue)(), socket.queue
        self.sockets.took(socket, socket.queued)
        for message in queue:
            if message.files:
                self.sockets.landed(message.files)

    def _must_be_open(self, number: int, other: Socket) -> None:
        if other.peer not in (0, number):
            raise LinuxError(EPERM)

    def send(self, number: int, message: Outgoing, at_once: bool, node: int = 0) -> int:
        sockets = self.sockets
        socket = sockets[number]
        self.bind_if_seen(number, socket)
        size = _must_fit(socket, message.data)
        if message.to is not None:
            assert isinstance(message.to, UnixName)
            found = self.find(socket, message.to, node)
        elif socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)
        else:
            found = socket.peer
        other = sockets.get(found)
        if other is None:
            self.disconnect(number)
            raise LinuxError(ECONNREFUSED)
        self._must_be_open(number, other)
        if socket.ends_out or other.ends_in:
            raise LinuxError(EPIPE)
        if self._is_full(number, socket, other, size):
            sockets.block(socket, ("socket", found, "room"), SO_SNDTIMEO, at_once)
        sockets.put(found, _packet(self, socket, other, message))
        return size

    def _is_full(self, number: int, socket: Socket, other: Socket, size: int) -> bool:
        if other.peer != number and len(other.queue) > MOST_WAITING:
            return True
        return bool(other.queue) and other.queued + size + MESSAGE > socket.most_out

    def has_room(self, number: int, socket: Socket) -> bool:
        other = self.sockets.get(socket.peer)
        if other is None:
            return True
        if other.peer != number:
            return len(other.queue) <= MOST_WAITING
        return other.queued * 4 <= socket.most_out

    def shut(self, number: int, socket: Socket, how: int) -> None:
        pass

    def close(self, number: int) -> None:
        peer = self.sockets[number].peer
        self.sockets.forget(number)
        self.sockets.wake(number, "room")
        if peer:
            self.sockets.wake(peer, "out")


def _must_fit(socket: Socket, data: bytes) -> int:
    if len(data) > socket.most_out - _OVERHEAD:
        raise LinuxError(EMSGSIZE)
    return len(data)


def _packet(transport: Unix, socket: Socket, to: Socket, message: Outgoing) -> Message:
    sender = message.sender or transport.sockets.sender(socket, to)
    cost = len(message.data) + MESSAGE
    return Message(bytearray(message.data), socket.local, message.files, sender, cost)
