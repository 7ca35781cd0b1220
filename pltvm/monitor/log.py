"""A log of the traps of a run, by which two runs are compared.

Each trap of a context enters one checksum: its context and cause, pc, sp, a0 … a2, a7, the clock, and the
data that a call writes (printed text, data for a file of a Linux program). So two runs with the same sum have
done the same up to there, for any observer outside. W/X flips and reads of counters do not count as traps
here.

    rows    one trap each: its place, and the sum up to it. There are at most MOST_ROWS: in a longer run
    only
            every second trap has a row, or every fourth …
"""

import ctypes
import mmap
from typing import Final, NamedTuple

from pltvm import native
from pltvm.engine.context import A0, A1, A2, A7, PC, SP, Context
from pltvm.engine.trap import Cause
from pltvm.monitor import abi
from pltvm.monitor.abi import MASK64, Call, Ocall
from pltvm.monitor.state import State

MOST_ROWS: Final = 1 << 18
HOST: Final = 0xFFFF_FFFF  # `who` for traps outside enclaves
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_PLACES: Final = (PC, SP, A0, A1, A2, A7)
_FACTORS: Final = (
    *(0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB, 0xD6E8_FEB8_6659_FD93),
    *(0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53, 0xA076_1D64_78BD_642F),
)
_WRITE, _WRITEV = 64, 66  # of Linux
_MOST_WRITTEN: Final = 4096  # bytes of one call that enter the sum
_U64: Final = ctypes.c_uint64


class TrapRow(ctypes.Structure):
    """`struct trap_row` of native/log.h."""

    _fields_ = [
        ("pc", _U64),
        ("a7", _U64),
        ("a0", _U64),
        ("who", ctypes.c_uint32),
        ("cause", ctypes.c_uint16),
        ("filler", ctypes.c_uint16),
        ("sum", _U64),
    ]


class LogState(ctypes.Structure):
    """`struct trap_log`."""

    _fields_ = [
        ("next", ctypes.c_void_p),
        ("sum", _U64),
        ("count", _U64),
        ("mask", _U64),
        ("rows", ctypes.c_void_p),
        ("used", _U64),
        ("room", _U64),
        ("expected", ctypes.c_void_p),
        ("expected_count", _U64),
        ("expected_mask", _U64),
        ("expected_end", _U64),
        ("differs", _U64),
    ]
    sum: int
    count: int
    mask: int
    used: int
    room: int
    expected: int | None
    expected_count: int
    expected_mask: int
    expected_end: int
    differs: int


class Trap(NamedTuple):
    """One trap: its number from 0 on, an eid or HOST, the cause, the pc; and the values of a7 and a0."""

    number: int
    who: int
    cause: int
    pc: int
    a7: int
    a0: int


class Differs(BaseException):
    """A trap differs from the expected one. It is no Exception, so that no handler of errors catches it.

    `now` is the trap that came. `expected` is the next expected trap that has a row, None if no more should
    come. `since` is the number of the last trap with a matching row: the first difference comes after it.
    """

    def __init__(self, now: Trap, expected: Trap | None, since: int) -> None:
        super().__init__(f"trap {now.number} differs")
        self.now, self.expected, self.since = now, expected, since


