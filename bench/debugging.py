"""What it costs to record a run, and to be able to go back in it, beside the same runs without.

`debug.record.*` and `debug.history.run` are times with it, and the peer `off` is the time without over that:
0.95 says that it costs 5 %. `debug.history.watch` goes back over 10⁸ instructions to the write of a word.
"""

import contextlib
import io
import struct
import tempfile
import time
from functools import cache
from pathlib import Path

from elftools.elf.elffile import ELFFile

from bench import micro
from bench.harness import Bench, Benchmark, Sample
from pltvm import Enclave, EnclaveType, Machine
from pltvm.build import guest
from pltvm.debug.history import History
from pltvm.debug.packed import Case
from pltvm.debug.recording import Recording
from pltvm.monitor.log import TrapLog

_MARK = struct.pack("<Q", 0x1122_3344_5566_7788)
_ROUNDS = 7_200_000  # of 14 instructions
_STEPS = 20
_DEMOS = 20


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Times with it on, and `off` beside."""
    made = []
    plain, noted = cache(lambda: micro.Client(bench)), cache(lambda: _noted(bench))
    for name, pages in (("call.null", 0), ("call.1page", 1)):
        made.append(
            Benchmark(
                f"debug.record.{name}", "µs",
                _calls(noted, pages, bench), {"off": _calls(plain, pages, bench)}, 25,
            )
        )  # fmt: skip
    made.append(Benchmark("debug.record.demo", "ms", lambda: _demo(True), {"off": lambda: _demo(False)}, 15))
    far = _Far(bench)
    made.append(Benchmark("debug.history.run", "ms", lambda: far.run(True), {"off": lambda: far.run(False)}))
    made.append(Benchmark("debug.history.step", "ms", far.step))
    made.append(Benchmark("debug.history.watch", "ms", far.watch))
    return made


def _noted(bench: Bench) -> micro.Client:
    client = micro.Client(bench)
    TrapLog(client.machine.monitor.state)
    return client


def _calls(client: "cache[micro.Client]", pages: int, bench: Bench) -> Sample:  # type: ignore[valid-type]
    return lambda: client().each(micro.CALL, bench.times(20_000), pages)


def _demo(recorded: bool) -> float:
    """Milliseconds of what `pltvm demo` does, with or without a recording, file and all."""
    elves = {name: example.elf.read_bytes() for name, example in guest.examples().items()}
    machines: list[tuple[Machine, Enclave]] = []
    for _ in range(_DEMOS):
        machine = Machine(64 << 20)
        for name in ("server", "server1"):
            machine.create(elves[name], name=f"test-{name}", type=EnclaveType.SERVER)
        machines.append((machine, machine.create(elves["caller"], name="caller", shm=b"one", relay=b"two")))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        start = time.perf_counter()
        for machine, caller in machines:
            if recorded:
                case = Case("enclave", "caller.elf", [elves["caller"]])
                tape = Recording(Path(folder) / "demo.pltvm", case)
                with tape.running(machine):
                    caller.run()
            else:
                caller.run()
        return (time.perf_counter() - start) / _DEMOS * 1e3


class _Far:
    """A run of 10⁸ instructions, of which the first ones write a word."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._elf = cache(self._made)

    def _made(self) -> tuple[bytes, int]:
        elf = self._bench.build("history.c")
        table = ELFFile(io.BytesIO(elf)).get_section_by_name(".symtab")
        word = table.get_symbol_by_name("word")[0]["st_value"]
        return elf.replace(_MARK, struct.pack("<Q", self._bench.times(_ROUNDS))), word

    def run(self, with_history: bool) -> float:
        """Milliseconds of all of it."""
        machine = Machine(64 << 20)
        enclave = machine.create(self._elf()[0])
        if with_history:
            History(machine)
        start = time.perf_counter()
        enclave.run()
        return (time.perf_counter() - start) * 1e3

    def _at_end(self, how: str) -> float:
        machine, took = Machine(64 << 20), []
        elf, word = self._elf()
        enclave, history = machine.create(elf), History(machine)

        def back() -> None:
            running = machine.monitor.state.running
            assert running is not None
            start = time.perf_counter()
            if how == "watch":
                assert history.back_to_write(running.space.table, word, 8) is not None
            else:
                for _ in range(_STEPS):
                    history.step_back()
            took.append((time.perf_counter() - start) * 1e3)

        enclave.run(on_output=lambda _text: machine.hart.outside(back) if not took else None)
        return took[0]

    def step(self) -> float:
        """Milliseconds of a step back, at the end."""
        return self._at_end("step") / _STEPS

    def watch(self) -> float:
        """Milliseconds back to the write."""
        return self._at_end("watch")
