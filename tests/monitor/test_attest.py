"""Reports and keys as enclaves and the host ask for them."""

from collections.abc import Callable

import pytest

from pltvm import Enclave, EnclaveType, Machine, Result
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.driver import Driver
from pltvm.monitor import abi, attest, sm2
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


@pytest.fixture(scope="module")
def done(build_guest: Callable[[str], bytes]) -> tuple[Result, dict[str, bytes]]:
    """One run of tests/guest/attest.c next to a server, and what was expected while it ran."""
    machine = Machine(RAM)
    server = machine.create(HELLO, name="server", type=EnclaveType.SERVER, stack_size=PAGE)
    expected = {"server": server.measurement}
    enclave = machine.create(build_guest("attest"), stack_size=PAGE, shm=bytes(SHM_PAGES * PAGE))
    expected["enclave"] = enclave.measurement

    now, original = {}, attest.measure_now

    def spy(kind: Digest, memory: object, entry: int, table: object, nonce: int, *rest: object) -> bytes:
        pages = {leaf.va: memory.read(leaf.pte >> 10 << 12, PAGE) for leaf in table.leaves()}  # type: ignore[attr-defined]
        now["hash"] = independent_measure.digest(independent_measure.message(entry, pages, nonce))
        return original(kind, memory, entry, table, nonce, *rest)  # type: ignore[arg-type]

    attest.measure_now = spy  # type: ignore[assignment]
    try:
        result = enclave.run(timeout=60)
    finally:
        attest.measure_now = original
    assert result.ok, result.fault
    assert server.measurement == expected["server"], "the server's stored measurement stays (§10)"
    return result, expected | now


def page(result: Result, at: int, size: int) -> bytes:
    assert result.shm is not None
    return result.shm[at : at + size]


def results(result: Result) -> list[int]:
    return memoryview(page(result, 0, 20 * 8)).cast("Q").tolist()


def test_results_of_all_calls(done: tuple[Result, dict[str, bytes]]) -> None:
    good_reports, bad_reports, good_keys, bad_keys = 2, 7, 3, 8
    expected = [0] * good_reports + [MINUS_1] * bad_reports + [0] * good_keys + [MINUS_1] * bad_keys
    assert results(done[0]) == expected


def test_report_on_oneself_is_a_new_measurement(done: tuple[Result, dict[str, bytes]]) -> None:
    report = unpack(page(done[0], PAGE, abi.REPORT.size))
    assert report.nonce == 7
    assert report.hash == done[1]["hash"]
    assert report.hash != independent_measure.report_hash(done[1]["enclave"], 7)
    assert sm2.verify(DEVELOPMENT.monitor.public, report.hash, report.signature)


def test_report_on_a_server(done: tuple[Result, dict[str, bytes]]) -> None:
    report = unpack(page(done[0], 2 * PAGE - 100, abi.REPORT.size))
    assert report.nonce == MINUS_1
    assert report.hash == independent_measure.report_hash(done[1]["server"], MINUS_1)
    assert report.monitor_hash == independent_measure.digest(IDENTITY)
    assert report.monitor_public_key == DEVELOPMENT.monitor.public
    assert report.device_public_key == DEVELOPMENT.device.public
    certificate = independent_measure.digest(report.monitor_hash + report.monitor_public_key)
    assert sm2.verify(DEVELOPMENT.device.public, certificate, report.monitor_signature)


def test_derived_keys(done: tuple[Result, dict[str, bytes]]) -> None:
    measurement = done[1]["enclave"]
    assert page(done[0], 3 * PAGE, 32) == DEVELOPMENT.derive(0, measurement, 32)
    assert page(done[0], 3 * PAGE + 32, 32) == DEVELOPMENT.derive(1, measurement, 32)
    assert page(done[0], 4 * PAGE - 10, 100) == DEVELOPMENT.derive(0, measurement, 100)


def test_bad_pointers_write_nothing(done: tuple[Result, dict[str, bytes]]) -> None:
    assert not any(page(done[0], SHM_PAGES * PAGE - 200, 200))


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
