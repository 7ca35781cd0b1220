"""The digest that measures enclaves: SM3 as the original monitor computes it, and SM3 itself (§9).

The original holds every 32-bit word of SM3 in an unsigned 64-bit variable and never cuts it back. Additions
and complements are modulo 2^64, and a rotation takes its left part from the low half only:

    ROTL(x, n) = ((x & 0xffff_ffff) << (n mod 64)) | (x >> ((32 − n) mod 64))

so what has been carried into the high half comes back into the low one. Only the low half of each state word
is put out. Tables, schedule and padding are those of SM3 (GB/T 32905-2016).

How it is made fast enough in plain Python: the message schedule has no addition, so many blocks go through
it side by side, in the 64-bit lanes of one big integer. The rounds depend on each other and stay a loop.
"""

import hashlib
from array import array
from collections.abc import Iterable
from enum import StrEnum
from struct import Struct
from typing import Final

from pltvm.errors import PltvmError

SIZE: Final = 32  # bytes of a digest
_BLOCK: Final = 64  # bytes
_BATCH: Final = 64 * _BLOCK  # bytes that go through the schedule side by side
_LOW: Final = 0xFFFF_FFFF
_ALL: Final = 0xFFFF_FFFF_FFFF_FFFF

_START: Final = (
    0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E,
)  # fmt: skip
_OUTPUT: Final = Struct(">8I")


class Digest(StrEnum):
    """Which digest a monitor measures with."""

    PENGLAI = "penglai"  # of the original, see above: what a verifier of real devices computes
    SM3 = "sm3"  # the standard


def digest(kind: Digest, chunks: Iterable[bytes]) -> bytes:
    """The 32-byte digest of the chunks one after the other.

    Raises PltvmError for standard SM3 where this Python's OpenSSL lacks it.
    """
    if kind is Digest.SM3:
        try:
            standard = hashlib.new("sm3")
        except ValueError:
            raise PltvmError("the OpenSSL of this Python has no SM3: use the digest 'penglai'") from None
        for chunk in chunks:
            standard.update(chunk)
        return standard.digest()
    own = PenglaiDigest()
    for chunk in chunks:
        own.update(chunk)
    return own.digest()


class PenglaiDigest:
    """The original's digest of a stream."""

    def __init__(self) -> None:
        self._state: tuple[int, ...] = _START
        self._waiting = bytearray()  # less than a batch
        self._length = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the message."""
        self._length += len(data)
        waiting = self._waiting
        waiting += data
        if len(waiting) >= _BATCH:
            whole = len(waiting) - len(waiting) % _BATCH
            for at in range(0, whole, _BATCH):
                self._state = _compress(self._state, bytes(waiting[at : at + _BATCH]))
            del waiting[:whole]

    def digest(self) -> bytes:
        """The digest of everything so far; more may follow."""
        tail = bytes(self._waiting) + b"\x80"
        tail += bytes(-(len(tail) + 8) % _BLOCK) + (self._length * 8 & _ALL).to_bytes(8, "big")
        state = _compress(self._state, tail)
        return _OUTPUT.pack(*(word & _LOW for word in state))


def _rotl(x: int, n: int) -> int:
    """The original's rotation of one word, for any n."""
    return (x & _LOW) << n % 64 & _ALL | x >> (32 - n) % 64


# Round by round: the constant, rotated by the number of the round itself.
_T: Final = tuple(_rotl(0x79CC4519 if j < 16 else 0x7A879D8A, j) for j in range(64))


def _schedule(data: bytes) -> tuple[list[list[int]], list[list[int]]]:
    """The message words W and W′ of whole blocks: for each round the words of all blocks."""
    blocks = len(data) // _BLOCK
    size = blocks * 8
    words = array("I", data)
    words.byteswap()
    lanes = [int.from_bytes(array("Q", words[j::16]).tobytes(), "little") for j in range(16)]
    # In a lane a shift to the right must not bring in bits of the lane above.
    ones = int.from_bytes((1).to_bytes(8, "little") * blocks, "little")
    low, shr25, shr17, shr9 = (ones * ((1 << bits) - 1) for bits in (32, 39, 47, 55))
    for j in range(16, 68):
        x = lanes[j - 3]
        x = lanes[j - 16] ^ lanes[j - 9] ^ ((x & low) << 15 | x >> 17 & shr17)
        y = lanes[j - 13]
        half = x & low
        lanes.append(
            x ^ (half << 15 | x >> 17 & shr17) ^ (half << 23 | x >> 9 & shr9)
            ^ ((y & low) << 7 | y >> 25 & shr25)
            ^ lanes[j - 6]
        )  # fmt: skip
    first = [_columns(lanes[j], size) for j in range(64)]
    second = [_columns(lanes[j] ^ lanes[j + 4], size) for j in range(64)]
    return first, second


def _columns(lanes: int, size: int) -> list[int]:
    """The lanes of a big integer, the lowest first."""
    return memoryview(lanes.to_bytes(size, "little")).cast("Q").tolist()


def _compress(state: tuple[int, ...], data: bytes) -> tuple[int, ...]:
    """The state after some whole blocks."""
    first, second = _schedule(data)
    low, every = _LOW, _ALL
    early, late = _T[:16], _T[16:]
    for words, words2 in zip(zip(*first, strict=True), zip(*second, strict=True), strict=True):
        a, b, c, d, e, f, g, h = state
        for t, w, w2 in zip(early, words, words2):  # noqa: B905 - the 16 rounds stop the longer words
            a12 = (a & low) << 12 | a >> 20
            ss1 = a12 + e + t & every
            ss1 = (ss1 & low) << 7 | ss1 >> 25
            tt1 = (a ^ b ^ c) + d + (ss1 ^ a12) + w2 & every
            x = (e ^ f ^ g) + h + ss1 + w & every
            d, c, b, a = c, (b & low) << 9 | b >> 23, a, tt1
            h, g, f = g, (f & low) << 19 | f >> 13, e
            half = x & low
            e = x ^ (half << 9 | x >> 23) ^ (half << 17 | x >> 15)
        for t, w, w2 in zip(late, words[16:], words2[16:]):  # noqa: B905 - equal, and this loop is hot
            a12 = (a & low) << 12 | a >> 20
            ss1 = a12 + e + t & every
            ss1 = (ss1 & low) << 7 | ss1 >> 25
            tt1 = (a & b | c & (a | b)) + d + (ss1 ^ a12) + w2 & every
            x = (g ^ e & (f ^ g)) + h + ss1 + w & every
            d, c, b, a = c, (b & low) << 9 | b >> 23, a, tt1
            h, g, f = g, (f & low) << 19 | f >> 13, e
            half = x & low
            e = x ^ (half << 9 | x >> 23) ^ (half << 17 | x >> 15)
        state = tuple(old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True))
    return state
