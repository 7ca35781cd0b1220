"""Threads: futexes, robust lists, scheduling."""

from errno import EAGAIN, EDEADLK, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT
from typing import Annotated, Final

from pltvm.host.linux.arguments import Address, Choice, Flags, In, Int, Size, Unsigned, Word, signed32
from pltvm.host.linux.calls.processes import process_of
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.futexes import key_of, pi_key
from pltvm.host.linux.process import Thread
from pltvm.host.linux.robust import OWNER_DIED, TID_MASK, WAITERS
from pltvm.host.linux.structs import SCHED_PARAM, TIMESPEC, SchedParam
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.times import nanoseconds
from pltvm.host.linux.waits import Blocked, Key

WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP = 0, 1, 3, 4, 5
LOCK_PI, UNLOCK_PI, TRYLOCK_PI, WAIT_BITSET, WAKE_BITSET = 6, 7, 8, 9, 10
WAIT_REQUEUE_PI, CMP_REQUEUE_PI, LOCK_PI2 = 11, 12, 13
PRIVATE, REALTIME = 128, 256
_COMMANDS: Final = {
    f"FUTEX_{name}": number
    for name, number in (
        ("WAIT", WAIT), ("WAKE", WAKE), ("REQUEUE", REQUEUE), ("CMP_REQUEUE", CMP_REQUEUE),
        ("WAKE_OP", WAKE_OP),
        ("LOCK_PI", LOCK_PI), ("UNLOCK_PI", UNLOCK_PI), ("TRYLOCK_PI", TRYLOCK_PI),
        ("WAIT_BITSET", WAIT_BITSET), ("WAKE_BITSET", WAKE_BITSET), ("LOCK_PI2", LOCK_PI2),
        ("WAIT_REQUEUE_PI", WAIT_REQUEUE_PI), ("CMP_REQUEUE_PI", CMP_REQUEUE_PI),
    )
}  # fmt: skip
ALL_BITS: Final = 0xFFFF_FFFF


class _Operation(Choice):
    """The command of a futex call with its two flags."""

    def decode(self, thread: Thread, value: int) -> int:
        return value & 0xFFFF_FFFF

    def show(self, thread: Thread, value: int) -> str:
        flags = "|FUTEX_PRIVATE_FLAG" * bool(value & PRIVATE) + "|FUTEX_CLOCK_REALTIME" * bool(
            value & REALTIME
        )
        return super().show(thread, value & 0x7F) + flags


Operation = Annotated[int, _Operation(_COMMANDS, others=True)]


@system_call(98)
def futex(
    system: System,
    thread: Thread,
    address: Address,
    operation: Operation,
    value: Unsigned,
    timeout: Word,
    second: Address,
    third: Unsigned,
) -> int:
    """Wait on a word, wake other threads, or move them to another word."""
    command, scheduler = operation & 0x7F, system.scheduler
    if address % 4:
        raise LinuxError(EINVAL)
    if operation & REALTIME and command not in (WAIT, WAIT_BITSET, LOCK_PI2, WAIT_REQUEUE_PI):
        raise LinuxError(ENOSYS)
    if command in (WAIT, WAIT_BITSET):
        bits = third if command == WAIT_BITSET else ALL_BITS
        if not bits:
            raise LinuxError(EINVAL)
        deadline = _deadline(system, thread, operation, timeout)
        return _wait(system, thread, address, value, deadline, bits)
    if command in (WAKE, WAKE_BITSET):
        bits = third if command == WAKE_BITSET else ALL_BITS
        if not bits:
            raise LinuxError(EINVAL)
        return scheduler.release(_must_be_plain(system, thread, address), max(signed32(value), 1), bits)
    if command in (REQUEUE, CMP_REQUEUE):
        wakes, moves = signed32(value), signed32(timeout)
        if second % 4 or wakes < 0 or moves < 0:
            raise LinuxError(EINVAL)
        if command == CMP_REQUEUE and thread.space.word(address) != third:
            raise LinuxError(EAGAIN)
        source, target = (_must_be_plain(system, thread, one) for one in (address, second))
        woken = scheduler.release(source, wakes)
        moved = scheduler.requeue(source, target, moves)
        return woken + moved
    if command == WAKE_OP:
        return _wake_op(system, thread, address, signed32(value), signed32(timeout), second, third)
    if command in (LOCK_PI, LOCK_PI2, TRYLOCK_PI):
        absolute = WAIT_BITSET | (REALTIME if command == LOCK_PI else operation & REALTIME)
        deadline = _deadline(system, thread, absolute, timeout) if command != TRYLOCK_PI else None
        return _lock(system, thread, address, deadline, command == TRYLOCK_PI)
    if command == UNLOCK_PI:
        return _unlock(system, thread, address)
    system.refuse(f"futex {_OPERATION_NAMES.get(command, command)}")
    raise LinuxError(ENOSYS)


