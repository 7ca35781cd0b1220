"""What an enclave's block holds once its image is loaded: pages, permissions, tables, and nothing more."""

import pytest

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable
from pltvm.errors import OutOfMemory
from pltvm.host.elf import load_image
from pltvm.host.loading import load
from pltvm.monitor import abi
from pltvm.monitor.host_memory import HostMemory
from tests.host import elf_samples as s
from tests.host.elf_samples import CODE, Elf, Section, Segment

BASE = 0x8000_0000
BLOCK = BASE + (1 << 20)
PAGES = 2048
EDGE = 0x20_0000  # where one last-level table ends
DATA = bytes(range(256)) * 40  # two and a half pages
IMAGE = load_image(
    bytes(
        Elf(
            [Segment(0x1000, CODE), Segment(EDGE - PAGE, DATA, s.RW), Segment(EDGE + 8 * PAGE, DATA, s.R)],
            [Section(".bss", addr=0x80_0000, size=600 * PAGE)],
        )
    )
)


@pytest.mark.parametrize("stack", [0, 1, 3 * PAGE, abi.DEFAULT_STACK])
def test_pages_permissions_and_tables(stack: int) -> None:
    ram = Memory(BASE, 16 << 20)
    free = load(HostMemory(ram, PAGE), IMAGE, BLOCK, PAGES, stack)
    table = PageTable(ram, BLOCK + PAGE, lambda: 0)
    stack_pages = -(-stack // PAGE)
    expected = {abi.STACK_TOP - PAGE * (1 + n): (sv39.RW, bytes(PAGE)) for n in range(stack_pages)}
    for run in IMAGE.runs():
        content = run.data.ljust(run.npages * PAGE, b"\0")
        for n in range(run.npages):
            flags = sv39.RWX if run.writable else sv39.RX
            expected[run.vaddr + n * PAGE] = flags, content[n * PAGE : (n + 1) * PAGE]
    leaves = list(table.leaves())
    found = {leaf.va: (leaf.pte & 0x3FF, ram.read(sv39.pte_address(leaf.pte), PAGE)) for leaf in leaves}
    assert found == expected
    tables = list(table.tables())
    used = {*tables[1:], *(sv39.pte_address(leaf.pte) for leaf in leaves)}
    assert used == set(range(BLOCK + abi.RESERVED_PAGES * PAGE, free, PAGE)), "each page once, none wasted"


def test_a_block_that_is_too_small() -> None:
    ram = Memory(BASE, 16 << 20)
    memory = HostMemory(ram, PAGE)
    needed = (load(memory, IMAGE, BLOCK, PAGES, PAGE) - BLOCK) // PAGE
    ram.zero(BLOCK, PAGES * PAGE)
    assert load(memory, IMAGE, BLOCK, needed, PAGE) == BLOCK + needed * PAGE
    ram.zero(BLOCK, PAGES * PAGE)
    with pytest.raises(OutOfMemory, match="do not fit"):
        load(memory, IMAGE, BLOCK, needed - 1, PAGE)
    assert ram.read(BLOCK + (needed - 1) * PAGE, PAGE) == bytes(PAGE)
