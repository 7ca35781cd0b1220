"""Servers with several callers at once, compared with servers with one call at a time.

Each caller is an enclave that the host runs; `Machine.run_together` gives them the hart in slices, so that
calls are interrupted in the middle. A call does about 2,000 instructions of work.
"""

import gc
import struct
import time
from functools import cache

from bench.harness import Bench, Benchmark, Sample
from bench.scale import resident
from pltvm import Enclave, Machine

ONE = "with 1 caller"
_CALLERS = (1, 2, 4, 16, 64)
_ROUNDS = 1_000
_FOR_EVER = 1 << 62
_SLOTS = 64
_MANY = 1_000
_SMALL_STACK = 8192
_GIB = 1 << 30


class Crowd:
    """Runs of several callers of one server."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def callers(
        self, machine: Machine, count: int, server: str, calls: int, rounds: int, waits: bool = False
    ) -> list[Enclave]:
        order = struct.pack("<3Q16s", calls, rounds, waits, server.encode())
        elf = self._bench.build("callers.c")
        return [machine.create(elf, shm=order, stack_size=_SMALL_STACK) for _ in range(count)]

    def server(self, machine: Machine, name: str, slots: int) -> None:
        """Create a server with so many slots, or, with 0, one with one call at a time."""
        elf, kind = self._bench.build("working.c"), "concurrent" if slots else "server"
        machine.create(elf, name=name, type=kind, slots=slots or None, stack_size=_SMALL_STACK)

    def each(self, count: int, slots: int, waits: bool = False) -> float:
        """Microseconds of a call by so many callers at once; a run with one call each is taken off."""
        calls = max(self._bench.times(6_400) // count, 1)
        one, all_calls = (self._run(count, slots, waits, each) for each in (1, calls + 1))
        return (all_calls - one) / (calls * count) * 1e6

    def _run(self, count: int, slots: int, waits: bool, calls: int) -> float:
        machine = Machine(ram=_GIB)
        self.server(machine, "bench", slots)
        callers = self.callers(machine, count, "bench", calls, _ROUNDS, waits)
        start = time.perf_counter()
        results = machine.run_together(callers)
        elapsed = time.perf_counter() - start
        if any(one.retval != 0 for one in results):
            raise RuntimeError(f"not all calls worked: {[one.status for one in results]}")
        return elapsed

    def memory(self) -> float:
        """MiB that the process grows by for many chains, each of them in the middle of a call."""
        gc.collect()
        before = resident()
        machine = Machine(ram=4 * _GIB)
        callers: list[Enclave] = []
        for first in range(0, _MANY, _SLOTS):
            name = f"server{first}"
            self.server(machine, name, _SLOTS)
            callers += self.callers(machine, min(_SLOTS, _MANY - first), name, 1, _FOR_EVER)
        machine.run_together(callers, quantum=5_000, most=5_000 * 2 * _MANY)
        if len(machine.enclaves) < _MANY:
            raise RuntimeError("not all chains are alive")
        return (resident() - before) / 2**20


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Microseconds of a call by the number of callers, and what many chains take."""
    crowd = Crowd(bench)

    def calls(count: int, slots: int = _SLOTS, waits: bool = False) -> Sample:
        return lambda: crowd.each(count, slots, waits)

    made = []
    for count in _CALLERS:
        peers = {"busy, again": calls(count, 0), "waiting in line": calls(count, 0, True)}
        if count > 1:
            peers[ONE] = calls(1)
        made.append(Benchmark(f"concurrent.call_by_{count}", "µs", calls(count), peers))
    made.append(Benchmark(f"concurrent.memory_{_MANY}", "MiB", cache(crowd.memory), repeats=1))
    return made
