"""All sockets by number, with their names: shared by the kinds of sockets.

Keys: ("socket", n, "in") is woken when there is something to receive or to accept; "out" when there may be
room to send; "room" when a message was received from n, for sockets that send to it.
"""

from dataclasses import dataclass, field
from errno import EADDRINUSE, EAGAIN, ENFILE, ENOBUFS, ETOOMANYREFS
from typing import Final, NoReturn, Protocol

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets.names import InetName, UnixName, is_any, is_v4
from pltvm.host.linux.files.sockets.socket import (
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_PASSCRED,
    SO_REUSEADDR,
    SO_REUSEPORT,
    UNTOLD,
    Credentials,
    Message,
    Socket,
    State,
)
from pltvm.host.linux.waits import Blocked, Key
from pltvm.host.plain import Part

FIRST_PORT, LAST_PORT = 32768, 60999  # range of ports for sockets that request none
MOST_SOCKETS: Final = 1 << 16  # with those not accepted yet
MOST_QUEUED: Final = 256 << 20  # bytes in all sockets
MOST_IN_FLIGHT: Final = 512  # files in messages


class Host(Protocol):
    """The part of the system that sockets use."""

    def wake(self, key: Key) -> None:
        """Wake threads that wait for this key."""

    def now(self) -> int:
        """Return monotonic time in ns."""

    def deadline(self, timeout: int) -> int:
        """Return the end of the present system call's timeout: `timeout` ns after it was first made."""

    def credentials(self) -> Credentials:
        """Return the credentials of the calling process."""

    def hold(self, file: int) -> None:
        """Add a user of an open file."""

    def let_go(self, file: int) -> None:
        """Remove a user of an open file; the last one closes it."""

    def refuse(self, what: str) -> None:
        """Note that a part of a system call is not offered."""


@dataclass(slots=True)
class SocketsState:
    """The sockets. `names` are abstract ones, `nodes` inodes of paths, `ports` by protocol and number;
    `in_flight` counts files in messages, `queued` bytes in all sockets."""

    sockets: dict[int, Socket] = field(default_factory=dict)
    next_number: int = 1
    next_port: dict[int, int] = field(default_factory=dict)
    next_name: int = 0
    names: dict[bytes, int] = field(default_factory=dict)
    nodes: dict[int, int] = field(default_factory=dict)
    ports: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    in_flight: int = 0
    queued: int = 0


