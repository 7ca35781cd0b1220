"""The digest that measures enclaves: SM3 as the original monitor computes it, and SM3 itself (§9).

The original holds every 32-bit word of SM3 in an unsigned 64-bit variable and never cuts it back. Additions
and complements are modulo 2^64, and a rotation takes its left part from the low half only:

    ROTL(x, n) = ((x & 0xffff_ffff) << (n mod 64)) | (x >> ((32 − n) mod 64))

so bits carried into the high half come back into the low half. Only the low half of each state word is
output. Tables, schedule and padding are those of SM3 (GB/T 32905-2016).

`compress` is the definition in Python. The native core does the same (`native/digest.c`), two hundred times
as fast.
"""

import ctypes
from collections.abc import Callable, Iterable
from enum import StrEnum
from struct import Struct
from typing import Final

from pltvm.errors import PltvmError
from pltvm.native import core

SIZE: Final = 32  # bytes of a digest
_BLOCK: Final = 64  # bytes
_LOW: Final = 0xFFFF_FFFF
_ALL: Final = 0xFFFF_FFFF_FFFF_FFFF

_START: Final = (
    0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E,
)  # fmt: skip
_WORDS: Final = Struct(">16I")
_OUTPUT: Final = Struct(">8I")
_State = ctypes.c_uint64 * 8
if core is not None:
    core.pltvm_digest_blocks.argtypes = [_State, ctypes.c_char_p, ctypes.c_uint64]
    core.pltvm_digest_blocks.restype = None


class Digest(StrEnum):
    """Which digest a monitor measures with."""

    PENGLAI = "penglai"  # the original's, see above: verifiers of real devices compute it
    SM3 = "sm3"  # the standard


def digest(kind: Digest, chunks: Iterable[bytes], check: Callable[[], None] = lambda: None) -> bytes:
    """Return the 32-byte digest of the concatenated chunks.

    `check` is called before each chunk and may raise to end the computation: without the core, a whole
    enclave can take minutes.
    Raises PltvmError for standard SM3 where this Python's OpenSSL lacks it.
    """
    if kind is Digest.SM3:
        import hashlib  # see sm2

        try:
            standard = hashlib.new("sm3")
        except ValueError:
            raise PltvmError("the OpenSSL of this Python has no SM3: use the digest 'penglai'") from None
        for chunk in chunks:
            check()
            standard.update(chunk)
        return standard.digest()
    own = PenglaiDigest()
    for chunk in chunks:
        check()
        own.update(chunk)
    return own.digest()


class PenglaiDigest:
    """Computes the original's digest of a stream."""

    def __init__(self) -> None:
        self._state: tuple[int, ...] = _START
        self._waiting = b""  # less than a block
        self._length = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the message."""
        self._length += len(data)
        data = self._waiting + data
        whole = len(data) - len(data) % _BLOCK
        self._state = _compress(self._state, data[:whole])
        self._waiting = data[whole:]

    def digest(self) -> bytes:
        """The digest of everything so far; more may follow."""
        tail = self._waiting + b"\x80"
        tail += bytes(-(len(tail) + 8) % _BLOCK) + (self._length * 8 & _ALL).to_bytes(8, "big")
        return _OUTPUT.pack(*(word & _LOW for word in _compress(self._state, tail)))


def _rotl(x: int, n: int) -> int:
    """The original's rotation of one word, for any n."""
    return (x & _LOW) << n % 64 & _ALL | x >> (32 - n) % 64


# Round by round: the constant, rotated by the number of the round itself.
_T: Final = tuple(_rotl(0x79CC4519 if j < 16 else 0x7A879D8A, j) for j in range(64))


def compress(state: tuple[int, ...], data: bytes) -> tuple[int, ...]:
    """Return the state after whole blocks, as §9 defines it; takes 0.13 ms per block."""
    low = _LOW  # rotations are written out: calls would take most of the time
    for at in range(0, len(data), _BLOCK):
        w = list(_WORDS.unpack_from(data, at))
        for j in range(16, 68):
            x, y = w[j - 3], w[j - 13]
            x = w[j - 16] ^ w[j - 9] ^ ((x & low) << 15 | x >> 17)
            x ^= ((x & low) << 15 | x >> 17) ^ ((x & low) << 23 | x >> 9)  # P1
            w.append(x ^ ((y & low) << 7 | y >> 25) ^ w[j - 6])
        a, b, c, d, e, f, g, h = state
        for j in range(64):
            a12 = (a & low) << 12 | a >> 20
            x = a12 + e + _T[j] & _ALL
            ss1 = (x & low) << 7 | x >> 25
            if j < 16:
                ff, gg = a ^ b ^ c, e ^ f ^ g
            else:
                ff, gg = a & b | a & c | b & c, e & f | ~e & g
            tt1 = ff + d + (ss1 ^ a12) + (w[j] ^ w[j + 4]) & _ALL
            x = gg + h + ss1 + w[j] & _ALL
            d, c, b, a = c, (b & low) << 9 | b >> 23, a, tt1
            h, g, f = g, (f & low) << 19 | f >> 13, e
            e = x ^ ((x & low) << 9 | x >> 23) ^ ((x & low) << 17 | x >> 15)  # P0
        state = tuple(old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True))
    return state


def _in_core(state: tuple[int, ...], data: bytes) -> tuple[int, ...]:
    """`compress` by the native core."""
    words = _State(*state)
    core.pltvm_digest_blocks(words, data, len(data) // _BLOCK)  # type: ignore[union-attr]
    return tuple(words)


_compress: Final = compress if core is None else _in_core
