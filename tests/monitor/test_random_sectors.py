"""Random numbers and sectors: §4 ocalls 8, 5 and 6."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pltvm.engine.memory import PAGE
from pltvm.errors import PltvmError
from pltvm.host.services import MOST_RANDOM, SECTOR, FileDisk, Random
from pltvm.machine import Machine
from pltvm.monitor import abi
from pltvm.monitor.abi import Ocall
from tests.monitor.rig import DATA, MINUS_1, NOWHERE, Outcome, Ref, Script
from tests.monitor.shared_rig import RELAY, SharedRig, numbered

MakeRig = Callable[..., SharedRig]


@pytest.fixture
def make(script_elf: bytes) -> Iterator[MakeRig]:
    made: list[SharedRig] = []

    def make(**options: object) -> SharedRig:
        made.append(SharedRig(script_elf, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.finish()


def random(script: Script, buffer: int | Ref, size: int) -> Ref:
    return script.ocall(Ocall.GET_RANDOM, buffer, size)


# -- random --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, -5, 2**70])
def test_the_seed_decides(make: MakeRig, seed: int) -> None:
    drawn = []
    for _ in range(2):
        script = Script()
        sizes = [random(script, DATA, 16), random(script, DATA + 16, 8)]
        values = [script.peek(DATA + 8 * index) for index in range(4)]
        outcome = rig_outcome(make(seed=seed), script)
        assert [outcome[size] for size in sizes] == [16, 8]
        drawn.append([outcome[value] for value in values])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4  # three words and the untouched one
    assert drawn[0][3] == 0


def rig_outcome(rig: SharedRig, script: Script) -> Outcome:
    return rig.outcome(rig.enclave(script))


def test_other_seeds_give_other_numbers() -> None:
    assert len({Random(seed).bytes(8) for seed in (0, 1, -1, 10, 2**64)}) == 5
    stream = Random(3)
    assert stream.bytes(8) != stream.bytes(8)


@pytest.mark.parametrize("size", [1, 7, PAGE, PAGE + 1, 9 * PAGE + 5])
def test_exactly_the_bytes_asked_for(make: MakeRig, size: int) -> None:
    script = Script()
    script.mmap(15 * PAGE)
    base = abi.MMAP_TOP - 15 * PAGE
    start = base + 100
    result = random(script, start, size)
    around = [script.peek(start - 12 & ~7), script.peek(start + size + 7 & ~7)]
    word = script.peek(start + max(size - 8, 0) & ~7)
    outcome = rig_outcome(make(), script)
    assert outcome[result] == size
    assert [outcome[value] for value in around] == [0, 0]
    assert outcome[word]


def test_a_lot_of_it(make: MakeRig) -> None:
    script = Script()
    size = 3 * MOST_RANDOM // PAGE * PAGE
    area = script.mmap(size)
    result = random(script, area, size)
    outcome = rig_outcome(make(), script)
    assert outcome[result] == MOST_RANDOM


def test_into_every_kind_of_memory(make: MakeRig) -> None:
    script = Script()
    shared = script.ocall(Ocall.SHM_GET, 1, PAGE, 0)
    script.sbrk(PAGE)
    results = [random(script, place, 8) for place in (DATA, shared, RELAY, abi.HEAP_BASE, abi.STACK_TOP - 8)]
    script.ocall(Ocall.SHM_DESTROY, 1)
    rig = make()
    outcome = rig.outcome(rig.with_relay(script, numbered(1)))
    assert [outcome[result] for result in results] == [8] * 5


@pytest.mark.parametrize(
    ("buffer", "size"),
    [
        (NOWHERE, 8),
        (0, 8),
        (0x1000, 8),  # text
        (MINUS_1, 8),
        (MINUS_1 - 7, 16),
        (DATA + 2 * PAGE - 8, 9),
        (DATA, 2 * PAGE + 1),
        (DATA, MINUS_1),
        (DATA, 1 << 63),
        (abi.STACK_TOP - 8, 16),
    ],
)
def test_a_bad_buffer(make: MakeRig, buffer: int, size: int) -> None:
    script = Script()
    script.step(4, DATA, 5, 2 * PAGE // 8)  # FILL
    refused = random(script, buffer, size)
    total = script.step(5, DATA, 2 * PAGE // 8)  # SUM
    rig = make()
    served: list[int] = []
    inner = rig.machine.driver.serving[Ocall.GET_RANDOM]
    rig.machine.driver.serving[Ocall.GET_RANDOM] = lambda *args: served.append(1) or inner(*args)  # type: ignore[func-returns-value]
    outcome = rig_outcome(rig, script)
    assert outcome[refused] == MINUS_1
    assert outcome[total] == 5 * 2 * PAGE // 8
    assert not served


def test_no_bytes(make: MakeRig) -> None:
    script = Script()
    results = [random(script, DATA, 0), random(script, NOWHERE, 0)]
    outcome = rig_outcome(make(), script)
    assert [outcome[result] for result in results] == [0, 0]


def test_a_host_that_answers_nonsense(make: MakeRig) -> None:
    rig = make()
    victim = rig.enclave(Script())
    driver = rig.machine.driver
    serve = driver.serving[Ocall.GET_RANDOM]
    memory = rig.machine.memory
    for answer in [
        (victim._inner.block, 8),
        (memory.base, 8),
        (memory.end - 4, 8),
        (0, 8),
        (MINUS_1, 8),
        (victim._inner.page, 17),
        (victim._inner.page, 0),
        (victim._inner.page, MINUS_1),
    ]:
        driver.serving[Ocall.GET_RANDOM] = lambda *_args, answer=answer: answer
        script = Script()
        refused = random(script, DATA, 16)
        value = script.peek(DATA)
        outcome = rig_outcome(rig, script)
        assert (outcome[refused], outcome[value]) == (MINUS_1, 0)
    driver.serving[Ocall.GET_RANDOM] = lambda *_args: (victim._inner.page, 4)
    script = Script()
    short = random(script, DATA, 16)
    assert rig_outcome(rig, script)[short] == 4
    driver.serving[Ocall.GET_RANDOM] = serve


# -- sectors -------------------------------------------------------------------------------------------------


def sector(script: Script, number: int, write: bool) -> Ref:
    return script.ocall(Ocall.WRITE_SECTOR if write else Ocall.READ_SECTOR, number)


def persistent(rig: SharedRig, script: Script) -> Outcome:
    """Run the list with the enclave's data page named for persistency."""
    enclave = rig.enclave(script)
    rig.machine.driver.services.state.persistent = enclave.inner.shm.pa + DATA - abi.SHM_BASE
    try:
        return rig.outcome(enclave)
    finally:
        rig.machine.driver.services.state.persistent = 0


