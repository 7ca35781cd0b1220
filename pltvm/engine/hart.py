"""One CPU. It runs the current context in Unicorn's JIT until a trap, and hands the trap to a handler.

The life of a trap:

1. the JIT leaves guest code and calls `_on_trap`, which saves the registers of the context that ran;
2. the handler for the cause decides. It may change `hart.current`, registers, page tables;
3. `_load` flushes if translations changed, loads the (perhaps other) current context, and the JIT goes on.

With the native core, the core gets the trap first and answers it if it can, else it saves and loads the
registers around the handler: see `native/hart.h` and `handlers`.

No step leaves `emu_start`. A handler ends the run by calling `stop`; other threads use `preemption`. Only
this file flushes, and only this file, `quirks`, `skipped` and `supervisor` read or change the CPU during a
run. The library is called through ctypes directly with arrays built once: the binding's own wrappers cost
more than the calls.
"""

import ctypes
from collections.abc import Callable
from typing import Final, Protocol

from unicorn import unicorn_const as uc_const

from pltvm import native
from pltvm.engine import context as ctx
from pltvm.engine import quirks, supervisor
from pltvm.engine.breaks import Breaks
from pltvm.engine.context import A0, PC, SATP, SAVED_FROM, SLOTS, Context
from pltvm.engine.core import SAVED, SWITCHED, WAITING, CoreHart
from pltvm.engine.emulate import Protection
from pltvm.engine.halt import Halt
from pltvm.engine.handlers import Handlers
from pltvm.engine.hooks import Hooks
from pltvm.engine.leaving import Leaving
from pltvm.engine.memory import Memory
from pltvm.engine.reservation import Reservation, Reserved
from pltvm.engine.skipped import Skipped, TranslatedBlock
from pltvm.engine.sv39 import ASID_MASK
from pltvm.engine.tlb_tuning import tuner
from pltvm.engine.trap import Cause
from pltvm.engine.unicorn_library import FLUSH_TLB, check, library, new_engine, quick
from pltvm.engine.watching import Watchable

_LAST_ADDRESS: Final = 0xFFFF_FFFF_FFFF_FFFF
_NEVER: Final = _LAST_ADDRESS  # odd, so pc is never there

_read: Final = quick.uc_reg_read_batch
_write: Final = quick.uc_reg_write_batch
_read.restype = _write.restype = None  # they cannot fail for these registers

_LOAD_IDS: Final = ctypes.byref(ctx.REGISTER_IDS)
_SAVE_IDS: Final = ctypes.byref(ctx.REGISTER_IDS, 4 * SAVED_FROM)
_SAVED: Final = SLOTS - SAVED_FROM
_A0_ID: Final = ctypes.byref(ctx.REGISTER_IDS, 4 * A0)

_ECALL_U: Final = int(Cause.ECALL_U)
_TOLD: Final = SWITCHED | WAITING | SAVED
# A breakpoint leaves the JIT, which then counts from the start. So many of them end a time slice; otherwise a
# program full of breakpoints would never reach the end of one.
_MOST_BROKEN_OFF: Final = 256


class Counting(Protocol):
    """A counter of executed instructions: `position.Counter`."""

    @property
    def now(self) -> int:
        """Return how many have run."""

    def begin(self) -> None:
        """Note that a run begins."""

    def allowed(self, left: int) -> int:
        """Return how many may run when guest code is entered now; 0 for any number. `left` is what is left of
        the time slice, see `TimeSlice.left`; −1 if the slice is over."""

    def ran_by_hand(self, trapped: bool) -> None:
        """Count an instruction that ran outside the JIT, or that has `trapped` in it."""

    def left(self, pc: int, status: int, other: bool) -> bool:
        """Count what ran before guest code was left at `pc`, also for the time slice; `status` is Unicorn's.
        Return True if this counter asked for it, and there is no `other` reason."""


