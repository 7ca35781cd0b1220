"""Programs that know nothing of enclaves, run as a user runs them; and the same under qemu-riscv64.

`python -m tests.host.linux.real build` makes the programs, see `build`. `NAME.out` is what a case prints on
Linux, with `exit N` as its last line. The scripts make a folder of their own in the one they start in, and
`RUNNER` is what they have to put in front of a program of riscv64, if anything.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.linux import outside
from tests.host.linux.real.build import program

HERE = Path(__file__).parent
QEMU = shutil.which("qemu-riscv64")
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """A program with arguments, and files that it finds; `busybox` if there has to be one beside it."""

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    busybox: bool = False

    def missing(self) -> str:
        """Why it cannot run; nothing if it can."""
        wanted = [self.program, *(["busybox"] if self.busybox else [])]
        absent = [one for one in wanted if program(one) is None]
        return f"not built: python -m tests.host.linux.real build {' '.join(absent)}" if absent else ""


def _script(name: str) -> Case:
    return Case(name, "busybox", ("sh", f"{name}.sh"), (f"{name}.sh",), busybox=True)


CASES = {
    case.name: case
    for case in (
        *(_script(name) for name in ("shell", "folders", "texts", "processes", "network")),
        Case("lua", "lua", ("lua.lua",), ("lua.lua",)),
        Case("lua_processes", "lua", ("lua_processes.lua",), ("lua_processes.lua",), busybox=True),
        Case("sqlite", "sqlite", ("things.db", "sqlite.sql"), ("sqlite.sql",)),
        Case("cxx", "cxx"),
        Case("go", "go"),
        Case("musl", "musl", ("7",)),
        Case("python", "python", ("python.py",), ("python.py",)),
        Case(
            "esbuild", "esbuild", ("esbuild.ts", "--bundle", "--format=esm"), ("esbuild.ts", "esbuild_b.ts")
        ),
    )
}


def expected(name: str) -> str:
    return (HERE / f"{name}.out").read_text()


def _fill(case: Case, folder: Path) -> None:
    (folder / "tmp").mkdir()
    path = program(case.program)
    assert path is not None
    shutil.copy(path, folder / case.program)
    if path.with_name("lib").exists():  # of a dynamic one
        shutil.copytree(path.with_name("lib"), folder / "lib")
    for name in case.files:
        shutil.copy(HERE / name, folder)


def _applets() -> list[str]:
    path = program("busybox")
    assert path is not None
    return [Path(line).name for line in path.with_name("busybox.links").read_text().split()]


def _run(command: Sequence[str], folder: Path, variables: dict[str, str]) -> tuple[str, str]:
    output, errors, end = outside.run(command, folder, variables, SECONDS)
    return outside.lines(output, end), errors.decode(errors="replace")


def under_pltvm(case: Case, folder: Path) -> tuple[str, str]:
    """What it prints, and what goes to stderr: with `folder` as its root."""
    _fill(case, folder)
    if case.busybox:
        (folder / "bin").mkdir()
        path = program("busybox")
        assert path is not None
        shutil.copy(path, folder / "bin" / "busybox")
        for name in _applets():
            (folder / "bin" / name).symlink_to("busybox")
    command = [sys.executable, "-m", "pltvm.cli", "run", "--root", ".", f"./{case.program}", *case.arguments]
    return _run(
        command, folder, {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    )


def under_qemu(case: Case, folder: Path) -> tuple[str, str]:
    """The same, with this machine's files; busybox's applets are scripts that start qemu."""
    assert QEMU
    inner, applets = folder / "inner", folder / "applets"
    inner.mkdir()
    applets.mkdir()
    _fill(case, inner)
    if case.busybox:
        for name in _applets():
            start = f'#!/bin/sh\nexec {QEMU} -0 {name} {program("busybox")} "$@"\n'
            (applets / name).write_text(start)
            (applets / name).chmod(0o755)
    path = str(applets) if case.busybox else os.defpath
    variables = {"PATH": path, "HOME": "/", "LANG": "C", "RUNNER": QEMU, "QEMU_LD_PREFIX": str(inner)}
    return _run([QEMU, f"./{case.program}", *case.arguments], inner, variables)
