"""Linux programs print under pltvm what they print on Linux; and under qemu, but for its own faults."""

from pathlib import Path

import pytest

from tests.host.linux import outside, programs


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """Where all workers keep the programs that one of them has built."""
    return shared / "programs"


@pytest.mark.parametrize("libc", programs.LIBCS)
@pytest.mark.parametrize("name", programs.NAMES)
def test_a_program_does_what_it_does_on_linux(name: str, libc: str, cache: Path, tmp_path: Path) -> None:
    if missing := programs.no_compiler(libc):
        pytest.skip(missing)
    found = programs.under_pltvm(name, libc, cache, tmp_path).splitlines()
    if found[0].startswith("skip: "):  # for a libc that lacks what the program is about
        pytest.skip(found[0])
    assert found == programs.expected(name).splitlines()


@pytest.mark.skipif(programs.QEMU is None, reason="needs qemu-riscv64")
@pytest.mark.parametrize("name", programs.NAMES)
def test_qemu_agrees(name: str, cache: Path, tmp_path: Path) -> None:
    if name in programs.WITHOUT_QEMU:
        pytest.skip(programs.WITHOUT_QEMU[name])
    if missing := programs.no_compiler("glibc"):
        pytest.skip(missing)
    expected = programs.of_qemu(name)
    found = outside.in_some_run(
        lambda folder: programs.under_qemu(name, "glibc", cache, folder), expected, tmp_path
    )
    assert found == expected.splitlines()
