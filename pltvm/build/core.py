"""Builds the native core (`pltvm.native`): with the system's C compiler, else with that of `ziglang`.

`ziglang` can also build it for the other machines in `TARGETS`.

The package's own build calls this too, when no dependency is installed yet: so it needs only the standard
library.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

PACKAGE: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("engine", "monitor", "fuzz", "coverage", "debug", "explore")
FLAGS: Final = ("-std=c11", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing")  # of each source
# For tests, and for other machines, whose compiler is ours: others may warn of other things.
STRICT: Final = ("-Wall", "-Wextra", "-Werror")
# For zig, which else compiles its run-time library first, for four seconds: nothing here needs any of it.
_ALONE: Final = "-rtlib=none"
NAME: Final = "_core.so"  # on macOS too, where Python's own libraries end like that
# For a build: without a compiler, the package is built without the core.
ZIGLANG: Final = "ziglang==0.17.1; platform_machine in 'x86_64 AMD64 aarch64 arm64'"


class CoreError(Exception):
    """No library was made; the message has the reason."""


class Target(NamedTuple):
    """A machine that the library can be built for: its name for zig, and in the name of a wheel."""

    zig: str
    wheel: str


TARGETS: Final = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "linux-aarch64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "macos-x86_64": Target("x86_64-macos.11.0", "macosx_11_0_x86_64"),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64"),
}


def sources(package: Path = PACKAGE) -> list[Path]:
    """Return the C files, sorted."""
    return sorted(path for room in ROOMS for path in (package / room / "native").glob("*.c"))


def system_compiler() -> list[str]:
    """Return the command of this system's C compiler: $CC or cc, if it works; else []."""
    for name in (os.environ.get("CC", ""), "cc"):
        words = name.split()
        if words and shutil.which(words[0]):
            probe = subprocess.run(
                [*words, "-x", "c", "-fsyntax-only", "-"], input=b"#include <string.h>", capture_output=True
            )
            if probe.returncode == 0:
                return words
    return []


def compiler(target: str = "") -> list[str]:
    """Return the command of a C compiler for one of TARGETS, by default for this machine. Raises
    CoreError."""
    if target and target not in TARGETS:
        raise CoreError(f"there is no target {target!r}: write one of {', '.join(TARGETS)}")
    if not target and (command := system_compiler()):
        return command
    if find_spec("ziglang") is None:
        needed = f"to make it for {target} needs" if target else "there is no C compiler: neither cc nor"
        raise CoreError(f"{needed} the package ziglang")
    zig = [sys.executable, "-m", "ziglang", "cc", _ALONE]
    return [*zig, "-target", TARGETS[target].zig] if target else zig


def build(
    output: Path,
    target: str = "",
    package: Path = PACKAGE,
    flags: Sequence[str] = ("-O2",),
    files: Sequence[Path] = (),
) -> Path:
    """Compile the library to `output`, atomically: the sources of `package`, or these files and objects.

    Raises CoreError.
    """
    command = [
        *compiler(target),
        "-shared",
        *FLAGS,
        *(STRICT if target else ()),
        *flags,
        f"-I{package}",
        *map(str, files or sources(package)),
    ]
    if target.startswith("macos") or (not target and sys.platform == "darwin"):
        command.append(f"-Wl,-install_name,@rpath/{output.name}")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".core-") as scratch:
        made = Path(scratch) / output.name
        result = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True)
        if result.returncode != 0:
            raise CoreError(f"the native core was not built:\n{(result.stderr or result.stdout).strip()}")
        os.replace(made, output)
    return output
