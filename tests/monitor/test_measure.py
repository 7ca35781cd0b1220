"""Measurements: equal to an independent computation, of the memory at creation, remembered by content."""

import gc
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import Leaf
from pltvm.monitor import measure
from pltvm.monitor.digest import Digest
from tests import independent_measure

EXAMPLES = guest.examples()
RAM = 64 << 20
HELLO = EXAMPLES["hello-world"].elf


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_agree_with_the_independent_script(name: str) -> None:
    elf = EXAMPLES[name].elf
    assert Machine(RAM).create(elf).measurement == independent_measure.measure(elf.read_bytes())


@pytest.mark.parametrize(("stack", "shm"), [(1, None), (3 * PAGE, b"\x01shared"), (PAGE, bytes(2 * PAGE))])
def test_stack_and_shared_memory_count(stack: int, shm: bytes | None) -> None:
    enclave = Machine(RAM).create(HELLO, stack_size=stack, shm=shm)
    assert enclave.measurement == independent_measure.measure(HELLO.read_bytes(), stack, shm=shm or b"")


def test_runs_that_go_on_in_the_next_table() -> None:
    # 600 pages below the top of the stack lie in two leaf tables: one run all the same.
    enclave = Machine(RAM).create(HELLO, stack_size=600 * PAGE)
    snapshot = enclave._driver.kernel.monitor.state.contents[enclave.eid]
    stream = b"".join(measure._stream(snapshot.entry, snapshot.pages, 0))
    entry, pages = independent_measure.layout(HELLO.read_bytes(), 600 * PAGE)
    assert stream == independent_measure.message(entry, pages, 0)


def test_a_server_measures_like_a_normal_enclave_and_its_name_does_not_count() -> None:
    machine = Machine(RAM)
    server = machine.create(HELLO, name="one", type=EnclaveType.SERVER)
    assert server.measurement == machine.create(HELLO, name="other").measurement


def test_memory_as_it_was_at_creation() -> None:
    machine = Machine(RAM)
    enclave = machine.create(HELLO, shm=b"before")
    inner = enclave.inner
    machine.memory.write(inner.shm.pa, b"after!")
    machine.memory.write(inner.kbuffer, b"text")
    assert enclave.measurement == machine.create(HELLO, shm=b"before").measurement
    assert enclave.measurement != machine.create(HELLO, shm=b"after!").measurement


def test_equal_enclaves_share_and_the_digest_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    original = measure.digest
    monkeypatch.setattr(measure, "digest", lambda *given: computed.append(1) or original(*given))
    monkeypatch.setattr(measure, "_remembered", {})
    gc.collect()
    before = len(measure._snapshots)
    machine = Machine(RAM)
    shm = b"of this test only"
    enclaves = [machine.create(HELLO, stack_size=PAGE, shm=shm) for _ in range(10)]
    assert len(measure._snapshots) == before + 1
    assert not computed
    assert len({enclave.measurement for enclave in enclaves}) == 1
    assert len(computed) == 1
    for enclave in enclaves:
        enclave.destroy()
    gc.collect()
    assert len(measure._snapshots) == before, "destroyed enclaves keep no memory"
    assert machine.create(HELLO, stack_size=PAGE, shm=shm).measurement
    assert len(computed) == 1, "remembered by content"


def test_snapshots_of_the_same_memory_are_one_object() -> None:
    memory = Memory(0x8000_0000, 4 * PAGE)
    leaves = [Leaf(0x1000 + at, sv39.make_pte(memory.base + at, sv39.RX), 0) for at in (0, PAGE)]
    memory.write(memory.base, b"code")
    snapshot = measure.capture(memory, 0x1000, leaves)
    assert measure.capture(memory, 0x1000, leaves) is snapshot
    assert measure.capture(memory, 0x1004, leaves) is not snapshot
    memory.write(memory.base, b"edoc")
    assert measure.capture(memory, 0x1000, leaves) is not snapshot


def test_few_measurements_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_remembered", {})
    monkeypatch.setattr(measure, "_REMEMBERED", 2)
    for entry in range(5):
        measure.Snapshot(entry, ()).measurement(Digest.PENGLAI)
    assert len(measure._remembered) == 2


def test_the_standard_digest_gives_another_measurement() -> None:
    pytest.importorskip("hashlib").new("sm3")
    other = Machine(RAM, digest=Digest.SM3).create(HELLO).measurement
    assert other != Machine(RAM).create(HELLO).measurement


def test_the_script_runs_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import runpy
    import sys

    arguments = sys.argv
    sys.argv = ["script", str(HELLO), "4096"]
    try:
        runpy.run_path(independent_measure.__file__, run_name="__main__")
    finally:
        sys.argv = arguments
    printed = capsys.readouterr().out.strip()
    assert printed == Machine(RAM).create(HELLO, stack_size=PAGE).measurement.hex()
