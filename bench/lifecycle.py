"""Enclaves from start to end, in ms for one."""

import time
from collections.abc import Callable
from functools import cache
from itertools import count

from bench.harness import Bench, Benchmark, Sample
from pltvm import EnclaveType, Machine


def benchmarks(bench: Bench) -> list[Benchmark]:
    """An empty enclave: create, attest, run and exit, destroy; and fork of a shadow template."""
    machine = cache(Machine)
    template = cache(lambda: machine().create(bench.empty, type=EnclaveType.SHADOW))
    runs = bench.times(50)

    def average(body: Callable[[], object], times: int = runs) -> float:
        start = time.perf_counter()
        for _ in range(times):
            body()
        return (time.perf_counter() - start) / times * 1e3

    def create() -> float:
        enclaves = []
        spent = average(lambda: enclaves.append(machine().create(bench.empty)))
        for enclave in enclaves:
            enclave.destroy()
        return spent

    def run_exit() -> float:
        enclaves = [machine().create(bench.empty) for _ in range(runs)]
        return average(lambda: enclaves.pop().run())

    def destroy() -> float:
        enclaves = [machine().create(bench.empty) for _ in range(runs)]
        return average(lambda: enclaves.pop().destroy())

    def attest() -> float:
        """With the measurement, which later reports on the same enclave do not need again."""
        enclaves = [machine().create(bench.empty) for _ in range(2)]
        left = list(enclaves)
        spent = average(lambda: left.pop().attest(1), times=2)
        for enclave in enclaves:
            enclave.destroy()
        return spent

    def fork_run_exit() -> float:
        template()
        return average(lambda: template().fork().run())

    def fork() -> float:
        """Measure how much longer the first run, which makes the instance, takes than another enclave's."""
        return max(fork_run_exit() - run_exit(), 0.0)

    return [
        Benchmark("lifecycle.create", "ms", create),
        Benchmark("lifecycle.attest", "ms", attest),
        Benchmark("lifecycle.attest_1MiB", "ms", _attest_mebibyte(bench)),
        Benchmark("lifecycle.run_exit", "ms", run_exit),
        Benchmark("lifecycle.destroy", "ms", destroy),
        Benchmark("lifecycle.fork", "ms", fork),
        Benchmark("lifecycle.fork_run_exit", "ms", fork_run_exit),
    ]


def _attest_mebibyte(bench: Bench) -> Sample:
    """Time the first measurement of an enclave of 1 MiB: each sample takes a new one."""
    elf = cache(lambda: bench.build("mebibyte.c"))
    marks = count()

    def attest() -> float:
        mark = next(marks).to_bytes(8, "little")
        enclave = Machine().create(elf().replace(b"\x5a" * 8, mark, 1))
        start = time.perf_counter()
        enclave.attest(1)
        return (time.perf_counter() - start) * 1e3

    return attest
