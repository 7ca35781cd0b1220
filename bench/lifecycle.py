"""Enclaves from start to end, and the commands as a user types them, in ms."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Benchmark
from pltvm import EnclaveType, Machine, sdk

_EMPTY = '#include "eapp.h"\nint EAPP_ENTRY main() { EAPP_RETURN(0); }\n'


def benchmarks(scratch: Path, quick: bool) -> list[Benchmark]:
    """create, run and exit of an empty enclave, fork of a shadow, and whole commands."""
    (scratch / "empty.c").write_text(_EMPTY)
    empty = sdk.build([scratch / "empty.c"], scratch / "empty.elf").read_bytes()
    machine = Machine()
    template = machine.create(empty, type=EnclaveType.SHADOW)
    count = 10 if quick else 50

    def average(body: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(count):
            body()
        return (time.perf_counter() - start) / count * 1e3

    def create() -> float:
        enclaves = []
        spent = average(lambda: enclaves.append(machine.create(empty)))
        for enclave in enclaves:
            enclave.destroy()
        return spent

    def run_exit() -> float:
        enclaves = [machine.create(empty) for _ in range(count)]
        return average(lambda: enclaves.pop().run())

    def fork() -> float:
        """Fork, run and exit; what run and exit take is in `lifecycle.run_exit`."""
        return average(lambda: template.fork().run())

    for name in ("caller", "server", "server1"):
        shutil.copy(sdk.examples()[name].elf, scratch / name)
    shutil.copy(sdk.guest_dir() / "elf" / "host" / "musl" / "test-caller", scratch / "test-caller")

    def command(*arguments: str) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=scratch, capture_output=True, check=True)
            return (time.perf_counter() - start) * 1e3

        return run

    tutorial = ("-m", "pltvm.cli", "run", "./test-caller", "caller", "server", "server1")
    return [
        Benchmark("lifecycle.create", "ms", create, (("own", 1.0), ("original / 6", 0.5))),
        Benchmark("lifecycle.run_exit", "ms", run_exit, (("own", 0.5), ("original / 10", 0.3))),
        Benchmark("lifecycle.fork_run_exit", "ms", fork, (("own: fork 0.5, run 0.5", 1.0),)),
        Benchmark("cli.demo", "ms", command("-m", "pltvm.cli", "demo"), (("own", 300.0),)),
        Benchmark("cli.tutorial", "ms", command(*tutorial), (("own", 300.0), ("original / 2", 210.0))),
        Benchmark(
            "import", "ms", command("-c", "import pltvm.machine"), (("own, with Python's start", 80.0),)
        ),
    ]
