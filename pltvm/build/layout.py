"""Layouts of C structs: parses headers with cffi, which takes tens of milliseconds.

So the package's build makes a module of each header in HEADERS, which `headers` uses if possible.

The package's own build calls this too, when no other dependency is installed yet: so it needs only the
standard library and cffi.
"""

import os
import tempfile
from pathlib import Path
from typing import Final
from zlib import crc32

from cffi import FFI

PACKAGE: Final = Path(__file__).resolve().parents[1]
HEADERS: Final = {
    "monitor/_records.py": "monitor/records.h",
    "host/linux/_structs.py": "host/linux/structs.h",
}  # modules of the package, and their headers


def parse(header: Path) -> FFI:
    """Return a header's declarations."""
    declared = FFI()
    lines = header.read_text("utf-8").splitlines()
    declared.cdef("\n".join(line for line in lines if not line.startswith("#")))
    return declared


def build_all(into: Path, package: Path = PACKAGE) -> dict[str, Path]:
    """Make all modules beneath the folder `into`; return the files by their path in the package."""
    return {name: build(into / name, package / header) for name, header in HEADERS.items()}


def build(output: Path, header: Path) -> Path:
    """Write the module, atomically: `ffi`, and the `CHECKSUM` of its header."""
    declared = parse(header)
    declared.set_source("pltvm." + output.stem, None, compiler_verbose=0)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".layout-") as scratch:
        made = Path(scratch) / output.name
        declared.emit_python_code(str(made))
        with made.open("a", encoding="utf-8") as file:
            file.write(f"CHECKSUM = {crc32(header.read_bytes())}\n")
        os.replace(made, output)
    return output
