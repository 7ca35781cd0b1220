"""Runs the compiler of the `ziglang` package: `pip install 'pltvm[build]'` installs it.

The same sources give the same bytes, independent of the directories of sources, SDK and caller.
"""

import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pltvm.build import guest
from pltvm.errors import BuildError

# For the older C of the original SDK's programs: constructs that older compilers only warned about.
OLD_C: Final = (
    *("-Wno-error=implicit-function-declaration", "-Wno-error=implicit-int"),
    *("-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types"),
)
COMPILER: Final = "ziglang"
Defines = Mapping[str, str | int | None]


def is_installed() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("ziglang") is not None


def version() -> str:
    """Return the version of the package; "" if it does not say."""
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        return ""


def library_dir() -> Path:
    """Return the package's folder of headers and library sources."""
    import ziglang

    return Path(ziglang.__file__).parent / "lib"


def include_paths(cxx: bool = False) -> list[str]:
    """Return the header folders for enclaves: the SDK's, then those of musl and libc++ for other headers.

    libc++ needs a complete C library, so in C++ musl's headers come first; the functions are the same. The
    SDK's folder `cxx` is before both: it leads to its threads.h, and warns of what there is not.
    """
    sdk, libc = guest.guest_dir() / "include", library_dir() / "libc" / "include"
    musl = [libc / "riscv64-linux-musl", libc / "generic-musl"]
    ways = [("-isystem", one) for one in (*musl, sdk)]
    if not cxx:
        ways = [("-isystem", sdk), *(("-idirafter", one) for one in musl)]
    first = (sdk / "cxx", library_dir() / "libcxx" / "include") if cxx else ()
    return [
        *(f"-I{folder}" for folder in first),
        *(word for way, folder in ways for word in (way, str(folder))),
    ]


def command(*arguments: str) -> list[str]:
    """Return the command of the compiler with these arguments."""
    return [*_program(), *arguments]


@functools.cache
def _program() -> tuple[str, ...]:
    # `python -m ziglang` only executes the program in its folder, but takes longer than a short call of that.
    program = library_dir().parent / "zig" if is_installed() else None
    found = program is not None and os.access(program, os.X_OK)
    return (str(program),) if found else (sys.executable, "-m", "ziglang")


def environment(cache: Path, objects: Path | None = None) -> dict[str, str]:
    """Return the compiler's environment, with its caches.

    The compiler does not repeat warnings for an object from its cache. With `objects`, an empty folder, it
    uses that as the cache, and makes all objects again.
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
    """Run a compiler; return its warnings, or raise BuildError with its errors.

    `here`: in the current folder, for relative paths in the command; `objects`: see `environment`.
    """
    result = subprocess.run(
        command, cwd=None if here else cache, env=environment(cache, objects),
        capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    if result.returncode != 0 or not made.is_file():
        raise BuildError(f"{output.name} was not built:\n{(result.stderr or result.stdout).strip()}")
    return result.stderr


def found(sources: Iterable[Path]) -> list[Path]:
    """Return the files' absolute paths. Raises BuildError for a missing one."""
    resolved = [source.resolve() for source in sources]
    for source in resolved:
        if not source.is_file():
            raise BuildError(f"no such source file: {source}")
    return resolved


def defining(defines: Defines | None) -> list[str]:
    """Return flags for definitions; `None` is a definition without a value."""
    return [f"-D{k}" if v is None else f"-D{k}={v}" for k, v in (defines or {}).items()]


def prefix_maps(directories: set[Path]) -> list[str]:
    """Return flags that make the paths in line tables relative. The last match wins, so inner folders come
    last.

    Files that come with the compiler, as headers of C++, are in a folder `COMPILER` then.
    """
    own = dict.fromkeys(directories, "")
    if is_installed():  # a cross compiler gets these flags too, and does without it
        own[library_dir()] = f"{COMPILER}/"
    return [f"-ffile-prefix-map={directory}/={instead}" for directory, instead in sorted(own.items())]


def cache_dir(scratch: str | Path) -> Path:
    """Return the compiler's cache folder: in the user's cache or, if that is read-only, in `scratch`."""
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
