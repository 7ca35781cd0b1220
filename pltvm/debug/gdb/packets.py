"""The framing of the remote protocol: `$payload#checksum`, acknowledgements, and the byte that interrupts.

Nothing here does input or output, so it can be tested with any bytes.
"""

from enum import Enum, auto
from typing import Final

MOST: Final = 0x20000  # bytes of a packet, reported to the client
_ESCAPED: Final = b"#$}*"


class Mark(Enum):
    """What a client sends besides packets."""

    INTERRUPT = auto()
    ACK = auto()
    AGAIN = auto()  # a request to repeat the last packet
    BAD = auto()  # a damaged packet


Item = bytes | Mark


class Framer:
    """Makes packets from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Item]:
        """Return the items completed by these bytes. Meaningless bytes outside packets are dropped."""
        found: list[Item] = []
        rest = self._rest + data
        while rest:
            first = rest[:1]
            if first == b"$":
                end, again = rest.find(b"#", 1), rest.find(b"$", 1)
                if 0 < again < (end if end > 0 else len(rest)):  # an incomplete packet
                    found.append(Mark.BAD)
                    rest = rest[again:]
                    continue
                if end < 0 or len(rest) < end + 3:
                    if len(rest) > 2 * MOST:  # longer than any valid packet
                        rest = b""
                        found.append(Mark.BAD)
                    break
                body, check = rest[1:end], rest[end + 1 : end + 3]
                rest = rest[end + 3 if b"$" not in check else end + 1 :]
                found.append(unescape(body) if check.lower() == checksum(body) else Mark.BAD)
                continue
            mark = {b"\x03": Mark.INTERRUPT, b"+": Mark.ACK, b"-": Mark.AGAIN}.get(first)
            if mark is not None:
                found.append(mark)
            rest = rest[1:]
        self._rest = rest
        return found


def checksum(body: bytes) -> bytes:
    """Return two hexadecimal digits."""
    return b"%02x" % (sum(body) & 0xFF)


def unescape(body: bytes) -> bytes:
    """Return the decoded body of a packet."""
    if b"}" not in body:
        return body
    first, *parts = body.split(b"}")
    return first + b"".join(bytes([part[0] ^ 0x20]) + part[1:] for part in parts if part)


def escape(data: bytes) -> bytes:
    """Return bytes encoded for a packet's body."""
    if not any(one in data for one in _ESCAPED):
        return data
    return b"".join(b"}" + bytes([one ^ 0x20]) if one in _ESCAPED else bytes([one]) for one in data)


def frame(payload: bytes) -> bytes:
    """Return a packet, ready to be sent."""
    body = escape(payload)
    return b"$%b#%b" % (body, checksum(body))
