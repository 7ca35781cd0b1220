"""The host's audit finds what it is there for."""

from collections.abc import Callable

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.host.audit import audit

HELLO = guest.examples()["hello-world"].elf


def lose(machine: Machine) -> str:
    block = machine.kernel.blocks.take.__wrapped__(machine.kernel.blocks, 2)  # type: ignore[attr-defined]
    return f"the block {block:#x} is taken, and 0 parts of the host have it"


def twice(machine: Machine) -> str:
    page = next(iter(machine.driver.enclaves.values())).page
    machine.driver.away.add(page)
    return f"the block {page:#x} is taken, and 2 parts of the host have it"


def unknown(machine: Machine) -> str:
    machine.driver.away.add(0x1000)
    return "a part of the host has 0x1000, which is no taken block"


def free_and_private(machine: Machine) -> str:
    block, size = min(machine.kernel.blocks.free_blocks(), key=lambda one: one[1])
    machine.monitor.state.owners.claim(block + size - PAGE, 1, 3)
    return f"the free block {block:#x} of {size} bytes is private, or held by an enclave"


def free_and_held(machine: Machine) -> str:
    block, size = max(machine.kernel.blocks.free_blocks(), key=lambda one: one[1])
    machine.monitor.state.owners.hold(block + size - PAGE, 1)
    return f"the free block {block:#x} of {size} bytes is private, or held by an enclave"


def overlapping(machine: Machine) -> str:
    blocks = machine.kernel.blocks
    page = next(iter(machine.driver.enclaves.values())).page
    blocks.state.free[0][page] = None
    return f"two blocks have {page:#x}"


def gap(machine: Machine) -> str:
    blocks = machine.kernel.blocks
    block, size = next(iter(blocks.free_blocks()))
    del blocks.state.free[(size // PAGE).bit_length() - 1][block]
    return f"no block has {block:#x}"


def miscounted(machine: Machine) -> str:
    machine.kernel.blocks.state.free_pages += 1
    pages = machine.kernel.blocks.free_pages
    return f"{pages - 1} pages are free, counted {pages}"


@pytest.mark.broken
@pytest.mark.parametrize(
    "damage", [lose, twice, unknown, free_and_private, free_and_held, overlapping, gap, miscounted]
)
def test_damage_is_found(damage: Callable[[Machine], str]) -> None:
    machine = Machine(64 << 20)
    machine.create(HELLO)
    assert audit(machine.kernel) == []
    assert damage(machine) in audit(machine.kernel)
