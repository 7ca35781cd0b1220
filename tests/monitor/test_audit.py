"""The audit finds what is wrong, and finds nothing wrong in a busy machine."""

from collections.abc import Callable, Iterator

import pytest

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.monitor import abi
from pltvm.monitor.abi import HostCall, Ocall, SetPte, Status
from pltvm.monitor.audit import audit
from pltvm.monitor.pages import PRIVATE
from tests.monitor.rig import Script, stopped_in_loop, while_host_has_control
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send, split


@pytest.fixture
def busy(script_elf: bytes) -> Iterator[SharedRig]:
    """A machine with two paused enclaves, one of them an instance, a server, and bound relay pages."""
    rig = SharedRig(script_elf)
    rig.server(Script())
    sender, script = Script(), Script()
    send(sender, b"later", RELAY, PAGE)
    relay = rig.machine.relay(numbered(1))
    rig.with_relay(sender, relay).run()
    script.mmap(PAGE)
    script.sbrk(PAGE)
    script.ocall(Ocall.SHM_GET, 1, PAGE, 0)
    split(script, RELAY, 4 * PAGE, RELAY + PAGE)
    script.loop()
    stopped_in_loop(rig.instance(rig.template(), script, relay=numbered(4)))
    stopped_in_loop(rig.enclave(script))
    assert len(rig.state.segments) == 1
    rig.check()
    yield rig
    for enclave in reversed(rig._made):
        if enclave.alive:
            enclave.destroy()
    rig.machine.reclaim()
    relay.free()
    rig.finish()


def test_nothing_is_wrong_at_any_ocall(busy: SharedRig) -> None:
    script = Script()
    address = script.mmap(3 * PAGE)
    script.ocall(Ocall.SHM_GET, 1, 0, 0)
    script.ocall(Ocall.SHM_GET, 2, PAGE, 0)
    script.ocall(Ocall.SHM_DESTROY, 2)
    script.ocall(Ocall.SHM_DETACH, 2)
    script.munmap(address, PAGE)
    script.sbrk(PAGE)
    script.sbrk(-PAGE)
    script.yield_()
    with while_host_has_control(busy.machine, lambda _status: busy.check()) as statuses:
        assert busy.outcome(busy.enclave(script)).result.ok
    assert len(statuses) >= 8


def instance_of(rig: SharedRig):  # type: ignore[no-untyped-def]
    return next(one for one in rig.state.enclaves.values() if one.template_of)


def template_block(rig: SharedRig) -> int:
    return rig.state.enclave(instance_of(rig).template_of).block


def other_of(rig: SharedRig):  # type: ignore[no-untyped-def]
    return next(one for one in rig.state.enclaves.values() if one.kind == 0 and not one.template_of)


def set_word(rig: SharedRig, slot: int, value: int) -> Callable[[], None]:
    memory = rig.machine.memory
    old = memory.load(slot)
    memory.store(slot, value)
    return lambda: memory.store(slot, old)


def owner_entry(rig: SharedRig, pa: int, entry: int) -> Callable[[], None]:
    entries, index = rig.state.owners.entries, (pa - rig.machine.memory.base) // PAGE
    old = entries[index]
    entries[index] = entry

    def undo() -> None:
        entries[index] = old

    return undo


def field(record, name: str, value: int) -> Callable[[], None]:  # type: ignore[no-untyped-def]
    old = getattr(record, name)
    setattr(record, name, value)
    return lambda: setattr(record, name, old)


def leaf(rig: SharedRig, enclave, va: int, pa: int, flags: int = sv39.RW) -> Callable[[], None]:  # type: ignore[no-untyped-def]
    table = enclave.space.table
    table.make_tables(va, 1)
    return set_word(rig, table.slot(va), sv39.make_pte(pa, flags))


def unmarked(rig: SharedRig) -> Callable[[], None]:
    page = next(leaf for leaf in other_of(rig).space.table.leaves() if leaf.pte & sv39.X)
    pa = sv39.pte_address(page.pte)
    rig.machine.memory.not_executable(pa)
    return lambda: rig.machine.memory.executable(pa)