_OPERATION_NAMES: Final = {number: name for name, number in _COMMANDS.items()}


def _deadline(system: System, thread: Thread, operation: int, timeout: int) -> int | None:
    """Return the end of a wait: WAIT has a duration, all others a point in time."""
    if not timeout:
        return None
    time = nanoseconds(TIMESPEC.unpack(thread.space.read(timeout, TIMESPEC.size)))
    if operation & 0x7F == WAIT:
        return thread.deadline(system.clock, time)
    return time - system.clock.offset() if operation & REALTIME else time


def _wait(system: System, thread: Thread, address: int, value: int, deadline: int | None, bits: int) -> int:
    """Wait unless the word has another value. The thread that wakes this one sets the result of the call."""
    if thread.state.wait is not None and deadline is not None and system.clock.monotonic() >= deadline:
        raise LinuxError(ETIMEDOUT)
    if thread.space.word(address) != value:
        raise LinuxError(EAGAIN)
    key = key_of(thread.space, address)
    raise Blocked(key, deadline=deadline, restarts=deadline is None, bits=bits)


def _wake_op(
    system: System, thread: Thread, address: int, wakes: int, more: int, second: int, code: int
) -> int:
    """Change the second word; wake threads of the first word and, depending on the old value, of the
    second."""
    if second % 4:
        raise LinuxError(EINVAL)
    operation, comparison = code >> 28 & 0xF, code >> 24 & 0xF
    argument, limit = _signed12(code >> 12), _signed12(code)
    if operation & 8:
        argument = 1 << (argument & 31)
    old = thread.space.word(second)
    results = (argument, old + argument, old | argument, old & ~argument, old ^ argument)
    if operation & 7 >= len(results) or comparison > 5:
        raise LinuxError(ENOSYS)
    thread.space.write(second, (results[operation & 7] & 0xFFFF_FFFF).to_bytes(4, "little"))
    was = signed32(old)
    true = (was == limit, was != limit, was < limit, was <= limit, was > limit, was >= limit)[comparison]
    woken = system.scheduler.release(key_of(thread.space, address), max(wakes, 1))
    if true:
        woken += system.scheduler.release(key_of(thread.space, second), max(more, 1))
    return woken


def _signed12(value: int) -> int:
    return ((value & 0xFFF) ^ 0x800) - 0x800


# -- locks with priority inheritance: the kernel hands them over ---------------------------------------------


def _must_be_plain(system: System, thread: Thread, address: int) -> Key:
    """Return the key of a word; raises LinuxError(EINVAL) if threads wait for it as a lock with
    inheritance."""
    if system.scheduler.waiters(pi_key(thread.space, address)):
        raise LinuxError(EINVAL)
    return key_of(thread.space, address)


def _lock(system: System, thread: Thread, address: int, deadline: int | None, only_try: bool) -> int:
    """Take the lock, whose word has the owner's tid. A waiting thread gets it from the one that unlocks."""
    word = thread.space.word(address)
    owner = word & TID_MASK
    if owner == thread.tid:
        raise LinuxError(EDEADLK)
    if not owner:
        kept = word & OWNER_DIED
        waiters = WAITERS if system.scheduler.waiters(pi_key(thread.space, address)) else 0
        thread.space.write(address, (thread.tid | kept | waiters).to_bytes(4, "little"))
        return 0
    if owner not in system.scheduler.threads:
        raise LinuxError(ESRCH)
    if only_try:
        raise LinuxError(EAGAIN)
    if deadline is not None and system.clock.monotonic() >= deadline:
        raise LinuxError(ETIMEDOUT)
    thread.space.write(address, (word | WAITERS).to_bytes(4, "little"))
    raise Blocked(pi_key(thread.space, address), deadline=deadline)


def _unlock(system: System, thread: Thread, address: int) -> int:
    """Give the lock to the thread that has waited longest."""
    word = thread.space.word(address)
    if word & TID_MASK != thread.tid:
        raise LinuxError(EPERM)
    waiters = system.scheduler.waiters(pi_key(thread.space, address))
    if not waiters:
        thread.space.write(address, bytes(4))
        return 0
    more = WAITERS if len(waiters) > 1 else 0
    thread.space.write(address, (waiters[0].tid | more).to_bytes(4, "little"))
    system.scheduler.rouse(waiters[0])
    waiters[0].answer(0)
    return 0


# -- other calls ---------------------------------------------------------------------------------------------


@system_call(96)
def set_tid_address(system: System, thread: Thread, address: Address) -> int:
    """Set the address to clear when the thread ends."""
    thread.state.clear_tid = address
    return thread.tid


