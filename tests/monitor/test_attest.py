"""Reports and keys as enclaves and the host ask for them."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from pltvm import Enclave, EnclaveType, Machine, Result
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError, Interrupted
from pltvm.host.driver import Driver
from pltvm.monitor import abi, attest, measure, sm2
from pltvm.monitor.abi import HostCall, Report, Status
from pltvm.monitor.digest import Digest
from pltvm.monitor.keys import DEVELOPMENT, IDENTITY
from tests import independent_measure

RAM = 64 << 20
HELLO = guest.examples()["hello-world"].elf
SHM_PAGES = 6
MINUS_1 = 2**64 - 1


def unpack(raw: bytes) -> Report:
    return Report(*abi.REPORT.unpack(raw))


def digest_of(kind: Digest) -> Callable[[bytes], bytes]:
    """The digest, computed by others."""
    if kind is Digest.PENGLAI:
        return independent_measure.digest
    return lambda message: hashlib.new("sm3", message).digest()


@dataclass
class Done:
    """A run of tests/guest/attest.c next to a server, and what was expected while it ran."""

    result: Result
    digest: Callable[[bytes], bytes]
    server: bytes = b""
    enclave: bytes = b""
    now: bytes = b""

    def hash(self, measurement: bytes, nonce: int) -> bytes:
        """What a report says of an enclave measured at its creation."""
        return self.digest(measurement + nonce.to_bytes(8, "little"))


def created(build_guest: Callable[[str], bytes], kind: Digest) -> tuple[Machine, Enclave, Enclave]:
    """A machine, a server, and an enclave that is to ask for reports and keys."""
    machine = Machine(RAM, digest=kind)
    server = machine.create(HELLO, name="server", type=EnclaveType.SERVER, stack_size=PAGE)
    return (
        machine,
        server,
        machine.create(build_guest("attest"), stack_size=PAGE, shm=bytes(SHM_PAGES * PAGE)),
    )


@pytest.fixture(params=list(Digest))
def done(build_guest: Callable[[str], bytes], request: pytest.FixtureRequest) -> Done:
    if request.param is Digest.SM3 and "sm3" not in hashlib.algorithms_available:
        pytest.skip("the OpenSSL of this Python has no SM3")
    of = digest_of(request.param)
    _, server, enclave = created(build_guest, request.param)
    expected = {"server": server.measurement, "enclave": enclave.measurement}
    entry, pages = independent_measure.layout(HELLO.read_bytes(), PAGE)
    assert server.measurement == of(independent_measure.message(entry, pages, 0))
    original = attest.measure_now

    def spy(kind: Digest, memory: object, entry: int, table: object, nonce: int, *rest: object) -> bytes:
        pages = {leaf.va: memory.read(leaf.pte >> 10 << 12, PAGE) for leaf in table.leaves()}  # type: ignore[attr-defined]
        expected["now"] = of(independent_measure.message(entry, pages, nonce))
        return original(kind, memory, entry, table, nonce, *rest)  # type: ignore[arg-type]

    attest.measure_now = spy  # type: ignore[assignment]
    try:
        result = enclave.run(timeout=60)
    finally:
        attest.measure_now = original
    assert result.ok, result.fault
    assert server.measurement == expected["server"], "the server's stored measurement stays (§10)"
    return Done(result, of, **expected)


def page(result: Result, at: int, size: int) -> bytes:
    assert result.shm is not None
    return result.shm[at : at + size]


def results(result: Result) -> list[int]:
    return memoryview(page(result, 0, 20 * 8)).cast("Q").tolist()


def test_results_of_all_calls(done: Done) -> None:
    good_reports, bad_reports, good_keys, bad_keys = 2, 7, 3, 8
    expected = [0] * good_reports + [MINUS_1] * bad_reports + [0] * good_keys + [MINUS_1] * bad_keys
    assert results(done.result) == expected


def test_report_on_oneself_is_a_new_measurement(done: Done) -> None:
    report = unpack(page(done.result, PAGE, abi.REPORT.size))
    assert report.nonce == 7
    assert report.hash == done.now
    assert report.hash != done.hash(done.enclave, 7)
    assert sm2.verify(DEVELOPMENT.monitor.public, report.hash, report.signature)


def test_report_on_a_server(done: Done) -> None:
    report = unpack(page(done.result, 2 * PAGE - 100, abi.REPORT.size))
    assert report.nonce == MINUS_1
    assert report.hash == done.hash(done.server, MINUS_1)
    assert report.monitor_hash == done.digest(IDENTITY)
    assert report.monitor_public_key == DEVELOPMENT.monitor.public
    assert report.device_public_key == DEVELOPMENT.device.public
    certificate = done.digest(report.monitor_hash + report.monitor_public_key)
    assert sm2.verify(DEVELOPMENT.device.public, certificate, report.monitor_signature)


def test_derived_keys(done: Done) -> None:
    measurement = done.enclave
    assert page(done.result, 3 * PAGE, 32) == DEVELOPMENT.derive(0, measurement, 32)
    assert page(done.result, 3 * PAGE + 32, 32) == DEVELOPMENT.derive(1, measurement, 32)
    assert page(done.result, 4 * PAGE - 10, 100) == DEVELOPMENT.derive(0, measurement, 100)


def test_bad_pointers_write_nothing(done: Done) -> None:
    assert not any(page(done.result, SHM_PAGES * PAGE - 200, 200))


def test_a_run_that_is_to_end_meanwhile_makes_its_call_again(
    build_guest: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever takes long looks whether it is to end, and nothing has changed by then."""
    machine, _, enclave = created(build_guest, Digest.PENGLAI)
    _, _, other = created(build_guest, Digest.PENGLAI)
    expected = other.run(timeout=60)
    original, ended, ask = measure.digest, [], True

    def ending(kind: Digest, chunks: Iterable[bytes], *check: Callable[[], None]) -> bytes:
        """Every first time the run is to end."""
        nonlocal ask
        if not check or not ask:
            ask = True
            return original(kind, chunks, *check)
        machine.hart.halt.ask("enough")
        machine.hart.interrupt()
        ask, number = False, len(ended)
        ended.append(False)
        try:
            return original(kind, chunks, *check)
        except Interrupted:
            ended[number] = True
            raise

    monkeypatch.setattr(measure, "_remembered", {})
    monkeypatch.setattr(measure, "digest", ending)
    contents = machine.monitor.state.contents
    for eid, content in contents.items():
        contents[eid] = measure.Snapshot(content.entry, content.pages)
    result = enclave.run(timeout=60)
    for _ in range(3):
        assert result.status == "interrupted"
        result = enclave.resume(timeout=60)
    assert ended == [True] * 3, "of the enclave as it is, of the server, of the enclave as it was"
    assert (result.ok, result.shm) == (True, expected.shm)


