"""Reports that a host program gets: verified against a measurement that shares no code with the package."""

from pltvm import attestation
from pltvm.monitor.keys import DEVELOPMENT
from tests import independent_measure
from tests.peer import build, cases
from tests.peer.cases import Case
from tests.peer.conftest import Variant


def test_reports_hold(variant: Variant) -> None:
    status, _, output = cases.run(Case("attest"), *variant)
    lines = [line.split() for line in output.splitlines()]
    reports = [(name, bytes.fromhex(text)) for word, name, text in (x for x in lines if len(x) == 3)]
    assert (status, lines[-1]) == (0, ["attest:", "ok"]), output
    assert [name for name, _ in reports] == ["normal", "server", "instance", "instance"]

    folder = build.enclaves(variant[1])
    relayer, service = ((folder / f"{name}.elf").read_bytes() for name in ("relayer", "service"))
    entry, pages = independent_measure.layout(relayer, stack_size=0)
    del pages[independent_measure.KBUFFER]  # a template has neither stack nor kbuffer (§6)
    template = independent_measure.digest(independent_measure.message(entry, pages, 0))
    measurements = {
        "normal": independent_measure.measure(relayer),
        "server": independent_measure.measure(service),
        "instance": template,
    }

    nonces = [0x1234, 0xA5A5_A5A5_A5A5_A5A5, 3, 4]
    for (name, raw), nonce in zip(reports, nonces, strict=True):
        verdict = attestation.verify(raw, DEVELOPMENT.device.public, measurements[name], nonce)
        assert verdict.ok, f"{name}\n{verdict}"
