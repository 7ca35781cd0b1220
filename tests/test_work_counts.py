"""How much work a call is, counted exactly.

Traps, flushes, contexts loaded, batch calls of Unicorn that save and load registers, entries set, pages
zeroed, bytes copied. What is not in an expected dictionary must not be there. That is of Python; of what the
native core answers Python does nothing at all.

Times are the benchmark's business; a count that grows is a regression whatever the machine.
"""

import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine, native
from pltvm.build.enclave import build_enclave
from pltvm.engine import hart as hart_module
from pltvm.engine.memory import PAGE, Memory
from pltvm.engine.page_table import PageTable

GUEST = Path(__file__).parents[1] / "bench" / "guest"
NOTHING, ENCLAVE_ID, ACQUIRE, CALL, PRINT, MMAP_MUNMAP = range(6)
CALL_CHAIN = 21
TIMES = 50
TRAP = {"traps": 1, "saves": 1, "restores": 1}
BOTH_WAYS = {"traps": 2, "saves": 2, "restores": 2, "loads": 2}


@pytest.fixture(scope="module")
def elves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("work")
    return {
        name: build_enclave([GUEST / f"{name}.c"], folder / f"{name}.elf").read_bytes()
        for name in ("client", "server", "chain")
    }


@pytest.fixture
def count(elves: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, float]]:
    """Gives the work of one call: the difference of many and none, over many."""
    work: Counter[str] = Counter()
    put, unmap, move, load = PageTable.put, PageTable.unmap, PageTable.move, hart_module.Hart._load
    zero, read, write = Memory.zero, Memory.read, Memory.write
    save_batch, load_batch = hart_module._read, hart_module._write

    def counted_put(self: PageTable, va: int, entries: memoryview) -> None:
        work["entries"] += len(entries)
        put(self, va, entries)

    def counted_unmap(self: PageTable, va: int, pages: int) -> None:
        work["entries"] += pages
        unmap(self, va, pages)

    def counted_move(self: PageTable, va: int, pages: int, target: PageTable, goal: int) -> None:
        before = work["entries"]
        move(self, va, pages, target, goal)
        work["entries"] = before + 2 * pages

    def counted_zero(self: Memory, pa: int, size: int) -> None:
        work["zeroed pages"] += size // PAGE
        zero(self, pa, size)

    def counted_read(self: Memory, pa: int, size: int) -> bytes:
        work["copied bytes"] += size
        return read(self, pa, size)

    def counted_write(self: Memory, pa: int, data: bytes | memoryview) -> None:
        work["copied bytes"] += len(data)
        write(self, pa, data)

    def counted_save_batch(*arguments: object) -> None:
        work["saves"] += 1
        save_batch(*arguments)

    def counted_load_batch(*arguments: object) -> None:
        work["restores"] += 1
        load_batch(*arguments)

    def counted_load(self: hart_module.Hart) -> None:
        work["loads"] += 1
        load(self)

    monkeypatch.setattr(PageTable, "put", counted_put)
    monkeypatch.setattr(PageTable, "unmap", counted_unmap)
    monkeypatch.setattr(PageTable, "move", counted_move)
    monkeypatch.setattr(Memory, "zero", counted_zero)
    monkeypatch.setattr(Memory, "read", counted_read)
    monkeypatch.setattr(Memory, "write", counted_write)
    monkeypatch.setattr(hart_module.Hart, "_load", counted_load)
    monkeypatch.setattr(hart_module, "_read", counted_save_batch)
    monkeypatch.setattr(hart_module, "_write", counted_load_batch)

    def measure(
        operation: int, pages: int = 0, others: int = 0, links: int = 0, whole: bool = False
    ) -> dict[str, float]:
        machine = Machine()
        machine.create(elves["server"], name="bench", type=EnclaveType.SERVER)
        for number in range(links):
            machine.create(elves["chain"], name=f"n{number}", type=EnclaveType.SERVER)
        for _ in range(others):
            machine.create(elves["client"])
        hart = machine.hart

        def run(times: int) -> Counter[str]:
            enclave = machine.create(elves["client"], shm=struct.pack("<4Q", operation, times, pages, 0))
            work.clear()
            before, by_core = hart.refreshes, hart.core.traps
            result = enclave.run()
            assert result.retval == 0
            if not hart.has_core:
                work["saves"] -= hart.refreshes - before  # only the clock knows of these
            work["by the core"] = hart.core.traps - by_core
            return Counter(work, traps=result.stats.traps, flushes=result.stats.flushes)

        if whole:
            return +run(0)
        run(1)  # makes the page tables that later calls find
        none, many = run(1), run(TIMES + 1)
        return {name: (many[name] - none[name]) / TIMES for name in many if many[name] != none[name]}

    return measure


