"""Goes back in time for a client: by an instruction, or to the last breakpoint or write.

A handler cannot go back, as guest code is running around it. So it leaves an errand to the hart, which goes
back and stops there.
"""

from collections.abc import Callable, Sequence

from pltvm.debug.history import History, HistoryError, Partner
from pltvm.debug.stops import Go, Reason, Stop, Stops
from pltvm.engine.page_table import PageTable

Places = Sequence[tuple[PageTable, int]]


class Back:
    """The history, of limited size, of a run that is about to begin, for the listener of `stops`."""

    def __init__(self, stops: Stops, size: int, partner: Partner | None = None) -> None:
        self._stops = stops
        self._history = History(stops.machine, size, partner=partner)
        self._history.undisturbed = stops.undisturbed

    @property
    def position(self) -> int:
        """The number of instructions that have run."""
        return self._history.position

    def forgetting(self, go: Go) -> Go:
        """Return a Go that goes on with changed state, and forgets the history after this point."""

        def errand() -> None:
            self._history.forget_what_follows()
            self._stops.go(go)

        return Go(errand=errand)

    def errand(self, step: bool, places: Places, say: Callable[[str], None]) -> Callable[[], None]:
        """Return an errand that goes back by an instruction, or to the last breakpoint or watched write, and
        stops."""

        def go() -> None:
            try:
                stop = self._step() if step else self._search(places)
            except HistoryError as error:
                say(f"pltvm: {error}")
                stop = Stop(Reason.START)
            self._stops.stop(stop)

        return go

    def _step(self) -> Stop:
        if self._history.position <= self._history.start:
            return Stop(Reason.START)
        self._history.step_back()
        return Stop(Reason.STEP)

    def _search(self, places: Places) -> Stop:
        now, found = self._history.position, [(-1, Stop(Reason.START))]
        if places:
            at = self._history.back_to_break(places)
            if at is not None:
                found.append((at, Stop(Reason.BREAK)))
        for one in self._stops.watched:
            if "w" not in one.access:
                continue
            if self._history.position != now:
                self._history.go_to(now)
            at = self._history.back_to_write(one.table, one.va, one.size)
            if at is not None:
                found.append((at, Stop(Reason.WATCH, address=one.va, access=one.access, table=one.table)))
        last, stop = max(found, key=lambda one: one[0])
        self._history.go_to(max(last, self._history.start))
        return stop
