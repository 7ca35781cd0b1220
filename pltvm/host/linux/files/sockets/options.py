"""Options of sockets: setsockopt and getsockopt. Options without an effect here are stored."""

from errno import EDOM, EINVAL, ENODEV, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.sockets.names import AF_INET, AF_UNIX, packed
from pltvm.host.linux.files.sockets.socket import (
    BUFFER,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPV6_V6ONLY,
    SO_LINGER,
    SO_RCVBUF,
    SO_RCVTIMEO,
    SO_SNDBUF,
    SO_SNDTIMEO,
    SOL_SOCKET,
    Socket,
    State,
)
from pltvm.host.linux.files.sockets.tcp import LINGERS
from pltvm.host.linux.structs import LINGER, TIMEVAL, UCRED, Linger, UCred
from pltvm.host.linux.times import timeval

SO_TYPE, SO_ERROR, SO_PEERCRED, SO_SNDLOWAT, SO_BINDTODEVICE, SO_PEERNAME = 3, 4, 17, 19, 25, 28
SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_PROTOCOL, SO_DOMAIN = 30, 32, 33, 38, 39
TCP_INFO, TCP_CONGESTION, TCP_KEEPIDLE, TCP_KEEPCNT = 11, 13, 4, 6
IPPROTO_IP: Final = 0
LARGEST: Final = 1 << 12  # bytes of an option's value
_TIMES: Final = {SO_RCVTIMEO: SO_RCVTIMEO, SO_SNDTIMEO: SO_SNDTIMEO, 66: SO_RCVTIMEO, 67: SO_SNDTIMEO}
_BUFFERS: Final = {
    SO_SNDBUF: (SO_SNDBUF, 4608), SO_SNDBUFFORCE: (SO_SNDBUF, 4608), SO_RCVBUF: (SO_RCVBUF, 2304),
    SO_RCVBUFFORCE: (SO_RCVBUF, 2304),
}  # fmt: skip  # and the smallest size
# DEBUG, REUSEADDR, DONTROUTE, BROADCAST, KEEPALIVE, OOBINLINE, NO_CHECK, REUSEPORT, PASSCRED, TIMESTAMP, …
_SWITCHES: Final = frozenset({1, 2, 5, 6, 9, 10, 11, 15, 16, 29, 34, 35, 37, 40, 41, 43, 44, 60, 63, 64})
_NUMBERS: Final = {12: 0, 18: 1, 36: 0, 42: -1, 46: 0, 47: -1, 49: 0}  # PRIORITY, RCVLOWAT, MARK, …
_READ_ONLY: Final = frozenset(
    {SO_TYPE, SO_ERROR, SO_PEERCRED, SO_SNDLOWAT, SO_PEERNAME, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN}
)
# Level → number → initial value.
_REMEMBERED: Final[dict[int, dict[int, int]]] = {
    IPPROTO_TCP: {
        1: 0, 2: 536, 3: 0, 4: 7200, 5: 75, 6: 9, 7: 6, 8: 60, 9: 0, 10: 0, 12: 1, 18: 0, 23: 0, 25: -1,
        30: 0, 34: 0, 36: 0,
    },
    IPPROTO_IP: {
        1: 0, 2: 64, 6: 0, 7: 0, 8: 0, 10: 1, 11: 0, 12: 0, 13: 0, 15: 0, 19: 0, 20: 0, 21: 0, 24: 0, 32: 0,
        33: 1, 34: 1, 49: 1, 50: 0,
    },
    IPPROTO_IPV6: {
        16: 64, 17: 0, 18: 1, 19: 1, 23: 1, 25: 0, IPV6_V6ONLY: 0, 29: 1, 33: 0, 49: 0, 51: 0, 53: 0, 56: 0,
        57: 0, 62: 0, 66: 0, 67: 0, 70: 0, 72: 0, 74: 0, 78: 0,
    },
    IPPROTO_UDP: {1: 0, 101: 0, 102: 0},
}  # fmt: skip
_GROUPS: Final = {(IPPROTO_IP, 35), (IPPROTO_IP, 36), (IPPROTO_IPV6, 20), (IPPROTO_IPV6, 21)}  # multicast
_LONGEST_TIME: Final = 1 << 33  # seconds


def _int(raw: bytes) -> int:
    if len(raw) < 4:
        raise LinuxError(EINVAL)
    return int.from_bytes(raw[:4], "little", signed=True)


def set_option(socket: Socket, level: int, number: int, raw: bytes) -> None:
    """Do setsockopt; raises LinuxError."""
    if level != SOL_SOCKET:
        _set_other(socket, level, number, raw)
    elif number == SO_BINDTODEVICE:
        if raw.split(b"\0", 1)[0] not in (b"", b"lo"):
            raise LinuxError(ENODEV)
    elif number in _READ_ONLY:
        raise LinuxError(ENOPROTOOPT)
    elif number in _TIMES:
        socket.options[(level, _TIMES[number])] = _time(raw)
    elif number == SO_LINGER:
        if len(raw) < LINGER.size:
            raise LinuxError(EINVAL)
        on, seconds = LINGER.unpack(raw)
        socket.options[(level, number)] = (LINGERS if on else 0) | seconds & 0x7FFF_FFFF
    elif number in _BUFFERS:
        which, smallest = _BUFFERS[number]
        size = _int(raw)
        wanted = min(size if size >= 0 else BUFFER, BUFFER)
        socket.options[(level, which)] = max(2 * wanted, smallest)
    elif number in _SWITCHES:
        socket.options[(level, number)] = int(bool(_int(raw)))
    elif number in _NUMBERS:
        socket.options[(level, number)] = _int(raw)
    else:
        raise LinuxError(ENOPROTOOPT)


