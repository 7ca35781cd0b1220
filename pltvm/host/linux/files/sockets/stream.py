"""The common part of streams and sequenced packets: they listen, accept, and have a peer until one closes."""

from collections import deque
from errno import EINVAL, EPIPE
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets.names import Name
from pltvm.host.linux.files.sockets.socket import (
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    Message,
    Outgoing,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.transport import MOST_BACKLOG, SHUT_RD, SHUT_WR, Inside

MOST_PARTS: Final = 256  # parts of a stream that are kept apart because of their senders or files


class Connected(Inside):
    """A connection-oriented socket. For `poll` there is room while `used` of `parts` of the buffer are
    free."""

    used, parts = 1, 4

    # -- connections -------------------------------------------------------------------------------------

    def listen(self, number: int, backlog: int) -> None:
        socket = self.sockets[number]
        if socket.state not in (State.NEW, State.LISTENING, State.REFUSED):
            raise LinuxError(EINVAL)
        socket.state = State.LISTENING
        socket.backlog = min(backlog if backlog >= 0 else MOST_BACKLOG, MOST_BACKLOG)
        socket.owner = self.sockets.host.credentials()

    def accept(self, number: int, at_once: bool) -> int:
        sockets = self.sockets
        socket = sockets[number]
        if socket.state != State.LISTENING:
            raise LinuxError(EINVAL)
        if not socket.pending:
            sockets.block(socket, ("socket", number, "in"), SO_RCVTIMEO, at_once)
        connection = socket.pending.popleft()
        sockets.wake(number, "room")
        self.made_room(number, socket)
        return connection

    def made_room(self, number: int, listener: Socket) -> None:
        """Let a waiting caller connect, as there is room for one more connection."""

    def is_full(self, listener: Socket) -> bool:
        """Whether there is no room for more connections."""
        return len(listener.pending) > listener.backlog

    def join(self, number: int, listening: int, local: Name | None) -> None:
        """Connect a socket to a new peer with the name `local`, which waits to be accepted."""
        sockets = self.sockets
        socket, listener = sockets[number], sockets[listening]
        other = sockets.new(listener.family, listener.type, listener.protocol)
        peer = sockets[other]
        peer.options = dict(listener.options)
        peer.local, peer.remote, peer.owner = local, socket.local, listener.owner
        socket.remote, socket.owner = local, sockets.host.credentials()
        self.pair(number, other)
        listener.pending.append(other)
        sockets.wake(listening, "in")

    def pair(self, one: int, other: int) -> None:
        """Make two sockets each other's peer."""
        first, second = self.sockets[one], self.sockets[other]
        first.peer, second.peer = other, one
        first.peer_owner, second.peer_owner = second.owner, first.owner
        first.state = second.state = State.CONNECTED

    def is_unconnected(self, socket: Socket) -> bool:
        return socket.state in (State.NEW, State.REFUSED, State.CLOSED)

    # -- sending -----------------------------------------------------------------------------------------

    def has_room(self, number: int, socket: Socket) -> bool:
        peer = self.sockets.get(socket.peer)
        return peer is None or self._is_roomy(socket, peer.queued)

    def _is_roomy(self, sender: Socket, queued: int) -> bool:
        return queued * self.parts <= sender.most_out * self.used

    def _freed(self, socket: Socket, before: int) -> None:
        sender = self.sockets.get(socket.peer)
        parts = len(socket.queue) >= MOST_PARTS - 1
        if sender is not None and (parts or not self._is_roomy(sender, before)):
            self.sockets.wake(socket.peer, "out")

    def send_bytes(self, number: int, socket: Socket, message: Outgoing, at_once: bool) -> int:
        """Send as much as there is room for at the peer, which exists; return the number of bytes."""
        sockets, size = self.sockets, len(message.data)
        peer = sockets.state.sockets[socket.peer]
        room = socket.most_out - peer.queued if len(peer.queue) < MOST_PARTS else 0
        if room <= 0 < size:
            sockets.block(socket, ("socket", number, "out"), SO_SNDTIMEO, at_once)
        if not size:
            return 0
        data = bytearray(message.data[:room])
        sender = message.sender or sockets.sender(socket, peer)
        sockets.put(socket.peer, Message(data, None, message.files, sender))
        return len(data)

    # -- the end -----------------------------------------------------------------------------------------

    def shut(self, number: int, socket: Socket, how: int) -> None:
        peer = self.sockets.get(socket.peer)
        if peer is not None:
            peer.ends_in |= how != SHUT_RD
            peer.ends_out |= how != SHUT_WR
            self.sockets.wake(socket.peer, "in", "out")

    def close(self, number: int) -> None:
        """Close a socket: notify its peer, connections that were not accepted, and waiting callers."""
        sockets = self.sockets
        socket = sockets[number]
        self.leave(number, socket)
        pending, callers = socket.pending, socket.callers
        socket.pending, socket.callers = deque(), deque()
        sockets.forget(number)
        for one in pending:
            self.leave(one, sockets[one], abruptly=True)
            sockets.forget(one)
        for one in callers:
            self.refused(one)
        sockets.wake(number, "in", "out", "room")

    def leave(self, number: int, socket: Socket, abruptly: bool = False) -> None:
        """Notify the peer that this end is closed, `abruptly` if it had unread data."""

    def refused(self, number: int) -> None:
        """Refuse a caller that waited for a connection."""

    def must_send(self, socket: Socket) -> None:
        """Raise LinuxError(EPIPE) if it may not send any more."""
        if socket.ends_out:
            raise LinuxError(EPIPE)
