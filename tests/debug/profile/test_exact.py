"""Counts are exact: they are those of a hook on each instruction, with the native core and without."""

import json
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pltvm import EnclaveType, Machine
from pltvm.build import guest
from pltvm.debug.profile import Profile, profiling
from pltvm.debug.profile.collector import Collector
from pltvm.engine import position
from pltvm.host.linux.runner import run_program
from pltvm.native import core
from tests.cli.command import ELVES
from tests.debug.debuggers import Programs
from tests.debug.profile.model import Model
from tests.host.linux import programs

Runs = Callable[[Machine], object]
LINUX = ["mem_code", "proc_exec", "proc_fork", "sig_faults", "sig_jump", "time_itimer"]


def chain(machine: Machine) -> None:
    """The example of a caller and two servers."""
    elves = {name: example.elf for name, example in guest.examples().items()}
    machine.create(elves["server"], name="test-server", type=EnclaveType.SERVER)
    machine.create(elves["server1"], name="test-server1", type=EnclaveType.SERVER)
    assert machine.create(elves["caller"], name="caller", shm=b"one", relay=b"two").run().retval == 0


def one(elf: bytes) -> Runs:
    return lambda machine: machine.create(elf).run()


def shadows(machine: Machine) -> None:
    template = machine.create(guest.examples()["hello-world"].elf, type=EnclaveType.SHADOW)
    for _ in range(3):
        template.fork().run()


def profile_of(runs: Runs, native: bool) -> Profile:
    machine = Machine(256 << 20, native=native)
    with profiling(machine) as collector:
        runs(machine)
    return collector.profile()


def counted(profile: Profile) -> dict[tuple[str, int], int]:
    """By who and pc, as the model has them."""
    found: Counter[tuple[str, int]] = Counter()
    for (function, pc, _), times in profile.at.items():
        who = profile.whos[profile.functions[function].who]
        number = f"eid {who.number}" if who.kind == "enclave" else f"pid {who.number} {who.path!r}"
        found[number, pc] += times
    return dict(found)


def check(runs: Runs) -> Profile:
    """The profile, once it is the same with the core and without, and the model's."""
    profile, other = profile_of(runs, True), profile_of(runs, False)
    assert json.dumps(profile.to_dict()) == json.dumps(other.to_dict())
    machine = Machine(256 << 20, native=False)
    model = Model(machine)
    runs(machine)
    found, expected = counted(profile), model.counts()
    differ = {key: (found.get(key, 0), expected.get(key, 0)) for key in found.keys() | expected.keys()}
    assert {key: pair for key, pair in differ.items() if pair[0] != pair[1]} == {}
    assert sum(node.own for node in profile.nodes) == profile.instructions == sum(expected.values())
    assert not profile.lost
    for native in (True, False):  # and a position of a run is a count of the same
        machine = Machine(256 << 20, native=native)
        counter = position.Counter(machine.hart)
        runs(machine)
        assert counter.now == profile.instructions
    return profile


def test_a_chain() -> None:
    profile = check(chain)
    assert [(row.caller, row.callee, row.calls, row.pages, row.back) for row in profile.edges()] == [
        ("caller", "test-server1", 1, 7, 14), ("test-server1", "test-server", 1, 7, 14),
    ]  # fmt: skip
    traps = {row.who: row.calls for row in profile.by_enclave()}
    assert traps["caller"] == {"acquire": 1, "call": 1, "exit": 1, "ocall mmap": 1, "ocall write": 5}


@pytest.mark.parametrize("name", ["lacking", "wrong", "wraps", "stdio"])
def test_an_enclave(name: str, build_guest: Callable[[str], bytes]) -> None:
    check(one(build_guest(name)))


def test_instances_of_a_template_that_share_code() -> None:
    profile = check(shadows)
    assert len(profile.whos) == 3
    assert len({row.own for row in profile.by_enclave()}) == 1


