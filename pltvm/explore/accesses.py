"""Where chains touch what others touch: the points at which it matters who runs next.

    pass 1   which pages do several chains touch, and does anybody write there?
    pass 2   the same run again: each access there, each call, and each change of who has the hart

A run repeats exactly, so the second pass sees what the first one did. Of an instruction that does the same
again and again, as who waits for a lock does, the first time is logged. `native/accesses.h` says how the
hooks do it; without the core Python does the same. Stacks are nobody else's, nor is the page through which a
chain talks to the host, and neither is looked at.
"""

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple, cast

from pltvm import native
from pltvm.engine.context import SATP
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.position import Counter
from pltvm.engine.sv39 import pte_address, root_of
from pltvm.host.enclave import DriverEnclave
from pltvm.host.turns import Turns
from pltvm.machine import Machine
from pltvm.monitor.abi import STACK_TOP

WRITE, ATOMIC, ACQUIRE, RELEASE, ENTER, CALL, EXCLUSIVE = 1, 2, 4, 8, 16, 32, 64  # enum access
MOST_ROWS: Final = 400_000  # that are kept of a run
_ROOM: Final = 8192  # rows until they are taken
_ROW: Final = Struct("<4Q4I")
_FENCE, _AMO, _ECALL = 0x0F, 0x2F, b"\x73\0\0\0"
_PLAIN: Final = (0x13, 0x17, 0x1B, 0x33, 0x37, 0x3B)  # opcodes that compute
_NEAR: Final = 16  # bytes
_FULL: Final = ctypes.CFUNCTYPE(None)
_U64, _POINTER = ctypes.c_uint64, ctypes.c_void_p


class Row(NamedTuple):
    """One row of the log. `total` instructions of all had run, `done` of the chain itself, before it.

    `running` is the record of the enclave, and not of its slot, 0 for the host; `owner` whose the page is, as
    the page bitmap has it.
    """

    total: int
    chain: int
    done: int
    pa: int
    pc: int
    running: int
    kind: int
    size: int
    owner: int

    @property
    def place(self) -> tuple[int, int]:
        """Where in whose code: the same for each time around."""
        return self.running, self.pc


class _State(ctypes.Structure):
    _fields_ = [
        ("hart", _POINTER), ("counter", _POINTER),
        ("ignored", _POINTER), ("written", _POINTER), ("seen", _POINTER),
        ("rows", _POINTER), ("used", _U64), ("most", _U64), ("full", _POINTER),
        ("chain", _U64), ("running", _U64), ("on", _U64), ("logging", _U64), ("of_hosts", _U64),
    ]  # fmt: skip
    used: int
    chain: int
    running: int
    on: int
    logging: int
    of_hosts: int


@dataclass(frozen=True, slots=True)
class Log:
    """What one run has touched. `whole`: no row is missing."""

    rows: Sequence[Row]
    whole: bool

    @property
    def shared(self) -> set[int]:
        """The words (addresses over 8) that several chains touch and one writes."""
        who: dict[int, int] = {}
        written: set[int] = set()
        for row in self.rows:
            if row.pa:
                word = row.pa >> 3
                who[word] = who.get(word, 0) | 1 << row.chain
                if row.kind & WRITE:
                    written.add(word)
        return {word for word in written if who[word] & (who[word] - 1)}


