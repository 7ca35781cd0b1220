"""What C headers of the package declare, for Python: from the module that the build made, or parsed anew."""

from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32


def declared(module: str, header: Path) -> Any:
    """What a header declares, an FFI of cffi: of `module` if that was made of this very header."""
    try:
        built = import_module(module)
        if crc32(header.read_bytes()) == built.CHECKSUM:
            return built.ffi
    except ImportError:
        pass
    from pltvm.build.layout import parse

    return parse(header)
