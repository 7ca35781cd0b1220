"""drcov files: blocks for disassemblers, in version 2 as written by DynamoRIO and read by Lighthouse."""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from pltvm.coverage.module import Module
from pltvm.host.text import one_line

_BLOCK: Final = Struct("<IHH")  # start from the module's base, bytes, module
_LONGEST: Final = 0xFFFF  # bytes of one block
_MOST_MODULES: Final = 1 << 16


def drcov(modules: Sequence[Module]) -> bytes:
    """Return the bytes of a drcov file: a table of the modules, and the blocks that ran.

    A block longer than 65,535 bytes is written as several. Raises ValueError for more than 65,536 modules, or
    a module of 4 GiB, which the format cannot represent.
    """
    if len(modules) > _MOST_MODULES or any(module.end - module.start > 1 << 32 for module in modules):
        raise ValueError("drcov has room for 65,536 modules of at most 4 GiB")
    head = ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov", f"Module Table: version 2, count {len(modules)}"]
    head.append("Columns: id, base, end, entry, path")
    for number, module in enumerate(modules):
        path = one_line(module.name, "_").replace(", ", "_")  # a comma would start another column
        head.append(f"{number:3}, {module.start:#018x}, {module.end:#018x}, {module.entry:#018x}, {path}")
    blocks = [
        _BLOCK.pack(start + at - module.start, min(size - at, _LONGEST), number)
        for number, module in enumerate(modules)
        for start, size, _ in module.inside()
        for at in range(0, size, _LONGEST)
    ]
    head.append(f"BB Table: {len(blocks)} bbs")
    return "".join(f"{line}\n" for line in head).encode() + b"".join(blocks)
