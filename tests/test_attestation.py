"""Verifying reports: what holds, what fails and under which name; every byte counts."""

import pytest

from pltvm import Machine, attestation
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import PltvmError
from pltvm.monitor.abi import Report
from pltvm.monitor.digest import Digest
from pltvm.monitor.keys import DEVELOPMENT, Keys

DEVICE = DEVELOPMENT.device.public
# Which checks a changed byte of each field fails.
FIELDS = {
    "monitor_hash": (32, {"monitor signature"}),
    "monitor_signature": (64, {"monitor signature"}),
    "monitor_public_key": (64, {"monitor signature", "enclave signature"}),
    "hash": (32, {"enclave signature", "measurement"}),
    "signature": (64, {"enclave signature"}),
    "nonce": (8, {"measurement", "nonce"}),
    "device_public_key": (64, {"device key"}),
}
ALL_BYTES = [(name, at) for name, (size, _) in FIELDS.items() for at in range(size)]


@pytest.fixture(scope="module")
def attested() -> tuple[bytes, bytes]:
    """A report with nonce 99 as bytes, and the measurement."""
    enclave = Machine(64 << 20).create(guest.examples()["hello-world"].elf, stack_size=PAGE)
    return attestation.pack(enclave.attest(99)), enclave.measurement


def failures(raw: bytes, measurement: bytes, nonce: int | None = 99) -> set[str]:
    verdict = attestation.verify(raw, DEVICE, measurement, nonce)
    assert verdict.ok is not bool(verdict.failed)
    return {check.name for check in verdict.failed}


def test_a_good_report(attested: tuple[bytes, bytes]) -> None:
    verdict = attestation.verify(attested[0], DEVICE, attested[1], 99)
    assert verdict.ok
    assert not verdict.failed
    assert str(verdict).count(" ok") == 5
    assert failures(*attested, nonce=None) == set()
    assert attestation.pack(verdict.report) == attested[0]


def test_fields_cover_the_report() -> None:
    assert len(ALL_BYTES) == attestation.SIZE == 328
    assert tuple(FIELDS) == Report._fields


@pytest.mark.parametrize("index", range(0, 328, 9))
def test_a_changed_byte_fails(attested: tuple[bytes, bytes], index: int) -> None:
    raw, measurement = attested
    changed = raw[:index] + bytes((raw[index] ^ (1 << index % 8),)) + raw[index + 1 :]
    assert failures(changed, measurement) == FIELDS[ALL_BYTES[index][0]][1]


def test_a_changed_nonce_fails_without_an_expected_one(attested: tuple[bytes, bytes]) -> None:
    report = attestation.parse(attested[0])
    assert failures(attestation.pack(report._replace(nonce=98)), attested[1], None) == {"measurement"}


def test_another_measurement_nonce_or_digest(attested: tuple[bytes, bytes]) -> None:
    raw, measurement = attested
    assert failures(raw, bytes(32)) == {"measurement"}
    assert failures(raw, measurement, 100) == {"nonce"}
    verdict = attestation.verify(raw, DEVICE, measurement, digest=Digest.SM3)
    assert {check.name for check in verdict.failed} == {"monitor signature", "measurement"}


def test_another_device(attested: tuple[bytes, bytes]) -> None:
    other = Keys.generate().device.public
    verdict = attestation.verify(attested[0], other, attested[1])
    assert {check.name for check in verdict.failed} == {"device key", "monitor signature"}
    assert "FAILED: the report names another device" in str(verdict)


@pytest.mark.parametrize("size", [0, 1, 327, 329])
def test_other_sizes_are_no_reports(size: int) -> None:
    with pytest.raises(PltvmError, match=f"{size} bytes, a report has 328"):
        attestation.verify(bytes(size), DEVICE, bytes(32))


def test_zeros_fail_every_check_but_the_nonce() -> None:
    verdict = attestation.verify(bytes(328), DEVICE, bytes(32), 0)
    assert [check.ok for check in verdict.checks] == [False] * 4 + [True]


def test_plain_data(attested: tuple[bytes, bytes]) -> None:
    plain = attestation.verify(attested[0], DEVICE, attested[1]).to_dict()
    assert plain["ok"] is True
    assert plain["checks"]["measurement"] is True
    assert plain["report"]["device_public_key"] == DEVICE.hex()