def unmarked_of_the_host(rig: SharedRig) -> Callable[[], None]:
    """The host maps a page executable, and it is not known."""
    machine, kernel = rig.machine, rig.machine.kernel
    page, table = kernel.blocks.take(1), kernel.tables.take(2)
    entry = sv39.make_pte(page, sv39.RX)
    assert machine.monitor.call(HostCall.SET_PTE, SetPte.ONE, table, entry, 0) == Status.OK
    assert audit(rig.state) == []
    machine.memory.not_executable(page)

    def undo() -> None:
        assert machine.monitor.call(HostCall.SET_PTE, SetPte.ZERO, table, 0, 0) == Status.OK
        kernel.blocks.give(page)
        kernel.tables.give(2, table)

    return undo


WRONG: dict[str, tuple[Callable[[SharedRig], Callable[[], None]], str]] = {
    "code that would not be forgotten": (unmarked, "would not be forgotten"),
    "code of the host that would not be forgotten": (
        unmarked_of_the_host,
        "code of the host there would not",
    ),
    "a free page is called private": (
        lambda rig: owner_entry(rig, rig.machine.memory.end - PAGE, PRIVATE | 5),
        "the bitmap says owner 0x5, it is the host's",
    ),
    "a private page is called free": (
        lambda rig: owner_entry(rig, instance_of(rig).block, 0),
        "the bitmap says the host's, held 0 times, it is owner",
    ),
    "a bound region belongs to its sender": (
        lambda rig: owner_entry(rig, next(iter(rig.state.bound.values()))[0].block, PRIVATE | 1),
        "it is owner 0x0",
    ),
    "shared memory belongs to an enclave": (
        lambda rig: owner_entry(rig, rig.state.segments[1].block, PRIVATE | 1),
        "it is owner 0x40000000",
    ),
    "a hold is not counted": (
        lambda rig: owner_entry(rig, other_of(rig).kbuffer, 0),
        "held 0 times, it is the host's, held 1 times",
    ),
    "a hold of a page outside RAM": (
        lambda rig: field(other_of(rig), "kbuffer", PAGE),
        "0x1000 is held, and is not in RAM",
    ),
    "a block outside RAM": (
        lambda rig: field(instance_of(rig), "block", rig.machine.memory.end - PAGE),
        "is not in RAM",
    ),
    "an enclave maps another's page": (
        lambda rig: leaf(rig, other_of(rig), 0x20_0000, instance_of(rig).block),
        "which it may not have so",
    ),
    "an enclave maps a page of the host": (
        lambda rig: leaf(rig, other_of(rig), 0x20_0000, rig.machine.memory.end - PAGE),
        "which it may not have so",
    ),
    "an enclave maps the monitor": (
        lambda rig: leaf(rig, other_of(rig), 0x20_0000, rig.machine.memory.base),
        "which it may not have so",
    ),
    "an instance may write to its template": (
        lambda rig: leaf(rig, instance_of(rig), 0x1000, template_block(rig) + 3 * PAGE),
        "which it may not have so",
    ),
    "a template's page in another enclave": (
        lambda rig: leaf(rig, other_of(rig), 0x20_0000, template_block(rig) + 3 * PAGE, sv39.READ_ONLY_DATA),
        "which it may not have so",
    ),
    "shared memory is not mapped": (
        lambda rig: set_word(rig, other_of(rig).space.table.slot(abi.SECURE_SHM_TOP - PAGE), 0),
        "attached memory is not mapped",
    ),
    "a page table outside the enclave": (
        lambda rig: set_word(
            rig, other_of(rig).space.table.root + 8, sv39.make_pte(instance_of(rig).space.table.root, sv39.V)
        ),
        "is not its own",
    ),
    "a page table outside RAM": (
        lambda rig: set_word(rig, other_of(rig).space.table.root + 8, sv39.make_pte(PAGE, sv39.V)),
        "not in guest RAM",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(busy: SharedRig, what: str) -> None:
    break_it, message = WRONG[what]
    undo = break_it(busy)
    found = audit(busy.state)
    undo()
    assert any(message in line for line in found), found
    busy.check()


def test_users_are_counted(busy: SharedRig) -> None:
    segment = busy.state.segments[1]
    assert segment.users == 2
    segment.users = 3
    assert audit(busy.state) == ["shared memory 0x1: 2 users, counted 3"]
    segment.users = 2


def test_a_page_in_two_blocks(busy: SharedRig) -> None:
    enclave = other_of(busy)
    enclave.orphans = enclave.mmaps
    assert "two blocks" in audit(busy.state)[0]
    enclave.orphans = 0
