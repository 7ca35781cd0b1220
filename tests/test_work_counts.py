"""How much work a call is, counted exactly: traps, flushes, contexts loaded, entries set, pages zeroed.

Times are the benchmark's business; a count that grows is a regression whatever the machine.
"""

import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine, sdk
from pltvm.engine import hart as hart_module
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.sv39 import PageTable

GUEST = Path(__file__).parents[1] / "bench" / "guest"
ENCLAVE_ID, ACQUIRE, CALL, PRINT, MMAP_MUNMAP = range(1, 6)
TIMES = 50


@pytest.fixture(scope="module")
def elves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("work")
    return {
        name: sdk.build([GUEST / f"{name}.c"], folder / f"{name}.elf").read_bytes()
        for name in ("client", "server")
    }


@pytest.fixture
def count(elves: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, float]]:
    """Gives the work of one call: the difference of many and none, over many."""
    work: Counter[str] = Counter()
    put, unmap, zero, load = PageTable.put, PageTable.unmap, Memory.zero, hart_module.Hart._load

    def counted_put(self: PageTable, va: int, entries: memoryview) -> None:
        work["entries"] += len(entries)
        put(self, va, entries)

    def counted_unmap(self: PageTable, va: int, pages: int) -> None:
        work["entries"] += pages
        unmap(self, va, pages)

    def counted_zero(self: Memory, pa: int, size: int) -> None:
        work["zeroed pages"] += size // PAGE
        zero(self, pa, size)

    def counted_load(self: hart_module.Hart) -> None:
        work["loads"] += 1
        load(self)

    monkeypatch.setattr(PageTable, "put", counted_put)
    monkeypatch.setattr(PageTable, "unmap", counted_unmap)
    monkeypatch.setattr(Memory, "zero", counted_zero)
    monkeypatch.setattr(hart_module.Hart, "_load", counted_load)

    def measure(operation: int, pages: int = 0, others: int = 0) -> dict[str, float]:
        machine = Machine()
        machine.create(elves["server"], name="bench", type=EnclaveType.SERVER)
        for _ in range(others):
            machine.create(elves["client"])

        def run(times: int) -> Counter[str]:
            enclave = machine.create(elves["client"], shm=struct.pack("<4Q", operation, times, pages, 0))
            work.clear()
            result = enclave.run()
            assert result.retval == 0
            return Counter(work, traps=result.stats.traps, flushes=result.stats.flushes)

        run(1)  # makes the page tables that later calls find
        none, many = run(1), run(TIMES + 1)
        return {name: (many[name] - none[name]) / TIMES for name in many if many[name] != none[name]}

    return measure


@pytest.mark.parametrize(
    ("operation", "pages", "expected"),
    [
        (ENCLAVE_ID, 0, {"traps": 1}),
        (ACQUIRE, 0, {"traps": 1}),
        # Both ways: a trap, a context, and the flush that comes with its ASID.
        (CALL, 0, {"traps": 2, "loads": 2}),
        # A page is moved there and back: cleared here, set there. 64 pages come in a block of 128.
        (CALL, 1, {"traps": 2, "loads": 2, "entries": 4}),
        (CALL, 64, {"traps": 2, "loads": 2, "entries": 4 * 127}),
        # The host serves an ocall inside the trap: no context but the enclave's is loaded.
        (PRINT, 0, {"traps": 1}),
        # Zeroed when the enclave gets them, when it gives them back, and the table in the first of them.
        (MMAP_MUNMAP, 0, {"traps": 2, "loads": 2, "flushes": 2, "entries": 2, "zeroed pages": 5}),
    ],
)
def test_work_of_a_call(
    count: Callable[..., dict[str, float]], operation: int, pages: int, expected: dict[str, float]
) -> None:
    assert count(operation, pages) == expected


def test_work_does_not_grow_with_the_enclaves_that_live(count: Callable[..., dict[str, float]]) -> None:
    assert count(CALL, 1, others=50) == count(CALL, 1)
