"""All of RAM, as its pages that have something in them: most of it was never touched."""

import os
import re
from mmap import PAGESIZE
from typing import Final

from pltvm.engine.memory import PAGE, Memory
from pltvm.machine import MachineSnapshot

Ram = dict[int, bytes]  # pages by their offsets; those that are missing are zero

NOTHING: Final = bytes(PAGE)
# The highest byte of an entry of a pagemap: bits 63 and 62 say that the page is in memory, or swapped out.
_IN_USE: Final = re.compile(rb"[\x40-\xff]+")


def touched(memory: Memory) -> list[tuple[int, int]]:
    """The ranges of RAM, in bytes, that were ever touched, zero or not. To read the others would make most of
    the work."""
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        first, count = memory.host_address // PAGESIZE, memory.size // PAGESIZE
        entries = os.pread(pagemap.fileno(), count * 8, first * 8)
    found = _IN_USE.finditer(entries[7::8])
    return [(one.start() * PAGESIZE, one.end() * PAGESIZE) for one in found]


def ram_of(memory: Memory) -> Ram:
    """RAM as it is now."""
    offsets = (at for start, end in touched(memory) for at in range(start, end, PAGE))
    pages = ((at, bytes(memory.bytes[at : at + PAGE])) for at in offsets)
    return {at: page for at, page in pages if page != NOTHING}


def ram_in(content: bytes) -> Ram:
    """RAM of which this is a copy."""
    pages = ((at, content[at : at + PAGE]) for at in range(0, len(content), PAGE))
    return {at: page for at, page in pages if page != NOTHING}


def saved_ram(saved: MachineSnapshot) -> Ram:
    """RAM as a snapshot has it."""
    return {number * PAGE: page for number, page in saved.engine.pages.items() if page != NOTHING}


def changed_words(before: Ram, after: Ram) -> list[tuple[int, int, int]]:
    """Offset, and the u64 before and after, wherever RAM is not the same."""
    found = []
    for start in sorted(before.keys() | after.keys()):
        old, new = before.get(start, NOTHING), after.get(start, NOTHING)
        if old != new:
            words = zip(memoryview(old).cast("Q"), memoryview(new).cast("Q"), strict=True)
            found += [(start + 8 * at, one, two) for at, (one, two) in enumerate(words) if one != two]
    return found
