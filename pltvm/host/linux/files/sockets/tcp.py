"""TCP over the loopback interface, without losses and delays.

A connection exists at once if a socket listens and has room for it.
"""

from errno import (
    EADDRINUSE,
    EALREADY,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EISCONN,
    ENOTCONN,
    EPIPE,
)
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import WRITABLE
from pltvm.host.linux.files.sockets.inet import Inet
from pltvm.host.linux.files.sockets.names import InetName, Name
from pltvm.host.linux.files.sockets.socket import (
    SO_LINGER,
    SO_REUSEPORT,
    SO_SNDTIMEO,
    Outgoing,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.stream import Connected
from pltvm.host.linux.files.sockets.table import covers
from pltvm.host.linux.files.sockets.transport import SHUT_WR

LINGERS: Final = 1 << 32  # SO_LINGER is kept as this and the seconds
_GONE = (State.NEW, State.REFUSED, State.CLOSED)


class Tcp(Inet, Connected):
    """An Internet stream."""

    used, parts = 2, 3
    out = WRITABLE

    # -- connections -------------------------------------------------------------------------------------

    def listen(self, number: int, backlog: int) -> None:
        socket = self.sockets[number]
        if socket.state != State.LISTENING and isinstance(socket.local, InetName):
            for other in self.sockets.on_port(socket.protocol, socket.local.port):
                one = self.sockets[other]
                both = one.option(SO_REUSEPORT) and socket.option(SO_REUSEPORT)
                if one.state == State.LISTENING and not both and one.local == socket.local:
                    raise LinuxError(EADDRINUSE)
        super().listen(number, backlog)
        self.bind_if_new(number, socket)

    def connect(self, number: int, name: Name, at_once: bool) -> None:
        socket = self.sockets[number]
        if socket.state == State.LISTENING:
            raise LinuxError(EISCONN)
        if socket.state == State.NEW:
            self._call(number, socket, self.reachable(socket, name))
            if at_once:
                socket.unheard = True
                raise LinuxError(EINPROGRESS)
        elif socket.state == State.CLOSED or (socket.state == State.CONNECTED and not socket.unheard):
            raise LinuxError(EISCONN)
        if socket.state == State.CONNECTING:
            if at_once:
                raise LinuxError(EALREADY)
            self.sockets.block(socket, ("socket", number, "out"), SO_SNDTIMEO, False, EINPROGRESS)
        socket.unheard = False
        if socket.state == State.REFUSED:
            error, socket.error, socket.state = socket.error or ECONNABORTED, 0, State.NEW
            socket.ends_in = socket.ends_out = False
            self._give_up_port(number, socket)
            raise LinuxError(error)

    def _call(self, number: int, socket: Socket, name: InetName) -> None:
        """Request a connection: it exists at once, is refused, or is made when there is room for it."""
        self.bind_if_new(number, socket, name.host)
        socket.remote, socket.error, socket.unheard = name, 0, True
        socket.ends_in = socket.ends_out = False
        listening = self._listener(number, name)
        if listening is None:
            socket.state = State.CONNECTING
            self.refused(number)
        elif self.is_full(self.sockets[listening]):
            socket.state = State.CONNECTING
            self.sockets[listening].callers.append(number)
        else:
            self.join(number, listening, name)

    def _listener(self, number: int, name: InetName) -> int | None:
        """Return the listening socket: one for this address rather than for all; of several the next in
        turn."""
        sockets = self.sockets
        found = []
        for other in sockets.on_port(sockets[number].protocol, name.port):
            one = sockets[other]
            local = one.local
            assert isinstance(local, InetName)
            if one.state == State.LISTENING and covers(one, local, name.host):
                found.append((local.host != name.host, other))
        best = sorted(other for rank, other in found if rank == min(found)[0])
        return best[number % len(best)] if best else None

    def close(self, number: int) -> None:
        socket = self.sockets[number]
        if socket.state == State.CONNECTING and isinstance(socket.remote, InetName):
            for other in self.sockets.on_port(socket.protocol, socket.remote.port):
                callers = self.sockets[other].callers
                if number in callers:
                    callers.remove(number)
        super().close(number)

    def join(self, number: int, listening: int, local: Name | None) -> None:
        super().join(number, listening, local)
        peer = self.sockets[number].peer
        assert isinstance(local, InetName)
        self.sockets.state.ports.setdefault((self.sockets[peer].protocol, local.port), []).append(peer)
        self.sockets.wake(number, "out")

    def made_room(self, number: int, listener: Socket) -> None:
        while listener.callers and not self.is_full(listener):
            caller = listener.callers.popleft()
            socket = self.sockets.get(caller)
            if socket is not None and socket.state == State.CONNECTING:
                self.join(caller, number, socket.remote)

    def refused(self, number: int) -> None:
        socket = self.sockets.get(number)
        if socket is not None and socket.state == State.CONNECTING:
            socket.state, socket.error, socket.unheard = State.REFUSED, ECONNREFUSED, True
            socket.ends_in = socket.ends_out = True
            self.sockets.wake(number, "in", "out")

    def disconnect(self, number: int) -> None:
        sockets = self.sockets
        socket = sockets[number]
        self.leave(number, socket, abruptly=True)
        self._give_up_port(number, socket)
        sockets.took(socket, socket.queued)
        socket.queue.clear()
        socket.state, socket.remote, socket.peer, socket.error = State.NEW, None, 0, 0
        socket.ends_in = socket.ends_out = socket.unheard = False

    def _give_up_port(self, number: int, socket: Socket) -> None:
        """Release a port that the program did not choose: it is for one connection only."""
        if not socket.by_hand and isinstance(socket.local, InetName):
            self.sockets.release_port(number, socket)

    # -- bytes -------------------------------------------------------------------------------------------

    def must_receive(self, socket: Socket) -> None:
        """Allow receiving the rest of a broken connection, and its error."""
        if socket.state in (State.NEW, State.LISTENING):
            raise LinuxError(ENOTCONN)
        if socket.state == State.CLOSED and socket.error == EPIPE:
            socket.error = 0

    def has_room(self, number: int, socket: Socket) -> bool:
        return socket.state != State.CONNECTING and super().has_room(number, socket)

    def send(self, number: int, message: Outgoing, at_once: bool) -> int:
        sockets = self.sockets
        socket = sockets[number]
        if socket.state == State.CONNECTING:
            sockets.block(socket, ("socket", number, "out"), SO_SNDTIMEO, at_once)
        if socket.error or socket.ends_out or socket.state in _GONE:
            error, socket.error = socket.error or EPIPE, 0
            raise LinuxError(error)
        peer = sockets.get(socket.peer)
        if peer is None:  # it has closed: data that it cannot receive breaks the connection
            if message.data:
                self._broken(number, socket, EPIPE)
            return len(message.data)
        return self.send_bytes(number, socket, message, at_once)

    # -- the end -----------------------------------------------------------------------------------------

    def shut(self, number: int, socket: Socket, how: int) -> None:
        """Shut down; the peer is notified only of the end of sending."""
        if socket.state in _GONE:
            raise LinuxError(ENOTCONN)
        if socket.state == State.LISTENING:
            if how != SHUT_WR:
                self._stop_listening(number, socket)
            return
        if socket.ends_out:
            peer = self.sockets.get(socket.peer)
            if peer is not None:
                peer.ends_in = True
                self.sockets.wake(socket.peer, "in", "out")

    def _stop_listening(self, number: int, socket: Socket) -> None:
        while socket.pending:
            one = socket.pending.popleft()
            self.leave(one, self.sockets[one], abruptly=True)
            self.sockets.forget(one)
        while socket.callers:
            self.refused(socket.callers.popleft())
        socket.state = State.NEW

    def leave(self, number: int, socket: Socket, abruptly: bool = False) -> None:
        if socket.state != State.CONNECTED:
            return
        peer = self.sockets.get(socket.peer)
        if peer is None:
            return
        lingers = socket.option(SO_LINGER)
        if socket.queue or abruptly or lingers == LINGERS:
            self._broken(socket.peer, peer, EPIPE if peer.ends_in else ECONNRESET)
        else:
            peer.ends_in = True
            self.sockets.wake(socket.peer, "in", "out")

    def _broken(self, number: int, socket: Socket, error: int) -> None:
        """Break a connection, as the other side has done it."""
        socket.state, socket.error = State.CLOSED, error
        socket.ends_in = socket.ends_out = True
        self.sockets.wake(number, "in", "out")
