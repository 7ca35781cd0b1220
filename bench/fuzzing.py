"""Fuzzing: what one execution costs, mutation, coverage and the way back to the snapshot included."""

import time
from functools import cache
from typing import Final

from bench import peers
from bench.harness import Bench, Benchmark, Sample

PAGE: Final = 4096
_RECORDS: Final = b"".join(bytes((kind, 34)) + bytes(range(kind, kind + 34)) for kind in (1, 2, 1, 3, 1, 1))
_SEED: Final = bytes(8) + _RECORDS  # about a thousand instructions
_STACK_TOP, _REQUEST = 0x38_0000_0000, 0x2F_FFFF_F000


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Executions in µs, the restore alone, and what coverage adds in %."""
    from pltvm.engine.sv39 import D
    from pltvm.fuzz import loop
    from pltvm.fuzz.callers import OneCall
    from pltvm.fuzz.havoc import seed_state
    from pltvm.fuzz.layout import Message, join_calls
    from pltvm.fuzz.options import Options
    from pltvm.fuzz.sequences import Sequence
    from pltvm.fuzz.target import Target

    class Uncovered(OneCall):
        def watch_edges(self) -> None:
            pass

    def opened(kind: type[Target], source: str, calls: int = 1) -> Target:
        file = bench.scratch / f"{source}.elf"
        file.write_bytes(bench.build(source))
        target = kind(Options(str(file), calls=calls))
        target.arena.seed(seed_state(1))
        return target

    parser = cache(lambda: opened(OneCall, "parser.c"))
    bare = cache(lambda: opened(Uncovered, "parser.c"))
    printer = cache(lambda: opened(OneCall, "printer.c"))
    calls = cache(lambda: opened(Sequence, "parser.c", 3))

    def executions(target: Target, seed: bytes, count: int) -> float:
        start = time.perf_counter()
        target.fuzz(seed, count, lambda _data, _new, _problem: None)
        return (time.perf_counter() - start) / count * 1e6

    def coverage() -> float:
        """Of batches: what is mutated next does not depend on coverage, so both run the same inputs."""
        count = bench.times(20_000)
        for target in (parser(), bare()):
            target.arena.seed(seed_state(2))
        return (executions(parser(), _SEED, count) / executions(bare(), _SEED, count) - 1) * 100

    def restore() -> float:
        """Eight pages marked as written, and copied back."""
        target, count = parser(), bench.times(20_000)
        arena, words, slots = target.arena, target.memory.words, target.arena.slots[:8].tolist()

        def mark() -> None:
            for slot in slots:
                words[slot] |= D

        start = time.perf_counter()
        for _ in range(count):
            mark()
            loop.restore(arena)
        both = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(count):
            mark()
        return (both - (time.perf_counter() - start)) / count * 1e6

    message = join_calls([Message(0, _RECORDS)] * 3)
    beside: dict[str, Sample] = {}
    if peers.installed(peers.ICICLE):
        beside[peers.ICICLE] = lambda: _icicle(bench.build("parser.c"), bench.times(20_000))
    return [
        Benchmark("fuzz.parser", "µs", lambda: executions(parser(), _SEED, bench.times(50_000)), beside),
        Benchmark("fuzz.print", "µs", lambda: executions(printer(), _SEED, bench.times(20_000))),
        Benchmark("fuzz.three_calls", "µs", lambda: executions(calls(), message, bench.times(3_000))),
        Benchmark("fuzz.restore_8_pages", "µs", restore),
        Benchmark("fuzz.coverage", "%", coverage),
    ]


def _icicle(elf: bytes, count: int) -> float:
    """The same program on the same input in icicle-emu: no mutation, no coverage, nothing restored."""
    import icicle

    emulator = icicle.Icicle("riscv64gc")
    entry, segments = peers.segments(elf)
    start, size = peers.span(segments)
    emulator.mem_map(start, size, icicle.MemoryProtection.ExecuteReadWrite)
    for at, _, data in segments:
        emulator.mem_write(at, data)
    emulator.mem_map(_STACK_TOP - 16 * PAGE, 16 * PAGE, icicle.MemoryProtection.ReadWrite)
    emulator.mem_map(_REQUEST, PAGE, icicle.MemoryProtection.ReadWrite)
    began = time.perf_counter()
    for _ in range(count):
        emulator.mem_write(_REQUEST, _RECORDS)
        emulator.reg_write("sp", _STACK_TOP)
        emulator.reg_write("a1", _REQUEST)
        emulator.reg_write("a2", PAGE)
        emulator.pc = entry
        emulator.run()
    spent = time.perf_counter() - began
    if emulator.exception_code != icicle.ExceptionCode.Syscall:
        raise RuntimeError(f"icicle-emu ended with {emulator.exception_code}")
    return spent / count * 1e6
