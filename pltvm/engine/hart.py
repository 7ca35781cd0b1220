"""One CPU. It runs the current context in Unicorn's JIT until a trap, and hands the trap to a handler.

The life of a trap:

1. the JIT leaves guest code and calls `_on_trap`, which saves the registers of the context that ran;
2. the handler for the cause decides. It may change `hart.current`, registers, page tables;
3. `_load` flushes if translations changed, loads the (perhaps other) current context, and the JIT goes on.

With the native core that comes first, and answers what it can: see `native/hart.h` and `handlers`.

No step leaves `emu_start`. A handler that wants to end the run calls `stop`; other threads have it left by
`preemption`. This is the only file that flushes, and with `quirks`, `skipped` and `supervisor` the only one
that looks at the CPU or changes it while a run lasts. The library is called through ctypes directly with
arrays built once: the binding's own wrappers cost more than the calls.
"""

import ctypes
from collections.abc import Callable
from typing import Final, Protocol

from unicorn import unicorn_const as uc_const

from pltvm import native
from pltvm.engine import context as ctx
from pltvm.engine import quirks, supervisor
from pltvm.engine.breaks import Breaks
from pltvm.engine.context import PC, SATP, SAVED_FROM, SLOTS, Context
from pltvm.engine.core import SWITCHED, WAITING, CoreHart
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
_read.restype = _write.restype = None  # no register of the lists can be refused

_LOAD_IDS: Final = ctypes.byref(ctx.REGISTER_IDS)
_SAVE_IDS: Final = ctypes.byref(ctx.REGISTER_IDS, 4 * SAVED_FROM)
_SAVED: Final = SLOTS - SAVED_FROM

_ECALL_U: Final = int(Cause.ECALL_U)
# A breakpoint leaves the JIT, which then counts from the start. So many of them make a slice, or a program of
# breakpoints would never come to the end of one.
_MOST_BROKEN_OFF: Final = 256


class Counting(Protocol):
    """Who counts the instructions that run: `position.Counter`."""

    @property
    def now(self) -> int:
        """How many have run."""

    def begin(self) -> None:
        """A run begins."""

    def allowed(self, left: int) -> int:
        """How many may run when guest code is entered now, 0 for any number. With so many `left` of the time
        slice, as `TimeSlice.left` says; −1 as there."""

    def ran_by_hand(self, trapped: bool) -> None:
        """An instruction has run that the JIT does not know of, or that has `trapped` there."""

    def left(self, pc: int, status: int, other: bool) -> bool:
        """Guest code was left at `pc`, with Unicorn's status: count it, for the time slice too. True: as was
        asked for here, and for no `other` reason."""


