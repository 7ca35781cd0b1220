"""Calls, one by one: guest code makes a call many times, and the time of a run with one is taken off."""

import struct
import time
from functools import cache, cached_property

from bench import peers
from bench.harness import Bench, Benchmark, Sample
from pltvm import EnclaveType, Machine

# The numbers of bench/guest/client.c.
(
    NOTHING, ENCLAVE_ID, ACQUIRE, CALL, PRINT, MMAP, TRAP, CALLER_ID, YIELD, REPORT, DERIVE_KEY, SBRK,
    READ_SECTOR, WRITE_SECTOR, RANDOM, SHM, SHM_ATTACH, SHM_STAT, TOUCH, FLUSH_TOUCH, CALL_EACH, CALL_CHAIN,
) = range(22)  # fmt: skip

# name, operation, pages, how often
_CALLS = (
    ("trap", TRAP, 0, 200_000),
    ("ecall.enclave_id", ENCLAVE_ID, 0, 200_000),
    ("ecall.caller_id", CALLER_ID, 0, 200_000),
    ("ecall.acquire", ACQUIRE, 0, 100_000),
    ("ecall.yield", YIELD, 0, 100_000),
    ("ecall.derive_key", DERIVE_KEY, 0, 3_000),
    ("ecall.report", REPORT, 0, 20),
    ("ecall.shm_stat", SHM_STAT, 0, 3_000),
    ("call.null", CALL, 0, 20_000),
    ("call.1page", CALL, 1, 20_000),
    ("call.64pages", CALL, 64, 10_000),
    ("ocall.print", PRINT, 0, 50_000),
    ("ocall.mmap_munmap", MMAP, 0, 5_000),
    ("ocall.sbrk_pair", SBRK, 0, 5_000),
    ("ocall.random", RANDOM, 0, 1_000),
    ("ocall.read_sector", READ_SECTOR, 0, 500),
    ("ocall.write_sector", WRITE_SECTOR, 0, 500),
    ("ocall.shm_get_destroy", SHM, 0, 500),
    ("ocall.shm_attach_detach", SHM_ATTACH, 0, 500),
)
_HOOKED = ("call.null", "call.1page", "call.64pages")
_REFILL_PAGES = 256


def client_order(operation: int, count: int, pages: int = 0) -> bytes:
    """Return the order that bench/guest/client.c reads."""
    return struct.pack("<4Q", operation, count, pages, 0)


class Client:
    """A machine with the echo server "bench", and enclaves that make the calls they are ordered to."""

    def __init__(self, bench: Bench, native: bool = True) -> None:
        self._scratch = bench.scratch
        self.machine = Machine(disk=bench.scratch / "disk", native=native)
        self.machine.use_for_persistency(self.machine.shm(4096))
        self._elf = bench.build("client.c")
        self.machine.create(bench.build("server.c"), name="bench", type=EnclaveType.SERVER)

    def run(self, operation: int, count: int, pages: int = 0) -> float:
        """Seconds of a run that makes `count` calls."""
        enclave = self.machine.create(self._elf, shm=client_order(operation, count, pages))
        start = time.perf_counter()
        result = enclave.run()
        elapsed = time.perf_counter() - start
        if result.retval != 0:
            raise RuntimeError(
                f"operation {operation} failed: {result.status}, {result.retval} {result.fault}"
            )
        return elapsed

    def each(self, operation: int, count: int, pages: int = 0) -> float:
        """Microseconds of one call."""
        return (self.run(operation, count + 1, pages) - self.run(operation, 1, pages)) / count * 1e6

    @cached_property
    def flat(self) -> peers.FlatCalls:
        """The same calls where nothing is isolated."""
        return peers.flat_calls(self._scratch)

    def switch(self, count: int) -> float:
        """Microseconds that loading the other of two contexts takes, with the flush that its ASID brings."""
        hart, living = self.machine.hart, self.machine.monitor.state.enclaves
        other = self.machine.create(self._elf)
        contexts, before = [next(iter(living.values())).context, living[other.eid].context], hart.current
        start = time.perf_counter()
        for _ in range(count // 2):
            for one in contexts:
                hart.current = one
                hart._load()
        elapsed = time.perf_counter() - start
        hart.current = before
        hart.context_changed()
        other.destroy()
        return elapsed / count * 1e6


def benchmarks(bench: Bench) -> list[Benchmark]:
    """The calls of §3 and §4 on one machine, in µs for one; what a switch and a TLB refill cost by itself."""
    client = cache(lambda: Client(bench))

    def sample(operation: int, count: int, pages: int) -> Sample:
        return lambda: client().each(operation, count, pages)

    @cache
    def hooked_client() -> Client:
        """One of its own: code translated while hooks were there stays slow."""
        client = Client(bench)
        peers.add_hooks(client.machine)
        return client

    def hooked(operation: int, count: int, pages: int) -> Sample:
        return lambda: hooked_client().each(operation, max(count // 100, 2), pages)

    def bare() -> float:
        count = bench.times(4_000)
        return client().flat.run(count) / count * 1e6

    def refill() -> float:
        """Nanoseconds of the first touch of a page after a flush; a later one takes the rest off."""
        count = bench.times(300)
        flushed = client().each(FLUSH_TOUCH, count, _REFILL_PAGES) - client().each(FLUSH_TOUCH, count, 1)
        return (flushed - client().each(TOUCH, count, _REFILL_PAGES)) / (_REFILL_PAGES - 1) * 1e3

    made = []
    for name, operation, pages, times in _CALLS:
        count = bench.times(times)
        beside: dict[str, Sample] = {}
        if name == "call.null":
            beside[peers.UNICORN] = bare
        if name in _HOOKED:
            beside[peers.HOOKS] = hooked(operation, count, pages)
        made.append(Benchmark(name, "µs", sample(operation, count, pages), beside))
    made.append(Benchmark("switch", "µs", lambda: client().switch(bench.times(5_000))))
    made.append(Benchmark("tlb.refill", "ns", refill))
    return made
