"""The real monitor and the model side by side: make a call to both, compare what is seen, keep books.

The monitor runs on a real Machine, but no guest code does: an enclave's call is its registers and the
monitor's trap handler, as the hart would do it; or, `through_core`, the registers in Unicorn and the native
core's trap hook. `shallow` compares everything that the model knows with the
monitor's own state, `deep` also with page tables, the page bitmap, the audit, and what is in the memory.
"""

import ctypes
from array import array
from typing import Any, Final

from pltvm import native
from pltvm.engine.context import A0, F0, FCSR, PC, SP, X0
from pltvm.engine.hart import Hart
from pltvm.engine.sv39 import V, W, pte_address
from pltvm.engine.trap import Cause
from pltvm.machine import Machine
from pltvm.monitor import abi, waiting
from pltvm.monitor.abi import HostCall
from pltvm.monitor.audit import audit
from pltvm.monitor.digest import Digest
from pltvm.monitor.enclave import Enclave as Real
from pltvm.monitor.enclave import EnclaveState
from pltvm.monitor.pages import MONITOR, PRIVATE, enclave_owner, shared_owner
from pltvm.monitor.secure_shm import attached
from pltvm.monitor.state import State
from tests.model.entities import (
    CONCURRENT,
    KBUFFER,
    PAGE,
    SERVERS,
    SHM,
    STACK_TOP,
    Block,
    Enclave,
    Result,
)
from tests.model.host import CODE, EID, MAILBOX, STACK_PAGES, Arena
from tests.model.reference import Model
from tests.model.whole import Whole

Slot = tuple[int, int]  # eid, and which slot of a concurrent server; else 0
RAM: Final = 16 << 20
ARENA_PAGES: Final = (8 << 20) // PAGE
REFUSED: Final = (-1, -2)  # results of calls that change nothing
TAG_AT: Final = 0x100  # in the first mapped page: where the driver marks what it put there
# Registers that are no arguments and that calls preserve: gp … s1, s2 … t6, all floating-point ones.
_PRESERVED: Final = (slice(X0 + 3, A0), slice(X0 + 18, PC), slice(F0, FCSR))
_HOST_PAINT: Final = 0x5EC2_E75E
_ZEROS: Final = bytes(ARENA_PAGES * PAGE)


class Divergence(AssertionError):
    """The monitor did not do what the model says."""


def trap_into_core(hart: Hart, cause: int) -> None:
    """The current context traps, as Unicorn reports it; its registers are in their places when it is over."""
    core = hart.core
    hart._load()
    before = core.traps
    native.core.pltvm_trap(hart._handle, ctypes.c_uint32(cause), ctypes.byref(core))
    if core.traps != before:
        told, core.told = core.told, 0
        hart._take(told)
        hart._save(hart.current)
    if hart._error is not None:
        error, hart._error = hart._error, None
        raise error


def expect(what: str, real: object, model: object) -> None:
    if real != model:
        raise Divergence(f"{what}: the monitor has {real!r}, the model {model!r}")