@pytest.mark.skipif(native.core is None, reason=native.status)
@pytest.mark.parametrize(
    ("operation", "pages", "traps"),
    [(ENCLAVE_ID, 0, 1), (ACQUIRE, 0, 1), (CALL, 0, 2), (CALL, 1, 2), (CALL, 64, 2), (PRINT, 0, 1)],
)
def test_what_the_core_does(
    count: Callable[..., dict[str, float]], operation: int, pages: int, traps: int
) -> None:
    """Saves that only the clock knows of are not counted: TIMES calls have none, or one in all."""
    work = count(operation, pages)
    assert work.pop("saves", 0) <= 1
    assert work == {"traps": traps, "by the core": traps}


@pytest.mark.python
@pytest.mark.parametrize(
    ("operation", "pages", "expected"),
    [
        (ENCLAVE_ID, 0, TRAP),
        (ACQUIRE, 0, TRAP),
        # Both ways: a trap, a context, and the flush that comes with its ASID.
        (CALL, 0, BOTH_WAYS),
        # A page is moved there and back: cleared here, set there. 64 pages come in a block of 128.
        (CALL, 1, {**BOTH_WAYS, "entries": 4}),
        (CALL, 64, {**BOTH_WAYS, "entries": 4 * 127}),
        # The host serves an ocall inside the trap: no context but the enclave's is loaded. It reads the text.
        (PRINT, 0, {**TRAP, "copied bytes": 511}),
        # Zeroed when the enclave gets them, when it gives them back, and the table in the first of them.
        (MMAP_MUNMAP, 0, {**BOTH_WAYS, "flushes": 2, "entries": 2, "zeroed pages": 5}),
    ],
)
def test_work_of_a_call(
    count: Callable[..., dict[str, float]], operation: int, pages: int, expected: dict[str, float]
) -> None:
    assert count(operation, pages) == expected


@pytest.mark.python
def test_work_does_not_grow_with_the_enclaves_that_live(count: Callable[..., dict[str, float]]) -> None:
    assert count(CALL, 1, others=50) == count(CALL, 1)


@pytest.mark.python
@pytest.mark.parametrize("depth", [1, 8, 32])
def test_a_level_of_a_chain_costs_the_same_at_every_depth(
    count: Callable[..., dict[str, float]], depth: int
) -> None:
    expected = {name: depth * BOTH_WAYS[name] + (depth - 1) * TRAP.get(name, 0) for name in BOTH_WAYS}
    assert count(CALL_CHAIN, depth, links=depth) == expected


@pytest.mark.python
@pytest.mark.parametrize("others", [0, 50])
def test_work_of_a_run_and_exit(count: Callable[..., dict[str, float]], others: int) -> None:
    assert count(NOTHING, others=others, whole=True) == {
        **TRAP,
        "loads": 1,  # on entry
        # The block of 512; kernel, mailbox and shared page; and the block's first, with the host's table.
        "zeroed pages": 516,
        "copied bytes": 32 + PAGE,  # the parameters of the run, and the shared page as the result
    }
