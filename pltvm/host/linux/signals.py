"""Signals of a Linux process: sent, pending, delivered to a handler by a frame on the thread's own stack.

The frame is that of Linux for riscv64 (`struct rt_sigframe`), so what a program may nest is bounded by its
stack, and a handler may look at the registers, change them, or never return.

    sp  → siginfo    128    number, errno, code, …, address at 16
    128 → ucontext   960    flags, link, stack_t, mask at 40, pc and x1 … x31 at 176, f0 … f31, fcsr at 688
"""

from struct import Struct
from typing import Final

from pltvm.engine.context import A0, A1, A2, F0, FCSR, PC, RA, SP
from pltvm.errors import OutOfMemory
from pltvm.host.linux.errno import EINVAL, LinuxError
from pltvm.host.linux.process import Process
from pltvm.host.linux.program import RETURN_PAGE
from pltvm.host.linux.threads import SS_DISABLE, Thread

SIGNALS: Final = 64
NEVER_BLOCKED: Final = 1 << (9 - 1) | 1 << (19 - 1)  # SIGKILL, SIGSTOP
_SIGSEGV: Final = 11
_IGNORED: Final = {17, 18, 23, 28}  # SIGCHLD, SIGCONT, SIGURG, SIGWINCH
_DEFAULT, _IGNORE = 0, 1
_ON_STACK, _NO_DEFER, _RESET = 0x0800_0000, 0x4000_0000, 0x8000_0000  # flags of an action
_FAULT_CODE: Final = 1  # SEGV_MAPERR and the like; a signal that was sent has 0

_INFO: Final = Struct("<3i4xQ104x")
_UCONTEXT: Final = Struct("<16x3QQ120x8x32Q32QI268x")
_FRAME: Final = _INFO.size + _UCONTEXT.size


def send(process: Process, thread: Thread, number: int) -> int:
    """Send a signal to a thread: what handles it runs when the thread goes on and does not block it."""
    if not 0 <= number <= SIGNALS:
        raise LinuxError(EINVAL)
    handler = process.state.actions.get(number, (_DEFAULT, 0, 0))[0]
    if number == 0 or handler == _IGNORE or (handler == _DEFAULT and number in _IGNORED):
        return 0
    bit = 1 << (number - 1)
    if bit & thread.state.signal_mask:
        thread.state.pending |= bit
    elif handler == _DEFAULT:
        process.killed(thread, number, 0)
    else:
        thread.state.pending |= bit
        process.scheduler.disturb(thread)
    return 0


def deliver(process: Process, thread: Thread) -> None:
    """The thread is about to go on: let it handle the signals that wait for it."""
    while thread.state.alive and thread.state.pending & ~thread.state.signal_mask:
        waiting = thread.state.pending & ~thread.state.signal_mask
        bit = waiting & -waiting
        thread.state.pending ^= bit
        _handle(process, thread, bit.bit_length(), 0, 0)


def force(process: Process, thread: Thread, number: int, address: int) -> None:
    """A signal for what the thread itself just did: one that it blocks or ignores ends the process."""
    handler = process.state.actions.get(number, (_DEFAULT, 0, 0))[0]
    if handler == _IGNORE or thread.state.signal_mask >> (number - 1) & 1:
        process.killed(thread, number, address)
    else:
        _handle(process, thread, number, address, _FAULT_CODE)


def _handle(process: Process, thread: Thread, number: int, address: int, code: int) -> None:
    handler, flags, mask = process.state.actions.get(number, (_DEFAULT, 0, 0))
    if handler == _DEFAULT:
        if number not in _IGNORED:
            process.killed(thread, number, address)
        return
    if handler == _IGNORE:
        return
    regs = thread.context.regs
    frame = _place(thread, bool(flags & _ON_STACK))
    try:
        if frame is None:
            raise LinuxError(EINVAL)
        process.space.write(frame, _INFO.pack(number, 0, code, address) + _saved(thread))
    except (LinuxError, OutOfMemory):
        process.killed(thread, _SIGSEGV, frame or regs[SP], f"no room on the stack for signal {number}")
        return
    if flags & _RESET:
        del process.state.actions[number]
    thread.state.signal_mask |= (mask | (0 if flags & _NO_DEFER else 1 << (number - 1))) & ~NEVER_BLOCKED
    regs[A0], regs[A1], regs[A2] = number, frame, frame + _INFO.size
    regs[RA], regs[SP], regs[PC] = RETURN_PAGE, frame, handler & ~1


def on_alternate_stack(thread: Thread) -> bool:
    """Whether the thread runs on its alternate stack now."""
    base, flags, size = thread.state.alternate_stack
    return not flags & SS_DISABLE and 0 < thread.context.regs[SP] - base <= size


def _place(thread: Thread, alternate: bool) -> int | None:
    """Where the frame goes: below the stack pointer, or at the top of the alternate stack; None: no room."""
    base, flags, size = thread.state.alternate_stack
    nested = on_alternate_stack(thread)
    change = alternate and not nested and not flags & SS_DISABLE
    frame = ((base + size if change else thread.context.regs[SP]) - _FRAME) & ~15
    return None if frame < 0 or (nested and frame < base) else frame


def _saved(thread: Thread) -> bytes:
    regs = thread.context.regs
    address, flags, size = thread.state.alternate_stack
    return _UCONTEXT.pack(
        address,
        flags,
        size,
        thread.state.signal_mask,
        regs[PC],
        *regs[RA:PC],
        *regs[F0:FCSR],
        regs[FCSR] & 0xFF,
    )


def give_back(process: Process, thread: Thread) -> None:
    """`rt_sigreturn`: the registers and the mask from the frame at the stack pointer."""
    regs = thread.context.regs
    try:
        raw = process.space.read(regs[SP] + _INFO.size, _UCONTEXT.size)
    except (LinuxError, OutOfMemory):
        process.killed(thread, _SIGSEGV, regs[SP], "no signal frame to return from")
        return
    words = _UCONTEXT.unpack(raw)
    thread.state.signal_mask = words[3] & ~NEVER_BLOCKED
    regs[PC] = words[4] & ~1
    for index, value in enumerate(words[5:36], RA):
        regs[index] = value
    for index, value in enumerate(words[36:68], F0):
        regs[index] = value
    regs[FCSR] = words[68] & 0xFF
