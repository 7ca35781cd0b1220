"""The monitor against its reference model (tests/model): random walks, and breaks that the walks must find.

Every step is compared: results, states, regions, owners; now and then page tables, the bitmap, marks in
memory and the audit, too. The long run is `python -m tests.monitor_stress`.
"""

import re
import subprocess
import sys
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from pltvm.engine.context import X0
from pltvm.engine.page_table import PageTable
from pltvm.monitor import chain, secure_shm, server
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.state import State
from tests import monitor_stress
from tests.holes import Edit, make
from tests.model.entities import SERVERS
from tests.model.pair import Divergence, Pair
from tests.model.steps import ENCLAVE, HOST, IN_SERVER, Step, Walk, as_test, fails, random_steps, shorten

# What a walk must have come to, else it says little: from `outcome` in tests/model/steps.py.
IMPORTANT = {
    "create: 0", "create: -2", "create_wrongly: -1", "run: entered", "run_shadow: entered", "call: entered",
    "call: -1", "call: -2", "return: 0", "return: -1", "exit: to the host, ok", "exit: -1", "destroy: 0",
    "fault: to the host, error", "timer: to the host, timer", "yield: to the host, yield", "stop: 0",
    "mmap: to the host, ocall", "munmap: to the host, ocall", "sbrk: to the host, ocall",
    "resume: a number", "resume: 0", "resume: None", "resume: -1", "split: 0", "send: 0", "reclaim: 0",
    "return_relay: to the host, ocall", "shm_get: to the host, ocall", "shm_get: a number",
    "call: to the host, wait", "call: -3", "resume: entered", "can_go_on: 0",
    "shm_attach: a number", "shm_detach: to the host, ocall", "shm_destroy: 0", "set_pte: 0", "set_pte: -1",
}  # fmt: skip
CORE = {  # short sequences, too
    "create: 0", "create_wrongly: -1", "run: entered", "run_shadow: entered", "call: entered", "return: 0",
    "destroy: 0", "exit: to the host, ok", "fault: to the host, error", "mmap: to the host, ocall",
    "sbrk: to the host, ocall", "resume: a number", "resume: -1", "set_pte: 0", "set_pte: -1",
}  # fmt: skip
FEW = 5  # a walk of 20,000 steps sees each important outcome at least so often, but for what is rare
RARE = {"create: -2", "shm_detach: to the host, ocall"}


def walk_of(seed: int | str, count: int, check_every: int) -> tuple[Walk, list[Step]]:
    """A random walk; the steps of it. Raises Divergence."""
    walk, steps = Walk(check_every), []
    for step in random_steps(walk, seed, count):
        steps.append(step)
        walk.step(step)
    walk.deep()
    return walk, steps


# -- the monitor does what the model says --------------------------------------------------------------------

SEEN: Counter[str] = Counter()
NUMBERS = st.integers(0, 255)


def names(weights: dict[str, float]) -> st.SearchStrategy[str]:
    """Names of steps, the more important ones more often."""
    return st.sampled_from([name for name, weight in weights.items() for _ in range(max(1, round(weight)))])


