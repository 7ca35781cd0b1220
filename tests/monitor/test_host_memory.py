"""The door between the host kernel and RAM: what PMP and page bitmap refuse is an access fault."""

from collections.abc import Callable
from struct import Struct

import pytest

from pltvm import Machine
from pltvm.build import guest
from pltvm.engine.memory import PAGE, Memory
from pltvm.errors import AccessFault
from pltvm.monitor.host_memory import HostMemory
from pltvm.monitor.pages import MONITOR

PAIR = Struct("<2Q")
HELLO = guest.examples()["hello-world"].elf
Access = Callable[[HostMemory, int], object]
READS: dict[str, Access] = {
    "read": lambda memory, pa: memory.read(pa, 8),
    "load": lambda memory, pa: memory.load(pa),
    "unpack": lambda memory, pa: memory.unpack(PAIR, pa),
}
WRITES: dict[str, Access] = {
    "write": lambda memory, pa: memory.write(pa, b"12345678"),
    "store": lambda memory, pa: memory.store(pa, 1),
    "zero": lambda memory, pa: memory.zero(pa, PAGE),
    "pack": lambda memory, pa: memory.pack(pa, PAIR, 1, 2),
    "copy": lambda memory, pa: memory.copy(memory.end - PAGE, pa, 8),
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
        assert not memory.clear(pa, PAGE, PAGE), name
        with pytest.raises(AccessFault):
            memory.copy(pa, memory.end - PAGE, 8)
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
    with pytest.raises(AccessFault):
        memory.unpack(PAIR, table + machine.kernel.blocks.size(table) - 8)
    assert not memory.clear(table, PAGE, PAGE)


@pytest.mark.parametrize("access", [*READS, *WRITES])
def test_the_hosts_own_memory_works(machine: Machine, access: str) -> None:
    page = machine.kernel.blocks.take(1)
    {**READS, **WRITES}[access](machine.monitor.host_memory, page)


def test_what_is_written_is_there(machine: Machine) -> None:
    memory, ram, page = machine.monitor.host_memory, machine.memory, machine.kernel.blocks.take(2)
    memory.pack(page + 8, PAIR, 5, 2**64 - 1)
    assert memory.unpack(PAIR, page + 8) == (5, 2**64 - 1)
    assert ram.read(page, 32) == bytes(8) + PAIR.pack(5, 2**64 - 1) + bytes(8)
    memory.copy(page + 8, page + PAGE - 3, 16)
    assert ram.read(page + PAGE - 3, 17) == PAIR.pack(5, 2**64 - 1) + bytes(1)
    assert memory.clear(page, 2 * PAGE, PAGE)
    assert ram.read(page, 2 * PAGE) == bytes(PAGE) + PAIR.pack(5, 2**64 - 1)[3:] + bytes(PAGE - 13)
    memory.executable(page, 2)
    assert memory.is_executable(page + PAGE)
    assert ram.is_executable(page)
    memory.not_executable(page)
    assert not memory.is_executable(page)
    assert memory.is_executable(page + PAGE)
    memory.not_executable(page, 2)
    assert not ram.is_executable(page + PAGE)


def test_before_there_is_a_bitmap_all_but_the_monitor_is_the_hosts() -> None:
    ram = Memory(0x8000_0000, 16 * PAGE)
    memory = HostMemory(ram, 4 * PAGE)
    assert not memory.is_public(ram.base + 4 * PAGE - 1, 2)
    assert memory.is_public(ram.base + 4 * PAGE, 12 * PAGE)
    assert memory.is_public(ram.end, 0)
    assert not memory.is_public(ram.end - 1, 2)
    memory.write(ram.end - 8, b"12345678")
    assert memory.read(ram.end - 8, 8) == b"12345678"
    for access in (*READS.values(), *WRITES.values()):
        with pytest.raises(AccessFault):
            access(memory, ram.base + 3 * PAGE)


@pytest.mark.parametrize("owner", [MONITOR, 77])
def test_one_private_page_in_a_range_is_enough(machine: Machine, owner: int) -> None:
    memory, kernel = machine.monitor.host_memory, machine.kernel
    block = kernel.blocks.take(8)
    machine.monitor.state.owners.claim(block + 5 * PAGE, 1, owner)
    assert memory.is_public(block, 5 * PAGE)
    assert memory.is_public(memory.end - PAGE, PAGE)
    assert not memory.is_public(memory.end - PAGE, PAGE + 1)
    assert not memory.is_public(block, -1)
    for at, size in [
        (0, 8 * PAGE),
        (4 * PAGE, 3 * PAGE),
        (4 * PAGE + 1, PAGE),
        (5 * PAGE, 1),
        (6 * PAGE - 1, 2),
    ]:
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
    machine.memory.write(machine.memory.end - 8, b"12345678")
    assert bytes(memory.bytes[-8:]) == b"12345678"
    assert memory.words[-1] == machine.memory.load(machine.memory.end - 8)
    assert memory.halves[-1] == memory.words[-1] >> 32


def test_the_host_has_no_other_memory(machine: Machine) -> None:
    door = machine.monitor.host_memory
    for user in (machine.kernel, machine.driver, machine.kernel.blocks):
        assert user.memory is door
