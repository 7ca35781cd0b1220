"""The Python API: what a program that imports `pltvm` sees."""

from pathlib import Path

import pytest

from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import ElfError, EnclaveError, OutOfMemory, PltvmError
from pltvm.host.api import Enclave
from pltvm.machine import Machine
from pltvm.monitor.abi import MAX_STACK, EnclaveType
from tests.monitor.rig import DATA, LIST_PAGES, RECURSE, SHM_PAGES, Memory, Script, end_loop, stopped_in_loop

EXAMPLES = guest.examples()
RAM = 256 << 20


@pytest.fixture
def machine() -> Machine:
    """A machine of 256 MiB."""
    return Machine(RAM)


def shm_of(script: Script) -> bytes:
    return script.words.tobytes() + bytes((SHM_PAGES - LIST_PAGES) * PAGE)


def test_hello_world(machine: Machine) -> None:
    before = machine.kernel.blocks.free_pages
    enclave = machine.create(EXAMPLES["hello-world"].elf)
    assert enclave.alive
    assert enclave.type is EnclaveType.NORMAL
    assert enclave.name.endswith("hello-world.elf")
    printed: list[bytes] = []
    result = enclave.run(on_output=printed.append)
    assert result.ok
    assert result.status == "exited"
    assert result.output == b"".join(printed).decode()
    assert "hello" in result.output.lower()
    assert result.stats.output_bytes == len(result.output)
    assert result.fault is result.shm is result.relay is None
    assert not enclave.alive
    lent = sum(pages for _, pages in machine.monitor.state.records.lent())
    assert machine.kernel.blocks.free_pages == before - lent
    assert result.to_dict()["retval"] == result.retval


def test_example_chain(machine: Machine) -> None:
    for name in ("server", "server1"):
        machine.create(EXAMPLES[name].elf, name=f"test-{name}", type=EnclaveType.SERVER)
    outputs = [machine.create(EXAMPLES["caller"].elf).run().output for _ in range(3)]
    assert outputs[0]
    assert len(set(outputs)) == 1


def test_elf_as_bytes_and_path(machine: Machine) -> None:
    path = EXAMPLES["hello-world"].elf
    for source in (path, str(path), path.read_bytes()):
        assert machine.create(source).run().ok


def test_shm_and_relay_in_and_out(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    first = script.peek(0x38_0000_0000)
    script.poke(0x38_0000_0000 + PAGE, 0x21)
    script.poke(DATA, 0x22)
    result = machine.create(script_elf, shm=shm_of(script), relay=b"relaying" + bytes(PAGE)).run()
    assert result.shm is not None
    assert result.relay is not None
    assert Memory(result.shm)[first] == int.from_bytes(b"relaying", "little")
    assert len(result.shm) == SHM_PAGES * PAGE
    assert result.shm[DATA - 0x39_0000_0000] == 0x22
    assert len(result.relay) == 2 * PAGE
    assert result.relay[PAGE] == 0x21


def test_empty_shm_and_relay_are_one_page(machine: Machine) -> None:
    result = machine.create(EXAMPLES["hello-world"].elf, shm=b"", relay=b"").run()
    assert result.shm == result.relay == bytes(PAGE)


def test_run_twice(machine: Machine) -> None:
    enclave = machine.create(EXAMPLES["hello-world"].elf)
    assert enclave.run().ok
    with pytest.raises(EnclaveError, match="has run already"):
        enclave.run()
    with pytest.raises(EnclaveError, match="no interrupted run"):
        enclave.resume()
    with pytest.raises(EnclaveError, match="has ended already"):
        enclave.destroy()


def test_server_cannot_be_run(machine: Machine) -> None:
    server = machine.create(EXAMPLES["server"].elf, name="s", type=EnclaveType.SERVER)
    for act in (server.run, server.resume):
        with pytest.raises(EnclaveError):
            act()
    assert server.alive
    server.destroy()
    assert not server.alive
    assert "ended" in repr(server)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("12345678901234567", EnclaveType.NORMAL, "17 bytes"),
        ("ééééééééé", EnclaveType.NORMAL, "18 bytes"),
        ("a\0b", EnclaveType.NORMAL, "NUL"),
        ("", EnclaveType.SERVER, "needs a name"),
        ("taken", EnclaveType.SERVER, "already"),
    ],
)
def test_names(machine: Machine, name: str, kind: EnclaveType, message: str) -> None:
    machine.create(EXAMPLES["server"].elf, name="taken", type=EnclaveType.SERVER)
    before = machine.kernel.blocks.free_pages
    with pytest.raises(EnclaveError, match=message):
        machine.create(EXAMPLES["server"].elf, name=name, type=kind)
    assert machine.kernel.blocks.free_pages == before


def test_name_is_free_again_after_the_server_ended(machine: Machine) -> None:
    for _ in range(3):
        server = machine.create(EXAMPLES["server"].elf, name="0123456789abcdef", type=EnclaveType.SERVER)
        server.destroy()


