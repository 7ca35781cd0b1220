"""Packets for the run: where it stops, and how it goes on, or back."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pltvm.debug.gdb.answers import BAD, NOT_HERE, NOT_KNOWN, OK, Table
from pltvm.debug.gdb.resuming import Resuming, Wanted
from pltvm.debug.gdb.whom import Whom
from pltvm.debug.stops import Go, Reason, Stop, Stops
from pltvm.debug.viewing import Views
from pltvm.engine.context import PC

if TYPE_CHECKING:
    from pltvm.debug.gdb.backwards import Back
    from pltvm.debug.history import Partner


class Going:
    """The client's breakpoints; turns its requests into a `Go`. `say` gets lines for the user."""

    def __init__(self, stops: Stops, views: Views, whom: Whom, say: Callable[[str], None]) -> None:
        self._stops = stops
        self._views = views
        self._whom = whom
        self._say = say
        self.resuming = Resuming(stops, views)
        self._places: set[tuple[int, int]] = set()  # process, address
        self._back: Back | None = None
        self.over = False  # whether the run is over

    def remember(self, room: int, partner: "Partner | None") -> None:
        """Enable going back, with so many bytes of history, together with `partner`."""
        from pltvm.debug.gdb.backwards import Back

        self._back = Back(self._stops, room, partner)

    @property
    def can_go_back(self) -> bool:
        """Whether it can go back."""
        return self._back is not None

    def is_told(self, stop: Stop) -> bool:
        """Whether it has stopped at a breakpoint of the client."""
        if stop.reason is not Reason.BREAK:
            return False
        found = self._views.of(self._stops.hart.current)
        if found is None:
            return False
        return (found[0].number, found[1].context.regs[PC]) in self._places

    def forget(self, number: int) -> None:
        """Forget the breakpoints of a process."""
        view = self._views.find(number)
        for place in [one for one in self._places if one[0] == number]:
            self._places.discard(place)
            if view is not None:
                self._stops.remove(view.table, place[1])

    def with_history(self, go: Go, changed: bool) -> Go:
        """Return the Go for a run with history: after changes, the history after this point is forgotten."""
        if self._back is None or not changed or go.errand is not None:
            return go
        return self._back.forgetting(go)

    # -- places ------------------------------------------------------------------------------------------

    def _place(self, rest: bytes, put: bool) -> bytes:
        kind, place, size = rest.split(b";")[0].split(b",")
        va, found = int(place, 16), self._whom.thread()
        if found is None:
            return BAD
        view = found[0]
        if kind in (b"0", b"1"):
            if put:
                self._places.add((view.number, va))
                self._stops.add(view.table, va)
            else:
                self._places.discard((view.number, va))
                self._stops.remove(view.table, va)
            return OK
        access = {b"2": "w", b"3": "r", b"4": "rw"}.get(kind)
        if access is None:
            return NOT_KNOWN
        if view.process is not None:
            self._views.read_in(view, va)
        return OK if self._stops.watch(view.table, va, int(size, 16), access, put) else NOT_HERE

    def _put_place(self, rest: bytes) -> bytes:
        return self._place(rest, True)

    def _take_place(self, rest: bytes) -> bytes:
        return self._place(rest, False)

    # -- going on ----------------------------------------------------------------------------------------

    def _go(self, rest: bytes) -> bytes | Go:
        """Handle vCont: actions for threads; the first action that names a thread applies to it."""
        if self.over:
            return Go()
        if not rest.startswith(b";"):
            return BAD
        passes, wanted = False, None
        for action in rest[1:].split(b";"):
            what, _, whom = action.partition(b":")
            kind = what[:1]
            if kind not in (b"c", b"C", b"s", b"S", b"r"):
                return BAD
            passes |= kind in (b"C", b"S") and bool(int(what[1:3] or b"0", 16))
            if kind in (b"s", b"S", b"r") and wanted is None:
                found = self._whom.named(whom, self._stops.hart.current)
                if found is None:
                    return BAD
                start, end = (int(n, 16) for n in what[1:].split(b",")) if kind == b"r" else (0, 0)
                wanted = Wanted(found[1].context, True, start, end)
        return self.resuming.go(wanted, passes)

    def _go_back(self, how: bytes) -> bytes | Go:
        """Handle bs and bc: go back by one instruction, or to the last breakpoint or write."""
        if self._back is None or self.over:
            return b"E01"
        by = {view.number: view.table for view in self._whom.living()}
        places = [(by[number], va) for number, va in self._places if number in by]
        return Go(errand=self._back.errand(how == b"s", places, self._say))

    def _continue(self, rest: bytes) -> bytes | Go:
        return self._go(b";c") if not rest else BAD

    def _continue_signal(self, rest: bytes) -> bytes | Go:
        return self._go(b";C" + rest[:2])

    def _step(self, rest: bytes) -> bytes | Go:
        return self._go(b";s") if not rest else BAD

    def _step_signal(self, rest: bytes) -> bytes | Go:
        return self._go(b";S" + rest[:2])

    def packets(self) -> Table:
        """Return the packets that it answers."""
        return {
            b"Z": self._put_place, b"z": self._take_place,
            b"vCont?": lambda _rest: b"vCont;c;C;s;S;r", b"vCont": self._go, b"b": self._go_back,
            b"c": self._continue, b"C": self._continue_signal, b"s": self._step, b"S": self._step_signal,
        }  # fmt: skip
