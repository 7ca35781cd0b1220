"""Calls, one by one: guest code makes a call many times, and the time of an empty run is taken off."""

import struct
import time
from pathlib import Path

from bench.harness import Benchmark
from pltvm import EnclaveType, Machine, sdk

GUEST = Path(__file__).parent / "guest"
_NOTHING, _ENCLAVE_ID, _ACQUIRE, _CALL, _PRINT, _MMAP = range(6)
# name, operation, pages, times, targets in µs: those of the project, and the original system's under QEMU.
_CALLS = (
    ("ecall.enclave_id", _ENCLAVE_ID, 0, 10_000, (("trap", 2.5), ("original", 1.2))),
    ("ecall.acquire", _ACQUIRE, 0, 5_000, (("original", 1.4),)),
    ("call.null", _CALL, 0, 4_000, (("own", 12.0),)),
    ("call.1page", _CALL, 1, 3_000, (("own", 20.0), ("original / 3", 9.3))),
    ("call.64pages", _CALL, 64, 2_000, (("original / 3", 19.0),)),
    ("ocall.print", _PRINT, 0, 3_000, (("own", 10.0), ("original / 15", 6.1))),
    ("ocall.mmap_munmap", _MMAP, 0, 1_000, (("own", 60.0), ("original / 40", 40.0))),
)


def benchmarks(scratch: Path, quick: bool) -> list[Benchmark]:
    """The calls of §3 and §4 that programs make often, in µs for one, on one machine with one server."""
    client = sdk.build([GUEST / "client.c"], scratch / "client.elf").read_bytes()
    server = sdk.build([GUEST / "server.c"], scratch / "server.elf").read_bytes()
    machine = Machine()
    machine.create(server, name="bench", type=EnclaveType.SERVER)

    def run(operation: int, count: int, pages: int) -> float:
        enclave = machine.create(client, shm=struct.pack("<4Q", operation, count, pages, 0))
        start = time.perf_counter()
        result = enclave.run()
        elapsed = time.perf_counter() - start
        assert result.retval == 0, result
        return elapsed

    def one_call(operation: int, count: int, pages: int) -> float:
        return (run(operation, count, pages) - run(operation, 0, pages)) / count * 1e6

    scale = 10 if quick else 1
    return [
        Benchmark(name, "µs", lambda o=operation, c=count // scale, p=pages: one_call(o, c, p), targets)
        for name, operation, pages, count, targets in _CALLS
    ]
