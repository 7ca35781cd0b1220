"""Executions that the native core goes on with by itself: the same as those that Python sees one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pltvm import native
from pltvm.engine.memory import PAGE
from pltvm.fuzz import batch, mutate, sequences, target
from pltvm.fuzz.arena import Arena
from pltvm.fuzz.batch import Batch
from pltvm.fuzz.callers import OneCall
from pltvm.fuzz.havoc import seed_state
from pltvm.fuzz.options import Options
from pltvm.fuzz.sequences import Sequence
from pltvm.fuzz.target import Target
from tests.native_headers import fields_in_python, fields_of, numbers, structs

GUEST = Path(__file__).parent / "guest"
BENCH = Path(__file__).parents[2] / "bench" / "guest"
RECORDS = b"".join(bytes((kind, 34)) + bytes(range(34)) for kind in (1, 2, 3))
Build = Callable[..., Path]

pytestmark = pytest.mark.skipif(native.core is None, reason=native.status)


def test_it_is_laid_out_as_in_the_header() -> None:
    before = "typedef int answer_function(void *, uint32_t); struct arena; enum { REGIONS = 8, SLOTS = 69 };"
    assert fields_of(structs("fuzz/native/batch.h", before), "batch") == fields_in_python(Batch)


def test_numbers_are_those_of_python() -> None:
    found = numbers("fuzz/native/mutate.c") | numbers("fuzz/native/sequence.c")
    ours = {name: getattr(mutate, name) for name in ("HEAD", "SIZE_AT", "CLIENT_AT", "MOST_MEMORY")}
    assert found == {**ours, "COST": sequences._COST}
    told = {"TO_BEGIN": batch.TO_BEGIN, "TO_SEND": batch.TO_SEND, "ECALL_BLOCKS": target._ECALL_BLOCKS}
    assert numbers("fuzz/native/batch.h") == told


class Executions:
    """Batches of one target, and all that is to be seen of them."""

    def __init__(self, options: Options, kind: type[Target]) -> None:
        self.target = kind(options)
        self.target.arena.seed(seed_state(5))
        self.seen: list[Any] = []
        self.by_core = 0

    def batch(self, parent: bytes, count: int) -> dict[str, Any]:
        target, arena = self.target, self.target.arena
        before = target.hart.core.traps
        target.fuzz(parent, count, self._interesting)
        self.by_core += target.hart.core.traps - before
        state = target.state
        return {
            "seen": self.seen,
            "counts": (state.executions, state.edges, state.work, state.full),
            "input": arena.input(),
            "rng": arena.rng.tolist(),
            "edges": bytes(arena.seen),
            "clock": target.hart.clock,
            "ram": different(arena),
        }

    def _interesting(self, data: bytes, new: int, problem: Any) -> None:
        self.seen.append((data, new, problem and (problem.kind, problem.key, problem.words)))


def different(arena: Arena) -> list[int]:
    """The pages of RAM that are not as at the snapshot, but for the last input and the target's registers."""
    pages = range(0, len(arena.ram), PAGE)
    return [at for at in pages if bytes(arena.ram[at : at + PAGE]) != bytes(arena.copy[at : at + PAGE])]


@pytest.mark.parametrize(
    ("source", "defines", "kind"),
    [
        (BENCH / "parser.c", (), OneCall),
        (BENCH / "printer.c", (), OneCall),
        (GUEST / "kept_struct.c", (), OneCall),
        (GUEST / "kept_struct.c", ("ACROSS",), OneCall),
        (GUEST / "rewrites.c", (), OneCall),
        (GUEST / "may_call.c", (), OneCall),
        (BENCH / "parser.c", (), Sequence),
        (BENCH / "printer.c", (), Sequence),
    ],
    ids=[
        "parser",
        "printer",
        "kept",
        "kept across pages",
        "rewrites",
        "may call",
        "parser, calls",
        "printer, calls",
    ],
)
def test_a_batch_is_the_same(
    source: Path,
    defines: tuple[str, ...],
    kind: type[Target],
    built: Build,
    anything: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inputs, edges, counts, problems, RAM."""
    others = {"kept_struct.c": anything, "may_call.c": built(GUEST / "rewrites.c")}
    servers = (("other", str(others[source.name])),) if source.name in others else ()
    calls = 3 if kind is Sequence else 1
    options = Options(str(built(source, *defines)), "server", servers=servers, calls=calls)
    fast = Executions(options, kind)
    with monkeypatch.context() as patch:
        patch.setattr(native, "core", None)
        slow = Executions(options, kind)
    assert fast.target.hart.has_core
    assert not slow.target.hart.has_core
    for parent in (bytes(8) + RECORDS, b"\7" * 8, b"", b"\1" + bytes(7)):
        for count in (1, 2, 150):
            assert fast.batch(parent, count) == slow.batch(parent, count)
    assert slow.by_core == 0
    assert fast.by_core > 100 or source.name == "rewrites.c"  # of which Python throws code away each time


def test_a_harness_is_asked_at_each_execution(built: Build) -> None:
    """Whichever method it has."""

    class Printed(OneCall):
        texts = 0

        def printed(self, text: bytes) -> None:
            self.texts += 1

    target = Printed(Options(str(built(BENCH / "printer.c")), "server"))
    target.fuzz(bytes(8) + RECORDS, 50, lambda _data, _new, _problem: None)
    assert target.texts >= 50
