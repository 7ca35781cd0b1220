"""Who has which block: relay pages that are split, swapped, sent on, left behind, and come back."""

from collections.abc import Iterator

import pytest

from pltvm import BOUND, Machine
from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.enclave import DriverEnclave
from pltvm.monitor.abi import HostCall, Ocall, Status
from tests.monitor.rig import DATA, LIST_PAGES, SHM_PAGES, STRUCT, Memory, Script
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split
from tests.relay_walk import fine, walk


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf)
    yield rig
    rig.finish()


def swapping_server(rig: SharedRig, pages: int = 3) -> None:
    """A server that keeps the relay region it is lent, and returns memory of its own in its place."""
    script = Script()
    own = script.mmap(pages * PAGE)
    script.give(req_vaddr=own, req_size=pages * PAGE)
    rig.server(script, b"swap")


def swap(script: Script, pages: int = 1) -> None:
    handle = script.acquire(b"swap")
    script.call(handle, req_vaddr=RELAY, req_size=pages * PAGE)


def test_a_swapped_mapping_that_comes_back_in_parts(rig: SharedRig) -> None:
    """The rest of the block is still another enclave's when the first part is back."""
    swapping_server(rig)
    caller, thief = Script(), Script()
    swap(caller)
    back = caller.peek(STRUCT + 16)
    halves = split(caller, RELAY, 3 * PAGE, RELAY + PAGE)
    caller.poke(RELAY + PAGE, 0x1111)
    sent = send(caller, b"thief", RELAY + PAGE, 2 * PAGE)
    outcome = rig.outcome(rig.with_relay(caller, bytes(8), b"caller"))
    assert [outcome[one] for one in (back, halves, sent)] == [RELAY, 0, 0]
    fine(rig.machine)

    secrets = [rig.machine.relay(b"SECRET".ljust(PAGE, b"\0") + b"SECRET") for _ in range(4)]
    stolen = [thief.peek(RELAY + page * PAGE) for page in range(2)]
    outcome = rig.outcome(rig.with_relay(thief, BOUND, b"thief"))
    assert [outcome[one] for one in stolen] == [0x1111, 0]
    assert all(secret.read().count(b"SECRET") == 2 for secret in secrets)
    for secret in secrets:
        secret.free()


@pytest.mark.parametrize("first", [0, 1])
def test_halves_come_back_in_either_order(rig: SharedRig, first: int) -> None:
    swapping_server(rig)
    caller = Script()
    swap(caller)
    split(caller, RELAY, 3 * PAGE, RELAY + PAGE)
    for half, (name, at, pages) in enumerate([(b"one", RELAY, 1), (b"two", RELAY + PAGE, 2)]):
        caller.poke(at, 0x2222 + half)
        send(caller, name, at, pages * PAGE)
    rig.outcome(rig.with_relay(caller, bytes(8), b"caller"))
    free = rig.free_pages
    for name in ([b"one", b"two"], [b"two", b"one"])[first]:
        assert rig.outcome(rig.with_relay(Script(), BOUND, name)).entry[14]
        fine(rig.machine)
    assert rig.free_pages == free + 4
    for block, size in rig.machine.kernel.blocks.free_blocks():  # free blocks are clear
        if size <= 16 * PAGE:
            assert not any(rig.machine.memory.read(block, size))


def test_content_of_a_swapped_mapping_does_not_reach_the_next_one(rig: SharedRig) -> None:
    """Relay regions come back as they are: what is in them is cleared before it is free."""
    swapping_server(rig, 1)
    caller = Script()
    swap(caller)
    caller.poke(RELAY, 0x5EC2E7)
    rig.outcome(rig.with_relay(caller, bytes(8), b"caller"))
    blocks = [rig.machine.kernel.blocks.take(2) for _ in range(16)]
    assert not any(any(rig.machine.memory.read(block, 2 * PAGE)) for block in blocks)
    for block in blocks:
        rig.machine.kernel.blocks.give(block)


def test_the_relay_pages_that_a_server_kept(rig: SharedRig) -> None:
    """They are the server's mapping; the host's are back when the server gives them up or ends."""
    swapping_server(rig, 1)
    caller = Script()
    swap(caller)
    relay = rig.machine.relay(numbered(1))
    rig.outcome(rig.with_relay(caller, relay, b"caller"))
    assert not relay.here
    with pytest.raises(EnclaveError):
        relay.free()
    rig._made[0].destroy()
    assert relay.here
    relay.free()
    fine(rig.machine)


def test_pages_that_nobody_waits_for_are_freed_when_they_are_back(rig: SharedRig) -> None:
    sender = Script()
    send(sender, b"later", RELAY, 2 * PAGE)
    free = rig.free_pages
    rig.outcome(rig.with_relay(sender, numbered(2)))
    assert rig.free_pages == free - 2
    rig.outcome(rig.with_relay(Script(), BOUND, b"later"))
    assert rig.free_pages == free


