"""The Python API for memory that is shared, handed over or copied, and for stopping, as a user writes it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import BOUND, Enclave, EnclaveType, Machine, PltvmError
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError, OutOfMemory
from pltvm.monitor.abi import Ocall
from pltvm.monitor.audit import audit
from tests.monitor.rig import DATA, LIST_PAGES, SHM_PAGES, Memory, Script, end_loop, stopped_in_loop
from tests.monitor.shared_rig import RELAY, numbered

EXAMPLES = guest.examples()
HELLO = EXAMPLES["hello-world"].elf
CALLER = EXAMPLES["caller"].elf


@pytest.fixture
def machine() -> Machine:
    return Machine(64 << 20)


def listed(script: Script) -> bytes:
    return script.words.tobytes() + bytes((SHM_PAGES - LIST_PAGES) * PAGE)


# -- shared memory -------------------------------------------------------------------------------------------


def test_two_enclaves_and_the_host_share(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.poke(DATA, 5)
    value = script.peek(DATA + 8)
    shm = machine.shm(listed(script))
    shm.write((6).to_bytes(8, "little"), LIST_PAGES * PAGE + 8)
    first = machine.create(script_elf, shm=shm)
    second = machine.create(script_elf, shm=shm)
    assert shm.users == 2
    for enclave in (first, second):
        assert enclave.run().ok
        assert Memory(shm.read())[value] == 6
        assert memoryview(shm.read()).cast("Q")[LIST_PAGES * 512] == 5
    assert shm.users == 0
    shm.free()
    assert audit(machine.monitor.state) == []


def test_ids_differ(machine: Machine) -> None:
    assert len({machine.shm(1).id, machine.shm(b"").id, machine.relay(b"x").id}) == 3


def test_a_part_of_shared_memory(machine: Machine) -> None:
    shm = machine.shm(3 * PAGE)
    shm.write((77).to_bytes(4, "little"), PAGE)
    result = machine.create(CALLER, shm=shm.part(PAGE, PAGE)).run()
    assert "shared memory starts with 77" in result.output
    assert result.shm == shm.read()[PAGE : 2 * PAGE]
    assert shm.users == 0
    for offset, size in [(0, 0), (8, PAGE), (PAGE, 8), (-PAGE, PAGE), (2 * PAGE, 2 * PAGE)]:
        with pytest.raises(EnclaveError, match="no whole pages"):
            shm.part(offset, size)
    with pytest.raises(EnclaveError, match="do not fit"):
        shm.write(bytes(9), 3 * PAGE - 8)
    shm.free()


def test_shared_memory_in_use_cannot_be_freed(machine: Machine) -> None:
    shm = machine.shm(PAGE)
    enclave = machine.create(HELLO, shm=shm)
    with pytest.raises(EnclaveError, match="used by 1"):
        shm.free()
    enclave.destroy()
    shm.free()


def test_a_failed_create_does_not_count(machine: Machine) -> None:
    shm, relay = machine.shm(PAGE), machine.relay(1)
    before = machine.kernel.blocks.free_pages
    for _ in range(2):
        with pytest.raises(OutOfMemory):
            machine.create(HELLO, shm=shm, relay=relay, stack_size=64 << 20)
    assert shm.users == 0
    assert machine.kernel.blocks.free_pages == before
    shm.free()
    relay.free()


def test_a_server_shares_memory_with_the_host(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.poke(DATA, 3)
    script.give(resp_val=1)
    shm = machine.shm(listed(script))
    server = machine.create(script_elf, name="server", type=EnclaveType.SERVER, shm=shm)
    caller = Script()
    handle = caller.acquire(b"server")
    caller.call(handle)
    assert machine.create(script_elf, shm=listed(caller)).run().ok
    assert memoryview(shm.read()).cast("Q")[LIST_PAGES * 512] == 3
    server.destroy()
    shm.free()


# -- relay pages ---------------------------------------------------------------------------------------------


def test_relay_pages_go_from_one_enclave_to_the_next(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    value = script.peek(RELAY)
    script.step(10 + 5)  # REPEAT nothing
    script.poke(RELAY, 8)
    relay = machine.relay(numbered(2))
    result = machine.create(script_elf, shm=listed(script), relay=relay).run()
    assert result.shm is not None
    assert Memory(result.shm)[value] == 1
    assert result.relay == relay.read()
    relay.write((9).to_bytes(8, "little"))
    result = machine.create(script_elf, shm=listed(script), relay=relay).run()
    assert result.shm is not None
    assert Memory(result.shm)[value] == 9
    with pytest.raises(EnclaveError, match="do not fit"):
        relay.write(bytes(2 * PAGE + 1))
    relay.free()


def test_pages_that_are_away(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.loop()
    relay = machine.relay(numbered(1))
    enclave = machine.create(script_elf, shm=listed(script), relay=relay)
    assert stopped_in_loop(enclave).status == "interrupted"
    assert not relay.here
    actions: list[Callable[[], object]] = [relay.read, relay.free, relay.reclaim, lambda: relay.write(b"x")]
    for act in actions:
        with pytest.raises(EnclaveError):
            act()
    again = machine.create(HELLO, relay=relay)
    with pytest.raises(EnclaveError, match="refused"):
        again.run()
    enclave.destroy()
    assert again.run().ok
    relay.free()


def test_shared_memory_handed_over_has_a_user_as_long_as_the_enclave_lives(
    machine: Machine, script_elf: bytes
) -> None:
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    value = script.peek(RELAY)
    script.ocall(Ocall.RETURN_RELAY)
    first, second = machine.shm(numbered(1)), machine.shm(numbered(2))
    enclave = machine.create(script_elf, shm=listed(script), relay=first)
    assert first.users == 1
    assert enclave.run().status == "relay returned"
    result = enclave.resume(relay=second)
    assert result.status == "relay returned"
    assert result.shm is not None
    assert Memory(result.shm)[value] == 1
    assert (first.users, second.users) == (0, 1)
    first.free()
    shared = machine.shm(PAGE)
    other = machine.create(HELLO, shm=shared)
    with pytest.raises(EnclaveError, match="refused"):
        enclave.resume(relay=shared)
    assert (second.users, shared.users) == (1, 1)
    other.destroy()
    enclave.destroy()
    for pages in (second, shared):
        pages.free()


def test_bound_without_a_sender(machine: Machine) -> None:
    result = machine.create(HELLO, name="me", relay=BOUND).run()
    assert result.ok
    assert result.relay is None


def test_servers_and_templates_get_no_relay_pages(machine: Machine) -> None:
    with pytest.raises(EnclaveError, match="not to servers"):
        machine.create(HELLO, name="s", type=EnclaveType.SERVER, relay=BOUND)
    for options in ({"shm": b"x"}, {"relay": b"x"}):
        with pytest.raises(EnclaveError, match="instances"):
            machine.create(HELLO, type=EnclaveType.SHADOW, **options)  # type: ignore[arg-type]


# -- shadow --------------------------------------------------------------------------------------------------


def test_fork_and_run(machine: Machine) -> None:
    template = machine.create(HELLO, name="hello", type=EnclaveType.SHADOW)
    before = machine.kernel.blocks.free_pages
    for _ in range(3):
        instance = template.fork()
        assert (instance.name, instance.type) == ("hello", EnclaveType.NORMAL)
        result = instance.run()
        assert (result.status, result.retval) == ("exited", 0)
        with pytest.raises(EnclaveError, match="has run already"):
            instance.run()
    assert machine.kernel.blocks.free_pages == before
    with pytest.raises(EnclaveError, match="shadow template"):
        template.run()
    template.destroy()
    assert audit(machine.monitor.state) == []


def test_a_fork_is_small(machine: Machine) -> None:
    template = machine.create(HELLO, type=EnclaveType.SHADOW)
    before = machine.kernel.blocks.free_pages
    instance = template.fork()
    pages = before - machine.kernel.blocks.free_pages
    assert pages <= 32 + 2  # tables, writable pages and stack in one block; kbuffer; driver's page
    instance.destroy()


def test_fork_without_memory() -> None:
    machine = Machine(16 << 20)
    template = machine.create(HELLO, type=EnclaveType.SHADOW)
    taken = []
    while machine.kernel.blocks.free_pages > 3 << 8:
        taken.append(template.fork(shm=bytes(1 << 20)))
    before = machine.kernel.blocks.free_pages
    with pytest.raises(OutOfMemory):
        template.fork(shm=bytes(4 << 20))
    assert machine.kernel.blocks.free_pages == before
    for instance in taken:
        instance.destroy()


# -- stop, resume, destroy -----------------------------------------------------------------------------------


def test_stop_and_resume_an_interrupted_run(machine: Machine, script_elf: bytes) -> None:
    script = Script()
    script.loop()
    enclave = machine.create(script_elf, shm=listed(script))
    with pytest.raises(EnclaveError, match="only one that has started"):
        enclave.stop()
    assert stopped_in_loop(enclave).status == "interrupted"
    enclave.stop()
    with pytest.raises(EnclaveError, match="refused to stop"):
        enclave.stop()
    end_loop(enclave)
    assert enclave.resume().ok
    with pytest.raises(EnclaveError):
        enclave.stop()


def test_stop_from_a_callback(machine: Machine) -> None:
    enclave = machine.create(HELLO)
    result = enclave.run(on_output=lambda _text: enclave.stop())
    assert (result.status, result.retval) == ("stopped", None)
    assert result.output
    result = enclave.resume()
    assert (result.status, result.retval, result.output) == ("exited", 0, "")


def test_destroy_from_a_callback(machine: Machine) -> None:
    before = machine.kernel.blocks.free_pages
    enclave = machine.create(HELLO, shm=b"x")
    result = enclave.run(on_output=lambda _text: enclave.destroy())
    assert (result.status, result.retval, result.fault) == ("destroyed", None, None)
    assert not enclave.alive
    assert machine.kernel.blocks.free_pages >= before - 64  # the monitor keeps memory for records
    assert audit(machine.monitor.state) == []


@pytest.mark.parametrize("how", ["fresh", "interrupted", "stopped", "relay"])
def test_destroy_in_every_state(machine: Machine, script_elf: bytes, how: str) -> None:
    script = Script()
    if how == "relay":
        script.ocall(7)
    script.loop()
    relay = machine.relay(numbered(1))
    enclave = machine.create(script_elf, shm=listed(script), relay=relay)
    if how == "relay":
        assert enclave.run().status == "relay returned"
    elif how != "fresh":
        stopped_in_loop(enclave)
    if how == "stopped":
        enclave.stop()
    enclave.destroy()
    for act in (enclave.destroy, enclave.stop, enclave.resume, enclave.run):
        with pytest.raises(EnclaveError):
            act()
    relay.free()
    assert audit(machine.monitor.state) == []


def test_another_run_from_a_callback_is_refused(machine: Machine) -> None:
    errors = []

    def run_another(_text: bytes) -> None:
        with pytest.raises(EnclaveError, match="is running") as error:
            other.run()
        errors.append(error)

    other = machine.create(HELLO)
    assert machine.create(HELLO).run(on_output=run_another).ok
    assert errors
    assert other.run().ok


# -- disk and seed -------------------------------------------------------------------------------------------


def test_disk_and_named_memory(machine: Machine, script_elf: bytes, tmp_path: Path) -> None:
    machine = Machine(64 << 20, disk=tmp_path / "disk", disk_limit=2 * PAGE)
    script = Script()
    results = [script.ocall(6, 1), script.ocall(5, 1), script.ocall(6, 2)]
    shm = machine.shm(b"sector")
    machine.use_for_persistency(shm)
    enclave: Enclave = machine.create(script_elf, shm=listed(script))
    result = enclave.run()
    assert result.shm is not None
    memory = Memory(result.shm)
    assert [memory[one] for one in results] == [0, 0, 2**64 - 1]
    assert (tmp_path / "disk").read_bytes()[PAGE:].startswith(b"sector\0")
    shm.free()
    assert machine.driver.services.persistent == 0
    with pytest.raises(PltvmError, match="not a file"):
        Machine(64 << 20, disk=tmp_path)


def test_seeds(script_elf: bytes) -> None:
    drawn = []
    for seed in (0, 0, 1):
        script = Script()
        script.ocall(8, DATA, 8)
        value = script.peek(DATA)
        result = Machine(64 << 20, seed=seed).create(script_elf, shm=listed(script)).run()
        assert result.shm is not None
        drawn.append(Memory(result.shm)[value])
    assert drawn[0] == drawn[1] != drawn[2]
