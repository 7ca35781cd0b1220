"""Races: two chains touch the same bytes, one of them writes, and nothing orders the two.

Vector clocks, as in FastTrack (Flanagan and Freund 2009), over the log of a run:

    what orders                                            release            acquire
    lr, sc, amo on one word                                yes                yes
    a store behind a fence, a load before one              the store          the load
    a server that has one call at a time                   it is left         it is entered
    a system call of a thread of a host program            yes                yes, also when it is back

Of host programs only what orders their threads is looked at: system calls, and atomic instructions. What a
call orders (threads made and joined, pipes, files) is not known here, so each is taken to order all.

The locks of threads.h, and C's atomics but for relaxed ones, are made of the first two. A page that gets
another owner begins anew. What one run does not order others may not either, so one run tells a lot.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pltvm.explore.accesses import ACQUIRE, ATOMIC, CALL, ENTER, EXCLUSIVE, RELEASE, WRITE, Row

_Clock = list[int]
_MOST_RACES: Final = 16
_KERNEL: Final = 0  # the lock that system calls are taken to have


@dataclass(frozen=True, slots=True)
class Race:
    """Two accesses, in the order of the run."""

    first: Row
    second: Row

    @property
    def signature(self) -> frozenset[tuple[int, int]]:
        """The same for the same two places in code."""
        return frozenset((self.first.place, self.second.place))


@dataclass(slots=True)
class _Word:
    """Who touched eight bytes last: by chain and bytes, the clock of the chain then, and the row."""

    owner: int
    writes: dict[tuple[int, int], tuple[int, Row]] = field(default_factory=dict)
    reads: dict[tuple[int, int], tuple[int, Row]] = field(default_factory=dict)
    atomics: dict[tuple[int, int], tuple[int, Row]] = field(default_factory=dict)


def races_of(rows: Iterable[Row], chains: int, most: int = _MOST_RACES) -> list[Race]:
    """The races of one run: one for each two places, and at most one for eight bytes."""
    return _Clocks(chains, most).races(rows)


class _Clocks:
    def __init__(self, chains: int, most: int) -> None:
        self._most = most
        self._now: list[_Clock] = [[int(i == j) for j in range(chains)] for i in range(chains)]
        self._locks: dict[int, _Clock] = {}  # words over 8, and records of servers
        self._inside = [0] * chains  # the record that a chain was in
        self._exclusive: set[int] = set()  # records of servers that have one call at a time
        self._calls = set(range(chains))  # who is in a system call, or begins in one
        self._words: dict[int, _Word] = {}
        self._racy: set[int] = set()  # words
        self._found: dict[frozenset[tuple[int, int]], Race] = {}

    def races(self, rows: Iterable[Row]) -> list[Race]:
        for row in rows:
            if row.chain in self._calls:
                self._calls.discard(row.chain)
                self._acquire(row.chain, _KERNEL)
            if not row.running:
                self._in_host(row)
            elif row.kind & ENTER:
                self._enter(row.chain, row.running, bool(row.kind & EXCLUSIVE))
            elif row.pa:
                self._touch(row)
                if len(self._found) >= self._most:
                    break
        return list(self._found.values())

    # -- what orders -------------------------------------------------------------------------------------

    def _acquire(self, chain: int, lock: int) -> None:
        held = self._locks.get(lock)
        if held is not None:
            self._now[chain] = list(map(max, self._now[chain], held))

    def _release(self, chain: int, lock: int) -> None:
        now, held = self._now[chain], self._locks.get(lock)
        self._locks[lock] = list(now) if held is None else list(map(max, now, held))
        now[chain] += 1

    def _enter(self, chain: int, running: int, exclusive: bool) -> None:
        before = self._inside[chain]
        if running == before:
            return
        if before in self._exclusive:
            self._release(chain, -before)
        self._inside[chain] = running
        if exclusive:
            self._exclusive.add(running)
            self._acquire(chain, -running)
        else:
            self._exclusive.discard(running)

    def _in_host(self, row: Row) -> None:
        chain, kind, word = row.chain, row.kind, row.pa >> 3
        if kind & CALL:
            self._acquire(chain, _KERNEL)
            self._release(chain, _KERNEL)
            self._calls.add(chain)
        elif word and kind & (ATOMIC | ACQUIRE):
            self._acquire(chain, word)
        if word and kind & WRITE and kind & (ATOMIC | RELEASE):
            self._release(chain, word)

    # -- accesses ----------------------------------------------------------------------------------------

    def _touch(self, row: Row) -> None:
        at, last = row.pa >> 3, row.pa + row.size - 1 >> 3
        for word in range(at, last + 1):
            start, end = max(row.pa - 8 * word, 0), min(row.pa + row.size - 8 * word, 8)
            self._touch_word(row, word, (1 << end) - (1 << start))

    def _touch_word(self, row: Row, number: int, mask: int) -> None:
        chain, kind = row.chain, row.kind
        word = self._words.get(number)
        if word is None or word.owner != row.owner:
            word = self._words[number] = _Word(row.owner)
            self._locks.pop(number, None)
        is_atomic = bool(kind & (ATOMIC | ACQUIRE | RELEASE))
        if is_atomic and kind & (ATOMIC | ACQUIRE):
            self._acquire(chain, number)
        others = [word.writes, *([word.reads] if kind & WRITE else [])]
        if not is_atomic:
            others.append(word.atomics)
        for one in others:
            self._compare(row, number, mask, one)
        mine = word.atomics if is_atomic else word.writes if kind & WRITE else word.reads
        if not (is_atomic and not kind & WRITE):  # a load that orders is in nobody's way
            mine[chain, mask] = self._now[chain][chain], row
        if is_atomic and kind & (ATOMIC | RELEASE) and kind & WRITE:
            self._release(chain, number)

    def _compare(
        self, row: Row, number: int, mask: int, others: dict[tuple[int, int], tuple[int, Row]]
    ) -> None:
        now = self._now[row.chain]
        for (chain, bytes_), (clock, other) in others.items():
            if chain != row.chain and bytes_ & mask and clock > now[chain]:
                race = Race(other, row)
                if number not in self._racy:
                    self._found.setdefault(race.signature, race)
                self._racy.add(number)
