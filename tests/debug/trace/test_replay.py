"""The state at any moment follows from a trace: what the events lead to is what the machine is."""

import random
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.debug.trace.collect import tracing
from tests.core_programs import RAM as LARGER
from tests.core_programs import SERVERS, caller, server
from tests.debug.trace.chain import COUNTER, FRONT, finish, queueing
from tests.debug.trace.replay import check
from tests.lives import LIVES
from tests.model.steps import Walk, random_steps
from tests.monitor.rig import Rig
from tests.monitor.shared_rig import SharedRig
from tests.test_ten_runs import PROGRAMS, RAM, ram_of


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "sectors"])  # has its own machine
def test_programs_and_they_do_not_notice(name: str, tmp_path: Path) -> None:
    plain, watched = Machine(RAM), Machine(RAM)
    outcomes = []
    for number, machine in enumerate((plain, watched)):
        folder = tmp_path / str(number)
        folder.mkdir()
        if machine is plain:
            outcomes.append(repr(PROGRAMS[name](machine, folder)))
            continue
        with tracing(machine, tmp_path / "run.jsonl"):
            outcomes.append(repr(PROGRAMS[name](machine, folder)))
        told = check(machine, lines(tmp_path / "run.jsonl"))
        assert told.seen["trap"] > 0
        assert told.seen["end"] == 1
    assert outcomes[0] == outcomes[1]
    assert ram_of(plain) == ram_of(watched)
    assert (plain.hart.traps, plain.hart.clock) == (watched.hart.traps, watched.hart.clock)


@pytest.mark.parametrize("slots", [1, 2])
def test_chains_that_wait_for_servers(slots: int, tmp_path: Path) -> None:
    """Calls that have waited are told, and snapshots say which slot has called which."""
    contents = set()
    for native in (True, False):
        machine = Machine(LARGER, native=native)
        with tracing(machine, tmp_path / "begin.jsonl"):
            clients = queueing(machine, slots)
        told = check(machine, lines(tmp_path / "begin.jsonl"))
        assert told.callers == {
            **{(FRONT, slot): (clients[slot].eid, None) for slot in range(3)},
            **{(COUNTER, slot): (FRONT, slot) for slot in range(slots)},
        }
        assert [told.states[FRONT, slot] for slot in range(3)].count("queued") == 3 - slots
        with tracing(machine, tmp_path / "end.jsonl"):
            saved = machine.snapshot()
            finish(clients)
            machine.restore(saved)
            finish(clients)
        told = check(machine, lines(tmp_path / "end.jsonl"))
        assert told.callers == {}
        assert told.seen["call"] == 2 * (3 * 2 * 2 - (3 + slots))
        assert told.seen["return"] == 2 * 3 * 2 * 2
        contents.add("".join((tmp_path / name).read_text() for name in ("begin.jsonl", "end.jsonl")))
    assert len(contents) == 1


@pytest.mark.parametrize("name", LIVES)
def test_lives_that_are_put_back(name: str, script_elf: bytes, tmp_path: Path) -> None:
    rig = SharedRig(script_elf, RAM)
    machine = rig.machine
    with tracing(machine, tmp_path / "run.jsonl"):
        enclave = LIVES[name](rig)
        saved, times = machine.snapshot(), 0

        def put_back(_text: bytes) -> None:
            nonlocal saved, times
            times += 1
            if times == 3:
                saved = machine.snapshot()
            elif times == 4:
                machine.restore(saved)

        result = enclave.run(timeout=60, on_output=put_back)
        assert result.status in ("exited", "faulted"), result.status
    told = check(machine, lines(tmp_path / "run.jsonl"))
    assert told.seen.get("restore", 0) == (times > 3)
    assert told.seen.get("fault", 0) == (name == "faulty")


def test_random_programs(script_elf: bytes, tmp_path: Path) -> None:
    rig = Rig(script_elf, Machine(LARGER))
    told = {"call": 0, "return": 0, "page": 0, "fault": 0}
    for seed in range(6):
        dice = random.Random(f"trace/{seed}")
        with tracing(rig.machine, tmp_path / "run.jsonl"):
            made = [rig.server(server(dice), name).enclave for name in SERVERS]
            made.append(rig.enclave(caller(dice)))
            made[-1].run(timeout=60)
            for one in made:
                if one.alive:
                    one.destroy()
        seen = check(rig.machine, lines(tmp_path / "run.jsonl")).seen
        told = {kind: count + seen.get(kind, 0) for kind, count in told.items()}
    assert min(told["call"], told["return"], told["page"]) > 10


def test_the_walk_of_the_model(tmp_path: Path) -> None:
    """Every call of the monitor, in random order, refused ones too, with tables of the host."""
    walk = Walk(check_every=1 << 60)
    walk.pair.refused_every = 1 << 60
    machine = walk.pair.machine
    for part in range(2):
        with tracing(machine, tmp_path / "run.jsonl"):
            for step in random_steps(walk, f"trace/{part}", 500):
                walk.step(step)
            machine._watching.look()  # type: ignore[union-attr]  # the model also writes by itself
        told = check(machine, lines(tmp_path / "run.jsonl"))
        assert told.seen["page"] > 5, part
        assert told.seen["pte"] > 5, part
    walk.deep()


@pytest.mark.parametrize("name", ["s-satp", "s-own-tables", "s-user", "s-slot-ends", "s-wrong-chain"])
def test_kernel_programs(name: str, tmp_path: Path) -> None:
    machine = Machine(64 << 20)
    with tracing(machine, tmp_path / "run.jsonl"):
        result = machine.supervise(guest.attack_elf(name))
    assert result.code is not None
    told = check(machine, lines(tmp_path / "run.jsonl"))
    assert told.seen["host_call"] > 5
