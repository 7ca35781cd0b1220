"""Keys: SM2 against the standard's example, deterministic signatures, derived keys, the text form."""

import hashlib
import hmac
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltvm.errors import PltvmError
from pltvm.monitor import sm2
from pltvm.monitor.digest import Digest, digest
from pltvm.monitor.keys import DEVELOPMENT, LARGEST_DERIVED, KeyPair, Keys, certified

HASH = hashlib.sha256(b"message").digest()
KEY = DEVELOPMENT.monitor

# GB/T 32918.5-2017, annex A.2.
EXAMPLE_PRIVATE = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8
EXAMPLE_PUBLIC = bytes.fromhex(
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
EXAMPLE_HASH = bytes.fromhex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
EXAMPLE_SIGNATURE = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)


def test_the_example_of_the_standard() -> None:
    assert sm2.public_key(EXAMPLE_PRIVATE) == EXAMPLE_PUBLIC
    assert sm2.verify(EXAMPLE_PUBLIC, EXAMPLE_HASH, EXAMPLE_SIGNATURE)


def test_the_example_is_signed_the_same_with_its_k(monkeypatch: pytest.MonkeyPatch) -> None:
    k = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
    monkeypatch.setattr(sm2, "_numbers", lambda _private, _hash: itertools.repeat(k))
    assert sm2.sign(EXAMPLE_PRIVATE, EXAMPLE_HASH) == EXAMPLE_SIGNATURE


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 2**255), st.binary(min_size=32, max_size=32))
def test_signatures_verify_and_repeat(private: int, message_hash: bytes) -> None:
    signature = sm2.sign(private, message_hash)
    assert signature == sm2.sign(private, message_hash)
    assert sm2.verify(sm2.public_key(private), message_hash, signature)


@pytest.mark.parametrize(
    "number", [*range(1, 20), *range(sm2._N - 20, sm2._N - 1), 1 << 255, (1 << 255) - 1, EXAMPLE_PRIVATE]
)
def test_public_keys_are_those_of_gmalg(number: int) -> None:
    assert sm2.public_key(number) == sm2._joined(sm2._verifier().generate_pk(number))


def test_k_differs_by_key_and_hash() -> None:
    numbers = {next(sm2._numbers(private, bytes((byte,)) * 32)) for private in (1, 2) for byte in (0, 1)}
    assert len(numbers) == 4


