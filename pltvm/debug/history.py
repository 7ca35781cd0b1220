"""Goes back in time: as a run repeats exactly, an earlier snapshot is restored and run again.

    go_to(N)        restores the last checkpoint before N, and runs N − its position instructions again
    back_to_break   goes stretch by stretch from now to the beginning: each is run again from its
                    checkpoint, noting the blocks that contain one of the places (`Counter.look_for`)
    back_to_write   the same, noting the blocks in which, or in whose trap, bytes changed (`Counter.watch`)

The instruction inside the block is found by running it one instruction at a time. Output of code that is run
again is not shown again. Checkpoints are made between two blocks, every `every` instructions. Old ones are
thinned out: at a distance of N instructions, about one per N / 4 stays; and the least useful ones are dropped
when all take more than `size` bytes.

Everything but `position` is for errands of the hart (`Hart.outside`), outside guest code: a debugger that is
notified inside a handler requests an errand, and is notified again in it.
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
_NEAR: Final = 200_000  # distance of a new checkpoint before a far place, for the following steps
_KEPT_SHARE: Final = 4  # gaps are at most the age divided by this
_STEPS_A_BLOCK: Final = 1024
_OVERHEAD: Final = 1 << 16  # bytes of a checkpoint besides its pages: the host's state


class HistoryError(PltvmError):
    """Going back is not possible; the message has the reason."""


class Partner(Protocol):
    """A participant of a run outside the machine: the fuzzer, which plays the callers of its target."""

    def now(self) -> object:
        """Return its state."""

    def go_back(self, then: Any) -> None:
        """Restore the state that `now` returned, as the machine was restored to that moment."""

    def pauses(self) -> bool:
        """Whether it has just left the JIT by `Hart.pause`."""


@dataclass(slots=True)
class Checkpoint:
    """The machine between two instructions, at `position`, with the `used` part of a time slice.

    `pages` are those that differ from the checkpoint before. `traps` and `flushes` are counts of the hart and
    of its core.
    """

    position: int
    used: int
    reserved: Reserved | None  # the reservation of an `lr`
    snapshot: MachineSnapshot
    pages: int
    counts: tuple[int, int, int, int]
    partner: object


class History:
    """The history of each run of a machine, to be made before a run begins; limited to `size` bytes.

    `partner` goes back with the machine. `undisturbed` is a context for re-runs, in which nothing stops the
    run.
    """

    def __init__(
        self, machine: Machine, size: int = DEFAULT_SIZE, every: int = EVERY, partner: Partner | None = None
    ) -> None:
        self._machine, self._hart, self._partner = machine, machine.hart, partner
        self._size, self._every = size, max(every, 2 * _STEPS_A_BLOCK)
        self._counter = Counter.of(machine.hart)
        self._checkpoints: list[Checkpoint] = []
        self._furthest = 0  # the furthest position so far, up to which output was shown
        self._hushed: ExitStack | None = None
        self._end_value = b""
        self.missing = ""  # why the last checkpoint could not be made
        self.undisturbed: Callable[[], AbstractContextManager[object]] = nullcontext
        self._counter.on_limit = self._on_limit
        if partner is not None:
            self._counter.paused = partner.pauses
        self._counter.begin = lambda: machine.hart.outside(self._begin)
        if machine.hart.running:
            self._counter.begin()

    # -- the position ----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The number of instructions that have run; in a handler, or an errand."""
        return self._counter.now

    @property
    def start(self) -> int:
        """The first position that can be reached."""
        self._must_reach(0)
        return self._checkpoints[0].position

    @property
    def positions(self) -> list[int]:
        """The positions of checkpoints, in order."""
        return [one.position for one in self._checkpoints]

    @property
    def bytes_taken(self) -> int:
        """The approximate size of the checkpoints."""
        return sum(one.pages * PAGE + _OVERHEAD for one in self._checkpoints)

    # -- checkpoints -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin a run. Earlier runs cannot be reached, as Python code between runs would not notice it."""
        self._checkpoints.clear()
        self._furthest = self._counter.now
        self._unhush()
        self._save()
        self._plan()

    def _on_limit(self) -> None:
        if self._hart.has_errands:  # errands come before any guest code
            self._hart.outside(self._on_limit)
            return
        if self._furthest - self._counter.now > _STEPS_A_BLOCK:  # an errand went back meanwhile
            pass
        elif self._hushed is not None:
            self._counter.go_to(self._furthest)
            if self._counter.now >= self._furthest:
                self._unhush()
        else:
            self._save()
        self._plan()

    def _plan(self) -> None:
        """Stop where the next checkpoint is due: after the last one, and after now.

        Stop before that where the output shown before ends.
        """
        last = self._checkpoints[-1].position if self._checkpoints else 0
        due = max(last, self._counter.now) + self._every
        self._counter.stop_behind(due if self._hushed is None else self._furthest)

    def _save(self) -> None:
        """Make a checkpoint here, unless there is one already, or something cannot be saved."""
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
        """Count the pages that only this checkpoint and later ones have."""
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
        """Remove some of the old checkpoints; the first and the last stay."""
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
        """Return how much more has to be run again without this checkpoint, relative to its age."""
        kept = self._checkpoints
        return (kept[at + 1].position - kept[at - 1].position) / (abs(now - kept[at].position) + self._every)

    def forget_what_follows(self) -> None:
        """Forget the history after this point, as memory or registers were changed and the run may differ."""
        now = self._counter.now
        self._checkpoints = [one for one in self._checkpoints if one.position < now]
        self._furthest = now
        self._unhush()
        self._save()
        self._plan()

    # -- going back ------------------------------------------------------------------------------------

    def go_to(self, position: int) -> None:
        """Go to this position, which the run has passed. Raises HistoryError if that is not possible."""
        self._must_reach(position)
        if position > max(self._counter.now, self._furthest):
            raise HistoryError(f"the run has not been at position {position}: it is at {self._counter.now}")
        with self._repeating():
            self._go(position)
        self._plan()

    def step_back(self) -> None:
        """Go back before the last instruction."""
        self.go_to(self._counter.now - 1)

    def back_to_break(self, places: Sequence[tuple[PageTable | None, int]]) -> int | None:
        """Go back to the last time that code reached one of these places: address spaces (None: any), and
        addresses.

        Returns the position; None if there was none, and then goes to the first position.
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
                elif self._hart.current.regs[PC] - was not in (2, 4):  # it was the end of the block
                    break
            return found

        try:
            return self._search(lambda: self._counter.look_for(rows), lambda: self._counter.reached_at, last)
        finally:
            self._counter.look_for(())

    def back_to_write(self, table: PageTable, va: int, size: int) -> int | None:
        """Go back before the instruction that last changed these bytes, directly or by its trap.

        Returns the position, or None, as `back_to_break`. The bytes are at `va` of an address space now, and
        are watched in physical memory, so any writer is found. Raises HistoryError if they are not mapped, or
        on two pages.
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
        """Run one stretch after the other again, the newest first, until one has a hit; go there.

        `begin` starts noting blocks, `hit` returns the block, and `last` finds the position in it, before the
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
        """Restore the machine, the counts and the running context."""
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
        """Mark this context as a re-run."""
        self._furthest = max(self._furthest, self._counter.now)
        self._hush()
        try:
            with self.undisturbed():
                yield
        finally:
            if self._counter.now >= self._furthest:
                self._unhush()

    def _hush(self) -> None:
        """Suppress output up to `_furthest`, which was shown before."""
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
