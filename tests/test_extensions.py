"""Programs built for Zba, Zbb, Zbs, Zicond and Zcb do what they do without: enclaves and Linux programs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import zig
from pltvm.build.enclave import build_enclave
from pltvm.host.linux.runner import run_program
from tests import musl

SOURCE = Path(__file__).parent / "guest" / "bits.c"
CPU = musl.CPU
EXTENSIONS = "+zba+zbb+zbs+zicond+zcb"
PRINTING = (
    "printf.c",
    "vfprintf.c",
    "fwrite.c",
    "__towrite.c",
    "__overflow.c",
    "__stdio_write.c",
    "__stdout_write.c",
)


def compiled(output: Path, cpu: str, *more: str) -> Path:
    """The program for Linux, and what of its C library prints, for this CPU."""
    library = zig.library_dir() / "libc" / "musl"
    folders = ("arch/riscv64", "arch/generic", "src/include", "src/internal", "include")
    headers = [f"-I{library / folder}" for folder in folders]
    printing = [library / "src" / "stdio" / name for name in PRINTING]
    objects = [
        musl.compile_one(
            one,
            output.with_name(f"{one.stem}.o"),
            "-O2",
            *headers,
            "-D_XOPEN_SOURCE=700",
            "-std=c99",
            cpu=cpu,
        )
        for one in printing
    ]
    own = musl.compile_one(SOURCE, output.with_name("own.o"), "-O2", *more, cpu=cpu)
    return musl.link([own, *objects], output)


def run_linux(program: Path, folder: Path) -> tuple[str, int]:
    """What it prints, and how many traps it took."""
    machine = Machine(256 << 20)
    result = run_program(machine.driver, program, (), root=folder, timeout=60)
    assert result.exit_code == 0
    return result.output.decode(), machine.hart.traps


def test_linux_program_does_the_same(tmp_path):
    plain, few = run_linux(compiled(tmp_path / "without", CPU), tmp_path)
    program = compiled(tmp_path / "with", CPU + EXTENSIONS)
    built, many = run_linux(program, tmp_path)
    assert len(plain.splitlines()) == 8
    assert built == plain
    assert many > few + 10_000, "it has such instructions"
    assert run_linux(program, tmp_path) == (built, many), "and does it again"


@pytest.mark.skipif(
    shutil.which("qemu-riscv64") is None, reason="needs qemu-riscv64: apt-get install qemu-user"
)
def test_linux_program_does_as_in_qemu(tmp_path):
    """With the extensions that qemu has had since version 7."""
    program = compiled(tmp_path / "program", CPU, '-DBITS="arch=+zba,+zbb,+zbs"')
    command = ["qemu-riscv64", "-cpu", "rv64,zba=on,zbb=on,zbs=on", program]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    output, traps = run_linux(program, tmp_path)
    assert output == expected
    assert traps > 10_000, "it has such instructions"


def test_enclave_does_the_same(tmp_path):
    seen = []
    for name, defines in (("without", {}), ("with", {"BITS": '"arch=+zba,+zbb,+zbs,+zicond,+zcb"'})):
        machine = Machine(64 << 20)
        elf = build_enclave([SOURCE], tmp_path / name, defines=defines)
        result = machine.create(elf).run()
        assert result.retval == 7
        seen.append((result.output, machine.hart.traps))
    (plain, few), (built, many) = seen
    assert len(plain.splitlines()) == 8
    assert built == plain
    assert many > few + 10_000, "it has such instructions"
