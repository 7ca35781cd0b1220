"""The attacks are stopped, each by what it names; and a hole lets the matching one through."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import sdk, selftest
from pltvm.engine import pmp
from pltvm.engine.hart import Hart
from pltvm.monitor.guard import HostTables

ATTACKS = {attack.name: attack for attack in selftest.attacks()}
Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_stopped_by_what_it_names(name: str) -> None:
    outcome = selftest.run_attack(ATTACKS[name])
    assert outcome.stopped, outcome.detail
    assert outcome.attempts > 0


@pytest.mark.parametrize("name", ["s-satp", "s-stale-tlb", "e-outside"])
def test_attacks_go_the_same_way_each_time(name: str) -> None:
    outcomes = {selftest.run_attack(ATTACKS[name]) for _ in range(3)}
    assert len(outcomes) == 1


def test_elves_are_the_committed_bytes(tmp_path: Path) -> None:
    for elf in sdk.rebuild_attacks(tmp_path):
        committed = sdk.attack_elf(elf.stem)
        assert elf.read_bytes() == committed.read_bytes(), f"{committed}: run python -m pltvm.sdk rebuild"
        assert len(committed.read_bytes()) < 64 << 10


def test_command() -> None:
    command = [sys.executable, "-m", "pltvm.cli", "selftest"]
    shown = subprocess.run([*command, "s-satp"], capture_output=True, text=True, check=True)
    assert "1 of 1 attacks stopped" in shown.stdout
    (outcome,) = json.loads(
        subprocess.run([*command, "s-satp", "--json"], capture_output=True, check=True).stdout
    )
    assert outcome["stopped"]
    assert subprocess.run([*command, "nonsense"], capture_output=True).returncode == 1


def without_pmp_entry(number: int) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        program = pmp.program

        def leaky(hart: Hart, entries: dict[int, pmp.Entry], scratch: int) -> None:
            program(hart, {key: entry for key, entry in entries.items() if key != number}, scratch)

        monkeypatch.setattr(pmp, "program", leaky)

    return patch


def replaced(owner: type, name: str, value: object) -> Patch:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


@pytest.mark.parametrize(
    ("attack", "hole"),
    [
        ("s-protected", without_pmp_entry(0)),
        ("s-protected", without_pmp_entry(2)),
        ("s-remap-private", replaced(HostTables, "_may_map", lambda _self, _page: True)),
        ("s-satp", replaced(HostTables, "accepts_satp", lambda _self, _satp: True)),
        ("s-private", replaced(HostTables, "_hide", lambda _self, _pa, _pages: None)),
        ("s-own-tables", replaced(HostTables, "_in_part", lambda _self, _address, _part: True)),
        ("s-protected", replaced(HostTables, "_read_only_tables", lambda _self, pte: pte)),
        ("s-stale-tlb", replaced(Hart, "translations_changed", lambda _self: None)),
    ],
    ids=[
        "no PMP entry 0", "no PMP entry 2", "private pages may be mapped", "any satp", "private pages stay",
        "tables anywhere", "PT area writable", "no flush",
    ],
)  # fmt: skip
def test_a_hole_lets_the_attack_through(attack: str, hole: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    hole(monkeypatch)
    assert not selftest.run_attack(ATTACKS[attack]).stopped
