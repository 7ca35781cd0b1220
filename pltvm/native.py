"""The native core: what is hot, in C, on the same memory as the Python that it speeds up.

One shared library of the sources in `engine/native`, `monitor/native` and `fuzz/native`, built by
`pltvm.build.core`. It has no Python C API, keeps no state of its own and allocates nothing, so one file
serves every Python of a platform. Python stays complete without: `core` is None then, and `status` says why.

    PLTVM_NATIVE=0     do without it
    PLTVM_NATIVE=1     do not start without it
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from pltvm.errors import PltvmError

LIBRARY: Final = Path(__file__).with_name("_core.dylib" if sys.platform == "darwin" else "_core.so")
_AGAIN: Final = "make it with: python -m pltvm.build core"


def _load() -> tuple[ctypes.PyDLL | None, str]:
    """The library, or None, and how it stands with it in a few words; raises PltvmError."""
    wanted = os.environ.get("PLTVM_NATIVE", "")
    if wanted == "0":
        return None, "without the native core (PLTVM_NATIVE=0)"
    why = _missing()
    if not why:
        try:
            return ctypes.PyDLL(str(LIBRARY)), "with the native core"
        except OSError as error:
            why = f"it does not load: {error}"
    if wanted == "1":
        raise PltvmError(f"PLTVM_NATIVE=1, and no native core: {why}")
    return None, f"without the native core, which is slower: {why}"


def _missing() -> str:
    """Why there is no library that can be loaded; empty if there is one."""
    try:
        made = LIBRARY.stat().st_mtime_ns
    except OSError:
        return f"it was not built; {_AGAIN}"
    newest = max((source.stat().st_mtime_ns for source in sources()), default=0)
    return f"it is older than its sources; {_AGAIN}" if newest > made else ""


def sources() -> list[Path]:
    """The C files and headers that it is built from, sorted."""
    here = LIBRARY.parent
    folders = [here / room / "native" for room in ("engine", "monitor", "fuzz")]
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    shared = [here / "monitor" / "records.h", here / "fuzz" / "arena.h"]  # with Python, which reads them
    return sorted([*(path for path in found if path.suffix in (".c", ".h")), *shared])


# Called with the interpreter's lock held, which costs less than giving it up and taking it again.
core, status = _load()
