"""The interface of kinds of sockets, and the common part of those inside the machine.

Kinds implement binding, connecting and sending.

With `at_once` a call does not wait. All raise LinuxError, or Blocked.
"""

from abc import ABC, abstractmethod
from errno import EDESTADDRREQ, EINVAL, EOPNOTSUPP
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import POLLERR, POLLHUP, POLLRDHUP, READABLE, WRITABLE
from pltvm.host.linux.files.sockets.names import Name
from pltvm.host.linux.files.sockets.socket import (
    SO_PASSCRED,
    SO_RCVTIMEO,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    Message,
    Outgoing,
    Received,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.table import Sockets

SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
MOST_BACKLOG: Final = 4096
MESSAGE: Final = 768  # overhead of a message in a buffer, in bytes


class Transport(ABC):
    """One kind of socket."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets

    @abstractmethod
    def parse(self, socket: Socket, raw: bytes) -> Name:
        """Return the name for an address in memory."""

    @abstractmethod
    def bind(self, number: int, name: Name) -> None:
        """Give a socket a name."""

    @abstractmethod
    def connect(self, number: int, name: Name, at_once: bool) -> None:
        """Connect it to the socket with this name."""

    @abstractmethod
    def disconnect(self, number: int) -> None:
        """Disconnect it, as connecting to no address does."""

    def listen(self, number: int, backlog: int) -> None:
        """Accept connections from now on."""
        raise LinuxError(EOPNOTSUPP)

    def accept(self, number: int, at_once: bool) -> int:
        """Return the number of a new connection."""
        raise LinuxError(EOPNOTSUPP)

    @abstractmethod
    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        """Send a message, or as much as there is room for in a stream; return the number of bytes."""

    @abstractmethod
    def receive(self, number: int, size: int, at_once: bool, peek: bool = False) -> Received:
        """Receive up to `size` bytes, or the start of a datagram; none at the end. `peek` does not remove
        them."""

    @abstractmethod
    def shutdown(self, number: int, how: int) -> None:
        """Do SHUT_RD, SHUT_WR or SHUT_RDWR."""

    @abstractmethod
    def events(self, number: int) -> int:
        """Return the events that it is ready for."""

    @abstractmethod
    def close(self, number: int) -> None:
        """Close it."""


class Inside(Transport):
    """A socket whose messages wait in the machine."""

    out: int = WRITABLE  # the events of room

    @abstractmethod
    def has_room(self, number: int, socket: Socket) -> bool:
        """Whether sending need not wait."""

    @abstractmethod
    def shut(self, number: int, socket: Socket, how: int) -> None:
        """End receiving, sending, or both, and notify the peer."""

    def is_unconnected(self, socket: Socket) -> bool:
        """Whether it needs a connection and has none, which is POLLHUP."""
        return False

    def shutdown(self, number: int, how: int) -> None:
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise LinuxError(EINVAL)
        socket = self.sockets[number]
        socket.ends_in |= how != SHUT_WR
        socket.ends_out |= how != SHUT_RD
        self.shut(number, socket, how)
        self.sockets.wake(number, "in", "out")

    def events(self, number: int) -> int:
        socket = self.sockets[number]
        if socket.state == State.LISTENING:
            return READABLE if socket.pending else 0
        events = POLLERR if socket.error else 0
        if (socket.ends_in and socket.ends_out) or self.is_unconnected(socket):
            events |= POLLHUP
        if socket.ends_in:
            events |= READABLE | POLLRDHUP
        if socket.queue:
            events |= READABLE
        if self.has_room(number, socket):
            events |= self.out
        return events

    # -- receiving ---------------------------------------------------------------------------------------

    @abstractmethod
    def must_receive(self, socket: Socket) -> None:
        """Raise LinuxError if nothing can be received."""

    def receive(self, number: int, size: int, at_once: bool, peek: bool = False) -> Received:
        sockets = self.sockets
        socket = sockets.state.sockets[number]
        self.must_receive(socket)
        if socket.type == SOCK_STREAM:
            if socket.queue:
                return self._take_bytes(number, socket, size, peek)
        else:
            self._raise_error(socket)
        if not socket.queue:
            if socket.is_stream and not size:
                return Received(b"")
            self._raise_error(socket)
            if socket.ends_in and (not at_once or socket.is_stream or socket.type == SOCK_SEQPACKET):
                return Received(b"")
            sockets.block(socket, ("socket", number, "in"), SO_RCVTIMEO, at_once)
        return self._take_message(number, socket, size, peek)

    def _raise_error(self, socket: Socket) -> None:
        """Raise a pending error, once."""
        error, socket.error = socket.error, 0
        if error:
            raise LinuxError(error)

    def _take_message(self, number: int, socket: Socket, size: int, peek: bool) -> Received:
        message = socket.queue[0]
        data = bytes(message.data[:size])
        if not peek:
            socket.queue.popleft()
            self.sockets.took(socket, message.cost)
            self.sockets.wake(number, "room")
            if socket.peer:
                self.sockets.wake(socket.peer, "out")
        return Received(data, len(message.data), message.source, message.files, message.sender)

    def _take_bytes(self, number: int, socket: Socket, size: int, peek: bool) -> Received:
        """Take bytes of one or several messages: of one sender, if senders are requested, and up to the first
        message with files."""
        queue, queued, first = socket.queue, socket.queued, socket.queue[0]
        if len(first.data) > size or len(queue) == 1 or first.files:
            data, files = bytes(first.data[:size]), first.files
            taken = [(first, len(data))]
        else:
            taken = self._several(socket, size)
            data = b"".join([bytes(message.data[:count]) for message, count in taken])
            files = taken[-1][0].files
        if not peek:
            for message, count in taken:
                message.files = ()
                if count == len(message.data):
                    queue.popleft()
                else:
                    del message.data[:count]
            self.sockets.took(socket, len(data))
            self._freed(socket, queued)
        return Received(data, len(data), None, files, first.sender)

    def _several(self, socket: Socket, size: int) -> list[tuple[Message, int]]:
        """Return the messages that one call takes, and the number of bytes of each."""
        first, of_one, taken = socket.queue[0], socket.option(SO_PASSCRED), list[tuple[Message, int]]()
        for message in socket.queue:
            if not size or (of_one and message.sender != first.sender):
                break
            count = min(len(message.data), size)
            taken.append((message, count))
            size -= count
            if message.files:
                break
        return taken

    def _freed(self, socket: Socket, before: int) -> None:
        """Wake senders if there is more room in a stream than before."""
        raise NotImplementedError

    def must_have_peer(self, socket: Socket) -> None:
        """Raise LinuxError(EDESTADDRREQ) for a datagram without a destination."""
        if socket.state != State.CONNECTED:
            raise LinuxError(EDESTADDRREQ)
