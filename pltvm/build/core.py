"""Makes the native core (`pltvm.native`): with the system's C compiler, else with the one of `ziglang`.

The package's own build calls this too, where nothing of the package is installed yet: so it needs the
standard library alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("engine", "monitor", "fuzz")
_FLAGS: Final = ("-std=c11", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing")
FLAGS: Final = ("-O2", "-Wall", "-Wextra", "-Werror")


class CoreError(Exception):
    """No library was made; the text says why."""


def sources(package: Path = PACKAGE) -> list[Path]:
    """The C files, sorted."""
    return sorted(path for room in ROOMS for path in (package / room / "native").glob("*.c"))


def compiler() -> list[str]:
    """The command of a C compiler: $CC, cc, or that of ziglang. Raises CoreError."""
    for name in (os.environ.get("CC", ""), "cc"):
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    try:
        import ziglang  # noqa: F401
    except ImportError:
        raise CoreError("there is no C compiler: neither cc nor the package ziglang") from None
    return [sys.executable, "-m", "ziglang", "cc"]


def build(
    output: Path,
    command: Sequence[str] | None = None,
    package: Path = PACKAGE,
    flags: Sequence[str] = FLAGS,
) -> Path:
    """Compile the library to `output`, which is whole or as it was. Raises CoreError."""
    command = compiler() if command is None else command
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".core-") as scratch:
        made = Path(scratch) / output.name
        files = [str(path) for path in sources(package)]
        result = subprocess.run(
            [*command, *_FLAGS, *flags, f"-I{package}", *files, "-o", str(made)],
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise CoreError(f"the native core was not built:\n{(result.stderr or result.stdout).strip()}")
        os.replace(made, output)
    return output
