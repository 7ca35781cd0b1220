"""The attacks: all are stopped, each has a hole that lets it through, and all runs are alike."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pltvm import Machine, selftest
from pltvm.build import guest
from pltvm.build.rebuild import rebuild_attacks
from pltvm.cli.app import app
from pltvm.engine.trap import Cause
from pltvm.errors import PltvmError
from pltvm.selftest import Attack
from tests.holes import Edit, Hole, make
from tests.holes_enclaves import ENCLAVE_HOLES
from tests.holes_host import HOST_HOLES, NO_PMP_1, WRITABLE_TABLES
from tests.holes_slots import SLOT_HOLES
from tests.host.test_supervisor import build
from tests.traces import traced

HOLES = [*HOST_HOLES, *ENCLAVE_HOLES, *SLOT_HOLES]
ATTACKS = {attack.name: attack for attack in selftest.attacks()}
RUNS = 5
MOST_BYTES = 17_000


def run_traced(attack: Attack) -> tuple[selftest.Outcome, int, str]:
    """The outcome, how many traps there were, and a digest of all of them in order."""
    with traced() as trace:
        outcome = selftest.run_attack(attack)
    return outcome, trace.traps, trace.digest


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_stopped_the_same_way_every_time(name: str) -> None:
    """Five times in Python, and by the core."""
    first = run_traced(ATTACKS[name])
    assert first[0].stopped, first[0].detail
    assert first[0].attempts > 0
    assert all(run_traced(ATTACKS[name]) == first for _ in range(RUNS - 1))
    assert selftest.run_attack(ATTACKS[name]) == first[0]


@pytest.mark.broken
@pytest.mark.python
@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole.attack}: {hole.what}")
def test_with_a_hole_the_attack_gets_through(hole: Hole, monkeypatch: pytest.MonkeyPatch) -> None:
    for edit in hole.edits:
        make(monkeypatch, edit)
    outcome = selftest.run_attack(ATTACKS[hole.attack])
    assert not outcome.stopped
    # A second init clears the bitmap and the page tables that the program itself stands on. An enclave that
    # is called, and is no server, starts anew with registers that it does not expect.
    ends_badly = hole.what in ("init only once", "only servers are called")
    assert ends_badly or "stopped by something else" not in outcome.detail


def test_the_pt_area_has_two_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mapping alone, PMP entry 1 alone, neither: a store to a root table is stopped by one of them."""
    elf = build(tmp_path, "    sv_exit(sv_store(info->root + 4088, 0));")
    seen = []
    for holes in ((), (NO_PMP_1,), (WRITABLE_TABLES,), (NO_PMP_1, WRITABLE_TABLES)):
        with monkeypatch.context() as patch:
            for hole in holes:
                make(patch, Edit(*hole))
            seen.append(Machine(selftest.RAM).supervise(elf).code)
    assert seen == [Cause.STORE_PAGE, Cause.STORE_PAGE, Cause.STORE_ACCESS, 0]


def test_every_attack_has_a_hole() -> None:
    assert {hole.attack for hole in HOLES} == set(ATTACKS)


@pytest.mark.long
def test_rebuild_gives_the_committed_bytes(tmp_path: Path) -> None:
    for elf in rebuild_attacks(tmp_path):
        committed = guest.attack_elf(elf.stem)
        assert elf.read_bytes() == committed.read_bytes(), f"{committed}: run python -m pltvm.build enclaves"
        assert committed.stat().st_size < MOST_BYTES


def test_what_the_sources_say() -> None:
    for attack in ATTACKS.values():
        assert set(attack.mechanisms) <= set(selftest.MECHANISMS.values()), attack.name
        assert attack.tries.count(" ") > 8, f"{attack.name}: say what it tries"
    assert set(selftest.MECHANISMS.values()) == {
        name for attack in ATTACKS.values() for name in attack.mechanisms
    }


def test_the_threat_model_names_every_attack() -> None:
    text = (guest.guest_dir().parent / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = {word for line in text.splitlines() if line.startswith("|") for word in line.split("`")[1::2]}
    assert {name for name in named if name[:2] in ("s-", "e-", "c-", "t-")} == set(ATTACKS)


def test_another_mechanism_is_no_success() -> None:
    outcome = selftest.run_attack(replace(ATTACKS["e-outside"], mechanisms=("PMP",)))
    assert (outcome.stopped, outcome.detail) == (False, "stopped, but by: page table")


def test_a_name_that_is_none() -> None:
    with pytest.raises(PltvmError, match="there is no attack 'nothing'"):
        selftest.run_all(lambda _outcome: None, ["nothing"])


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["c-struct", "e-relay"]
    result = CliRunner().invoke(app, ["selftest", *names])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == names
    assert lines[-1].startswith("2 of 2 attacks stopped, ")

    outcomes = json.loads(CliRunner().invoke(app, ["selftest", "--json", *names]).output)["attacks"]
    assert [(one["name"], one["stopped"]) for one in outcomes] == [(name, True) for name in names]

    make(monkeypatch, next(hole for hole in HOLES if hole.attack == "c-struct").edits[0])
    result = CliRunner().invoke(app, ["selftest", *names])
    assert result.exit_code == 1
    assert "NOT STOPPED" in result.output
    assert "got through" in result.output


def test_all_of_it_is_the_same_in_another_process() -> None:
    def run(seed: str) -> bytes:
        command = [sys.executable, "-m", "pltvm.cli", "selftest", "--json"]
        return subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout

    assert run("1") == run("2")


def test_a_trap_vector_that_traps_itself_ends_the_program(tmp_path: Path) -> None:
    body = '__asm__ volatile("li t0, 0x100\\n csrw stvec, t0\\n ld t1, 0(zero)" : : : "t0", "t1");'
    result = Machine(selftest.RAM).supervise(build(tmp_path, body))
    assert result.code is None
    assert "jump to a page that is not mapped executable at 0x100, and no trap vector" in result.end
