"""The loop in C does what the loop in Python does: to the arena, to RAM, and in a campaign."""

import ctypes
import json
import mmap
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import RW, RX, A, D, make_pte, pte_address
from pltvm.fuzz import arena as layout
from pltvm.fuzz import turn
from pltvm.fuzz.arena import FEATURES, MAP_SIZE, Arena, State
from pltvm.fuzz.havoc import seed_state
from pltvm.native import core

NATIVE: Final = pytest.mark.skipif(core is None, reason="there is no native core to compare with")
BASE: Final = 0x8000_0000
PAGES: Final = 300  # of RAM; the first one has the leaf entries of the others
COUNTS: Final = (1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 127, 128, 254, 255)
STOP: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


def test_annotations_are_the_fields_of_the_header() -> None:
    declared = layout._HEADER.typeof("struct arena").fields
    assert list(Arena.__annotations__) == [name for name, _ in declared]
    assert list(State.__annotations__) == [name for name, _ in State._fields_]
    for name, field in layout._HEADER.typeof("struct state").fields:
        place = getattr(State, name)
        assert (place.offset, place.size) == (field.offset, 8), name


class Side:
    """An arena with RAM, as one of the two has it. Both are made, and then changed, with the same numbers."""

    def __init__(self, native: bool, seed: int) -> None:
        self.native = native
        self.arena = arena = Arena()
        self.rng = rng = random.Random(seed)
        self.ram, self.copy = (memoryview(mmap.mmap(-1, PAGES * PAGE)) for _ in range(2))
        self.copy[:] = rng.randbytes(PAGES * PAGE)
        pages = rng.sample(range(1, PAGES), rng.randrange(PAGES))
        for at, page in enumerate(pages):
            slot = rng.randrange(2) + 2 * at  # no two the same
            arena.slots[at], arena.entries[at] = slot, make_pte(BASE + page * PAGE, RW & ~D)
            self.copy.cast("Q")[slot] = arena.entries[at]
        self.ram[:] = self.copy
        arena.use(BASE, self.ram, self.copy)
        arena.seed(seed_state(seed))
        state = arena.state
        state.watched = len(pages)
        state.blocks = state.budget = rng.randrange(200)
        state.limit = rng.choice((40, 3000))
        state.header = rng.choice((0, 8, 16))
        state.calls = rng.randrange(2)
        state.place = rng.choice((0, PAGE + rng.randrange(PAGE)))
        state.room = rng.randrange(2 * PAGE)
        state.skip = rng.choice((0, 8))
        arena.set_corpus([rng.randbytes(rng.randrange(60)) for _ in range(rng.randrange(4))])
        arena.set_tokens([rng.randbytes(rng.randrange(9)) for _ in range(rng.randrange(4))])
        arena.set_parent(rng.randbytes(rng.randrange(state.limit)))
        self.paused = 0
        self._stop = STOP(self._pause)
        state.stop = ctypes.cast(self._stop, ctypes.c_void_p).value or 0

    def _pause(self, _engine: int = 0) -> int:
        self.paused += 1
        return 0

    def block(self, pc: int) -> None:
        if self.native:
            assert core is not None
            core.pltvm_fuzz_block(None, ctypes.c_uint64(pc), 2, self.arena)
        else:
            turn.block(self.arena, self._pause, pc, 2)

    def step(self, name: str, *arguments: bool) -> int | None:
        """One of the steps; what it gave, if it gives anything."""
        python: Callable[..., int | None] = getattr(turn, name)
        function = getattr(core, f"pltvm_fuzz_{name}") if self.native else python
        result: int | None = function(self.arena, *arguments)
        return None if name in ("restore", "place", "advance") else result

    def change(self) -> tuple[Any, ...]:
        """Let code run, and do a step, both at random; what the step was and gave."""
        rng, arena = self.rng, self.arena
        arena.state.region = rng.randrange(8) * layout.EDGES_EACH
        for _ in range(rng.choice((0, 0, 20))):
            self.block(rng.choice((rng.getrandbits(64), 0x1000 + 2 * rng.randrange(8))))
        for _ in range(rng.choice((0, 1, 20))):
            self._take(rng.choice((rng.randrange(64), FEATURES + rng.randrange(64))), rng.choice(COUNTS))
        for at in range(arena.state.watched):
            if rng.random() < 0.1:
                self._write(at)
        arena.buffer[:16] = rng.randbytes(16)
        arena.state.size = rng.choice((rng.randrange(16), rng.randrange(arena.state.limit)))
        name = rng.choice(("classify", "restore", "deeper", "place", "advance", "turn", "turn"))
        keeping = (rng.random() < 0.5,) if name in ("classify", "deeper") else ()
        return name, *keeping, self.step(name, *keeping)

    def _take(self, edge: int, count: int) -> None:
        for _ in range(count):
            self.arena.count(edge)

    def _write(self, at: int) -> None:
        """What guest code, or a flip, does to a page and its leaf entry."""
        words = self.arena.ram_words
        slot, entry = self.arena.slots[at], self.arena.entries[at]
        how = self.rng.randrange(3)
        if how == 0:
            words[slot] = entry | A
        elif how == 1:
            words[slot] = entry & ~RW | RX & ~D
        else:
            words[slot] = entry | A | D
            start = pte_address(entry) - BASE
            self.ram[start : start + 64] = self.rng.randbytes(64)

    def everything(self) -> dict[str, Any]:
        arena, state = self.arena, self.arena.state
        numbers = {name: getattr(state, name) for name in State.__annotations__}
        return {
            **{name: value for name, value in numbers.items() if name not in ("stop", "ram", "copy")},
            "rng": list(arena.rng),
            "map": bytes(arena.map),
            "seen": bytes(arena.seen),
            "touched": list(arena.touched[: state.taken]),
            "buffer": bytes(arena.buffer),
            "RAM": bytes(self.ram),
            "paused": self.paused,
        }


