"""Where a run is, as a number of instructions: the same number at the same place, each time it is run.

    position N    N instructions have run, of whomever; what they trapped for is done. One that trapped
                  to be run again, as for a page that was not there, counts once.

Blocks are counted when they begin, so `now` is right in handlers and outside of guest code, and `at` inside
of a block. Unicorn looks whether to leave the JIT behind the hook for blocks: where a block was left at its
start, it has not run.

    count + length   a block that has run up to its trap        `Counter.now`
    count            a block that was left, or trapped           likewise, as `length` is 0 then

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
_LONGEST_BLOCK: Final = 1024  # instructions, and more than Unicorn makes


class Counter:
    """Counts the instructions of a hart from now on, for good: before any guest code has run.

    `on_limit` is called outside of guest code, between two instructions, once `stop_behind` says so, and
    `on_alarm` at exactly the position that `alarm_at` says; `begin` when a run begins. `of` gives the one of
    a hart that has run before.
    """

    def __init__(self, hart: Hart) -> None:
        self._hart = hart
        hart.forget_all_code()  # what was translated before would not be counted
        self._state = state = CounterState(limit=NEVER, changed_at=NEVER, reached_at=NEVER)
        self.on_limit: Callable[[], None] = lambda: None
        self.begin: Callable[[], None] = lambda: None
        self.paused: Callable[[], bool] = lambda: False  # whether `Hart.pause` has left the JIT
        self._limit = NEVER  # where `on_limit` is due
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
            None  # who was stopped here, and what it reserved
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
        """The counter of this hart, which is made if it has none."""
        return hart.counter if isinstance(hart.counter, cls) else cls(hart)

    def _see_changes(self, hart: Hart) -> None:
        """Know of what changes code, or where it is, beside the flips and flushes that the core counts."""
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

    # -- where it is -----------------------------------------------------------------------------------

    @property
    def address(self) -> int:
        """Of its state in this process: for native code."""
        return ctypes.addressof(self._state)

    @property
    def stopped(self) -> bool:
        """In a hook for blocks: whether this block will not run yet."""
        return bool(self._state.stopped)

    @property
    def now(self) -> int:
        """The position: in a handler, or outside of guest code."""
        return self._state.count + self._state.length

    def at(self, pc: int) -> int:
        """The position before the instruction at `pc`, from a function that is called inside of its block."""
        state = self._state
        return state.count + counting.instructions(self._hart, state.pc, pc)

    def put_back(self, position: int, used: int, reserved: Reserved | None) -> None:
        """The machine was put back to where it was here, with so much of its time slice `used`, and what was
        `reserved`."""
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
        """What is reserved by an `lr`, outside of guest code, by who was stopped as was asked for."""
        return self._kept[1] if self._kept is not None and self._kept[0] is self._hart.current else None

    # -- going on --------------------------------------------------------------------------------------

    def stop_behind(self, position: int) -> None:
        """Call `on_limit` before a block that would go further; it goes to there, or sets another."""
        self._limit = position
        self._set_limit()

    def alarm_at(self, position: int) -> None:
        """Call `on_alarm` outside of guest code when exactly so many instructions have run; NEVER: do not.

        For an alarm in the middle of a block the code up to there is translated once more, with an end there.
        """
        self._alarm = position
        self._set_limit()
        if self._halting is not None:
            self._hart.leave()  # or another context might come to that place

    def _set_limit(self, target: int | None = None) -> None:
        target = self._target if target is None else target
        alarm = NEVER if self._halting is not None else self._alarm
        self._state.limit = min(self._limit if target is None else target, alarm)

    def go_to(self, position: int) -> None:
        """In an errand of the hart: run on to exactly this position. Raises EngineError if it never comes."""
        state = self._state
        self._target, self._is_near = position, position - state.count <= _LONGEST_BLOCK // 2
        generation = self._generation
        try:
            self._hart.run_on(lambda: state.count >= position or self._generation != generation)
        finally:
            self._target = None
            self._set_limit()
        if self._generation != generation:
            return  # on the way somebody went elsewhere
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
            else:  # it has gone elsewhere, where there may be such an end too
                hart.forget_all_code()
        hart.slice.use(state.count + state.again - self._entered)
        stopped, state.stopped = state.stopped, 0
        if other:  # that comes first; this block is stopped at again
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
                        return True  # somebody went elsewhere
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
        """Have the JIT left after so many instructions of the block that it is at the start of."""
        hart, state = self._hart, self._state
        table = hart.current.table
        entry = table.entry(state.pc) if table is not None else 0
        assert table is not None
        assert entry  # or it would have no instructions
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
        if settled == Cause.BREAK:  # a debugger's place, where else there is no trap
            state.again -= 1
        if context.regs[PC] != pc and cause not in FETCHES:  # it was done in software
            state.count += 1
            state.again -= 1
        return settled

    # -- what is looked for ----------------------------------------------------------------------------

    def watch(self, host_address: int, size: int) -> None:
        """Note when these bytes of RAM change, by their address in this process; nothing with `size` 0.

        What changed in a block, or when its trap was served, shows in `changed_at` when the next one begins.
        """
        if size > MOST_WATCHED:
            raise EngineError(f"{size} bytes are watched: at most {MOST_WATCHED} can be")
        state = self._state
        state.watched, state.watched_size, state.changed_at = host_address or None, size, NEVER
        ctypes.memmove(state.was, host_address, size)

    def look_for(self, places: Sequence[tuple[int, int]]) -> None:
        """Note when a block begins that has one of these: root table, 0 for any, and address."""
        numbers = [number for place in places for number in place]
        self._places = rows = (ctypes.c_uint64 * len(numbers))(*numbers)
        state = self._state
        state.places, state.place_count, state.reached_at = ctypes.addressof(rows), len(places), NEVER

    @property
    def changed_at(self) -> int | None:
        """Where the block began in which what is watched last changed."""
        return None if self._state.changed_at == NEVER else self._state.changed_at

    @property
    def reached_at(self) -> int | None:
        """Where the block began that last had one of the places."""
        return None if self._state.reached_at == NEVER else self._state.reached_at


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
