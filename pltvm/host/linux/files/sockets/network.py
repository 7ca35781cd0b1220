"""All sockets of a system, with their transports."""

from errno import EACCES, EAFNOSUPPORT, EINVAL, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from typing import TYPE_CHECKING, Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets.file import SocketFile
from pltvm.host.linux.files.sockets.names import AF_INET, AF_INET6, AF_UNIX
from pltvm.host.linux.files.sockets.socket import (
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from pltvm.host.linux.files.sockets.table import Host, Sockets
from pltvm.host.linux.files.sockets.tcp import Tcp
from pltvm.host.linux.files.sockets.transport import Transport
from pltvm.host.linux.files.sockets.udp import Udp
from pltvm.host.linux.files.sockets.unix import UnixDatagrams, UnixPackets, UnixStream
from pltvm.host.linux.open_flags import O_RDWR
from pltvm.host.linux.outside import Outside

if TYPE_CHECKING:
    from pltvm.host.linux.files.sockets.real import Real

IPPROTO_ICMP: Final = 1


def _real(sockets: Sockets, outside: Outside) -> "Real":
    from pltvm.host.linux.files.sockets.real import Real  # loads Python's own sockets, which few runs need

    return Real(sockets, outside)


class Network:
    """All sockets, and their kinds: with `outside`, new Internet sockets are real."""

    def __init__(self, host: Host, outside: Outside | None = None) -> None:
        self.sockets = Sockets(host)
        self._real = _real(self.sockets, outside) if outside is not None else None
        tcp, udp = Tcp(self.sockets), Udp(self.sockets)
        self._kinds: dict[tuple[int, int], Transport] = {
            (AF_UNIX, SOCK_STREAM): UnixStream(self.sockets),
            (AF_UNIX, SOCK_DGRAM): UnixDatagrams(self.sockets),
            (AF_UNIX, SOCK_SEQPACKET): UnixPackets(self.sockets),
            (AF_INET, SOCK_STREAM): tcp,
            (AF_INET6, SOCK_STREAM): tcp,
            (AF_INET, SOCK_DGRAM): udp,
            (AF_INET6, SOCK_DGRAM): udp,
        }

    def file(self, number: int, flags: int = O_RDWR) -> "SocketFile":
        """Make an open file for a socket."""
        if self._real is not None and number in self._real:
            return self._real.file(number, flags)
        socket = self.sockets[number]
        return SocketFile(self.sockets, self._kinds[(socket.family, socket.type)], number, flags)

    def again(self, saved: Any, flags: int) -> "SocketFile":
        """Make a saved file again; its socket may not exist yet."""
        number, family, kind = saved
        return SocketFile(self.sockets, self._kinds[(family, kind)], number, flags)

    def new(self, family: int, kind: int, protocol: int, flags: int) -> "SocketFile":
        """Make a socket; raises LinuxError for kinds that are not offered."""
        kind, protocol = self._kind(family, kind, protocol)
        new = self.sockets.new if self._real is None or family == AF_UNIX else self._real.new
        return self.file(new(family, kind, protocol), O_RDWR | flags)

    def _kind(self, family: int, kind: int, protocol: int) -> tuple[int, int]:
        """Return type and protocol in the form that is stored."""
        if not 0 <= kind <= 10 or protocol < 0:
            raise LinuxError(EINVAL)
        if family == AF_UNIX:
            if protocol not in (0, AF_UNIX):
                raise LinuxError(EPROTONOSUPPORT)
            kind = SOCK_DGRAM if kind == SOCK_RAW else kind
            if (family, kind) not in self._kinds:
                raise LinuxError(ESOCKTNOSUPPORT)
            return kind, 0
        if family not in (AF_INET, AF_INET6):
            raise LinuxError(EAFNOSUPPORT)
        if kind == SOCK_RAW:
            raise LinuxError(EPERM)
        if (family, kind) not in self._kinds:
            raise LinuxError(ESOCKTNOSUPPORT)
        usual = IPPROTO_TCP if kind == SOCK_STREAM else IPPROTO_UDP
        if protocol not in (0, usual):
            raise LinuxError(EACCES if kind == SOCK_DGRAM and protocol == IPPROTO_ICMP else EPROTONOSUPPORT)
        return kind, usual

    def pair(self, family: int, kind: int, protocol: int, flags: int) -> "tuple[SocketFile, SocketFile]":
        """Make two connected sockets; raises LinuxError."""
        kind, protocol = self._kind(family, kind, protocol)
        if family != AF_UNIX:
            raise LinuxError(EOPNOTSUPP)
        one = self.sockets.new(family, kind, protocol)
        try:
            other = self.sockets.new(family, kind, protocol)
        except LinuxError:
            self.sockets.forget(one)
            raise
        files = self.file(one, O_RDWR | flags), self.file(other, O_RDWR | flags)
        for number in (one, other):
            self.sockets[number].owner = self.sockets.host.credentials()
        transport = files[0].transport
        assert isinstance(transport, UnixStream | UnixPackets | UnixDatagrams)
        transport.pair(one, other)
        return files
