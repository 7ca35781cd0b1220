"""Back in time: a run repeats exactly, so going back is a snapshot from before, and a re-run.

    go_to(N)        the last checkpoint before N is put back, and N − its position instructions run again
    back_to_break   as `go_to`, stretch by stretch from now to the beginning: each is run again from its
                    checkpoint, and it is noted in which block one of the places was (`Counter.look_for`)
    back_to_write   likewise, in which block, or in the service of whose trap, bytes changed (`Counter.watch`)

Which instruction of the block it was is found by running it one instruction at a time. Nothing that is run
again is shown again. Checkpoints are made between two blocks, every `every` instructions. They thin out with
age: of those that are N instructions back, one in about N / 4 stays; and the least useful ones go when they
take more than `size` bytes.

All but `position` is for errands of the hart (`Hart.outside`), where no guest code is entered: a debugger
that is told inside of a handler asks for one, and is told again in it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pltvm.engine.context import PC, SATP
from pltvm.engine.memory import PAGE
from pltvm.engine.page_table import PageTable
from pltvm.engine.position import Counter
from pltvm.engine.reservation import Reserved
from pltvm.engine.sv39 import root_of
from pltvm.errors import PltvmError, SnapshotError
from pltvm.host import clients
from pltvm.machine import Machine, MachineSnapshot

DEFAULT_SIZE: Final = 256 << 20  # bytes
EVERY: Final = 4_000_000  # instructions: some 15 ms of a run
_NEAR: Final = 200_000  # before a place far back there is a checkpoint for the steps that follow
_KEPT_SHARE: Final = 4  # a gap is at most the age over this
_STEPS_A_BLOCK: Final = 1024
_OVERHEAD: Final = 1 << 16  # bytes of a checkpoint beside its pages: what the host remembers


class HistoryError(PltvmError):
    """There is no way back, and why."""


class Partner(Protocol):
    """Who takes part in a run and is no part of the machine: the fuzzer, as the callers of its target."""

    def now(self) -> object:
        """What it remembers."""

    def go_back(self, then: Any) -> None:
        """The machine was put back to where it was when `now` gave this."""

    def pauses(self) -> bool:
        """Whether it has just left the JIT by `Hart.pause`."""


@dataclass(slots=True)
class Checkpoint:
    """The machine between two instructions, at `position`, with so much of a time slice `used`.

    `pages` are those that the checkpoint before does not have. `traps` and `flushes` are the hart's counts,
    and those of its core.
    """

    position: int
    used: int
    reserved: Reserved | None  # by an `lr`
    snapshot: MachineSnapshot
    pages: int
    counts: tuple[int, int, int, int]
    partner: object


class History:
    """The history of each run of a machine from now on, made before one begins; bounded by `size` bytes.

    `partner` goes back with the machine. `undisturbed` is entered while something is run again: who stops
    runs takes away there what would.
    """

    def __init__(
        self, machine: Machine, size: int = DEFAULT_SIZE, every: int = EVERY, partner: Partner | None = None
    ) -> None:
        self._machine, self._hart, self._partner = machine, machine.hart, partner
        self._size, self._every = size, max(every, 2 * _STEPS_A_BLOCK)
        self._counter = Counter.of(machine.hart)
        self._checkpoints: list[Checkpoint] = []
        self._furthest = 0  # where the run has been, and what it wrote was shown
        self._hushed: ExitStack | None = None
        self._end_value = b""
        self.missing = ""  # why the last checkpoint that was due could not be made
        self.undisturbed: Callable[[], AbstractContextManager[object]] = nullcontext
        self._counter.on_limit = self._on_limit
        if partner is not None:
            self._counter.paused = partner.pauses
        self._counter.begin = lambda: machine.hart.outside(self._begin)
        if machine.hart.running:
            self._counter.begin()

    # -- where it is -----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Instructions that have run: in a handler, or an errand."""
        return self._counter.now

    @property
    def start(self) -> int:
        """The first position that there is a way back to."""
        self._must_reach(0)
        return self._checkpoints[0].position

    @property
    def positions(self) -> list[int]:
        """Where there are checkpoints, in order."""
        return [one.position for one in self._checkpoints]

    @property
    def bytes_taken(self) -> int:
        """What the checkpoints take, about."""
        return sum(one.pages * PAGE + _OVERHEAD for one in self._checkpoints)

    # -- checkpoints -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A run begins. What was before it is over: who had it run would not know that it is there again."""
        self._checkpoints.clear()
        self._furthest = self._counter.now
        self._unhush()
        self._save()
        self._plan()

    def _on_limit(self) -> None:
        if self._hart.has_errands:  # which come before any guest code
            self._hart.outside(self._on_limit)
            return
        if self._furthest - self._counter.now > _STEPS_A_BLOCK:  # meanwhile somebody went back
            pass
        elif self._hushed is not None:
            self._counter.go_to(self._furthest)
            if self._counter.now >= self._furthest:
                self._unhush()
        else:
            self._save()
        self._plan()

    def _plan(self) -> None:
        """Stop where the next checkpoint is due: behind the last one that there is, and behind now.

        Or first where what was shown before ends.
        """
        last = self._checkpoints[-1].position if self._checkpoints else 0
        due = max(last, self._counter.now) + self._every
        self._counter.stop_behind(due if self._hushed is None else self._furthest)

    def _save(self) -> None:
        """Make a checkpoint here, unless there is one, or something cannot be saved."""
        now = self._counter.now
        at = next(
            (i for i, one in enumerate(self._checkpoints) if one.position >= now), len(self._checkpoints)
        )
        if at < len(self._checkpoints) and self._checkpoints[at].position == now:
            return
        try:
            snapshot = self._machine.snapshot()
        except SnapshotError as error:
            self.missing = str(error)
            return
        self.missing = ""
        hart = self._hart
        counts = hart.all_counts()
        partner = self._partner.now() if self._partner is not None else None
        used, reserved = hart.slice.used, self._counter.reserved
        self._checkpoints.insert(at, Checkpoint(now, used, reserved, snapshot, 0, counts, partner))
        self._measure(at)
        self._measure(at + 1)
        self._thin()

    def _measure(self, at: int) -> None:
        """Count the pages that only this one and later ones have."""
        if at >= len(self._checkpoints):
            return
        one = self._checkpoints[at]
        pages = one.snapshot.engine.pages
        before = self._checkpoints[at - 1].snapshot.engine.pages if at else {}
        one.pages = sum(before.get(number) is not page for number, page in pages.items())

    def _remove(self, at: int) -> None:
        del self._checkpoints[at]
        self._measure(at)

    def _thin(self) -> None:
        """Fewer of the old ones; the first and the last stay."""
        now, kept = self._counter.now, self._checkpoints
        at = 1
        while at < len(kept) - 1:
            gap, age = kept[at + 1].position - kept[at - 1].position, now - kept[at + 1].position
            if 0 < gap <= age // _KEPT_SHARE:
                self._remove(at)
            else:
                at += 1
        while self.bytes_taken > self._size and len(kept) > 2:
            self._remove(min(range(1, len(kept) - 1), key=lambda i: self._worth(i, now)))

    def _worth(self, at: int, now: int) -> float:
        """How much longer a way back gets without it, for its age."""
        kept = self._checkpoints
        return (kept[at + 1].position - kept[at - 1].position) / (abs(now - kept[at].position) + self._every)

    def forget_what_follows(self) -> None:
        """Somebody has changed memory or registers: what ran behind here may go otherwise now."""
        now = self._counter.now
        self._checkpoints = [one for one in self._checkpoints if one.position < now]
        self._furthest = now
        self._unhush()
        self._save()
        self._plan()

    # -- going back ------------------------------------------------------------------------------------

    def go_to(self, position: int) -> None:
        """Be at this position, where the run has been. Raises HistoryError where cannot go back."""
        self._must_reach(position)
        if position > max(self._counter.now, self._furthest):
            raise HistoryError(f"the run has not been at position {position}: it is at {self._counter.now}")
        with self._repeating():
            self._go(position)
        self._plan()

    def step_back(self) -> None:
        """Be before the instruction that ran last."""
        self.go_to(self._counter.now - 1)

    def back_to_break(self, places: Sequence[tuple[PageTable | None, int]]) -> int | None:
        """Be where code last came to one of these places: address spaces (None: any), and addresses.

        The position; None if that never was, and then this is the first position that there is a way back to.
        """
        rows = [(table.root if table is not None else 0, va) for table, va in places]
        wanted = set(rows)

        def is_there() -> bool:
            regs = self._hart.current.regs
            return (0, regs[PC]) in wanted or (root_of(regs[SATP]), regs[PC]) in wanted

        def last(block: int, end: int) -> int | None:
            found = block if is_there() else None
            for position in range(block + 1, min(end, block + _STEPS_A_BLOCK)):
                was = self._hart.current.regs[PC]
                self._counter.go_to(position)
                if is_there():
                    found = position
                elif self._hart.current.regs[PC] - was not in (2, 4):  # that was the end of the block
                    break
            return found

        try:
            return self._search(lambda: self._counter.look_for(rows), lambda: self._counter.reached_at, last)
        finally:
            self._counter.look_for(())

    def back_to_write(self, table: PageTable, va: int, size: int) -> int | None:
        """Be before the instruction that last changed these bytes, itself or by its trap.

        The position, or None, as of `back_to_break`. The bytes are at `va` of an address space now, and
        watched in physical memory: whoever wrote there is found. Raises HistoryError for what is not mapped,
        or on two pages.
        """
        spans = table.spans(va, size, 0)
        if spans is None or len(spans) != 1:
            raise HistoryError(f"{size} bytes at {va:#x}: are not mapped, or not on one page")
        memory = self._machine.memory
        host = memory.host_address + spans[0][0] - memory.base
        offset = spans[0][0] - memory.base

        def value() -> bytes:
            return bytes(memory.bytes[offset : offset + size])

        def last(block: int, end: int) -> int | None:
            found, before, then = None, value(), self._end_value
            for position in range(block + 1, min(end, block + _STEPS_A_BLOCK) + 1):
                self._counter.go_to(position)
                now = value()
                if now != before:
                    found, before = position - 1, now
                if (found is not None and now == then) or self._counter.now >= end:
                    break
            return found

        def begin() -> None:
            self._counter.watch(host, size)

        try:
            return self._search(begin, lambda: self._counter.changed_at, last, value)
        finally:
            self._counter.watch(0, 0)

    def _search(
        self,
        begin: Callable[[], None],
        hit: Callable[[], int | None],
        last: Callable[[int, int], int | None],
        value: Callable[[], bytes] = lambda: b"",
    ) -> int | None:
        """Run stretch after stretch again, the newest first, until one has a hit; be there.

        `begin` starts the noting, `hit` gives the block, in which `last` looks for the position before the
        end of the stretch.
        """
        self._must_reach(self._counter.now)
        end = self._counter.now
        with self._repeating():
            for checkpoint in [one for one in reversed(self._checkpoints) if one.position < end]:
                while True:
                    self._restore(checkpoint)
                    begin()
                    self._counter.go_to(end)
                    block = hit()
                    if block is None:
                        break
                    self._end_value = value()
                    self._go(block)
                    found = last(block, end)
                    if found is not None:
                        self._go(found)
                        self._plan()
                        return found
                    end = block
                    if end <= checkpoint.position:
                        break
                end = checkpoint.position
            self._restore(self._checkpoints[0])
        self._plan()
        return None

    def _before(self, position: int) -> Checkpoint:
        return next(one for one in reversed(self._checkpoints) if one.position <= position)

    def _must_reach(self, position: int) -> None:
        if not self._checkpoints:
            why = f": {self.missing}" if self.missing else ""
            raise HistoryError(f"cannot go back{why}")
        if position and position < self._checkpoints[0].position:
            raise HistoryError(f"cannot go back beyond position {self._checkpoints[0].position}")

    def _go(self, position: int) -> None:
        start = self._before(position)
        self._restore(start)
        if position - start.position > 2 * _NEAR:
            self._counter.go_to(position - _NEAR)
            self._save()
        self._counter.go_to(position)

    def _restore(self, checkpoint: Checkpoint) -> None:
        """The machine, the counts and who has the hart, as they were."""
        machine, hart = self._machine, self._hart
        driver, program = machine.driver, machine.driver.kernel.program
        if program is not None and program.changed_since(checkpoint.snapshot.host.kernel.kernel.waiting):
            raise HistoryError(
                "the program has changed files since: what is written to them cannot be taken back"
            )
        driven, driver.driven = driver.driven, True
        try:
            machine.restore(checkpoint.snapshot)
        except SnapshotError as error:
            raise HistoryError(f"cannot go back: {error}") from None
        finally:
            driver.driven = driven
        if machine.monitor.state.running is None and program is not None:
            program.go_on()
        if self._partner is not None:
            self._partner.go_back(checkpoint.partner)
        hart.set_all_counts(checkpoint.counts)
        self._counter.put_back(checkpoint.position, checkpoint.used, checkpoint.reserved)

    @contextmanager
    def _repeating(self) -> Iterator[None]:
        """What runs now ran before."""
        self._furthest = max(self._furthest, self._counter.now)
        self._hush()
        try:
            with self.undisturbed():
                yield
        finally:
            if self._counter.now >= self._furthest:
                self._unhush()

    def _hush(self) -> None:
        """What is written was written before, up to `_furthest`: nobody hears of it."""
        if self._hushed is None:
            self._hushed = stack = ExitStack()
            driver = self._machine.driver
            program = driver.kernel.program
            for number in (clients.PYTHON, clients.TOGETHER):
                printed = driver.clients[number].printed
                if printed is not None:
                    stack.enter_context(printed.silent())
            if program is not None:
                stack.enter_context(program.silent())

    def _unhush(self) -> None:
        if self._hushed is not None:
            self._hushed.close()
            self._hushed = None
