"""C programs that pin down what Linux does for a process, and ways to run each: pltvm, qemu, this Linux.

They are written from Linux's documents: no line of them knows what pltvm does. `NAME.out` is what `NAME.c`
prints on Linux, with `exit N` as its last line, where 128 + N stands for a death by signal N.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from pltvm import Machine
from pltvm.build import zig
from pltvm.host.linux.runner import run_program
from tests import musl
from tests.host.linux import outside
from tests.host.linux.programs.differences import LINES, WHOLE

HERE = Path(__file__).parent
HELPERS = {"sh"}
NAMES = sorted(source.stem for source in HERE.glob("*.c") if source.stem not in HELPERS)
WITHOUT_QEMU = WHOLE
LIBCS = ["glibc", "musl"]
QEMU = shutil.which("qemu-riscv64")
SECONDS = 20.0  # for a program that waits for ever

_MUSL = ["-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+c", "-mabi=lp64"]
_COMPILERS = {
    "glibc": ["riscv64-linux-gnu-gcc"],
    "musl": [*zig.command("cc"), *_MUSL],
    "native": ["cc"],
}
_FLAGS = ["-static", "-O1", "-w", "-pthread"]


@functools.cache
def no_compiler(libc: str) -> str:
    """Why there is no program for this libc; nothing where there is one."""
    if libc == "musl":
        return "" if zig.is_installed() else "needs ziglang"
    command = _COMPILERS[libc][0]
    return "" if shutil.which(command) else f"needs {command}"


def compiler(libc: str) -> list[str]:
    """The command that makes static programs, without their names."""
    return [*_COMPILERS[libc], *_FLAGS]


def build(name: str, libc: str, cache: Path) -> Path:
    """The program in `cache`, which several processes may fill at once."""
    source = HERE / f"{name}.c"
    command = compiler(libc)
    parts = [source.read_bytes(), (HERE / "say.h").read_bytes(), " ".join(command).encode()]
    program = cache / f"{name}-{libc}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        mine = program.with_suffix(f".{os.getpid()}")
        if libc == "musl":
            musl.build(source, mine, *_FLAGS)
        else:
            subprocess.run([*command, str(source), "-o", str(mine), "-lrt"], check=True)
        mine.replace(program)
    return program


def expected(name: str) -> str:
    return (HERE / f"{name}.out").read_text()


def of_qemu(name: str) -> str:
    """What qemu makes of a program: what Linux does, but for lines that are known to differ."""
    text = expected(name)
    for right, wrong in LINES.get(name, {}).items():
        assert f"{right}\n" in text, f"{name}.out has no line {right!r}"
        text = text.replace(f"{right}\n", f"{wrong}\n" if wrong else "")
    return text


def under_pltvm(name: str, libc: str, cache: Path, folder: Path) -> str:
    """Runs a program in an empty folder that is its root, but for the program itself and a shell."""
    shutil.copy(build(name, libc, cache), folder / name)
    (folder / "bin").mkdir()
    (folder / "tmp").mkdir()
    shutil.copy(build("sh", libc, cache), folder / "bin" / "sh")
    result = run_program(Machine(256 << 20).driver, folder / name, (), root=folder, timeout=SECONDS)
    end = "timed out" if result.timed_out else result.end or f"exit {result.exit_code}"
    return outside.lines(result.output, end)


def _under(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    output, _, end = outside.run(command, folder, {"PATH": os.defpath, **variables}, SECONDS)
    return outside.lines(output, end)


def under_qemu(name: str, libc: str, cache: Path, folder: Path) -> str:
    assert QEMU
    shutil.copy(build(name, libc, cache), folder / name)
    return _under([QEMU, f"./{name}"], folder, {"RUNNER": QEMU})


def natively(name: str, cache: Path, folder: Path) -> str:
    """The same program built for this machine, on its own Linux: the last word where qemu may be wrong."""
    shutil.copy(build(name, "native", cache), folder / name)
    return _under([f"./{name}"], folder, {})