class Pair:
    """A machine and a model in the same state."""

    def __init__(self) -> None:
        self.machine = machine = Machine(RAM, digest=Digest.SM3)
        self.memory, self.monitor, self.state = machine.memory, machine.monitor, machine.monitor.state
        self.arena = Arena(self.memory, machine.kernel.blocks.take(ARENA_PAGES), ARENA_PAGES)
        self.model = Model(range(self.memory.base, self.memory.end), list(self.state.fixed_blocks))
        self.host_context = machine.hart.current
        paint(self.host_context.regs, _HOST_PAINT)
        self.statuses: list[int] = []
        self.monitor.set_host_vector(self._control_is_back)
        self.shm = [(self.arena.take(2), 2), (self.arena.take(1), 1)]  # shared with enclaves, by any number
        self.scratch = self.arena.take(1)
        self.middle, self.slots = machine.kernel.tables.take(1), machine.kernel.tables.take(2)
        self.pages_of_host: dict[int, tuple[int, int]] = {}  # by eid: mailbox and kbuffer
        self.saved: dict[Slot, int] = {}  # by eid and slot: the paint in its registers
        self.lent: Block | None = None  # offered in this step
        self.asking: Slot = (0, 0)  # who made the enclave call
        self.tags = 0
        self.marks: dict[int, int] = {}  # by page
        self.refused_every = 10  # every so many refused calls all of RAM and of the state is compared
        self.refused = 0
        self.through_core = False

    def _control_is_back(self, status: int) -> bool:
        self.statuses.append(status)
        return False

    # -- calls

    def host(self, expected: Result, function: HostCall, *arguments: int) -> Result:
        """A call of the host, when the model has made it already."""
        before = self._before(expected) if self.model.running is None else None
        got = self.monitor.call(function, *arguments)
        self._nothing_changed(before)
        running = self.model.running
        if running is None:
            expect("status", got, expected.value)
            self._host_runs()
        else:
            expect("status", got, None)
            self._runs(expected)
        expect("statuses", self.statuses, [])
        return self._settle(expected)

    def enclave(self, expected: Result, number: int, *arguments: int, a6: int = abi.ENCLAVE_CALL) -> Result:
        """An enclave call of who was running, when the model has made it already."""
        regs = self.machine.hart.current.regs
        regs[A0 : A0 + 8] = _registers(number, a6, arguments)
        before = self._before(expected)
        result = self.trap(expected, Cause.ECALL_U)
        self._nothing_changed(before)
        return result

    def trap(self, expected: Result, cause: Cause) -> Result:
        hart = self.machine.hart
        self.asking = self.state.running.eid, self.state.running.slot
        if self.through_core and cause == Cause.ECALL_U:
            trap_into_core(hart, cause)
        else:
            hart.handlers[cause](hart.current)
        if expected.status is None:
            expect("statuses", self.statuses, [])
            self._runs(expected)
        else:
            expect("statuses", self.statuses, [expected.status])
            self._host_runs()
            self.statuses.clear()
        return self._settle(expected)

    def _before(self, expected: Result) -> Whole | None:
        """The machine before a call that is to be refused, now and then."""
        if expected.entered is not None or expected.status is not None or expected.value not in REFUSED:
            return None
        if expected.results is not None:
            return None  # of a call whose struct is gone
        self.refused += 1
        return Whole(self.machine) if self.refused % self.refused_every == 0 else None

    def _nothing_changed(self, before: Whole | None) -> None:
        if before is not None:
            expect("a refused call changed", before.changes(), [])

    def _host_runs(self) -> None:
        expect("control", self.machine.hart.current is self.host_context, True)
        expect("registers of the host", painted(self.host_context.regs), _HOST_PAINT)

    def _runs(self, expected: Result) -> None:
        """Who has the hart, and its registers."""
        running = self.model.running
        assert running is not None
        context, real = self.machine.hart.current, self.state.running
        expect("running", real is not None and real.context is context, True)
        expect("slot", (real.eid, real.slot), (running.eid, running.number))
        regs = context.regs
        if expected.entered is not None:
            expect("arguments", tuple(regs[A0 : A0 + 5]), expected.entered)
            expect("sp, pc", (regs[SP], regs[PC]), (STACK_TOP, CODE))
            expect("registers at entry", painted(regs), 0)
            if running.kind == CONCURRENT:
                self._stack_is_clear(real)
        else:
            if expected.value is not None:
                expect("a0", regs[A0], expected.value & abi.MASK64)
            expect("registers", painted(regs), self.saved[running.eid, running.number])
        self.tags += 1
        self.saved[running.eid, running.number] = self.tags
        paint(regs, self.tags)

    def _stack_is_clear(self, slot: Real) -> None:
        """Nothing of a call before is left."""
        size = STACK_PAGES * PAGE
        stack = slot.space.table.read(STACK_TOP - size, size)
        expect(f"the stack of {slot} is clear", stack == bytes(size), True)

    # -- books

    def _settle(self, expected: Result) -> Result:
        """What went from and to the host in this step."""
        if expected.ocall is not None:
            eid, number = self.asking
            mailbox = self.model.enclaves[eid].slots[number].top.birth.mailbox + MAILBOX
            expect("ocall", tuple(self.memory.load(mailbox + at) for at in (0, 8, 16)), expected.ocall)
        if expected.tables:
            listed = {row for table in expected.tables for row in self._rows(table)}
            blocks = (*expected.freed, *expected.kept)
            expect("blocks given back", listed, {(pa, pages * PAGE) for pa, pages in blocks})
        for pa, pages in expected.kept:
            self._must_be_marked(pa, pages)
        for pa, pages in expected.freed:
            skip = 16 + 16 * self.memory.load(pa + 8) if pa in expected.tables else 0
            clear = self.memory.read(pa + skip, pages * PAGE - skip) == _ZEROS[: pages * PAGE - skip]
            expect(f"{pa:#x} is cleared", clear, True)
        for pa, pages in (*expected.freed, *expected.kept):
            self.give(pa, pages)
        if expected.taken is not None:
            pa, pages = expected.taken
            mapped = (pages - 1) * PAGE  # the first page holds a record of the monitor
            clear = self.memory.read(pa + PAGE, mapped) == _ZEROS[:mapped]
            expect(f"{pa:#x} is cleared for its owner", clear, True)
            self.tag(pa + PAGE)
        if self.lent is not None:
            if self.model.is_free(*self.lent):
                self.give(*self.lent)
            self.lent = None
        for eid in [eid for eid in self.pages_of_host if eid not in self.model.enclaves]:
            for page in self.pages_of_host.pop(eid):
                self.give(page, 1)
            self.saved = {who: value for who, value in self.saved.items() if who[0] != eid}
        return expected

    def give(self, pa: int, pages: int) -> None:
        """Free pages of the host."""
        for page in (pa, pa + PAGE)[:pages]:
            self.marks.pop(page, None)
        self.arena.give(pa, pages)

    def _rows(self, table: int) -> list[tuple[int, int]]:
        load = self.memory.load
        expect("next table", load(table), 0)
        return [(load(at), load(at + 8)) for at in range(table + 16, table + 16 + 16 * load(table + 8), 16)]

    def tag(self, page: int) -> None:
        """Mark a page that enclaves have now; the mark must stay with it."""
        self.tags += 1
        self.memory.store(page + TAG_AT, self.tags)
        self.marks[page] = self.tags

    def _must_be_marked(self, pa: int, pages: int) -> None:
        for page in (pa, pa + PAGE)[:pages]:
            if page in self.marks and self.memory.load(page + TAG_AT) != self.marks[page]:
                raise Divergence(f"what was in {page:#x} is not there any more")

    def born(self, eid: int, mailbox: int, kbuffer: int) -> None:
        """Note the pages of a new enclave."""
        expect("eid", self.memory.load(mailbox + EID) & 0xFFFF_FFFF, eid)
        self.pages_of_host[eid] = (mailbox, kbuffer)
        for slot in self.model.enclaves[eid].slots:
            self.saved.setdefault((eid, slot.number), 0)

    # -- comparing

    def shallow(self) -> None:
        """States, regions and owners."""
        model, state = self.model, self.state
        running = who(model.running) if model.running is not None else None
        expect("running", None if state.running is None else real_who(state.running), running)
        expect("enclaves", list(state.enclaves), list(model.enclaves))
        for e, real in zip(model.enclaves.values(), state.enclaves.values(), strict=True):
            seen, known = _real_view(state, real), _model_view(e)
            if seen != known:
                raise Divergence(f"enclave {e.eid}: the monitor has {seen!r}, the model {known!r}")
        turns: list[object] = []
        after = None
        while (after := waiting.next_turn(state, after)) is not None:
            turns.append(real_who(after))
        expect("turns", turns, [who(e) for e in model.turns()])
        bound = {name: [r.block for r in regions] for name, regions in state.bound.items()}
        expect("bound", bound, {name: [r.block for r in regions] for name, regions in model.bound.items()})
        segments = {key: (s.block, s.pages * PAGE, s.users) for key, s in state.segments.items()}
        expect(
            "segments", segments, {key: (s.block[0], s.size, s.users) for key, s in model.segments.items()}
        )
        entries, base = state.owners.entries, self.memory.base
        for (pa, pages), owner in model.private():
            first, entry = (pa - base) // PAGE, PRIVATE | owner_number(owner)
            if entries[first] != entry or entries[first + pages - 1] != entry:
                found = entries[first] if entries[first] != entry else entries[first + pages - 1]
                raise Divergence(f"owner of {pa:#x}: the bitmap says {found:#x}, the model {owner}")
        for slot, pa in model.host_entries.items():
            valid = bool(self.memory.load(slot) & V)
            if valid != (entries[(pa - base) // PAGE] < PRIVATE):
                raise Divergence(f"the host's entry for {pa:#x}: valid is {valid}")

    def deep(self) -> None:
        """Also the page bitmap, every page table, marks in memory, and the monitor's own audit."""
        expect("audit", audit(self.state), [])
        model, state, base = self.model, self.state, self.memory.base
        entries = [0] * (self.memory.size // PAGE)
        for (pa, pages), owner in model.private():
            first = (pa - base) // PAGE
            entries[first : first + pages] = [PRIVATE | owner_number(owner)] * pages
        for e in model.enclaves.values():
            for page in e.host_pages():
                entries[(page - base) // PAGE] += 1
        expect("bitmap", state.owners.who() == entries, True)
        expect("records", state.globals.record_space // 512, model.records)
        expect("started", (state.globals.started, state.globals.next_eid), (model.started, model.next_eid))
        for e in model.everyone():
            self._check_pages(e)
        for block, _ in model.private():
            self._must_be_marked(*block)

    def _check_pages(self, e: Enclave) -> None:
        """The page table maps what the model says, and where that is known, to the right page."""
        real = [*self.state.slots(self.state.enclaves[e.eid])][e.number]
        table = real.space.table
        if e.kind == CONCURRENT and e.caller is None:
            self._stack_is_clear(real)
        leaves = {leaf.va: leaf.pte for leaf in table.leaves()}
        right: dict[int, int | None] = {}
        for start, end, _ in e.areas():
            right |= dict.fromkeys(range(start, end, PAGE))
        for region in e.regions():
            right |= _places(region.va, region.block + region.hidden * PAGE, region.size)
        for segment, va in e.attached.items():
            right |= _places(va, segment.block[0] + PAGE, segment.size)
        right |= _places(SHM, e.birth.shm[0], e.shm_size)
        right[KBUFFER] = e.top.birth.kbuffer
        if e.kind == "template" or (e.kind in SERVERS and e.caller is None):
            right.pop(KBUFFER)
            leaves.pop(KBUFFER, None)
        expect(f"pages of enclave {e.eid}", sorted(leaves), sorted(right))
        for va, pa in right.items():
            if pa is not None and pte_address(leaves[va]) != pa:
                raise Divergence(f"enclave {e.eid}: {va:#x} maps {pte_address(leaves[va]):#x}, not {pa:#x}")
        for start, end, writable in e.areas():
            if start != KBUFFER and any(bool(leaves[va] & W) != writable for va in range(start, end, PAGE)):
                raise Divergence(f"enclave {e.eid}: writing from {start:#x} on must be {writable}")


def paint(regs: Any, value: int) -> None:
    """Put a number into all registers that are preserved."""
    for part in _PRESERVED:
        regs[part] = memoryview(array("Q", [value]) * (part.stop - part.start))


def painted(regs: Any) -> int | None:
    """The number that is in all of them; None when they differ."""
    value = regs[F0]
    word = value.to_bytes(8, "little")
    same = all(regs[part].tobytes() == word * (part.stop - part.start) for part in _PRESERVED)
    return value if same else None


def _places(va: int, pa: int, size: int) -> dict[int, int]:
    return dict(zip(range(va, va + size, PAGE), range(pa, pa + size, PAGE), strict=True))


def _registers(number: int, a6: int, arguments: tuple[int, ...]) -> Any:
    values = [argument & abi.MASK64 for argument in arguments]
    return memoryview(array("Q", [*values, *[0] * (6 - len(values)), a6, number]))


def owner_number(owner: str) -> int:
    """The monitor's number for an owner of the model."""
    if owner == "monitor":
        return MONITOR
    kind, number = owner.split()
    return enclave_owner(int(number)) if kind == "enclave" else shared_owner(int(number))


def who(e: Enclave) -> Slot:
    """Eid and slot of the model's."""
    return e.eid, e.number


def real_who(real: Real) -> Slot:
    """Those of the monitor's."""
    return real.eid, real.slot


def _model_view(e: Enclave) -> tuple[object, ...]:
    return (
        e.stopped,
        {va: (r.block, r.size) for va, r in e.mmaps.items()},
        [(r.va, r.block, r.size) for r in e.heap],
        {va: (r.block, r.size) for va, r in e.relays.items()},
        {s.block[0]: va for s, va in e.attached.items()},
        e.free,
        e.instances,
        [who(one) for one in e.queue],
        [
            (
                slot.state,
                None if slot.caller is None else who(slot.caller),
                slot.waiting_for if slot.state == "waiting" else 0,
                None if slot.waits_at is None else slot.waits_at.eid,
            )
            for slot in e.slots
        ],
    )


def _real_view(state: State, real: Real) -> tuple[object, ...]:
    space = real.space
    shared = {segment.block: one.va for one, segment in attached(state, real)}
    return (
        bool(real.stopped),
        {va: (m.block, m.size) for va, m in space.mmaps.items()},
        [(m.va, m.block, m.size) for m in space.regions(real.heap)][::-1],
        {m.va: (m.block, m.size) for m in space.relays},
        shared,
        (real.free_end - real.free) // PAGE,
        real.instances,
        [real_who(one) for one in waiting.all_of(state, real)],
        [
            (
                EnclaveState(slot.state).name.lower(),
                real_who(state.enclave(slot.caller)) if slot.caller else None,
                slot.waiting_for if slot.state == EnclaveState.WAITING else 0,
                state.enclave(slot.queued).eid if slot.queued else None,
            )
            for slot in state.slots(real)
        ],
    )
