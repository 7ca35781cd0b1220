"""Layouts of C structs: what cffi's parser finds in a header, which takes it tens of milliseconds.

So the package's build makes a module of each header of HEADERS, which `headers` takes if it can.

The package's own build calls this too, where nothing of the package is installed yet: so it needs the
standard library and cffi alone.
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
}  # of the package: modules, and what they are made of


def parse(header: Path) -> FFI:
    """What a header declares."""
    declared = FFI()
    lines = header.read_text("utf-8").splitlines()
    declared.cdef("\n".join(line for line in lines if not line.startswith("#")))
    return declared


def build_all(into: Path, package: Path = PACKAGE) -> dict[str, Path]:
    """Make all modules beneath the folder `into`; gives the files by their path in the package."""
    return {name: build(into / name, package / header) for name, header in HEADERS.items()}


def build(output: Path, header: Path) -> Path:
    """Write the module, whole or not at all: `ffi`, and the `CHECKSUM` of the header that it was made of."""
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