class TrapLog:
    """Logs the traps of a machine from now on.

    With `expected` it compares: rows and mask of another log, and the number of traps that should come.

    At a difference the run ends with `Differs`, before the trap is served.
    """

    def __init__(
        self, state: State, expected: tuple[bytes, int, int] | None = None, room: int = MOST_ROWS
    ) -> None:
        self._monitor, self._hart = state, state.hart
        self._stopped = False
        # It takes memory as it is used.
        self._rows = (TrapRow * room).from_buffer(mmap.mmap(-1, room * ctypes.sizeof(TrapRow)))
        self._state = log = LogState(rows=ctypes.addressof(self._rows), room=room)
        if expected is not None:
            rows, mask, end = expected
            count = len(rows) // ctypes.sizeof(TrapRow)
            self._expected = (TrapRow * max(count, 1)).from_buffer_copy(
                rows.ljust(ctypes.sizeof(TrapRow), b"\0")
            )
            log.expected, log.expected_mask = ctypes.addressof(self._expected), mask
            log.expected_count, log.expected_end = count, end
        hart = state.hart
        core = native.core if hart.has_core else None
        self._core = core
        if core is not None:
            core.pltvm_log_bytes.restype = ctypes.c_uint64
            hart.core.log = ctypes.addressof(log)
            hart.handlers.answer_through(self._answer_first)
        hart.handlers.tell(self._note)

    def _answer_first(self, answer: int) -> int:
        assert self._core is not None
        self._state.next = answer
        return ctypes.cast(self._core.pltvm_log_answer, ctypes.c_void_p).value or 0

    # -- contents --------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """The number of traps so far."""
        return self._state.count

    @property
    def sum(self) -> int:
        """The checksum of all traps."""
        return self._state.sum

    @property
    def mask(self) -> int:
        """Traps whose numbers have none of these bits set have rows."""
        return self._state.mask

    @property
    def stopped(self) -> bool:
        """Whether the last trap was a request from outside to end the run."""
        return self._stopped

    def all(self) -> tuple[int, int, int, bool, bytes]:
        """`count`, `sum`, `mask`, `stopped` and `rows`."""
        return self.count, self.sum, self.mask, self.stopped, self.rows()

    def rows(self) -> bytes:
        """All rows."""
        return ctypes.string_at(ctypes.addressof(self._rows), self._state.used * ctypes.sizeof(TrapRow))

    # -- logging ---------------------------------------------------------------------------------------

    def _note(self, cause: int, context: Context) -> None:
        state, log, hart = self._monitor, self._state, self._hart
        running = state.running
        who = HOST if running is None else running.eid
        text = self._written(context) if cause == Cause.ECALL_U else b""
        why = cause & 0xFFFF
        self._stopped = cause == Cause.INTERRUPT
        if self._stopped and log.expected:
            return  # the program did not cause it
        if self._core is not None:
            self._core.pltvm_log_trap(
                ctypes.byref(log), _U64(hart.clock), why, ctypes.c_uint32(who),
                ctypes.c_void_p(context.address), text, _U64(len(text)),
            )  # fmt: skip
        else:
            _note(log, self._rows, hart.clock, why, who, [context.regs[place] for place in _PLACES], text)
        if log.differs:
            self._tell(why, who, context)

    def _written(self, context: Context) -> bytes:
        """Return the data that a call writes, up to _MOST_WRITTEN bytes."""
        regs, state = context.regs, self._monitor
        running = state.running
        if running is not None:
            if regs[A7] == Call.OCALL and regs[A0] == Ocall.WRITE:
                kbuffer = state.enclave(running.top).kbuffer
                return state.memory.read(kbuffer, abi.WRITE_LIMIT).partition(b"\0")[0]
        elif context.table is not None and not context.privileged:
            if regs[A7] == _WRITE:
                return context.table.read(regs[A1], min(regs[A2], _MOST_WRITTEN)) or b""
            if regs[A7] == _WRITEV:
                rows = context.table.read(regs[A1], 16 * min(regs[A2], 16)) or b""
                parts = memoryview(rows).cast("Q")
                read = context.table.read
                return b"".join(
                    read(parts[i], min(parts[i + 1], _MOST_WRITTEN)) or b"" for i in range(0, len(parts), 2)
                )[:_MOST_WRITTEN]
        return b""

    def _tell(self, cause: int, who: int, context: Context) -> None:
        log, regs = self._state, context.regs
        stride = log.expected_mask + 1
        at = log.count // stride
        now = Trap(log.count, who, cause, regs[PC], regs[A7], regs[A0])
        expected = None
        if at < log.expected_count and log.count < log.expected_end:
            row = self._expected[at]
            expected = Trap(at * stride, row.who, row.cause, row.pc, row.a7, row.a0)
        raise Differs(now, expected, max(at - 1, 0) * stride if at else 0)


# -- in Python: native/log.c line by line ------------------------------------------------------------------


def _mix(total: int, value: int) -> int:
    total = (total ^ value) * _GOLDEN & MASK64
    return total ^ total >> 32


def _note(
    log: LogState,
    rows: "ctypes.Array[TrapRow]",
    clock: int,
    cause: int,
    who: int,
    values: list[int],
    text: bytes,
) -> None:
    everything = (cause << 32 | who) + clock * _GOLDEN
    for value, factor in zip(values, _FACTORS, strict=True):
        everything += value * factor & MASK64 ^ value >> 29
    total = _mix(log.sum, everything & MASK64)
    whole = len(text) & ~7
    for at in range(0, whole, 8):
        total = _mix(total, int.from_bytes(text[at : at + 8], "little"))
    if rest := text[whole:]:
        total = _mix(total, int.from_bytes(rest, "little") | len(rest) << 56)
    if log.expected and log.count == log.expected_end:
        log.differs = 1
        return
    if log.expected and not log.count & log.expected_mask:
        at = log.count // (log.expected_mask + 1)
        expected = (TrapRow * max(log.expected_count, 1)).from_address(log.expected)
        if at >= log.expected_count or expected[at].sum != total:
            log.differs = 1
            return
    log.sum = total
    if not log.count & log.mask:
        if log.used == log.room:
            for i in range(log.used // 2):
                rows[i] = rows[2 * i]
            log.used //= 2
            log.mask = log.mask * 2 + 1
        if not log.count & log.mask:
            rows[log.used] = TrapRow(values[0], values[5], values[2], who, cause, 0, total)
            log.used += 1
    log.count += 1