class Monitor(RuleBasedStateMachine):
    """Whoever has the hart, the host or an enclave, makes a call; the monitor and the model must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk(check_every=16)
        self.diverged = False

    def enclave_runs(self) -> bool:
        return self.walk.pair.model.running is not None

    def server_runs(self) -> bool:
        running = self.walk.pair.model.running
        return running is not None and running.kind in SERVERS

    @precondition(lambda self: not self.enclave_runs())
    @rule(name=names(HOST), x=NUMBERS, y=NUMBERS, z=NUMBERS)
    def host(self, name: str, x: int, y: int, z: int) -> None:
        self.step((name, x, y, z))

    @precondition(lambda self: self.enclave_runs() and not self.server_runs())
    @rule(name=names(ENCLAVE), x=NUMBERS, y=NUMBERS, z=NUMBERS)
    def enclave(self, name: str, x: int, y: int, z: int) -> None:
        self.step((name, x, y, z))

    @precondition(server_runs)
    @rule(name=names(IN_SERVER), x=NUMBERS, y=NUMBERS, z=NUMBERS)
    def server(self, name: str, x: int, y: int, z: int) -> None:
        self.step((name, x, y, z))

    def step(self, step: Step) -> None:
        self.diverged = True
        self.walk.step(step)
        self.diverged = False

    def teardown(self) -> None:
        if not self.diverged:
            self.walk.deep()
            SEEN.update(self.walk.counts)


# The same in every run. A machine for each sequence, so that the first steps are slow.
SETTINGS = settings(
    max_examples=70,
    stateful_step_count=160,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.long
def test_any_sequence_of_calls_goes_as_the_model_says() -> None:
    run_state_machine_as_test(Monitor, settings=SETTINGS)
    assert SEEN.keys() >= CORE
    assert SEEN.total() > 10_000


@pytest.mark.long
def test_a_long_walk_sees_everything_and_nothing_diverges() -> None:
    walk, _ = walk_of(seed="suite", count=20_000, check_every=100)
    assert {seen for seen in IMPORTANT if walk.counts[seen] < (1 if seen in RARE else FEW)} == set()
    skipped = sum(n for seen, n in walk.counts.items() if seen.endswith("skipped"))
    assert skipped < 20_000 / 50


def test_the_same_seed_is_the_same_walk() -> None:
    (first, steps), (second, same), (other, _) = (walk_of(seed, 2000, 500) for seed in (7, 7, 8))
    assert (first.trace, steps) == (second.trace, same)
    assert other.trace != first.trace
    assert fails(steps[:200]) is None


# -- the walk has teeth --------------------------------------------------------------------------------------


class Break(NamedTuple):
    """A way to break the monitor, what a walk finds to be different, and the seed of one that soon does."""

    what: str
    edit: Edit
    seen: str
    seed: int = 3


CHECK_EVERY, SHORT = 20, 12
_S2 = X0 + 18
BREAKS = [
    Break(
        "a block that goes back is not cleared",
        Edit(State.clear, "self.memory.zero(pa, pages * PAGE)", "pass"),
        "is cleared",
        seed=1,
    ),
    Break(
        "what is passed keeps its owner",
        Edit(server._move, "state.owners.set_owner(region.block, region.block_pages, target.owner)", "pass"),
        "owner of",
        seed=12,
    ),
    Break(
        "what is passed stays mapped",
        Edit(PageTable.move, "entry, words[source] = words[source], 0", "entry = words[source]"),
        "audit: .*which it may not have so",
        seed=21,
    ),
    Break(
        "registers stay at entry",
        Edit(
            chain.leave,
            "server.context.regs[:] = server.entry_registers",
            f"r, e = server.context.regs, server.entry_registers; r[:{_S2}], r[{_S2 + 1}:] = "
            f"e[:{_S2}], e[{_S2 + 1}:]",
        ),
        "registers at entry",
    ),
    Break(
        "a busy server takes a call",
        Edit(server.call, "if (callee.caller", "if (False"),
        "a0",
        seed=58,
    ),
    Break(
        "users of a segment are not counted down",
        Edit(secure_shm.leave_all, "segment.users -= 1", "pass"),
        "segments",
        seed=4,
    ),
    Break(
        "the kbuffer stays mapped after a call",
        Edit(chain.leave, "words[word] = 0", "pass"),
        "audit: .*which it may not have so",
    ),
    Break(
        "the host's entries stay",
        Edit(PageOwners.claim, "self.on_private(pa, pages)", "pass"),
        "the host's entry",
        seed=1,
    ),
    Break(
        "a broken chain leaves what was passed",
        Edit(chain.unwind, "link.space.remove(request)", "pass"),
        "enclave .*the model",
        seed=54,
    ),
]


def test_the_sequences_find_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, BREAKS[0].edit)
    with pytest.raises(Divergence, match=BREAKS[0].seen):
        run_state_machine_as_test(Monitor, settings=settings(SETTINGS, phases=[Phase.generate]))


@pytest.mark.long
@pytest.mark.broken
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.what)
def test_a_broken_monitor_diverges_and_the_shortest_way_is_a_test(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        make(patch, broken.edit)
        steps, message = diverging_walk(broken.seed, 10_000)
        assert re.search(broken.seen, message)
        short = shorten(steps, CHECK_EVERY)
        text = as_test(short)
        assert len(short) <= SHORT, text
        assert all(fails(short[:at] + short[at + 1 :]) is None for at in range(len(short)))
        with pytest.raises(AssertionError):
            run_text(text)
    run_text(as_test(short))  # the monitor is whole again


def diverging_walk(seed: int, most: int) -> tuple[list[Step], str]:
    """The steps of a walk up to where it diverges, and how."""
    walk, steps = Walk(CHECK_EVERY), []
    try:
        for step in random_steps(walk, seed, most):
            steps.append(step)
            walk.step(step)
    except Divergence as divergence:
        return steps, str(divergence)
    raise AssertionError(f"{most} steps, and nothing was found")


def run_text(text: str) -> None:
    """Run a printed test."""
    names: dict[str, Any] = {}
    exec(compile(text, "<printed>", "exec"), names)
    names["test_shortest_divergence"]()


def test_a_printed_test_is_python_whatever_the_monitor_says(monkeypatch: pytest.MonkeyPatch) -> None:
    message = 'a name: b\'\\xff\\\' """\nand a second line'

    def broken(_pair: Pair) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(Pair, "shallow", broken)
    text = as_test([("extend", 128, 0, 0)])
    assert "RuntimeError: a name" in text
    with pytest.raises(AssertionError):
        run_text(text)


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command() -> None:
    command = [sys.executable, "-m", "tests.monitor_stress", "--steps", "1500", "--seed", "1"]
    shown = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    *counts, rate, trace = shown[0].splitlines()
    assert rate.startswith("1,500 steps, seed 1, 1 machines: no divergence, ")
    assert trace == f"last trace {walk_of('1/0', 1500, 200)[0].trace[:16]}"
    assert sum(int(line.split()[1].replace(",", "")) for line in counts) == 1500
    assert shown[1].splitlines()[-1] == trace


def test_the_command_prints_a_test_for_a_divergence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(monkeypatch, BREAKS[0].edit)
    assert monitor_stress.main(["--steps", "3000", "--seed", "1"]) == 1
    shown = capsys.readouterr()
    assert "is cleared" in shown.err
    assert "shortening" in shown.err
    with pytest.raises(AssertionError):
        run_text(shown.out)
