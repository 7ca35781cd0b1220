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

from pltvm.build import guest
from pltvm.errors import BuildError

# For older C, which the original SDK's programs are written in: what compilers then only warned about.
OLD_C: Final = (
    *("-Wno-error=implicit-function-declaration", "-Wno-error=implicit-int"),
    *("-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types"),
)
COMPILER: Final = "ziglang"
Defines = Mapping[str, str | int | None]


def is_installed() -> bool:
    """Whether there is the package."""
    return importlib.util.find_spec("ziglang") is not None


def library_dir() -> Path:
    """Where the package keeps headers, and sources of libraries."""
    import ziglang

    return Path(ziglang.__file__).parent / "lib"


def include_paths(cxx: bool = False) -> list[str]:
    """Where an enclave's headers are: the SDK's, and those of musl and libc++ for what the SDK has none of.

    libc++ wants all of a C library, so in C++ musl's headers come first; the functions are the same.
    """
    sdk, libc = guest.guest_dir() / "include", library_dir() / "libc" / "include"
    musl = [libc / "riscv64-linux-musl", libc / "generic-musl"]
    ways = [("-isystem", one) for one in (*musl, sdk)]
    if not cxx:
        ways = [("-isystem", sdk), *(("-idirafter", one) for one in musl)]
    first = [f"-I{library_dir() / 'libcxx' / 'include'}"] if cxx else []
    return [*first, *(word for way, folder in ways for word in (way, str(folder)))]


def command(*arguments: str) -> list[str]:
    """The compiler with these arguments."""
    return [sys.executable, "-m", "ziglang", *arguments]


def environment(cache: Path, objects: Path | None = None) -> dict[str, str]:
    """What the compiler finds in its environment: its caches.

    For an object from the cache it does not say again what it warned of. With `objects`, an empty folder, it
    looks for objects there and makes all of them anew.
    """
    places = {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(objects or cache)}
    return os.environ | {"LC_ALL": "C"} | places


def run(
    command: Sequence[str],
    made: Path,
    output: Path,
    cache: Path,
    *,
    here: bool = False,
    objects: Path | None = None,
) -> str:
    """Run a compiler, which makes a file; returns its warnings, or raises BuildError with its errors.

    `here`: in the current folder, which paths in the command are relative to; `objects`: see `environment`.
    """
    result = subprocess.run(
        command, cwd=None if here else cache, env=environment(cache, objects),
        capture_output=True, text=True, errors="replace",
    )  # fmt: skip
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
    """Flags that make the paths in line tables relative. The last match wins: the innermost directory's.

    Files that come with the compiler, as headers of C++, are in a folder `COMPILER` then.
    """
    own = dict.fromkeys(directories, "") | {library_dir(): f"{COMPILER}/"}
    return [f"-ffile-prefix-map={directory}/={instead}" for directory, instead in sorted(own.items())]


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
