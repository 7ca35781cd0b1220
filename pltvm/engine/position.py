"""The position of a run, as a number of instructions: the same at the same place in each re-run.

    position N    N instructions of all contexts have run, and their traps are handled. An instruction that
                  trapped to be run again, for example for a missing page, counts once.

Blocks are counted when they begin, so `now` is valid in handlers and outside guest code, and `at` inside a
block. Unicorn checks whether to leave the JIT after the hook for blocks: a block left at its start has not
run.

    count + length   a block that has run up to its trap        `Counter.now`
    count            a block that was left, or trapped           `Counter.now`, as `length` is 0 then

How each block is counted is in `counting`, and in C in native/position.c.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from unicorn import unicorn_const as uc_const

from pltvm import native
from pltvm.engine import counting
from pltvm.engine.context import PC, Context
from pltvm.engine.counting import MOST_WATCHED, NEVER, CounterState
from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE
from pltvm.engine.quirks import Clocked
from pltvm.engine.reservation import Reserved
from pltvm.engine.sv39 import pte_address
from pltvm.engine.trap import FETCHES, Cause
from pltvm.errors import EngineError

COUNTED_BLOCKS: Final = 4096
_BLOCK_SIZE: Final = 40  # bytes of a `struct counted_block`
_LONGEST_BLOCK: Final = 1024  # instructions: more than Unicorn's longest block


class Counter:
    """Counts the instructions of a hart permanently; to be created before any guest code has run.

    `on_limit` is called outside guest code, between two instructions, when `stop_behind` asks for it,
    `on_alarm` at exactly the position of `alarm_at`, and `begin` when a run begins. `of` returns the counter
    of a hart, also of one that has run before.
    """

    def __init__(self, hart: Hart) -> None:
        self._hart = hart
        hart.forget_all_code()  # code translated before would not be counted
        self._state = state = CounterState(limit=NEVER, changed_at=NEVER, reached_at=NEVER)
        self.on_limit: Callable[[], None] = lambda: None
        self.begin: Callable[[], None] = lambda: None
        # whether `Hart.pause` was the reason to leave the JIT
        self.paused: Callable[[], bool] = lambda: False
        self._limit = NEVER  # position for `on_limit`
        self.on_alarm: Callable[[], None] = lambda: None
        self.on_put_back: Callable[[], None] = lambda: None
        self._alarm = NEVER  # where `on_alarm` is due
        self._halting: tuple[int, int] | None = (
            None  # physical range of code that ends where the alarm is due
        )
        self._target: int | None = None  # of `go_to`
        self._is_near = False  # it is inside of the next block
        self._generation = 0  # how often it was put back
        self._entered = 0  # count + again when guest code was entered
        self._kept: tuple[Context, Reserved | None] | None = (
            None  # the context stopped here, and its reservation
        )
        self._places: ctypes.Array[ctypes.c_uint64] | None = None
        self._settle = hart.settle
        hart.settle, hart.counter = self._settle_counted, self
        core = native.core if hart.has_core else None
        if core is None:
            self._fault: Callable[[int], None] = partial(counting.fault, hart, state)
            self._left: Callable[[int], None] = partial(counting.left, hart, state)
            hart.watch(partial(counting.block, hart, state), 1, 0, blocks=True)
        else:
            at = ctypes.addressof(state)
            for function in (core.pltvm_count_fault, core.pltvm_count_left):
                function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_uint64], None
            self._fault = partial(core.pltvm_count_fault, at)
            self._left = partial(core.pltvm_count_left, at)
            self._blocks = (ctypes.c_uint8 * (COUNTED_BLOCKS * _BLOCK_SIZE))()
            state.blocks = ctypes.addressof(self._blocks)
            self._see_changes(hart)
            state.hart, state.stop = ctypes.addressof(hart.core), hart.stop_function()
            hart.core.counter = at
            hart.handlers.answer_through(partial(self._answer_first, _address(core.pltvm_count_answer)))
            hart.watch_blocks(_address(core.pltvm_count_block), at)

    @classmethod
    def of(cls, hart: Hart) -> "Counter":
        """Return the counter of this hart; make it if there is none."""
        return hart.counter if isinstance(hart.counter, cls) else cls(hart)

    def _see_changes(self, hart: Hart) -> None:
        """Notice changes of code and of its mappings, other than the flips and flushes that the core
        counts."""
        changed, forget = hart.translations_changed, hart.memory.on_code_changed

        def translations_changed() -> None:
            self._state.epoch += 1
            changed()

        def forget_code(pa: int, size: int) -> None:
            self._state.epoch += 1
            forget(pa, size)

        hart.translations_changed = translations_changed  # type: ignore[method-assign]
        hart.memory.on_code_changed = forget_code

    def _answer_first(self, own: int, answer: int) -> int:
        self._state.next = answer
        return own

    # -- the position ----------------------------------------------------------------------------------

    @property
    def address(self) -> int:
        """The address of its state in this process, for native code."""
        return ctypes.addressof(self._state)

    @property
    def stopped(self) -> bool:
        """Whether this block will not run yet; for hooks for blocks."""
        return bool(self._state.stopped)

    @property
    def now(self) -> int:
        """Return the position; in a handler, or outside guest code."""
        return self._state.count + self._state.length

    def at(self, pc: int) -> int:
        """Return the position before the instruction at `pc`; from a function called inside its block."""
        state = self._state
        return state.count + counting.instructions(self._hart, state.pc, pc)

    def put_back(self, position: int, used: int, reserved: Reserved | None) -> None:
        """Set the position after the machine was restored, with the `used` part of its time slice, and the
        reservation at that time."""
        state = self._state
        self._kept = self._hart.current, reserved
        self._generation += 1
        state.count, state.length, state.size, state.stopped = position, 0, 0, 0
        if state.blocks:
            ctypes.memset(state.blocks, 0, COUNTED_BLOCKS * _BLOCK_SIZE)
        self._entered = position + state.again
        self._hart.slice.begin(used)
        self.on_put_back()

    @property
    def reserved(self) -> Reserved | None:
        """Return the reservation of an `lr` by the context that was stopped on request; outside guest
        code."""
        return self._kept[1] if self._kept is not None and self._kept[0] is self._hart.current else None

    # -- going on --------------------------------------------------------------------------------------

    def stop_behind(self, position: int) -> None:
        """Call `on_limit` before a block that would pass this position; it goes there, or sets another
        limit."""
        self._limit = position
        self._set_limit()

    def alarm_at(self, position: int) -> None:
        """Call `on_alarm` outside guest code when exactly so many instructions have run; NEVER cancels it.

        For an alarm in the middle of a block, the block is translated again to end there.
        """
        self._alarm = position
        self._set_limit()
        if self._halting is not None:
            self._hart.leave()  # otherwise another context might reach that place

    def _set_limit(self, target: int | None = None) -> None:
        target = self._target if target is None else target
        alarm = NEVER if self._halting is not None else self._alarm
        self._state.limit = min(self._limit if target is None else target, alarm)

    def go_to(self, position: int) -> None:
        """Run to exactly this position; in an errand of the hart. Raises EngineError if the run ends
        before."""
        state = self._state
        self._target, self._is_near = position, position - state.count <= _LONGEST_BLOCK // 2
        generation = self._generation
        try:
            self._hart.run_on(lambda: state.count >= position or self._generation != generation)
        finally:
            self._target = None
            self._set_limit()
        if self._generation != generation:
            return  # something on the way moved the run elsewhere
        if state.count != position and not self._hart.halt.asked:
            raise EngineError(f"the run did not repeat: it is at {self.now} and not at {position}")

    def allowed(self, left: int) -> int:
        """See `hart.Counting`."""
        state, hart, target = self._state, self._hart, self._target
        reserved, self._kept = self.reserved, None
        if left < 0:
            return left
        if reserved is not None:
            hart.reservation.hold(reserved)
        self._entered = state.count + state.again
        if target is None:
            self._set_limit()
            return left
        steps = target - state.count if self._is_near else 0
        self._set_limit(NEVER if steps else target)
        return min(steps, left) if steps and left else steps or left

    def ran_by_hand(self, trapped: bool) -> None:
        """See `hart.Counting`."""
        self._state.count += 1
        self._state.again -= trapped

    def left(self, pc: int, status: int, other: bool) -> bool:
        """See `hart.Counting`."""
        other = other or self.paused()
        if not other:
            self._kept = self._hart.current, self._hart.reservation.held
        if self._goes_on(pc, status, other):
            return True
        self._kept = None
        return False

    def _goes_on(self, pc: int, status: int, other: bool) -> bool:
        state, hart = self._state, self._hart
        self._left(pc)
        halted, self._halting = self._halting, None
        if halted is not None:
            hart.until = NEVER
            if state.count == self._alarm and status == uc_const.UC_ERR_OK:
                hart.forget_code(*halted)
            else:  # another context has reached a place with such an end
                hart.forget_all_code()
        hart.slice.use(state.count + state.again - self._entered)
        stopped, state.stopped = state.stopped, 0
        if other:  # the other reason comes first; this block stops again
            return False
        due = state.count if halted is not None and state.count == self._alarm else NEVER
        if stopped:
            end = state.count + counting.instructions(hart, state.pc, state.pc + state.size)
            due = self._alarm if self._alarm < end else NEVER
            if end > (self._limit if self._target is None else self._target):
                if self._target is None:
                    self._limit = NEVER
                    generation = self._generation
                    self.on_limit()
                    if generation != self._generation:
                        return True  # `on_alarm` or `on_limit` moved the run elsewhere
                else:
                    self._is_near = True
        if due != NEVER:
            if state.count >= due:
                self._alarm = NEVER
                self.on_alarm()
            else:
                self._halt_in_block(due - state.count)
            return True
        if stopped or halted is not None:
            return True
        if status != uc_const.UC_ERR_OK:  # a breakpoint: a slice begins
            hart.slice.begin()
            return False
        near = self._target is not None and self._is_near
        if near and (state.count >= (self._target or 0) or not hart.time_slice):
            return True
        if hart.slice.used < hart.time_slice:
            return True  # instructions that had to be run again, in Unicorn's count
        hart.slice.begin()
        return False

    def _halt_in_block(self, instructions: int) -> None:
        """Leave the JIT after so many instructions of the block that begins here."""
        hart, state = self._hart, self._state
        table = hart.current.table
        entry = table.entry(state.pc) if table is not None else 0
        assert table is not None
        assert entry  # otherwise it would have no instructions
        code = table.memory.read(pte_address(entry), PAGE)
        at = start = state.pc & PAGE - 1
        for _ in range(instructions):
            at += 4 if code[at] & 3 == 3 else 2
        pa = pte_address(entry) + start
        self._halting = pa, at - start + 4
        hart.until = state.pc + at - start
        hart.forget_code(*self._halting)

    def _settle_counted(self, hart: Clocked, cause: int, context: Context) -> int | None:
        pc, state = context.regs[PC] - 4, self._state
        if cause in FETCHES:
            self._left(NEVER)
        else:
            self._fault(pc)
        settled = self._settle(hart, cause, context)
        if settled == Cause.BREAK:  # a debugger's breakpoint; there is no trap without it
            state.again -= 1
        if context.regs[PC] != pc and cause not in FETCHES:  # it was emulated
            state.count += 1
            state.again -= 1
        return settled

    # -- searches --------------------------------------------------------------------------------------

    def watch(self, host_address: int, size: int) -> None:
        """Note when these bytes of RAM change, given by their address in this process; `size` 0 ends that.

        A change in a block, or in handling its trap, shows in `changed_at` when the next block begins.
        """
        if size > MOST_WATCHED:
            raise EngineError(f"{size} bytes are watched: at most {MOST_WATCHED} can be")
        state = self._state
        state.watched, state.watched_size, state.changed_at = host_address or None, size, NEVER
        ctypes.memmove(state.was, host_address, size)

    def look_for(self, places: Sequence[tuple[int, int]]) -> None:
        """Note when a block begins that contains one of these places: root table, 0 for any, and address."""
        numbers = [number for place in places for number in place]
        self._places = rows = (ctypes.c_uint64 * len(numbers))(*numbers)
        state = self._state
        state.places, state.place_count, state.reached_at = ctypes.addressof(rows), len(places), NEVER

    @property
    def changed_at(self) -> int | None:
        """Return the start position of the block in which the watched bytes last changed."""
        return None if self._state.changed_at == NEVER else self._state.changed_at

    @property
    def reached_at(self) -> int | None:
        """Return the start position of the last block that contained one of the places."""
        return None if self._state.reached_at == NEVER else self._state.reached_at


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
