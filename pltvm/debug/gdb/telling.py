"""Reports stops to a client: the reason, and the thread."""

from collections.abc import Callable
from typing import Final

from pltvm.debug import words
from pltvm.debug.gdb.whom import Whom
from pltvm.debug.stops import Reason, Stop, Stops
from pltvm.debug.viewing import ThreadView, View, Views
from pltvm.engine.context import PC

# Linux to gdb, for numbers that differ
_SIGNALS: Final = {7: 10, 10: 30, 12: 31, 17: 20, 18: 19, 19: 17, 20: 18}
_INT, _TRAP = 2, 5


class Telling:
    """Makes the replies. `say` gets lines for the user."""

    def __init__(self, stops: Stops, views: Views, whom: Whom, say: Callable[[str], None]) -> None:
        self._stops = stops
        self._views = views
        self._whom = whom
        self._say = say

    def reply_to(self, stop: Stop, quiet: bool) -> bytes:
        """Return the reply with the reason of the stop, and the thread; `quiet`: without a signal."""
        found = self._whose(stop)
        number = {Reason.FAULT: stop.signal, Reason.REQUEST: _INT}.get(stop.reason, _TRAP)
        number = 0 if quiet else _SIGNALS.get(number, number)
        parts = []
        if stop.reason is Reason.FAULT:
            self._say(f"pltvm: {found[0].name if found else 'the run'}: {stop.text}")
            found = self._whom.in_sight(found)
        if found is not None:
            self._whom.waiting = found[0].number, found[1].number
            self._whom.first_seen = self._whom.first_seen or found[0].number
            parts.append(f"thread:{self._whom.identity(*found)}")
        if stop.reason is Reason.BREAK:
            parts.append("swbreak:")
        elif stop.reason is Reason.START:
            parts.append("replaylog:begin")
        elif stop.reason is Reason.WATCH:
            kind = {"r": "rwatch", "w": "watch"}.get(stop.access, "awatch")
            parts.append(f"{kind}:{stop.address:x}")
        return b"T%02x" % number + "".join(f"{part};" for part in parts).encode()

    def _whose(self, stop: Stop) -> tuple[View, ThreadView] | None:
        """Return the thread of a stop; for watched memory a thread of its address space, whatever has written
        it."""
        here = self._views.of(self._stops.hart.current)
        if stop.table is None or (here is not None and here[0].table.root == stop.table.root):
            return here
        owner = next((view for view in self._views.all() if view.table.root == stop.table.root), None)
        if owner is None:
            return here
        if here is not None:
            self._say(f"pltvm: by {here[0].name} at {words.where(here[0], here[1].context.regs[PC])}")
        return owner, owner.threads[0]

    def of_new(self, view: View) -> bytes:
        """Return the reply for a new process, which has not run yet."""
        self._whom.waiting = view.number, view.threads[0].number
        return f"T05thread:{self._whom.identity(view, view.threads[0])};library:;".encode()

    def again(self, told: bytes) -> bytes:
        """Return the last reply again, for the thread that the client has chosen since then."""
        found = self._whom.thread()
        if found is not None and told.startswith(b"T"):
            return b"T%b" % told[1:3] + f"thread:{self._whom.identity(*found)};".encode()
        return told
