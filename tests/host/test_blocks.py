"""The host's page allocator, and what it does when the page bitmap says something else."""

import random

import pytest

from pltvm import Machine
from pltvm.engine.memory import PAGE
from pltvm.errors import AccessFault, OutOfMemory
from pltvm.host.audit import audit


@pytest.fixture
def machine() -> Machine:
    return Machine(16 << 20)


def claim(machine: Machine, pa: int, pages: int = 1) -> None:
    assert machine.monitor.state.owners.claim(pa, pages, 5)


def test_a_block_with_a_private_page_is_not_freed(machine: Machine) -> None:
    blocks = machine.kernel.blocks
    block = blocks.take(8)
    claim(machine, block + 3 * PAGE)
    free = blocks.free_pages
    machine.memory.write(block, b"kept")
    for dirty in (None, PAGE, 0):
        with pytest.raises(AccessFault):
            blocks.give(block, dirty)
    assert (blocks.free_pages, machine.memory.read(block, 4)) == (free, b"kept")
    assert audit(machine.kernel) == []
    machine.monitor.state.owners.release(block + 3 * PAGE, 1)
    blocks.give(block)
    assert blocks.free_pages == free + 8


def take_all(machine: Machine) -> list[int]:
    """Every page there is."""
    taken = []
    while True:
        try:
            taken.append(machine.kernel.blocks.take(1))
        except OutOfMemory:
            return taken


@pytest.mark.broken
def test_a_page_that_became_private_in_the_free_list_is_not_handed_out(machine: Machine) -> None:
    blocks = machine.kernel.blocks
    first = blocks.take(4)
    blocks.give(first)
    claim(machine, first + PAGE)
    assert audit(machine.kernel) == [
        f"the free block {block:#x} of {size} bytes is private, or held by an enclave"
        for block, size in blocks.free_blocks()
        if block <= first < block + size
    ]
    taken = take_all(machine)
    assert first + PAGE not in taken
    assert first in taken
    assert len(set(taken)) == len(taken)


def test_which_block_holds_a_page(machine: Machine) -> None:
    blocks, random_ = machine.kernel.blocks, random.Random(1)
    taken = [blocks.take(random_.randrange(1, 70)) for _ in range(60)]
    for block in taken[::2]:
        blocks.give(block)
    held = {page: block for block, size in blocks.taken_blocks() for page in range(block, block + size, PAGE)}
    for page in range(machine.memory.base, machine.memory.end, PAGE):
        assert blocks.holding(page) == held.get(page)
        assert blocks.holding(page + 8) == held.get(page)


def test_when_memory_is_short_others_are_asked_until_it_is_enough(machine: Machine) -> None:
    blocks = machine.kernel.blocks
    kept = []
    while blocks.free_pages >= 16:
        kept.append(blocks.take(16))
    while blocks.free_pages:
        kept.append(blocks.take(1))
    kept.sort()
    asked = []

    def shrink() -> bool:
        asked.append(len(kept))
        blocks.give(kept.pop(0))
        return True

    blocks.shrink = shrink
    assert blocks.take(16)
    assert asked
    asked.clear()
    with pytest.raises(OutOfMemory, match="--ram"):
        blocks.take(1 << 20)
    assert not asked  # nothing could make room for that


def test_nobody_has_anything(machine: Machine) -> None:
    with pytest.raises(OutOfMemory, match="no free block of 8192 KiB"):
        machine.kernel.blocks.take(8 << 8), machine.kernel.blocks.take(8 << 8)
