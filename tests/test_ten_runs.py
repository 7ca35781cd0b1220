"""The examples, ten times: the same output, the same traps with the same registers, the same RAM at the end.

The same for the attacks is in tests/test_selftest.py, for the monitor's random walks in tests/test_model.py.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import BOUND, Enclave, EnclaveType, Machine, native
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.host.linux.runner import run_program
from tests.traces import ram_of, traced

RUNS = 10
RAM = 16 << 20
ELF = {name: example.elf for name, example in guest.examples().items()}
ENCLAVES = ("caller.elf", "server.elf", "server1.elf", "hello-world.elf", "shadow.elf")


def server(machine: Machine, example: str, name: str, **options: Any) -> Enclave:
    return machine.create(ELF[example], name=name, type=EnclaveType.SERVER, **options)


def chain(machine: Machine, _folder: Path) -> list[object]:
    """What `pltvm demo` runs, with reports on the caller and its server."""
    servers = [server(machine, name, f"test-{name}") for name in ("server", "server1")]
    caller = machine.create(ELF["caller"], name="caller", shm=b"one", relay=b"two")
    reports = [one.attest(nonce=7) for one in (*servers, caller)]
    return [*reports, caller.run()]


def files(machine: Machine, _folder: Path) -> list[object]:
    server(machine, "fs-server", "filesystem")
    return [machine.create(ELF[name]).run() for name in ("fs-client", "wordcount", "fs-client")]


def keys(machine: Machine, _folder: Path) -> list[object]:
    server(machine, "kv-server", "kv-store")
    return [machine.create(ELF["kv-client"]).run() for _ in range(2)]


def relay(machine: Machine, _folder: Path) -> list[object]:
    pages = machine.relay(b"".join(number.to_bytes(PAGE, "little") for number in range(1, 5)))
    enclave = machine.create(ELF["relay"], name="relay", relay=pages)
    results: list[object] = [enclave.run(), enclave.resume(relay=machine.relay(b"\7"))]
    return [*results, machine.create(ELF["relay"], name="relay-next", relay=BOUND).run()]


def shared(machine: Machine, _folder: Path) -> list[object]:
    return [machine.create(ELF["secure-shm"]).run() for _ in range(2)]


def sectors(_machine: Machine, folder: Path) -> list[object]:
    machine = Machine(RAM, disk=folder / "disk")
    memory = machine.shm(PAGE)
    machine.use_for_persistency(memory)
    results: list[object] = [machine.create(ELF["sectors"], shm=memory).run() for _ in range(2)]
    return [*results, ram_of(machine), (folder / "disk").read_bytes()]


def shadows(machine: Machine, _folder: Path) -> list[object]:
    template = machine.create(ELF["shadow"], type=EnclaveType.SHADOW)
    return [template.fork().run() for _ in range(3)]


def alone(machine: Machine, _folder: Path) -> list[object]:
    return [machine.create(ELF[name]).run() for name in ("hello-world", "memory", "random")]


def host(program: str, *arguments: str) -> Callable[[Machine, Path], list[object]]:
    """A Linux program; threads and processes of it take turns, by the same clock each time."""

    def run(machine: Machine, folder: Path) -> list[object]:
        for elf in ENCLAVES:
            shutil.copyfile(guest.guest_dir() / "elf" / elf, folder / elf)
        shutil.copyfile(guest.host_elf_dir() / "loop-enclave.elf", folder / "loop-enclave.elf")
        elf = guest.host_examples()[program].elfs["musl"]
        return [run_program(machine.driver, elf, arguments, root=folder, timeout=60)]

    return run


PROGRAMS: dict[str, Callable[[Machine, Path], list[object]]] = {
    "chain": chain, "files": files, "keys": keys, "relay": relay, "shared": shared, "sectors": sectors,
    "shadows": shadows, "alone": alone,
    "host: chain": host("test-caller", "caller.elf", "server.elf", "server1.elf"),
    "host: threads": host("host", "hello-world.elf", "3"),
    "host: fork": host("fork-host", "hello-world.elf", "2"),
    "host: stop": host("test-stop", "loop-enclave.elf"),
}  # fmt: skip


def once(name: str, folder: Path) -> dict[str, Any]:
    """One run in a fresh machine and an empty folder: all that can be seen of it."""
    folder.mkdir()
    with traced() as trace:
        machine = Machine(RAM)
        results = PROGRAMS[name](machine, folder)
    return {"results": repr(results), "traps": trace.traps, "trace": trace.digest, "ram": ram_of(machine)}


def once_with_core(name: str, folder: Path) -> dict[str, Any]:
    """The same with the native core, but for the trace."""
    folder.mkdir()
    machine = Machine(RAM)
    assert machine.hart.has_core
    results = PROGRAMS[name](machine, folder)
    return {"results": repr(results), "ram": ram_of(machine)}


@pytest.mark.parametrize("name", PROGRAMS)
def test_ten_runs_are_the_same(name: str, tmp_path: Path) -> None:
    first = once(name, tmp_path / "0")
    assert first["traps"] > 0
    assert "Result(" in first["results"]
    for run in range(1, RUNS):
        assert once(name, tmp_path / str(run)) == first
    if native.core is not None:
        for run in range(RUNS, 2 * RUNS):
            assert once_with_core(name, tmp_path / str(run)).items() <= first.items()


def test_another_process_and_other_hashes_are_the_same(tmp_path: Path) -> None:
    code = (
        "import json, sys, pathlib; from tests.test_ten_runs import PROGRAMS, once\n"
        "folders = [pathlib.Path(sys.argv[1]) / str(n) for n in range(len(PROGRAMS))]\n"
        "print(json.dumps([once(name, folder) for name, folder in zip(PROGRAMS, folders)]))"
    )
    seen = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        command = [sys.executable, "-c", code, str(folder)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        seen.append(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert seen[0] == seen[1]
    assert len(json.loads(seen[0])) == len(PROGRAMS)


def test_a_trace_shows_a_difference() -> None:
    """The comparison can fail: a longer number in shared memory is another trace."""
    seen = []
    for number in (b"1", b"1", b"1234"):
        with traced() as trace:
            machine = Machine(RAM)
            server(machine, "server", "test-server")
            machine.create(ELF["caller"], shm=number).run()
        seen.append(trace.digest)
    assert seen[0] == seen[1] != seen[2]
