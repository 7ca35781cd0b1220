"""What Linux programs ask of their system, compared with the same program under qemu-riscv64.

A sample is the processor time of one run less that of a run that does nothing, divided by how often it does
what it measures.
"""

import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench import peers
from bench.harness import GUEST, Bench, Benchmark, Sample
from pltvm import Machine
from pltvm.build import zig

# name, what the program does, how often, the unit and how many of it are a second
_CALLS = (
    ("linux.call", "call", 100_000, "µs", 1e6),
    ("linux.read_4KiB", "read", 10_000, "µs", 1e6),
    ("linux.stat", "stat", 5_000, "µs", 1e6),
    ("linux.ping", "ping", 5_000, "µs", 1e6),
    ("linux.fork", "fork", 100, "ms", 1e3),
    ("linux.exec", "exec", 100, "ms", 1e3),
)
# name, what the program does once, with which number
_WHOLE = (("linux.memory_400MiB", "memory", 300), ("linux.sort_200000", "sort", 200_000))


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Of one program, bench/guest/linux.c, in a folder of its own."""
    program = _Program(bench.scratch)
    with_qemu = peers.installed(peers.QEMU)

    def benchmark(name: str, what: str, count: int, unit: str, scale: float, whole: bool) -> Benchmark:
        count = count if whole else bench.times(count)
        in_qemu = with_qemu and what != "exec"  # qemu-riscv64 leaves exec to the host's kernel
        beside = {peers.QEMU: program.sample(True, what, count, scale, whole)} if in_qemu else {}
        own = program.sample(False, what, count, scale, whole)
        return Benchmark(name, unit, own, beside, repeats=3 if whole else None)

    return [
        Benchmark("linux.start", "ms", program.start, {}),
        *(benchmark(*one, whole=False) for one in _CALLS),
        *(benchmark(name, what, count, "ms", 1e3, whole=True) for name, what, count in _WHOLE),
    ]


@dataclass(frozen=True)
class _Program:
    scratch: Path

    @cached_property
    def path(self) -> Path:
        """The program for musl, without floating point in registers, in a folder that it may use."""
        folder = self.scratch / "linux"
        folder.mkdir(exist_ok=True)
        line = zig.command("cc", "-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+c", "-mabi=lp64")
        program = folder / "linux"
        command = [*line, "-static", "-O2", "-w", str(GUEST / "linux.c"), "-o", str(program)]
        zig.run(command, program, program, zig.cache_dir(folder))
        return program

    def start(self) -> float:
        """Return the milliseconds from an existing machine to the end of a program that does nothing."""
        machine = Machine()
        began = time.perf_counter()
        self._run_here(machine)
        return (time.perf_counter() - began) * 1e3

    def sample(self, with_qemu: bool, what: str, count: int, scale: float, whole: bool) -> Sample:
        """Time of one of `count` in units of which `scale` are a second; of all of them if `whole`."""
        run = self._seconds_in_qemu if with_qemu else self._seconds

        def sample() -> float:
            spent = run(what, str(count)) - run("nothing")
            return max(spent, 1e-9) * scale / (1 if whole else count)

        return sample

    def _seconds(self, *arguments: str) -> float:
        machine = Machine()
        began = time.perf_counter()
        self._run_here(machine, *arguments)
        return time.perf_counter() - began

    def _run_here(self, machine: Machine, *arguments: str) -> None:
        result = machine.run_program(self.path, *arguments, root=self.path.parent)
        if result.exit_code:
            raise RuntimeError(f"linux {' '.join(arguments)}: {result.exit_code} {result.end}")

    def _seconds_in_qemu(self, *arguments: str) -> float:
        began = time.perf_counter()
        line = [peers.QEMU, str(self.path), *arguments]
        subprocess.run(line, cwd=self.path.parent, check=True, timeout=60)
        return time.perf_counter() - began
