"""The native core against Python, in short: the long run is `python -m tests.core_stress`."""

import pytest

from pltvm import native
from tests import core_stress
from tests.model.steps import Walk, random_steps

pytestmark = pytest.mark.skipif(native.core is None, reason=native.status)


def test_a_walk(capsys: pytest.CaptureFixture[str]) -> None:
    assert core_stress.main(["--steps", "1500", "--seed", "7", "--quiet"]) == 0
    first, _trace = capsys.readouterr().out.splitlines()
    assert first.startswith("1,500 steps, seed 7: no difference, ")
    assert int(first.split("difference, ")[1].split()[0]) > 50


def test_a_difference_is_told() -> None:
    """One bit of RAM, and one of a register."""
    for spoil in (
        lambda machine: machine.memory.store(machine.memory.end - 8, 1),
        lambda machine: machine.hart.current.set_register(5, 1),
    ):
        twins = core_stress.Twins(check_every=1000, whole_every=1)
        for step in random_steps(twins.plain, 1, 20):
            twins.step(step)
        spoil(twins.fast.pair.machine)
        with pytest.raises(core_stress.Divergence, match=r"RAM differs|registers differ"):
            twins.compare(whole=True)


def test_the_trace_is_the_same_as_without() -> None:
    walks = Walk(1000), Walk(1000, through_core=True)
    for step in random_steps(walks[0], 5, 400):
        for walk in walks:
            walk.step(step)
    assert walks[0].trace == walks[1].trace
