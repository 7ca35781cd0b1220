"""SM2 signatures over a 32-byte hash (§9): signed here, verified by the `gmalg` package.

The hash itself is signed: the standard's `e` is the hash, without the prefix Z_A for the signer's identity.
Signatures are r ‖ s and public keys x ‖ y, 32 bytes each, big endian.

The same key and hash give the same signature: the number k is derived from both, by RFC 6979, and not taken
from the host's randomness.

Signing uses its own multiplication of the base point, which takes 2 ms: gmalg divides in every step, which
takes 10 ms, and a report needs four. Verification uses gmalg, so that one checks the other. gmalg is pure
Python without dependencies and is released regularly; the better known `gmssl` had its last release in 2023,
strips digits of public keys that happen to begin with "04", and needs a binary package.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

HASH_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
PUBLIC_KEY_SIZE: Final = 64

# The curve of GB/T 32918.5-2017.
_P: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
_B: Final = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
_N: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
_G: Final = (
    0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7,
    0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0,
)


def is_private_key(number: int) -> bool:
    """Whether the number can be a private key: 1 … n − 2."""
    return 1 <= number <= _N - 2


def public_key(private: int) -> bytes:
    """The public key of a private one."""
    return _joined(_times_g(private))


def sign(private: int, message_hash: bytes) -> bytes:
    """The signature of a 32-byte hash."""
    e = int.from_bytes(message_hash, "big")
    for k in _numbers(private, message_hash):
        if not 1 <= k < _N:
            continue
        r = (e + _times_g(k)[0]) % _N
        s = (k - r * private) * pow(1 + private, -1, _N) % _N
        if r and s and r + k != _N:
            return _joined((r, s))
    raise AssertionError("the candidates for k do not end")


def verify(public: bytes, message_hash: bytes, signature: bytes) -> bool:
    """Whether `signature` is one of the hash by the owner of the public key; False for anything malformed."""
    if len(public) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE or len(message_hash) != HASH_SIZE:
        return False
    core = _verifier()
    point = _split(public)
    if max(point) >= _P or not core.ecdlp.ec.isvalid(point):
        return False
    r, s = _split(signature)
    return bool(core.verify(message_hash, r, s, b"", point))


def _joined(pair: tuple[int, int]) -> bytes:
    return pair[0].to_bytes(32, "big") + pair[1].to_bytes(32, "big")


def _split(raw: bytes) -> tuple[int, int]:
    return int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")


def _times_g(k: int) -> tuple[int, int]:
    """k·G for k from 1 to n − 1, bit by bit.

    It uses Jacobian coordinates (x/z², y/z³), which need only one division at the end. The formulas are those
    of hyperelliptic.org/EFD: `dbl-2001-b`, which needs a = −3, and mixed addition. As k < n, their
    exceptional cases do not occur.
    """
    p, (gx, gy) = _P, _G
    x, y, z = gx, gy, 1
    for bit in f"{k:b}"[1:]:
        delta, gamma = z * z % p, y * y % p
        beta, alpha = x * gamma % p, 3 * (x - delta) * (x + delta) % p
        z = ((y + z) * (y + z) - gamma - delta) % p
        x = (alpha * alpha - 8 * beta) % p
        y = (alpha * (4 * beta - x) - 8 * gamma * gamma) % p
        if bit == "1":
            zz = z * z % p
            h, r = (gx * zz - x) % p, (gy * z * zz - y) % p
            hh = h * h % p
            hhh, v = h * hh % p, x * hh % p
            z = z * h % p
            x = (r * r - hhh - 2 * v) % p
            y = (r * (v - x) - y * hhh) % p
    over_z = pow(z, -1, p)
    return x * over_z**2 % p, y * over_z**3 % p


def _numbers(private: int, message_hash: bytes) -> Iterator[int]:
    """The candidates for k, RFC 6979 section 3.2, with HMAC-SHA256."""
    import hmac  # needs OpenSSL's library, which takes longer to load than most runs

    seed = private.to_bytes(32, "big") + (int.from_bytes(message_hash, "big") % _N).to_bytes(32, "big")
    key, value = bytes(32), b"\1" * 32
    for separator in (b"\0", b"\1"):
        key = hmac.digest(key, value + separator + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        yield int.from_bytes(value, "big")
        key = hmac.digest(key, value + b"\0", "sha256")
        value = hmac.digest(key, value, "sha256")


@cache
def _verifier() -> Any:
    """Return gmalg's algorithm on this curve, with a hash function that returns hashes unchanged."""
    from gmalg.base import Hash
    from gmalg.ellipticcurve import ECDLP
    from gmalg.sm2 import SM2Core

    class Given(Hash):  # type: ignore[misc]
        """gmalg verifies hash(hash(identity) ‖ message); this hash function gives the message, itself a
        hash."""

        def __init__(self) -> None:
            self._data = b""

        def reset(self) -> None:
            self._data = b""

        def update(self, data: bytes) -> None:
            self._data += data

        def value(self) -> bytes:
            return bytes(self._data[-HASH_SIZE:])

    return SM2Core(ECDLP(_P, _P - 3, _B, _G, _N), Given())