def test_slots_of_a_server_that_are_inside_at_once(programs: Programs) -> None:
    """Each has a stack of its own: functions are called by the same ones as when one comes after another."""

    def paths(profile: Profile) -> Counter[tuple[str, ...]]:
        found: Counter[tuple[str, ...]] = Counter()
        for node in profile.nodes:
            path, at = [], node
            while at.parent:
                path.append(profile.functions[at.function].name)
                at = profile.nodes[at.parent]
            found[tuple(path[::-1])] += node.own
        return found

    def runs(machine: Machine, together: bool) -> None:
        machine.create(programs("slots"), name="slots", type="concurrent", slots=3)
        clients = [machine.create(programs("slots-client")) for _ in range(3)]
        results = machine.run_together(clients, quantum=23) if together else [one.run() for one in clients]
        assert [one.retval for one in results] == [102, 206, 104]

    plain = paths(check(lambda machine: runs(machine, together=False)))
    assert ("main", "twice", "add", "eapp_yield") in {path[-4:] for path in plain}
    assert paths(check(lambda machine: runs(machine, together=True))) == plain


@pytest.mark.parametrize("kind", [{"type": "server"}, {"type": "concurrent", "slots": 2}], ids=["1", "2"])
def test_calls_that_wait_are_counted(kind: dict[str, Any]) -> None:
    """Those that need not wait, and those that the host lets be made later."""

    def run(machine: Machine) -> None:
        examples = guest.examples()
        machine.create(examples["counter"].elf, name="counter", **kind)
        shm = struct.pack("<QQ", 0, 5)
        clients = [machine.create(examples["count-client"].elf, name=f"c{n}", shm=shm) for n in range(3)]
        machine.run_together(clients, quantum=97)

    edges = check(run).edges()
    assert sorted(row.calls for row in edges) == [5, 5, 5]


def test_a_machine_that_is_put_back() -> None:
    """Other enclaves are made where those were that have run."""

    def run(machine: Machine) -> None:
        before = machine.snapshot()
        chain(machine)
        machine.restore(before)
        machine.create(guest.examples()["hello-world"].elf, name="hello").run()
        machine.restore(before)
        chain(machine)

    profile = check(run)
    assert [row.who.split(" ")[0] for row in profile.by_enclave()].count("hello") == 1
    assert sum(row.calls for row in profile.edges()) == 4


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    return shared / "programs"


@pytest.mark.parametrize("name", LINUX)
def test_a_host_program(name: str, cache: Path, tmp_path: Path) -> None:
    if why := programs.no_compiler("glibc"):
        pytest.skip(why)
    folder = tmp_path / "root"

    def run(machine: Machine) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # as it was for the run before
        for inner in ("bin", "tmp"):
            (folder / inner).mkdir(parents=True)
        for source, place in ((name, folder / name), ("sh", folder / "bin" / "sh")):
            shutil.copy(programs.build(source, "glibc", cache), place)
            place.chmod(0o755)
        run_program(machine.driver, folder / name, (), root=folder, timeout=60)

    check(run)


@pytest.mark.skipif(core is None, reason="needs the native core")
def test_calls_are_counted_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is asked for each block once, and not at calls."""
    asked = 0
    who = Collector._who

    def counting(self: Collector, registers: int) -> int:
        nonlocal asked
        asked += 1
        return who(self, registers)

    def run(machine: Machine) -> None:
        machine.create(ELVES["kv-server"], name="kv-store", type=EnclaveType.SERVER)
        for _ in range(2):
            counts.append(asked)
            machine.create(ELVES["kv-client"]).run()
        counts.append(asked)

    monkeypatch.setattr(Collector, "_who", counting)
    counts: list[int] = []
    profile = profile_of(run, True)
    assert [row.calls for row in profile.edges()] == [10, 10]
    blocks = len({(row.who, row.pc, len(row.code)) for row in profile._blocks})
    assert counts[2] <= blocks + 20


def test_ten_runs_are_the_same_bytes() -> None:
    def dumped(profiles: Iterable[Profile]) -> set[str]:
        return {json.dumps(profile.to_dict()) for profile in profiles}

    assert len(dumped(profile_of(chain, at > 0) for at in range(10))) == 1


def test_a_machine_that_has_run_is_not_profiled() -> None:
    machine = Machine(64 << 20)
    machine.create(guest.examples()["hello-world"].elf).run()
    with pytest.raises(ValueError, match="from its start"), profiling(machine):
        pass
