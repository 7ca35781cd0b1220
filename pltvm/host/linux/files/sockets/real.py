"""Sockets of the network outside (`--net`): each is a non-blocking socket of this process.

The program's calls are passed to the operating system, and its results to the program. A call that would wait
raises Blocked with the keys that every socket has; `outside` wakes them. Only timeouts (SO_RCVTIMEO,
SO_SNDTIMEO) are stored here.
"""

import ctypes
import fcntl
import socket as real
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EAGAIN, EALREADY, EINPROGRESS, EIO
from typing import Any, Final, NoReturn

from pltvm.errors import SnapshotError
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import FIONREAD, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, READABLE, WRITABLE
from pltvm.host.linux.files.sockets.file import SIOCATMARK, TIOCOUTQ, SocketFile
from pltvm.host.linux.files.sockets.names import AF_INET, MAPPED, InetName, Name, inet_name, packed
from pltvm.host.linux.files.sockets.socket import (
    SO_LINGER,
    SO_RCVBUF,
    SO_RCVTIMEO,
    SO_SNDBUF,
    SO_SNDTIMEO,
    SOL_SOCKET,
    Outgoing,
    Received,
    Socket,
)
from pltvm.host.linux.files.sockets.table import Sockets
from pltvm.host.linux.files.sockets.transport import Transport
from pltvm.host.linux.outside import Outside, events_of

_POLLED: Final = READABLE | WRITABLE | POLLIN | POLLOUT | POLLPRI | POLLRDHUP
_LARGEST_DATAGRAM: Final = 1 << 16
_LARGEST_PART: Final = 1 << 20  # bytes of a stream received at once
_SCOPE_AT: Final = 24  # in a sockaddr_in6
_PEEK: Final = 2
_LARGEST_OPTION: Final = 256  # bytes
# By level: options passed on with the same number. None of their values contains a memory address.
_PASSED: Final[dict[int, frozenset[int]]] = {
    SOL_SOCKET: frozenset(
        # REUSEADDR, ERROR, DONTROUTE, BROADCAST, KEEPALIVE, OOBINLINE, PRIORITY, REUSEPORT, RCVLOWAT,
        # BINDTODEVICE, PEERNAME, ACCEPTCONN, MARK, INCOMING_CPU, …
        {2, 4, 5, 6, SO_SNDBUF, SO_RCVBUF, 9, 10, 12, SO_LINGER, 15, 18, 25, 28, 30, 36, 46, 49}
    ),
    # TOS, TTL, MTU_DISCOVER, MTU, FREEBIND, BIND_ADDRESS_NO_PORT, MULTICAST_*, *_MEMBERSHIP
    real.IPPROTO_IP: frozenset({1, 2, 10, 14, 15, 24, 32, 33, 34, 35, 36, 49}),
    # NODELAY, MAXSEG, CORK, KEEP*, SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP, INFO, QUICKACK, CONGESTION,
    # USER_TIMEOUT, FASTOPEN, NOTSENT_LOWAT
    real.IPPROTO_TCP: frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 18, 23, 25}),
    real.IPPROTO_UDP: frozenset({1}),
    # UNICAST_HOPS, MULTICAST_*, *_MEMBERSHIP, MTU_DISCOVER, MTU, V6ONLY, DONTFRAG, TCLASS
    real.IPPROTO_IPV6: frozenset({16, 17, 18, 19, 20, 21, 23, 24, 26, 62, 67}),
}
_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def _answering() -> Iterator[None]:
    """Turn errors of the operating system into errors for the program."""
    try:
        yield
    except OSError as error:
        raise LinuxError(error.errno or EIO) from None


