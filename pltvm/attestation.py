"""Verifies a report (§8, §9): takes it apart, checks each link of its chain of trust, says which one fails.

    device key      known to the verifier, not taken from the report
      └ signs       the monitor: its hash and its key
          └ signs   the enclave's hash = digest(measurement ‖ nonce)

A report has only a hash, so the verifier must know the measurement to expect: `pltvm measure` computes it
from the ELF. With the measurement, every byte of a report is covered by one of the checks.
"""

from dataclasses import dataclass
from typing import Any, Final

from pltvm.errors import PltvmError
from pltvm.monitor import abi, sm2
from pltvm.monitor.abi import Report
from pltvm.monitor.digest import Digest
from pltvm.monitor.keys import certified
from pltvm.monitor.measure import report_hash

SIZE: Final = abi.REPORT.size  # bytes of a report


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was checked, whether it holds, and what it means if it does not."""

    name: str
    ok: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a report."""

    report: Report
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.ok)

    def __str__(self) -> str:
        lines = [
            f"{check.name:18} {'ok' if check.ok else f'FAILED: {check.meaning}'}" for check in self.checks
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data, for JSON."""
        return {
            "ok": self.ok,
            "checks": {check.name: check.ok for check in self.checks},
            "report": to_dict(self.report),
        }


def pack(report: Report) -> bytes:
    """Return a report in its binary layout, in memory and in report files."""
    return abi.REPORT.pack(*report)


def parse(raw: bytes) -> Report:
    """Return the report in a file's bytes. Raises PltvmError when the size is wrong."""
    if len(raw) != SIZE:
        raise PltvmError(f"not a report: it has {len(raw)} bytes, a report has {SIZE}")
    return Report(*abi.REPORT.unpack(raw))


def to_dict(report: Report) -> dict[str, Any]:
    """Return a report as plain data, bytes in hex, for JSON."""
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in report._asdict().items()
    }


def verify(
    raw: bytes,
    device_key: bytes,
    measurement: bytes,
    nonce: int | None = None,
    digest: Digest = Digest.PENGLAI,
) -> Verdict:
    """Check a report against the device's public key (64 bytes) and the enclave's measurement (32 bytes).

    With `nonce` the report must be for that nonce, otherwise for any. Raises PltvmError when `raw` does not
    have the size of a report.
    """
    report = parse(raw)
    certificate = certified(digest, report.monitor_hash, report.monitor_public_key)
    checks = [
        Check("device key", report.device_public_key == device_key, "the report names another device"),
        Check(
            "monitor signature",
            sm2.verify(device_key, certificate, report.monitor_signature),
            "the device did not sign this monitor and its key",
        ),
        Check(
            "enclave signature",
            sm2.verify(report.monitor_public_key, report.hash, report.signature),
            "the monitor's key did not sign this hash",
        ),
        Check(
            "measurement",
            report.hash == report_hash(digest, measurement, report.nonce),
            "the hash is not that of the expected measurement with the report's nonce",
        ),
    ]
    if nonce is not None:
        checks.append(
            Check("nonce", report.nonce == nonce, f"the report answers nonce {report.nonce}, not {nonce}")
        )
    return Verdict(report, tuple(checks))