def listed(script: Script) -> bytes:
    return script.words.tobytes() + bytes((SHM_PAGES - LIST_PAGES) * PAGE)


def test_relay_pages_left_behind_do_not_use_up_ram(script_elf: bytes) -> None:
    """Sent to names that nobody ever runs: the oldest are taken back when memory is short."""
    machine = Machine(16 << 20)
    for number in range(60):  # of 1 MiB each
        script = Script()
        sent = send(script, b"n%d" % number, RELAY, PAGE)
        split(script, RELAY, 1 << 20, RELAY + PAGE)
        result = machine.create(script_elf, shm=listed(script), relay=bytes(1 << 20)).run()
        assert result.ok
        assert result.shm is not None
        assert sent
    fine(machine)
    last = Script()
    seen = last.entry(14)
    result = machine.create(script_elf, name="n59", shm=listed(last), relay=BOUND).run()
    assert result.shm is not None
    assert Memory(result.shm)[seen] == 1 << 20  # the newest are still there


def test_what_the_host_keeps_is_not_taken_back(script_elf: bytes) -> None:
    machine = Machine(16 << 20)
    script = Script()
    send(script, b"friend", RELAY, PAGE)
    relay = machine.relay(bytes([7]) * PAGE)
    machine.create(script_elf, shm=listed(script), relay=relay).run()
    assert machine.reclaim() == 0
    assert not relay.here
    relay.free()


def test_memory_between_enclaves_is_taken_back_when_it_is_short(script_elf: bytes) -> None:
    machine = Machine(16 << 20)
    for number in range(60):
        script = Script()
        script.ocall(Ocall.SHM_GET, number, (1 << 20) - PAGE, 0)
        assert machine.create(script_elf, shm=listed(script)).run().ok
    fine(machine)


def test_an_answer_that_the_monitor_does_not_take_is_freed(rig: SharedRig) -> None:
    """Mappings all over the address space, until no page is left for their tables."""
    script = Script()
    areas = [script.mmap(PAGE, 0x20_0000_0000 - (n << 30)) for n in range(30)]
    tight = rig.enclave(script)
    space = rig.state.enclaves[tight.eid].space
    space.record.free_end = space.record.free + 10 * PAGE
    outcome = rig.outcome(tight)
    assert not outcome[areas[-1]]
    fine(rig.machine)


# -- anything goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_whatever_enclaves_do_the_books_are_right(script_elf: bytes, seed: int) -> None:
    walk(script_elf, seed, 25)


# -- the host goes wrong -------------------------------------------------------------------------------------


def test_a_host_that_touches_private_memory_ends_that_run(rig: SharedRig) -> None:
    """An access fault in the host kernel: nothing is written, the enclave ends with a report, others live."""
    victim = rig.enclave(Script())
    driver, block = rig.machine.driver, victim.inner.block
    before = rig.machine.memory.read(block, victim.inner.copy_pages * PAGE)

    def serve(enclave: DriverEnclave, size: int, more: int) -> tuple[int, int]:
        driver.memory.write(block + PAGE, b"overwritten")
        return honest(enclave, size, more)

    honest, driver.serving[Ocall.MMAP] = driver.serving[Ocall.MMAP], serve
    script = Script()
    script.mmap(PAGE)
    enclave = rig.enclave(script)
    result = enclave.run(timeout=20)
    assert result.status == "faulted"
    assert result.fault is not None
    assert f"access fault in the host kernel: it may not write {block + PAGE:#x}" in result.fault.summary
    assert not enclave.alive
    assert rig.machine.memory.read(block, victim.inner.copy_pages * PAGE) == before
    driver.serving[Ocall.MMAP] = honest
    assert rig.outcome(victim).result.ok


@pytest.mark.python
@pytest.mark.parametrize("how", ["ocall", "yield"])
def test_a_resume_that_the_monitor_refuses_leaves_the_enclave_as_it_was(rig: SharedRig, how: str) -> None:
    """§10: it is not freed while it lives; the run goes on when it is resumed again."""
    script = Script()
    area = script.mmap(PAGE) if how == "ocall" else script.yield_()
    script.poke(area if how == "ocall" else DATA, 5)
    enclave = rig.enclave(script)
    monitor, call = rig.machine.monitor, rig.machine.monitor.call
    refusals = [Status.ERROR]

    def refuse_once(function: int, *arguments: int) -> int | None:
        if function == HostCall.RESUME and refusals:
            return refusals.pop()
        return call(function, *arguments)

    monitor.call = refuse_once  # type: ignore[method-assign]
    with pytest.raises(EnclaveError, match="refused to go on"):
        enclave.run(timeout=20)
    assert enclave.alive
    fine(rig.machine)
    outcome = rig.resumed(enclave)
    assert outcome.result.ok
    assert outcome.done(area)
    fine(rig.machine)
