"""The compiler of the `ziglang` package: `pip install 'pltvm[build]'` is all it takes.

The same sources give the same bytes, whatever directory they, the SDK or the caller are in.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pltvm.errors import BuildError

# For older C, which the original SDK's programs are written in: what compilers then only warned about.
OLD_C: Final = (
    *("-Wno-error=implicit-function-declaration", "-Wno-error=implicit-int"),
    *("-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types"),
)
Defines = Mapping[str, str | int | None]


def is_installed() -> bool:
    """Whether there is the package."""
    return importlib.util.find_spec("ziglang") is not None


def command(*arguments: str) -> list[str]:
    """The compiler with these arguments."""
    return [sys.executable, "-m", "ziglang", *arguments]


def run(command: Sequence[str], made: Path, output: Path, cache: Path) -> str:
    """Run a compiler, which makes a file; returns its warnings, or raises BuildError with its errors."""
    environment = os.environ | {
        "LC_ALL": "C",
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    result = subprocess.run(command, cwd=cache, env=environment, capture_output=True, text=True)
    if result.returncode != 0 or not made.is_file():
        raise BuildError(f"{output.name} was not built:\n{(result.stderr or result.stdout).strip()}")
    return result.stderr


def found(sources: Iterable[Path]) -> list[Path]:
    """The files' whole paths. Raises BuildError for one that there is not."""
    resolved = [source.resolve() for source in sources]
    for source in resolved:
        if not source.is_file():
            raise BuildError(f"no such source file: {source}")
    return resolved


def defining(defines: Defines | None) -> list[str]:
    """Flags for definitions; one of `None` has no value."""
    return [f"-D{k}" if v is None else f"-D{k}={v}" for k, v in (defines or {}).items()]


def prefix_maps(directories: set[Path]) -> list[str]:
    """Flags that make the paths in line tables relative. The last match wins: the innermost directory's."""
    return [f"-ffile-prefix-map={directory}/=" for directory in sorted(directories)]


def cache_dir(scratch: str | Path) -> Path:
    """Where the compiler keeps its objects: in the user's cache or, if that is read only, in `scratch`."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = base / "pltvm" / "zig"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(scratch)
    return cache if os.access(cache, os.W_OK) else Path(scratch)