class Hart(Watchable):
    """A RISC-V CPU on `memory`; with the native core, if there is one, unless `use_core` is false.

    `handlers[cause]` is called with the context that trapped, its pc on the faulting instruction (after an
    `ecall`: behind it). `current` is what runs next. A trap costs two batch calls of Unicorn: one saves the
    registers, one loads them or those of another context.
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
        self.settle = self.breaks.settle  # who replaces it calls what was there
        self._errands: list[Callable[[], None]] = []
        self.handlers = Handlers(self.core)
        self.current = Context(ctx.M)
        self.halt = Halt()  # of the run in progress, or the next one
        self._traps = self._flushes = 0  # without those of the core
        self.protection: Protection = ()  # what PMP says
        self.protected: dict[int, tuple[int, int, int]] = {}  # the same by the number of the entry
        self.refreshes = 0  # flushes that only the clock knows of, see `tlb_tuning`
        self._loaded: Context | None = None  # whose registers Unicorn holds
        self._stale_tlb = False
        self._satp = 0  # what Unicorn's satp holds
        self._stopping = False
        self.counter: Counting | None = None  # of instructions: `position`
        self._counted = False  # the JIT counts instructions
        self.until = _NEVER  # where `counter` has the JIT left, in code that is translated from now on
        self._inside = False  # it runs, or one of its traps is handled
        self._reserved: tuple[Context, Reserved] | None = None  # who was left for an errand, and what it has
        self._broken_off = 0  # slices that did not come to their end, since the last Cause.TIMER
        self._error: BaseException | None = None  # of a handler
        self._late: BaseException | None = None  # of `on_waiting`: raised when things are in order
        # What the core has left: who runs, after it has let others run; and work for Python.
        self.whose: Callable[[], Context] = lambda: self.current
        self.on_waiting: Callable[[], None] = lambda: None
        self.may_wait = False  # whether there may be any
        # Told of an error of ours in a handler and the context that trapped; True when that is dealt with.
        self.on_error: Callable[[Exception, Context], bool] = lambda _error, _context: False
        memory.on_code_changed = self.forget_code
        core = native.core if use_core else None
        self.has_core = core is not None
        trap = self._hooks.trap_function(self._on_core_trap if self.has_core else self._on_trap)
        look = self._hooks.translated_function(self._look_at)
        self.core.connect(handle, memory, FLUSH_TLB.value, python=trap, look=look)
        first = (trap, look) if core is None else (core.pltvm_trap, core.pltvm_translated)
        self._hooks.begin(*first, ctypes.addressof(self.core))
        self._skipped.begin(self.run_bare)
        self._stale_tlb = False  # it translated no address

    # -- counts ----------------------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """What all counters of guests show."""
        return self.core.clock

    @clock.setter
    def clock(self, ticks: int) -> None:
        self.core.clock = ticks

    @property
    def traps(self) -> int:
        """So far."""
        return self._traps + self.core.traps

    @property
    def flushes(self) -> int:
        """So far, without those of `refreshes` and of Unicorn itself."""
        return self._flushes + self.core.flushes

    @property
    def flips(self) -> int:
        """So far, of pages that are writable and executable in turns."""
        return self.core.flips

    def all_counts(self) -> tuple[int, int, int, int]:
        """Traps and flushes, of both: for `set_all_counts`."""
        return self._traps, self._flushes, self.core.traps, self.core.flushes

    def set_all_counts(self, counts: tuple[int, int, int, int]) -> None:
        """Count on from here: the machine was put back."""
        self._traps, self._flushes, self.core.traps, self.core.flushes = counts

    # -- what others tell the hart: more in `Watchable` -----------------------------------------------

    def translations_changed(self) -> None:
        """Page-table or PMP entries changed: flush before guest code runs again."""
        self._stale_tlb = True

    def note_flip(self) -> None:
        """A page turned from writable to executable, or back."""
        self._stale_tlb = True
        self.core.flips += 1

    def context_changed(self) -> None:
        """satp, mstatus or privilege of the current context changed: load all of it before it runs on."""
        self._loaded = None

    def forget_context(self, context: Context) -> None:
        """The registers of a context are no more: whoever runs next is loaded, with nothing of it."""
        if self._loaded is context:
            self._loaded = None

    def deliver(self, context: Context, cause: int, value: int) -> bool:
        """Let the current context, in S- or U-mode, take a trap as the hardware would: in S-mode at `stvec`.

        `value` is for `stval`. False when there is no trap vector, or when the trap is of the vector's own
        first instruction and would come forever.
        """
        if not supervisor.take_trap(self._handle, context, cause, value):
            return False
        self.context_changed()
        return True

    def protect(self, entries: dict[int, tuple[int, int, int]]) -> None:
        """PMP says this now, by the numbers of its entries: for accesses that are emulated."""
        self.protected, self.protection = entries, list(entries.values())
        self.core.protect(self.protection)

    def clear_supervisor(self) -> None:
        """Another program is to be in S-mode: it finds zero in the registers there that no context has."""
        supervisor.clear(self._handle)
        self.context_changed()

    def forget_code(self, pa: int, size: int) -> None:
        """Code in this physical range was replaced from outside the guest: translate it anew.

        `Memory` calls it where its own methods write; who writes otherwise has to.
        """
        quirks.remove_code(self._handle, pa, size, self._loaded, self.reservation)

    def stop(self) -> None:
        """From a handler: leave `run` once the handler returns."""
        self._stopping = True
        quick.uc_emu_stop(self._handle)

    def watch_traps(self, before: Callable[[int], None], after: Callable[[int], None]) -> None:
        """Call Python functions before and after each trap, with its cause. Without the native core only."""
        assert not self.has_core

        def trap(told: int, cause: int) -> None:
            try:
                before(cause)
                self._on_trap(told, cause)
                after(cause)
            except BaseException as error:  # must not unwind through C frames
                self._fail(error)

        self._hooks.replace_traps(self._hooks.trap_function(trap), 0)

    def watch_leaving(self, function: Callable[[Context], None]) -> None:
        """Call `function` whenever the JIT is left without a trap, with the context that ran, as it is saved.

        It may be in the middle of a block; of a block that it is at the start of was told already.
        """
        save = self._save

        def saved(context: Context) -> None:
            save(context)
            function(context)

        self._save = saved  # type: ignore[method-assign]

    def _fail(self, error: BaseException) -> None:
        """`run` raises this as soon as guest code is left."""
        self._error = error
        quick.uc_emu_stop(self._handle)

    def raise_later(self, error: BaseException) -> None:
        """From what the core calls, or has left: the run ends as by `interrupt`, and then raises this."""
        self._late = self._late or error
        self.interrupt()

    def read_registers(self) -> None:
        """Save the registers of the current context, as a trap does: for a function of `watch`."""
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

        Once `halt` is asked for no guest code runs any more: the handler of Cause.INTERRUPT is called to put
        things in order, and the run ends, whatever that did.
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
        """Run guest code until the JIT is left, and see to why. True when nothing has changed there."""
        if not goes_on:
            self._load()
        left = self.slice.left()
        count = left if self.counter is None else self.counter.allowed(left)
        if count < 0:  # the slice was over when the JIT was left for something else
            self._trap_outside(Cause.TIMER, self.current)
            return False
        if self._reserved is not None:
            (who, reserved), self._reserved = self._reserved, None
            if who is self.current:
                self.reservation.hold(reserved)
        if count and not self._counted:  # what is translated by now does not count
            self.forget_all_code()
        self._counted = count > 0
        self._leaving.between_blocks(only=not (count or self._hooks.stepped))
        self._inside, self._restart = True, False  # whoever wanted that has it
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
        """In an errand: run `current` on, and what follows, until this is so, which is asked between blocks.

        A run that ends before that has ended.
        """
        errands, self._errands = self._errands, []
        self._loaded, goes_on = None, False
        while not (self._stopping or self.halt.asked or until()):
            if self._errands:  # of a debugger that was told of something on the way
                self._run_errands()
                goes_on = False
                continue
            goes_on = self._enter(goes_on)
        self._errands += errands

    def outside(self, errand: Callable[[], None]) -> None:
        """From a handler, or before a run: call this while no guest code is entered, before any runs on.

        There it may change what cannot be changed inside of the JIT (`pmp.program`), or what is current.
        """
        self._errands.append(errand)
        if self._running:
            self.leave()

    @property
    def has_errands(self) -> bool:
        """Whether something waits for `outside`."""
        return bool(self._errands)

    def _run_errands(self) -> None:
        errands, self._errands = self._errands, []
        for errand in errands:
            errand()

    def trap(self, cause: Cause) -> None:
        """From a handler: what the current context does next is this trap, which its handler gets now."""
        self._traps += 1
        self.ran_by_hand()
        self.handlers[cause](self.current)

    def ran_by_hand(self, trapped: bool = False) -> None:
        """An instruction was done for the current context, and not by the JIT: it counts as well.

        `trapped`: it had trapped there first, which is no place of `breaks`.
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
        """For `counter`, outside of guest code: the current context traps with Cause.TIMER here."""
        self._trap_outside(Cause.TIMER, self.current)

    def leave(self) -> None:
        """From a handler: leave the JIT before any code runs, and go on."""
        self._restart = True
        quick.uc_emu_stop(self._handle)

    def run_bare(self, context: Context) -> None:
        """Run `context` in M-mode until `wfi`: only for the engine's own few instructions."""
        before, self.current = self.current, context
        self._load()
        check(library.uc_emu_start(self._handle, context.regs[PC], _NEVER, 0, 0))
        self._loaded = None
        self._stale_tlb = True
        self.current = before

    def _on_core_trap(self, told: int, cause: int) -> None:
        """A trap that the core leaves to Python."""
        if told:
            self._take(told)
        self._on_trap(told, cause)

    def _take(self, told: int) -> None:
        """What the core has left: another context runs; something waits."""
        if told & SWITCHED:
            self.current = self._loaded = context = self.whose()
            self._satp = context.regs[SATP]
        if told & WAITING:
            try:
                self.on_waiting()
            except BaseException as error:
                self.raise_later(error)

    def _on_trap(self, _told: int, cause: int) -> None:
        try:
            self._traps += 1
            context = self.current
            _read(self._handle, _SAVE_IDS, context.saved_pointers, _SAVED)
            if context.privileged:
                supervisor.save_privilege(self._handle, context)
            try:
                if cause == _ECALL_U:  # Unicorn reports it for every privilege
                    self.handlers[cause](context)
                else:
                    settled = self.settle(self, cause, context)
                    if settled is not None:
                        self.handlers[settled](context)
            except Exception as error:
                if not self.on_error(error, context):
                    raise
            if self._stopping:
                return
            context = self.current
            if context is self._loaded and not self._stale_tlb:
                _write(self._handle, _SAVE_IDS, context.saved_pointers, _SAVED)
            else:
                self._load()
        except BaseException as error:  # must not unwind through C frames
            self._fail(error)

    def _left_without_trap(self, status: int) -> bool:
        """The JIT returned by itself: `wfi`, `ebreak`, an entry that points outside RAM, or `interrupt`.

        True when nothing has changed, and the context goes on with the registers that Unicorn holds.
        """
        context = self.current
        asked = self.halt.asked or self._interrupted or self._restart or self._refresh
        if self.counter is not None and self.counter.left(context.regs[PC], status, asked):
            return self.current is self._loaded and not self._stale_tlb
        if self.halt.asked:
            return False  # `run` sees to it
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
        """Hand over a trap that has left the JIT."""
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