@system_call(99)
def set_robust_list(system: System, thread: Thread, head: Address, size: Size) -> int:
    """Set the list of robust locks of the thread."""
    if size != 24:
        raise LinuxError(EINVAL)
    thread.state.robust_list = head
    return 0


@system_call(100)
def get_robust_list(system: System, thread: Thread, tid: Int, head: Address, size: Address) -> int:
    """Get the list of robust locks of a thread."""
    other = system.scheduler.threads.get(tid) if tid else thread
    if other is None:
        raise LinuxError(ESRCH)
    thread.space.write(head, other.state.robust_list.to_bytes(8, "little"))
    thread.space.write(size, (24).to_bytes(8, "little"))
    return 0


@system_call(124)
def sched_yield(system: System, thread: Thread) -> None:
    """Let other threads run."""
    thread.answer(0)
    system.scheduler.rotate()


@system_call(122)
def sched_setaffinity(system: System, thread: Thread, pid: Int, size: Size, mask: Address) -> int:
    """Accept a set that contains the only processor."""
    process_of(system, thread, pid)
    if not thread.space.read(mask, min(size, 8))[:1] or not thread.space.read(mask, 1)[0] & 1:
        raise LinuxError(EINVAL)
    return 0


@system_call(123)
def sched_getaffinity(system: System, thread: Thread, pid: Int, size: Size, mask: Address) -> int:
    """Return the set with the only processor."""
    process_of(system, thread, pid)
    if size < 8 or size % 8:
        raise LinuxError(EINVAL)
    thread.space.write(mask, (1).to_bytes(8, "little"))
    return 8


@system_call(168)
def getcpu(system: System, thread: Thread, cpu: Address, node: Address, unused: Word) -> int:
    """Return the only processor."""
    for address in (cpu, node):
        if address:
            thread.space.write(address, bytes(4))
    return 0


_POLICIES: Final = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5}
Policy = Annotated[int, Choice(_POLICIES)]


@system_call(119)
def sched_setscheduler(
    system: System,
    thread: Thread,
    pid: Int,
    policy: Policy,
    parameter: Annotated[SchedParam, In(SCHED_PARAM)],
) -> int:
    """Set a policy: only ordinary ones; real-time policies are refused."""
    target = thread_of(system, thread, pid)
    if policy in (1, 2):
        raise LinuxError(EPERM if 1 <= parameter.priority <= 99 else EINVAL)
    if parameter.priority:
        raise LinuxError(EINVAL)
    target.state.policy = policy
    return 0


def thread_of(system: System, thread: Thread, tid: int) -> Thread:
    """Return the thread with this number, or the caller for 0; raises LinuxError(ESRCH)."""
    found = system.scheduler.threads.get(tid) if tid else thread
    if found is None:
        raise LinuxError(ESRCH)
    return found


@system_call(118)
def sched_setparam(
    system: System, thread: Thread, pid: Int, parameter: Annotated[SchedParam, In(SCHED_PARAM)]
) -> int:
    """Accept only priority 0."""
    process_of(system, thread, pid)
    if parameter.priority:
        raise LinuxError(EINVAL)
    return 0


@system_call(120)
def sched_getscheduler(system: System, thread: Thread, pid: Int) -> int:
    """Return the policy that was set last."""
    if pid < 0:
        raise LinuxError(EINVAL)
    return thread_of(system, thread, pid).state.policy


@system_call(121)
def sched_getparam(system: System, thread: Thread, pid: Int, parameter: Address) -> int:
    """Return priority 0."""
    process_of(system, thread, pid)
    thread.space.write(parameter, bytes(4))
    return 0


@system_call(125)
def sched_get_priority_max(system: System, thread: Thread, policy: Policy) -> int:
    """Of a policy."""
    return 99 if policy in (1, 2) else 0


@system_call(126)
def sched_get_priority_min(system: System, thread: Thread, policy: Policy) -> int:
    """Of a policy."""
    return 1 if policy in (1, 2) else 0


@system_call(127)
def sched_rr_get_interval(system: System, thread: Thread, pid: Int, result: Address) -> int:
    """Return the time slice: 1 ms."""
    process_of(system, thread, pid)
    thread.space.write(result, bytes(8) + (10**6).to_bytes(8, "little"))
    return 0


@system_call(283)
def membarrier(
    system: System, thread: Thread, command: Int, flags: Annotated[int, Flags({"CPU": 1})], cpu: Int
) -> int:
    """Do nothing: there is only one processor. Some commands need another one before, which registers."""
    state = thread.process.state
    if command == 0:
        return 0x7F
    if command not in (1, 2, 4, 8, 16, 32, 64):
        raise LinuxError(EINVAL)
    if command in (8, 32) and not state.barriers & command << 1:
        raise LinuxError(EPERM)
    state.barriers |= command & (16 | 64)
    return 0