def _time(raw: bytes) -> int:
    """Return a time in ns; at least 1 for a negative one, as 0 means forever."""
    if len(raw) < TIMEVAL.size:
        raise LinuxError(EINVAL)
    seconds, micros = TIMEVAL.unpack(raw)
    if not 0 <= micros < 10**6:
        raise LinuxError(EDOM)
    return min(seconds, _LONGEST_TIME) * 10**9 + micros * 1000 if seconds >= 0 else 1


def _must_have(socket: Socket, level: int) -> dict[int, int]:
    """Return the options of a level; raises LinuxError for a socket of another kind."""
    if socket.family == AF_UNIX:
        raise LinuxError(EOPNOTSUPP)
    wrong = (
        (level in (IPPROTO_TCP, IPPROTO_UDP) and socket.protocol != level)
        or (level == IPPROTO_IPV6 and socket.family == AF_INET)
        or level not in _REMEMBERED
    )
    if wrong:
        raise LinuxError(ENOPROTOOPT)
    return _REMEMBERED[level]


def _set_other(socket: Socket, level: int, number: int, raw: bytes) -> None:
    known = _must_have(socket, level)
    if (level, number) in _GROUPS:
        raise LinuxError(ENODEV)
    if (level, number) == (IPPROTO_TCP, TCP_CONGESTION):
        return
    if number not in known:
        raise LinuxError(ENOPROTOOPT)
    value = raw[0] if len(raw) == 1 and level == IPPROTO_IP else _int(raw)
    if (level, number) == (IPPROTO_IPV6, IPV6_V6ONLY):
        if socket.local is not None:
            raise LinuxError(EINVAL)
        value = int(bool(value))
    if level == IPPROTO_TCP:
        if number in (1, 3, 12):
            value = int(bool(value))
        elif TCP_KEEPIDLE <= number <= TCP_KEEPCNT and not 0 < value <= (127 if number == 6 else 32767):
            raise LinuxError(EINVAL)
    socket.options[(level, number)] = value


def get_option(socket: Socket, level: int, number: int) -> bytes:
    """Do getsockopt; return the whole value. Raises LinuxError."""
    value = socket.options.get((level, number), 0)
    if level != SOL_SOCKET:
        return _get_other(socket, level, number)
    if number == SO_ERROR:
        value, socket.error = socket.error, 0
    elif number == SO_PEERCRED:
        return UCRED.pack(UCred(*socket.peer_owner))
    elif number == SO_PEERNAME:
        if socket.state != State.CONNECTED:
            raise LinuxError(ENOTCONN)
        return packed(socket.remote, socket.family)
    elif number == SO_LINGER:
        return LINGER.pack(Linger(value >> 32, value & 0x7FFF_FFFF))
    elif number in _TIMES:
        time = socket.options.get((level, _TIMES[number]), 0)
        return TIMEVAL.pack(timeval(time))
    elif number == SO_BINDTODEVICE:
        return b""
    elif number in (SO_SNDBUF, SO_RCVBUF):
        value = socket.options.get((level, number)) or _buffer(socket, number)
    else:
        facts = {
            SO_TYPE: socket.type,
            SO_DOMAIN: socket.family,
            SO_PROTOCOL: socket.protocol,
            SO_ACCEPTCONN: int(socket.state == State.LISTENING),
            SO_SNDLOWAT: 1,
        }
        if number in facts:
            value = facts[number]
        elif number in _NUMBERS:
            value = socket.options.get((level, number), _NUMBERS[number])
        elif number not in _SWITCHES:
            raise LinuxError(ENOPROTOOPT)
    return value.to_bytes(4, "little", signed=True)


def _buffer(socket: Socket, number: int) -> int:
    if socket.protocol != IPPROTO_TCP:
        return BUFFER
    return 16384 if number == SO_SNDBUF else 131072


def _get_other(socket: Socket, level: int, number: int) -> bytes:
    known = _must_have(socket, level)
    if (level, number) == (IPPROTO_TCP, TCP_CONGESTION):
        return b"cubic".ljust(16, b"\0")
    if (level, number) == (IPPROTO_TCP, TCP_INFO):
        states = {State.CONNECTED: 1, State.CONNECTING: 2, State.LISTENING: 10}
        return bytes([states.get(socket.state, 7)]).ljust(232, b"\0")
    if number not in known:
        raise LinuxError(ENOPROTOOPT)
    return socket.options.get((level, number), known[number]).to_bytes(4, "little", signed=True)
