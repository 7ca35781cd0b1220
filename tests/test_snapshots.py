"""Snapshots of whole machines, at any moment: back to one is back to all of it, here and in another process.

Machines are compared byte for byte: RAM, registers, clock, what the host declares (tests/model/moments.py).
The long run is `python -m tests.snapshot_stress`.
"""

import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest

from pltvm import Machine
from pltvm.engine.memory import Memory
from pltvm.errors import SnapshotError
from pltvm.machine import MachineSnapshot
from pltvm.monitor import chain, secure_shm
from pltvm.monitor.copying import TableCopy
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.state import State
from pltvm.monitor.store import Records
from tests import snapshot_stress
from tests.holes import Edit, make
from tests.lives import LIVES, RAM, End, Job, afterwards, elsewhere, end_of, seen
from tests.model.moments import Everything, Moment, take
from tests.model.pair import Divergence
from tests.model.steps import Step, Walk
from tests.monitor.rig import Script, while_host_has_control
from tests.monitor.shared_rig import SharedRig

NEVER = 1 << 60


# -- the model's walk ----------------------------------------------------------------------------------------


def test_random_moments_of_the_walk(capsys: pytest.CaptureFixture[str]) -> None:
    run = snapshot_stress.Run(seed=1, quiet=True)
    assert run.episode(0, 100), capsys.readouterr().out
    assert {what for what, times in run.seen.items() if times >= 3} >= {
        "an enclave runs", "the host runs", "in a call", "a call passed memory", "an ocall waits",
        "relay pages", "instances", "memory shared between enclaves", "the host maps pages",
    }  # fmt: skip


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(2):
        assert snapshot_stress.main(["--count", "12", "--seed", "3"]) == 0
        shown.append(capsys.readouterr().out.splitlines())
    *_, line, trace = shown[0]
    assert line.startswith("12 moments, seed 3, ")
    assert ": all the same, " in line
    assert trace == shown[1][-1]


# Taken out, one by one: what tells RAM's log of a write, and what forgets what no longer holds.
HOLES = {
    "pack": Edit(Memory.opened, "self.dirty[page] = 1", "pass"),
    "store": Edit(Memory.store, "self.dirty[page] = 1", "pass"),
    "records": Edit(Records.region, "self._dirty[(pa - self._base) >> PAGE_SHIFT] = 1", "pass"),
    "owners": Edit(PageOwners._touch, "self._dirty[start] = 1", "pass"),
    "registers": Edit(chain._run, "= dirty[registers] = 1", "= 1"),
    "current": Edit(
        State.note_current, "for page in (*running.pages, running.home.pages[0]):", "for page in ():"
    ),
    "copies": Edit(TableCopy.make, "memory.touch(block, len(self._tables))", "pass"),
    "tables": Edit(State.keep_derived, "enclave.space.table.look_again(changed)", "pass"),
    "views": Edit(State.keep_derived, "del self.views[at]\n        else", "pass\n        else"),
}


