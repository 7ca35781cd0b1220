"""Delivers signals to threads: a handler runs, or the process ends, stops, or ignores the signal.

A handler runs with a frame on the thread's own stack, as in Linux for riscv64 (`struct rt_sigframe`). So the
nesting of handlers is limited by the stack, and a handler may read the registers, change them, or never
return.

    sp  → siginfo    128    number, errno, code, and what the code says
    128 → ucontext   960    flags, link, stack_t, mask at 40, pc and x1 … x31 at 176, f0 … f31, fcsr at 688
"""

from contextlib import suppress
from errno import EINTR
from struct import Struct
from typing import Final

from pltvm.engine.context import A0, A1, A2, F0, FCSR, PC, RA, SP
from pltvm.errors import OutOfMemory
from pltvm.host.linux import life, signals
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.orphans import is_orphaned
from pltvm.host.linux.process import SS_AUTODISARM, SS_DISABLE, Action, SignalInfo, Thread
from pltvm.host.linux.program import RETURN_PAGE
from pltvm.host.linux.signals import DEFAULT, IGNORE
from pltvm.host.linux.structs import (
    OF_CHILD,
    OF_FAULT,
    OF_TIMER,
    SENT,
    TIMESPEC,
    OfChild,
    OfFault,
    OfTimer,
    Sent,
)
from pltvm.host.linux.system import System
from pltvm.host.linux.times import timespec

_UCONTEXT: Final = Struct("<16xQI4xQQ120x8x32Q32QI268x")
_INFO: Final = SENT.size
_FRAME: Final = _INFO + _UCONTEXT.size
_ECALL: Final = 4  # bytes of the instruction
_FAULTS: Final = {signals.SIGILL, signals.SIGTRAP, signals.SIGBUS, signals.SIGFPE, signals.SIGSEGV}


def deliver(system: System, thread: Thread) -> None:
    """Deliver pending signals to a thread that is about to go on."""
    while thread.state.alive and not thread.process.state.stopped:
        mask = signals.waiting(thread)
        info = signals.take(thread, mask) if mask else None
        if info is None:
            return
        _handle(system, thread, info)


def force(system: System, thread: Thread, number: int, code: int, address: int) -> None:
    """Send a signal for an instruction of the thread itself: if it is blocked or ignored, the process
    ends."""
    info = SignalInfo(number, code, address=address)
    handler = signals.action(thread.process, number).handler
    if handler == IGNORE or thread.state.signal_mask & signals.bit(number):
        life.killed(system, thread, info)
    else:
        _handle(system, thread, info)


def _handle(system: System, thread: Thread, info: SignalInfo) -> None:
    process, number = thread.process, info.number
    action = signals.action(process, number)
    if number == signals.SIGKILL or (
        action.handler == DEFAULT and number not in signals.IGNORED | signals.STOPS
    ):
        life.killed(system, thread, info)
    elif number == signals.SIGSTOP or (action.handler == DEFAULT and number in signals.STOPS):
        if number == signals.SIGSTOP or not is_orphaned(system, process.state.group):
            signals.stop(system, process, number)
    elif action.handler not in (DEFAULT, IGNORE):
        _interrupt(thread, action, system)
        _run_handler(system, thread, info, action)


def _interrupt(thread: Thread, action: Action, system: System) -> None:
    """Interrupt the thread's waiting system call for a handler: it is over, or made again after the
    handler."""
    wait = thread.state.wait
    if wait is None:
        return
    done, thread.state.done = thread.state.done, 0
    if done:  # bytes done by a write, or by a read that waits for all: they are the result
        thread.answer(done)
        return
    if wait.restarts and action.flags & signals.SA_RESTART:
        thread.context.regs[PC] -= _ECALL
        thread.state.wait = thread.state.deadline = None
        return
    if wait.remaining and wait.deadline is not None:
        left = max(wait.deadline - system.clock.monotonic(), 0)
        with suppress(LinuxError, OutOfMemory):
            thread.space.write(wait.remaining, TIMESPEC.pack(timespec(left)))
    thread.answer(-EINTR)


