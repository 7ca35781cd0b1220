"""Makes `monitor/_records.py`: what cffi's parser finds in `monitor/records.h`, which takes it 25 ms.

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
_NAME: Final = "pltvm.monitor._records"


def parse(header: Path) -> FFI:
    """What a header declares."""
    declared = FFI()
    lines = header.read_text("utf-8").splitlines()
    declared.cdef("\n".join(line for line in lines if not line.startswith("#")))
    return declared


def build(output: Path, package: Path = PACKAGE) -> Path:
    """Write the module, whole or not at all: `ffi`, and the `CHECKSUM` of the header that it was made of."""
    header = package / "monitor" / "records.h"
    declared = parse(header)
    declared.set_source(_NAME, None, compiler_verbose=0)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".records-") as scratch:
        made = Path(scratch) / output.name
        declared.emit_python_code(str(made))
        with made.open("a", encoding="utf-8") as file:
            file.write(f"CHECKSUM = {crc32(header.read_bytes())}\n")
        os.replace(made, output)
    return output