@pytest.mark.broken
@pytest.mark.parametrize("what", HOLES)
def test_it_finds(what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make(monkeypatch, HOLES[what])
    assert snapshot_stress.main(["--count", "120", "--seed", "1", "--quiet"]) == 1
    shown = capsys.readouterr().out
    assert "RAM" in shown or what in ("tables", "views")
    assert "python -m tests.snapshot_stress --seed 1 --episode 0" in shown


# -- guest code ----------------------------------------------------------------------------------------------


def of_any_run(everything: Everything) -> Everything:
    """Without what is not so in a run that is resumed: that it was interrupted, and what it had printed."""
    driver = everything.rest["the host"].driver
    driver.printed = None
    for enclave in driver.table.living.values():
        enclave.status = 0
    return everything


class Life:
    """A run with a snapshot at each line that it prints, and one before and one after it."""

    def __init__(self, elf: bytes, name: str) -> None:
        self.rig = SharedRig(elf, RAM)
        self.enclave = LIVES[name](self.rig)
        self.made = len(self.rig._made)
        self.saved: list[MachineSnapshot] = []
        self.moments: list[Everything] = []
        self.texts: list[bytes] = []
        self._save(b"")
        self.result = self.enclave.run(timeout=60, on_output=self._save)
        self.end = self._end(self.result)

    def _save(self, text: bytes) -> None:
        saved, everything = take(self.rig.machine)
        self.saved.append(saved)
        self.moments.append(of_any_run(everything))
        self.texts.append(text)

    def _end(self, result: Any) -> End:
        end = end_of(self.rig.machine, [seen(result), *afterwards(self.rig)])
        del self.rig._made[self.made :]
        return end

    def again(self, at: int) -> None:
        """Back to the moment of this number, and on from there: all that follows is as it was."""
        machine, number = self.rig.machine, at
        machine.restore(self.saved[at])
        now = Everything(machine)
        if at == 0:
            self.moments[0].compare("before the run", of_any_run(now))
        assert now.ram == self.moments[at].ram

        def on_output(text: bytes) -> None:
            nonlocal number
            number += 1
            assert text == self.texts[number]
            now = take(machine)[1]
            self.moments[number].compare(f"from moment {at} on, at moment {number}", of_any_run(now))

        go = self.enclave.run if at == 0 else self.enclave.resume
        result = go(timeout=60, on_output=on_output)
        assert number == len(self.texts) - 1
        assert self._end(result) == self.end

    def job(self, at: int) -> Job:
        """To go on from this moment."""
        return Job(self.saved[at], self.enclave.inner.id, self.rig.elf)


@pytest.mark.parametrize("name", LIVES)
def test_guest_code_goes_on_from_any_moment_in_any_order(script_elf: bytes, name: str) -> None:
    life = Life(script_elf, name)
    order = list(range(len(life.saved)))
    random.Random(name).shuffle(order)
    for at in (*order, *order[:2]):
        life.again(at)
    assert len(life.saved) > 3
    assert (life.result.status, life.result.fault is None) == (
        ("faulted", False) if name == "faulty" else ("exited", True)
    )


def watched(elf: bytes, name: str) -> int:
    """A run with a snapshot whenever the host has control, and one at the end; how many there were."""
    rig = SharedRig(elf, RAM)
    enclave, errors = LIVES[name](rig), list[Divergence]()
    take(rig.machine)

    def look(_status: int) -> None:
        try:
            take(rig.machine)
        except Divergence as error:  # which, raised here, would be a fault of the enclave
            errors.append(error)

    with while_host_has_control(rig.machine, look) as statuses:
        enclave.run(timeout=60)
    if errors:
        raise errors[0]
    take(rig.machine)
    return len(statuses)


@pytest.mark.parametrize("name", LIVES)
def test_a_snapshot_is_all_of_ram_whenever_the_host_has_control(script_elf: bytes, name: str) -> None:
    assert watched(script_elf, name) > 3


# Taken out: what tells RAM's log of pages whose D bits go with the entries that are cleared.
UNMAPPED = {
    "relay": Edit(AddressSpace._unmap, "self.memory.touch(region.pa, region.pages)", "pass"),
    "shared": Edit(chain.leave, "state.dirty[(kbuffer >> PPN_SHIFT) - state.first_page] = 1", "pass"),
    "shared memory": Edit(secure_shm.detach, "state.memory.touch(", "(lambda *_: None)("),
}


@pytest.mark.broken
@pytest.mark.python
@pytest.mark.parametrize("what", UNMAPPED)
def test_pages_that_were_written_and_unmapped_are_missed(
    what: str, script_elf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, UNMAPPED[what])
    with pytest.raises(Divergence, match="the snapshot is not what RAM is"):
        watched(script_elf, what.split()[0])


# -- another process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIVES)
def test_another_process_goes_on_the_same(script_elf: bytes, name: str) -> None:
    """From RAM, CPU and declared state alone, as a pickle."""
    life = Life(script_elf, name)
    at = len(life.saved) // 2
    end = elsewhere(life.job(at))
    texts, *output = end.output
    assert texts == life.texts[at + 1 :]
    assert (output, end.ram) == (life.end.output, life.end.ram)
    assert end.rest == life.end.rest
    if name == "faulty":
        assert "0x2000000123" in output[0][2]


@pytest.mark.parametrize("seed", range(2))
def test_another_process_walks_on_the_same(seed: int) -> None:
    """The model's walk, from a moment with all kinds of things going on."""
    walk, chance = Walk(check_every=NEVER), random.Random(seed)
    for _ in range(1100):
        walk.step(walk.choose(chance.getrandbits(40)))
    moment, steps = Moment(walk), list[Step]()
    results = []
    for _ in range(300):
        steps.append(walk.choose(chance.getrandbits(40)))
        results.append(walk.step(steps[-1]))
    end = elsewhere(Job(moment.saved, steps=tuple(steps), books=moment.books))
    assert end == end_of(walk.pair.machine, results)
    assert len(moment.seen) >= 5


def test_another_state_is_another_end(script_elf: bytes) -> None:
    """The comparison can fail: elsewhere the random numbers are others."""
    life = Life(script_elf, "instances")
    job = life.job(1)
    services = job.saved.host.driver.services
    services.random.seed += b"1"
    assert elsewhere(job).output[1:] != life.end.output


# -- the machine itself --------------------------------------------------------------------------------------


def test_the_host_has_the_hart_from_the_start() -> None:
    """Not what is left of the instructions that set up PMP, which no snapshot has."""
    machine = Machine(RAM)
    assert machine.hart.current is machine.kernel.context
    before = Everything(machine)
    saved = machine.snapshot()
    machine.restore(pickle.loads(pickle.dumps(saved)))
    before.compare("back", Everything(machine))


def test_a_machine_of_another_size_is_refused() -> None:
    machine, other = Machine(RAM), Machine(2 * RAM)
    before = Everything(other)
    with pytest.raises(SnapshotError, match="of a machine with 16 MiB of RAM, this one has 32"):
        other.restore(machine.snapshot())
    before.compare("refused", Everything(other))


@pytest.mark.parametrize("order", ["older first", "newer first", "twice"])
def test_older_and_newer(script_elf: bytes, order: str) -> None:
    """Snapshots of one that was put back: each is what it was, whatever was gone back to meanwhile."""
    rig = SharedRig(script_elf, RAM)
    machine, saved = rig.machine, []
    for number in range(4):
        script = Script()
        script.poke(script.mmap(number + 1 << 12), number)
        rig.server(script, b"%d" % number)
        rig.outcome(rig.enclave(script))
        saved.append(take(machine))
    ways: dict[str, Callable[[], list[int]]] = {
        "older first": lambda: [0, 1, 2, 3],
        "newer first": lambda: [3, 2, 1, 0],
        "twice": lambda: [1, 1, 3, 3, 0, 0, 2, 2],
    }
    for at in ways[order]():
        machine.restore(saved[at][0])
        saved[at][1].compare(f"back at {at}", Everything(machine))
        assert [one.name for one in rig.state.enclaves.values()] == [b"%d" % n for n in range(at + 1)]
        rig.check()
    rig._made.clear()