@NATIVE
@pytest.mark.parametrize("seed", range(30))
def test_steps_do_the_same(seed: int) -> None:
    """What the two have is compared after each of 20 random steps."""
    python, native = (Side(one, seed) for one in (False, True))
    for _ in range(20):
        done = python.change()
        assert native.change() == done
        one, two = python.everything(), native.everything()
        assert [name for name in one if one[name] != two[name]] == [], done


@NATIVE
def test_random_steps_get_everywhere() -> None:
    """That they are the same says something: all results come, and all steps do something."""
    results, most_dirty, paused, placed = set(), 0, 0, 0
    for seed in range(30):
        side = Side(True, seed)
        for _ in range(20):
            results.add(side.change())
            most_dirty = max(most_dirty, side.arena.state.dirty)
            placed = max(placed, side.arena.state.placed)
        paused += side.paused
    for name in ("classify", "deeper"):
        for keep in (False, True):
            assert (name, keep, 1) in results
    assert {("classify", True, 2), ("classify", True, 0), ("deeper", True, 0), ("turn", 0)} <= results
    assert {("turn", 1), ("turn", 2)} <= results
    assert most_dirty > 10
    assert paused > 10
    assert placed > PAGE // 4


def test_the_last_numbers_of_pages_are_one() -> None:
    """More pages than `seen` has room for are as many as it has."""
    for native in (False, True)[: 1 + (core is not None)]:
        side = Side(native, 1)
        for dirty, new in ((254, 1), (255, 1), (256, 0), (1000, 0), (255, 0), (0, 1)):
            side.arena.state.dirty = dirty
            assert side.step("deeper", True) == new
        seen = [MAP_SIZE - 1 - at for at, value in enumerate(reversed(side.arena.seen)) if value]
        assert seen == [MAP_SIZE - 1, MAP_SIZE - 255, MAP_SIZE - 256]


CAMPAIGN = """
import json, sys
from pathlib import Path
from pltvm.fuzz.worker import Job, Stage, Worker
from tests.fuzz import runs

corpus, rounds = (), []
options = runs.options_of(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
worker = Worker(options)
for number in range(2):
    done = worker.run(Job(options, corpus, f"seed {number}", work=WORK, stage=Stage.of(number)))
    corpus += tuple(entry.data for entry in done.entries)
    entries = [(entry.data.hex(), entry.parent, entry.operation) for entry in done.entries]
    findings = [(one.kind, one.signature, one.report, one.data.hex()) for one in done.findings]
    rounds.append((entries, findings, done.executions, done.edges))
print(json.dumps(rounds))
"""


@pytest.mark.long
@NATIVE
@pytest.mark.parametrize(
    ("name", "work"), [("call", 75_000), ("calls of clients", 100_000), ("relay", 150_000), ("shm", 150_000)]
)
def test_campaigns_find_the_same(name: str, work: int, anything: Path, anything_enclave: Path) -> None:
    """Two rounds, some hundred executions: every input of the corpus and every report."""
    said = []
    for native in "01":
        done = subprocess.run(
            [sys.executable, "-c", CAMPAIGN.replace("WORK", str(work)), name, anything, anything_enclave],
            capture_output=True, text=True, env={**os.environ, "PLTVM_NATIVE": native},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert said[0] == said[1]
    assert sum(executions for _, _, executions, _ in said[0]) > 100
    assert sum(len(entries) for entries, *_ in said[0]) > 10
