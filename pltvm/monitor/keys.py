"""The keys of a machine (§9): they sign reports, and enclaves derive their keys from them.

    device key      belongs to the hardware; signs the monitor: certificate = sign(digest(hash ‖ public key))
    monitor key     signs the reports of enclaves
    root keys       32 bytes each, for the enclave and the storage kind of derived key

The monitor gets them as data. `DEVELOPMENT` is a published set for runs that need no secret: everyone has it,
so its signatures prove nothing, and runs repeat byte for byte on every computer.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pltvm.errors import PltvmError
from pltvm.monitor import sm2
from pltvm.monitor.digest import Digest, digest

ROOT_SIZE: Final = 32
LARGEST_DERIVED: Final = 255 * 32  # bytes that HKDF-SHA256 can give

# The monitor's identity: the `sm.hash` of its reports is the digest of this. The number changes with
# any change of the monitor that an enclave or a verifier could rely on.
IDENTITY: Final = b"pltvm secure monitor 1"

_FORMAT: Final = "pltvm keys 1"


@dataclass(frozen=True)
class KeyPair:
    """An SM2 key pair; the public key is computed when first used, in about 2 ms."""

    private: int

    @cached_property
    def public(self) -> bytes:
        """x ‖ y."""
        return sm2.public_key(self.private)

    def sign(self, message_hash: bytes) -> bytes:
        """r ‖ s over a 32-byte hash."""
        return sm2.sign(self.private, message_hash)

    def __repr__(self) -> str:
        return "KeyPair(…)"


@dataclass(frozen=True)
class Keys:
    """All keys of one machine. `roots` are by kind of derived key: 0 enclave, 1 storage."""

    device: KeyPair
    monitor: KeyPair
    roots: tuple[bytes, bytes]

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "Keys":
        """New keys from a source of random bytes."""

        def pair() -> KeyPair:
            while not sm2.is_private_key(number := int.from_bytes(random(32), "big")):
                pass
            return KeyPair(number)

        return cls(pair(), pair(), (random(ROOT_SIZE), random(ROOT_SIZE)))

    def derive(self, kind: int, measurement: bytes, size: int) -> bytes:
        """`size` bytes for the enclave of that measurement: HKDF-SHA256 (RFC 5869), measurement as salt."""
        import hmac  # see sm2

        source = hmac.digest(measurement, self.roots[kind], "sha256")
        block, result = b"", b""
        for counter in range(1, (size + 31) // 32 + 1):
            block = hmac.digest(source, block + bytes((counter,)), "sha256")
            result += block
        return result[:size]

    def __repr__(self) -> str:
        return "Keys(…)"

    # -- as text -----------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return all keys as text; the public ones are for readers only and are not read back."""
        fields = {
            "format": _FORMAT,
            "device_private": f"{self.device.private:064x}",
            "device_public": self.device.public.hex(),
            "monitor_private": f"{self.monitor.private:064x}",
            "monitor_public": self.monitor.public.hex(),
            "enclave_root": self.roots[0].hex(),
            "storage_root": self.roots[1].hex(),
        }
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Keys":
        """The keys that `to_json` wrote. Raises PltvmError for any other text."""
        try:
            fields = json.loads(text)
            if fields["format"] != _FORMAT:
                raise PltvmError(f"not a pltvm key file: its format is {fields['format']!r}, not {_FORMAT!r}")
            device, monitor, *roots = (
                bytes.fromhex(fields[name])
                for name in ("device_private", "monitor_private", "enclave_root", "storage_root")
            )
        except json.JSONDecodeError:
            raise PltvmError("not a pltvm key file: it is not JSON") from None
        except KeyError as error:
            raise PltvmError(f"not a pltvm key file: it has no {error}") from None
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise PltvmError("not a pltvm key file: a field is not text of hexadecimal digits") from None
        privates = [int.from_bytes(raw, "big") for raw in (device, monitor)]
        if not all(sm2.is_private_key(number) for number in privates):
            raise PltvmError("not a pltvm key file: a private key is out of range")
        if any(len(raw) != ROOT_SIZE for raw in roots):
            raise PltvmError(f"not a pltvm key file: a root key must have {ROOT_SIZE} bytes")
        return cls(KeyPair(privates[0]), KeyPair(privates[1]), (roots[0], roots[1]))


def certified(kind: Digest, monitor_hash: bytes, monitor_public: bytes) -> bytes:
    """Return the hash that the device key signs: it covers the monitor's identity and key."""
    return digest(kind, (monitor_hash, monitor_public))


# SHA-256 of "pltvm development key 0" to 3.
DEVELOPMENT: Final = Keys(
    KeyPair(0x2B868DABF71AC85A6A4141F8C3AA9D421FDB7B33EC51E7163FEE741B32D013D4),
    KeyPair(0x8D294F95348935DCB817FA4FA0519188BF6DB8B4214034697587500F5DBB96CF),
    (
        bytes.fromhex("d9ad9a22c62411f6103519b75492af0531cbfbb2eb4ffe7c7c6b4babe948511e"),
        bytes.fromhex("b0dba9b9029e4927b0d918ed2e3943aab86c8f4726bf0ba5c3d33a44f848cea9"),
    ),
)