def test_k_is_that_of_rfc_6979(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its A.2.5, with SHA-256 and the message "sample": of another curve, whose order is put in place."""
    monkeypatch.setattr(sm2, "_N", 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551)
    private = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    k = 0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60
    assert next(sm2._numbers(private, hashlib.sha256(b"sample").digest())) == k


def test_a_k_that_is_no_good_is_followed_by_another() -> None:
    """Step h of RFC 6979, section 3.2."""

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    for message_hash in (HASH, b"\xff" * 32):
        seed = (5).to_bytes(32, "big") + (int.from_bytes(message_hash, "big") % sm2._N).to_bytes(32, "big")
        key = mac(bytes(32), b"\1" * 32 + b"\0" + seed)
        value = mac(key, b"\1" * 32)
        key = mac(key, value + b"\1" + seed)
        value = mac(key, mac(key, value))
        expected = [value]
        for _ in range(2):
            key = mac(key, value + b"\0")
            value = mac(key, mac(key, value))
            expected.append(value)
        numbers = [
            number.to_bytes(32, "big") for number in itertools.islice(sm2._numbers(5, message_hash), 3)
        ]
        assert numbers == expected


def test_which_numbers_are_private_keys() -> None:
    numbers = (-1, 0, 1, sm2._N - 2, sm2._N - 1, sm2._N)
    assert [sm2.is_private_key(number) for number in numbers] == [False, False, True, True, False, False]


@pytest.mark.parametrize("position", range(0, 64, 7))
def test_a_changed_byte_does_not_verify(position: int) -> None:
    def flip(raw: bytes) -> bytes:
        at = position % len(raw)
        return raw[:at] + bytes((raw[at] ^ 0x40,)) + raw[at + 1 :]

    signature = KEY.sign(HASH)
    assert not sm2.verify(flip(KEY.public), HASH, signature)
    assert not sm2.verify(KEY.public, flip(HASH), signature)
    assert not sm2.verify(KEY.public, HASH, flip(signature))


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(63) + b"\1", b"\1" + bytes(63), b""])
def test_malformed_signatures(signature: bytes) -> None:
    assert not sm2.verify(KEY.public, HASH, signature)


@pytest.mark.parametrize("public", [bytes(64), b"\xff" * 64, b"\4" + KEY.public, KEY.public[1:], b""])
def test_malformed_public_keys(public: bytes) -> None:
    assert not sm2.verify(public, HASH, KEY.sign(HASH))


def test_development_keys_are_fixed() -> None:
    assert DEVELOPMENT.device.public.hex().startswith("7b96998d884fe83ceabf722a63e5aa1e711b52af")
    counter = itertools.count()
    texts = (b"pltvm development key %d" % number for number in counter)
    assert Keys.generate(lambda _size: hashlib.sha256(next(texts)).digest()) == DEVELOPMENT
    assert next(counter) == 4


def test_generated_keys_differ_and_skip_numbers_out_of_range() -> None:
    assert Keys.generate() != Keys.generate()
    numbers = iter([bytes(32), b"\xff" * 32, *(bytes((n,)) * 32 for n in range(1, 5))])
    keys = Keys.generate(lambda _size: next(numbers))
    assert keys.device.private == int.from_bytes(b"\1" * 32, "big")


def test_secrets_do_not_show() -> None:
    assert (repr(DEVELOPMENT), repr(DEVELOPMENT.device)) == ("Keys(…)", "KeyPair(…)")
    shown = f"{DEVELOPMENT!s} {DEVELOPMENT.device!s} {DEVELOPMENT.__dict__!r}"
    assert f"{DEVELOPMENT.device.private:x}"[:8] not in shown
    assert str(DEVELOPMENT.device.private)[:8] not in shown


# -- derived keys ------------------------------------------------------------------------------------------


def test_derive_is_hkdf() -> None:
    # RFC 5869 test case 3 has no info either, but no salt: compare with the definition instead.
    source = hmac.digest(b"m" * 32, DEVELOPMENT.roots[1], "sha256")
    first = hmac.digest(source, b"\1", "sha256")
    second = hmac.digest(source, first + b"\2", "sha256")
    assert DEVELOPMENT.derive(1, b"m" * 32, 50) == (first + second)[:50]


def test_derive_agrees_with_the_rfc() -> None:
    keys = Keys(DEVELOPMENT.device, DEVELOPMENT.monitor, (b"\x0b" * 22, b""))  # RFC 5869, A.3
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert keys.derive(0, bytes(32), 42).hex() == expected


def test_derived_keys_depend_on_kind_and_measurement_and_prefixes_agree() -> None:
    keys = {DEVELOPMENT.derive(kind, bytes((m,)) * 32, 32) for kind in (0, 1) for m in (0, 1)}
    assert len(keys) == 4
    longest = DEVELOPMENT.derive(0, bytes(32), LARGEST_DERIVED)
    assert len(longest) == LARGEST_DERIVED
    assert longest.startswith(DEVELOPMENT.derive(0, bytes(32), 1))


# -- as text -----------------------------------------------------------------------------------------------


def test_text_and_back() -> None:
    assert Keys.from_json(DEVELOPMENT.to_json()) == DEVELOPMENT
    small = Keys(KeyPair(1), KeyPair(2), (b"a" * 32, b"b" * 32))
    assert Keys.from_json(small.to_json()) == small


def test_the_text_is_json_with_a_line_for_each_key() -> None:
    """The development keys are numbers that anybody can compute."""
    secret = [hashlib.sha256(b"pltvm development key %d" % number).hexdigest() for number in range(4)]
    fields = {
        "format": "pltvm keys 1",
        "device_private": secret[0],
        "device_public": DEVELOPMENT.device.public.hex(),
        "monitor_private": secret[1],
        "monitor_public": DEVELOPMENT.monitor.public.hex(),
        "enclave_root": secret[2],
        "storage_root": secret[3],
    }
    lines = ",\n".join(f'  "{name}": "{value}"' for name, value in fields.items())
    assert DEVELOPMENT.to_json() == f"{{\n{lines}\n}}\n"


def test_the_device_key_signs_hash_and_key_of_the_monitor() -> None:
    for kind in Digest:
        if kind is Digest.PENGLAI or "sm3" in hashlib.algorithms_available:
            assert certified(kind, b"hash", b"key") == digest(kind, [b"hashkey"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "pltvm keys 9"),
        ("device_private", "0" * 64),
        ("device_private", "xyz"),
        ("monitor_private", "f" * 64),
        ("enclave_root", "00"),
        ("storage_root", None),
    ],
)
def test_wrong_fields_are_refused(name: str, value: object) -> None:
    fields = json.loads(DEVELOPMENT.to_json()) | {name: value}
    with pytest.raises(PltvmError, match="not a pltvm key file"):
        Keys.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '"x"', "\0"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(PltvmError, match="not a pltvm key file"):
        Keys.from_json(text)
