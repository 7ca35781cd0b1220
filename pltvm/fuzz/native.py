"""Python functions that numba compiles: the one place that knows how.

Machine code is kept in the user's cache folder, for each state of the native sources apart: numba itself
looks only at the file of a function, not at what that calls. `NUMBA_CACHE_DIR` overrides the place. Where it
cannot be written, functions are compiled in every process.

Integers in native code: an int64 and a uint64 together give a float64. So counts and offsets are int64
everywhere, and values of the guest uint64 everywhere; `signed` and `np.uint64` cross between them.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from pltvm.fuzz.paths import errors_about

Bytes: TypeAlias = npt.NDArray[np.uint8]
Offsets: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]

signed: Final = cast(Callable[[Any], int], numba.int64)  # a number as int64

_NATIVE_FILES: Final = ("native.py", "havoc.py", "mutate.py", "turn.py")


def _cache_folder() -> str:
    here = Path(__file__).parent
    state = hashlib.sha256(b"".join((here / name).read_bytes() for name in _NATIVE_FILES)).hexdigest()
    return str(user_cache_path("pltvm") / "native" / state[:16])


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = _cache_folder()


def is_compiled() -> bool:
    """Whether machine code was kept by an earlier process; else the first use takes a while."""
    return Path(numba.config.CACHE_DIR).is_dir()


@contextmanager
def lent(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile use a copy of the machine code, in `folder`.

    numba writes wherever it reads. Behind a wall (see `pltvm.confine`) that must not be the user's cache:
    later processes execute what is in it. Raises PltvmError.
    """
    with errors_about(folder):
        folder.mkdir(parents=True, exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=folder, prefix=".native-"))
        shutil.copytree(numba.config.CACHE_DIR, copy, dirs_exist_ok=True)
    before = os.environ.get("NUMBA_CACHE_DIR")
    os.environ["NUMBA_CACHE_DIR"] = str(copy)
    try:
        yield
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        if before is None:
            del os.environ["NUMBA_CACHE_DIR"]
        else:
            os.environ["NUMBA_CACHE_DIR"] = before


F = TypeVar("F", bound=Callable[..., Any])


def _kept(compile_with: Callable[[bool], Any]) -> Any:
    """Compiled so that machine code is kept for later processes, where there is a folder for it."""
    try:
        return compile_with(True)
    except RuntimeError:
        return compile_with(False)


def native(function: F) -> F:
    """Compiles a function at its first call; no bounds are checked, and 1 / 0 does not raise."""

    def compile_with(cache: bool) -> Any:
        return numba.njit(cache=cache, nogil=False, error_model="numpy")(function)

    return cast(F, _kept(compile_with))


def native_callback(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compiles a function that C code can call, at its attribute `address`."""

    def decorate(function: Callable[..., Any]) -> Any:
        return _kept(lambda cache: numba.cfunc(signature, cache=cache)(function))

    return decorate
