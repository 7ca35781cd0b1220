"""Compute kernels: the same ELF as an enclave, under qemu-riscv64, in icicle-emu and in plain Unicorn.

`NAME_rwx` is the same program with every segment writable and executable, as older linkers leave them.
"""

import statistics
import struct
import time
from functools import cache, cached_property
from pathlib import Path

from bench import peers
from bench.harness import Bench, Benchmark, Sample
from pltvm import Machine
from pltvm.debug.profile import profiling

# Rounds of a full run: about a tenth of a second.
ROUNDS = {"hash": 60_000, "sort": 150, "matrix": 80, "string": 300, "chase": 40, "interpreter": 60}
_MARK = struct.pack("<Q", 0x1122_3344_5566_7788)
_PROGRAM_HEADER, _FLAGS_AT, _RWX = 56, 4, 7
_HOOKED_SHARE = 100  # of the rounds; hooks are slow


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Each kernel in ms, beside its peers; their results must agree."""
    made = []
    for name, rounds in ROUNDS.items():
        for rwx in (False, True):
            runs = _Kernel(bench, name, rounds // 3 if bench.quick else rounds, rwx)
            beside: dict[str, Sample] = {}
            if peers.installed(peers.QEMU):
                beside[peers.QEMU] = runs.qemu
            if peers.installed(peers.ICICLE):
                beside[peers.ICICLE] = runs.icicle
            if not rwx:
                beside |= {peers.UNICORN: runs.unicorn, peers.HOOKS: runs.hooked}
                made.append(Benchmark(f"profiled.{name}", "ms", runs.profiled, {"not profiled": runs.own}))
            made.append(Benchmark(f"compute.{name}{'_rwx' if rwx else ''}", "ms", runs.own, beside))
    return made


class _Kernel:
    """One kernel, so many rounds of it, for every runner; times in ms."""

    def __init__(self, bench: Bench, name: str, rounds: int, rwx: bool) -> None:
        self._bench, self._name, self._rounds, self._rwx = bench, name, rounds, rwx
        self.file = cache(self._file)
        self.expected: dict[int, int] = {}

    def elf(self, rounds: int) -> bytes:
        """The program, with the number of rounds in the place of its mark."""
        elf = self._bench.build("kernel.c", f"kernels/{self._name}.c").replace(
            _MARK, struct.pack("<Q", rounds)
        )
        return _all_rwx(elf) if self._rwx else elf

    def _file(self, rounds: int) -> Path:
        file = self._bench.scratch / f"{self._name}-{rounds}{'-rwx' if self._rwx else ''}"
        file.write_bytes(self.elf(rounds))
        file.chmod(0o755)
        return file

    def _checked(self, rounds: int, value: int, seconds: float) -> float:
        if self.expected.setdefault(rounds, value) != value:
            raise RuntimeError(f"{self._name}: {value}, and {self.expected[rounds]} before")
        return seconds * 1e3

    def profiled(self) -> float:
        """As `own`, on a machine on which `pltvm profile` counts."""
        machine = Machine(ram=256 << 20)
        with profiling(machine):
            return self._run(machine)

    def own(self) -> float:
        return self._run(Machine(ram=256 << 20))

    def _run(self, machine: Machine) -> float:
        enclave = machine.create(self.elf(self._rounds))
        start = time.perf_counter()
        result = enclave.run()
        elapsed = time.perf_counter() - start
        if result.retval is None:
            raise RuntimeError(str(result.fault))
        return self._checked(self._rounds, result.retval, elapsed)

    def qemu(self) -> float:
        """The whole process, without what one takes that computes nothing."""
        status, seconds = peers.run_qemu(self.file(self._rounds))
        return self._checked(self._rounds, status, max(seconds - self._start, 1e-6))

    @cached_property
    def _start(self) -> float:
        return statistics.median(peers.run_qemu(self.file(0))[1] for _ in range(9))

    def icicle(self) -> float:
        return self._checked(self._rounds, *peers.run_icicle(self.elf(self._rounds)))

    def unicorn(self) -> float:
        return self._checked(self._rounds, *peers.run_unicorn(self.elf(self._rounds)))

    def hooked(self) -> float:
        """A part of the rounds, scaled: the difference of some and none."""
        few = max(self._rounds // _HOOKED_SHARE, 1)
        return (self._with_hooks(few) - self._with_hooks(0)) * self._rounds / few * 1e3

    def _with_hooks(self, rounds: int) -> float:
        machine = Machine(ram=256 << 20)
        enclave = machine.create(self.elf(rounds))
        peers.add_hooks(machine)
        start = time.perf_counter()
        enclave.run()
        return time.perf_counter() - start


def _all_rwx(elf: bytes) -> bytes:
    """The ELF with all permissions on every program header."""
    changed = bytearray(elf)
    table, count = struct.unpack_from("<Q", elf, 32)[0], struct.unpack_from("<H", elf, 56)[0]
    for index in range(count):
        struct.pack_into("<I", changed, table + index * _PROGRAM_HEADER + _FLAGS_AT, _RWX)
    return bytes(changed)