def test_what_was_written_is_read_by_another_machine(make: MakeRig, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    script = Script()
    script.poke(DATA, 11)
    script.poke(DATA + PAGE - 8, 12)
    done = [sector(script, 0, True), sector(script, 2, True)]
    outcome = persistent(make(disk=disk), script)
    assert [outcome[one] for one in done] == [0, 0]
    assert disk.stat().st_size == 3 * PAGE

    script = Script()
    values = []
    for number in (2, 1, 0):
        done.append(sector(script, number, False))
        values += [script.peek(DATA), script.peek(DATA + PAGE - 8)]
    outcome = persistent(make(disk=str(disk)), script)
    assert [outcome[value] for value in values] == [11, 12, 0, 0, 11, 12]


@pytest.mark.parametrize("number", [0, 5, 1 << 40, MINUS_1])
def test_past_the_end_are_zeros(make: MakeRig, tmp_path: Path, number: int) -> None:
    disk = tmp_path / "disk"
    if number == 5:
        disk.write_bytes(b"\1" * (5 * PAGE + 3))  # a file that ends inside a sector
    script = Script()
    script.poke(DATA + 8, 3)
    done = sector(script, number, False)
    values = [script.peek(DATA), script.peek(DATA + 8)]
    outcome = persistent(make(disk=disk), script)
    assert outcome[done] == 0
    assert [outcome[value] for value in values] == [0x010101 if number == 5 else 0, 0]
    assert disk.exists() is (number == 5)


def test_a_guest_cannot_fill_the_disk(make: MakeRig, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    script = Script()
    results = [sector(script, number, True) for number in (3, 4, 1 << 51, MINUS_1)]
    outcome = persistent(make(disk=disk, disk_limit=4 * PAGE), script)
    assert [outcome[result] for result in results] == [0, MINUS_1, MINUS_1, MINUS_1]
    assert disk.stat().st_size == 4 * PAGE


def test_without_a_file_sectors_are_kept_for_the_run(make: MakeRig) -> None:
    """A machine always has a disk (§8): programs that need one would ask for ever."""
    script = Script()
    script.poke(DATA, 77)
    results = [sector(script, 9, True)]
    script.poke(DATA, 0)
    results.append(sector(script, 9, False))
    value = script.peek(DATA)
    results += [sector(script, 1 << 50, False), sector(script, 1 << 50, True)]
    nothing = script.peek(DATA)
    rig = make()
    assert not rig.machine.driver.services.disk.is_lost
    outcome = persistent(rig, script)
    assert [outcome[result] for result in results] == [0, 0, 0, MINUS_1]
    assert (outcome[value], outcome[nothing]) == (77, 0)
    assert rig.machine.driver.services.disk.is_lost


def test_the_file_is_made_when_memory_is_named(tmp_path: Path) -> None:
    machine = Machine(64 << 20, disk=tmp_path / "disk")
    assert not (tmp_path / "disk").exists()
    machine.use_for_persistency(machine.shm(PAGE))
    assert (tmp_path / "disk").read_bytes() == bytes(4 << 20)
    (tmp_path / "disk").write_bytes(b"kept")
    machine.use_for_persistency(machine.shm(PAGE))
    assert (tmp_path / "disk").read_bytes() == b"kept"


def test_without_memory(make: MakeRig, tmp_path: Path) -> None:
    script = Script()
    results = [sector(script, 0, False), sector(script, 0, True)]
    rig = make(disk=tmp_path / "disk")
    rig.machine.driver.services.state.persistent = 0
    outcome = rig_outcome(rig, script)
    assert [outcome[result] for result in results] == [MINUS_1, MINUS_1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_disk_that_cannot_be_written(make: MakeRig, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(PAGE))
    disk.chmod(0o400)
    script = Script()
    result = sector(script, 0, True)
    assert persistent(make(disk=disk), script)[result] == MINUS_1


def test_a_disk_that_fails(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    assert disk.read(0) is None
    assert not disk.write(0, bytes(PAGE))


@pytest.mark.parametrize("path", [".", "missing/disk"])
def test_a_path_that_is_no_file(make: MakeRig, tmp_path: Path, path: str) -> None:
    with pytest.raises(PltvmError, match="not a file"):
        FileDisk(tmp_path / path)


def test_no_sectors_while_no_memory_is_named(make: MakeRig, tmp_path: Path) -> None:
    """The caller's memory is not taken for the server's: the host cannot tell which of them asks."""
    (tmp_path / "disk").write_bytes(bytes([9]) * PAGE)
    rig = make(disk=tmp_path / "disk")
    script = Script()
    done = [sector(script, 0, write) for write in (False, True)]
    assert [rig_outcome(rig, script)[one] for one in done] == [MINUS_1, MINUS_1]
    assert (tmp_path / "disk").read_bytes() == bytes([9]) * PAGE


def test_a_server_reads_through_the_named_memory(make: MakeRig, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes([9]) * PAGE)
    rig = make(disk=tmp_path / "disk")
    server_script, caller = Script(), Script()
    done = sector(server_script, 0, False)
    value = server_script.peek(DATA)
    server_script.give()
    server = rig.server(server_script)
    rig.machine.driver.services.state.persistent = server.pages.pa + DATA - abi.SHM_BASE
    caller.call(server.eid)
    rig_outcome(rig, caller)
    assert (server.now[done], server.now[value]) == (0, 0x0909090909090909)


def test_a_link_or_a_pipe_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """A host program may rename what is in its folder, and the disk may lie there."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "disk").write_bytes(bytes([7]) * SECTOR)
    folder.mkdir()
    (folder / "link").symlink_to("../outside/disk")
    os.mkfifo(folder / "pipe")
    disk = FileDisk(folder / "disk")
    disk.make()
    for name in ("link", "pipe"):
        (folder / name).rename(folder / "disk")
        assert disk.read(0) is None, name
        assert not disk.write(0, bytes(SECTOR)), name
    assert (outside / "disk").read_bytes() == bytes([7]) * SECTOR
    (folder / "disk").unlink()
    folder.rename(tmp_path / "away")
    (tmp_path / "folder").symlink_to("outside")
    assert disk.write(0, bytes([5]) * SECTOR)
    assert disk.read(0) == bytes([5]) * SECTOR
    assert (outside / "disk").read_bytes() == bytes([7]) * SECTOR


def test_a_disk_may_be_named_by_a_link_but_is_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    disk = FileDisk(tmp_path / "link")
    assert disk.write(1, bytes([3]) * SECTOR)
    assert (tmp_path / "file").stat().st_size == 2 * SECTOR
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PltvmError, match="is not a file"):
        FileDisk(tmp_path / "pipe")
