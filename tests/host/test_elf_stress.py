"""A short run of mutated ELFs through every loader; the long one is `python -m tests.elf_stress`."""

import random
from pathlib import Path

import pytest

from pltvm.host.line_tables import Reader
from pltvm.host.linux.space import Space
from tests import elf_stress


def test_nothing_but_our_errors_comes_out() -> None:
    wrong, counts, _ = elf_stress.stress(first=0, count=120, seed=2029)
    assert wrong == []
    for loader in ("headers", "symbols", "program", "enclave", "linux", "measure", "target"):
        assert counts[f"{loader}: loaded"] > 0
    assert counts["enclave: refused"] > 20


def test_a_mutant_is_the_same_each_time() -> None:
    originals = elf_stress.seeds()
    made = [elf_stress.mutant(originals, random.Random(f"1/{number}")) for number in range(50)]
    assert made == [elf_stress.mutant(originals, random.Random(f"1/{number}")) for number in range(50)]
    assert len(set(made)) > 45


def test_it_sees_an_error_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def byte(reader: Reader) -> int:
        reader.at += 1
        return reader.data[reader.at - 1]  # IndexError at the end

    monkeypatch.setattr(Reader, "byte", byte)
    originals, loaders = elf_stress.seeds(), elf_stress.Loaders(tmp_path)

    def all_symbols() -> None:
        for number in range(5000):  # it takes some hundred
            rng = random.Random(f"7/{number}")
            loaders._symbols(elf_stress.mutant(originals, rng), rng)

    with pytest.raises(IndexError):
        all_symbols()

    def wrong_decision(_: bytes) -> None:
        raise KeyError("wrong")

    monkeypatch.setattr(elf_stress, "decide", wrong_decision)
    wrong, _, _ = elf_stress.stress(first=1, count=1, seed=7)
    assert "KeyError: 'wrong'" in wrong[0]
    assert wrong[0].endswith("python -m tests.elf_stress --seed 7 --first 1 --count 1")


def test_it_sees_pages_that_do_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Space, "free", lambda _: None)
    wrong, _, _ = elf_stress.stress(first=0, count=5, seed=7)
    assert "pages did not come back" in wrong[0]
