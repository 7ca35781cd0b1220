"""The trace of a run: every trap of it, in order, with all registers of who trapped and a0 of who runs on.

Two runs with the same trace, output and RAM have done the same. Patches the class, and does without the
native core, whose traps nobody sees: make the machine inside.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pltvm import native
from pltvm.engine.context import A0
from pltvm.engine.hart import Hart
from pltvm.machine import Machine
from pltvm.monitor.digest import Digest, digest

_TRAP = struct.Struct("<qQQ")  # cause, clock, a0 of who runs on


class Trace:
    """How many traps there were, and a hash of them."""

    def __init__(self) -> None:
        self.traps = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, registers: memoryview, cause: int, clock: int, result: int) -> None:
        self.traps += 1
        self._hash.update(registers)
        self._hash.update(_TRAP.pack(cause, clock, result))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace all harts that are made inside."""
    trace = Trace()
    digest(Digest.PENGLAI, [bytes(4096)])  # it has a hart of its own, made when first needed: none of theirs
    original = Hart._on_trap

    def on_trap(hart: Hart, told: int, cause: int) -> bool:
        context = hart.current
        loads = original(hart, told, cause)
        trace.add(context.regs, cause, hart.clock, hart.current.regs[A0])
        return loads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hart, "_on_trap", on_trap)
        patch.setattr(native, "core", None)
        yield trace


def ram_of(machine: Machine) -> int:
    """A checksum of all of RAM."""
    return zlib.crc32(machine.memory.bytes)
