"""The door between the host kernel and RAM: what PMP and page bitmap refuse is an access fault."""

from collections.abc import Callable

import pytest

from pltvm import Machine, sdk
from pltvm.engine.memory import PAGE
from pltvm.errors import AccessFault
from pltvm.monitor.host_memory import HostMemory

HELLO = sdk.examples()["hello-world"].elf
Access = Callable[[HostMemory, int], object]
READS: dict[str, Access] = {
    "read": lambda memory, pa: memory.read(pa, 8),
    "load": lambda memory, pa: memory.load(pa),
}
WRITES: dict[str, Access] = {
    "write": lambda memory, pa: memory.write(pa, b"12345678"),
    "store": lambda memory, pa: memory.store(pa, 1),
    "zero": lambda memory, pa: memory.zero(pa, PAGE),
}


@pytest.fixture
def machine() -> Machine:
    machine = Machine(64 << 20)
    machine.create(HELLO)
    return machine


def places(machine: Machine) -> dict[str, int]:
    (enclave,) = machine.monitor.state.enclaves.values()
    last = enclave.block + (enclave.block_pages - 1) * PAGE
    kernel = machine.kernel
    return {
        "monitor": machine.memory.base,
        "bitmap": kernel.bitmap,
        "enclave": enclave.block,
        "its end": last,
        "before RAM": machine.memory.base - PAGE,
        "behind RAM": machine.memory.end,
        "nowhere": 1 << 60,
        "null": 0,
    }


@pytest.mark.parametrize("access", [*READS, *WRITES])
def test_what_is_not_the_hosts_is_refused_and_stays(machine: Machine, access: str) -> None:
    memory = machine.monitor.host_memory
    for name, pa in places(machine).items():
        before = machine.memory.read(pa, PAGE) if machine.memory.contains(pa, PAGE) else b""
        with pytest.raises(
            AccessFault, match=r"^access fault in the host kernel: it may not (read|write) 0x"
        ):
            {**READS, **WRITES}[access](memory, pa)
        assert not memory.is_public(pa, PAGE), name
        assert before == b"" or machine.memory.read(pa, PAGE) == before


@pytest.mark.parametrize("access", [*READS, *WRITES])
def test_page_tables_can_be_read_only(machine: Machine, access: str) -> None:
    memory, table = machine.monitor.host_memory, machine.kernel.pt_area
    if access in READS:
        READS[access](memory, table)
    else:
        with pytest.raises(AccessFault):
            WRITES[access](memory, table)
    with pytest.raises(AccessFault):
        memory.read(table + machine.kernel.blocks.size(table) - 8, 16)


@pytest.mark.parametrize("access", [*READS, *WRITES])
def test_the_hosts_own_memory_works(machine: Machine, access: str) -> None:
    page = machine.kernel.blocks.take(1)
    {**READS, **WRITES}[access](machine.monitor.host_memory, page)


def test_one_private_page_in_a_range_is_enough(machine: Machine) -> None:
    memory, kernel = machine.monitor.host_memory, machine.kernel
    block = kernel.blocks.take(8)
    machine.monitor.state.owners.claim(block + 5 * PAGE, 1, 77)
    assert memory.is_public(block, 5 * PAGE)
    for at, size in [(0, 8 * PAGE), (4 * PAGE + 1, PAGE), (5 * PAGE, 1), (6 * PAGE - 1, 2)]:
        assert not memory.is_public(block + at, size)
        with pytest.raises(AccessFault, match=f"{max(block + at, block + 5 * PAGE):#x}"):
            memory.write(block + at, b"x" * size)
    assert machine.memory.read(block, 8 * PAGE) == bytes(8 * PAGE)
    machine.monitor.state.owners.release(block + 5 * PAGE, 1)
    memory.write(block, b"x" * 8 * PAGE)


def test_views_are_for_reading(machine: Machine) -> None:
    memory = machine.monitor.host_memory
    for view in (memory.bytes, memory.words, memory.halves):
        with pytest.raises(TypeError):
            view[0] = 1


def test_the_host_has_no_other_memory(machine: Machine) -> None:
    door = machine.monitor.host_memory
    for user in (machine.kernel, machine.driver, machine.kernel.blocks):
        assert user.memory is door
