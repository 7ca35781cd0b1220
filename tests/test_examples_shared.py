"""The examples of relay pages, memory between enclaves, sectors, shadow enclaves and random numbers run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltvm import BOUND, EnclaveType, Machine
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.monitor.audit import audit
from tests.monitor.shared_rig import numbered

ELF = {name: example.elf for name, example in guest.examples().items()}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(64 << 20, disk=tmp_path / "disk")
    yield machine
    assert audit(machine.monitor.state) == []


def test_relay(machine: Machine) -> None:
    relay, new = machine.relay(numbered(4)), machine.relay((7).to_bytes(8, "little"))
    enclave = machine.create(ELF["relay"], name="relay", relay=relay)
    result = enclave.run()
    assert result.status == "relay returned"
    assert result.output == "[relay] 4 pages, the first starts with 1\n[relay] passed on 3 pages\n"
    assert not relay.here
    assert enclave.resume(relay=new).output == "[relay] back, the new page starts with 7\n"
    following = machine.create(ELF["relay"], name="relay-next", relay=BOUND)
    result = following.run()
    assert result.output == "[relay] 3 pages, the first starts with 2\n[relay] passed on 2 pages\n"
    following.destroy()
    relay.free()
    new.free()


def test_secure_shm(machine: Machine) -> None:
    before = machine.kernel.blocks.free_pages
    first, second = (machine.create(ELF["secure-shm"]).run() for _ in range(2))
    assert first.output == "[shm] made it\n"
    assert second.output == f"[shm] {2 * PAGE} bytes, used by 1: a secret between enclaves\n"
    assert second.retval == 0
    lent = sum(pages for _, pages in machine.monitor.state.records.lent())
    assert machine.kernel.blocks.free_pages + lent == before


def test_sectors(machine: Machine) -> None:
    memory = machine.shm(PAGE)
    machine.use_for_persistency(memory)
    outputs = [machine.create(ELF["sectors"], shm=memory).run().output for _ in range(3)]
    assert outputs == [f"[sectors] run {run}\n" for run in (1, 2, 3)]


def test_shadow(machine: Machine) -> None:
    template = machine.create(ELF["shadow"], type=EnclaveType.SHADOW)
    results = [template.fork().run() for _ in range(3)]
    assert {result.retval for result in results} == {42}
    assert [re.sub(r"eid \d+", "", result.output) for result in results] == [
        f"[shadow] number {number}, , counter 42\n" for number in range(3)
    ]


def test_random(machine: Machine) -> None:
    results = [machine.create(ELF["random"]).run() for _ in range(2)]
    assert [result.retval for result in results] == [0, 0]
    numbers = [result.output.splitlines()[0] for result in results]
    assert numbers[0] != numbers[1]
    assert Machine(64 << 20).create(ELF["random"]).run().output == results[0].output
    match = re.search(r"(\d+) of (\d+) bits", results[0].output)
    assert match is not None
    assert 0.49 < int(match[1]) / int(match[2]) < 0.51