def _run_handler(system: System, thread: Thread, info: SignalInfo, action: Action) -> None:
    regs, number, own = thread.context.regs, info.number, thread.state
    frame = _place(thread, bool(action.flags & signals.SA_ON_STACK))
    mask, own.saved_mask = own.saved_mask if own.saved_mask is not None else own.signal_mask, None
    try:
        if frame is None:
            raise OutOfMemory("the alternate stack is full")
        thread.space.write(frame, pack_info(info) + _saved(thread, mask))
    except (LinuxError, OutOfMemory):
        fault = SignalInfo(signals.SIGSEGV, address=frame or regs[SP])
        life.killed(system, thread, fault, f"no room on the stack for signal {number}")
        return
    if own.alternate_stack[1] & SS_AUTODISARM:
        own.alternate_stack = (0, SS_DISABLE, 0)
    if action.flags & signals.SA_RESET:
        thread.process.state.actions[number] = action._replace(handler=DEFAULT)
    own_bit = 0 if action.flags & signals.SA_NO_DEFER else signals.bit(number)
    own.signal_mask = (own.signal_mask | action.mask | own_bit) & ~signals.NEVER_BLOCKED
    regs[A0], regs[A1], regs[A2] = number, frame, frame + _INFO
    regs[RA], regs[SP], regs[PC] = RETURN_PAGE, frame, action.handler & ~1


def pack_info(info: SignalInfo) -> bytes:
    """Return a `siginfo_t`, with the fields for its code."""
    number, code = info.number, info.code
    if code == signals.SI_TIMER:
        return OF_TIMER.pack(OfTimer(number, 0, code, info.timer, info.overrun, info.value))
    if number == signals.SIGCHLD and code > 0:
        return OF_CHILD.pack(OfChild(number, 0, code, info.pid, info.uid, info.value, 0, 0))
    if number in _FAULTS and code > 0:
        return OF_FAULT.pack(OfFault(number, 0, code, info.address))
    return SENT.pack(Sent(number, 0, code, info.pid, info.uid, info.value & (1 << 64) - 1))


def on_alternate_stack(thread: Thread) -> bool:
    """Whether the thread runs on its alternate stack now."""
    base, flags, size = thread.state.alternate_stack
    return not flags & SS_DISABLE and 0 < thread.context.regs[SP] - base <= size


def _place(thread: Thread, alternate: bool) -> int | None:
    """Return the place of the frame: below the stack pointer, or at the top of the alternate stack; None
    without room."""
    base, flags, size = thread.state.alternate_stack
    nested = on_alternate_stack(thread)
    change = alternate and not nested and not flags & SS_DISABLE
    frame = ((base + size if change else thread.context.regs[SP]) - _FRAME) & ~15
    return None if frame < 0 or (nested and frame < base) else frame


def _saved(thread: Thread, mask: int) -> bytes:
    regs, stack = thread.context.regs, thread.state.alternate_stack
    return _UCONTEXT.pack(*stack, mask, regs[PC], *regs[RA:PC], *regs[F0:FCSR], regs[FCSR] & 0xFF)


def give_back(system: System, thread: Thread) -> None:
    """Do `rt_sigreturn`: restore registers and mask from the frame at the stack pointer."""
    regs = thread.context.regs
    try:
        raw = thread.space.read(regs[SP] + _INFO, _UCONTEXT.size)
    except (LinuxError, OutOfMemory):
        fault = SignalInfo(signals.SIGSEGV, address=regs[SP])
        life.killed(system, thread, fault, "no signal frame to return from")
        return
    words = _UCONTEXT.unpack(raw)
    thread.state.alternate_stack = (words[0], words[1], words[2])
    thread.state.signal_mask = words[3] & ~signals.NEVER_BLOCKED
    regs[PC] = words[4] & ~1
    for index, value in enumerate(words[5:36], RA):
        regs[index] = value
    for index, value in enumerate(words[36:68], F0):
        regs[index] = value
    regs[FCSR] = words[68] & 0xFF