# -- the host's side ---------------------------------------------------------------------------------------


@pytest.fixture
def enclave() -> Enclave:
    return Machine(RAM).create(HELLO, stack_size=PAGE)


def test_host_report(enclave: Enclave) -> None:
    measurement = independent_measure.measure(HELLO.read_bytes(), PAGE)
    report = enclave.attest(1 << 63)
    assert enclave.measurement == measurement
    assert (report.nonce, report.hash) == (1 << 63, independent_measure.report_hash(measurement, 1 << 63))
    assert enclave.attest(1 << 63) == report, "the same input gives the same signatures"


def test_host_may_attest_a_server() -> None:
    server = Machine(RAM).create(HELLO, name="s", type=EnclaveType.SERVER, stack_size=PAGE)
    assert server.attest(3).hash == independent_measure.report_hash(server.measurement, 3)


def test_monitor_call_refuses_private_memory_and_unknown_enclaves(enclave: Enclave) -> None:
    driver: Driver = enclave._driver
    inner, call = enclave._inner, driver.kernel.call
    last_public = driver.blocks.take(1)
    bad = [0, driver.memory.base, inner.block, driver.memory.end - 8, 2**64 - 8]
    assert [call(HostCall.ATTEST, inner.eid, pa, 0) for pa in bad] == [Status.ERROR] * len(bad)
    assert call(HostCall.ATTEST, inner.eid + 1, last_public, 0) == Status.ERROR
    assert call(HostCall.ATTEST, inner.eid, last_public, 0) == Status.OK


def test_ended_enclaves_and_wrong_nonces_are_refused(enclave: Enclave) -> None:
    for nonce in (-1, 1 << 64):
        with pytest.raises(EnclaveError, match="64-bit"):
            enclave.attest(nonce)
    enclave.destroy()
    with pytest.raises(EnclaveError, match="has ended"):
        enclave.attest(0)
    with pytest.raises(EnclaveError, match="has ended"):
        _ = enclave.measurement
