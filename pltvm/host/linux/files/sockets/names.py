"""Addresses of sockets, and their memory layout.

An Internet address has 16 bytes, as in IPv6; IPv4 addresses are mapped (::ffff:a.b.c.d).
"""

from errno import EAFNOSUPPORT, EINVAL
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.structs import SOCKADDR_IN, SOCKADDR_IN6, SockaddrIn, SockaddrIn6

AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6 = 0, 1, 2, 10
LONGEST: Final = 128  # bytes of an address of any kind
_UNIX: Final = 110
_SMALLEST_INET6: Final = 24
MAPPED: Final = bytes(10) + b"\xff\xff"
ANY4: Final = MAPPED + bytes(4)
ANY6: Final = bytes(16)
LOOPBACK4: Final = MAPPED + b"\x7f\0\0\1"
LOOPBACK6: Final = bytes(15) + b"\1"


class UnixName(NamedTuple):
    """The path of a file, an abstract name that begins with NUL, or none (b"")."""

    path: bytes


class InetName(NamedTuple):
    """An address and a port; `scope` is the interface of a link-local address."""

    host: bytes
    port: int
    scope: int = 0


Name = UnixName | InetName


def family_of(raw: bytes) -> int:
    """Return the family of an address in memory; raises LinuxError(EINVAL) if it is too short."""
    if len(raw) < 2:
        raise LinuxError(EINVAL)
    return int.from_bytes(raw[:2], "little")


def unix_name(raw: bytes) -> UnixName:
    """Return the name for its memory layout; raises LinuxError."""
    if len(raw) > _UNIX or family_of(raw) != AF_UNIX:
        raise LinuxError(EINVAL)
    path = raw[2:]
    return UnixName(path if path.startswith(b"\0") else path.split(b"\0", 1)[0])


def inet_name(raw: bytes, family: int) -> InetName:
    """Return the name for its memory layout, for a socket of a family; raises LinuxError."""
    if family == AF_INET:
        if len(raw) < SOCKADDR_IN.size:
            raise LinuxError(EINVAL)
        if family_of(raw) != AF_INET:
            raise LinuxError(EAFNOSUPPORT)
        v4 = SOCKADDR_IN.unpack(raw)
        return InetName(MAPPED + v4.address, int.from_bytes(v4.port, "big"))
    if len(raw) < _SMALLEST_INET6:
        raise LinuxError(EAFNOSUPPORT if family_of(raw) == AF_INET else EINVAL)
    if family_of(raw) != AF_INET6:
        raise LinuxError(EAFNOSUPPORT)
    v6 = SOCKADDR_IN6.unpack(raw[: SOCKADDR_IN6.size].ljust(SOCKADDR_IN6.size, b"\0"))
    return InetName(v6.address, int.from_bytes(v6.port, "big"))


def packed(name: Name | None, family: int) -> bytes:
    """Return the memory layout of a name for a socket of a family; None is no name."""
    if family == AF_UNIX:
        path = name.path if isinstance(name, UnixName) else b""
        end = b"\0" if path and not path.startswith(b"\0") else b""
        return AF_UNIX.to_bytes(2, "little") + path + end
    if not isinstance(name, InetName):
        name = InetName(ANY4 if family == AF_INET else ANY6, 0)
    host, port, scope = name
    in_order = port.to_bytes(2, "big")
    if family == AF_INET:
        return SOCKADDR_IN.pack(SockaddrIn(AF_INET, in_order, host[12:]))
    return SOCKADDR_IN6.pack(SockaddrIn6(AF_INET6, in_order, 0, host, scope))


def is_v4(host: bytes) -> bool:
    """Whether it is an IPv4 address."""
    return host.startswith(MAPPED)


def is_any(host: bytes) -> bool:
    """Whether it means all addresses of this machine."""
    return host in (ANY4, ANY6)


def is_loopback(host: bytes) -> bool:
    """Whether it is an address of the loopback interface."""
    return host == LOOPBACK6 or (is_v4(host) and host[12] == 127)


def is_multicast(host: bytes) -> bool:
    """Whether it is a multicast address."""
    return 224 <= host[12] < 240 if is_v4(host) else host[0] == 0xFF


def is_broadcast(host: bytes) -> bool:
    """Whether it is the broadcast address."""
    return host == MAPPED + b"\xff" * 4


def shown(raw: bytes) -> str:
    """Return an address in memory as strace shows it."""
    try:
        family = family_of(raw)
        if family == AF_UNIX:
            path = unix_name(raw).path
            text = repr(path.lstrip(b"\0"))[2:-1]
            return f'{{sa_family=AF_UNIX, sun_path={"@" * path.startswith(bytes(1))}"{text}"}}'
        if family in (AF_INET, AF_INET6):
            host, port, _ = inet_name(raw, family)
            address = IPv6Address(host)
            kind = "AF_INET" if family == AF_INET else "AF_INET6"
            return f"{{sa_family={kind}, port={port}, addr={address.ipv4_mapped or address}}}"
    except LinuxError:
        pass
    return f"{{{raw[:16].hex()}}}"
