"""Where each microsecond of a call goes without the native core: each of its parts, and the rest.

The parts of the hart are timed by themselves, those of the monitor inside real calls: the function is
replaced by one that looks at the clock before and after, and what the clock costs is taken off.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from bench.harness import Bench, Benchmark, Sample
from bench.micro import CALL, ENCLAVE_ID, Client
from pltvm.engine import hart as hart_module
from pltvm.engine.context import SAVED_FROM, SLOTS, Context
from pltvm.monitor import chain, monitor, server
from pltvm.monitor.abi import Call
from pltvm.monitor.pages import PageOwners
from pltvm.monitor.space import AddressSpace

# Rows of the table: name, what is measured. Each includes both ways: a call and its return.
ROWS: Final = {
    "total": "a call and its return",
    "enter": "entering Python from the JIT and returning, twice",
    "save": "saving the registers, twice",
    "load": "loading the other context, with the flush by its ASID, twice",
    "dispatch": "finding the handler of the trap, twice",
    "struct": "monitor: finding and reading the call struct, twice",
    "place": "monitor: finding a place for the pages, twice",
    "move": "monitor: taking the page-table entries out and putting them in, twice",
    "owner": "monitor: setting the owner of the pages, twice",
    "hand_over": "monitor: giving the hart to the other enclave, twice",
    "results": "monitor: writing the results into the caller's struct",
    "monitor": "monitor: the rest: checks, state, first registers of the server",
    "guest": "the rest: guest code, and refilling the TLB after two flushes",
}
_INSIDE: Final[dict[str, tuple[Any, str]]] = {
    "struct": (server, "find_struct"),
    "place": (AddressSpace, "place_for"),
    "move": (AddressSpace, "move_to"),
    "owner": (PageOwners, "set_owner"),
    "hand_over": (chain, "_run"),
    "results": (server, "_write_results"),
}
KINDS: Final = {"null": 0, "1page": 1, "64pages": 64}


class _Clock:
    """Time spent in functions that were given to `around`."""

    def __init__(self) -> None:
        self.spent = 0
        self.calls = 0
        timed = self.around(lambda *_: None)
        for _ in range(2_000):
            timed(None, None)
        # The time measured for a function that does nothing: mostly the cost of the clock.
        self.overhead = self.spent / self.calls
        self.spent = self.calls = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = clock()
            result = function(*arguments)
            self.spent += clock() - start
            self.calls += 1
            return result

        clock = time.perf_counter_ns
        return timed

    @property
    def microseconds(self) -> float:
        """Return the total time, without that for reading the clock."""
        return max(self.spent - self.calls * self.overhead, 0) / 1e3


@contextmanager
def _replaced(owner: Any, name: str, clock: _Clock) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, clock.around(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def _timed_handlers(clock: _Clock) -> Iterator[None]:
    calls = monitor.ENCLAVE_CALLS
    kept = {int(number): calls[number] for number in (Call.CALL, Call.RETURN)}
    calls.update({number: clock.around(handler) for number, handler in kept.items()})
    try:
        yield
    finally:
        calls.update(kept)


class _Profile:
    """The rows of one kind of call. `collect` measures all of them, `rows` has the last results."""

    def __init__(self, client: Client, pages: int, count: int) -> None:
        self._client, self._pages, self._count = client, pages, count
        self.rows: dict[str, float] = {}

    def collect(self) -> float:
        """Measure every row, in µs a call; gives the total."""
        count, client = self._count, self._client
        total = client.each(CALL, count, self._pages)
        rows = {"total": total, **{name: 2 * value for name, value in _hart(client, count).items()}}
        inside = {}
        for name, (owner, function) in _INSIDE.items():
            clock = _Clock()
            with _replaced(owner, function, clock):
                client.run(CALL, count, self._pages)
            inside[name] = clock.microseconds / count
        clock = _Clock()
        with _timed_handlers(clock):
            client.run(CALL, count, self._pages)
        rest = clock.microseconds / count - sum(inside.values())
        rows |= {**inside, "monitor": max(rest, 0.0)}
        rows["guest"] = max(2 * total - sum(rows.values()), 0.0)
        self.rows = rows
        return total

    def row(self, name: str) -> float:
        """Return a row of the last measurement; measure now if there was none."""
        if not self.rows:
            self.collect()
        return self.rows[name]


def _hart(client: Client, count: int) -> dict[str, float]:
    """One trap's parts in µs: entering Python, saving, loading another context, finding the handler."""
    hart = client.machine.hart
    handle, scratch, saved = hart._handle, Context(), SLOTS - SAVED_FROM
    save = _each(
        lambda: hart_module._read(handle, hart_module._SAVE_IDS, scratch.saved_pointers, saved), count
    )
    put_back = _each(
        lambda: hart_module._write(handle, hart_module._SAVE_IDS, scratch.saved_pointers, saved), count
    )
    hart.context_changed()
    enter = client.flat.empty_traps(count) / count * 1e6
    dispatch = client.each(ENCLAVE_ID, count) - enter - save - put_back
    return {"enter": enter, "save": save, "load": client.switch(count), "dispatch": max(dispatch, 0.0)}


def _each(body: Callable[[], object], count: int) -> float:
    """Return the microseconds of one `body()`, without those of the loop and the function call."""

    def spent(what: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(count):
            what()
        return time.perf_counter() - start

    return (spent(body) - spent(lambda: None)) / count * 1e6


def benchmarks(bench: Bench) -> list[Benchmark]:
    """`profile.KIND.ROW`: µs of a call with no, one or 64 pages. The first row measures all of its kind."""
    client = cache(lambda: Client(bench, native=False))  # the core does all of it at once
    made = []
    for kind, pages in KINDS.items():
        profile = cache(lambda pages=pages: _Profile(client(), pages, bench.times(3_000)))
        for row in ROWS:
            made.append(Benchmark(f"profile.{kind}.{row}", "µs", _row(profile, row)))
    return made


def _row(profile: Callable[[], _Profile], row: str) -> Sample:
    if row == "total":
        return lambda: profile().collect()
    return lambda: profile().row(row)
