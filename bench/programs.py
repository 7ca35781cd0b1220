"""Whole programs, as a user runs them: the commands, examples, and importing the package; in ms."""

import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from bench.harness import Bench, Benchmark, Sample
from pltvm import EnclaveType, Machine
from pltvm.build import guest

# As installed packages have it, whatever the environment says: modules are compiled once.
_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
_IMPORT = "import time; s = time.perf_counter(); {}; print(time.perf_counter() - s)"
# name, program, the servers it calls
_PROGRAMS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("files", "fs-client", {"filesystem": "fs-server"}),
    ("key_value", "kv-client", {"kv-store": "kv-server"}),
    ("memory", "memory", {}),
    ("wordcount", "wordcount", {"filesystem": "fs-server"}),
)


def benchmarks(bench: Bench) -> list[Benchmark]:
    """`cli.*` are whole processes, `program.*` a fresh machine each, `import*` without Python's start."""
    folder = cache(lambda: _tutorial(bench.scratch / "tutorial"))
    environment = {**os.environ, **_COMPILED, "PYTHONPYCACHEPREFIX": str(bench.scratch / "compiled")}

    def command(*arguments: str) -> Sample:
        def run() -> float:
            start = time.perf_counter()
            line = [sys.executable, *arguments]
            subprocess.run(line, cwd=folder(), env=environment, capture_output=True, check=True)
            return (time.perf_counter() - start) * 1e3

        return run

    def imported(statement: str) -> Sample:
        def run() -> float:
            line = [sys.executable, "-c", _IMPORT.format(statement)]
            return float(subprocess.run(line, env=environment, capture_output=True, check=True).stdout) * 1e3

        return run

    pltvm = ("-m", "pltvm.cli")

    def first_fuzz() -> float:
        """A thousand executions, in a folder that is not there yet."""
        (folder() / "parser.elf").write_bytes(bench.build("parser.c"))
        shutil.rmtree(folder() / "out", ignore_errors=True)
        return command(*pltvm, "fuzz", "parser.elf", "--execs", "1000", "-o", "out")()

    return [
        Benchmark("import", "ms", imported("import pltvm")),
        Benchmark("import.machine", "ms", imported("from pltvm import Machine")),
        Benchmark("cli.demo", "ms", command(*pltvm, "demo")),
        Benchmark("cli.hello", "ms", command(*pltvm, "run", "hello.elf")),
        Benchmark(
            "cli.tutorial", "ms", command(*pltvm, "run", "./test-caller", "caller", "server", "server1")
        ),
        Benchmark("cli.fuzz", "ms", first_fuzz),
        *(Benchmark(f"program.{name}", "ms", _program(elf, servers)) for name, elf, servers in _PROGRAMS),
    ]


def _tutorial(folder: Path) -> Path:
    """The files of the original system's tutorial, and of the smallest enclave."""
    folder.mkdir()
    for name in ("caller", "server", "server1"):
        shutil.copy(guest.examples()[name].elf, folder / name)
    shutil.copy(guest.examples()["hello-world"].elf, folder / "hello.elf")
    shutil.copy(guest.guest_dir() / "elf" / "host" / "musl" / "test-caller", folder / "test-caller")
    return folder


def _program(name: str, servers: dict[str, str]) -> Sample:
    def run() -> float:
        elves = {one: guest.examples()[one].elf.read_bytes() for one in (name, *servers.values())}
        start = time.perf_counter()
        machine = Machine()
        for server, elf in servers.items():
            machine.create(elves[elf], name=server, type=EnclaveType.SERVER)
        result = machine.create(elves[name]).run()
        elapsed = time.perf_counter() - start
        if not result.ok:
            raise RuntimeError(f"{name}: {result.status} {result.fault}")
        return elapsed * 1e3

    return run
