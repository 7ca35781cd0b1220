"""The native core: C code for the hot paths, on the same memory as the Python code that it speeds up.

It is one shared library of the sources in the folders `native`, built by `pltvm.build.core`. It does not use
Python's C API, has no state and allocates nothing, so one file serves every Python of a platform. Python is
complete without it: then `core` is None, and `status` says why.

    PLTVM_NATIVE=0     do without it
    PLTVM_NATIVE=1     do not start without it
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError

LIBRARY: Final = Path(__file__).with_name("_core.so")
_ROOMS: Final = [
    LIBRARY.parent / room / "native" for room in ("engine", "monitor", "fuzz", "coverage", "debug", "explore")
]
_LAYOUTS: Final = [LIBRARY.parent / name for name in ("monitor/records.h", "fuzz/arena.h")]
_AGAIN: Final = "make it with: python -m pltvm.build core"
_wanted: Final = os.environ.get("PLTVM_NATIVE", "")


def _is_stale() -> bool:
    """Whether sources changed after the library was made. A wheel has none."""
    found = [path for room in _ROOMS if room.is_dir() for path in room.glob("*.[ch]")]
    if not found or not LIBRARY.exists():
        return False
    newest = max(path.stat().st_mtime_ns for path in [*found, *_LAYOUTS])
    return newest > LIBRARY.stat().st_mtime_ns


def _load() -> tuple[ctypes.PyDLL | None, str]:
    """Return the library or None, and its status in a few words; raises PltvmError."""
    if _wanted == "0":
        return None, "without the native core (PLTVM_NATIVE=0)"
    if stale:
        why = f"it is older than its sources; {_AGAIN}"
    elif not LIBRARY.exists():
        why = f"it was not built; {_AGAIN}"
    else:
        try:
            return ctypes.PyDLL(str(LIBRARY)), "with the native core"
        except OSError as error:
            why = f"it does not load: {error}; {_AGAIN}"
    if _wanted == "1":
        raise PltvmError(f"PLTVM_NATIVE=1, and no native core: {why}")
    return None, f"without the native core, which is slower: {why}"


stale: Final = _wanted != "0" and _is_stale()
# Called with the interpreter's lock held, which costs less than releasing and acquiring it.
core, status = _load()