@pytest.mark.parametrize("size", [0, -1, MAX_STACK + 1])
def test_bad_stack_sizes(machine: Machine, size: int) -> None:
    with pytest.raises(EnclaveError, match="stack"):
        machine.create(EXAMPLES["hello-world"].elf, stack_size=size)


@pytest.mark.parametrize("pages", [1, 2, 100, 2000])
def test_stack_size_is_what_a_recursion_gets(machine: Machine, script_elf: bytes, pages: int) -> None:
    script = Script()
    script.step(RECURSE)
    result = machine.create(script_elf, shm=shm_of(script), stack_size=pages * PAGE - 100).run()
    assert result.fault is not None
    address = result.fault.fault.address
    assert address is not None
    assert 0x38_0000_0000 - (pages + 1) * PAGE <= address < 0x38_0000_0000 - pages * PAGE


@pytest.mark.parametrize("what", ["shm", "relay"])
def test_servers_get_no_pages(machine: Machine, what: str) -> None:
    with pytest.raises(EnclaveError, match="enclaves that the host runs"):
        machine.create(EXAMPLES["server"].elf, name="s", type=EnclaveType.SERVER, **{what: b"x"})  # type: ignore[arg-type]


def test_bad_elf(machine: Machine, tmp_path: Path) -> None:
    before = machine.kernel.blocks.free_pages
    for source in (b"", b"\x7fELF", bytes(100), tmp_path / "none.elf", tmp_path):
        with pytest.raises(PltvmError):
            machine.create(source)
    with pytest.raises(ElfError):
        machine.create(b"#!/bin/sh\n")
    assert machine.kernel.blocks.free_pages == before


@pytest.mark.parametrize("ram", [0, -PAGE, PAGE, (8 << 20) + 1, 1 << 50])
def test_bad_ram(ram: int) -> None:
    with pytest.raises(PltvmError, match="bytes of RAM"):
        Machine(ram)


def test_smallest_ram_runs_hello_world() -> None:
    assert Machine(8 << 20).create(EXAMPLES["hello-world"].elf).run().ok


def test_out_of_memory_leaves_nothing(machine: Machine) -> None:
    before = machine.kernel.blocks.free_pages
    for options in ({"shm": bytes(300 << 20)}, {"stack_size": MAX_STACK, "relay": bytes(140 << 20)}):
        with pytest.raises(OutOfMemory):
            machine.create(EXAMPLES["hello-world"].elf, **options)  # type: ignore[arg-type]
    many: list[Enclave] = []

    def fill() -> None:
        while True:
            many.append(machine.create(EXAMPLES["hello-world"].elf, shm=b"x"))

    with pytest.raises(OutOfMemory):
        fill()
    assert machine.kernel.blocks.free_pages < len(many) + 1024
    for enclave in many:
        enclave.destroy()
    lent = sum(pages for _, pages in machine.monitor.state.records.lent())
    assert machine.kernel.blocks.free_pages == before - lent


def test_timeout_and_resume(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.print(b"one ")
    script.loop()
    script.print(b"two")
    script.exit(3)
    enclave = machine.create(script_elf, shm=shm_of(script))
    first = stopped_in_loop(enclave)
    assert (first.status, first.retval, first.ok) == ("interrupted", None, False)
    assert first.fault is None
    assert first.shm is not None
    assert enclave.alive
    end_loop(enclave)
    second = enclave.resume(timeout=20)
    assert (second.status, second.retval, first.output, second.output) == ("exited", 3, "one \n", "two\n")


def test_destroy_an_interrupted_enclave(machine: Machine, script_elf: bytes) -> None:
    before = machine.kernel.blocks.free_pages
    script = Script()
    script.loop()
    enclave = machine.create(script_elf, shm=shm_of(script), relay=b"x")
    assert stopped_in_loop(enclave).status == "interrupted"
    enclave.destroy()
    with pytest.raises(EnclaveError, match="no interrupted run"):
        enclave.resume()
    lent = sum(pages for _, pages in machine.monitor.state.records.lent())
    assert machine.kernel.blocks.free_pages == before - lent


def test_output_that_is_not_utf8(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.print(b"a\xffb")
    printed: list[bytes] = []
    result = machine.create(script_elf, shm=shm_of(script)).run(on_output=printed.append)
    assert printed == [b"a\xffb\n"]
    assert result.output == "a\ufffdb\n"
    assert result.stats.output_bytes == 4


def test_fault_result(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.peek(0x5000_0000)
    result = machine.create(script_elf, name="bad", shm=shm_of(script)).run()
    assert (result.status, result.ok, result.retval) == ("faulted", False, None)
    assert result.fault is not None
    assert result.fault.summary.startswith("bad (eid 0) at peek")
    plain = result.to_dict()["fault"]
    assert plain["address"] == 0x5000_0000
    assert plain["location"] == result.fault.location


def test_machines_do_not_know_each_other() -> None:
    first, second = Machine(RAM), Machine(RAM)
    one = first.create(EXAMPLES["server"].elf, name="s", type=EnclaveType.SERVER)
    two = second.create(EXAMPLES["server"].elf, name="s", type=EnclaveType.SERVER)
    assert one.eid == two.eid
    one.destroy()
    assert two.alive