class Sockets(Part[SocketsState]):
    """The sockets of the system."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.state = SocketsState()
        self._dropped: list[int] = []  # files of discarded messages, while they are being closed
        self._is_dropping = False

    def new(self, family: int, kind: int, protocol: int) -> int:
        """Make a socket without a name; return its number. Raises LinuxError(ENFILE)."""
        state = self.state
        if len(state.sockets) >= MOST_SOCKETS:
            raise LinuxError(ENFILE)
        number = state.next_number
        state.next_number += 1
        state.sockets[number] = Socket(family, kind, protocol)
        return number

    def get(self, number: int) -> Socket | None:
        """Return a socket, or None if it is gone."""
        return self.state.sockets.get(number)

    def __getitem__(self, number: int) -> Socket:
        return self.state.sockets[number]

    # -- waiting -----------------------------------------------------------------------------------------

    def wake(self, number: int, *what: str) -> None:
        """Wake threads that wait for these keys of a socket."""
        for one in what:
            self.host.wake(("socket", number, one))

    def block(self, socket: Socket, key: Key, option: int, at_once: bool, late: int = EAGAIN) -> NoReturn:
        """Wait for a key, up to the timeout in `option` (SO_RCVTIMEO, SO_SNDTIMEO): raises Blocked, or
        LinuxError: EAGAIN if it must not wait (`at_once`), `late` after the timeout."""
        if at_once:
            raise LinuxError(EAGAIN)
        timeout = socket.option(option)
        if not timeout:
            raise Blocked(key)
        deadline = self.host.deadline(timeout)
        if self.host.now() >= deadline:
            raise LinuxError(late)
        raise Blocked(key, deadline=deadline, restarts=False)

    # -- messages ----------------------------------------------------------------------------------------

    def put(self, number: int, message: Message) -> None:
        """Deliver a message. Raises LinuxError: ENOBUFS, ETOOMANYREFS."""
        state, socket = self.state, self[number]
        size = message.cost or len(message.data)
        if state.queued + size > MOST_QUEUED:
            raise LinuxError(ENOBUFS)
        if message.files:
            if state.in_flight + len(message.files) > MOST_IN_FLIGHT:
                raise LinuxError(ETOOMANYREFS)
            state.in_flight += len(message.files)
            for file in message.files:
                self.host.hold(file)
        state.queued += size
        socket.queued += size
        queue = socket.queue
        if socket.is_stream and queue and _goes_on(socket, queue[-1], message):
            queue[-1].data += message.data
        else:
            queue.append(message)
        self.host.wake(("socket", number, "in"))

    def sender(self, socket: Socket, to: Socket) -> Credentials:
        """Return the sender's credentials, only if one of the two sockets has SO_PASSCRED set by now, as in
        Linux."""
        if (socket.options or to.options) and (socket.option(SO_PASSCRED) or to.option(SO_PASSCRED)):
            return self.host.credentials()
        return UNTOLD

    def took(self, socket: Socket, size: int) -> None:
        """Free so many bytes of its buffer."""
        socket.queued -= size
        self.state.queued -= size

    def landed(self, files: tuple[int, ...]) -> None:
        """Note that a message's files were passed to a process, or are closed.

        A file closed by this may be a socket with messages: these are handled one after the other, without
        recursion.
        """
        self.state.in_flight -= len(files)
        self._dropped += files
        if self._is_dropping:
            return
        self._is_dropping = True
        try:
            while self._dropped:
                self.host.let_go(self._dropped.pop(0))
        finally:
            self._is_dropping = False

    def forget(self, number: int) -> None:
        """Remove a socket, with its messages and its name."""
        socket = self.state.sockets.pop(number)
        self.state.queued -= socket.queued
        self._free_name(number, socket)
        for message in socket.queue:
            if message.files:
                self.landed(message.files)

    # -- names -------------------------------------------------------------------------------------------

    def _free_name(self, number: int, socket: Socket) -> None:
        state = self.state
        if isinstance(socket.local, UnixName):
            if state.names.get(socket.local.path) == number:
                del state.names[socket.local.path]
            if state.nodes.get(socket.node) == number:
                del state.nodes[socket.node]
        elif isinstance(socket.local, InetName):
            self.release_port(number, socket)

    def release_port(self, number: int, socket: Socket) -> None:
        """Release its port."""
        assert isinstance(socket.local, InetName)
        key = (socket.protocol, socket.local.port)
        users = self.state.ports.get(key, [])
        if number in users:
            users.remove(number)
        if not users:
            self.state.ports.pop(key, None)
        socket.local = None

    def take_port(self, number: int, socket: Socket, name: InetName) -> None:
        """Give it an address, and a free port if it requests none. Raises LinuxError(EADDRINUSE)."""
        port = name.port or self._free_port(socket)
        name = InetName(name.host, port)
        for other in self.on_port(socket.protocol, port):
            if self[other] is not socket and _clash(socket, name, self[other]):
                raise LinuxError(EADDRINUSE)
        socket.local = name
        self.state.ports.setdefault((socket.protocol, port), []).append(number)

    def on_port(self, protocol: int, port: int) -> list[int]:
        """Return the sockets on a port, in the order of binding."""
        return self.state.ports.get((protocol, port), [])

    def _free_port(self, socket: Socket) -> int:
        state, protocol = self.state, socket.protocol
        for _ in range(LAST_PORT - FIRST_PORT + 1):
            port = state.next_port.get(protocol, FIRST_PORT)
            state.next_port[protocol] = port + 1 if port < LAST_PORT else FIRST_PORT
            if (protocol, port) not in state.ports:
                return port
        raise LinuxError(EADDRINUSE)


def _goes_on(socket: Socket, last: Message, message: Message) -> bool:
    """Whether two parts of a stream can be joined without a visible difference."""
    if last.files or message.files:
        return False
    return last.sender == message.sender or not socket.option(SO_PASSCRED)


def only_v6(socket: Socket) -> bool:
    """Whether it does not use IPv4."""
    return bool(socket.options.get((IPPROTO_IPV6, IPV6_V6ONLY)))


def covers(socket: Socket, bound: InetName, host: bytes) -> bool:
    """Whether data for an address goes to a socket that is bound like this."""
    if not is_any(bound.host):
        return bound.host == host
    return is_v4(host) if is_v4(bound.host) else not (is_v4(host) and only_v6(socket))


def _clash(one: Socket, name: InetName, other: Socket) -> bool:
    assert isinstance(other.local, InetName)
    if not (covers(one, name, other.local.host) or covers(other, other.local, name.host)):
        return False
    if one.option(SO_REUSEPORT) and other.option(SO_REUSEPORT):
        return False
    reuse = one.option(SO_REUSEADDR) and other.option(SO_REUSEADDR)
    return not reuse or State.LISTENING in (one.state, other.state)
