"""One socket, as plain data."""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from pltvm.host.linux.files.sockets.names import Name

SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6 = 1, 6, 17, 41
SO_REUSEADDR, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_REUSEPORT, SO_PASSCRED = 2, 6, 7, 8, 15, 16
SO_RCVTIMEO, SO_SNDTIMEO, SO_LINGER = 20, 21, 13
IPV6_V6ONLY: Final = 26
BUFFER: Final = 212992  # bytes that may wait in a socket, as /proc/sys/net/core/wmem_default

Credentials = tuple[int, int, int]  # process, user, group
NOBODY: Final[Credentials] = (0, 0xFFFF_FFFF, 0xFFFF_FFFF)
UNTOLD: Final[Credentials] = (0, 65534, 65534)  # of a message whose sender was not requested in time


class State(IntEnum):
    """The state of a socket. A datagram socket with a peer is CONNECTED."""

    NEW = 0
    LISTENING = 1
    CONNECTING = 2
    CONNECTED = 3
    REFUSED = 4  # a non-blocking connect has failed
    CLOSED = 5  # a connection that was broken


@dataclass(slots=True)
class Message:
    """A message that waits to be received: bytes, sender, and passed open files, by number.

    `cost` is its overhead in the buffer, 0 in a stream, where only its bytes count.
    """

    data: bytearray
    source: Name | None = None
    files: tuple[int, ...] = ()
    sender: Credentials = NOBODY
    cost: int = 0


@dataclass(slots=True)
class Socket:
    """One socket. `peer` is the other end, which may be closed already; 0 for none.

    `ends_in`: nothing more will come; `ends_out`: nothing more can be sent. `error` is a pending error, for
    the next call that reports it. A listening socket has `pending` connections, at most `backlog` + 1, and
    `callers` that wait for room there. `unheard`: the end of a non-blocking connect has not been reported.
    `options` are by level and number.
    """

    family: int
    type: int
    protocol: int
    state: State = State.NEW
    local: Name | None = None
    remote: Name | None = None
    peer: int = 0
    queue: deque[Message] = field(default_factory=deque)
    queued: int = 0
    ends_in: bool = False
    ends_out: bool = False
    error: int = 0
    backlog: int = 0
    pending: deque[int] = field(default_factory=deque)
    callers: deque[int] = field(default_factory=deque)
    unheard: bool = False
    options: dict[tuple[int, int], int] = field(default_factory=dict)
    owner: Credentials = NOBODY  # the process that listens with it, or connected it
    peer_owner: Credentials = NOBODY
    node: int = 0  # the inode of its path
    by_hand: bool = False  # its name was chosen by the program

    @property
    def is_stream(self) -> bool:
        """Whether it is a byte stream."""
        return self.type == SOCK_STREAM

    def option(self, number: int, default: int = 0) -> int:
        """Return an option of SOL_SOCKET."""
        return self.options.get((SOL_SOCKET, number), default) if self.options else default

    @property
    def most_out(self) -> int:
        """The number of its bytes that may wait to be received."""
        return self.options.get((SOL_SOCKET, SO_SNDBUF), BUFFER) if self.options else BUFFER


class Outgoing(NamedTuple):
    """A message to send: bytes, destination (None: the peer), passed files, and sender."""

    data: bytes
    to: Name | None = None
    files: tuple[int, ...] = ()
    sender: Credentials | None = None


class Received(NamedTuple):
    """A received message: bytes, their full number, and what came with them."""

    data: bytes
    length: int = 0
    source: Name | None = None
    files: tuple[int, ...] = ()
    sender: Credentials = NOBODY
