"""RAM and CPU at one moment, and the way back, as often as one likes."""

import pickle
import random
from struct import Struct

import pytest

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.snapshot import EngineSnapshot, Snapshots
from pltvm.engine.trap import Cause
from tests.asm import A0, RA, T0, T1, ZERO, addi, csrrs, ecall, jalr, ld, li, sd
from tests.engine.harness import BASE, CODE, DATA, RETURN, Machine

CSR_TIME = 0xC01
PLACE = BASE + 40 * PAGE  # three pages that nothing else uses


@pytest.fixture
def snapshots(machine: Machine) -> Snapshots:
    return Snapshots(machine.hart)


def number(pa: int) -> int:
    return (pa - BASE) >> PAGE_SHIFT


def test_pages_that_are_not_zero_are_saved_and_no_others(machine, snapshots):
    machine.memory.write(PLACE, b"one")
    machine.memory.write(PLACE + PAGE, bytes(PAGE))
    saved = snapshots.save()
    assert saved.pages[number(PLACE)] == b"one".ljust(PAGE, b"\0")
    assert number(PLACE + PAGE) not in saved.pages
    assert (saved.size, len(saved.executable)) == (machine.memory.size, machine.memory.size // PAGE)
    machine.memory.zero(PLACE, PAGE)
    assert number(PLACE) not in snapshots.save().pages
    assert number(PLACE) in saved.pages


def test_restore_puts_back_what_was_written_and_tells_of_it(machine, snapshots):
    memory = machine.memory
    memory.write(PLACE, b"one")
    saved = snapshots.save()
    for _ in range(2):
        memory.write(PLACE, b"two")
        memory.write(PLACE + 2 * PAGE - 2, b"over the end")
        assert snapshots.restore(saved) == {number(PLACE) + index for index in range(3)}
        assert memory.read(PLACE, 3 * PAGE) == b"one".ljust(3 * PAGE, b"\0")
        assert snapshots.restore(saved) == set()


def test_the_first_pages_of_ram_count_too(machine, snapshots):
    before = machine.memory.read(BASE, 2 * PAGE)
    saved = snapshots.save()
    machine.memory.write(BASE, b"x" * 2 * PAGE)
    assert snapshots.restore(saved) == {0, 1}
    assert machine.memory.read(BASE, 2 * PAGE) == before


def test_back_and_forth_between_snapshots(machine, snapshots):
    """From each to each: what differs is known without comparing all of RAM."""
    memory, saved = machine.memory, []
    contents = [b"a" * PAGE + bytes(2 * PAGE), bytes(PAGE) + b"b" * PAGE + bytes(PAGE), b"c" * 3 * PAGE]
    for content in contents:
        memory.write(PLACE, content)
        saved.append(snapshots.save())
    for goal in (0, 2, 1, 0, 1, 2):
        memory.write(PLACE + PAGE, b"in between")
        snapshots.restore(saved[goal])
        assert memory.read(PLACE, 3 * PAGE) == contents[goal]


def test_pages_that_are_the_same_are_kept_once(machine, snapshots):
    machine.memory.write(PLACE, b"one")
    first = snapshots.save()
    machine.memory.write(PLACE, b"one")
    assert snapshots.save().pages[number(PLACE)] is first.pages[number(PLACE)]


def test_clock_and_time_slice(machine, snapshots):
    hart = machine.hart
    hart.set_time_slice(50)
    machine.run(machine.space(csrrs(A0, CSR_TIME) + ecall()).context())
    saved, clock = snapshots.save(), hart.clock
    assert clock
    hart.set_time_slice(0)
    machine.run(machine.space(csrrs(A0, CSR_TIME) * 3 + ecall()).context())
    snapshots.restore(saved)
    assert (hart.clock, hart.time_slice) == (clock, 50)


def test_what_guest_code_wrote_is_put_back_and_read_anew(machine, snapshots):
    space = machine.space(li(T0, DATA) + ld(A0, T0) + addi(T1, A0, 1) + sd(T1, T0) + ecall())
    space.table.write(DATA, (7).to_bytes(8, "little"))
    space.table.note_written()
    saved = snapshots.save()
    for _ in range(3):
        context = space.context()
        assert machine.run(context).cause == Cause.ECALL_U
        assert context.register(A0) == 7
        assert space.table.read(DATA, 8) == (8).to_bytes(8, "little")
        space.table.note_written()
        assert number(space.table.translate(DATA)) in snapshots.restore(saved)


@pytest.mark.parametrize("was_executable", [True, False], ids=["code", "no code yet"])
def test_code_is_as_it_was(machine, snapshots, was_executable):
    """Code that was translated since does not run on, whatever the page was then."""
    space = machine.space(li(T0, DATA) + jalr(RA, T0) + ecall())
    pa = space.map(DATA, sv39.RX, addi(A0, ZERO, 1) + RETURN)
    if not was_executable:
        machine.memory.not_executable(pa)
    saved = snapshots.save()
    for value in (2, 3):
        machine.memory.executable(pa)
        machine.memory.write(pa, addi(A0, ZERO, value) + RETURN)
        context = space.context()
        machine.run(context)
        assert context.register(A0) == value
        snapshots.restore(saved)
        assert machine.memory.executable_pages() == saved.executable
        context = space.context(pc=CODE)
        machine.run(context)
        assert context.register(A0) == 1


def test_a_snapshot_is_plain_data_for_another_machine(machine: Machine) -> None:
    machine.memory.write(PLACE, b"something")
    saved = pickle.loads(pickle.dumps(Snapshots(machine.hart).save()))
    other = Machine()
    other.memory.write(PLACE + 9 * PAGE, b"else")
    Snapshots(other.hart).restore(saved)
    assert other.memory.bytes == machine.memory.bytes


@pytest.mark.parametrize("seed", range(4))
def test_any_order(machine: Machine, seed: int) -> None:
    """Writes of every kind, snapshots, and back to any of them: RAM is what it was, all of it."""
    chance, memory, snapshots = random.Random(seed), machine.memory, Snapshots(machine.hart)
    kept: list[tuple[EngineSnapshot, bytes]] = []

    def write() -> None:
        pa, size = PLACE + chance.randrange(150) * PAGE, chance.choice((8, PAGE, 3 * PAGE, 20 * PAGE))
        match chance.randrange(6):
            case 0:
                memory.write(pa + chance.randrange(PAGE), chance.randbytes(size))
            case 1:
                memory.store(pa + 8 * chance.randrange(512), chance.getrandbits(64))
            case 2:
                memory.zero(pa, size)
            case 3:
                memory.copy(pa, PLACE + 180 * PAGE, min(size, PAGE))
            case 4:
                memory.words[(pa - BASE) >> 3] = chance.getrandbits(64)
                memory.touch(pa)
            case 5:
                memory.pack(pa, Struct("<Q"), 0)

    for _ in range(150):
        for _ in range(chance.randrange(6)):
            write()
        if not kept or chance.random() < 0.4:
            kept.append((snapshots.save(), bytes(memory.bytes)))
        else:
            saved, ram = chance.choice(kept)
            snapshots.restore(saved)
            assert bytes(memory.bytes) == ram
