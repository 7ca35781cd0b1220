"""The native core's library: made for each machine, it holds what it should and asks for next to nothing."""

import ctypes
import platform
import re
import subprocess
import sys
import zipfile
from os import environ
from pathlib import Path
from random import Random

import pytest

from pltvm.build import core
from pltvm.monitor.digest import compress

ROOT = Path(__file__).parents[2]
LINUX = {"linux-x86_64": "X86_64", "linux-aarch64": "AARCH64"}
MACOS = {"macos-x86_64": "X86_64", "macos-arm64": "ARM64"}
STRICT = ("-O2", *core.STRICT)
OF_THE_LINKER = {"__mh_dylib_header", "___dso_handle"}  # in what zig makes for macOS
FUNCTIONS = {
    name for source in core.sources() for name in re.findall(r"^API .*?\b(\w+)\(", source.read_text(), re.M)
}


def test_there_are_functions() -> None:
    assert {"pltvm_trap", "pltvm_answer", "pltvm_digest_blocks"} <= FUNCTIONS
    assert all(name.startswith("pltvm_") for name in FUNCTIONS)
    assert set(core.TARGETS) == {*LINUX, *MACOS}


@pytest.mark.parametrize("target", LINUX)
def test_for_linux(target: str, tmp_path: Path) -> None:
    from lief import ELF

    binary = ELF.parse(str(core.build(tmp_path / core.NAME, target)))
    assert binary.header.machine_type.name == LINUX[target]
    assert {symbol.name for symbol in binary.exported_symbols} == FUNCTIONS
    assert set(binary.libraries) <= {"libc.so.6"}
    for symbol in (one for one in binary.dynamic_symbols if one.imported):
        if symbol.binding != ELF.Symbol.BINDING.WEAK:
            version = symbol.symbol_version.symbol_version_auxiliary.name
            assert re.fullmatch(r"GLIBC_2\.([0-9]|1[0-7])(\.\d+)?", version), (symbol.name, version)


@pytest.mark.parametrize("target", MACOS)
def test_for_macos(target: str, tmp_path: Path) -> None:
    from lief import MachO

    binary = MachO.parse(str(core.build(tmp_path / core.NAME, target))).at(0)
    assert binary.header.cpu_type.name == MACOS[target]
    assert binary.build_version.minos == [11, 0, 0]
    exported = {entry.symbol.name for entry in binary.dyld_info.exports} - OF_THE_LINKER
    assert exported == {f"_{name}" for name in FUNCTIONS}
    assert [one.name for one in binary.libraries] == [f"@rpath/{core.NAME}", "/usr/lib/libSystem.B.dylib"]
    assert {one.library.name for one in binary.bindings} <= {"/usr/lib/libSystem.B.dylib"}


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="of another machine")
@pytest.mark.parametrize("target", ["", "linux-x86_64"])
def test_it_works_here(target: str, tmp_path: Path) -> None:
    library = ctypes.CDLL(str(core.build(tmp_path / core.NAME, target, flags=("-O2",) if target else STRICT)))
    data, state = Random(1).randbytes(640), (ctypes.c_uint64 * 8)(*range(8))
    library.pltvm_digest_blocks(state, data, ctypes.c_uint64(10))
    assert tuple(state) == compress(tuple(range(8)), data)


def test_a_compiler_that_cannot_compile_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("PATH", "/nowhere")
    assert core.system_compiler() == []
    assert core.compiler() == [sys.executable, "-m", "ziglang", "cc", "-rtlib=none"]


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(core.CoreError, match="no target 'plan9': write one of linux-x86_64, "):
        core.build(tmp_path / core.NAME, "plan9")


def test_what_does_not_compile_leaves_the_library_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "engine" / "native").mkdir(parents=True)
    (tmp_path / "engine" / "native" / "bad.c").write_text("int f(void) { return nothing; }\n")
    output = tmp_path / core.NAME
    output.write_bytes(b"before")
    with pytest.raises(core.CoreError, match=r"bad\.c:1:.*nothing"):
        core.build(output, package=tmp_path)
    assert output.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [core.NAME, "engine"]


# -- the wheel -----------------------------------------------------------------------------------------------


def build_wheel(target: str, into: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    environment = {**environ, "PLTVM_TARGET": target}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("target", "tag"),
    [
        ("", r"manylinux_2_\d+_\w+|linux_\w+|macosx_\w+"),
        *((name, machine.wheel) for name, machine in core.TARGETS.items()),
    ],
)
def test_the_wheel(target: str, tag: str, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    before = core.PACKAGE.joinpath(core.NAME).stat().st_mtime_ns
    made = build_wheel(target, tmp_path)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.iterdir()
    name = re.fullmatch(r"pltvm-[\d.]+-py3-none-(.+)\.whl", wheel.name)
    assert name is not None
    assert re.fullmatch(tag, name[1])
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        about = next(one for one in names if one.endswith("/WHEEL"))
        assert "Root-Is-Purelib: false" in file.read(about).decode()
    assert {f"pltvm/{core.NAME}", "pltvm/monitor/_records.py", "pltvm/monitor/records.h"} <= names
    assert not [one for one in names if "/native/" in one]  # so nothing there is newer than the library
    assert core.PACKAGE.joinpath(core.NAME).stat().st_mtime_ns == before


def test_a_wheel_for_an_unknown_machine_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    made = build_wheel("plan9", tmp_path)
    assert made.returncode == 1
    assert made.stderr.startswith("pltvm: there is no target 'plan9': write one of linux-x86_64, ")
    assert len(made.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
