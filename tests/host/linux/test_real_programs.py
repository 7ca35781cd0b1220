"""Programs that know nothing of pltvm print what they print on Linux, and under qemu."""

from pathlib import Path

import pytest

from tests.host.linux import outside, real


@pytest.mark.parametrize("name", real.CASES)
def test_a_real_program_does_what_it_does_on_linux(name: str, tmp_path: Path) -> None:
    case = real.CASES[name]
    if missing := case.missing():
        pytest.skip(missing)
    (tmp_path / "pltvm").mkdir()
    found, errors = real.under_pltvm(case, tmp_path / "pltvm")
    assert found.splitlines() == real.expected(name).splitlines(), errors
    assert "a bug of pltvm" not in errors


@pytest.mark.skipif(real.QEMU is None, reason="needs qemu-riscv64")
@pytest.mark.parametrize("name", real.CASES)
def test_qemu_agrees_about_a_real_program(name: str, tmp_path: Path) -> None:
    case = real.CASES[name]
    if missing := case.missing():
        pytest.skip(missing)
    errors = ""

    def run(folder: Path) -> str:
        nonlocal errors
        found, errors = real.under_qemu(case, folder)
        return found

    expected = real.expected(name)
    assert outside.in_some_run(run, expected, tmp_path) == expected.splitlines(), errors