class Accesses:
    """Sees the accesses of one machine, in `watching`: of enclaves, and with `of_hosts` of host programs.

    With `stays` it can see them between two times in `watching`, too, which takes less than to begin anew.
    """

    def __init__(self, machine: Machine, of_hosts: bool = False, stays: bool = False) -> None:
        self._stays, self._remove = stays, cast("Callable[[], None] | None", None)
        self._machine, hart = machine, machine.hart
        self._counter = Counter.of(hart)
        pages = machine.memory.size >> PAGE_SHIFT
        self._ignored, self._written = (ctypes.c_uint8 * pages)(), (ctypes.c_uint8 * pages)()
        self._seen, self._rows = (ctypes.c_uint64 * pages)(), (ctypes.c_uint8 * (_ROOM * _ROW.size))()
        self._full = _FULL(self._take)
        self._taken: list[bytes] = []
        self._turns_log: list[tuple[int, int, int]] = []  # position, chain, its count
        self._start = 0
        self._ignored_of: dict[int, list[int]] = {}  # pages, by the driver's id of the enclave
        self._state = _State(
            ctypes.addressof(hart.core), self._counter.address,
            *(ctypes.addressof(one) for one in (self._ignored, self._written, self._seen, self._rows)),
            most=_ROOM, of_hosts=int(of_hosts), full=ctypes.cast(self._full, ctypes.c_void_p),
        )  # fmt: skip
        core = native.core if hart.has_core else None
        self._hook: int | Callable[[bool, int, int], None] = self._access
        self._data = ctypes.addressof(self._state)
        if core is None:
            hart.watch(self._block, 1, 0, blocks=True)
        else:
            self._hook = _address(core.pltvm_access)
            hart.watch_blocks(_address(core.pltvm_access_block), self._data, keep=self)
            hart.forget_all_code()

    @contextmanager
    def watching(self, turns: Turns, log: bool) -> Iterator[None]:
        """Around a run with these turns: tell pages apart, and with `log` note what is shared."""
        state = self._state
        state.running = state.used = 0
        self._taken, self._turns_log, self._start = [], [], self._counter.now
        driver = self._machine.driver
        table, before = driver.table, driver.started
        ctypes.memset(self._ignored, 0, ctypes.sizeof(self._ignored))
        self._ignored_of = {}
        for enclave in table.state.living.values():
            self._ignore(enclave)
        table.on_added.append(self._ignore)
        table.on_removed.append(self._ignore_no_more)

        def started() -> None:
            before()
            self._ignore(driver.running)  # an instance, which was in no record before

        driver.started = started
        if self._remove is None:
            self._remove = self._machine.hart.watch_accesses(self._hook, self._data)
        state.on, state.logging, turns.on_run = 1, int(log), self._on_run
        try:
            yield
        finally:
            state.on = 0
            table.on_added.remove(self._ignore)
            table.on_removed.remove(self._ignore_no_more)
            driver.started = before
            if not self._stays:
                self._remove()
                self._remove = None

    def forget(self) -> None:
        """All pages are as if nobody had touched them."""
        for marks in (self._seen, self._written):
            ctypes.memset(marks, 0, ctypes.sizeof(marks))

    def log(self) -> Log:
        """What the last run with `log` has touched."""
        self._take()
        starts = [at for at, _, _ in self._turns_log]
        rows = []
        for part in self._taken:
            for position, pa, pc, running, kind, size, owner, _ in _ROW.iter_unpack(part):
                since, chain, count = self._turns_log[max(bisect_right(starts, position) - 1, 0)]
                total, done = position - self._start, count + position - since
                rows.append(Row(total, chain, done, pa, pc, running, kind, size, owner))
        return Log(rows, bool(self._state.logging))

    def _on_run(self, chain: int, count: int, _total: int) -> None:
        self._state.chain = chain
        self._turns_log.append((self._counter.now, chain, count))

    def _take(self) -> None:
        """The rows are free again."""
        state = self._state
        if sum(map(len, self._taken)) < MOST_ROWS * _ROW.size:
            self._taken.append(bytes(memoryview(self._rows).cast("B")[: state.used * _ROW.size]))
        else:
            state.logging = 0
        state.used = 0

    def _ignore(self, enclave: DriverEnclave | None) -> None:
        """What no other chain can touch: stacks, of each slot, and the page by which it talks to the host."""
        base, state = self._machine.memory.base, self._machine.monitor.state
        record = state.enclaves.get(enclave.eid) if enclave is not None else None
        if enclave is None or record is None or enclave.id in self._ignored_of:
            return
        pages = [record.kbuffer]
        for slot in state.slots(record):
            va, table = STACK_TOP - PAGE, slot.space.table
            while entry := table.entry(va):
                pages.append(pte_address(entry))
                va -= PAGE
        self._ignored_of[enclave.id] = pages = [(pa - base) >> PAGE_SHIFT for pa in pages]
        for page in pages:
            self._ignored[page] = 1

    def _ignore_no_more(self, enclave: DriverEnclave) -> None:
        """It has ended: others get its pages."""
        for page in self._ignored_of.pop(enclave.id, ()):
            self._ignored[page] = 0

    # -- in Python: native/accesses.c line by line ---------------------------------------------------------

    def _log(self, position: int, pa: int, pc: int, kind: int, size: int) -> None:
        state, monitor = self._state, self._machine.monitor.state
        running = monitor.running.home.at if monitor.running is not None else 0
        if self._spins(pa, pc, running, kind):
            return
        if state.used == _ROOM:
            self._take()
        owner = monitor.owners.entries[(pa - self._machine.memory.base) >> PAGE_SHIFT] if pa else 0
        _ROW.pack_into(self._rows, state.used * _ROW.size, position, pa, pc, running, kind, size, owner, 0)
        state.used += 1

    def _spins(self, pa: int, pc: int, running: int, kind: int) -> bool:
        """Whether the one instruction that was logged last does the same again."""
        used = self._state.used
        for back in range(1, min(used, 2) + 1):
            _, *row = _ROW.unpack_from(self._rows, (used - back) * _ROW.size)
            if not pa or row[:3] != [pa, pc, running]:
                return False
            if row[3] == kind:
                return True
        return False

    def _code(self, pc: int) -> bytes:
        """The page of code that pc is on."""
        context = self._machine.hart.current
        table = context.table
        entry = table.entry(pc) if table is not None and root_of(context.regs[SATP]) else 0
        return b"" if table is None or not entry else table.memory.read(pte_address(entry), PAGE)

    def _order(self, pc: int, writes: bool) -> int:
        code, at = self._code(pc), pc & PAGE - 1
        if not code:
            return 0
        if code[at] & 0x7F == _AMO:
            return ATOMIC
        if writes:
            return RELEASE if _fenced_before(code, at) else 0
        behind = at + (4 if code[at] & 3 == 3 else 2)
        return ACQUIRE if _fenced(code, behind, behind + _NEAR) else 0

    def _access(self, writes: bool, pa: int, size: int) -> None:
        state, memory, hart = self._state, self._machine.memory, self._machine.hart
        running = self._machine.monitor.state.globals.running
        if not state.on or not memory.contains(pa) or not (running or state.of_hosts):
            return
        page = (pa - memory.base) >> PAGE_SHIFT
        if self._ignored[page]:
            return
        self._seen[page] |= 1 << (state.chain & 63)
        self._written[page] |= writes
        seen = self._seen[page]
        if not state.logging or not seen & (seen - 1) or not self._written[page]:
            return
        pc = hart.pc_inside()
        self._log(self._counter.at(pc), pa, pc, self._order(pc, writes) | writes, size)

    def _block(self, pc: int, size: int) -> None:
        state, counter = self._state, self._counter
        if not state.on or not state.logging or counter.stopped:
            return
        running = self._machine.monitor.state.globals.running
        if running != state.running:
            state.running = running
            enclave = self._machine.monitor.state.running
            exclusive = enclave is not None and enclave.is_server and not enclave.concurrent
            self._log(counter.at(pc), 0, pc, ENTER | EXCLUSIVE if exclusive else ENTER, 0)
        at = (pc + size - 4) & PAGE - 1
        if size >= 4 and (running or state.of_hosts) and self._code(pc + size - 4)[at : at + 4] == _ECALL:
            self._log(counter.now - 1, 0, pc + size - 4, CALL, 0)


def _is_plain(code: bytes, at: int) -> bool:
    """What may stand between a fence and what it orders: neither an access nor a jump."""
    first, function = code[at], code[at + 1] >> 5
    match first & 3:
        case 0:
            return function in (0, 4)
        case 1:
            return function < 5
        case 2:
            return function == 0 or (function == 4 and bool(first & 0x7C))
        case _:
            return first & 0x7F in _PLAIN


def _is_fence(code: bytes, at: int) -> bool:
    return code[at] == _FENCE and not code[at + 1] and not code[at + 2] & 0x0F and not code[at + 3] & 0xF0


def _fenced(code: bytes, at: int, to: int) -> bool:
    while at < to and at + 4 <= PAGE:
        if _is_fence(code, at):
            return True
        if not _is_plain(code, at):
            return False
        at += 4 if code[at] & 3 == 3 else 2
    return False


def _fenced_before(code: bytes, to: int) -> bool:
    for size in range(4, min(_NEAR, to) + 1, 2):
        if _is_fence(code, to - size):
            at = to - size + 4
            while at < to and _is_plain(code, at):
                at += 4 if code[at] & 3 == 3 else 2
            if at == to:
                return True
    return False


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
