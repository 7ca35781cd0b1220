"""Page-table entries set in rows (call 101, COPY): the plain case in one go does what the other one does."""

import random
from typing import Final

import pytest

from pltvm import Machine
from pltvm.engine import sv39
from pltvm.engine.memory import PAGE
from pltvm.monitor.abi import HostCall, SetPte
from pltvm.monitor.guard import HostTables

RAM: Final = 16 << 20
FLAGS: Final = (
    sv39.READ_ONLY_DATA, sv39.READ_ONLY_DATA | sv39.W, sv39.READ_ONLY_DATA | sv39.X, sv39.V, sv39.V | sv39.W,
    sv39.READ_ONLY_DATA | sv39.W | sv39.X, sv39.R, 0,
)  # fmt: skip


class Rows:
    """A machine, a leaf table and a row of entries; `requests` are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.machine = Machine(RAM)
        kernel = self.machine.kernel
        self.table = kernel.tables.take(2)
        self.source = kernel.blocks.take(1)
        self.pages = kernel.blocks.take(64)
        enclave_page = self.machine.memory.base  # the monitor's
        self.starts = (
            self.pages,
            self.pages + 8 * PAGE,
            self.pages,
            kernel.pt_area,
            enclave_page,
            kernel.bitmap,
        )
        self.results: list[int | None] = []

    def request(self) -> None:
        """One COPY: mostly a plain one, else odd in one way."""
        rng, memory = self.rng, self.machine.memory
        count, flags = rng.randrange(1, 40), rng.choice(FLAGS[:3] if rng.random() < 0.7 else FLAGS)
        start = rng.choice(self.starts)
        entries = [sv39.make_pte(start + PAGE * index, flags) if flags else 0 for index in range(count)]
        if rng.random() < 0.2:
            entries[rng.randrange(count)] ^= 1 << rng.choice((1, 2, 3, 4, 7, 8, 10, 40, 60))
        memory.write(self.source, b"".join(entry.to_bytes(8, "little") for entry in entries))
        slot = self.table + 8 * rng.choice((0, 0, 5, 500, rng.randrange(520)))
        if rng.random() < 0.1:  # as the MMU does
            at = self.table + 8 * rng.randrange(512)
            if memory.load(at) & sv39.W:
                memory.store(at, memory.load(at) | sv39.D | sv39.A)
        size = 8 * count + (rng.choice((1, 4, -8, PAGE)) if rng.random() < 0.05 else 0)
        call = self.machine.kernel.call(HostCall.SET_PTE, SetPte.COPY, slot, self.source, size)
        self.results.append(call)

    def state(self) -> tuple[object, ...]:
        """All that a request may change."""
        tables = self.machine.monitor.state.tables
        assert tables is not None
        memory = self.machine.memory
        entries = {number: set(slots) for number, slots in tables._entries.items()}
        return bytes(memory.bytes), entries, bytes(memory.dirty), self.results


@pytest.mark.parametrize("seed", range(4))
def test_rows_in_one_go_are_those_entry_by_entry(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    quick, slow, taken = Rows(seed), Rows(seed), 0
    for _ in range(150):
        quick.request()
        with monkeypatch.context() as patch:
            patch.setattr(HostTables, "_copy_row", lambda *_: False)
            slow.request()
        assert quick.results[-1] == slow.results[-1]
        taken += quick.results[-1] == 0
    assert quick.state() == slow.state()
    assert taken > 50
    assert len(set(quick.results)) > 1
