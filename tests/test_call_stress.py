"""The driver of wild calls: that it runs, repeats, and finds what it is for."""

import pytest

from pltvm.monitor import create, destroy, relay, user
from tests import call_stress
from tests.holes import Edit, make
from tests.wild.calls import Calls


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--count", "500", "--seed", "2", "--compare-every", "1", "--audit-every", "25", "--quiet"]
    assert call_stress.main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("500 calls, seed 2, ")
    assert "nothing broken" in shown


def test_the_same_seed_gives_the_same_trace() -> None:
    runs = [Calls(seed, 10**9, 10**9) for seed in ("a", "a", "b")]
    for run in runs:
        for _ in range(300):
            run.call()
    assert runs[0].trace == runs[1].trace != runs[2].trace
    assert runs[0].counts == runs[1].counts


HOLES = {
    "refused, and changed RAM": Edit(
        create.create_as,
        "asid, leaves = state.records.next_asid(), _sound_layout(state, params)",
        "asid, leaves = state.records.next_asid(), _sound_layout(state, params)\n"
        "    state.records.use_asid(asid)",
    ),
    "cannot unpack non-iterable NoneType object": Edit(user.find_struct, "if spans is None:", "if False:"),
    "it is the host's, held 0 times": Edit(destroy.free, "        owners.let_go(pa, pages)\n", ""),
    "is in two blocks": Edit(
        relay.offer, "not state.owners.is_free(pa, pages) or ", ""
    ),
    "is mapped twice": Edit(create._sound_layout, "page not in used", "True"),
}  # fmt: skip


@pytest.mark.broken
@pytest.mark.parametrize("what", HOLES)
def test_it_finds(what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make(monkeypatch, HOLES[what])
    arguments = ["--count", "3000", "--seed", "1", "--compare-every", "5", "--audit-every", "50", "--quiet"]
    assert call_stress.main(arguments) == 1
    shown = capsys.readouterr().out
    assert what in shown
    assert "python -m tests.call_stress --seed 1 --episode 0" in shown


def test_objects_that_stay_are_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[list[int]] = []
    call = Calls.call
    monkeypatch.setattr(Calls, "call", lambda self: (kept.append([1]), call(self))[1])
    monkeypatch.setattr(call_stress, "EPISODE", 300)
    monkeypatch.setattr(call_stress, "SLACK", 100)
    assert call_stress.main(["--count", "900", "--quiet"]) == 1
    assert "Python objects more" in capsys.readouterr().out
