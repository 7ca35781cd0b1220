"""Ways to build: a project with Make and with CMake, objects of a cross gcc. Each skips without its tool."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build import guest, project
from pltvm.errors import BuildError
from tests.cli.command import pltvm

ROOT = Path(__file__).parents[2]
GCC = "riscv64-linux-gnu-gcc"
TOOLCHAIN = f"-DCMAKE_TOOLCHAIN_FILE={guest.guest_dir() / 'cmake' / 'pltvm.cmake'}"
Shell = Callable[..., str]


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"there is no {tool}")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a command, with `pltvm` and `python3` as commands, and gives what it prints."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in {"pltvm": "-m pltvm.cli ", "python3": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@needs("make")
def test_a_new_project_is_green(shell: Shell, tmp_path: Path) -> None:
    """docs/building.md shows `make test`, and tests/test_docs.py types it."""
    shell("pltvm", "new", "tally")
    printed = shell("make", "-C", "tally", "cov")
    assert "warning" not in printed
    assert "written to build/lcov.info" in printed
    assert re.search(r"^ +(\d+) of +\1 lines  100 %  server.c$", printed, re.MULTILINE)
    assert (tmp_path / "tally" / ".github" / "workflows" / "ci.yml").is_file()
    assert not [path for path in (tmp_path / "tally").rglob("*") if "NAME" in path.name]
    assert not [
        path
        for path in (tmp_path / "tally").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and b"NAME" in path.read_bytes()
    ]


@needs("cmake")
@pytest.mark.skipif(not (shutil.which("ninja") or shutil.which("make")), reason="there is no ninja or make")
def test_cmake(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "tally"
    project.create(folder)
    with (folder / "CMakeLists.txt").open("a") as file:
        file.write("add_library(part STATIC part.c forty.S)\nadd_executable(both both.cpp)\n")
        file.write("target_link_libraries(both part)\nenable_language(CXX)\n")
    (folder / "part.c").write_text("int forty(void);\nint part(void) { return forty() + 2; }\n")
    (folder / "forty.S").write_text(".globl forty\nforty:\n    li a0, 40\n    ret\n")
    (folder / "both.cpp").write_text(
        '#include "eapp.h"\nextern "C" int part(void);\nint EAPP_ENTRY main() { return part(); }\n'
    )
    text = (folder / "CMakeLists.txt").read_text().replace("project(tally C)", "project(tally C CXX ASM)")
    (folder / "CMakeLists.txt").write_text(text)
    said = shell("cmake", "-S", "tally", "-B", "out", TOOLCHAIN)
    assert "The ASM compiler identification is Clang" in said
    assert "Warning" not in said
    shell("cmake", "--build", "out")
    assert Machine().create(tmp_path / "out" / "both.elf").run().retval == 42
    assert (tmp_path / "out" / "server.elf").is_file()


@needs("cmake")
def test_cmake_without_pltvm(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.20)\nproject(one C)\n")
    nowhere = ("SYSTEM_ENVIRONMENT_PATH", "CMAKE_SYSTEM_PATH")
    command = ["cmake", "-B", "out", TOOLCHAIN, *(f"-DCMAKE_FIND_USE_{place}=OFF" for place in nowhere)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no pltvm on the PATH: activate its environment, or add -DPLTVM=FILE" in done.stderr


@needs(GCC)
def test_objects_of_a_cross_gcc(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "g.c").write_text(
        '#include <stdio.h>\n#include "eapp.h"\n_Thread_local int seven = 7;\n'
        "__attribute__((constructor)) static void begin(void) { seven++; }\n"
        'int EAPP_ENTRY main() { printf("%d %.1f\\n", seven, seven / 2.0); return 5; }\n'
    )
    sdk = shell("pltvm", "build", "--print-sdk").strip()
    flags = ("-march=rv64imac", "-mabi=lp64", "-mcmodel=medany", "-ffreestanding", "-fno-pic", "-O2", "-g")
    shell(GCC, *flags, "-isystem", f"{sdk}/include", "-c", "g.c", "-o", "g.o")
    shell("pltvm", "build", "g.o", "-o", "g.elf")
    result = Machine().create(tmp_path / "g.elf").run()
    assert (result.retval, result.output, result.fault) == (5, "8 4.0\n", None)


def test_a_project_overwrites_nothing_and_its_name_is_a_servers(tmp_path: Path) -> None:
    project.create(tmp_path / "tally")
    with pytest.raises(BuildError, match="exists already"):
        project.create(tmp_path / "tally")
    for name in ("Tally", "7up", "a-b", "a" * 17):
        with pytest.raises(BuildError, match="a name has small letters"):
            project.create(tmp_path / name)
    refused = pltvm("new", "No", cwd=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