class Real(Transport):
    """Internet streams and datagrams, by the number of the socket."""

    def __init__(self, sockets: Sockets, outside: Outside) -> None:
        super().__init__(sockets)
        self._outside = outside
        self._open: dict[int, real.socket] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def file(self, number: int, flags: int) -> "RealSocketFile":
        """Make an open file for a socket."""
        return RealSocketFile(self.sockets, self, number, flags)

    def new(self, family: int, kind: int, protocol: int) -> int:
        """Make a socket; return its number. Raises LinuxError."""
        with _answering():
            opened = real.socket(family, kind, protocol)
        return self._add(opened, family, kind, protocol)

    def _add(self, opened: real.socket, family: int, kind: int, protocol: int) -> int:
        try:
            number = self.sockets.new(family, kind, protocol)
        except LinuxError:
            opened.close()
            raise
        opened.setblocking(False)
        self._open[number] = opened
        self._outside.add(opened.fileno(), ("socket", number, "in"), ("socket", number, "out"))
        return number

    def close(self, number: int) -> None:
        opened = self._open.pop(number)
        self._outside.remove(opened.fileno())
        self.sockets.forget(number)
        with _answering():
            opened.close()

    # -- names -------------------------------------------------------------------------------------------

    def parse(self, socket: Socket, raw: bytes) -> Name:
        name = inet_name(raw, socket.family)
        if socket.family == AF_INET:
            return name
        return name._replace(scope=int.from_bytes(raw[_SCOPE_AT:][:4], "little"))

    def local(self, number: int) -> InetName:
        """Return the name of a socket."""
        with _answering():
            return _name(self._open[number].getsockname())

    def remote(self, number: int) -> InetName:
        """Return the name of its peer; raises LinuxError(ENOTCONN)."""
        with _answering():
            return _name(self._open[number].getpeername())

    def bind(self, number: int, name: Name) -> None:
        with _answering():
            self._open[number].bind(_address(self.sockets[number], name))

    # -- connections -------------------------------------------------------------------------------------

    def connect(self, number: int, name: Name, at_once: bool) -> None:
        socket, opened = self.sockets[number], self._open[number]
        with _answering():
            error = opened.connect_ex(_address(socket, name))
        if error in (EINPROGRESS, EALREADY) and not at_once:
            self.sockets.block(socket, ("socket", number, "out"), SO_SNDTIMEO, False, EINPROGRESS)
        if error:
            raise LinuxError(error)

    def disconnect(self, number: int) -> None:
        """Disconnect through the C library, as Python's `connect` takes no address without a family."""
        if _libc.connect(self._open[number].fileno(), bytes(16), 16):
            raise LinuxError(ctypes.get_errno())

    def listen(self, number: int, backlog: int) -> None:
        with _answering():
            self._open[number].listen(backlog)

    def accept(self, number: int, at_once: bool) -> int:
        socket = self.sockets[number]
        try:
            with _answering():
                opened, address = self._open[number].accept()
        except LinuxError as error:
            self._wait(socket, number, "in", SO_RCVTIMEO, at_once, error)
        taken = self._add(opened, socket.family, socket.type, socket.protocol)
        self.sockets[taken].remote = _name(address)
        return taken

    # -- bytes -------------------------------------------------------------------------------------------

    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        socket, opened = self.sockets[number], self._open[number]
        try:
            with _answering():
                if message.to is None:
                    return opened.send(message.data, real.MSG_NOSIGNAL)
                return opened.sendto(message.data, real.MSG_NOSIGNAL, _address(socket, message.to))
        except LinuxError as error:
            self._wait(socket, number, "out", SO_SNDTIMEO, at_once, error)

    def receive(self, number: int, size: int, at_once: bool, peek: bool = False) -> Received:
        socket, opened = self.sockets[number], self._open[number]
        flags = _PEEK if peek else 0
        try:
            with _answering():
                if socket.is_stream:
                    data = opened.recv(min(size, _LARGEST_PART), flags)
                    return Received(data, len(data))
                data, source = opened.recvfrom(_LARGEST_DATAGRAM, flags)
        except LinuxError as error:
            self._wait(socket, number, "in", SO_RCVTIMEO, at_once, error)
        return Received(data[:size], len(data), _name(source) if source is not None else None)

    def _wait(
        self, socket: Socket, number: int, what: str, option: int, at_once: bool, error: LinuxError
    ) -> NoReturn:
        """Raise Blocked for a call that could not be done at once, or the error of another failure."""
        if error.number != EAGAIN:
            raise error
        self.sockets.block(socket, ("socket", number, what), option, at_once)

    def shutdown(self, number: int, how: int) -> None:
        with _answering():
            self._open[number].shutdown(how)
        self.sockets.wake(number, "in", "out")

    def events(self, number: int) -> int:
        return events_of(self._open[number].fileno(), _POLLED)

    # -- options -----------------------------------------------------------------------------------------

    def passes(self, level: int, number: int) -> bool:
        """Whether an option is passed to the operating system; others are only stored."""
        return number in _PASSED.get(level, ())

    def set_option(self, number: int, level: int, option: int, raw: bytes) -> None:
        """setsockopt; raises LinuxError."""
        with _answering():
            self._open[number].setsockopt(level, option, raw)

    def get_option(self, number: int, level: int, option: int) -> bytes:
        """getsockopt; raises LinuxError."""
        with _answering():
            return self._open[number].getsockopt(level, option, _LARGEST_OPTION)

    def request(self, number: int, request: int) -> bytes:
        """Do an ioctl whose result is a number."""
        with _answering():
            return fcntl.ioctl(self._open[number], request, bytes(4))


def _address(socket: Socket, name: Name) -> tuple[Any, ...]:
    """Return an address of the socket's family in Python's form."""
    assert isinstance(name, InetName)
    if socket.family == AF_INET:
        return real.inet_ntoa(name.host[12:]), name.port
    return real.inet_ntop(real.AF_INET6, name.host), name.port, 0, name.scope


def _name(address: tuple[Any, ...]) -> InetName:
    host, port, *more = address
    if not more:
        return InetName(MAPPED + real.inet_aton(host), port)
    return InetName(real.inet_pton(real.AF_INET6, host), port, more[1])


class RealSocketFile(SocketFile):
    """The open file of a socket of the network outside."""

    transport: Real

    def local_name(self) -> bytes:
        return packed(self.transport.local(self.socket), self.contents.family)

    def remote_name(self) -> bytes:
        return packed(self.transport.remote(self.socket), self.contents.family)

    def set_option(self, level: int, number: int, raw: bytes) -> None:
        if self.transport.passes(level, number):
            self.transport.set_option(self.socket, level, number, raw)
        else:
            super().set_option(level, number, raw)

    def get_option(self, level: int, number: int) -> bytes:
        if self.transport.passes(level, number):
            return self.transport.get_option(self.socket, level, number)
        return super().get_option(level, number)

    def request(self, request: int, argument: int) -> bytes:
        if request in (FIONREAD, TIOCOUTQ, SIOCATMARK):
            return self.transport.request(self.socket, request)
        return super().request(request, argument)

    def save(self) -> Any:
        raise SnapshotError("a socket of the network outside (--net) is open, which cannot be saved")