class Hart(Watchable):
    """A RISC-V CPU on `memory`; with the native core, if there is one, unless `use_core` is false.

    `handlers[cause]` is called with the context that trapped; its pc is on the faulting instruction, or after
    an `ecall`. `current` is the context that runs next. A trap costs two batch calls of Unicorn: one saves
    the registers, one loads them or those of another context.
    """

    def __init__(self, memory: Memory, use_core: bool = True) -> None:
        self._uc = new_engine(memory.base, memory.size, memory.host_address)
        handle = ctypes.c_void_p(self._uc._uch.value)
        super().__init__(handle, Hooks(handle, self._fail))
        self._leaving = Leaving(handle, memory.end - 2)
        self.reservation = Reservation(handle)
        self.memory = memory
        self.core = CoreHart()
        self.breaks = Breaks(self.core, self.forget_code, self._leaving.ran)
        self._skipped = Skipped(handle, memory, self.breaks, self.reservation)
        self.settle = self.breaks.settle  # a replacement calls the former function
        self._errands: list[Callable[[], None]] = []
        self.handlers = Handlers(self.core)
        self.current = Context(ctx.M)
        self.halt = Halt()  # of the run in progress, or the next one
        self._traps = self._flushes = 0  # those of the core not included
        self.protection: Protection = ()  # the PMP entries, by priority
        self.protected: dict[int, tuple[int, int, int]] = {}  # the same, by number
        self.refreshes = 0  # flushes caused by the host's clock, see `tlb_tuning`
        self._loaded: Context | None = None  # the context whose registers are in Unicorn
        self._stale_tlb = False
        self._satp = 0  # the value of Unicorn's satp
        self._stopping = False
        self.counter: Counting | None = None  # counts instructions: `position`
        self._counted = False  # whether the JIT counts instructions
        self.until = _NEVER  # where newly translated code leaves the JIT for `counter`
        self._inside = False  # the JIT runs, or a handler does
        self._reserved: tuple[Context, Reserved] | None = None  # context left for an errand, its reservation
        self._broken_off = 0  # unfinished time slices since the last Cause.TIMER
        self._error: BaseException | None = None  # raised by a handler
        self._late: BaseException | None = None  # raised by `on_waiting`: re-raised in a consistent state
        # For what the core leaves to Python: the context that runs after switches, and waiting work.
        self.whose: Callable[[], Context] = lambda: self.current
        self.on_waiting: Callable[[], None] = lambda: None
        self.may_wait = False  # whether work may be waiting
        # Gets a Python error of a handler and the context that trapped; True if it has dealt with the error.
        self.on_error: Callable[[Exception, Context], bool] = lambda _error, _context: False
        memory.on_code_changed = self.forget_code
        core = native.core if use_core else None
        self.has_core = core is not None
        trap = self._hooks.trap_function(self._on_trap)
        look = self._hooks.translated_function(self._look_at)
        self.core.connect(handle, memory, FLUSH_TLB.value, python=trap, look=look)
        first = (trap, look) if core is None else (core.pltvm_trap, core.pltvm_translated)
        self._hooks.begin(*first, ctypes.addressof(self.core))
        self._skipped.begin(self.run_bare)
        self._stale_tlb = False  # no address was translated yet

    # -- counts ----------------------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """The value of all counters that guests can read."""
        return self.core.clock

    @clock.setter
    def clock(self, ticks: int) -> None:
        self.core.clock = ticks

    @property
    def traps(self) -> int:
        """The number of traps so far."""
        return self._traps + self.core.traps

    @property
    def flushes(self) -> int:
        """The number of flushes so far, without `refreshes` and those of Unicorn itself."""
        return self._flushes + self.core.flushes

    @property
    def flips(self) -> int:
        """The number of flips so far, of pages that are writable and executable in turns."""
        return self.core.flips

    def all_counts(self) -> tuple[int, int, int, int]:
        """Return traps and flushes, of Python and of the core: for `set_all_counts`."""
        return self._traps, self._flushes, self.core.traps, self.core.flushes

    def set_all_counts(self, counts: tuple[int, int, int, int]) -> None:
        """Set the counts, after the machine was restored."""
        self._traps, self._flushes, self.core.traps, self.core.flushes = counts

    # -- notifications from other parts: more in `Preemptible` -----------------------------------------

    def translations_changed(self) -> None:
        """Flush before guest code runs again, as page-table or PMP entries changed."""
        self._stale_tlb = True

    def note_flip(self) -> None:
        """Count a page that turned from writable to executable, or back."""
        self._stale_tlb = True
        self.core.flips += 1

    def context_changed(self) -> None:
        """Load all of the current context before it goes on, as its satp, mstatus or privilege changed."""
        self._loaded = None

    def forget_context(self, context: Context) -> None:
        """Forget a context whose registers are gone: the next one is loaded completely."""
        if self._loaded is context:
            self._loaded = None

    def deliver(self, context: Context, cause: int, value: int) -> bool:
        """Let the current context, in S- or U-mode, take a trap as the hardware would: in S-mode at `stvec`.

        `value` goes to `stval`. Returns False if there is no trap vector, or if the first instruction of the
        vector itself traps, which would repeat forever.
        """
        if not supervisor.take_trap(self._handle, context, cause, value):
            return False
        self.context_changed()
        return True

    def protect(self, entries: dict[int, tuple[int, int, int]]) -> None:
        """Set the PMP entries, by number, for emulated accesses."""
        self.protected, self.protection = entries, list(entries.values())
        self.core.protect(self.protection)

    def clear_supervisor(self) -> None:
        """Zero the S-mode registers that no context saves, before another program uses S-mode."""
        supervisor.clear(self._handle)
        self.context_changed()

    def forget_code(self, pa: int, size: int) -> None:
        """Discard the translated code of this physical range, as it was changed from outside the guest.

        `Memory` calls it when its own methods write; code that writes in other ways has to call it.
        """
        quirks.remove_code(self._handle, pa, size, self._loaded, self.reservation)

    def stop(self) -> None:
        """Leave `run` when the handler that calls this returns."""
        self._stopping = True
        quick.uc_emu_stop(self._handle)

    def watch_traps(self, before: Callable[[int], None], after: Callable[[int], None]) -> None:
        """Call Python functions before and after each trap, with its cause. Without the native core only."""
        assert not self.has_core

        def trap(told: int, cause: int) -> bool:
            try:
                before(cause)
                self._on_trap(told, cause)
                after(cause)
            except BaseException as error:  # must not unwind through C frames
                self._fail(error)
            return False

        self._hooks.replace_traps(self._hooks.trap_function(trap), 0)

    def watch_leaving(self, function: Callable[[Context], None]) -> None:
        """Call `function` with the saved context whenever the JIT is left without a trap.

        That may be in the middle of a block; if it is at the start, the block was already reported.
        """
        save = self._save

        def saved(context: Context) -> None:
            save(context)
            function(context)

        self._save = saved  # type: ignore[method-assign]

    def _fail(self, error: BaseException) -> None:
        """Make `run` raise this error as soon as guest code is left."""
        self._error = error
        quick.uc_emu_stop(self._handle)

    def raise_later(self, error: BaseException) -> None:
        """Let the run end as by `interrupt`, and then raise this; for functions called by the core."""
        self._late = self._late or error
        self.interrupt()

    def read_registers(self) -> None:
        """Save the registers of the current context, as a trap does; for functions of `watch`."""
        _read(self._handle, _SAVE_IDS, self.current.saved_pointers, _SAVED)

    def _look_at(self, _engine: object, block: "ctypes._Pointer[TranslatedBlock]", *_: object) -> None:
        try:
            context = self.whose() if self.core.told & SWITCHED else self.current
            self.core.replaced = self._skipped.look_at(block.contents, context)
        except BaseException as error:  # must not unwind through C frames
            self._fail(error)

    # -- running ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run `current` until a handler calls `stop`. Raises whatever a handler raised.

        After a request by `halt` no guest code runs: the handler of Cause.INTERRUPT is called to reach a
        consistent state, and the run ends in any case.
        """
        self._running = True
        self._stopping = self._interrupted = self._restart = self._refresh = False
        self._late = None
        goes_on = False
        try:
            tuner.begin(self)
            if self.counter is not None:
                self.counter.begin()
            while not self._stopping:
                if self.halt.asked:
                    self._traps += 1
                    self.handlers[Cause.INTERRUPT](self.current)
                    break
                if self._errands:
                    self._run_errands()
                    goes_on = False
                    continue
                goes_on = self._enter(goes_on)
            if self._late is not None:
                raise self._late
        finally:
            self._running, self._loaded = False, None
            tuner.end(self)

    def _enter(self, goes_on: bool) -> bool:
        """Run guest code until the JIT is left, and handle the reason. Return True when nothing has
        changed."""
        if not goes_on:
            self._load()
        self._restart = False  # any request to restart is fulfilled
        left = self.slice.left()
        count = left if self.counter is None else self.counter.allowed(left)
        if count < 0:  # the slice was over when the JIT was left for something else
            self._trap_outside(Cause.TIMER, self.current)
            return False
        if self._reserved is not None:
            (who, reserved), self._reserved = self._reserved, None
            if who is self.current:
                self.reservation.hold(reserved)
        if count and not self._counted:  # already translated code does not count
            self.forget_all_code()
        self._counted = count > 0
        self._leaving.between_blocks(only=not (count or self._hooks.stepped))
        self._inside = True
        status = library.uc_emu_start(self._handle, self.current.regs[PC], self.until, 0, count)
        self._inside = False
        if self.core.told:
            told, self.core.told = self.core.told, 0
            self._take(told)
        self._skipped.put_back()
        self.core.replaced = False
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._stopping:
            return False
        self._save(self.current)
        return self._left_without_trap(status)

    def run_on(self, until: Callable[[], bool]) -> None:
        """In an errand: run `current`, and what follows, until `until()` is true; it is checked between
        blocks.

        If the run ends before, it has ended.
        """
        errands, self._errands = self._errands, []
        self._loaded, goes_on = None, False
        while not (self._stopping or self.halt.asked or until()):
            if self._errands:  # of a debugger that was notified on the way
                self._run_errands()
                goes_on = False
                continue
            goes_on = self._enter(goes_on)
        self._errands += errands

    def outside(self, errand: Callable[[], None]) -> None:
        """Call `errand` outside guest code, before guest code goes on; from a handler, or before a run.

        It may change what cannot be changed inside the JIT (`pmp.program`), or the current context.
        """
        self._errands.append(errand)
        if self._running:
            self.leave()

    @property
    def has_errands(self) -> bool:
        """Whether an errand of `outside` is waiting."""
        return bool(self._errands)

    def _run_errands(self) -> None:
        errands, self._errands = self._errands, []
        for errand in errands:
            errand()

    def trap(self, cause: Cause) -> None:
        """Let the current context take this trap next; calls its handler now. From a handler."""
        self._traps += 1
        self.ran_by_hand()
        self.handlers[cause](self.current)

    def ran_by_hand(self, trapped: bool = False) -> None:
        """Count an instruction that was done for the current context outside the JIT.

        `trapped`: it had trapped in the JIT first, and not at a breakpoint.
        """
        if not self._inside:
            self.slice.use(1)
        elif not trapped:  # else the JIT has counted it
            self._leaving.ran(1)
        if self.counter is not None:
            self.counter.ran_by_hand(trapped)

    @property
    def inside(self) -> bool:
        """Whether the JIT runs, or has called a handler."""
        return self._inside

    @property
    def stopping(self) -> bool:
        """Whether the run ends as soon as the handler returns."""
        return self._stopping

    def end_slice(self) -> None:
        """Make the current context trap with Cause.TIMER here; for `counter`, outside guest code."""
        self._trap_outside(Cause.TIMER, self.current)

    def leave(self) -> None:
        """Leave the JIT before more code runs, and then go on; from a handler."""
        self._restart = True
        quick.uc_emu_stop(self._handle)

    def run_bare(self, context: Context) -> None:
        """Run `context` in M-mode until `wfi`; only for the engine's own few instructions."""
        before, self.current = self.current, context
        self._load()
        check(library.uc_emu_start(self._handle, context.regs[PC], _NEVER, 0, 0))
        self._loaded = None
        self._stale_tlb = True
        self.current = before

    def _take(self, told: int) -> None:
        """Take over what the core has left: another context runs; work is waiting."""
        if told & SWITCHED:
            self.current = self._loaded = context = self.whose()
            self._satp = context.regs[SATP]
        if told & WAITING:
            try:
                self.on_waiting()
            except BaseException as error:
                self.raise_later(error)

    def _on_trap(self, told: int, cause: int) -> bool:
        """Handle a trap. `told` are flags of the core; True if it has to load what it has saved."""
        try:
            saved = False
            if told & _TOLD:
                saved = bool(told & SAVED)
                self._take(told)
            self._traps += 1
            context = self.current
            if not saved:
                _read(self._handle, _SAVE_IDS, context.saved_pointers, _SAVED)
            if context.privileged:
                supervisor.save_privilege(self._handle, context)
            answered = None
            try:
                if cause == _ECALL_U:  # Unicorn reports it for every privilege
                    answered = self.handlers[cause](context)
                else:
                    settled = self.settle(self, cause, context)
                    if settled is not None:
                        self.handlers[settled](context)
            except Exception as error:
                if not self.on_error(error, context):
                    raise
            if self._stopping:
                return False
            context = self.current
            if context is not self._loaded or self._stale_tlb:
                self._load()
            elif saved:
                return True
            elif answered:
                _write(self._handle, _A0_ID, context.a0_pointer, 1)
            else:
                _write(self._handle, _SAVE_IDS, context.saved_pointers, _SAVED)
        except BaseException as error:  # must not unwind through C frames
            self._fail(error)
        return False

    def _left_without_trap(self, status: int) -> bool:
        """Handle a return of the JIT without a trap: `wfi`, `ebreak`, an entry that points outside RAM, or
        `interrupt`.

        Return True when nothing has changed, and the context goes on with the registers in Unicorn.
        """
        context = self.current
        asked = self.halt.asked or self._interrupted or self._restart or self._refresh
        if self.counter is not None and self.counter.left(context.regs[PC], status, asked):
            return self.current is self._loaded and not self._stale_tlb
        if self.halt.asked:
            return False  # `run` handles it
        if self._interrupted:
            self._interrupted = self._restart = self._refresh = False
            cause = Cause.INTERRUPT
        elif self._restart or self._refresh:
            if self._refresh:
                quick.uc_ctl(self._handle, FLUSH_TLB)
                self.refreshes += 1
            self._restart = self._refresh = False
            if self.counter is None:
                self.slice.use(self._leaving.counted)
            reserved = self.reservation.held
            self._reserved = (context, reserved) if reserved is not None else None
            return context is self._loaded and not self._stale_tlb
        elif status == uc_const.UC_ERR_OK and self.slice.length:  # no `wfi`: user mode has none
            cause = Cause.TIMER
        else:
            cause = quirks.cause_of_end(status, context)
        if self.counter is None:
            self.slice.begin()
        self._broken_off = self._broken_off + 1 if self.slice.length and status != uc_const.UC_ERR_OK else 0
        self._trap_outside(cause, context)
        if self._broken_off >= _MOST_BROKEN_OFF and not self._stopping:
            self._trap_outside(Cause.TIMER, self.current)
        return False

    def _trap_outside(self, cause: Cause, context: Context) -> None:
        """Handle a trap that has left the JIT."""
        self._traps += 1
        if cause == Cause.TIMER:
            self.clock += self.slice.length
            self._broken_off = 0
        try:
            self.handlers[cause](context)
        except Exception as error:
            if not self.on_error(error, context):
                raise

    # -- switching -------------------------------------------------------------------------------------

    def _save(self, context: Context) -> None:
        _read(self._handle, _SAVE_IDS, context.saved_pointers, _SAVED)
        if context.privileged:
            supervisor.save_privilege(self._handle, context)

    def _load(self) -> None:
        new = self.current
        satp = new.regs[SATP]
        changed = satp ^ self._satp
        if (self._stale_tlb or changed) and not changed & ASID_MASK:
            self._flush()  # when the ASID changes, writing satp flushes
        self._stale_tlb, self._satp = False, satp
        _write(self._handle, _LOAD_IDS, new.loaded_pointers, SLOTS)
        if new.privileged:
            supervisor.load_fcsr(self._handle, new)
        self._loaded = new
        if self.has_core:
            self.core.registers = None if new.privileged else new.address

    def _flush(self) -> None:
        quick.uc_ctl(self._handle, FLUSH_TLB)
        self._stale_tlb = False
        self._flushes += 1
