"""Many enclaves: 5,000 that live, chains of 64, 1,000 shadow instances, a gigabyte of relay pages.

Here a peer is the same at a smaller scale, and its ratio says whether the cost grows: 1 is no growth.
"""

import gc
import os
import time
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path

from bench.harness import Bench, Benchmark, Sample
from bench.micro import CALL, CALL_CHAIN, CALL_EACH, client_order
from pltvm import EnclaveType, Machine
from pltvm.host.api import Enclave
from pltvm.host.forking import TABLE_PAGES

MANY, FEW = 5_000, 10
DEEP, SHALLOW = 64, 8
FORKS = 1_000
_SMALL_STACK = 8192
_GIB = 1 << 30
_STACK = 4 << 20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Population:
    """A machine on which `count` servers live: n0, n1 … and "bench"."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench, self._count = bench, count
        self.machine = Machine(ram=16 * _GIB)

    @cached_property
    def bytes_for_all(self) -> int:
        """Return the growth of the process for the servers, after a client has called each of them."""
        gc.collect()
        before = resident()
        elf = self._bench.build("server.c")
        for number in range(self._count - 1):
            self.machine.create(elf, name=f"n{number}", type=EnclaveType.SERVER, stack_size=_SMALL_STACK)
        self.machine.create(elf, name="bench", type=EnclaveType.SERVER, stack_size=_SMALL_STACK)
        self.run(self.client(CALL_EACH, self._count - 1, self._count - 1))
        return resident() - before

    def client(self, operation: int, count: int, pages: int = 0) -> Enclave:
        order = client_order(operation, count, pages)
        return self.machine.create(self._bench.build("client.c"), shm=order, stack_size=_SMALL_STACK)

    def run(self, enclave: Enclave) -> float:
        """Seconds until it has exited, every call answered."""
        start = time.perf_counter()
        result = enclave.run()
        elapsed = time.perf_counter() - start
        if result.retval != 0:
            raise RuntimeError(f"not all calls worked: {result.status}, {result.retval} {result.fault}")
        return elapsed

    def call(self) -> float:
        """Microseconds of a null call."""
        count = self._bench.times(2_000)
        return (self.run(self.client(CALL, count + 1)) - self.run(self.client(CALL, 1))) / count * 1e6

    def call_each(self) -> float:
        """Microseconds to find a server by its name and call it, over all of them."""
        return self.run(self.client(CALL_EACH, MANY, self._count - 1)) / MANY * 1e6

    def create(self) -> float:
        return self._create_and_destroy()[0]

    def destroy(self) -> float:
        return self._create_and_destroy()[1]

    def _create_and_destroy(self) -> tuple[float, float]:
        """Milliseconds to create one more, and to destroy it."""
        count, clock = self._bench.times(100), time.perf_counter
        start = clock()
        made = [self.client(CALL, 0) for _ in range(count)]
        middle = clock()
        for one in made:
            one.destroy()
        return (middle - start) / count * 1e3, (clock() - middle) / count * 1e3


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Cost at 5,000 live enclaves beside 10, per level of a deep chain beside a shallow one, and memory."""

    @cache
    def population(count: int) -> Population:
        made = Population(bench, count)
        _ = made.bytes_for_all
        return made

    def at(count: int, what: Callable[[Population], float]) -> Sample:
        return lambda: what(population(count))

    def both(name: str, unit: str, what: Callable[[Population], float]) -> Benchmark:
        return Benchmark(f"scale.{name}_at_{MANY}", unit, at(MANY, what), {f"at {FEW} live": at(FEW, what)})

    chain = cache(lambda: _chain(bench))

    def level(depth: int) -> float:
        """Microseconds of one more call in a chain: the first, which sets the chain up, is taken off."""
        count = bench.times(200)
        one, all_levels = (
            chain().run(chain().client(CALL_CHAIN, count, levels)) for levels in (1, depth)
        )  # fmt: skip
        return (all_levels - one) / count / (depth - 1) * 1e6

    size = _GIB // 8 if bench.quick else _GIB
    relay = cache(lambda: Relay(bench))
    forks = cache(lambda: _forks(bench, FORKS))
    return [
        Benchmark(f"scale.resident_{MANY}", "MiB", lambda: population(MANY).bytes_for_all / 2**20, repeats=1),
        both("call", "µs", Population.call),
        both("call_each", "µs", Population.call_each),
        both("create", "ms", Population.create),
        both("destroy", "ms", Population.destroy),
        Benchmark(
            f"scale.chain_level_at_{DEEP}", "µs", lambda: level(DEEP),
            {f"at {SHALLOW} deep": lambda: level(SHALLOW)},
        ),
        Benchmark(
            "scale.fork_memory", "KiB", lambda: forks()[0] / 1024,
            {"writable pages and tables": lambda: forks()[1] / 1024}, repeats=1,
        ),
        Benchmark(
            "scale.relay_1GiB", "ms", lambda: relay().transfer(size) * _GIB / size,
            {"4 times a quarter": lambda: relay().transfer(size // 4) * 4 * _GIB / size}, repeats=3,
        ),
    ]  # fmt: skip


def _chain(bench: Bench) -> Population:
    """A machine with the links n0 … n63."""
    made = Population(bench, 0)
    for number in range(DEEP):
        made.machine.create(bench.build("chain.c"), name=f"n{number}", type=EnclaveType.SERVER)
    return made


def _forks(bench: Bench, count: int) -> tuple[float, float]:
    """Bytes that a living shadow instance costs, and those of its writable pages and page tables at most.

    An instance lives from its run on, and is stopped when it prints.
    """
    machine = Machine(ram=4 * _GIB)
    template = machine.create(bench.build("shadow.c"), type=EnclaveType.SHADOW)
    stopped = _stopped_fork(template)
    gc.collect()
    before = resident()
    living = [_stopped_fork(template) for _ in range(count)]
    used = (resident() - before) / count
    for one in (stopped, *living):
        if one.resume().retval != 0:
            raise RuntimeError("a stopped instance did not go on")
    stack_pages = 2  # touched ones
    mailbox_and_kbuffer = 2
    pages = template._inner.copy_pages + stack_pages + TABLE_PAGES + mailbox_and_kbuffer
    return used, pages * 4096


def _stopped_fork(template: Enclave) -> Enclave:
    instance = template.fork()
    result = instance.run(on_output=lambda _text: instance.stop())
    if result.status != "stopped":
        raise RuntimeError(f"the instance did not stop: {result.status} {result.fault}")
    return instance


class Relay:
    """Relay pages handed to an empty enclave, and back when it exits."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._machine = Machine(ram=4 * _GIB)

    def transfer(self, size: int) -> float:
        """Milliseconds that handing over `size` bytes takes, without making or reading them."""
        driver = self._machine.driver
        pages = self._machine.relay(size)
        # A page table for each 2 MiB comes out of the enclave's block: so it needs a large one.
        enclave = self._machine.create(self._bench.empty, stack_size=_STACK)
        start = time.perf_counter()
        entered = driver.start(enclave._inner, pages.span)
        elapsed = time.perf_counter() - start
        if not entered or driver.go(enclave._inner) != 0:
            raise RuntimeError("the relay pages were not taken")
        pages.free()
        return elapsed * 1e3
