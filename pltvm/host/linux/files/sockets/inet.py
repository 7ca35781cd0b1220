"""AF_INET and AF_INET6: the common part of TCP and UDP. There is only the loopback interface."""

from errno import EADDRNOTAVAIL, EINVAL, ENETUNREACH

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets.names import (
    AF_INET,
    ANY4,
    ANY6,
    LOOPBACK4,
    LOOPBACK6,
    InetName,
    Name,
    inet_name,
    is_any,
    is_loopback,
    is_v4,
)
from pltvm.host.linux.files.sockets.socket import Socket
from pltvm.host.linux.files.sockets.table import only_v6
from pltvm.host.linux.files.sockets.transport import Inside


class Inet(Inside):
    """A socket with a port."""

    def parse(self, socket: Socket, raw: bytes) -> Name:
        return inet_name(raw, socket.family)

    def bind(self, number: int, name: Name) -> None:
        assert isinstance(name, InetName)
        socket = self.sockets[number]
        if socket.local is not None:
            raise LinuxError(EINVAL)
        self._must_suit(socket, name.host, EINVAL)
        if not (is_any(name.host) or is_loopback(name.host)):
            raise LinuxError(EADDRNOTAVAIL)
        self.sockets.take_port(number, socket, name)
        socket.by_hand = bool(name.port)

    def bind_if_new(self, number: int, socket: Socket, to: bytes | None = None) -> None:
        """Give it a port, if it has none, and the address from which it reaches `to`."""
        if socket.local is None:
            self.sockets.take_port(number, socket, InetName(ANY4 if socket.family == AF_INET else ANY6, 0))
        if to is not None and isinstance(socket.local, InetName) and is_any(socket.local.host):
            socket.local = InetName(LOOPBACK4 if is_v4(to) else LOOPBACK6, socket.local.port)

    def reachable(self, socket: Socket, name: Name) -> InetName:
        """Return the destination for a name; raises LinuxError for addresses outside."""
        assert isinstance(name, InetName)
        host = name.host
        if is_any(host):
            host = LOOPBACK4 if is_v4(host) else LOOPBACK6
        self._must_suit(socket, host, ENETUNREACH)
        if not is_loopback(host):
            self.sockets.host.refuse("connect to an address outside: --net")
            raise LinuxError(ENETUNREACH)
        return InetName(host, name.port)

    def _must_suit(self, socket: Socket, host: bytes, error: int) -> None:
        """Raise LinuxError unless the socket can use this address: IPV6_V6ONLY forbids IPv4."""
        if is_v4(host) and only_v6(socket):
            raise LinuxError(error)

    @staticmethod
    def source(local: InetName, to: InetName) -> InetName:
        """Return the source address of data sent to `to`."""
        if not is_any(local.host):
            return local
        return InetName(LOOPBACK4 if is_v4(to.host) else LOOPBACK6, local.port)
