"""UDP over the loopback interface. Datagrams without a receiver are lost; connected senders get an error."""

from errno import EACCES, ECONNREFUSED, EINVAL, EMSGSIZE, ENETUNREACH, ENOTCONN, EPIPE
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import POLLWRBAND, WRITABLE
from pltvm.host.linux.files.sockets.inet import Inet
from pltvm.host.linux.files.sockets.names import (
    AF_INET,
    ANY4,
    ANY6,
    InetName,
    Name,
    is_broadcast,
    is_multicast,
)
from pltvm.host.linux.files.sockets.socket import (
    BUFFER,
    SO_BROADCAST,
    SO_RCVBUF,
    SO_REUSEPORT,
    Message,
    Outgoing,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.table import covers
from pltvm.host.linux.files.sockets.transport import MESSAGE

LARGEST: Final = 65507  # bytes of a datagram


class Udp(Inet):
    """Internet datagrams."""

    out = WRITABLE | POLLWRBAND

    def connect(self, number: int, name: Name, at_once: bool) -> None:
        socket = self.sockets[number]
        to = self._way(socket, name)
        self.bind_if_new(number, socket, to.host)
        socket.remote, socket.state = to, State.CONNECTED

    def disconnect(self, number: int) -> None:
        socket = self.sockets[number]
        socket.remote, socket.state = None, State.NEW
        if isinstance(socket.local, InetName):
            if not socket.by_hand:
                self.sockets.release_port(number, socket)
            else:
                any_host = ANY4 if socket.family == AF_INET else ANY6
                socket.local = InetName(any_host, socket.local.port)

    def _way(self, socket: Socket, name: Name) -> InetName:
        assert isinstance(name, InetName)
        if is_broadcast(name.host) and not socket.option(SO_BROADCAST):
            raise LinuxError(EACCES)
        if is_broadcast(name.host) or is_multicast(name.host):
            raise LinuxError(ENETUNREACH)
        return self.reachable(socket, name)

    def must_receive(self, socket: Socket) -> None:
        pass

    def has_room(self, number: int, socket: Socket) -> bool:
        return True

    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        sockets = self.sockets
        socket = sockets[number]
        size = len(message.data)
        if size > LARGEST:
            raise LinuxError(EMSGSIZE)
        if message.to is not None:
            assert isinstance(message.to, InetName)
            if not message.to.port:
                raise LinuxError(EINVAL)
            to = self._way(socket, message.to)
        else:
            self.must_have_peer(socket)
            assert isinstance(socket.remote, InetName)
            to = socket.remote
        if socket.ends_out:
            raise LinuxError(EPIPE)
        self._raise_error(socket)
        self.bind_if_new(number, socket)
        assert isinstance(socket.local, InetName)
        own = Inet.source(socket.local, to)
        found = self._receiver(own, to, socket.protocol)
        if found is None:
            if socket.state == State.CONNECTED:
                socket.error = ECONNREFUSED
                sockets.wake(number, "in", "out")
            return size
        receiver = sockets[found]
        if receiver.queued + size + MESSAGE <= receiver.option(SO_RCVBUF, BUFFER) and not receiver.ends_in:
            sockets.put(found, Message(bytearray(message.data), own, cost=size + MESSAGE))
        return size

    def _receiver(self, source: InetName, to: InetName, protocol: int) -> int | None:
        """Return the receiver: the socket with the most specific binding and connection, the latest of
        several."""
        best, found = -1, list[int]()
        for number in self.sockets.on_port(protocol, to.port):
            socket = self.sockets[number]
            assert isinstance(socket.local, InetName)
            if not covers(socket, socket.local, to.host):
                continue
            if socket.state == State.CONNECTED and socket.remote != source:
                continue
            score = 2 * (socket.state == State.CONNECTED) + (socket.local.host == to.host)
            if score > best:
                best, found = score, []
            if score == best:
                found.append(number)
        if not found:
            return None
        shared = [number for number in found if self.sockets[number].option(SO_REUSEPORT)]
        return shared[source.port % len(shared)] if len(shared) == len(found) else found[-1]

    def shut(self, number: int, socket: Socket, how: int) -> None:
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)

    def close(self, number: int) -> None:
        self.sockets.forget(number)
