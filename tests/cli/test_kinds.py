"""What a file is taken for: --as, what info says of it, and the hint when that was perhaps wrong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import ELVES, HOST, KERNEL, pltvm
from tests.host import elf_samples as s
from tests.host.elf_samples import Elf, Segment

NOTHING = bytes.fromhex("00000000")  # an illegal instruction, and nothing that tells what it is


@pytest.fixture
def file(tmp_path: Path) -> Callable[[int, bytes], Path]:
    """Writes an ELF of one segment at an address."""

    def write(address: int, code: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(bytes(Elf([Segment(address, code)], None, entry=address)))
        return path

    return write


def test_info_says_what_it_is_and_why() -> None:
    text = pltvm("info", ELVES["hello-world"]).stdout
    assert ": Penglai enclave, RISC-V RV64, statically linked\n  because  it has eapp_return" in text
    assert "(pltvm run --as host|enclave|server|kernel takes it for something else)" in text
    assert "\n  because  it has __libc_start_main" in pltvm("info", HOST).stdout or "makes Linux's" in (
        pltvm("info", HOST).stdout
    )
    assert "kernel program for S-mode" in pltvm("info", KERNEL).stdout
    about = json.loads(pltvm("info", HOST, "--json").stdout)
    assert (about["kind"], about["linking"]) == ("Linux host program", "statically linked")
    assert about["reasons"]


def test_info_takes_a_word_for_it() -> None:
    text = pltvm("info", "--as", "enclave", KERNEL).stdout
    assert ": Penglai enclave, " in text
    assert "because" not in text


def test_info_of_a_dynamically_linked_program(tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["riscv64-linux-gnu-gcc", "program.c", "-o", "program"], cwd=tmp_path, check=True)
    text = pltvm("info", "program", cwd=tmp_path).stdout
    assert text.startswith(
        "program: Linux host program, RISC-V RV64, position independent, dynamically linked\n"
    )
    assert "\n  starts   /lib/ld-linux-riscv64-lp64d.so.1\n  needs    libc.so.6\n" in text
    assert "--root /usr/riscv64-linux-gnu" in text
    failed = pltvm("run", "program", cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "pltvm: program: needs /lib/ld-linux-riscv64-lp64d.so.1, which its root lacks"
    )
    assert len(failed.stderr.splitlines()) == 1
    assert pltvm("run", "--root", "/usr/riscv64-linux-gnu", "./program", cwd=tmp_path).returncode == 0


def test_a_kernel_program_needs_no_word() -> None:
    for options in ([], ["--as", "kernel"], ["--supervisor"], ["--supervisor", "--as", "kernel"]):
        result = pltvm("run", *options, KERNEL, "--timeout", "60")
        assert (result.returncode, result.stderr) == (0, f"{KERNEL} ended with 0\n")


def test_a_server_does_not_run_on_its_own() -> None:
    server = ELVES["server"]
    result = pltvm("run", "--as", "server", server)
    message = (
        f"pltvm: {server}: a server runs when an enclave calls it: pltvm run CALLER --server NAME={server}\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message)
    last = pltvm("run", server).stderr.splitlines()[-1]
    assert last.startswith(f"pltvm: {server}: seems to be a server: it runs when an enclave calls it")
    assert "seems to be" not in pltvm("run", "--as", "enclave", server).stderr


def test_a_word_that_is_none() -> None:
    for options in (["--as", "linux"], ["--supervisor", "--as", "host"]):
        result = pltvm("run", *options, HOST)
        assert result.returncode == 2
        assert "--as" in result.stderr


def test_as_decides_whose_the_arguments_are(file: Callable[[int, bytes], Path]) -> None:
    path = file(0x1000, bytes.fromhex("03250100 9308d005 73000000"))  # lw a0, (sp); exit with it: argc
    assert pltvm("run", "--as", "host", str(path), "--json", "-v").returncode == 3
    refused = pltvm("run", "--as", "enclave", str(path), "argument")
    assert "is an enclave and takes no arguments" in refused.stderr


@pytest.mark.parametrize(
    ("address", "taken", "other"),
    [(0x2000, "an enclave", "host"), (0x10000, "a host program", "enclave")],
)
def test_a_hint_after_a_failure(
    file: Callable[[int, bytes], Path], address: int, taken: str, other: str
) -> None:
    path = file(address, NOTHING)
    last = pltvm("run", str(path)).stderr.splitlines()[-1]
    assert last.startswith(f"pltvm: {path}: was taken for {taken}, as it is linked at {address:#x}, ")
    assert f"; --as {other} runs it as " in last
    for kind in ("host", "enclave"):
        assert "was taken for" not in pltvm("run", "--as", kind, str(path)).stderr


def test_the_hint_is_in_the_line_about_a_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(Elf([Segment(0x2000, NOTHING)], None, entry=0x5000, type=s.ET_EXEC)))
    lines = pltvm("run", str(path)).stderr.splitlines()
    assert len(lines) == 1
    assert "outside every loaded segment (it was taken for an enclave, as it is linked" in lines[0]


def test_no_hint_where_nothing_failed(file: Callable[[int, bytes], Path]) -> None:
    path = file(0x10000, bytes.fromhex("13050000 9308d005 73000000"))
    result = pltvm("run", str(path))
    assert (result.returncode, result.stderr) == (0, "")
