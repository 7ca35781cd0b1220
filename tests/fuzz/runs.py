"""Executions of tests/fuzz/guest/anything.c: inputs, targets, and all that an execution gives."""

import random
from pathlib import Path
from typing import Any, NamedTuple

from pltvm.fuzz import layout
from pltvm.fuzz.execution import Problem
from pltvm.fuzz.options import ENCLAVE, SERVER, Options
from pltvm.fuzz.target import Target
from pltvm.fuzz.worker import open_target

(
    END, PRINT, MMAP, MUNMAP, GROW, SHRINK, CALL, SHM_GET, SHM_ATTACH, SHM_DETACH, SHM_DESTROY, RANDOM, YIELD,
    STORE, STACK, KEY, READ_SECTOR, WRITE_SECTOR, SPLIT, SEND, RETURN_RELAY, CODE, FLOAT, ASK, RESPONSE, KEEP,
    COUNT, FAULT, HANG, EXIT, WRONG_CALL, LAST,
) = range(32)  # fmt: skip
DEADLY = (FAULT, HANG, EXIT, WRONG_CALL)
BLOCKS = 20_000

LAYOUTS: dict[str, dict[str, Any]] = {
    "call": {},
    "call of two pages": {"memory": 8192},
    "call, all oracles": {"oracles": ("refusal", "stale"), "secret": "number"},
    "calls": {"calls": 6},
    "calls of clients": {"calls": 6, "clients": 3, "memory": 8192},
    "relay": {"channels": (layout.RELAY,), "memory": 8192},
    "shm": {"channels": (layout.SHM,)},
    "ocalls": {"channels": (layout.OCALLS,)},
    "relay and ocalls": {"channels": (layout.RELAY, layout.OCALLS), "memory": 8192},
    "all channels": {"channels": (layout.SHM, layout.OCALLS, layout.RELAY), "memory": 8192},
}


def options_of(name: str, server: Path, enclave: Path) -> Options:
    """The options of one of LAYOUTS."""
    more = LAYOUTS[name]
    kind = ENCLAVE if "channels" in more else SERVER
    elf = enclave if kind == ENCLAVE else server
    others = (("other", str(server)),)
    return Options(str(elf), kind, servers=others, blocks=BLOCKS, **more)


def program(rng: random.Random, most: int = 14, deadly: float = 0.3) -> bytes:
    """A random sequence of what anything.c does; dangerous things come last."""
    steps = [
        bytes((rng.choice([step for step in range(1, LAST) if step not in DEADLY]), rng.randrange(256)))
        for _ in range(rng.randrange(most))
    ]
    if rng.random() < deadly:
        steps.append(bytes((rng.choice(DEADLY), rng.randrange(256))))
    return b"".join([*steps, bytes(2)])  # behind it may be the token of a client


def random_input(rng: random.Random, options: Options) -> bytes:
    """A random input of the options' layout."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(60))
    if options.kind == SERVER and options.calls == 1:
        return rng.randrange(9).to_bytes(8, "little") + program(rng)
    if options.kind == SERVER:
        return layout.join_calls(
            [
                layout.Message(rng.randrange(9), program(rng, 8, 0.1), rng.randrange(4))
                for _ in range(rng.randrange(1, 6))
            ]
        )
    parts = []
    for channel in options.channels:
        part = program(rng)
        if channel == layout.SHM:
            when = rng.choice((0, 0, rng.randrange(1, 300)))
            part = layout.RACE.pack(when, rng.randrange(4096), rng.getrandbits(64)) + part
        if channel == layout.OCALLS:
            part = b"".join(
                bytes((lie,)) + (program(rng).ljust(256, b"\0") if lie == 3 else b"")
                for lie in rng.choices((0, 0, 0, 1, 2, 3), k=6)
            )
            if len(options.channels) == 1:
                part = b"\3" + program(rng).ljust(256, b"\0") + part
        parts.append(part)
    sizes = [len(part).to_bytes(2, "little") for part in parts[:-1]] + [b""]
    return b"".join(size + part for size, part in zip(sizes, parts, strict=True))


class Seen(NamedTuple):
    """What one execution gave."""

    path: int
    problem: tuple[Any, ...] | None
    blocks: int
    registers: tuple[int, ...]


class Recorder:
    """A target whose ends are looked at."""

    def __init__(self, options: Options) -> None:
        self.target: Target = open_target(options)
        self._registers: tuple[int, ...] = ()
        end = self.target.end

        def seen(problem: Problem | None) -> None:
            self._registers = tuple(self.target.enclave.context.regs)
            end(problem)

        self.target.end = seen  # type: ignore[method-assign]

    def run(self, data: bytes) -> Seen:
        """One execution."""
        execution = self.target.execute(data, keep=False, detail=True)
        problem = execution.problem
        words = (problem.kind, problem.key, problem.words, problem.stack) if problem else None
        return Seen(execution.path, words, execution.blocks, self._registers)
