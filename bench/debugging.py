"""What each tool that looks into a run costs, compared with the same run without it.

The peer `off` is the time without over the time with it: 0.95 says that it costs 5 %. `debug.*.run`
computes, 10⁸ instructions; `debug.*.call` is a call of a server; `debug.*.demo` the command on the example
chain, with the file that comes of it. `debug.gdb.detached` is a run that a debugger has let go;
`debug.prompt` from the command to the first prompt of gdb, and its end. `debug.history.watch` goes back over
10⁸ instructions to the write of a word.
"""

import io
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from typing import Final

from elftools.elf.elffile import ELFFile

from bench import micro
from bench.harness import Bench, Benchmark, Sample
from pltvm import Machine
from pltvm.build import guest
from pltvm.debug.history import History
from pltvm.debug.profile.collector import Collector
from pltvm.debug.stops import Go, Stops
from pltvm.debug.trace.collect import TraceFile
from pltvm.monitor.log import TrapLog

_MARK = struct.pack("<Q", 0x1122_3344_5566_7788)
_ROUNDS = 7_200_000  # of 14 instructions
_STEPS = 20


def benchmarks(bench: Bench) -> list[Benchmark]:
    """Return times with each tool on, with `off` as the peer."""
    made = []
    plain, noted = cache(lambda: micro.Client(bench)), cache(partial(_looked_at, bench, _noted))
    for name, pages in (("call.null", 0), ("call.1page", 1)):
        made.append(
            Benchmark(
                f"debug.record.{name}", "µs",
                _calls(noted, pages, bench), {"off": _calls(plain, pages, bench)}, 25,
            )
        )  # fmt: skip
    far = _Far(bench)
    off = {"off": lambda: far.run(lambda _machine: None)}
    for name, around in _AROUND.items():
        made.append(Benchmark(f"debug.{name}.run", "ms", partial(far.run, around), off))
        calls = _calls(cache(partial(_looked_at, bench, around)), 1, bench)
        made.append(Benchmark(f"debug.{name}.call", "µs", calls, {"off": _calls(plain, 1, bench)}))
    plainly = {"off": partial(_command, bench, "run")}
    for name in ("record", "trace", "profile", "view"):
        made.append(Benchmark(f"debug.{name}.demo", "ms", partial(_command, bench, name), plainly))
    made.append(Benchmark("debug.prompt", "ms", partial(_command, bench, "debug")))
    made.append(Benchmark("debug.history.step", "ms", far.step))
    made.append(Benchmark("debug.history.watch", "ms", far.watch))
    return made


def _noted(machine: Machine) -> None:
    TrapLog(machine.monitor.state)


def _attached(machine: Machine) -> None:
    Stops(machine, lambda _stop: Go()).begin(at_once=False)


def _detached(machine: Machine) -> None:
    stops = Stops(machine, lambda _stop: Go())
    stops.begin(at_once=False)
    stops.end()


def _traced(machine: Machine) -> None:
    file = TraceFile(os.devnull, "jsonl")
    _KEPT.enter_context(file.of(machine))


# What is on a machine before anything runs.
_AROUND: Final[dict[str, Callable[[Machine], object]]] = {
    "history": History,
    "profile": Collector,
    "trace": _traced,
    "gdb.attached": _attached,
    "gdb.detached": _detached,
}
_KEPT: Final = ExitStack()  # traces of machines that are measured again and again


def _looked_at(bench: Bench, around: Callable[[Machine], object]) -> micro.Client:
    client = micro.Client(bench)
    around(client.machine)
    return client


def _command(bench: Bench, name: str) -> float:
    """Milliseconds of a command on the example chain, from its start to its end."""
    elves = {one: os.fspath(example.elf) for one, example in guest.examples().items()}
    chain = [elves["caller"], *(f"--server=test-{one}={elves[one]}" for one in ("server", "server1"))]
    own = {
        "run": ["run"],
        "record": ["run", f"--record-run={bench.scratch}/demo.pltvm"],
        "trace": ["run", f"--trace={bench.scratch}/demo.jsonl"],
        "profile": ["profile"],
        "view": ["view", "-o", f"{bench.scratch}/demo.html"],
        "debug": ["debug", "--batch"],
    }
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pltvm.cli", *own[name], *chain], capture_output=True, check=True)
    return (time.perf_counter() - start) * 1e3


def _calls(client: "cache[micro.Client]", pages: int, bench: Bench) -> Sample:  # type: ignore[valid-type]
    return lambda: client().each(micro.CALL, bench.times(20_000), pages)


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

    def run(self, around: Callable[[Machine], object]) -> float:
        """Milliseconds of all of it."""
        machine = Machine(64 << 20)
        enclave = machine.create(self._elf()[0])
        around(machine)
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
