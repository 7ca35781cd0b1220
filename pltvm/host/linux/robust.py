"""Robust mutexes: releases the locks of a thread that died; the next owner gets EOWNERDEAD.

The C library keeps a list of them in user memory, at the address of `set_robust_list`:

    head → next        the first entry, or the head itself
      +8   offset      from an entry to its lock word
      +16  pending     an entry that was just being locked or unlocked

A bit of an entry's address marks a mutex with priority inheritance.
"""

from typing import Final

from pltvm.errors import OutOfMemory
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.futexes import key_of, pi_key
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System

MOST_ENTRIES: Final = 2048
WAITERS, OWNER_DIED, TID_MASK = 0x8000_0000, 0x4000_0000, 0x3FFF_FFFF


def release_robust_locks(system: System, thread: Thread) -> None:
    """Walk the list of a thread that ends; an invalid entry ends the walk."""
    head, thread.state.robust_list = thread.state.robust_list, 0
    if not head:
        return
    space = thread.space
    try:
        offset = int.from_bytes(space.read(head + 8, 8), "little", signed=True)
        pending = _word(thread, head + 16)
        entry = _word(thread, head)
        for _ in range(MOST_ENTRIES):
            if entry & ~1 == head:
                break
            following = _word(thread, entry & ~1)
            if entry & ~1 != pending & ~1:
                _release(system, thread, (entry & ~1) + offset, entry & 1, False)
            entry = following
        if pending & ~1:
            _release(system, thread, (pending & ~1) + offset, pending & 1, True)
    except (LinuxError, OutOfMemory):
        pass


def _word(thread: Thread, address: int) -> int:
    return int.from_bytes(thread.space.read(address, 8), "little")


def _release(system: System, thread: Thread, address: int, inherits: int, pending: bool) -> None:
    """Release one lock if the thread has it: mark it as OWNER_DIED, and wake one waiting thread."""
    space = thread.space
    if address % 4:
        return
    word = space.word(address)
    key = key_of(space, address)
    if pending and not inherits and not word:
        system.scheduler.release(key, 1)
        return
    if word & TID_MASK != thread.tid:
        return
    space.write(address, (word & WAITERS | OWNER_DIED).to_bytes(4, "little"))
    if word & WAITERS:
        if inherits:
            system.wake(pi_key(space, address))
        else:
            system.scheduler.release(key, 1)
